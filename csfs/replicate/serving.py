"""Answers a peer that asks for a content: from a file that shows it, or from a kept version."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from csfs.core.paths import RelPath
from csfs.errors import CsfsError, RemoteProtocolError
from csfs.replicate.volume import Root
from csfs.replicate.worker import VolumeWorker
from csfs.store.hashing import HASH_SIZE, block_hash, hash_of_block
from csfs.wire.messages import (
    BLOCKS_PER_REQUEST_MAX,
    TABLE_HASHES_MAX,
    Blocks,
    GetBlocks,
    GetTable,
    PeerMessage,
    Table,
    Unavailable,
)

log = logging.getLogger(__name__)


class Serving:
    """Answers one peer for one volume: contents of the groups that it is in, and nothing else."""

    def __init__(self, worker: VolumeWorker, peer: str) -> None:
        self._volume = worker.volume
        self._scopes = worker.volume.scopes(peer)

    def _may_read(self, path: RelPath) -> bool:
        group = self._volume.rules.group_of(path)
        return group is not None and group.scope in self._scopes

    async def answer(self, question: GetTable | GetBlocks, send: Callable[[PeerMessage], Awaitable[None]]) -> None:
        """Answer one question; a link that broke meanwhile needs no answer."""
        answer: PeerMessage
        if isinstance(question, GetTable):
            answer = self._table(question)
        else:
            answer = await self._blocks(question)
        try:
            await send(answer)
        except CsfsError:
            pass

    def _table(self, question: GetTable) -> Table | Unavailable:
        table = self._volume.index.ledger.table(question.hash)
        part = table[question.first * HASH_SIZE :][: TABLE_HASHES_MAX * HASH_SIZE]
        if not part:
            return Unavailable(question.request)
        return Table(question.request, question.first, len(table) // HASH_SIZE, part)

    async def _blocks(self, question: GetBlocks) -> Blocks | Unavailable:
        if not 0 < question.count <= BLOCKS_PER_REQUEST_MAX or question.first < 0:
            raise RemoteProtocolError(f"a request for {question.count} blocks, limit {BLOCKS_PER_REQUEST_MAX}")
        volume = self._volume
        table = volume.index.ledger.table(question.hash)
        paths = [path for path in volume.index.rows.paths_with_hash(question.hash) if self._may_read(path)]
        kept = [name for name, path in volume.index.ledger.kept_with_hash(question.hash) if self._may_read(path)]
        data = volume.contents.get(question.hash)
        if data is not None and paths and question.first == 0 and question.count == 1:
            return Blocks(question.request, 0, (data,))
        try:
            blocks = await volume.with_root(_read, paths, kept, question, table)
        except trio.ClosedResourceError:
            return Unavailable(question.request)
        if blocks is None:
            return Unavailable(question.request)
        return Blocks(question.request, question.first, tuple(blocks))


def _read(root: Root, paths: list[RelPath], kept: list[bytes], question: GetBlocks, table: bytes) -> list[bytes] | None:
    """Return the blocks asked for from the first place that has them; for a thread."""
    wanted = [hash_of_block(question.hash, table, question.first + at) for at in range(question.count)]
    tree, kept_store = root.tree, root.stage.kept
    readers = [partial(tree.read_blocks, path) for path in paths] + [partial(kept_store.read_blocks, n) for n in kept]
    for read in readers:
        try:
            blocks = read(question.first, question.count)
        except (OSError, CsfsError) as error:
            log.debug("content not read: %s", error)
            continue
        if [block_hash(block) for block in blocks] == wanted:
            return blocks
    return None
