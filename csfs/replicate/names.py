"""The names of one inode are looked at together: what is done through one of them is done to all (R17).

The index knows which paths showed an inode when they were looked at last; whether they still do, the disk says.
"""

import contextlib
import logging
from collections.abc import Callable, Container, Mapping, Sequence

from csfs.core.objects import Kind, Observation
from csfs.core.paths import RelPath, shown
from csfs.core.treatment import flags_in
from csfs.engine.links import is_same_inode
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
                (
                    name,
                    ANOTHER_NAME,
                    Look(seen.observation, seen.began_ns, is_read=False, is_partly_read=seen.is_partly_read),
                )
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


def has_flags(volume: Volume, *paths: RelPath) -> bool:
    """Return whether the disk shows flags at one of these paths, as far as the index knows."""
    return any(
        shown_there is not None and flags_in(shown_there.xattrs) for shown_there in (shown_at(volume, p) for p in paths)
    )


class Touched:
    """What commits touched while somebody looked: what flags he found there were lifted, perhaps, for that moment."""

    def __init__(self, volume: Volume) -> None:
        self._volume, self._gate = volume, volume.gate
        self._paths: set[RelPath] = set()

    def __enter__(self) -> "Touched":
        self._entered = self._gate.watched(self._paths) if self._gate is not None else contextlib.nullcontext()
        self._entered.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._entered.__exit__(None, None, None)

    def lifted(self, path: RelPath, before: Observation | None, result: Look | OSError | CsfsError | None) -> bool:
        """Return whether an object has lost flags, perhaps for a commit alone: of it, of another of its names, or of what is in it."""
        if before is None or not isinstance(result, Look) or not is_same_inode(before, result.observation):
            return False
        if not set(flags_in(before.xattrs)) - set(flags_in(result.observation.xattrs)):
            return False
        is_shared = before.links > 1 and before.kind is not Kind.DIRECTORY
        return self._volume.gate is not self._gate or path in self._paths or (is_shared and bool(self._paths))


def overtaken(
    volume: Volume, found: Sequence[Found], shown_before: Sequence[Observation | None], touched: Touched
) -> set[RelPath]:
    """Return paths to which, or to another name of which, something was committed since they were looked at.

    What was seen there is older than what the index says is shown, or not recorded there yet: it would be taken for a change that
    somebody here made.
    """
    names, moved = names_by_path(found), set(volume.in_flight)
    for (path, _, result), before in zip(found, shown_before, strict=True):
        if shown_at(volume, path) != before or touched.lifted(path, before, result):
            moved.add(path)
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
