"""Extents of one file that wait for a row: cheap to add to, merged when they are told."""

from csfs.core.changes import Extent

EXTENTS_MAX = 2_048
NEIGHBOUR_GAP = 128 * 1024
"""Extents no further apart than this are told as one when there are too many: a block is hashed as a whole anyway."""


def merged(extents: list[Extent], gap: int = 0) -> list[Extent]:
    """Return `extents` ascending, those that touch or are at most `gap` bytes apart as one."""
    result: list[Extent] = []
    for offset, length in sorted(extents):
        if result and offset <= result[-1][0] + result[-1][1] + gap:
            first, size = result[-1]
            result[-1] = (first, max(size, offset + length - first))
        else:
            result.append((offset, length))
    return result


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
            self._pieces = self._fewer()

    def _fewer(self) -> list[Extent]:
        for gap in (0, NEIGHBOUR_GAP):
            pieces = merged(self._pieces, gap)
            if len(pieces) <= EXTENTS_MAX // 2:
                return pieces
        first, last = pieces[0], pieces[-1]
        return [(first[0], last[0] + last[1] - first[0])]

    def taken(self) -> tuple[Extent, ...]:
        """Return all of them, merged and ascending, and begin anew."""
        pieces, self._pieces = self._pieces, []
        return tuple(merged(pieces))
