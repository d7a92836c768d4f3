"""Contents put together of what an older version has at other places: a dump that was written anew, with a little put in between.

The peer that has the content says how its bytes are cut into segments (`store.segments`), and this member looks which of them the
file here has. The rest is asked for byte by byte. What comes of it is verified block by block like any content, and what is
wrong is asked for as blocks: nothing depends on segments being what they seem.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Protocol

import trio

from csfs.core.changes import Extent
from csfs.core.extents import merged
from csfs.core.records import Content
from csfs.core.tables import BlockTable
from csfs.errors import ContentMismatchError, CsfsError
from csfs.replicate.assembling import Holder, opened
from csfs.replicate.volume import Root, Volume
from csfs.store.hashing import BLOCK_SIZE, block_count, block_size
from csfs.store.segments import Segment, average_of, segments_of
from csfs.wire.segments import BLOCKS_CUT_MAX, EXTENTS_PER_REQUEST_MAX, EXTENTS_SIZE_MAX

MISSING_MIN = 16
"""Blocks; of fewer, to look for more than blocks is not worth it."""
MISSING_SHARE = 8
"""A content of which less than this part is missing was changed in place."""
ALIKE_SHARE = 8
"""Where less than this part of what was cut is here, the two have nothing in common."""
WINDOWS_AT_ONCE = 2


class SegmentRequester(Protocol):
    """One connected peer, as something to ask how a content is cut, and for parts of it."""

    async def segments(
        self, volume: str, content_hash: bytes, first: int, count: int, average: int
    ) -> Sequence[Segment] | None:
        """Return how blocks of a content are cut, None if the peer has it not."""
        ...

    async def extents(self, volume: str, content_hash: bytes, extents: Sequence[Extent]) -> Sequence[bytes] | None:
        """Return parts of a content, None if the peer has it not."""
        ...


def is_worth_it(content: Content, missing: Collection[int]) -> bool:
    """Return whether so much of a content is missing that an older version may have it elsewhere."""
    needed = max(MISSING_MIN, block_count(content.size) // MISSING_SHARE)
    return len(missing) >= needed and average_of(content.size) > 0


class Segmenting:
    """Puts one content together. `size_fetched` is what came from the peer, in bytes."""

    def __init__(
        self, volume: Volume, requester: SegmentRequester, content: Content, table: BlockTable, holder: Holder
    ) -> None:
        self.made: set[int] = set()
        """Blocks that are here, verified."""
        self.size_fetched = 0
        self._volume = volume
        self._requester = requester
        self._content = content
        self._table = table
        self._holder = holder
        self._average = average_of(content.size)
        self._known: dict[Segment, int] = {}
        self._here = self._cut = 0

    async def run(self, missing: Sequence[int]) -> None:
        """Make as many of the blocks `missing` as there are; the file here may turn out to be of no use.

        Raises:
            trio.ClosedResourceError, CsfsError, OSError: as of any fetch.
        """
        self._known = await self._volume.with_root(_segments_of, self._holder, self._average)
        windows = _windows(missing)
        await self._window(windows[0])
        left = iter(windows[1:])
        failures: list[Exception] = []
        async with trio.open_nursery() as nursery:
            for _ in range(WINDOWS_AT_ONCE):
                nursery.start_soon(self._take, left, failures)
        if failures:
            raise failures[0]

    async def _take(self, windows: Iterator[list[int]], failures: list[Exception]) -> None:
        for window in windows:
            if failures or self._is_unlike:
                return
            try:
                await self._window(window)
            except (trio.ClosedResourceError, CsfsError, OSError) as error:
                failures.append(error)

    @property
    def _is_unlike(self) -> bool:
        return self._here * ALIKE_SHARE < self._cut

    async def _window(self, wanted: list[int]) -> None:
        """Make blocks that lie close together."""
        content, volume = self._content, self._volume
        first, last = wanted[0], wanted[-1]
        begin = first * BLOCK_SIZE
        size = sum(block_size(number, content.size) for number in range(first, last + 1))
        segments = await self._requester.segments(volume.name, content.hash, first, last - first + 1, self._average)
        if segments is None or sum(length for length, _ in segments) != size or min(segments)[0] < 1:
            self._cut += size
            return
        needed = merged((n * BLOCK_SIZE - begin, block_size(n, content.size)) for n in wanted)
        copies: list[tuple[int, int, int]] = []
        lacking: list[Extent] = []
        at = 0
        for segment in segments:
            length, source = segment[0], self._known.get(segment)
            if any(at < end + reach and end < at + length for end, reach in needed):
                self._cut += length
                if source is not None:
                    self._here += length
                    copies.append((source, at, length))
                else:
                    lacking.append((at, length))
            at += length
        if self._is_unlike:
            return
        data = bytearray(size)
        for extents in _requests(merged(lacking)):
            shifted = [(begin + offset, length) for offset, length in extents]
            parts = await self._requester.extents(volume.name, content.hash, shifted)
            if parts is None:
                return
            for (offset, length), part in zip(extents, parts, strict=True):
                data[offset : offset + length] = part
            self.size_fetched += sum(map(len, parts))
        made = await volume.with_root(_written, content.hash, self._table, self._holder, data, copies, wanted)
        self.made.update(made)


def _windows(missing: Sequence[int]) -> list[list[int]]:
    """Return the numbers of blocks in groups that are cut in one go."""
    groups: dict[int, list[int]] = {}
    for number in sorted(missing):
        groups.setdefault(number // BLOCKS_CUT_MAX, []).append(number)
    return list(groups.values())


def _requests(lacking: Iterable[Extent]) -> Iterator[list[Extent]]:
    """Yield what one message may ask for."""
    extents: list[Extent] = []
    size = 0
    for offset, length in lacking:
        while length:
            part = min(length, EXTENTS_SIZE_MAX - size)
            extents.append((offset, part))
            offset, length, size = offset + part, length - part, size + part
            if size == EXTENTS_SIZE_MAX or len(extents) == EXTENTS_PER_REQUEST_MAX:
                yield extents
                extents, size = [], 0
    if extents:
        yield extents


def _segments_of(root: Root, holder: Holder, average: int) -> dict[Segment, int]:
    """Return where the segments of a file here are; none if it is gone. For a thread."""
    try:
        with opened(root, holder) as descriptor:
            return segments_of(descriptor, holder.table.size, average)
    except (OSError, CsfsError):
        return {}


def _written(
    root: Root,
    content_hash: bytes,
    table: BlockTable,
    holder: Holder,
    data: bytearray,
    copies: Sequence[tuple[int, int, int]],
    wanted: Sequence[int],
) -> list[int]:
    """Fill `data` up with what the file here has, write those blocks of it that are right, and return them; for a thread."""
    try:
        with opened(root, holder) as descriptor:
            for source, at, length in copies:
                part = os.pread(descriptor, length, source)
                data[at : at + len(part)] = part
    except (OSError, CsfsError):
        return []
    root.stage.partials.check_room(len(wanted) * BLOCK_SIZE)
    made = []
    for number in wanted:
        at = (number - wanted[0]) * BLOCK_SIZE
        try:
            root.stage.partials.write_block(
                content_hash, number, bytes(data[at : at + BLOCK_SIZE]), table.hash_of(number)
            )
        except ContentMismatchError:
            continue
        made.append(number)
    return made
