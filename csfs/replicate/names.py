"""The names of one inode are looked at together: what is done through one of them is done to all (R17).

The index knows which paths showed an inode when they were looked at last; whether they still do, the disk says.
"""

import logging
from collections.abc import Callable, Container, Mapping, Sequence

from csfs.core.objects import Kind, Observation
from csfs.core.paths import RelPath, shown
from csfs.errors import CsfsError
from csfs.replicate.looking import ATTRIBUTES, Reason
from csfs.replicate.volume import Root, Volume
from csfs.store.tree import Look

Found = tuple[RelPath, Reason, Look | OSError | CsfsError | None]
ANOTHER_NAME = ATTRIBUTES
ACROSS_MAX = 100
"""Of names in different groups, so many are shown."""

log = logging.getLogger(__name__)


async def with_names(
    volume: Volume,
    found: list[Found],
    shown_before: list[Observation | None],
    look: Callable[[RelPath, Reason], None],
) -> tuple[list[Found], list[Observation | None]]:
    """Return what was found with all other names of the same inodes, so that one write becomes one version of all of them.

    What is found at them need not be read again. A name that stands for something else by now is looked at by itself.
    """
    names = _other_names(volume, found, shown_before)
    if not names:
        return _together(found), shown_before
    before = [shown_at(volume, name) for name in names]
    looks = {_found_inode(result): result for _, _, result in found if isinstance(result, Look)}
    now = await volume.with_root(_inodes_at, list(names))
    for (name, inode), number, shown_there in zip(names.items(), now, before, strict=True):
        seen = looks.get(inode)
        if seen is not None and number == inode:
            found.append(
                (name, ANOTHER_NAME, Look(seen.observation, is_read=False, is_partly_read=seen.is_partly_read))
            )
            shown_before.append(shown_there)
        else:
            look(name, ATTRIBUTES)
    return _together(found), shown_before


def shown_at(volume: Volume, path: RelPath) -> Observation | None:
    """Return what the disk shows at a path, as far as the index knows."""
    row = volume.index.rows.row(path)
    return row.applied.observation if row is not None else None


def _inode_of(observation: Observation | None) -> int | None:
    """Return the number of what has, or had, other names; None for what has one, or is a directory."""
    if observation is None or observation.links < 2 or observation.kind is Kind.DIRECTORY:
        return None
    return observation.stamp.inode


def _found_inode(result: Look | OSError | CsfsError | None) -> int | None:
    """Return the number of what was found, if it has other names."""
    return _inode_of(result.observation) if isinstance(result, Look) else None


def _other_names(
    volume: Volume, found: Sequence[Found], shown_before: Sequence[Observation | None]
) -> dict[RelPath, int]:
    """Return the paths that showed what was found, or what was shown before, and were not looked at, each with that inode's number."""
    looked_at = {path for path, _, _ in found}
    names: dict[RelPath, int] = {}
    for (_, _, result), before in zip(found, shown_before, strict=True):
        for inode in {_inode_of(before), _found_inode(result)} - {None}:
            assert inode is not None
            for name in volume.index.rows.paths_linked(inode):
                if name not in looked_at:
                    names[name] = inode
    return names


def _inodes_at(root: Root, paths: Sequence[RelPath]) -> list[int | None]:
    """Return the number of what is at each path now, None for nothing; for a thread."""
    found: list[int | None] = []
    for path in paths:
        try:
            status = root.tree.lstat(path)
        except (OSError, CsfsError):
            status = None
        found.append(status.st_ino if status is not None else None)
    return found


def _together(found: Sequence[Found]) -> list[Found]:
    """Return what was found with one observation for all names of an inode: the last one that its content was read for."""
    looks: dict[int, Look] = {}
    for _, _, result in found:
        inode = _found_inode(result)
        if inode is not None and isinstance(result, Look):
            known = looks.get(inode)
            if known is None or result.is_read or not known.is_read:
                looks[inode] = result
    return [(path, reason, looks.get(_found_inode(result) or 0, result)) for path, reason, result in found]


def overtaken(volume: Volume, found: Sequence[Found], shown_before: Sequence[Observation | None]) -> set[RelPath]:
    """Return paths to which, or to another name of which, something was committed since they were looked at.

    What was seen there is older than what the index says is shown, or not recorded there yet: it would be taken for a change that
    somebody here made.
    """
    names = names_by_path(found)
    moved = {one[0] for one, before in zip(found, shown_before, strict=True) if shown_at(volume, one[0]) != before}
    moved |= volume.in_flight
    return {path for path, _, _ in found if not moved.isdisjoint(names.get(path, (path,)))}


def note_across(volume: Volume, found: Sequence[Found], names: Mapping[RelPath, Sequence[RelPath]]) -> None:
    """Take note of names of one inode that are in different groups, and so are not one at peers; log it once."""
    for path, _, _ in found:
        others = names.get(path, ())
        group = volume.rules.group_of(path)
        apart = next((other for other in others if other > path and volume.rules.group_of(other) is not group), None)
        if apart is None:
            volume.across.pop(path, None)
        elif path not in volume.across and len(volume.across) < ACROSS_MAX:
            volume.across[path] = apart
            log.warning(
                "%s: %s and %s are one file, in different groups: not at peers", volume.name, shown(path), shown(apart)
            )


def names_by_path(found: Sequence[Found]) -> Mapping[RelPath, Sequence[RelPath]]:
    """Return, by path, all paths at which the same inode was found, itself among them."""
    by_inode: dict[int, list[RelPath]] = {}
    for path, _, result in found:
        inode = _found_inode(result)
        if inode is not None:
            by_inode.setdefault(inode, []).append(path)
    return {path: names for names in by_inode.values() for path in names}


def reason_now(
    volume: Volume,
    waiting: Container[RelPath],
    path: RelPath,
    reason: Reason,
    looks: Mapping[RelPath, Look | OSError | CsfsError | None],
) -> Reason:
    """Return the reason without a move that came to nothing; `looks` are what was found, `waiting` is still to be looked at."""
    look, target, before = looks[path], reason.moved_to, shown_at(volume, path)
    if target is None or look is None or before is None or target in waiting:
        return reason
    there = looks[target] if target in looks else shown_at(volume, target)
    return reason.confirmed(before, there.observation if isinstance(there, Look) else there)
