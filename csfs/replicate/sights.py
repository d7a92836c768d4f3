"""What the disk shows, read anew and not believed from stamps, in few bytes: for members that compare their trees.

Each side looks at its own disk and says, path by path, a hash of what it shows, or stands for where this host cannot show it exactly,
and whether that is what its index says. So a disk that returns other bytes than were written is found, also where nothing
has asked for them.
"""

import enum
import hashlib
import itertools

import msgspec

from csfs.core import acls
from csfs.core.digests import Range
from csfs.core.objects import Applied, Kind, Observation
from csfs.core.paths import RelPath
from csfs.core.rows import Row
from csfs.core.versions import Scope
from csfs.engine.live import meta_of, shown_mtime_ns
from csfs.engine.minting import Change
from csfs.errors import CsfsError
from csfs.replicate.volume import Root, Volume
from csfs.wire.messages import SIGHTS_MAX, Sight

BYTES_MAX = 64 << 20
"""Contents that are read for one answer: a peer is not kept waiting for long."""
HASH_SIZE = 16


class State(enum.IntEnum):
    """What the disk shows at a path, against the index. The numbers are on the wire: never reused."""

    FINE = 0
    PENDING = 1
    """Something known is not applied yet, or nobody has looked at a change."""
    DAMAGED = 2
    """Nobody has touched it, and it is not what it was: the disk returns other bytes."""
    CHANGED = 3
    """It was changed, and the index does not know."""
    UNREADABLE = 4


def sights(volume: Volume, root: Root, scope: Scope, asked: Range) -> tuple[bytes, tuple[Sight, ...]]:
    """Return how far this reaches in a range (empty: to its end), and what the disk shows there; for a thread."""
    found, size = list[Sight](), 0
    with volume.index.shown() as shown:
        # Before anything is read from the disk: while somebody reads the index, its log cannot be begun anew.
        rows = list(itertools.islice(shown.rows(scope, asked), SIGHTS_MAX + 1))
    for path, row in rows:
        if len(found) == SIGHTS_MAX or size > BYTES_MAX:
            return found[-1].path, tuple(found)
        sight, read = _sight(root, path, row)
        size += read
        found.append(sight)
    return b"", tuple(found)


def _sight(root: Root, path: RelPath, row: Row) -> tuple[Sight, int]:
    """Return what is at a path, and how many bytes were read for that."""
    try:
        observation = root.tree.observe(path, None, True)
    except (OSError, CsfsError):
        return Sight(path, b"", State.UNREADABLE), 0
    state = _state(row, observation)
    digest = _digest(path, row.applied, observation, exact=state is not State.FINE) if observation is not None else b""
    return Sight(path, digest, state), observation.size if observation is not None else 0


def _state(row: Row, found: Observation | None) -> State:
    if row.pending:
        return State.PENDING
    before = row.applied.observation
    change = Change.between(row.applied, found, False)
    if change is None or (change.time and not (change.content or change.meta)):
        return State.FINE
    if before is not None and found is not None and before.stamp == found.stamp:
        return State.DAMAGED
    return State.CHANGED


def _digest(path: RelPath, applied: Applied, found: Observation, *, exact: bool) -> bytes:
    """Return a hash of what is shown, or of what it stands for on this host (R4). A directory's time is a trace of commits."""
    meta = meta_of(found) if exact or applied.meta is None else applied.meta
    mtime_ns = 0 if found.kind is Kind.DIRECTORY else found.mtime_ns if exact else shown_mtime_ns(applied)
    owners = meta.owner or meta.uid, meta.group or meta.gid
    value = (
        path,
        found.kind,
        found.size,
        found.hash,
        found.target,
        found.device,
        mtime_ns,
        meta.mode,
        owners,
        acls.meaning(meta.xattrs),
    )
    return hashlib.blake2b(msgspec.msgpack.encode(value), digest_size=HASH_SIZE).digest()
