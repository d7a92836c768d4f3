"""Contents that arrive block by block: one sparse file for each content, in place of which the blocks are written as they come."""

import contextlib
import os
from collections.abc import Iterable, Iterator

from csfs.core.tables import HASH_SIZE, BlockTable
from csfs.errors import ContentMismatchError
from csfs.store import blocks
from csfs.store.blocks import BlockRange
from csfs.store.copying import copy_range, write_block
from csfs.store.hashing import BLOCK_SIZE, block_count, block_hash, block_size
from csfs.store.reserved import create, remove
from csfs.store.room import check_room


class Partials:
    """The partial contents of one volume, by root hash. Several threads may write different blocks of one content."""

    def __init__(self, directory: int) -> None:
        self._directory = directory

    def hashes(self) -> list[bytes]:
        """Return the root hashes of all contents that have arrived in part."""
        names = os.listdir(self._directory)
        return [bytes.fromhex(name) for name in names if len(name) == 2 * HASH_SIZE]

    def begin(self, root: bytes, size: int) -> bool:
        """Make room for a content of `size` bytes; return whether part of it may be here already."""
        try:
            descriptor = create(self._directory, partial_name(root))
        except FileExistsError:
            with self.opened(root) as descriptor:
                if os.fstat(descriptor).st_size == size:
                    return True
                os.ftruncate(descriptor, size)
                return True
        try:
            os.ftruncate(descriptor, size)
        finally:
            os.close(descriptor)
        return False

    def copy_blocks(self, root: bytes, source: int, pairs: Iterable[tuple[int, int]]) -> None:
        """Copy whole blocks (index in the file `source`, index here) that are known to be equal by their hashes."""
        with self.opened(root) as descriptor:
            size = os.fstat(descriptor).st_size
            for source_first, first, count in _runs(pairs):
                length = min(count * BLOCK_SIZE, size - first * BLOCK_SIZE)
                copy_range(source, descriptor, source_first * BLOCK_SIZE, first * BLOCK_SIZE, length)

    def write_block(self, root: bytes, index: int, data: bytes, expected: bytes) -> None:
        """Write one block that arrived.

        Raises:
            ContentMismatchError: its hash is not `expected`, or its length not that of the block.
        """
        if block_hash(data) != expected:
            raise ContentMismatchError(f"block {index} of content {root.hex()[:16]} is not what its hash says")
        with self.opened(root) as descriptor:
            if len(data) != block_size(index, os.fstat(descriptor).st_size):
                raise ContentMismatchError(f"block {index} of content {root.hex()[:16]} has {len(data)} bytes")
            write_block(descriptor, index, data)

    def lacking_blocks(self, root: bytes, table: BlockTable, within: BlockRange, telling: Iterable[int]) -> set[int]:
        """Return the indexes of the blocks `within` that are not here, by reading what is. `telling` are those that are not all zeros.

        Nothing has arrived in a hole; the pages of the table that the blocks are in must be at hand.
        """
        lacking = set(telling)
        with self.opened(root) as descriptor:
            size = os.fstat(descriptor).st_size
            last = block_count(size) - 1
            # The last block, which may be short, may be a hole and what is wanted all the same.
            ends = [(last, last + 1)] if last in lacking and within[0] <= last < within[1] else []
            for first, end in [*blocks.data_ranges(descriptor, size, within), *ends]:
                for index in range(first, end):
                    is_here = blocks.block_matches(descriptor, size, index, table.hash_of(index))
                    (lacking.discard if is_here else lacking.add)(index)
        return lacking

    def size_here(self, root: bytes) -> int:
        """Return how many bytes what has arrived of a content takes on the disk."""
        try:
            with self.opened(root) as descriptor:
                return os.fstat(descriptor).st_blocks * 512
        except FileNotFoundError:
            return 0

    def check_room(self, size: int) -> None:
        """Make sure that `size` more bytes may arrive.

        Raises:
            OSError: ENOSPC, they would take the last room from everybody else.
        """
        check_room(self._directory, size)

    def discard(self, root: bytes) -> None:
        """Forget what has arrived of a content."""
        remove(self._directory, partial_name(root))

    @contextlib.contextmanager
    def opened(self, root: bytes) -> Iterator[int]:
        """Hold what has arrived of a content open.

        Raises:
            FileNotFoundError: nothing has.
        """
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(partial_name(root), flags, dir_fd=self._directory)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _runs(pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield pairs that follow each other on both sides as one: the first, and how many there are."""
    run = 0, 0, 0
    for source, target in pairs:
        if (source, target) == (run[0] + run[2], run[1] + run[2]):
            run = run[0], run[1], run[2] + 1
            continue
        if run[2]:
            yield run
        run = source, target, 1
    if run[2]:
        yield run


def partial_name(root: bytes) -> bytes:
    """Return the name of the partial content with that root hash."""
    return root.hex().encode()
