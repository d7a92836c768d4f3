"""Cutting a batch of updates so that each message fits a frame, whatever paths, attributes and vectors it has."""

from collections.abc import Sequence

from csfs.wire.messages import Update

PORTION_SIZE_MAX = 2 * 1024 * 1024
ANCESTOR_SIZE, DOT_SIZE = 50, 20
COUNTER_SIZE = 18
"""What a vector takes for each incarnation."""
UPDATE_SIZE = 200
"""What the fixed parts of an entry take."""


def portions(updates: Sequence[Update]) -> list[tuple[Update, ...]]:
    """Return `updates` in portions that fit a frame with room to spare, at least one."""
    portions: list[list[Update]] = [[]]
    size = 0
    for update in updates:
        weight = _weight(update)
        if portions[-1] and size + weight > PORTION_SIZE_MAX:
            portions.append([])
            size = 0
        portions[-1].append(update)
        size += weight
    return [tuple(portion) for portion in portions]


def _weight(update: Update) -> int:
    """Return about how many bytes an update takes at most."""
    weight, metas = UPDATE_SIZE + len(update.path), []
    if update.meta is not None:
        metas = [entry.value for entry in update.meta.entries]
        weight += COUNTER_SIZE * len(update.meta.seen)
        weight += DOT_SIZE * sum(len(entry.parents) for entry in update.meta.entries)
    if update.content is not None:
        weight += COUNTER_SIZE * len(update.content.seen)
    for entry in update.content.entries if update.content is not None else ():
        weight += UPDATE_SIZE + len(entry.value.target) + sum(DOT_SIZE + len(move.target) for move in entry.moves)
        weight += DOT_SIZE * len(entry.parents)
        weight += ANCESTOR_SIZE * len(entry.ancestors) + DOT_SIZE * (len(entry.overruled) + len(entry.merged))
        if entry.snapshot is not None:
            metas.append(entry.snapshot)
    return weight + sum(UPDATE_SIZE + sum(len(name) + len(value) + 8 for name, value in meta.xattrs) for meta in metas)
