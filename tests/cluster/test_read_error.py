"""A disk that cannot read one file any more: that one is told of, everything else goes on, and it follows once it can be read."""

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.support.members import Member, free_port, replicating, until
from tests.cluster.conftest import expect_calm_logs
from tests.disks import disk
from tests.trees import differences

DISK_SIZE = 64 << 20
FILES, FILE_SIZE = 10, 4 << 20
FIBMAP, FIGETBSZ = 1, 2
"""linux/fs.h"""


def last_block(path: Path) -> tuple[int, int]:
    """Return where on its disk the last block of a file is, in blocks, and how large these are."""
    with path.open("rb") as file:
        (size,) = struct.unpack("i", fcntl.ioctl(file, FIGETBSZ, bytes(4)))
        number = -(-path.stat().st_size // size) - 1
        (block,) = struct.unpack("i", fcntl.ioctl(file, FIBMAP, struct.pack("i", number)))
    return block, size


class Broken:
    """The image of a disk whose end cannot be read: the device is shorter than the file system."""

    def __init__(self, image: Path) -> None:
        self._image = image
        self._end = b""
        found = subprocess.run(["losetup", "-n", "-O", "NAME", "-j", image], capture_output=True, text=True, check=True)
        self._device = found.stdout.strip()

    def cut(self, size: int) -> None:
        """Nothing from there on can be read."""
        with self._image.open("rb+") as file:
            file.seek(size)
            self._end = file.read()
            file.truncate(size)
        subprocess.run(["losetup", "-c", self._device], check=True)

    def heal(self) -> None:
        """All of it can be read again."""
        with self._image.open("ab") as file:
            file.write(self._end)
        subprocess.run(["losetup", "-c", self._device], check=True)


@pytest.fixture
def members(tmp_path: Path) -> Iterator[tuple[Member, Member, Broken, str]]:
    """Two members; the tree of the first is a disk of its own, of which the end of one file, which is named, cannot be read."""
    alpha, beta = (Member(tmp_path, name, free_port()) for name in ("alpha", "beta"))
    alpha.tree.mkdir(parents=True)
    image = tmp_path / "image"
    with disk(image, alpha.tree, DISK_SIZE):
        try:
            broken = Broken(image)
            for number in range(FILES):
                (alpha.tree / f"file-{number}").write_bytes(os.urandom(FILE_SIZE))
            os.sync()
            ends = {path.name: last_block(path) for path in alpha.tree.glob("file-*")}
            name = max(ends, key=lambda one: ends[one])
            broken.cut(ends[name][0] * ends[name][1])
            with (alpha.tree / name).open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                with pytest.raises(OSError, match="Input/output error"):
                    os.pread(file.fileno(), 4096, FILE_SIZE - 4096)
            yield alpha, beta, broken, name
            expect_calm_logs(alpha, beta)
        finally:
            for member in (alpha, beta):
                member.stop()


def test_a_file_that_cannot_be_read_holds_up_nothing_and_follows_when_it_can(
    members: tuple[Member, Member, Broken, str],
) -> None:
    alpha, beta, broken, name = members
    alpha.found()
    alpha.mount()
    until(lambda: bool(alpha.volume()["problems"]), "what cannot be read is told")
    beta.join(alpha)
    beta.mount()
    replicating(alpha, beta)
    (problem,) = alpha.volume()["problems"]
    assert problem["path"] == name
    assert "cannot be read" in problem["reason"]
    others = {path.name for path in alpha.tree.glob("file-*")} - {name}
    assert {path.name for path in beta.tree.glob("file-*")} == others
    (alpha.tree / "later").write_text("by alpha")
    (beta.tree / "later too").write_text("by beta")
    for member in (alpha, beta):
        member.wait()
    assert (beta.tree / "later").read_text() == "by alpha"
    assert (alpha.tree / "later too").read_text() == "by beta"
    broken.heal()
    until(lambda: not alpha.volume()["problems"], "it can be read again", 90)
    replicating(alpha, beta)
    assert differences(str(alpha.tree), str(beta.tree)) == []
