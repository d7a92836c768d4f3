"""What is on disk at a path, as the store sees it: stamps, observations, and what the index says is shown."""

import enum
import struct

import msgspec

from csfs.core.versions import Dot, Vector

Xattrs = tuple[tuple[bytes, bytes], ...]
"""Extended attributes (name, value), sorted by name; POSIX ACLs are among them, with the names of whom they are about (`core.acls`)."""
LeftOut = tuple[tuple[bytes, int], ...]
"""Names of xattrs that an object cannot have here, and the errno that each was refused with."""


class Kind(enum.IntEnum):
    """What an object is. The numbers are in every index and on the wire: never reused."""

    ABSENT = 0
    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3
    FIFO = 4
    CHARACTER_DEVICE = 5
    BLOCK_DEVICE = 6
    SOCKET = 7


class Stamp(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What lstat says of an object that changes whenever the object does; times in nanoseconds."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    def packed(self) -> bytes:
        """Return the stamp as `packed_stamp` has it."""
        return packed_stamp(self.inode, self.size, self.mtime_ns, self.ctime_ns)


packed_stamp = struct.Struct("<Qqqq").pack
"""Inode, size, mtime and ctime as the index has them: a million of them are compared without a million `Stamp`s being made."""


def changed_ns(packed: bytes) -> int:
    """Return the ctime of a packed stamp."""
    (ctime_ns,) = _packed_ctime(packed, 24)
    return int(ctime_ns)


def inode_of(packed: bytes) -> int:
    """Return the inode of a packed stamp."""
    (inode,) = _packed_inode(packed)
    return int(inode)


_packed_inode = struct.Struct("<Q").unpack_from
_packed_ctime = struct.Struct("<q").unpack_from


class Meta(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Everything about an object that is not its content; `mode` has the permission bits alone (07777)."""

    mode: int
    uid: int
    gid: int
    owner: str = ""
    group: str = ""
    xattrs: Xattrs = ()


class Content(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an object is and holds; what is not of its kind is zero or empty.

    `hash` is the root hash of a regular file. `mtime_ns` is 0 for a directory, whose time is a register of its own.
    """

    kind: Kind
    size: int = 0
    hash: bytes = b""
    mtime_ns: int = 0
    target: bytes = b""
    device: int = 0


class Observation(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """An object as it was found on disk, complete; what is not of its kind is zero or empty.

    `size` and `hash` are those of a regular file, `target` of a symlink, `device` of a device node. `owner` and `group` are
    empty where the host knows no name. A directory's `size` is 0.
    """

    stamp: Stamp
    kind: Kind
    mode: int
    uid: int
    gid: int
    owner: str = ""
    group: str = ""
    mtime_ns: int = 0
    size: int = 0
    hash: bytes = b""
    target: bytes = b""
    device: int = 0
    xattrs: Xattrs = ()
    links: int = 1


class Lineage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Which object is shown (`birth`), the entries that first held its bytes and first said its meta, and what these were made from.

    `write` is that of the content (R17). `decided`: the mode is one that was decided on for certain bytes (R5).
    `overruled`: what had been decided against when an entry was made that is in doubt now, and so not known any more (R8).
    """

    birth: Dot | None = None
    origin: Dot | None = None
    parents: tuple[Dot, ...] = ()
    meta_origin: Dot | None = None
    meta_parents: tuple[Dot, ...] = ()
    write: Dot | None = None
    decided: bool = False
    overruled: tuple[Dot, ...] = ()


NO_LINEAGE = Lineage()


class Applied(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """What the disk shows, in terms of the record: which entries, in which context, and how they were represented.

    `observation` is None where the path shows nothing. `*_seen` are the contexts on which a local change builds (R3).
    `racy`: the stamp was too young when it was recorded to prove that nothing was written since (R23). `mtime_ns` and `meta`
    are what was wanted where the disk could not show it exactly (R4); None: the observation says it. `lineage` outlives the
    entries that are applied, which others may have replaced.
    """

    observation: Observation | None
    content_dot: Dot | None = None
    content_seen: Vector = {}
    meta_dot: Dot | None = None
    meta_seen: Vector = {}
    racy: bool = False
    mtime_ns: int | None = None
    meta: Meta | None = None
    lineage: Lineage = NO_LINEAGE
