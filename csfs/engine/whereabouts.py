"""Where rows say that objects went: whether what is missing after a power cut was taken away by somebody (R24).

A row of a rename is on the disk though what it tells of may not be: on a file system that does not rename in one step, or that had not
written back how the object came there, neither name may be left. So it proves that the old name is gone only if the object is where it
was renamed to, with bytes that are believed, or a later row says that it was taken away from there, replaced there, or renamed on: then
it is followed. A row of a directory speaks for all that was below it. Of what is recorded meanwhile, only later rows say anything.
"""

from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import RelPath, ancestors_of


class There(NamedTuple):
    """What is at a path now: its inode number, 0 for nothing; `is_torn`: a power cut may have left its bytes, which no version has."""

    inode: int = 0
    is_torn: bool = False


class _Event(NamedTuple):
    """What a row says of one path, in the order of rows: something was put there, or what was there went, to `target` or for good."""

    number: int
    is_put: bool
    is_left: bool
    target: RelPath | None
    is_of_this_boot: bool


class Whereabouts:
    """What rows say of names, the oldest first. `booted_ns`: when this boot began."""

    def __init__(self, booted_ns: int) -> None:
        self._booted_ns = booted_ns
        self.count = 0
        """How many rows have told of names."""
        self._events: dict[RelPath, list[_Event]] = {}
        self._known: dict[RelPath, int] = {}
        """By path, the first row that says anything of the object known there now; 0 for all others."""

    def take(self, change: Change) -> None:
        """Take in a row."""
        path, target = change.path, change.target
        match change.kind:
            case ChangeKind.CREATE:
                self._note(change, path, is_put=True)
            case ChangeKind.REMOVE:
                self._note(change, path, is_left=True)
            case ChangeKind.LINK if target is not None:
                self._note(change, target, is_put=True)
            case ChangeKind.RENAME if target is not None:
                self._note(change, path, is_left=True, target=target)
                self._note(change, target, is_put=True)
            case ChangeKind.EXCHANGE if target is not None:
                self._note(change, path, is_put=True, is_left=True, target=target)
                self._note(change, target, is_put=True, is_left=True, target=path)
            case _:
                return
        self.count += 1

    def recorded(self, path: RelPath) -> None:
        """What is at a path now is what is known there: what rows have said so far was of something else."""
        if self._next(path, self._before(path)) is not None:
            self._known[path] = self.count

    def _before(self, path: RelPath) -> int:
        return self._known.get(path, 0) - 1

    def has_gone_since(self, path: RelPath, count: int) -> bool:
        """Return whether a row after the first `count` says that what was at a path went, or that something was put there."""
        return self._next(path, count - 1) is not None

    def is_gone(self, path: RelPath, inode: int, there_at: Callable[[RelPath], There]) -> bool:
        """Return whether somebody has taken away what is missing at a path.

        `inode` is the number of the object that was known there. Of what was put there since, and went, too, nobody knows the number.
        """
        before = self._before(path)
        own = [one for one in self._events.get(path, ()) if one.number > before]
        if own and own[-1].is_put:
            return False
        if self._rest_of(path, before) == path or self.is_lost(path, inode, there_at):
            return False
        left = (one for one in own if one.target is not None and not one.is_of_this_boot)
        rests = (self._rest_of(one.target, one.number) for one in left if one.target is not None)
        return all(rest is None or there_at(rest).inode for rest in rests)

    def is_lost(self, path: RelPath, inode: int, there_at: Callable[[RelPath], There]) -> bool:
        """Return whether the object with that number, which was known at a path, was renamed, and is not where it went, or is torn."""
        rest = self._rest_of(path, self._before(path))
        return rest not in (None, path) and there_at(rest) != There(inode)

    def _note(
        self,
        change: Change,
        path: RelPath,
        *,
        is_put: bool = False,
        is_left: bool = False,
        target: RelPath | None = None,
    ) -> None:
        is_of_this_boot = change.time_ns >= self._booted_ns
        self._events.setdefault(path, []).append(_Event(self.count, is_put, is_left, target, is_of_this_boot))

    def _rest_of(self, path: RelPath, after: int) -> RelPath | None:
        """Return where what was at a path after a row is to be found; None: somebody has taken it away or replaced it."""
        while (following := self._next(path, after)) is not None:
            directory, event = following
            if event.is_of_this_boot:
                # Who takes something away has found it there; who puts something there may have found nothing.
                return None if event.is_left else path
            if event.target is None:
                return None
            path, after = RelPath(event.target + path[len(directory) :]), event.number
        return path

    def _next(self, path: RelPath, after: int) -> tuple[RelPath, _Event] | None:
        """Return what happened next to what is at a path, and to which path that happened: to it, or to a directory above it."""
        first: tuple[RelPath, _Event] | None = None
        for one in (path, *ancestors_of(path)):
            events = self._events.get(one, [])
            at = bisect_right(events, after, key=lambda event: event.number)
            # What is put in the place of a directory says nothing of what was in it: others do.
            while at < len(events) and not events[at].is_left and one != path:
                at += 1
            if at < len(events) and (first is None or events[at].number < first[1].number):
                first = one, events[at]
        return first
