"""Why paths are looked at, and looking at them in a thread."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from csfs.core.objects import Kind, Observation
from csfs.core.paths import RelPath
from csfs.errors import CsfsError
from csfs.replicate.volume import Root, Volume
from csfs.store.scanning import scan
from csfs.store.tree import Look
from csfs.wire.control import KEPT
from csfs.wire.messages import INLINE_SIZE_MAX

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a path is to be looked at.

    `content` True: its bytes may have changed whatever its stamp says; False: they have not, if inode, size and mtime are
    the same; None: they have not, if the whole stamp is the same. `compared`: nobody says that something changed, a comparison asks.
    """

    content: bool | None = None
    moved_from: RelPath | None = None
    moved_to: RelPath | None = None
    joining: bool = False
    compared: bool = False

    def merged(self, later: "Reason") -> "Reason":
        """Return what covers both."""
        either = (self.content, later.content)
        return Reason(
            True if True in either else None if None in either else False,
            later.moved_from or self.moved_from,
            later.moved_to or self.moved_to,
            self.joining or later.joining,
            self.compared and later.compared,
        )

    def confirmed(self, before: Observation, there: object) -> "Reason":
        """Return the reason without a move of what was shown `before`, unless that is what is `there`.

        An editor that renames the old file, makes a new one in its place and removes the old one has saved a file.
        """
        is_there = isinstance(there, Observation) and there.stamp.inode == before.stamp.inode
        return self if is_there else replace(self, moved_to=None)


NO_REASON = Reason()
"""Something may have changed, and nobody says what."""


def look_at(
    root: Root, batch: Sequence[tuple[RelPath, Reason]], previous: Sequence[Observation | None]
) -> list[tuple[RelPath, Reason, Look | OSError | CsfsError | None]]:
    """Look at a batch of paths; for a thread. One that cannot be read does not hold up the others."""
    found: list[tuple[RelPath, Reason, Look | OSError | CsfsError | None]] = []
    for (path, reason), before in zip(batch, previous, strict=True):
        try:
            found.append((path, reason, root.tree.look(path, before, reason.content, content_size_max=INLINE_SIZE_MAX)))
        except (OSError, CsfsError) as error:
            found.append((path, reason, error))
    return found


def look_at_kept(root: Root, name: bytes) -> Observation | None:
    """Observe a kept version, None if it is gone; for a thread."""
    try:
        return root.tree.observe(RelPath(KEPT + b"/" + name))
    except (OSError, CsfsError) as error:
        log.warning("kept version %r not read: %s", name, error)
        return None


def remember_content(volume: Volume, look: Look) -> None:
    """Have the content of a file that was looked at at hand, for those who ask for it and for the message that tells of it."""
    observation = look.observation
    if observation.kind is not Kind.FILE:
        return
    if look.table:
        volume.index.ledger.add_table(observation.hash, look.table)
    # A content that some path shows already need not travel: the peers find it by its hash.
    if volume.index.rows.paths_with_hash(observation.hash):
        volume.travelled.add(observation.hash)
    elif look.content:
        volume.contents.put(observation.hash, look.content)


def paths_below(root: Root, directory: RelPath) -> list[RelPath]:
    """Return every path below `directory` on disk; none if it is not a directory. For a thread."""
    return [path for chunk in scan(root.tree.root, directory) for path in chunk.found]
