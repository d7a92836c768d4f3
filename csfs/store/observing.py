"""Looking at one object through an O_PATH descriptor: everything said of it is said of one inode, at one moment."""

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator

import msgspec

from csfs.core.changes import Extent, Piece
from csfs.core.extents import merged
from csfs.core.objects import Kind, Observation
from csfs.core.patches import PIECES_MAX
from csfs.core.tables import BlockTable
from csfs.errors import LongReadError, UnstableError
from csfs.store import blocks
from csfs.store.attributes import kind_of, link_path, stamp_of
from csfs.store.hashing import BLOCK_SIZE, block_hash
from csfs.store.naming import told_xattrs
from csfs.store.owners import Owners
from csfs.store.treating import Treated

_DEVICES = (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)


class Limits(msgspec.Struct, frozen=True):
    """Up to how many bytes the whole of a content, and what was written to a larger one, come along with a look; -1: not at all.

    `read_size`: so much of a file is read as a whole, at most; None: all.
    """

    content_size: int = -1
    written_size: int = -1
    read_size: int | None = None


class Look(msgspec.Struct, frozen=True):
    """An object as it was found. `content` is the whole of a small file, if it was asked for and read.

    `began_ns`: when the look began, by the clock of the stamps. `table` is that of a file of more than one block, as far as its pages
    were hashed. `is_read`: the content was; else the hash is the previous one. `is_partly_read`: all but the blocks that extents
    named is believed from before; `written` are then the bytes in those extents, if they were asked for and are few, and `base` is
    the hash of what they were written to.
    """

    observation: Observation
    began_ns: int
    content: bytes | None = None
    table: BlockTable | None = None
    is_read: bool = True
    is_partly_read: bool = False
    written: tuple[Piece, ...] | None = None
    base: bytes = b""


class Before(msgspec.Struct, frozen=True):
    """What is known of a file from before, and how much of it may still be believed. See `Tree.look`."""

    previous: Observation | None = None
    content_changed: bool | None = None
    table: BlockTable | None = None
    extents: tuple[Extent, ...] | None = None

    def still_holds(self, status: os.stat_result) -> bool:
        """Return whether the previous hash can be taken without reading."""
        if self.content_changed or self.previous is None or self.previous.kind is not Kind.FILE:
            return False
        stamp = self.previous.stamp
        if self.content_changed is None:
            return stamp_of(status) == stamp
        return (stamp.inode, stamp.size, stamp.mtime_ns) == (status.st_ino, status.st_size, status.st_mtime_ns)

    def extents_of(self, status: os.stat_result) -> tuple[Extent, ...] | None:
        """Return what was written to this very file since `previous`; None if that is not known."""
        previous = self.previous
        same = previous is not None and previous.kind is Kind.FILE and previous.stamp.inode == status.st_ino
        return self.extents if same else None


@contextlib.contextmanager
def reading(handle: int) -> Iterator[int]:
    """Hold a descriptor to read the regular file that the O_PATH descriptor `handle` names, leaving its atime alone.

    Raises:
        FileNotFoundError: it is not a regular file. Opening a device or a fifo would have effects, or wait.
    """
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise FileNotFoundError(errno.ENOENT, "not a regular file")
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(link_path(handle), flags | os.O_NOATIME)
    except PermissionError:  # not the owner, in a user namespace
        descriptor = os.open(link_path(handle), flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def look_at(handle: int, treated: Treated, before: Before, limits: Limits) -> Look | None:
    """Return what the O_PATH descriptor `handle` names, or None if it changed while it was looked at."""
    began_ns, status = time.time_ns(), os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        return _look_at_other(handle, treated, began_ns)
    if before.still_holds(status):
        assert before.previous is not None
        xattrs = told_xattrs(link_path(handle), treated)
        found = Look(observed(status, treated.owners, xattrs, root=before.previous.hash), began_ns, is_read=False)
    else:
        try:
            found = _look_at_content(handle, status, began_ns, treated, before, limits)
        except UnstableError:  # it changed under our hands
            return None
    return found if stamp_of(os.fstat(handle)) == found.observation.stamp else None


def _look_at_content(
    handle: int, status: os.stat_result, began_ns: int, treated: Treated, before: Before, limits: Limits
) -> Look:
    size = status.st_size
    extents = before.extents_of(status)
    with reading(handle) as descriptor:
        xattrs = told_xattrs(descriptor, treated)
        old_size = before.previous.size if before.previous is not None else 0
        written = _written(descriptor, size, old_size, extents, limits)
        base = before.previous.hash if before.previous is not None and written is not None else b""
        if size > BLOCK_SIZE:
            stamp = stamp_of(status)
            known = before.table if extents is not None else None
            if known is None and limits.read_size is not None and min(size, status.st_blocks * 512) > limits.read_size:
                raise LongReadError("a large file, to be read as a whole")
            root, table = blocks.rehash(
                descriptor, size, known, extents or (), lambda: stamp_of(os.fstat(descriptor)) == stamp
            )
            found = observed(status, treated.owners, xattrs, root=root)
            return Look(found, began_ns, table=table, is_partly_read=known is not None, written=written, base=base)
        content = blocks.read_exactly(descriptor, 0, size) if size else b""
    found = observed(status, treated.owners, xattrs, root=block_hash(content))
    return Look(found, began_ns, content if size <= limits.content_size else None, written=written, base=base)


def _written(
    descriptor: int, size: int, old_size: int, extents: tuple[Extent, ...] | None, limits: Limits
) -> tuple[Piece, ...] | None:
    """Return what is in the extents now, as far as the file reaches; None if they are not known, or too many.

    Of what is behind the old end, holes are left out: whoever makes the file larger gets zeros.
    """
    if extents is None or size <= limits.content_size:
        return None
    grown = blocks.data_extents(descriptor, old_size, size, PIECES_MAX)
    if grown is None:
        return None
    within = min(old_size, size)
    pieces = [(offset, min(length, within - offset)) for offset, length in extents if offset < within]
    pieces = merged([*pieces, *grown])
    if sum(length for _, length in pieces) > limits.written_size:
        return None
    return tuple((offset, blocks.read_exactly(descriptor, offset, length)) for offset, length in pieces)


def _look_at_other(handle: int, treated: Treated, began_ns: int) -> Look:
    """Look at what has no content. A directory's times move with its entries, so one look at the end has to do."""
    xattrs = told_xattrs(link_path(handle), treated)
    status = os.fstat(handle)
    target = os.readlink(b"", dir_fd=handle) if stat.S_ISLNK(status.st_mode) else b""
    return Look(observed(status, treated.owners, xattrs, target=target), began_ns)


def observed(
    status: os.stat_result,
    owners: Owners,
    xattrs: tuple[tuple[bytes, bytes], ...],
    root: bytes = b"",
    target: bytes = b"",
) -> Observation:
    """Return the observation that lstat, the xattrs, a file's root hash and a symlink's target make."""
    kind = kind_of(status.st_mode)
    owner, group = owners.names(status.st_uid, status.st_gid)
    return Observation(
        stamp=stamp_of(status),
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        owner=owner,
        group=group,
        mtime_ns=status.st_mtime_ns,
        size=status.st_size if kind is Kind.FILE else 0,
        hash=root,
        target=target,
        device=status.st_rdev if kind in _DEVICES else 0,
        xattrs=xattrs,
        links=status.st_nlink,
    )
