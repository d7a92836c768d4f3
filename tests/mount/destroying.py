"""A mounted volume in which what programs destroy is kept, and the ways in which they do."""

import ctypes
import mmap
import os
import subprocess
from pathlib import Path

from csfs.core.changes import Change, ChangeKind
from csfs.mount.keeping import COPIED_SIZE_MAX
from csfs.store.syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted

OLD = b"what was closed last\n" * 300
MTIME_NS = 1_600_000_000_123_456_789
ZERO_RANGE = 0x10
LARGE = COPIED_SIZE_MAX + 4096

_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)


class Keeping:
    """A mounted volume with a directory of which everything that programs destroy is kept, and what a daemon hears of it."""

    def __init__(self, volume: Mounted, daemon: FakeDaemon) -> None:
        self.volume, self.daemon = volume, daemon
        self.path = volume.path / "keeping"
        self.path.mkdir()
        daemon.flushed()

    def made(self, name: str = "file", content: bytes = OLD) -> Path:
        """Return a file that nobody has open."""
        file = self.path / name
        file.write_bytes(content)
        file.chmod(0o640)
        os.chown(file, 12, 34)
        os.setxattr(file, "user.note", b"mine")
        os.utime(file, ns=(1, MTIME_NS))
        assert self.kept() == []
        return file

    def kept(self) -> list[tuple[Change, bytes]]:
        """Return the rows since the last call that say what was kept, each with what is in the store, which holds nothing else.

        The row of what destroyed it comes right after it.
        """
        rows = self.daemon.flushed()
        told = [row for row in rows if row.kind is ChangeKind.KEPT]
        assert sorted(os.listdir(self.store)) == sorted(os.fsdecode(row.kept) for row in told)
        found = [(row, (self.store / os.fsdecode(row.kept)).read_bytes()) for row in told]
        for row, content in found:
            after = rows[rows.index(row) + 1]
            assert after.path.startswith(b"keeping/")
            assert row.stamp is not None
            assert row.stamp.size == len(content)
            (self.store / os.fsdecode(row.kept)).unlink()
        return found

    @property
    def store(self) -> Path:
        """The kept versions, underneath."""
        return Path(f"/proc/self/fd/{self.volume.underneath}/.csfs/kept")


def rewritten(file: Path) -> None:
    file.write_bytes(b"new")


def overwritten(file: Path) -> None:
    with file.open("r+b", buffering=0) as opened:
        opened.write(b"W")
        opened.seek(100)
        opened.write(b"W")


def cut_by_name(file: Path) -> None:
    os.truncate(file, 10)


def cut_by_handle(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(10)


def emptied_for_reading(file: Path) -> None:
    os.close(os.open(file, os.O_RDONLY | os.O_TRUNC))


def edited_by_sed(file: Path) -> None:
    subprocess.run(["sed", "-i", "s/closed/changed/", file], check=True)


def replaced(file: Path) -> None:
    (file.parent / "new").write_bytes(b"new")
    os.rename(file.parent / "new", file)


def removed(file: Path) -> None:
    file.unlink()


def punched(file: Path, mode: int = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) -> None:
    with file.open("r+b") as opened:
        assert _fallocate(opened.fileno(), mode, 0, 4096) == 0


def zeroed(file: Path) -> None:
    punched(file, ZERO_RANGE)


def copied_over(file: Path) -> None:
    source = file.parent / "source"
    source.write_bytes(b"source")
    with source.open("rb") as reading, file.open("r+b") as writing:
        assert os.copy_file_range(reading.fileno(), writing.fileno(), 6, 0, 0) == 6


def mapped(file: Path) -> None:
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as memory:
        memory[:3] = b"new"
