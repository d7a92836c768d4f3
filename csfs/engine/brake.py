"""The brake: when peers take away a great part of a volume within a moment, it waits until a person lets it through.

What is braked is known and not applied (R3): nothing else holds it up, and whatever supersedes it lifts it. Each plan that removes
or replaces what a version stood for counts for the member who made what is live now, whoever brought the news.
A burst of removals is weighed as a whole, once it has ended: a host that has lost a quarter of /etc has lost /etc.
"""

import enum
from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.rows import Loss, Waiting
from csfs.core.versions import Dot
from csfs.engine.live import content_entry, holds
from csfs.engine.ports import Plan, Row, Step
from csfs.engine.state import State

WINDOW_S: Final = 60.0
"""What one member takes away within this time counts together."""
AT_ONCE_MIN: Final = 8
"""So many removals in one burst are carried out as they come: `rm` of a few files need not wait for anything."""
AT_ONCE_SHARE: Final = 0.1
"""Of what would be too much. So many are carried out as they come, too, where that is more."""
BURST_S: Final = 2.0
"""Removals of this time are one burst; none waits longer for its end."""
QUIET_S: Final = 0.25
"""A burst has ended when nothing came for so long."""


class Limits(msgspec.Struct, frozen=True):
    """What is too much: more than `share` (0 to 1) of the volume's paths, and more than `paths` of them."""

    share: float
    paths: int

    def at_once(self, size: int) -> int:
        """Return how many removals of one burst wait for nothing in a volume of `size` paths."""
        return max(AT_ONCE_MIN, int(AT_ONCE_SHARE * self.share * size))


class WaitingPort(Protocol):
    """The brake's memory, in the same transactions as the index."""

    def at(self, path: RelPath) -> Waiting | None: ...

    def put(self, waiting: Waiting) -> None: ...

    def drop(self, path: RelPath) -> None: ...

    def is_braked(self, member: str) -> bool:
        """Return whether a loss by `member` waits that nobody has let through."""
        ...


class Verdict(enum.Enum):
    """What becomes of a loss: carried out; looked at again in a moment, when the burst may have ended; left until somebody says."""

    GO = "go"
    SOON = "soon"
    WAIT = "wait"


class Brake:
    """Weighs losses. Times of `now_s` are of a clock that never goes back, those of `now_ns` since 1970."""

    def __init__(self, memory: WaitingPort) -> None:
        self._memory = memory
        self.limits: Limits | None = None
        """None: nothing is ever too much."""
        self._recent: dict[str, _Recent] = {}

    def verdicts(self, losses: Mapping[RelPath, Loss], live: int, now_s: float, now_ns: int) -> dict[RelPath, Verdict]:
        """Return what becomes of each loss; `live` is how many paths of the volume are live by what is known."""
        limits = self.limits
        if limits is None:
            return dict.fromkeys(losses, Verdict.GO)
        approved = {path for path, loss in losses.items() if self._is_approved(path, loss)}
        weighed = {path: loss for path, loss in losses.items() if path not in approved}
        for path, loss in weighed.items():
            self._recent.setdefault(loss.member, _Recent()).add(path, loss.removed, now_s)
            before = self._memory.at(path)
            if before is not None and before.loss.dot == loss.dot and before.loss.member != loss.member:
                # A version may come before the name of who made it: it waits on, and so does what else he takes away.
                self._remember(path, loss, now_ns)
        by_member = {
            member: self._verdict(member, live, limits, now_s) for member in {loss.member for loss in weighed.values()}
        }
        verdicts = dict.fromkeys(approved, Verdict.GO)
        for path, loss in weighed.items():
            verdict = by_member[loss.member]
            if verdict is Verdict.WAIT:
                self._remember(path, loss, now_ns)
            elif verdict is Verdict.SOON and not loss.removed:
                verdict = Verdict.GO
            verdicts[path] = verdict
        return verdicts

    def forget(self, member: str) -> None:
        """What `member` has taken away so far counts no longer: a person has said that it is meant."""
        self._recent.pop(member, None)

    def _is_approved(self, path: RelPath, loss: Loss) -> bool:
        waiting = self._memory.at(path)
        return waiting is not None and waiting.approved and waiting.loss.dot == loss.dot

    def _remember(self, path: RelPath, loss: Loss, now_ns: int) -> None:
        before = self._memory.at(path)
        if before is None or before.loss != loss or before.approved:
            self._memory.put(Waiting(path, loss, before.since_ns if before is not None else now_ns))

    def _verdict(self, member: str, live: int, limits: Limits, now_s: float) -> Verdict:
        recent = self._recent[member]
        recent.forget_before(now_s - WINDOW_S)
        if self._memory.is_braked(member) or recent.count > max(limits.paths, limits.share * (live + recent.removals)):
            return Verdict.WAIT
        # A volume that is too small to lose that much need not wait for the end of anything.
        is_small = live + recent.removals <= limits.paths
        is_burst = recent.is_in_burst(now_s, limits.at_once(live + recent.removals))
        return Verdict.SOON if is_burst and not is_small else Verdict.GO


class _Recent:
    """What one member has taken away lately."""

    def __init__(self) -> None:
        self._taken: dict[RelPath, tuple[float, bool]] = {}
        """By path, when it was weighed last, and whether nothing came in its place; the oldest first."""
        self._burst: dict[RelPath, float] = {}
        """Removals, and when they were weighed first; the oldest first."""
        self._burst_since_s: float | None = None
        self.removals = 0

    @property
    def count(self) -> int:
        return len(self._taken)

    def add(self, path: RelPath, removed: bool, now_s: float) -> None:
        before = self._taken.pop(path, None)
        self.removals += removed - (before is not None and before[1])
        self._taken[path] = now_s, removed
        if removed:
            self._burst.setdefault(path, now_s)

    def forget_before(self, then_s: float) -> None:
        while self._taken and self._taken[first := next(iter(self._taken))][0] < then_s:
            self.removals -= self._taken.pop(first)[1]

    def is_in_burst(self, now_s: float, at_once: int) -> bool:
        """Return whether a burst of more than `at_once` removals is under way, which should be weighed as a whole."""
        while self._burst and now_s - self._burst[first := next(iter(self._burst))] >= BURST_S:
            del self._burst[first]
        if len(self._burst) <= at_once:
            self._burst_since_s = None
            return False
        if self._burst_since_s is None:
            self._burst_since_s = now_s
        last_s = next(reversed(self._burst.values()))
        return now_s - last_s < QUIET_S and now_s - self._burst_since_s < BURST_S


class Weighing(State):
    """Says what plans take away."""

    def loss(self, plan: Plan) -> Loss | None:
        """Return what carrying out a plan would take away of what a version stood for; None for nothing, or if it is our own doing.

        What moved, and is live where it went, is not lost; nor is an empty file that is filled, nor a directory: it is
        empty by then, and what was in it was weighed. Else each level of a tree would wait for the end of a burst of its own.
        """
        base, row = plan.base, self._index.row(plan.path)
        if plan.step is Step.ATTRIBUTES or base is None or row is None or row.applied.content_dot is None:
            return None
        if plan.step is Step.REMOVE and base.kind is Kind.DIRECTORY:
            return None
        if plan.step is Step.INSTALL and (holds(base, plan.content) or (base.kind is Kind.FILE and not base.size)):
            return None
        # What is in the way of something else goes for its sake.
        dot = plan.content_dot or max((e.dot for e in row.record.content.entries), default=None)
        if dot is None or self._authors.get(dot.incarnation) == self._member:
            return None
        if plan.step is Step.REMOVE and self._is_live_elsewhere(row, plan.content_dot):
            return None
        return Loss(self._authors.get(dot.incarnation, ""), plan.step is Step.REMOVE, dot)

    def _is_live_elsewhere(self, row: Row, dot: Dot | None) -> bool:
        """Return whether the object shown was moved, and something is live where it went."""
        entry, shown = content_entry(row.record, dot), row.applied.lineage.birth
        for move in entry.moves if entry is not None else ():
            target = self._index.row(move.target)
            if move.object == shown and target is not None and target.live:
                return True
        return False
