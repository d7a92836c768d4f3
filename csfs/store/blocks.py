"""Reading files block by block: hashing them whole, again where they changed, and handing out blocks.

Memory is bounded whatever the size. Holes are not read: a block that lies in one is known to be zeros.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator

from csfs.core.changes import Extent
from csfs.core.tables import HASH_SIZE, PAGE_HASHES, PAGE_SIZE, ZERO_HASH, ZERO_PAGE, ZERO_PAGE_HASH, BlockTable
from csfs.errors import UnstableError
from csfs.store.hashing import (
    BLOCK_SIZE,
    FILE_SIZE_MAX,
    block_count,
    block_hash,
    block_size,
    page_count,
    page_hash,
    summary_root,
)

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


class _Draft:
    """The table of a content of `size` bytes that is being hashed; what is not touched is that of `old`."""

    def __init__(self, size: int, old: BlockTable | None) -> None:
        self._size = size
        self._count = block_count(size)
        self._old = old
        summary_size = page_count(size) * HASH_SIZE
        self._summary = bytearray((old.summary if old is not None else b"")[:summary_size].ljust(summary_size, b"\0"))
        """Of the pages that are in none of `_pages`."""
        self._pages: dict[int, bytearray] = {}

    def take(self, number: int) -> bool:
        """Begin a page with what it was; return False if that is not at hand."""
        if number in self._pages:
            return True
        known = self._old.page(number) if self._old is not None else b""
        size = self._page_size(number)
        if known and not (
            known == ZERO_PAGE and size == PAGE_SIZE
        ):  # a page of zeros is begun when something is put there
            self._pages[number] = bytearray(known[:size].ljust(size, b"\0"))
        return bool(known)

    def _page_size(self, number: int) -> int:
        return min(PAGE_HASHES, self._count - number * PAGE_HASHES) * HASH_SIZE

    def put_zeros(self, first: int, last: int) -> None:
        """Say of the blocks from `first` to before `last` that they are zeros, whole pages at once."""
        first_page, last_page = -(-first // PAGE_HASHES), last // PAGE_HASHES
        if first_page >= last_page:
            self.put(first, ZERO_HASH * (last - first))
            return
        self.put(first, ZERO_HASH * (first_page * PAGE_HASHES - first))
        within = range(first_page, last_page)
        for number in within if len(within) < len(self._pages) else list(self._pages):
            if number in within:
                self._pages.pop(number, None)
        self._summary[first_page * HASH_SIZE : last_page * HASH_SIZE] = ZERO_PAGE_HASH * (last_page - first_page)
        self.put(last_page * PAGE_HASHES, ZERO_HASH * (last - last_page * PAGE_HASHES))

    def put(self, first: int, hashes: bytes) -> None:
        """Put the hashes of consecutive blocks from `first` on: a few pages' worth."""
        while hashes:
            number, at = divmod(first, PAGE_HASHES)
            page = self._pages.get(number)
            if page is None:
                page = self._pages[number] = self._begun(number)
            part = hashes[: (PAGE_HASHES - at) * HASH_SIZE]
            page[at * HASH_SIZE : at * HASH_SIZE + len(part)] = part
            hashes = hashes[len(part) :]
            first += len(part) // HASH_SIZE

    def _begun(self, number: int) -> bytearray:
        is_zeros = self._summary[number * HASH_SIZE : (number + 1) * HASH_SIZE] == ZERO_PAGE_HASH
        size = self._page_size(number)
        return bytearray(ZERO_PAGE[:size] if is_zeros else bytes(size))

    def finished(self) -> tuple[bytes, BlockTable]:
        """Return the root and the table, with the pages that were touched."""
        for number, page in self._pages.items():
            self._summary[number * HASH_SIZE : (number + 1) * HASH_SIZE] = page_hash(page)
        summary = bytes(self._summary)
        pages = {number: bytes(page) for number, page in self._pages.items() if page != ZERO_PAGE}
        return summary_root(self._size, summary), BlockTable(self._size, summary, pages)


def hash_file(descriptor: int, size: int) -> tuple[bytes, bytes]:
    """Return (root, hashes of all blocks) of the first `size` bytes of a file. Moves the descriptor's own position.

    Raises:
        UnstableError: the file is shorter.
    """
    root, table = rehash(descriptor, size)
    return root, table.whole() if table is not None else b""


def touched_blocks(old_size: int, size: int, extents: Iterable[Extent]) -> list[BlockRange]:
    """Return the blocks that may differ between a content and what `extents` made of it, ascending, without overlap.

    `extents` cover everything that may differ but for the ends: a block that was or is the last may have another length now.
    """
    count = block_count(size)
    touched = [(offset // BLOCK_SIZE, block_count(offset + length)) for offset, length in extents if length > 0]
    if old_size != size:
        touched += [(max(0, block_count(old_size) - 1), count), (count - 1, count)]
    return _merged(touched, count)


def touched_pages(old_size: int, size: int, extents: Iterable[Extent]) -> set[int]:
    """Return the numbers of the pages of a table in which the touched blocks are."""
    touched = touched_blocks(old_size, size, extents)
    return {number for first, last in touched for number in range(first // PAGE_HASHES, -(-last // PAGE_HASHES))}


def rehash(
    descriptor: int,
    size: int,
    old: BlockTable | None = None,
    extents: Iterable[Extent] = (),
    is_current: Callable[[], bool] = lambda: True,
) -> tuple[bytes, BlockTable | None]:
    """Return (root, table) of a file that had the table `old` before `extents` were written; no table of one block at most.

    Reads the touched blocks, those at the ends if they moved, and every block of a touched page that `old` has not at hand. Without
    `old`, all. The table returned has the touched pages. `extents` cover everything that may differ: what a truncation took away and
    a later write extended again is among them. Once the file `is_current` no longer, the rest is not read: one that was removed takes
    up its room for as long as somebody reads it.

    Raises:
        UnstableError: the file is shorter than `size`, or not current.
        OSError: EFBIG, it is larger than any file may be.
    """
    if size > FILE_SIZE_MAX:
        raise OSError(errno.EFBIG, f"a file of more than {FILE_SIZE_MAX >> 40} TiB, holes included, is not sent")
    count = block_count(size)
    if count <= 1:
        return block_hash(read_exactly(descriptor, 0, size)), None
    draft = _Draft(size, old)
    reread: list[BlockRange] = []
    for first, last in touched_blocks(old.size, size, extents) if old is not None else [(0, count)]:
        for number in range(first // PAGE_HASHES, -(-last // PAGE_HASHES)):
            within = number * PAGE_HASHES, min((number + 1) * PAGE_HASHES, count)
            if draft.take(number):
                within = max(first, within[0]), min(last, within[1])
            reread.append(within)
    for within in _merged(reread, count):
        _hash_range(descriptor, size, draft, within, is_current)
    return draft.finished()


def retabled(old: BlockTable, size: int, hashes: dict[int, bytes]) -> tuple[bytes, BlockTable]:
    """Return (root, table) of a content of more than one block that differs from the one of `old` in blocks of these hashes.

    What is behind the old end, and has no hash there, is zeros; the first and the last block there have one.

    Raises:
        KeyError: `old` has not all their pages at hand.
    """
    draft = _Draft(size, old)
    old_count, count = block_count(old.size), block_count(size)
    for page in {number // PAGE_HASHES for number in hashes}:
        if not draft.take(page) and page < old.page_count:
            raise KeyError(page)
    if old_count < count:
        draft.put_zeros(old_count, count)
    for number, digest in hashes.items():
        draft.put(number, digest)
    return draft.finished()


def read_blocks(descriptor: int, first: int, count: int) -> list[bytes]:
    """Return up to `count` blocks from block `first` on; fewer where the file ends."""
    data = os.pread(descriptor, count * BLOCK_SIZE, first * BLOCK_SIZE)
    return [data[at : at + BLOCK_SIZE] for at in range(0, len(data), BLOCK_SIZE)]


def verify(descriptor: int, size: int, root: bytes) -> bool:
    """Return whether a file holds exactly the content of `size` bytes that `root` names."""
    if os.fstat(descriptor).st_size != size:
        return False
    try:
        return rehash(descriptor, size)[0] == root
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


def data_extents(descriptor: int, first: int, end: int, count_max: int) -> list[Extent] | None:
    """Return what may hold anything but zeros from the byte `first` to before `end`, ascending; None if in more pieces than that."""
    found: list[Extent] = []
    while first < end:
        try:
            start = os.lseek(descriptor, first, os.SEEK_DATA)
            stop = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:  # the file system does not tell holes
                found.append((first, end - first))
            break
        if start < end:
            found.append((start, min(stop, end) - start))
        if len(found) > count_max:
            return None
        first = stop
    return found


def _hash_range(descriptor: int, size: int, draft: _Draft, within: BlockRange, is_current: Callable[[], bool]) -> None:
    """Put the hashes of the blocks `within` into the draft."""
    first, last = within
    draft.put_zeros(first, last)
    for data_first, data_last in data_ranges(descriptor, size, within):
        for start in range(data_first, data_last, _READ_BLOCKS):
            if not is_current():
                raise UnstableError("a file changed while it was read")
            _hash_read(descriptor, size, draft, start, min(start + _READ_BLOCKS, data_last))
    if last == block_count(size) and size % BLOCK_SIZE:
        # A short last block is not the block of zeros that a hole stands for.
        _hash_read(descriptor, size, draft, last - 1, last)


def _hash_read(descriptor: int, size: int, draft: _Draft, first: int, last: int) -> None:
    start, end = first * BLOCK_SIZE, min(last * BLOCK_SIZE, size)
    view = memoryview(read_exactly(descriptor, start, end - start))
    hashes = [block_hash(view[at : at + BLOCK_SIZE]) for at in range(0, len(view), BLOCK_SIZE)]
    draft.put(first, b"".join(hashes))


def _merged(ranges: Iterable[BlockRange], count: int) -> list[BlockRange]:
    """Return `ranges` cut to `count` blocks, ascending, without overlap."""
    merged: list[BlockRange] = []
    for first, last in sorted((first, min(last, count)) for first, last in ranges if first < min(last, count)):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged
