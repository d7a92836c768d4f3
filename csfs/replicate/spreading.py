"""A directory was moved here: all that was in it goes along in one step, or is looked at path by path."""

import stat
import time
from collections.abc import Mapping
from typing import Protocol

import trio

from csfs.core.objects import Observation, inode_of
from csfs.core.paths import RelPath, is_below
from csfs.core.rows import Row
from csfs.errors import CsfsError
from csfs.replicate.keeping import note_local
from csfs.replicate.looking import NO_REASON, Reason, stamps_below
from csfs.replicate.moves import Move
from csfs.replicate.names import shown_at
from csfs.replicate.volume import Root, Volume

HEAD_START_S = 0.002


class Looks(Protocol):
    """What is to be looked at; the observer has it."""

    def wanted(self, path: RelPath) -> Reason | None:
        """Return why a path is to be looked at: another object each time that somebody has told of it."""
        ...

    def look(self, path: RelPath, reason: Reason, *, sequence: int) -> None:
        """Have a path looked at, for a row that was taken in before, 0 for none."""
        ...

    def is_only_moved(self, source: RelPath, target: RelPath) -> bool:
        """Return whether that move is all that anybody has told of what is at and below these paths."""
        ...

    def was_moved(self, move: Move) -> None:
        """All that came of the move is known: neither name has to be looked at any more, nor anything below."""
        ...

    def forget_origin(self, path: RelPath) -> None:
        """What was at a path has gone, and is told of where it is."""
        ...

    def is_unseen(self, path: RelPath) -> bool:
        """Return whether somebody has changed a path, and nobody has looked at it yet."""
        ...


async def spread(volume: Volume, looks: Looks, move: Move) -> None:
    """A directory was moved: make versions of all that is below it at once, or have everything that was or is there looked at."""
    source, target = move.source, move.target
    told = looks.wanted(target)
    below, observation = await volume.with_root(_found, source, target)
    # What somebody has done to the directory meanwhile is not in what was found.
    is_only = told is looks.wanted(target) and observation is not None and looks.is_only_moved(source, target)
    is_only = is_only and is_whole(volume) and not move.is_told
    is_all = is_only and _is_all(volume, source, target, below)
    if is_all and await _moved(volume, looks, move, observation):
        return
    if move.is_told:
        for path in {*below, *volume.index.rows.shown_paths(source)}:
            looks.look(path, NO_REASON, sequence=move.sequence)
        return
    came = dict[RelPath, RelPath]()
    for path, stamp in below.items():
        there_before = RelPath(source + path[len(target) :])
        told, first = looks.wanted(there_before), _first_name(volume, looks, there_before, stamp)
        # What was written to it before the move is read, whatever its stamp says (R23).
        content, linked_from = (told.content, told.linked_from) if told is not None else (None, None)
        looks.forget_origin(there_before)
        moved_from = first if first != path else None
        came_here = Reason(True if content else None, moved_from=moved_from, linked_from=linked_from)
        looks.look(path, came_here, sequence=move.sequence)
        if first is not None and first != path:
            came[first] = path
    for path in [*came, *volume.index.rows.shown_paths(source)]:
        there = came.get(path)
        went_on = _moved_on(looks, path, source, target) if there is None else Reason(moved_to=there)
        looks.look(path, went_on, sequence=move.sequence)


def _first_name(volume: Volume, looks: Looks, path: RelPath, stamp: bytes) -> RelPath | None:
    """Return by which name the index knows what was at a path when its directory was moved; None if it is something new.

    It may have come there just before. Several may have had one name: what was linked to it, or saved in its place.
    """
    told = looks.wanted(path)
    came_from = told.moved_from if told is not None else None
    names = [name for name in (came_from, path) if name is not None]
    for name in names:
        before = shown_at(volume, name)
        if before is not None and before.stamp.inode == inode_of(stamp):
            return name
    if told is not None and told.moved_to is not None:
        return None  # what was here went on before, and this is something else
    return path if came_from is None or shown_at(volume, path) is not None else came_from


def _moved_on(looks: Looks, path: RelPath, source: RelPath, target: RelPath) -> Reason:
    """Return where what was shown below a directory went, which was moved: along, or out of it before, or elsewhere in it."""
    told = looks.wanted(path)
    there = path if told is None or told.moved_to is None else told.moved_to
    return Reason(moved_to=RelPath(target + there[len(source) :]) if is_below(there, source) else there)


def is_in_doubt(volume: Volume) -> bool:
    """Return whether a power cut may have taken what is missing."""
    return volume.evidence is not None or bool(volume.index.suspects.left())


def is_whole(volume: Volume) -> bool:
    """Return whether the index shows what the disk does, but for what rows have told: no rows are missing, nothing is in doubt."""
    return not (is_in_doubt(volume) or volume.comparing or volume.uncompared or volume.index.ledger.pulling)


def moved_inode(root: Root, source: RelPath, target: RelPath) -> int:
    """Return the inode number of the directory at the target, if nothing is at the source any more; else 0. For a thread.

    Raises:
        CsfsError, OSError: it cannot be told.
    """
    status = root.tree.lstat(target)
    is_moved = status is not None and stat.S_ISDIR(status.st_mode) and root.tree.lstat(source) is None
    return status.st_ino if status is not None and is_moved else 0


def _found(root: Root, source: RelPath, target: RelPath) -> tuple[dict[RelPath, bytes], Observation | None]:
    """Return the stamps of all below the target, and the directory there if it is what was moved and can be read."""
    try:
        found = root.tree.observe(target) if moved_inode(root, source, target) else None
    except (OSError, CsfsError):
        found = None
    return stamps_below(root, target), found


def _is_all(volume: Volume, source: RelPath, target: RelPath, below: Mapping[RelPath, bytes]) -> bool:
    """Return whether all that is followed below the target is what was shown below the source, unchanged, and nothing is missing."""
    shown = {RelPath(target + p[len(source) :]): stamp for p, stamp in volume.index.rows.shown_stamps(source)}
    return shown == {p: stamp for p, stamp in below.items() if p in shown or volume.is_followed(p)}


async def _moved(volume: Volume, looks: Looks, move: Move, observation: Observation | None) -> bool:
    assert observation is not None, "nothing was found that was moved"
    source, target = move.source, move.target
    now_ns, moved = time.time_ns(), list[tuple[RelPath, Row]]()
    try:
        with volume.index.transaction():
            moved = volume.engine.move_whole(source, target, observation, now_ns)
            for path, row in moved:
                if row.applied.observation is not None:  # a kill keeps no action from running
                    volume.happenings.noticed(path, True)
                    volume.happenings.noticed(RelPath(target + path[len(source) :]), True)
    except Exception:
        if moved:
            volume.engine.move_undone()  # its counters are handed out once more
        raise
    if not moved:
        return False
    looks.was_moved(move)
    volume.changed.notify()
    # Peers are told first: their programs wait for the rename. What is lost here by a kill is a line in the history, and that edits
    # which are known already follow at once: they do when their paths are looked at, or told of, once more.
    with trio.CancelScope(shield=True):
        await trio.sleep(HEAD_START_S)
    there = [RelPath(target + path[len(source) :]) for path, _ in moved]
    with volume.index.transaction():
        for (path, row), now in zip(moved, there, strict=True):
            note_local(volume, path, row.applied, None)
            volume.happenings.made_here(now, None, row.applied.observation)
        followed = volume.engine.follow([*there, *(path for path, _ in moved)], now_ns, looks.is_unseen)
    volume.apply_soon([*volume.engine.woken(), *followed])
    volume.merge_soon([*there, *followed])
    if followed:
        volume.changed.notify()
    return True
