"""Says to a peer that its versions are here, once they are: what a program there waits for (R26).

Never by way of a commit. Who waits there may hold, in the kernel, what a commit there needs, while a program here holds what one here
needs and waits for the other: they would wait for each other. What is not shown soon is therefore stored as a kept version first.
"""

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

import trio

from csfs.core.objects import Applied, Observation
from csfs.core.paths import RelPath, checked
from csfs.core.records import ContentEntry
from csfs.core.rows import Plan, Row, Step
from csfs.engine.claims import contents_claimed, includes
from csfs.engine.live import PRIVATE_META
from csfs.errors import CsfsError, RemoteProtocolError
from csfs.index.ledger import Cause, KeptVersion
from csfs.replicate.asking import VOUCH_S_MAX
from csfs.replicate.gate import kept_name, staged_name
from csfs.replicate.volume import Root
from csfs.replicate.worker import VolumeWorker
from csfs.store.stage import Source
from csfs.wire.messages import Claim, PeerMessage, Vouch, Vouched

log = logging.getLogger(__name__)

VOUCHES_MAX = 2_000
"""What one peer waits for at a time; of more, nothing is said: its programs wait as long as their group says."""
SHOWN_S = 0.05
"""Within this time a content is mostly shown, and need not be stored twice."""
AGAIN_S = 0.5


class Vouchers:
    """Answers one peer, for all volumes."""

    def __init__(self, peer: str, send: Callable[[PeerMessage], Awaitable[None]]) -> None:
        self._peer = peer
        self._send = send
        self._under_way = 0

    async def answer(self, worker: VolumeWorker, question: Vouch) -> None:
        """Answer one question, or not, where what is claimed does not come.

        Raises:
            RemoteProtocolError: it names what is no path.
        """
        if self._under_way >= VOUCHES_MAX:
            return
        self._under_way += 1
        try:
            vouching = Vouching(worker, self._peer)
            if await vouching.has(question):
                await self._send(Vouched(question.request))
                await vouching.store(question)
        except ValueError as error:
            raise RemoteProtocolError(f"peer {self._peer}: {error}") from error
        except (OSError, CsfsError) as error:
            log.info("%s: not said to %s to be here: %s", question.volume, self._peer, error)
        finally:
            self._under_way -= 1


class Vouching:
    """Answers one peer's questions about one volume."""

    def __init__(self, worker: VolumeWorker, peer: str) -> None:
        self._worker = worker
        self._volume = worker.volume
        self._scopes = worker.volume.scopes(peer)

    async def has(self, question: Vouch) -> bool:
        """Return True once all that is claimed is here; False when that takes too long, or is none of the peer's business."""
        with trio.move_on_after(VOUCH_S_MAX):
            while True:
                await self._volume.ready.wait_until(lambda: self._volume.root is not None and not self._volume.stopped)
                try:
                    return await self._has_all(question)
                except trio.ClosedResourceError:
                    continue  # unmounted in the middle
        return False

    async def store(self, question: Vouch) -> None:
        """Have what was in memory alone when this was said on disk soon, shown or not.

        What loses a conflict before it is shown, or is not known any more because its author has lost it, too, would be nowhere.
        """
        with contextlib.suppress(trio.ClosedResourceError):
            for claim in () if question.durable else question.claims:
                for path, entry in contents_claimed(self._volume.index.rows, RelPath(claim.path), claim) or ():
                    await self._has_content(path, entry, durable=True)

    async def _has_all(self, question: Vouch) -> bool:
        for claim in question.claims:
            if not await self._has_claimed(claim, question.durable):
                return False
        if question.durable and question.claims:
            await self._worker.durability.reach()
        return True

    async def _has_claimed(self, claim: Claim, durable: bool) -> bool:
        path = checked(claim.path)
        group = self._volume.rules.group_of(path)
        if group is None or group.scope not in self._scopes:
            return False
        rows = self._volume.index.rows
        while True:
            await self._volume.progress.wait_until(lambda: includes(rows, path, claim))
            found = contents_claimed(rows, path, claim)
            if self._is_stored(claim.hash) if found is None else await self._has_contents(found, durable=durable):
                return True
            await trio.sleep(AGAIN_S)

    # --------------------------------------------------------------------------------------------------------- contents

    def _is_stored(self, content_hash: bytes) -> bool:
        index = self._volume.index
        return bool(index.rows.paths_with_hash(content_hash) or index.ledger.kept_with_hash(content_hash))

    async def _has_contents(self, found: Sequence[tuple[RelPath, ContentEntry]], *, durable: bool) -> bool:
        for path, entry in found:
            if not await self._has_content(path, entry, durable=durable):
                return False
        return True

    async def _has_content(self, path: RelPath, entry: ContentEntry, *, durable: bool) -> bool:
        """Have the content of an entry here, on disk if it is to be `durable` or has to wait there for its turn."""
        volume, digest = self._volume, entry.value.hash
        if self._is_stored(digest):
            return True
        row = volume.index.rows.row(path)
        if row is None or not await self._worker.sources.obtained(_plan_of(path, entry, row)):
            return self._is_stored(digest)
        if volume.may_apply and self._is_winner(path, entry):
            if not durable:
                return True
            with trio.move_on_after(SHOWN_S):
                await volume.progress.wait_until(lambda: self._is_stored(digest))
        return self._is_stored(digest) or await self._store(path, entry)

    def _is_winner(self, path: RelPath, entry: ContentEntry) -> bool:
        live = self._volume.engine.live(path)
        return live is not None and live.content_dot == entry.dot

    async def _store(self, path: RelPath, entry: ContentEntry) -> bool:
        """Store a content that is here as a kept version; return whether it could be."""
        volume = self._volume
        row = volume.index.rows.row(path)
        plan = _plan_of(path, entry, row) if row is not None else None
        source = self._worker.sources.find(plan) if plan is not None else None
        if plan is None or source is None:
            return False
        commit_id, now_ns = volume.next_commit_id(), time.time_ns()
        names = staged_name(self._worker.observer.digested, commit_id), kept_name(now_ns, commit_id)
        try:
            found = await volume.with_root(_stored, plan, source, *names)
        except (OSError, CsfsError) as error:
            log.info("%s: a content was not stored for a peer: %s", volume.name, error)
            return False
        loser = not self._is_winner(path, entry)
        author = volume.authors.get(entry.dot.incarnation, "")
        kept = KeptVersion(
            names[1], path, now_ns, found.size, found.hash, loser, Applied(observation=found), Cause.STORED, author
        )
        with volume.index.transaction():
            volume.index.ledger.add_kept(kept)
        self._worker.sources.used(entry.value.hash)  # what had arrived may have become the kept version
        return True


def _plan_of(path: RelPath, entry: ContentEntry, row: Row) -> Plan:
    """Return what would show an entry, for whoever finds contents."""
    return Plan(
        path=path,
        step=Step.INSTALL,
        expected=None,
        base=row.applied.observation,
        content=entry.value,
        meta=entry.snapshot or PRIVATE_META,
        mtime_ns=entry.value.mtime_ns,
        keep=False,
        content_dot=entry.dot,
        content_seen={},
        meta_dot=None,
        meta_seen={},
    )


def _stored(root: Root, plan: Plan, source: Source, staged: bytes, kept: bytes) -> Observation:
    """Build an object as it would be shown, and put it among the kept versions; for a thread."""
    assert plan.meta is not None
    built = root.stage.build(staged, plan.content, plan.meta, plan.mtime_ns, source)
    root.stage.rescue(staged, kept)
    return built.observation
