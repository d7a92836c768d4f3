"""Stamps of objects with several names, which move with each commit that gives them a name, takes one, or sets attributes through one.

The daemon announces commits to all names of an inode at once, and expects at each of them the stamp that it saw before the first. That
the stamp has moved by a commit is nobody's change.
"""

from collections import OrderedDict

from csfs.core.objects import Stamp

INODES_MAX = 1_000
"""Beyond this the oldest are forgotten: a commit is then refused, and decided anew."""


class Stamps:
    """By inode, the latest stamp, and those before it that differ by commits alone."""

    def __init__(self) -> None:
        self._moved: OrderedDict[int, tuple[Stamp, set[Stamp]]] = OrderedDict()

    def note(self, before: Stamp, after: Stamp) -> None:
        """A commit has moved an object's stamp."""
        latest, earlier = self._moved.pop(before.inode, (before, set[Stamp]()))
        if latest != before:
            earlier = set()  # somebody has changed it in between
        self._moved[before.inode] = after, earlier | {before}
        if len(self._moved) > INODES_MAX:
            self._moved.popitem(last=False)

    def is_same(self, found: Stamp, expected: Stamp) -> bool:
        """Return whether what is found is what is expected, but for what commits have done to it."""
        if found == expected:
            return True
        latest, earlier = self._moved.get(expected.inode, (None, ()))
        return found == latest and expected in earlier
