"""Paths with changes that the daemon has not taken care of: what the gate asks before it lets a commit pass."""

from collections import deque

from csfs.core.changes import Change
from csfs.core.paths import ROOT, RelPath, ancestors_of, parent_of

ROWS_MAX = 200_000
"""Beyond this, the oldest are forgotten one by one, and every commit decided before them is refused instead."""
FORGOTTEN_AT_ONCE_MAX = 2_000
"""A row takes a microsecond or two, more where it is deep, and all programs wait meanwhile. The others go with later rows, and the
next time: what is remembered too long refuses nothing."""
FORGOTTEN_WITH_EACH = 2

INODES_MAX = 10_000
"""Of which the last row is remembered; those that were changed longest ago are forgotten as rows are."""
DIRECTORIES_REMEMBERED_MAX = 1_000
DEPTH_REMEMBERED_MAX = 64
"""The directories above a deeper one are reckoned anew each time: a thousand such lists could take a gigabyte."""


class Recent:
    """The last sequence of a row at, and below, each path touched since what the daemon has digested.

    `floor`: commits decided on less than this sequence are refused without a look at paths.
    """

    def __init__(self, floor: int = 0) -> None:
        self.floor = floor
        self._rows: deque[tuple[int, RelPath]] = deque()
        self._digested = 0
        self._at: dict[RelPath, int] = {}
        self._below: dict[RelPath, int] = {}
        self._of: dict[int, int] = {}
        self._above: dict[RelPath, list[RelPath]] = {}
        """A directory, and those above it: changes come many to a directory."""

    def __len__(self) -> int:
        return len(self._rows)

    def note(self, sequence: int, path: RelPath) -> None:
        """Take note of a row at `path`. Sequences never fall."""
        self._rows.append((sequence, path))
        self._at[path] = sequence
        for above in self._ancestors_of(path):
            self._below[above] = sequence
        self._forget_digested(FORGOTTEN_WITH_EACH)
        if len(self._rows) > ROWS_MAX:
            self._forget_oldest()

    def note_change(self, change: Change, inode: int = 0) -> None:
        """Take note of a change at its path and its target, and at all names of the object by its `inode` number."""
        if inode:
            if len(self._of) >= INODES_MAX and inode not in self._of:
                self.floor = max(self.floor, self._of.pop(next(iter(self._of))))
            self._of.pop(inode, None)
            self._of[inode] = change.sequence
        self.note(change.sequence, change.path)
        if change.target is not None and change.target != change.path:
            self.note(change.sequence, change.target)

    def _ancestors_of(self, path: RelPath) -> list[RelPath]:
        """Return the directories above `path`, from memory if it can be."""
        parent = parent_of(path)
        above = self._above.get(parent)
        if above is None:
            if len(self._above) >= DIRECTORIES_REMEMBERED_MAX:
                self._above.clear()
            above = ancestors_of(path)
            if len(above) <= DEPTH_REMEMBERED_MAX:
                self._above[parent] = above
        return above if path else []

    def digested(self, sequence: int) -> None:
        """Forget rows up to `sequence`, not all at once. A commit that was decided before one of those is refused from now on."""
        self._digested = max(self._digested, sequence)
        self._forget_digested(FORGOTTEN_AT_ONCE_MAX)

    def _forget_digested(self, count: int) -> None:
        while count and self._rows and self._rows[0][0] <= self._digested:
            self._forget_oldest()
            count -= 1

    def _forget_oldest(self) -> None:
        sequence, path = self._rows.popleft()
        self.floor = max(self.floor, sequence)
        if self._at.get(path) == sequence:
            del self._at[path]
        for above in self._ancestors_of(path):
            if self._below.get(above) == sequence:
                del self._below[above]

    def changed(self, path: RelPath, digested: int, with_below: bool, inode: int = 0) -> bool:
        """Return whether a row after `digested` is at `path`, or of `inode`, at a directory above it or, if asked, below it."""
        if digested < self.floor:
            return True
        at = self._at
        if at.get(path, 0) > digested or at.get(ROOT, 0) > digested:
            return True
        if inode and self._of.get(inode, 0) > digested:
            return True
        if with_below and self._below.get(path, 0) > digested:
            return True
        return any(at.get(above, 0) > digested for above in ancestors_of(path))
