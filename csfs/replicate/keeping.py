"""What becomes of objects that commits take away: which are kept, under which name, and why they went."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import trio

from csfs.core.objects import Applied, Content, Kind, Meta, Observation
from csfs.core.paths import RelPath
from csfs.core.rows import Plan, Row, Step
from csfs.core.versions import Incarnation
from csfs.engine.live import ABSENT, content_of, holds, is_same_meta, meta_of
from csfs.index.ledger import Cause, KeptVersion
from csfs.replicate.doubts import UNSURE_NS
from csfs.replicate.gate import kept_name
from csfs.replicate.linking import Shared, shared_inode
from csfs.replicate.looking import look_at_kept
from csfs.replicate.volume import Volume
from csfs.replicate.works import delete_kept
from csfs.store.overwriting import BLOCKS_ONLY

KEPT_ROWS_MAX = 100_000
"""A version without an object costs a row in the index, some 300 bytes."""
NOTED_ROWS_MAX = 2 * KEPT_ROWS_MAX
"""Of a great many changes in one go, the rest is not noted: to trim more holds up everything else for too long."""


@dataclass(slots=True)
class Promise:
    """Whatever the next commit at a path takes away is kept, or noted, so that a command can be taken back.

    `name` is the kept version's, once there is one.
    """

    cause: Cause
    name: bytes = b""


class Keeping:
    """Keeps versions of one volume's paths for its applier."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self.promises: dict[RelPath, Promise] = {}
        self._going: set[RelPath] = set()
        """Paths whose content this batch of plans takes away."""
        self._kept_now: set[bytes] = set()
        """Contents that this batch keeps."""
        self._shared = Shared(())

    def begin(self, plans: Sequence[Plan]) -> None:
        """These are carried out together: of a content that all of them take away, one copy has to stay."""
        self._kept_now = set()
        self._shared = Shared(plans)
        going = [p for p in plans if p.step is not Step.ATTRIBUTES and _hash(p) not in (b"", p.content.hash)]
        self._going = {plan.path for plan in going}
        self._volume.index.rows.ask_ahead((), [_hash(plan) for plan in going])

    def name(self, plan: Plan, commit_id: int) -> bytes:
        """Return where what is displaced goes; empty if nothing of worth is."""
        base = plan.base
        if plan.step is Step.ATTRIBUTES or base is None or base.kind is Kind.DIRECTORY:
            return b""
        if shared_inode(base) is not None and base.hash and base.hash in self._kept_now:
            return b""  # kept under another of its names
        if not plan.keep and plan.path not in self.promises:
            stays = base.hash == plan.content.hash or base.hash in self._kept_now
            if base.kind is not Kind.FILE or base.size == 0 or stays:
                return b""
            same = self._volume.index.rows.paths_with_hash(base.hash) if base.hash else []
            if any(path != plan.path and path not in self._going and self._is_as_safe(path, base) for path in same):
                return b""
        self._kept_now.add(base.hash)
        return kept_name(time.time_ns(), commit_id)

    def _is_as_safe(self, path: RelPath, base: Observation) -> bool:
        """Return whether a power cut that leaves `base` leaves what another path shows, too: a copy may be on no disk yet (R24)."""
        row = self._volume.index.rows.row(path)
        shown = row.applied.observation if row is not None else None
        if shown is None:
            return False
        return shown.stamp.inode == base.stamp.inode or shown.stamp.ctime_ns + UNSURE_NS < time.time_ns()

    def is_copied(self, plan: Plan) -> bool:
        """Return whether what is kept goes on living under another name: whoever writes to it there must not reach what is kept."""
        return plan.base is not None and plan.base.kind is Kind.FILE and self._shared.stays(plan.base)

    def drop_soon(self, name: bytes) -> None:
        """A copy was kept for a commit that is not made."""
        delete_soon(self._volume, name)

    def note(self, plan: Plan, name: bytes, stored: int = 0) -> None:
        """A plan was carried out, and what it displaced is in the kept store under `name`, if there is one, or `stored` bytes of it."""
        promise = self.promises.get(plan.path)
        promised = promise is not None and not promise.name
        row = self._volume.index.rows.row(plan.path)
        noted = row is not None and _may_note(self._volume) and is_another(row.applied, plan.content, plan.meta)
        if row is None or not (name or promised or noted):
            return
        is_whole = bool(name) and not name.endswith(BLOCKS_ONLY)
        size = plan.base.size if is_whole and plan.base is not None else 0
        # Without an object: nothing was there, or its content is elsewhere, or it has none, or it stays and looks otherwise.
        name = name or _unused_name(self._volume)
        if promise is not None and promised:
            promise.name = name
        self._volume.index.ledger.add_kept(self._version(plan, row, name, size, promise, stored))

    def take_stock(self, plan: Plan, kept: set[bytes], *, is_done: bool) -> None:
        """Nobody heard what became of a plan: what is in the kept store because of it is noted, whatever is shown by now."""
        if is_done or plan.kept in kept:
            self.note(plan, plan.kept if plan.kept in kept else b"")

    def _version(
        self, plan: Plan, row: Row, name: bytes, size: int, promise: Promise | None, stored: int
    ) -> KeptVersion:
        content_hash = plan.base.hash if plan.base is not None else b""
        cause, member = self._cause(plan), self._member(plan, row)
        if promise is not None:
            cause, member = promise.cause, self._volume.member
        applied = msgspec.structs.replace(row.applied, observation=plan.base)
        now_ns = time.time_ns()
        loser = plan.keep and not plan.succeeded
        return KeptVersion(name, plan.path, now_ns, size, content_hash, loser, applied, cause, member, stored)

    def _cause(self, plan: Plan) -> Cause:
        if plan.keep and not plan.succeeded:
            return Cause.CONFLICT
        return Cause.REMOVED if plan.step is Step.REMOVE else Cause.REPLACED

    def _member(self, plan: Plan, row: Row) -> str:
        """Return who made what is live now."""
        dots = [plan.content_dot] if plan.content_dot is not None else []
        if not dots:
            # What is in the way goes first, for the sake of what is live.
            dots = [entry.dot for entry in row.record.content.entries]
        return next((self._volume.authors.get(dot.incarnation, "") for dot in dots), "")


def _hash(plan: Plan) -> bytes:
    return plan.base.hash if plan.base is not None else b""


def delete_soon(volume: Volume, name: bytes) -> None:
    """Remove an object from the kept store, which no version stands for; if that is not to be done now, it is swept."""
    assert volume.nursery is not None
    volume.nursery.start_soon(_deleted, volume, name)


async def _deleted(volume: Volume, name: bytes) -> None:
    with contextlib.suppress(trio.ClosedResourceError):
        await volume.with_root(delete_kept, [name])


def note_local(
    volume: Volume, path: RelPath, applied: Applied | None, found: Observation | None, *, is_kept: bool = False
) -> None:
    """A program here has replaced what was applied: note what it was, unless that is kept. Who applied it, too, keeps its content."""
    volume.happenings.made_here(path, applied.observation if applied is not None else None, found)
    if found is None:
        volume.shortcomings.gone(path)
    if applied is None or is_kept:
        return
    meta = meta_of(found) if found is not None else None
    if _may_note(volume) and is_another(applied, content_of(found), meta):
        assert applied.observation is not None, "something that is no longer there"
        cause = Cause.REMOVED if found is None else Cause.REPLACED
        version = KeptVersion(
            _unused_name(volume),
            path,
            time.time_ns(),
            0,
            applied.observation.hash,
            False,
            applied,
            cause,
            volume.member,
        )
        volume.index.ledger.add_kept(version)


def note_moved(volume: Volume, path: RelPath, target: RelPath, applied: Applied, by: Incarnation) -> None:
    """A directory was renamed as a peer had moved it: this went with it. Its history stays at the old name."""
    member, shown_there = volume.authors.get(by, ""), applied.observation
    volume.happenings.moved(path, target, shown_there, member)
    if shown_there is not None and _may_note(volume) and is_another(applied, ABSENT, None):
        name, now_ns = _unused_name(volume), time.time_ns()
        version = KeptVersion(name, path, now_ns, 0, shown_there.hash, False, applied, Cause.REMOVED, member)
        volume.index.ledger.add_kept(version)


async def keep_written(volume: Volume, name: bytes, path: RelPath) -> None:
    """Keep for good what somebody has written to a version after it was displaced."""
    look = await volume.with_root(look_at_kept, name)
    if look is not None:
        applied = Applied(observation=look)
        version = KeptVersion(
            name, path, time.time_ns(), look.size, look.hash, True, applied, Cause.WRITTEN, volume.member
        )
        with volume.index.transaction():
            volume.index.ledger.add_kept(version)


def _may_note(volume: Volume) -> bool:
    return volume.index.ledger.kept_count < NOTED_ROWS_MAX


def is_another(applied: Applied, content: Content, meta: Meta | None) -> bool:
    """Return whether something was there that a history has to name: more than its time is different now."""
    before = applied.observation
    if before is None:
        return False
    if not holds(before, content):
        # An empty file that is filled was made a moment ago, or is nothing to miss.
        return not (before.kind is content.kind is Kind.FILE and before.size == 0)
    return meta is not None and not is_same_meta(applied.meta or meta_of(before), meta)


def _unused_name(volume: Volume) -> bytes:
    return kept_name(time.time_ns(), volume.next_commit_id())
