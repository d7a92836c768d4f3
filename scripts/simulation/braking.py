"""The brake of a simulated member, with the persons who let through what it holds back, or turn it down."""

from csfs.core.paths import RelPath
from csfs.core.rows import Loss, Plan, Waiting
from csfs.core.versions import Dot
from csfs.engine.brake import WINDOW_S, Brake, Limits, Verdict
from csfs.engine.memory import MemoryIndex

LIMITS = Limits(0.2, 1)
"""Trees are small here: the second removal of seven paths is too much."""


class FakeWaiting:
    """Implements `engine.brake.WaitingPort`: survives whatever the index survives."""

    def __init__(self, index: MemoryIndex) -> None:
        self.index = index
        self.by_path: dict[RelPath, Waiting] = {}

    def at(self, path: RelPath) -> Waiting | None:
        """Return what waits at a path."""
        return self.by_path.get(path)

    def put(self, waiting: Waiting) -> None:
        """Remember a loss that waits."""
        self.by_path[waiting.path] = waiting

    def drop(self, path: RelPath) -> None:
        """Nothing waits at a path any more."""
        self.by_path.pop(path, None)

    def is_braked(self, member: str) -> bool:
        """Return whether a loss by `member` waits that nobody has let through."""
        return any(waiting.loss.member == member for waiting in self.left())

    def left(self) -> list[Waiting]:
        """Return what waits for a person."""
        found = []
        for path, waiting in sorted(self.by_path.items()):
            row = self.index.row(path)
            if row is not None and row.pending and not waiting.approved:
                found.append(waiting)
        return found


class HostBrake:
    """Weighs one member's plans, and sees to it by counting anew that no more is lost than may be."""

    def __init__(self, index: MemoryIndex) -> None:
        self.waiting = FakeWaiting(index)
        self.on = False
        self._carried: dict[tuple[str, RelPath], float] = {}
        self._let: set[tuple[RelPath, Dot]] = set()
        """What somebody let through: a version, whoever it was known to be of by then."""
        self._braked: dict[RelPath, Dot] = {}
        """What was held back."""
        self.restart()

    def restart(self, waiting: dict[RelPath, Waiting] | None = None, index: MemoryIndex | None = None) -> None:
        """Begin again, as a daemon does: what waits is remembered, what was weighed is not.

        `waiting` is what an older index remembers that is put back: what was held back later is weighed anew when it comes again.
        """
        if waiting is not None:
            self.waiting.by_path = dict(waiting)
            self._braked = {path: one.loss.dot for path, one in waiting.items() if not one.approved}
        self.waiting.index = index or self.waiting.index
        self._brake = Brake(self.waiting)
        self._carried.clear()

    def lets(self, plan: Plan, loss: Loss | None, now_ns: int) -> bool:
        """Return whether a plan is carried out now."""
        self._brake.limits = LIMITS if self.on else None
        if loss is None:
            self.superseded(plan.path)
            return True
        verdicts = self._brake.verdicts({plan.path: loss}, self._live(), now_ns / 1e9, now_ns)
        if verdicts[plan.path] is Verdict.WAIT:
            self._braked[plan.path] = loss.dot
        return verdicts[plan.path] is Verdict.GO

    def superseded(self, path: RelPath) -> None:
        """Nothing is to be done at a path: what waited there is past."""
        self.waiting.drop(path)
        self._braked.pop(path, None)

    def carried_out(self, plan: Plan, loss: Loss | None, now_ns: int) -> None:
        """Check that what was carried out was not too much, unless somebody has let it through."""
        if loss is None or not self.on or (plan.path, loss.dot) in self._let:
            return
        assert self._braked.get(plan.path) != loss.dot, f"{plan.path!r} waited, and nobody has let it through"
        now_s = now_ns / 1e9
        self._carried[loss.member, plan.path] = now_s
        lately = [
            path for (member, path), at_s in self._carried.items() if member == loss.member and at_s > now_s - WINDOW_S
        ]
        limit = max(LIMITS.paths, LIMITS.share * (self._live() + len(lately)))
        assert len(lately) <= limit, f"{loss.member} took away {sorted(lately)} in one go, and nobody was asked"

    def approve(self) -> None:
        """A person lets everything through."""
        for waiting in self.waiting.left():
            self.waiting.put(Waiting(waiting.path, waiting.loss, waiting.since_ns, approved=True))
            self._let.add((waiting.path, waiting.loss.dot))
            self.turned_down(waiting)

    def turned_down(self, waiting: Waiting) -> None:
        """A person has spoken about what this member took away."""
        self._brake.forget(waiting.loss.member)
        self._carried = {key: at_s for key, at_s in self._carried.items() if key[0] != waiting.loss.member}

    def _live(self) -> int:
        return sum(row.live for row in self.waiting.index.rows().values())
