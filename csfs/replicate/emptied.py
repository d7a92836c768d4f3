"""Directories that are gone: what was in one is looked at before the directory is.

While something below it is taken for live, the directory would be, too: it would be made again.
"""

from collections.abc import Collection, Container
from typing import Protocol

from csfs.core.objects import Kind
from csfs.core.paths import ROOT, RelPath, depth_of, is_below, parent_of
from csfs.core.treatment import flags_in
from csfs.errors import CsfsError
from csfs.replicate.looking import Reason
from csfs.replicate.names import shown_at
from csfs.replicate.volume import Volume
from csfs.store.tree import Look


class Looks(Protocol):
    """What is to be looked at; the observer has it."""

    def wanted(self, path: RelPath) -> Reason | None:
        """Return why a path is to be looked at."""
        ...

    def look(self, path: RelPath, reason: Reason) -> None:
        """Have a path looked at."""
        ...


class Emptied:
    """Paths of directories of one volume that were found gone, and are looked at once more when nothing is shown below them."""

    def __init__(self, volume: Volume, looks: Looks) -> None:
        self._volume, self._looks = volume, looks
        self._paths: set[RelPath] = set()

    def turn(self, path: RelPath, reason: Reason) -> tuple[int, int]:
        """Return when a path's turn is: parents before children, what moves leave behind after where it went, these at last."""
        return (2, -depth_of(path)) if path in self._paths else (int(reason.moved_to is not None), depth_of(path))

    def has_to_wait(self, busy: Collection[RelPath], path: RelPath) -> bool:
        """Return whether something at a path is `busy`, or in a directory that has flags, which are lifted for that, or what is below
        one of these is."""
        if path in busy or (path in self._paths and any(is_below(one, path) for one in busy)):
            return True
        row = self._volume.index.rows.row(path) if path in self._volume.disturbed else None
        return (
            row is not None and row.applied.observation is not None and bool(flags_in(row.applied.observation.xattrs))
        )

    def is_left_for_last(
        self, path: RelPath, reason: Reason, result: Look | OSError | CsfsError | None, going: Container[RelPath]
    ) -> bool:
        """Have what was in a directory that is gone looked at first; return whether there is any but what is `going` before it.

        Each directory of a tree that is gone is met here, and each has all of the others below it: so what is below is listed for the
        topmost one, and for the others when they are met once more, from the deepest on.
        """
        is_second = path in self._paths
        self._paths.discard(path)
        is_there = isinstance(result, Look) and result.observation.kind is Kind.DIRECTORY
        before = shown_at(self._volume, path)
        if is_there or isinstance(result, Exception) or before is None or before.kind is not Kind.DIRECTORY:
            return False
        if reason.moved_to is None and not is_second and self._is_in_one(path):
            is_left = self._volume.index.rows.has_shown_below(path)
        else:
            is_left = self._look_below(path, reason, going)
        if is_left:
            self._paths.add(path)
        return is_left

    def _is_in_one(self, path: RelPath) -> bool:
        while path != ROOT:
            path = parent_of(path)
            if path in self._paths:
                return True
        return False

    def _look_below(self, path: RelPath, reason: Reason, going: Container[RelPath]) -> bool:
        """Have all looked at that was shown below a directory which is gone, for that reason; return whether there is any.

        Of what is not followed any more nobody says anything: as far as anybody knows, it is there for ever.
        """
        volume, looks = self._volume, self._looks
        below = [p for p in volume.index.rows.shown_paths(path) if p not in going and volume.is_followed(p)]
        for child in below:
            told, moved_to = looks.wanted(child), None
            if reason.moved_to is not None and (told is None or told.moved_to is None):
                moved_to = RelPath(reason.moved_to + child[len(path) :])
            looks.look(child, Reason(moved_to=moved_to))
        return bool(below)
