"""Reading files block by block: hashing them whole, again where they changed, and handing out blocks.

Memory is bounded whatever the size. Holes are not read: a block that lies in one is known to be zeros.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator

from csfs.core.changes import Extent
from csfs.errors import UnstableError
from csfs.store.hashing import BLOCK_SIZE, HASH_SIZE, ZERO_HASH, block_count, block_hash, block_size, table_root

_READ_BLOCKS = 8
"""Blocks read at once: 1 MiB, large enough for a disk, small enough for many threads."""

BlockRange = tuple[int, int]
"""First block, and the one after the last."""


def read_exactly(descriptor: int, offset: int, size: int) -> bytes:
    """Return `size` bytes from `offset`.

    Raises:
        UnstableError: the file ends before.
    """
    data = os.pread(descriptor, size, offset)
    while len(data) < size:
        more = os.pread(descriptor, size - len(data), offset + len(data))
        if not more:
            raise UnstableError(
                f"a file ended at {offset + len(data)} bytes while it was read, {offset + size} expected"
            )
        data += more
    return data


def hash_file(descriptor: int, size: int) -> tuple[bytes, bytes]:
    """Return (root, table) of the first `size` bytes of a file. Moves the descriptor's own position.

    Raises:
        UnstableError: the file is shorter.
    """
    if size <= BLOCK_SIZE:
        return block_hash(read_exactly(descriptor, 0, size)), b""
    table = bytearray(block_count(size) * HASH_SIZE)
    _hash_range(descriptor, size, table, (0, block_count(size)))
    return table_root(size, table), bytes(table)


def rehash(
    descriptor: int,
    size: int,
    old_table: bytes,
    extents: Iterable[Extent],
    is_current: Callable[[], bool] = lambda: True,
) -> tuple[bytes, bytes]:
    """Return (root, table) of a file that had `old_table` before `extents` were written.

    Reads the touched blocks, and those at the old and the new end. `extents` cover everything that may differ: what a
    truncation took away and a later write extended again is among them. Once the file `is_current` no longer, the rest is not read:
    one that was removed takes up its room for as long as somebody reads it.

    Raises:
        UnstableError: the file is shorter than `size`, or not current.
    """
    count, old_count = block_count(size), len(old_table) // HASH_SIZE
    if count <= 1:
        return hash_file(descriptor, size)
    table = bytearray(old_table[: count * HASH_SIZE].ljust(count * HASH_SIZE, b"\0"))
    # The ends: a block that was or is the last may have another length now, which no extent tells.
    touched = [(old_count - 1, count), (count - 1, count)]
    touched += [(offset // BLOCK_SIZE, block_count(offset + length)) for offset, length in extents if length > 0]
    for touched_range in _merged(touched, count) if old_count else [(0, count)]:
        _hash_range(descriptor, size, table, touched_range, is_current)
    return table_root(size, table), bytes(table)


def read_blocks(descriptor: int, first: int, count: int) -> list[bytes]:
    """Return up to `count` blocks from block `first` on; fewer where the file ends."""
    data = os.pread(descriptor, count * BLOCK_SIZE, first * BLOCK_SIZE)
    return [data[at : at + BLOCK_SIZE] for at in range(0, len(data), BLOCK_SIZE)]


def verify(descriptor: int, size: int, root: bytes) -> bool:
    """Return whether a file holds exactly the content of `size` bytes that `root` names."""
    if os.fstat(descriptor).st_size != size:
        return False
    try:
        return hash_file(descriptor, size)[0] == root
    except UnstableError:
        return False


def block_matches(descriptor: int, size: int, index: int, expected: bytes) -> bool:
    """Return whether block `index` of a file of `size` bytes has the hash `expected`."""
    return block_hash(os.pread(descriptor, block_size(index, size), index * BLOCK_SIZE)) == expected


def data_ranges(descriptor: int, size: int, within: BlockRange) -> Iterator[BlockRange]:
    """Yield ranges of the blocks `within` a file of `size` bytes that may hold anything but zeros, ascending.

    Raises:
        UnstableError: the file is shorter: its end must not be taken for a hole.
    """
    status = os.fstat(descriptor)
    if status.st_size < size:
        raise UnstableError(f"a file has {status.st_size} bytes, {size} expected")
    if status.st_blocks * 512 >= size:
        yield within
        return
    first, last = within
    while first < last:
        try:
            data = os.lseek(descriptor, first * BLOCK_SIZE, os.SEEK_DATA)
            end = os.lseek(descriptor, data, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return
            yield first, last  # the file system does not tell holes
            return
        first = data // BLOCK_SIZE
        if first < last:
            yield first, min(last, block_count(end))
        first = max(first + 1, block_count(end))


def _hash_range(
    descriptor: int, size: int, table: bytearray, within: BlockRange, is_current: Callable[[], bool] = lambda: True
) -> None:
    """Put the hashes of the blocks `within` into `table`."""
    first, last = within
    table[first * HASH_SIZE : last * HASH_SIZE] = ZERO_HASH * (last - first)
    for data_first, data_last in data_ranges(descriptor, size, within):
        for start in range(data_first, data_last, _READ_BLOCKS):
            if not is_current():
                raise UnstableError("a file changed while it was read")
            _hash_read(descriptor, size, table, start, min(start + _READ_BLOCKS, data_last))
    if last == block_count(size) and size % BLOCK_SIZE:
        # A short last block is not the block of zeros that a hole stands for.
        _hash_read(descriptor, size, table, last - 1, last)


def _hash_read(descriptor: int, size: int, table: bytearray, first: int, last: int) -> None:
    start, end = first * BLOCK_SIZE, min(last * BLOCK_SIZE, size)
    view = memoryview(read_exactly(descriptor, start, end - start))
    hashes = [block_hash(view[at : at + BLOCK_SIZE]) for at in range(0, len(view), BLOCK_SIZE)]
    table[first * HASH_SIZE : last * HASH_SIZE] = b"".join(hashes)


def _merged(ranges: Iterable[BlockRange], count: int) -> list[BlockRange]:
    """Return `ranges` cut to `count` blocks, ascending, without overlap."""
    merged: list[BlockRange] = []
    for first, last in sorted((first, min(last, count)) for first, last in ranges if first < min(last, count)):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged
