"""Whatever programs do to a file, the extents of rows cover all that differs: to hash those blocks again is to hash all again."""

import ctypes
import mmap
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from csfs.core.changes import Change, ChangeKind, Extent
from csfs.core.tables import BlockTable
from csfs.mount import syscalls
from csfs.mount.operations.extended import FALLOC_FL_ZERO_RANGE
from csfs.store import blocks
from csfs.store.hashing import BLOCK_SIZE
from csfs.store.syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted

pytestmark = pytest.mark.mount
Served = tuple[Mounted, FakeDaemon]

SIZE_MAX = 8 * BLOCK_SIZE
ROUNDS, ACTS = 25, 6


class Program:
    """Does anything to one file."""

    def __init__(self, path: Path, dice: random.Random) -> None:
        self._path = path
        self._dice = dice
        self._held = -1
        """A descriptor that stays open over several acts."""

    def _place(self) -> tuple[int, int]:
        offset = self._dice.choice([self._dice.randrange(SIZE_MAX), self._dice.randrange(8) * BLOCK_SIZE])
        return offset, self._dice.choice([1, 4096, self._dice.randrange(1, 2 * BLOCK_SIZE)])

    def _opened(self, flags: int = os.O_RDWR) -> int:
        return os.open(self._path, flags)

    def write(self) -> None:
        descriptor = self._opened()
        offset, length = self._place()
        os.pwrite(descriptor, self._dice.randbytes(length), offset)
        os.close(descriptor)

    def append(self) -> None:
        descriptor = self._opened(os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, self._dice.randbytes(self._dice.randrange(1, BLOCK_SIZE)))
        os.close(descriptor)

    def truncate(self) -> None:
        os.truncate(self._path, self._dice.randrange(SIZE_MAX))

    def truncate_and_grow(self) -> None:
        descriptor = self._opened()
        size = os.fstat(descriptor).st_size
        os.ftruncate(descriptor, self._dice.randrange(size + 1))
        os.ftruncate(descriptor, size)
        os.close(descriptor)

    def begin_anew(self) -> None:
        descriptor = self._opened(os.O_WRONLY | os.O_TRUNC)
        os.pwrite(descriptor, self._dice.randbytes(3 * BLOCK_SIZE + 5), self._dice.choice([0, BLOCK_SIZE]))
        os.close(descriptor)

    def allocate(self) -> None:
        descriptor = self._opened()
        offset, length = self._place()
        punched = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
        mode = self._dice.choice([0, FALLOC_FL_KEEP_SIZE, punched, FALLOC_FL_ZERO_RANGE])
        syscalls.fallocate(descriptor, mode, offset, length)
        os.close(descriptor)

    def copy(self) -> None:
        descriptor = self._opened()
        (source, length), (target, _) = self._place(), self._place()
        if abs(source - target) > length:
            os.copy_file_range(descriptor, descriptor, length, source, target)
        os.close(descriptor)

    def map(self) -> None:
        descriptor = self._opened()
        size = os.fstat(descriptor).st_size
        if size:
            with mmap.mmap(descriptor, size) as mapped:
                mapped[self._dice.randrange(size)] = self._dice.randrange(256)
        os.close(descriptor)

    def hold(self) -> None:
        """Write through a descriptor that is open since an earlier act, or open it."""
        if self._held < 0:
            self._held = self._opened()
        offset, length = self._place()
        os.pwrite(self._held, self._dice.randbytes(length), offset)

    def let_go(self) -> None:
        if self._held >= 0:
            os.close(self._held)
        self._held = -1

    def act(self) -> None:
        """Do one of these."""
        acts: list[Callable[[], None]] = [
            self.write,
            self.write,
            self.append,
            self.truncate,
            self.truncate_and_grow,
            self.begin_anew,
            self.allocate,
            self.copy,
            self.map,
            self.hold,
            self.let_go,
        ]
        self._dice.choice(acts)()


def extents_of(rows: list[Change]) -> list[Extent]:
    """Return what the rows tell of; each row of content has to say where."""
    told = [row for row in rows if row.kind is ChangeKind.CONTENT]
    assert all(row.extents for row in told)
    return [extent for row in told for extent in row.extents]


@pytest.mark.parametrize("seed", range(4))
def test_extents_cover_all_that_differs(served: Served, seed: int) -> None:
    volume, daemon = served
    file = volume.path / "file"
    file.write_bytes(random.Random(seed).randbytes(5 * BLOCK_SIZE))
    program = Program(file, random.Random(seed))
    daemon.flushed()
    descriptor = os.open(b"file", os.O_RDONLY, dir_fd=daemon.root)
    table: BlockTable | None = blocks.rehash(descriptor, os.fstat(descriptor).st_size)[1]
    for number in range(ROUNDS):
        for _ in range(ACTS):
            program.act()
        ctypes.CDLL(None).sync()
        extents = extents_of(daemon.flushed())
        size = os.fstat(descriptor).st_size
        whole, whole_table = blocks.rehash(descriptor, size)
        assert blocks.rehash(descriptor, size, table, extents)[0] == whole, f"round {number}"
        table = whole_table
    program.let_go()
    os.close(descriptor)
