"""Why paths are looked at, and looking at them in a thread."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from csfs.core.changes import Extent
from csfs.core.extents import bounded
from csfs.core.objects import Kind, Observation
from csfs.core.patches import PATCH_SIZE_MAX
from csfs.core.paths import RelPath
from csfs.core.rows import Row
from csfs.errors import CsfsError
from csfs.replicate.volume import Root, Volume
from csfs.store.attributes import stamp_of
from csfs.store.blocks import touched_pages
from csfs.store.hashing import BLOCK_SIZE
from csfs.store.observing import Before, Limits
from csfs.store.scanning import scan
from csfs.store.tree import Look
from csfs.wire.control import KEPT
from csfs.wire.messages import INLINE_SIZE_MAX

log = logging.getLogger(__name__)

INLINE_LOOKS_MAX = 2
RACY_NS = 20_000_000
"""A stamp that is younger when a look begins does not prove that nothing was written while that went on, or after it (R23)."""
EXTENTS_MAX = 4_096
READ_SIZE_MAX = 64 * 1024 * 1024
"""To read that much, once, takes a few hundredths of a second from memory, and some tenths from a disk."""
LIMITS = Limits(INLINE_SIZE_MAX, PATCH_SIZE_MAX, READ_SIZE_MAX)
UNLIMITED = Limits(INLINE_SIZE_MAX, PATCH_SIZE_MAX)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a path is to be looked at.

    `content` True: its bytes may have changed whatever its stamp says; False: they have not, if inode, size and mtime are
    the same; None: they have not, if the whole stamp is the same. `extents` cover all that was written since the last look;
    None: nobody says. `compared`: nobody says that something changed, a comparison asks.
    `linked_from` was given this name, or one from which it was moved here since.
    """

    content: bool | None = None
    extents: tuple[Extent, ...] | None = None
    moved_from: RelPath | None = None
    moved_to: RelPath | None = None
    joining: bool = False
    compared: bool = False
    linked_from: RelPath | None = None

    def merged(self, later: "Reason") -> "Reason":
        """Return what covers both."""
        either = (self.content, later.content)
        extents = None
        if self.extents is not None and later.extents is not None:
            extents = later.extents
            if self.extents:
                extents = tuple(bounded((*self.extents, *later.extents), EXTENTS_MAX, BLOCK_SIZE))
        return Reason(
            True if True in either else None if None in either else False,
            extents,
            later.moved_from or self.moved_from,
            later.moved_to or self.moved_to,
            self.joining or later.joining,
            self.compared and later.compared,
            later.linked_from or self.linked_from,
        )

    def confirmed(self, before: Observation, there: object) -> "Reason":
        """Return the reason without a move of what was shown `before`, unless that is what is `there`.

        An editor that renames the old file, makes a new one in its place and removes the old one has saved a file.
        """
        is_there = isinstance(there, Observation) and there.stamp.inode == before.stamp.inode
        return self if is_there else replace(self, moved_to=None)


NO_REASON = Reason()
"""Something may have changed, and nobody says what."""
ATTRIBUTES = Reason(False, ())
"""What was written is told by others."""


def all_before(volume: Volume, batch: Sequence[tuple[RelPath, Reason]], *, complete: bool) -> list[Before]:
    """Return what is known of the object at each path: of it as it was where it came from, if it was moved.

    `complete`: no rows are missing. Else no extents tell all that was written.
    """
    volume.index.rows.fetch(path for one in batch for path in (one[0], one[1].moved_from) if path is not None)
    return [_before(volume, path, reason, complete=complete) for path, reason in batch]


def _before(volume: Volume, path: RelPath, reason: Reason, *, complete: bool) -> Before:
    row = volume.index.rows.row(reason.moved_from) if reason.moved_from is not None else None
    if row is None or row.applied.observation is None:
        row = volume.index.rows.row(path)
    previous = row.applied.observation if row is not None else None
    extents = reason.extents
    if extents is None or not complete or previous is None or previous.kind is not Kind.FILE:
        return Before(previous, reason.content)
    table = None
    if previous.size > BLOCK_SIZE:
        # Whatever the size is now: the end may have moved. A page that is not at hand is read whole.
        pages = touched_pages(previous.size, previous.size + 1, extents)
        table = volume.index.tables.part(previous.hash, previous.size, pages)
    return Before(previous, reason.content, table, extents)


def look_at(
    root: Root,
    batch: Sequence[tuple[RelPath, Reason]],
    known: Sequence[Before],
    read: Sequence[Look | OSError | CsfsError | None],
) -> list[tuple[RelPath, Reason, Look | OSError | CsfsError | None]]:
    """Look at a batch of paths; for a thread. One that cannot be read does not hold up the others.

    `read` is what came of those that were read beforehand (`reading`), and counts if nothing has changed since.
    """
    found: list[tuple[RelPath, Reason, Look | OSError | CsfsError | None]] = []
    for (path, reason), of_it, before in zip(batch, known, read, strict=True):
        try:
            if isinstance(before, Exception) or (before is not None and _is_same(root, path, before)):
                found.append((path, reason, before))
            else:
                found.append((path, reason, root.tree.look_from(path, of_it, LIMITS)))
        except (OSError, CsfsError) as error:
            found.append((path, reason, error))
    if any(result is None for _, _, result in found):
        root.check()
    return found


def _is_same(root: Root, path: RelPath, before: Look) -> bool:
    """Return whether what was read is what is there."""
    status = root.tree.lstat(path)
    return status is not None and stamp_of(status) == before.observation.stamp


def look_at_kept(root: Root, name: bytes) -> Observation | None:
    """Observe a kept version, None if it is gone; for a thread."""
    try:
        return root.tree.observe(RelPath(KEPT + b"/" + name))
    except (OSError, CsfsError) as error:
        log.warning("kept version %r not read: %s", name, error)
        return None


def paths_below(root: Root, directory: RelPath) -> list[RelPath]:
    """Return every path below `directory` on disk; none if it is not a directory. For a thread."""
    return list(stamps_below(root, directory))


def stamps_below(root: Root, directory: RelPath) -> dict[RelPath, bytes]:
    """Return every path below `directory` on disk, ascending, with its packed stamp; none if it is not a directory. For a thread."""
    return {path: stamp for chunk in scan(root.tree.root, directory) for path, stamp in chunk.found.items()}


def is_little(volume: Volume, batch: Sequence[tuple[RelPath, Reason]]) -> bool:
    """Return whether a program has just written this, and little: its bytes are in memory."""
    root = volume.root
    if root is None or len(batch) > INLINE_LOOKS_MAX or volume.comparing:
        return False
    if volume.in_flight and volume.rules.flagged:
        return False  # it may have to be looked at again and again, until commits are done that have lifted some
    try:
        statuses = [root.tree.lstat(path) for path, _ in batch]
    except (OSError, CsfsError):
        return False
    return all(status is None or status.st_size <= INLINE_SIZE_MAX for status in statuses)


def is_racy(volume: Volume, look: Look, known: Row | None, reason: Reason) -> bool:
    """Return whether the stamp does not prove what the content is (R23); `known` is the row of the path.

    Somebody may have written more than rows have told yet when a part was read: were that row lost, nothing else would tell.
    """
    is_young = look.began_ns - look.observation.stamp.ctime_ns < RACY_NS  # what was read first is the oldest
    source = volume.index.rows.row(reason.moved_from) if reason.moved_from is not None else None
    was_racy = not look.is_read and any(row.applied.racy for row in (known, source) if row is not None)
    return is_young or look.is_partly_read or was_racy


def is_directory(look: Look | None) -> bool:
    """Return whether a directory is there."""
    return look is not None and look.observation.kind is Kind.DIRECTORY


def showed_directory(known: Row | None) -> bool:
    """Return whether a directory was shown there."""
    shown_before = known.applied.observation if known is not None else None
    return shown_before is not None and shown_before.kind is Kind.DIRECTORY
