"""Fetches contents from peers: small ones whole, larger ones block by block into a partial file that outlives a crash.

Blocks that are on this host already are taken from there (`assembling`). Every block is verified before it is written.
"""

import contextlib
import errno
import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol

import trio

from csfs.core.records import Content
from csfs.core.rows import Amount, Plan
from csfs.core.tables import HASH_SIZE, BlockTable
from csfs.errors import ContentMismatchError, CsfsError, RemoteProtocolError
from csfs.replicate.assembling import Holder, Portion, holders, is_here, lacking_blocks, portions, telling_blocks
from csfs.replicate.segmenting import Segmenting, SegmentRequester, is_worth_it
from csfs.replicate.volume import Root, Volume
from csfs.store.hashing import BLOCK_SIZE, FILE_SIZE_MAX, block_hash, block_size, page_count, page_hash, summary_root
from csfs.store.overwriting import BLOCKS_ONLY
from csfs.store.stage import FromKept
from csfs.wire.messages import BLOCKS_PER_REQUEST_MAX, PAGES_PER_REQUEST_MAX

log = logging.getLogger(__name__)

REQUESTS_IN_FLIGHT_MAX = 4
"""Requests under way for one content: enough to keep a link busy, few enough to bound memory."""
FAILURES = (trio.ClosedResourceError, CsfsError, OSError)
"""What may end a fetch: unmounted meanwhile, the link lost, the disk full. Another peer, or a later try, may do better."""


class Requester(SegmentRequester, Protocol):
    """One connected peer, as something to ask for contents."""

    async def summary(self, volume: str, content_hash: bytes, count: int) -> bytes | None:
        """Return the hashes of the pages of a content's table, None if the peer has it not."""
        ...

    async def pages(self, volume: str, content_hash: bytes, numbers: Sequence[int]) -> Sequence[bytes] | None:
        """Return pages of a content's table, None if the peer has it not."""
        ...

    async def blocks(self, volume: str, content_hash: bytes, first: int, count: int) -> Sequence[bytes] | None:
        """Return blocks of a content, None if the peer has it not."""
        ...


class Fetcher:
    """Fetches for one volume from whoever is connected."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self.requesters: dict[str, Requester] = {}
        self.bytes_fetched = 0
        self.arrived: dict[bytes, int] = {}
        """How much of a content that is being fetched, or is to be installed next, is here, in bytes."""

    async def fetch(self, plan: Plan) -> bool:
        """Get the content of `plan` here, every block verified; return whether somebody had it."""
        peers = self._peers(plan)
        if (not peers or is_here(self._volume, plan.content)) and await self._put_together(plan):
            return True
        for peer in peers:
            requester = self.requesters.get(peer)
            if requester is None:
                continue
            try:
                if await self._fetch_from(requester, plan):
                    return True
            except FAILURES as error:
                log.info("%s: content not fetched from %s: %s", self._volume.name, peer, error)
                if isinstance(error, OSError):
                    # Of what is not to be shown there any more, nobody would ever say that it is all right again.
                    if self._volume.is_pending(plan.path):
                        self._volume.set_problem(plan.path, f"content not stored: {error.strerror}")
                    await self._make_room(plan, error)
        return False

    def reading(self) -> tuple[Amount, Amount]:
        """Return what is left to be shown, without what has arrived, and what was done since the index was opened, with it."""
        amounts = self._volume.index.rows.amounts
        here = Amount(0, min(sum(self.arrived.values()), amounts.left.size))
        return amounts.left.less(here), amounts.done.plus(here)

    async def _make_room(self, plan: Plan, error: OSError) -> None:
        """What does not fit gives back what it took: on a full disk nothing else would come in."""
        if error.errno == errno.ENOSPC:
            with contextlib.suppress(*FAILURES):
                await self._volume.with_root(_discard, plan.content.hash)
            self._volume.want_room(plan.content.size)

    def _peers(self, plan: Plan) -> list[str]:
        """Return connected peers, the author of the content first."""
        author = self._volume.authors.get(plan.content_dot.incarnation) if plan.content_dot else None
        return sorted(self.requesters, key=lambda peer: peer != author)

    async def _fetch_from(self, requester: Requester, plan: Plan) -> bool:
        content = plan.content
        if content.size <= BLOCK_SIZE:
            blocks = await requester.blocks(self._volume.name, content.hash, 0, 1)
            if not blocks or len(blocks) != 1 or block_hash(blocks[0]) != content.hash:
                return False
            self.bytes_fetched += len(blocks[0])
            self._volume.contents.put(content.hash, blocks[0])
            return True
        table = await self._table(requester, content)
        return table is not None and await self._fetch_blocks(requester, plan, table)

    async def _table(self, requester: Requester, content: Content) -> BlockTable | None:
        """Have the whole table of a content in the index, and return it without its pages; only pages that are not here travel.

        They come portion by portion, and no more of them than there is room for what they say.
        """
        if content.size > FILE_SIZE_MAX:
            raise RemoteProtocolError(f"a content of {content.size} bytes: no file is that large")
        table = self._known_table(content)
        if table is None:
            count = page_count(content.size)
            summary = await requester.summary(self._volume.name, content.hash, count)
            if summary is None or len(summary) != count * HASH_SIZE:
                return None
            if summary_root(content.size, summary) != content.hash:
                return None
            table = BlockTable(content.size, summary, {})
        needed, parts = 0, portions(table)
        for portion in parts:
            part = await self._pages(requester, content, table, portion)
            if part is None:
                return None
            needed += BLOCK_SIZE * len(telling_blocks(part, portion)) if len(parts) > 1 else 0
            if len(parts) > 1:
                await self._volume.with_root(_check_room, content.hash, needed)
            with self._volume.index.transaction():
                self._volume.index.tables.add_part(content.hash, part, *portion.page_range)
        return table

    async def _pages(
        self, requester: Requester, content: Content, table: BlockTable, portion: Portion
    ) -> BlockTable | None:
        """Return a table with the pages of a portion, None if the peer has them not."""
        tables, part = self._volume.index.tables, BlockTable(table.size, table.summary, {})
        lacking = []
        for number in portion.pages:
            page = tables.page(table.page_hash(number))
            if page:
                part.pages[number] = page
            else:
                lacking.append(number)
        for at in range(0, len(lacking), PAGES_PER_REQUEST_MAX):
            numbers = lacking[at : at + PAGES_PER_REQUEST_MAX]
            pages = await requester.pages(self._volume.name, content.hash, numbers)
            if pages is None or any(page_hash(p) != table.page_hash(n) for n, p in zip(numbers, pages, strict=True)):
                return None
            part.pages.update(zip(numbers, pages, strict=True))
        return part

    def _known_table(self, content: Content) -> BlockTable | None:
        """Return the table of a content without its pages; None if it is not here, or the size is not that of the hash."""
        table = self._volume.index.tables.part(content.hash, content.size, ())
        if table is None or table.page_count != page_count(content.size):
            return None
        return table if summary_root(content.size, table.summary) == content.hash else None

    async def _put_together(self, plan: Plan) -> bool:
        """Make the content of what is here alone; return whether that is all of it."""
        content = plan.content
        table = self._known_table(content) if content.size > BLOCK_SIZE else None
        if table is None or not any(holders(self._volume, plan, table, portion) for portion in portions(table)):
            return False
        try:
            return await self._fetch_blocks(None, plan, table)
        except FAILURES as error:
            log.info("%s: content not put together: %s", self._volume.name, error)
            return False

    async def _fetch_blocks(self, requester: Requester | None, plan: Plan, table: BlockTable) -> bool:
        """Get all blocks, portion by portion; without anybody to ask, those that are on this host's disk."""
        content = plan.content
        resumed = await self._volume.with_root(_begin, content)
        self.arrived[content.hash] = 0
        for portion in portions(table):
            part = self._volume.index.tables.part(content.hash, content.size, portion.pages)
            if part is None or len(part.pages) < len(portion.pages):
                return False
            places = holders(self._volume, plan, part, portion)
            lacking = await self._volume.with_root(
                partial(lacking_blocks, resumed=resumed), content, part, portion, places
            )
            self.arrived[content.hash] += portion.size(content.size) - sum(block_size(n, content.size) for n in lacking)
            if requester is not None and is_worth_it(content, lacking):
                lacking -= await self._by_segments(requester, content, part, places, sorted(lacking))
            # Whoever installs it relies on each block having been verified, and does not read them again.
            if lacking and (requester is None or not await self._fetch_lacking(requester, plan, part, sorted(lacking))):
                return False
        return True

    async def _by_segments(
        self,
        requester: Requester,
        content: Content,
        table: BlockTable,
        places: Sequence[Holder],
        lacking: Sequence[int],
    ) -> set[int]:
        """Return the blocks that could be made of what the likeliest file here has at other places."""
        for place in places:
            if not (isinstance(place.file, FromKept) and place.file.name.endswith(BLOCKS_ONLY)):
                segmenting = Segmenting(self._volume, requester, content, table, place)
                try:
                    await segmenting.run(lacking)
                finally:
                    self.bytes_fetched += segmenting.size_fetched
                self._has_arrived(content, segmenting.made)
                return segmenting.made
        return set()

    def _has_arrived(self, content: Content, numbers: Iterable[int]) -> None:
        size = sum(block_size(number, content.size) for number in numbers)
        self.arrived[content.hash] = self.arrived.get(content.hash, 0) + size
        self._volume.progress.notify()

    async def _fetch_lacking(self, requester: Requester, plan: Plan, table: BlockTable, lacking: Sequence[int]) -> bool:
        """Get these blocks, several ranges of them at a time; return whether the peer had them all."""
        failures: list[Exception] = []
        is_lacking = False

        async def worker(receive: trio.MemoryReceiveChannel[tuple[int, int]]) -> None:
            nonlocal is_lacking
            async with receive:
                async for first, count in receive:
                    # One range after another is refused once something failed: nobody would take it from the channel else.
                    if is_lacking:
                        continue
                    try:
                        if not await self._fetch_range(requester, plan, table, first, count):
                            is_lacking = True
                    except FAILURES as error:
                        failures.append(error)
                        is_lacking = True

        send, receive = trio.open_memory_channel[tuple[int, int]](0)
        async with trio.open_nursery() as nursery:
            for _ in range(REQUESTS_IN_FLIGHT_MAX):
                nursery.start_soon(worker, receive.clone())
            receive.close()
            async with send:
                for first, count in _ranges(lacking):
                    await send.send((first, count))
        if failures:
            raise failures[0]
        return not is_lacking

    async def _fetch_range(self, requester: Requester, plan: Plan, table: BlockTable, first: int, count: int) -> bool:
        content = plan.content
        blocks = await requester.blocks(self._volume.name, content.hash, first, count)
        if blocks is None or len(blocks) != count:
            return False
        try:
            await self._volume.with_root(_write, content.hash, table, first, blocks)
        except ContentMismatchError:
            return False
        self.bytes_fetched += sum(map(len, blocks))
        self._has_arrived(content, range(first, first + count))
        return True


def _ranges(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return (first, count) of runs of consecutive block numbers, each as large as one request may ask for."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and sum(ranges[-1]) == number and ranges[-1][1] < BLOCKS_PER_REQUEST_MAX:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + 1)
        else:
            ranges.append((number, 1))
    return ranges


def _begin(root: Root, content: Content) -> bool:
    return root.stage.partials.begin(content.hash, content.size)


def _check_room(root: Root, content_hash: bytes, size: int) -> None:
    """Make sure that a content that takes `size` bytes has room, with what has arrived of it already; for a thread."""
    root.stage.partials.check_room(max(0, size - root.stage.partials.size_here(content_hash)))


def _write(root: Root, content_hash: bytes, table: BlockTable, first: int, blocks: Sequence[bytes]) -> None:
    """Write blocks that arrived, each verified; for a thread."""
    root.stage.partials.check_room(sum(map(len, blocks)))
    for number, block in enumerate(blocks, first):
        root.stage.partials.write_block(content_hash, number, block, table.hash_of(number))


def _discard(root: Root, content_hash: bytes) -> None:
    root.stage.partials.discard(content_hash)
