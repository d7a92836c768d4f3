"""Of a rename was told, and what it moved had gone on before anybody looked: what became of it is about to be told, too.

Nothing is said of either name until then. Else the old one would be removed, what is found at the last one would be somebody's
new file, and edits of other members would stay under the old name.
"""

from collections.abc import Callable

from csfs.core.paths import RelPath
from csfs.errors import CsfsError
from csfs.replicate.looking import ATTRIBUTES, Reason
from csfs.replicate.names import shown_at
from csfs.replicate.volume import Volume
from csfs.store.tree import Look

TOLD_S_MAX = 0.5
"""A mount tells of a rename within milliseconds; of one that was made without it nobody ever tells."""


class MovedOn:
    """What one volume's observer holds back. `look` has a path looked at."""

    def __init__(self, volume: Volume, look: Callable[[RelPath, Reason], None]) -> None:
        self._volume, self._look = volume, look
        self._held: dict[RelPath, Reason] = {}
        """Why names were to be looked at to which something had been moved, and from which it had gone on."""

    def holds(self, path: RelPath, reason: Reason, result: Look | OSError | CsfsError | None) -> bool:
        """Return whether nothing is to be said of what was looked at: it was moved through here, or from here to such a name."""
        if result is not None:
            return False
        if reason.moved_to in self._held:
            return True
        if reason.moved_from is None or shown_at(self._volume, path) is not None:
            if path in self._held:
                self._give_up(path, self._held[path])  # it is told of, and was not moved on
            return False
        self._held[path] = reason
        self._volume.later(TOLD_S_MAX, lambda: self._give_up(path, reason))
        return True

    def taken(self, path: RelPath, told: Reason | None) -> Reason | None:
        """Something was moved on from a path: return why it is to be looked at, what was held back and what was told since."""
        held = self._held.pop(path, None)
        return told if held is None else held if told is None else held.merged(told)

    def _give_up(self, path: RelPath, reason: Reason) -> None:
        if self._held.get(path) is reason:
            del self._held[path]
            assert reason.moved_from is not None, "nothing was moved here"
            for name in (path, reason.moved_from):
                self._look(name, ATTRIBUTES)
