"""Of a rename was told, and what it moved had gone on before anybody looked: what became of it is about to be told, too.

Nothing is said of either name until then. Else the old one would be removed, what is found at the last one would be somebody's
new file, and edits of other members would stay under the old name.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from csfs.core.paths import RelPath
from csfs.errors import CsfsError
from csfs.replicate.looking import ATTRIBUTES, Reason
from csfs.replicate.names import shown_at
from csfs.replicate.volume import Volume
from csfs.store.tree import Look

TOLD_S_MAX = 0.5
"""A mount tells of a rename within milliseconds; of one that was made without it nobody ever tells."""


@dataclass(slots=True, eq=False)
class _Passed:
    """A name through which something was moved: why it was to be looked at, and the names of which nothing is said until it is told."""

    reason: Reason
    names: set[RelPath] = field(default_factory=set)


class MovedOn:
    """What one volume's observer holds back. `look` has a path looked at; whatever was held back is looked at again in the end."""

    def __init__(self, volume: Volume, look: Callable[[RelPath, Reason], None]) -> None:
        self._volume, self._look = volume, look
        self._passed: dict[RelPath, _Passed] = {}

    @property
    def names(self) -> set[RelPath]:
        """Paths of which nothing is said yet: they count as waiting to be looked at."""
        return {path for passed_at, passed in self._passed.items() for path in (passed_at, *passed.names)}

    def holds(self, path: RelPath, reason: Reason, result: Look | OSError | CsfsError | None) -> bool:
        """Return whether nothing is to be said of what was looked at: it was moved through here, or from here to such a name."""
        if result is None and reason.moved_to is not None and reason.moved_to in self._passed:
            self._passed[reason.moved_to].names.add(path)
            return True
        # Told of anew, it was removed, or something else is there, or came there and went on after what is waited for.
        self._let_go(path)
        if result is not None or reason.moved_from is None or shown_at(self._volume, path) is not None:
            return False
        passed = self._passed[path] = _Passed(reason)
        self._volume.later(TOLD_S_MAX, lambda: self._give_up(path, passed))
        return True

    def taken(self, path: RelPath, told: Reason | None) -> Reason | None:
        """Something was moved on from a path: return why it is to be looked at, what was held back and what was told since."""
        passed = self._let_go(path)
        if passed is None:
            return told
        return passed.reason if told is None else passed.reason.merged(told)

    def _let_go(self, path: RelPath) -> _Passed | None:
        passed = self._passed.pop(path, None)
        if passed is not None:
            for name in passed.names:
                self._look(name, ATTRIBUTES)
        return passed

    def _give_up(self, path: RelPath, passed: _Passed) -> None:
        if self._passed.get(path) is passed:
            self._let_go(path)
            self._look(path, ATTRIBUTES)
