"""Changes: what a mount notes in the journal and tells the daemon. They say where to look, the disk says what is."""

import enum

import msgspec

from csfs.core.objects import Stamp
from csfs.core.paths import RelPath


class ChangeKind(enum.IntEnum):
    """What was done. The numbers are in every journal: never reused."""

    CONTENT = 1
    META = 2
    CREATE = 3
    LINK = 4
    REMOVE = 5
    RENAME = 6
    EXCHANGE = 7
    DISPLACED = 8
    """Bytes written to an object after a peer's version took its name; `path` is the name it had, `target` is empty."""
    COMPARE = 9
    """The journal cannot say what changed (it was full, or rows were lost): everything below `path` is to be compared."""
    SYNCED = 10
    """What had been written to the object is on its disk, as `synced` says: somebody has asked for that, and nothing changed."""
    KEPT = 11
    """What the object held, as `stamp` says, is in the kept store as `kept`: the row of what destroyed it here follows."""


Extent = tuple[int, int]
"""Offset and length, in bytes, of what a change wrote."""

Piece = tuple[int, bytes]
"""Offset of what was written, and the bytes that are there now."""


class Synced(msgspec.Struct, frozen=True, array_like=True):
    """Which object was on its disk as a whole, and what was: what has another size or a later time was written to since."""

    inode: int
    size: int
    mtime_ns: int


class Change(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One journalled fact.

    `path` is the object's (first known) path, `target` the second one of RENAME, EXCHANGE and LINK. `extents` are those of
    CONTENT, merged and ascending; empty with CONTENT means unknown, compare all. `writing` says that someone still
    has the object open for writing. `kept` is the name in the kept store of DISPLACED and KEPT. `pid` is a thread id, as the kernel
    gives it.
    """

    sequence: int
    kind: ChangeKind
    path: RelPath
    target: RelPath | None = None
    extents: tuple[Extent, ...] = ()
    writing: bool = False
    kept: bytes = b""
    time_ns: int = 0
    uid: int = 0
    pid: int = 0
    program: str = ""
    synced: Synced | None = None
    stamp: Stamp | None = None
