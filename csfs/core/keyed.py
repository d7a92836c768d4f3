"""Three versions of a list whose items have keys, put together by key; the order of the items is kept.

Everything is the same whichever side is called ours. Mappings are in the order of their items.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def items_merged(
    base: Mapping[K, V], ours: Mapping[K, V], theirs: Mapping[K, V], both_changed: Callable[[V, V, V], V | None]
) -> dict[K, V] | None:
    """Return what both sides made of `base`; `both_changed` is what becomes of an item that is everywhere and was changed by both.

    None where there is no answer: an item added by both with different values, changed here and gone there, or an order
    that both changed.
    """
    values: dict[K, V] = {}
    for key in {**base, **ours, **theirs}:
        before, our, their = base.get(key), ours.get(key), theirs.get(key)
        if our == their or their == before:
            value = our
        elif our == before:
            value = their
        elif before is None or our is None or their is None:
            return None
        else:
            value = both_changed(before, our, their)
            if value is None:
                return None
        if value is not None:
            values[key] = value
    order = _order(list(base), list(ours), list(theirs))
    return None if order is None else {key: values[key] for key in order if key in values}


def _order(base: Sequence[K], ours: Sequence[K], theirs: Sequence[K]) -> list[K] | None:
    """Return all keys: those of `base` in its order, or in that of the side that changed it, what was added after what it follows."""
    kept_ours, kept_theirs = _among(ours, base), _among(theirs, base)
    if kept_ours == _among(base, ours):
        anchors = kept_theirs if kept_theirs != _among(base, theirs) else list(base)
    elif kept_theirs == _among(base, theirs) or kept_ours == kept_theirs:
        anchors = kept_ours
    else:
        return None
    added_ours, added_theirs = _added(ours, base, anchors), _added(theirs, base, anchors)
    order: dict[K, None] = {}
    for anchor in (None, *anchors):
        if anchor is not None:
            order[anchor] = None
        # Which of two additions at one place comes first is nobody's wish: it has to be the same for both.
        for run in sorted((added_ours.get(anchor, []), added_theirs.get(anchor, [])), key=repr):
            order.update(dict.fromkeys(run))
    return list(order)


def _among(keys: Iterable[K], others: Sequence[K]) -> list[K]:
    known = set(others)
    return [key for key in keys if key in known]


def _added(side: Sequence[K], base: Sequence[K], anchors: Sequence[K]) -> dict[K | None, list[K]]:
    """Return what a side added, by what it follows: an anchor, or None for the beginning."""
    old, known = set(base), set(anchors)
    anchor: K | None = None
    added: dict[K | None, list[K]] = {}
    for key in side:
        if key in known:
            anchor = key
        elif key not in old:
            added.setdefault(anchor, []).append(key)
    return added
