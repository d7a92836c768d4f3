"""Extents of one file as sets of bytes: merged, bounded."""

from collections.abc import Iterable

from csfs.core.changes import Extent


def merged(extents: Iterable[Extent], gap: int = 0) -> list[Extent]:
    """Return `extents` ascending, those that touch or are at most `gap` bytes apart as one."""
    result: list[Extent] = []
    for offset, length in sorted(extents):
        if result and offset <= result[-1][0] + result[-1][1] + gap:
            first, size = result[-1]
            result[-1] = (first, max(size, offset + length - first))
        else:
            result.append((offset, length))
    return result


def bounded(extents: Iterable[Extent], count_max: int, gap: int) -> list[Extent]:
    """Return `extents` merged. Where that makes more than `count_max`, also those at most `gap` bytes apart, or else all, as one."""
    pieces = merged(extents)
    if len(pieces) > count_max:
        pieces = merged(pieces, gap)
    if len(pieces) <= count_max:
        return pieces
    first, last = pieces[0], pieces[-1]
    return [(first[0], last[0] + last[1] - first[0])]
