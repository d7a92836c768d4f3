"""Sockets and devices that a group leaves out here: they are as good as not there, and what others have at their paths waits."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.rows import Plan, Step
from csfs.core.treatment import Treatment
from csfs.errors import CsfsError
from csfs.index.index import Index
from csfs.store.tree import Look

R = TypeVar("R")
Result = Look | OSError | CsfsError | None

_NAMES = {Kind.SOCKET: "socket", Kind.CHARACTER_DEVICE: "device", Kind.BLOCK_DEVICE: "device"}


class LeftOut:
    """What one volume leaves out, as far as it was met. `treatment_of` says what the configuration wants at a path."""

    def __init__(
        self,
        index: Index,
        treatment_of: Callable[[RelPath], Treatment],
        set_problem: Callable[[RelPath, str], None],
    ) -> None:
        self._index = index
        self._treatment_of = treatment_of
        self._set_problem = set_problem
        self._met: dict[RelPath, Kind] = {}

    def counted(self, found: Sequence[tuple[RelPath, R, Result]]) -> list[tuple[RelPath, R, Result]]:
        """Return what looks found, as it counts: nothing where something is left out; what was told before it was left out stays."""
        return [(path, reason, self._counted(path, look)) for path, reason, look in found]

    def _counted(self, path: RelPath, look: Result) -> Result:
        if not isinstance(look, Look) or not self._treatment_of(path).leaves_out(look.observation.kind):
            self._met.pop(path, None)
            return look
        row = self._index.rows.row(path)
        shown = row.applied.observation if row is not None else None
        if shown is not None and shown.kind is look.observation.kind:
            return Look(shown, look.began_ns, is_read=False)
        self._met[path] = look.observation.kind
        return None

    def objects(self, plan: Plan) -> bool:
        """Return whether a plan is not to be carried out, which is then a problem of its path."""
        if plan.step is not Step.INSTALL:
            return False
        if self._treatment_of(plan.path).leaves_out(plan.content.kind):
            reason = f"a {_NAMES[plan.content.kind]}, which the configuration leaves out here"
        elif plan.path in self._met:
            reason = f"a {_NAMES[self._met[plan.path]]} is in its place here, which is not synced; it waits until that is gone"
        else:
            return False
        self._set_problem(plan.path, f"not applied: {reason}")
        return True
