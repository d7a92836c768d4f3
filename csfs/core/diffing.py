"""Three versions of a list of lines: what two sides did to the third, and both together where they did not touch the same.

Differences are found as E. W. Myers does, "An O(ND) Difference Algorithm and Its Variations" (1986), with a limit on D: what a
hostile file may cost is bounded, and files that have little in common are no edits of each other. The three are put
together as Khanna, Kunal and Pierce have it, "A Formal Investigation of Diff3" (2007). The libraries for it are
difflib, which takes time without a bound on lines that repeat, and merge3, which is built on it and under the GPL.
"""

from collections.abc import Callable, Sequence
from typing import Final

DIFFERENCES_MAX: Final = 400
"""Lines that a side may have added and removed together."""

Lines = Sequence[bytes]
Resolve = Callable[[Lines, Lines, Lines], Lines | None]
"""What becomes of a part that both sides changed: of the base's lines and theirs; None: nothing that both meant."""


def unresolved(base: Lines, ours: Lines, theirs: Lines) -> Lines | None:
    """Leave to nobody what both sides changed."""
    return None


def lines_merged(base: Lines, ours: Lines, theirs: Lines, resolve: Resolve = unresolved) -> list[bytes] | None:
    """Return what both sides made of `base`, None if they touched the same, or differ from it by too much.

    Changes that follow each other without a line of the base between them touch the same.
    """
    in_ours, in_theirs = _places(base, ours), _places(base, theirs)
    if in_ours is None or in_theirs is None:
        return None
    merged: list[bytes] = []
    at, at_ours, at_theirs = 0, 0, 0
    # The end of all three is a line that nobody changed.
    stable = [n for n in range(len(base)) if in_ours[n] >= 0 and in_theirs[n] >= 0]
    places = [(n, in_ours[n], in_theirs[n]) for n in stable]
    for end, end_ours, end_theirs in [*places, (len(base), len(ours), len(theirs))]:
        parts = base[at:end], ours[at_ours:end_ours], theirs[at_theirs:end_theirs]
        part = _part(*parts) if not _both_changed(*parts) else resolve(*parts)
        if part is None:
            return None
        merged += part
        merged += base[end : end + 1]
        at, at_ours, at_theirs = end + 1, end_ours + 1, end_theirs + 1
    return merged


def _both_changed(base: Lines, ours: Lines, theirs: Lines) -> bool:
    return base not in (ours, theirs) and ours != theirs


def _part(base: Lines, ours: Lines, theirs: Lines) -> Lines:
    return theirs if ours == base else ours


def _places(base: Lines, side: Lines) -> list[int] | None:
    """Return, for each line of `base`, its number in `side`, -1 if it is not there any more; None: too much differs."""
    places = [-1] * len(base)
    start, shorter = 0, min(len(base), len(side))
    while start < shorter and base[start] == side[start]:
        places[start] = start
        start += 1
    end, end_side = len(base), len(side)
    while end > start and end_side > start and base[end - 1] == side[end_side - 1]:
        end, end_side = end - 1, end_side - 1
        places[end] = end_side
    trace = _furthest(base[start:end], side[start:end_side])
    if trace is None:
        return None
    for line, line_side in _matches(trace, end - start, end_side - start):
        places[start + line] = start + line_side
    return places


def _furthest(base: Lines, side: Lines) -> list[dict[int, int]] | None:
    """Return, per number of differences, how far down each diagonal they lead, up to the end; None: beyond the limit."""
    furthest, trace = {1: 0}, list[dict[int, int]]()
    for differences in range(min(len(base) + len(side), DIFFERENCES_MAX) + 1):
        reached = dict[int, int]()
        for diagonal in range(-differences, differences + 1, 2):
            down, right = furthest.get(diagonal + 1, -1), furthest.get(diagonal - 1, -1) + 1
            x = down if diagonal == -differences or (diagonal != differences and down >= right) else right
            y = x - diagonal
            while x < len(base) and y < len(side) and base[x] == side[y]:
                x, y = x + 1, y + 1
            reached[diagonal] = x
            if x >= len(base) and y >= len(side):
                return [*trace, reached]
        trace.append(reached)
        furthest = reached
    return None


def _matches(trace: list[dict[int, int]], x: int, y: int) -> list[tuple[int, int]]:
    """Return the lines that are the same in both, walking the trace back from its end."""
    found: list[tuple[int, int]] = []
    for differences in range(len(trace) - 1, -1, -1):
        before = trace[differences - 1] if differences else {1: 0}
        diagonal = x - y
        down, right = before.get(diagonal + 1, -1), before.get(diagonal - 1, -1) + 1
        is_down = diagonal == -differences or (diagonal != differences and down >= right)
        came_x = down if is_down else right
        while x > came_x:
            x, y = x - 1, y - 1
            found.append((x, y))
        if differences:
            x, y = (x, y - 1) if is_down else (x - 1, y)
    return found
