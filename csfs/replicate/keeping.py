"""What becomes of objects that commits take away: which are kept, under which name, and why they went."""

import time
from dataclasses import dataclass

import msgspec

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.rows import Plan, Row, Step
from csfs.index.ledger import Cause, KeptVersion
from csfs.replicate.gate import kept_name
from csfs.replicate.volume import Volume


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

    def name(self, plan: Plan, commit_id: int) -> bytes:
        """Return where what is displaced goes; empty if nothing of worth is."""
        base = plan.base
        if plan.step is Step.ATTRIBUTES or base is None or base.kind is Kind.DIRECTORY:
            return b""
        if not plan.keep and plan.path not in self.promises:
            same = self._volume.index.rows.paths_with_hash(base.hash) if base.hash else []
            elsewhere = any(path != plan.path for path in same)
            if base.kind is not Kind.FILE or base.size == 0 or elsewhere or base.hash == plan.content.hash:
                return b""
        return kept_name(time.time_ns(), commit_id)

    def note(self, plan: Plan, name: bytes) -> None:
        """A plan was carried out, and what it displaced is in the kept store under `name`, if there is one."""
        promise = self.promises.get(plan.path)
        promised = promise is not None and not promise.name
        if not (name or promised or _displaces(plan)):
            return
        size = plan.base.size if name and plan.base is not None else 0
        # Without an object: nothing was there, or its content is elsewhere, or it has none, or it stays and looks otherwise.
        name = name or kept_name(time.time_ns(), self._volume.next_commit_id())
        if promise is not None and promised:
            promise.name = name
        row = self._volume.index.rows.row(plan.path)
        assert row is not None, "a plan of a path that is not in the index"
        self._volume.index.ledger.add_kept(self._version(plan, row, name, size, promise))

    def _version(self, plan: Plan, row: Row, name: bytes, size: int, promise: Promise | None) -> KeptVersion:
        content_hash = plan.base.hash if plan.base is not None else b""
        cause, member = self._cause(plan), self._member(plan, row)
        if promise is not None:
            cause, member = promise.cause, self._volume.member
        applied = msgspec.structs.replace(row.applied, observation=plan.base)
        return KeptVersion(name, plan.path, time.time_ns(), size, content_hash, plan.keep, applied, cause, member)

    def _cause(self, plan: Plan) -> Cause:
        if plan.keep:
            return Cause.CONFLICT
        return Cause.REMOVED if plan.step is Step.REMOVE else Cause.REPLACED

    def _member(self, plan: Plan, row: Row) -> str:
        """Return who made what is live now."""
        dots = [plan.content_dot] if plan.content_dot is not None else []
        if not dots:
            # What is in the way goes first, for the sake of what is live.
            dots = [entry.dot for entry in row.record.content.entries]
        return next((self._volume.authors.get(dot.incarnation, "") for dot in dots), "")


def _displaces(plan: Plan) -> bool:
    """Return whether the plan takes away something that a history has to name."""
    base = plan.base
    if plan.step is Step.ATTRIBUTES or base is None or base.kind is Kind.DIRECTORY:
        return False
    return not (plan.content.kind is base.kind is Kind.FILE and plan.content.hash == base.hash)
