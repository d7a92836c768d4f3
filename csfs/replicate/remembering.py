"""What is held of a content that was just read here, for peers that will want it: its table, its bytes, or what was written."""

from collections.abc import Iterable

from csfs.core.objects import Applied, Kind, Observation
from csfs.core.patches import Patch
from csfs.core.paths import RelPath
from csfs.replicate.volume import Volume
from csfs.store.tree import Look


def hashes_read(looks: Iterable[object]) -> list[bytes]:
    """Return the hashes of files that were read, which is what looks are asked to remember."""
    return [look.observation.hash for look in looks if isinstance(look, Look) and look.is_read]


def remember_content(volume: Volume, look: Look, before: Applied | None) -> bool:
    """Hold what a look has read; return False if its table cannot be held whole. In a transaction.

    `before` is what the path showed before.
    """
    observation, shown_before = look.observation, before.observation if before is not None else None
    if observation.kind is not Kind.FILE:
        return True
    if not look.is_read and shown_before is not None and shown_before.hash == observation.hash:
        return True  # nothing was read, nor did anything come here
    shown_dot = before.content_dot if before is not None else None
    if look.table is not None and not volume.index.tables.add(observation.hash, look.table):
        return False
    # A content that some path shows already need not travel: the peers find it by its hash.
    if any(not _is_name_of(volume, path, observation) for path in volume.index.rows.paths_with_hash(observation.hash)):
        volume.travelled.add(observation.hash)
    elif look.content:
        volume.contents.put(observation.hash, look.content)
    elif look.written is not None and shown_dot is not None and look.base != observation.hash:
        volume.patches.put(Patch(observation.hash, observation.size, look.base, shown_dot, look.written))
    return True


def _is_name_of(volume: Volume, path: RelPath, observation: Observation) -> bool:
    """Return whether a path shows the very inode that was found: what was written to it is as new there."""
    row = volume.index.rows.row(path)
    shown = row.applied.observation if row is not None else None
    return shown is not None and shown.stamp.inode == observation.stamp.inode
