"""Fetches contents from peers: small ones whole, larger ones block by block into a partial file that outlives a crash.

Blocks that the old version of the same path holds are taken from there. Every block is verified before it is written.
"""

import contextlib
import errno
import logging
from collections.abc import Sequence
from typing import Protocol

import trio

from csfs.core.rows import Plan
from csfs.errors import ContentMismatchError, CsfsError
from csfs.replicate.volume import Root, Volume
from csfs.store.hashing import BLOCK_SIZE, HASH_SIZE, ZERO_HASH, block_count, block_hash, hash_of_block, table_root
from csfs.wire.messages import BLOCKS_PER_REQUEST_MAX

log = logging.getLogger(__name__)

REQUESTS_IN_FLIGHT_MAX = 4
"""Requests under way for one content: enough to keep a link busy, few enough to bound memory."""
FAILURES = (trio.ClosedResourceError, CsfsError, OSError)
"""What may end a fetch: unmounted meanwhile, the link lost, the disk full. Another peer, or a later try, may do better."""


class Requester(Protocol):
    """One connected peer, as something to ask for contents."""

    async def table(self, volume: str, content_hash: bytes, count: int) -> bytes | None:
        """Return the block hashes of a content, None if the peer has it not."""
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

    async def fetch(self, plan: Plan) -> bool:
        """Get the content of `plan` here; return whether somebody had it."""
        for peer in self._peers(plan):
            requester = self.requesters.get(peer)
            if requester is None:
                continue
            try:
                if await self._fetch_from(requester, plan):
                    return True
            except FAILURES as error:
                log.info("%s: content not fetched from %s: %s", self._volume.name, peer, error)
                if isinstance(error, OSError):
                    self._volume.set_problem(plan.path, f"content not stored: {error.strerror}")
                    await self._make_room(plan, error)
        return False

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
        table = await self._table(requester, content.hash, content.size)
        return table is not None and await self._fetch_blocks(requester, plan, table)

    async def _table(self, requester: Requester, content_hash: bytes, size: int) -> bytes | None:
        known = self._volume.index.ledger.table(content_hash)
        if known:
            return known
        table = await requester.table(self._volume.name, content_hash, block_count(size))
        if table is None or len(table) != block_count(size) * HASH_SIZE or table_root(size, table) != content_hash:
            return None
        with self._volume.index.transaction():
            self._volume.index.ledger.add_table(content_hash, table)
        return table

    async def _fetch_blocks(self, requester: Requester, plan: Plan, table: bytes) -> bool:
        content = plan.content
        base_table = self._volume.index.ledger.table(plan.base.hash) if plan.base is not None else b""
        present = await self._volume.with_root(_started, plan, table, base_table)
        missing = [number for number in range(block_count(content.size)) if number not in present]
        failures: list[Exception] = []
        complete = True

        async def worker(receive: trio.MemoryReceiveChannel[tuple[int, int]]) -> None:
            nonlocal complete
            async with receive:
                async for first, count in receive:
                    # One range after another is refused once something failed: nobody would take it from the channel else.
                    try:
                        complete = complete and await self._fetch_range(requester, plan, table, first, count)
                    except FAILURES as error:
                        failures.append(error)
                        complete = False

        send, receive = trio.open_memory_channel[tuple[int, int]](0)
        async with trio.open_nursery() as nursery:
            for _ in range(REQUESTS_IN_FLIGHT_MAX):
                nursery.start_soon(worker, receive.clone())
            receive.close()
            async with send:
                for first, count in _ranges(missing):
                    await send.send((first, count))
        if failures:
            raise failures[0]
        return complete

    async def _fetch_range(self, requester: Requester, plan: Plan, table: bytes, first: int, count: int) -> bool:
        content = plan.content
        blocks = await requester.blocks(self._volume.name, content.hash, first, count)
        if blocks is None or len(blocks) != count:
            return False
        try:
            await self._volume.with_root(_write, content.hash, table, first, blocks)
        except ContentMismatchError:
            return False
        self.bytes_fetched += sum(map(len, blocks))
        self._volume.progress.notify()
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


def _write(root: Root, content_hash: bytes, table: bytes, first: int, blocks: Sequence[bytes]) -> None:
    """Write blocks that arrived, each verified; for a thread."""
    root.stage.partials.check_room(sum(map(len, blocks)))
    for number, block in enumerate(blocks, first):
        root.stage.partials.write_block(content_hash, number, block, hash_of_block(content_hash, table, number))


def _discard(root: Root, content_hash: bytes) -> None:
    root.stage.partials.discard(content_hash)


def _started(root: Root, plan: Plan, table: bytes, base_table: bytes) -> set[int]:
    """Begin a partial content, or go on with one; return the blocks that are here. For a thread.

    What an earlier try left is verified by reading it. Blocks that the old version of the path has are copied from it.
    """
    content, partials = plan.content, root.stage.partials
    present: set[int] = set()
    if partials.begin(content.hash, content.size):
        present = partials.present_blocks(content.hash, table)
    held = {base_table[at : at + HASH_SIZE]: at // HASH_SIZE for at in range(0, len(base_table), HASH_SIZE)}
    wanted = [(hash_of_block(content.hash, table, number), number) for number in range(len(table) // HASH_SIZE)]
    missing = [(digest, number) for digest, number in wanted if number not in present]
    # A block of zeros stays a hole.
    partials.check_room(BLOCK_SIZE * sum(digest != ZERO_HASH for digest, _ in missing))
    pairs = [(held[digest], number) for digest, number in missing if digest in held]
    if not pairs:
        return present
    try:
        with root.tree.open_file(plan.path) as source:
            partials.copy_blocks(content.hash, source, pairs)
    except OSError:
        return present
    # The old version may have changed since it was hashed: what was copied counts once it was read again.
    return partials.present_blocks(content.hash, table)
