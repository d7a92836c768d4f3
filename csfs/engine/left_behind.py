"""What paths showed before they showed something else, and where that has turned up since by its inode (R15).

What was shown at a path may be found where it was moved to, be it later, and saved as another inode by then. Once it has been found
somewhere as the inode that it was, it is not what comes next from where it was.
"""

from typing import Final

from csfs.core.objects import Applied, Stamp
from csfs.core.paths import RelPath

LEFT_MAX: Final = 1_024
"""Paths of which it is remembered what was shown there before: an exchange has two looks, which follow each other."""


class LeftBehind:
    """What is remembered until nothing is left to look at."""

    def __init__(self) -> None:
        self._left: dict[RelPath, Applied] = {}
        self._turned_up: dict[tuple[RelPath, Stamp], RelPath] = {}
        """By path, and stamp of what it showed, where that was found."""
        self._came: dict[tuple[RelPath, Stamp], list[Applied]] = {}
        """By path, and stamp of what was found there, what that may have been before."""

    def __len__(self) -> int:
        return len(self._left)

    def leave(self, path: RelPath, applied: Applied) -> None:
        """Something else is shown at a path from now on."""
        self._left.pop(path, None)
        self._left[path] = applied
        if len(self._left) > LEFT_MAX:
            del self._left[next(iter(self._left))]

    def at(self, path: RelPath) -> Applied | None:
        """Return what a path showed before."""
        return self._left.get(path)

    def found(self, path: RelPath, stamp: Stamp) -> None:
        """An object is at a path, wherever it has been since it was there before."""
        self._turned_up.pop((path, stamp), None)

    def turned_up(self, source: RelPath, applied: Applied, target: RelPath) -> None:
        """What one path showed was found at another one."""
        if applied.observation is not None:
            self._turned_up[source, applied.observation.stamp] = target
            if len(self._turned_up) > LEFT_MAX:
                del self._turned_up[next(iter(self._turned_up))]

    def where(self, source: RelPath, applied: Applied) -> RelPath | None:
        """Return where what a path showed has turned up, None if nowhere yet."""
        shown = applied.observation
        return self._turned_up.get((source, shown.stamp)) if shown is not None else None

    def may_have_come(self, path: RelPath, stamp: Stamp, came: list[Applied]) -> None:
        """What was found at a path is one of these, saved as another inode since."""
        self._came[path, stamp] = came

    def came(self, path: RelPath, stamp: Stamp) -> list[Applied] | None:
        """Return what an object that was found at a path may have been before, None if nobody has said so."""
        return self._came.get((path, stamp))

    def look_anew(self) -> None:
        """What is found from now on is told anew."""
        self._came.clear()

    def forget(self) -> None:
        """Nothing is left to look at: none of this will turn up any more."""
        self._came.clear()
        self._left.clear()
        self._turned_up.clear()
