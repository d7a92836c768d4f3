"""Answers a peer that asks for a content: from a file that shows it, or from a kept version."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import trio

from csfs.core.changes import Extent
from csfs.core.digests import Range
from csfs.core.paths import RelPath
from csfs.core.tables import HASH_SIZE
from csfs.core.versions import Scope
from csfs.errors import CsfsError, RemoteProtocolError
from csfs.replicate.portions import portions
from csfs.replicate.sights import sights
from csfs.replicate.volume import Root, Volume
from csfs.replicate.walking import parts_in
from csfs.replicate.worker import VolumeWorker
from csfs.store.hashing import BLOCK_SIZE, block_count, block_hash
from csfs.store.segments import Segment, cut, is_average
from csfs.wire.messages import (
    BLOCKS_PER_REQUEST_MAX,
    SUMMARY_HASHES_MAX,
    Blocks,
    GetBlocks,
    GetPages,
    GetParts,
    GetRecords,
    GetSights,
    GetSummary,
    Pages,
    Parts,
    PeerMessage,
    Question,
    Sight,
    Sights,
    Summary,
    Told,
    Unavailable,
    Update,
)
from csfs.wire.segments import BLOCKS_CUT_MAX, EXTENTS_SIZE_MAX, Extents, GetExtents, GetSegments, Segments

log = logging.getLogger(__name__)

T = TypeVar("T")


class Serving:
    """Answers one peer for one volume: contents of the groups that it is in, and nothing else."""

    def __init__(self, worker: VolumeWorker, peer: str) -> None:
        self._volume = worker.volume
        self._sights_limit = worker.sights_limit
        self._scopes = worker.volume.scopes(peer)

    def _may_read(self, path: RelPath) -> bool:
        group = self._volume.rules.group_of(path)
        return group is not None and group.scope in self._scopes

    async def answer(self, question: Question, send: Callable[[PeerMessage], Awaitable[None]]) -> None:
        """Answer one question; a link that broke meanwhile needs no answer."""
        answer: PeerMessage
        match question:
            case GetSummary():
                answer = self._summary(question)
            case GetPages():
                answer = self._pages(question)
            case GetBlocks():
                answer = await self._blocks(question)
            case GetSegments():
                answer = await self._segments(question)
            case GetExtents():
                answer = await self._extents(question)
            case GetParts():
                answer = await self._parts(question)
            case GetRecords():
                answer = self._records(question)
            case GetSights():
                answer = await self._sights(question)
        try:
            await send(answer)
        except CsfsError:
            pass

    async def _parts(self, question: GetParts) -> Parts | Unavailable:
        if question.scope not in self._scopes or not self._volume.is_sorted:
            return Unavailable(question.request)
        asked = Range(question.above, question.last)
        return Parts(question.request, await trio.to_thread.run_sync(parts_in, self._volume, question.scope, asked))

    async def _sights(self, question: GetSights) -> Sights | Unavailable:
        if question.scope not in self._scopes or not self._volume.is_sorted:
            return Unavailable(question.request)
        asked = Range(question.above, question.last)
        try:
            async with self._sights_limit:
                found = await self._volume.with_root(_seen, self._volume, question.scope, asked)
        except trio.ClosedResourceError:
            return Unavailable(question.request)
        return Sights(question.request, *found)

    def _records(self, question: GetRecords) -> Told | Unavailable:
        """Return as many of the records asked for as one message holds, the first at least."""
        if question.scope not in self._scopes:
            return Unavailable(question.request)
        told, count = list[Update](), 0
        for path in question.paths:
            more = self._volume.engine.records(question.scope, [RelPath(path)])
            if told and len(portions([*told, *more])) > 1:
                break
            told += more
            count += 1
        return Told(question.request, count, tuple(told))

    def _summary(self, question: GetSummary) -> Summary | Unavailable:
        summary = self._volume.index.tables.summary(question.hash) if any(self._readable(question.hash)) else b""
        part = summary[max(0, question.first) * HASH_SIZE :][: SUMMARY_HASHES_MAX * HASH_SIZE]
        if not part:
            return Unavailable(question.request)
        return Summary(question.request, question.first, len(summary) // HASH_SIZE, part)

    def _pages(self, question: GetPages) -> Pages | Unavailable:
        # The size is of no concern here: pages are asked for by number.
        table = self._volume.index.tables.part(question.hash, 0, [n for n in question.numbers if n >= 0])
        if (
            table is None
            or not any(self._readable(question.hash))
            or not all(number in table.pages for number in question.numbers)
        ):
            return Unavailable(question.request)
        return Pages(question.request, tuple(table.pages[number] for number in question.numbers))

    def _readable(self, content_hash: bytes) -> tuple[list[RelPath], list[bytes]]:
        """Return where a content is that the peer may see: paths, and names in the kept store."""
        index = self._volume.index
        paths = [path for path in index.rows.paths_with_hash(content_hash) if self._may_read(path)]
        kept = [name for name, path in index.ledger.kept_with_hash(content_hash) if self._may_read(path)]
        return paths, kept

    async def _segments(self, question: GetSegments) -> Segments | Unavailable:
        if not 0 < question.count <= BLOCKS_CUT_MAX or question.first < 0 or not is_average(question.average):
            raise RemoteProtocolError(f"a request to cut {question.count} blocks, limit {BLOCKS_CUT_MAX}")
        found = await self._part(question.hash, question.first, question.count, partial(_cut, question.average))
        if found is None:
            return Unavailable(question.request)
        return Segments(question.request, tuple(size for size, _ in found), b"".join(digest for _, digest in found))

    async def _extents(self, question: GetExtents) -> Extents | Unavailable:
        extents = question.extents
        first = min(offset for offset, _ in extents) // BLOCK_SIZE
        count = block_count(max(offset + size for offset, size in extents)) - first
        is_sound = all(size > 0 for _, size in extents) and sum(size for _, size in extents) <= EXTENTS_SIZE_MAX
        if not is_sound or first < 0 or not 0 < count <= BLOCKS_CUT_MAX:
            raise RemoteProtocolError(f"a request for parts of {count} blocks, limit {BLOCKS_CUT_MAX}")
        shifted = [(offset - first * BLOCK_SIZE, size) for offset, size in extents]
        found = await self._part(question.hash, first, count, partial(_parts, shifted))
        return Extents(question.request, tuple(found)) if found is not None else Unavailable(question.request)

    async def _part(self, content_hash: bytes, first: int, count: int, use: Callable[[Sequence[bytes]], T]) -> T | None:
        """Return what `use` makes, in a thread, of blocks of a content of several; None if they are not here."""
        hashes = self._volume.index.tables.hashes(content_hash, first, count)
        if len(hashes) < count * HASH_SIZE:
            return None

        def used(root: Root, paths: list[RelPath], kept: list[bytes]) -> T | None:
            blocks = _read(root, paths, kept, first, count, hashes)
            return use(blocks) if blocks is not None else None

        try:
            return await self._volume.with_root(used, *self._readable(content_hash))
        except trio.ClosedResourceError:
            return None

    async def _blocks(self, question: GetBlocks) -> Blocks | Unavailable:
        if not 0 < question.count <= BLOCKS_PER_REQUEST_MAX or question.first < 0:
            raise RemoteProtocolError(f"a request for {question.count} blocks, limit {BLOCKS_PER_REQUEST_MAX}")
        volume = self._volume
        hashes = volume.index.tables.hashes(question.hash, question.first, question.count)
        paths, kept = self._readable(question.hash)
        data = volume.contents.get(question.hash)
        if data is not None and paths and question.first == 0 and question.count == 1:
            return Blocks(question.request, 0, (data,))
        try:
            blocks = await volume.with_root(_read, paths, kept, question.first, question.count, hashes or question.hash)
        except trio.ClosedResourceError:
            return Unavailable(question.request)
        if blocks is None and question.first == 0 and question.count == 1:
            blocks = self._held(question.hash)
        if blocks is None:
            return Unavailable(question.request)
        return Blocks(question.request, question.first, tuple(blocks))

    def _held(self, content_hash: bytes) -> list[bytes] | None:
        """Return what is held for a merge, which is one block."""
        bases = self._volume.index.bases
        data = bases.content(content_hash) if any(map(self._may_read, bases.paths(content_hash))) else None
        return [data] if data is not None else None


def _cut(average: int, blocks: Sequence[bytes]) -> list[Segment]:
    return cut(b"".join(blocks), average)


def _parts(extents: Sequence[Extent], blocks: Sequence[bytes]) -> list[bytes]:
    data = b"".join(blocks)
    return [data[offset : offset + size] for offset, size in extents]


def _read(
    root: Root, paths: list[RelPath], kept: list[bytes], first: int, count: int, hashes: bytes
) -> list[bytes] | None:
    """Return the blocks asked for, which have these hashes, from the first place that has them; for a thread."""
    wanted = [hashes[at : at + HASH_SIZE] for at in range(0, len(hashes), HASH_SIZE)]
    tree, kept_store = root.tree, root.stage.kept
    readers = [partial(tree.read_blocks, path) for path in paths] + [partial(kept_store.read_blocks, n) for n in kept]
    for read in readers:
        try:
            blocks = read(first, count)
        except (OSError, CsfsError) as error:
            log.debug("content not read: %s", error)
            continue
        if [block_hash(block) for block in blocks] == wanted:
            return blocks
    return None


def _seen(root: Root, volume: Volume, scope: Scope, asked: Range) -> tuple[bytes, tuple[Sight, ...]]:
    return sights(volume, root, scope, asked)
