"""Extents of one file that wait for a row: cheap to add to, merged when they are told."""

from csfs.core.changes import Extent
from csfs.core.extents import bounded, merged

EXTENTS_MAX = 2_048
NEIGHBOUR_GAP = 128 * 1024
"""Extents no further apart than this are told as one when there are too many: a block is hashed as a whole anyway."""


class Extents:
    """What was written since the last row. Never more than `EXTENTS_MAX` pieces: beyond it neighbours are joined."""

    __slots__ = ("_pieces",)

    def __init__(self) -> None:
        self._pieces: list[Extent] = []

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, offset: int, length: int) -> None:
        """Take note of `length` bytes written at `offset`."""
        pieces = self._pieces
        if pieces and pieces[-1][0] + pieces[-1][1] == offset:  # a file written from front to back stays one piece
            pieces[-1] = (pieces[-1][0], pieces[-1][1] + length)
            return
        pieces.append((offset, length))
        if len(pieces) > EXTENTS_MAX:
            self._pieces = bounded(pieces, EXTENTS_MAX // 2, NEIGHBOUR_GAP)

    @property
    def size(self) -> int:
        """How many bytes were written, about: what was written twice counts twice until it is merged."""
        return sum(length for _, length in self._pieces)

    def taken(self) -> tuple[Extent, ...]:
        """Return all of them, merged and ascending, and begin anew."""
        pieces, self._pieces = self._pieces, []
        return tuple(merged(pieces))
