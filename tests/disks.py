"""Small disks of their own for tests: they can be filled, and they can hang."""

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
"""linux/fs.h: whoever writes to a frozen file system waits, as on a disk that hangs."""


class Disk:
    """A file system in a file. While it is `hanging`, whoever writes there waits and cannot be killed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._filler = directory / "filler"
        self._descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)

    def fill(self) -> None:
        """Leave no room at all."""
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def make_room(self) -> None:
        """Give back what `fill` took."""
        self._filler.unlink(missing_ok=True)

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Let it hang for the time of a block."""
        fcntl.ioctl(self._descriptor, FIFREEZE, 0)
        try:
            yield
        finally:
            fcntl.ioctl(self._descriptor, FITHAW, 0)

    def close(self) -> None:
        """Forget it."""
        os.close(self._descriptor)


@contextlib.contextmanager
def disk(image: Path, directory: Path, size: int = 8 << 20, *options: str) -> Iterator[Disk]:
    """Mount a new disk on a directory; `options` are those of mkfs.ext4. Skips the test where there are no loop devices."""
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", *options, str(image)], check=True)
    done = subprocess.run(["mount", "-o", "loop", image, directory], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a disk of its own cannot be mounted here: {done.stderr.strip()}")
    try:
        made = Disk(directory)
        try:
            yield made
        finally:
            made.close()
    finally:
        subprocess.run(["umount", "-l", directory], capture_output=True, check=False)
        image.unlink()
