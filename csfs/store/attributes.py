"""Attributes of one object: reading its xattrs, and setting mode, owner, xattrs and mtime in the one order that works.

The order: chown first, because it clears setuid and file capabilities; then the mode; then xattrs, ACLs after the mode that they
refine, capabilities last; then the mtime. Objects are reached through /proc/self/fd of an O_PATH descriptor, which never follows
a symlink and opens neither devices nor fifos. No names are looked up and nothing blocks: the mount calls this in its loop.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from csfs.core.acls import ACL_PREFIX, ordered
from csfs.core.objects import Kind, LeftOut, Stamp, Xattrs
from csfs.core.treatment import EVERYTHING, FLAGS, USUALLY_CARRIED, Carried
from csfs.store import syscalls
from csfs.store.flags import NONE, flags_of

_CAPABILITY = b"security.capability"
_PRIVILEGED_BITS = stat.S_ISUID | stat.S_ISGID

UNABLE = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.EOPNOTSUPP, errno.E2BIG, errno.ERANGE)
"""The file system, or the kernel for this host, will not have it, however often it is tried."""

_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFSOCK: Kind.SOCKET,
}

Target = int | str
"""An open descriptor, or the /proc path of an O_PATH one."""


def kind_of(mode: int) -> Kind:
    """Return the kind that `st_mode` tells."""
    return _KINDS[stat.S_IFMT(mode)]


def stamp_of(status: os.stat_result) -> Stamp:
    """Return the stamp that lstat tells."""
    return Stamp(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def stamp_at(parent: int, name: bytes) -> Stamp | None:
    """Return the stamp of `name` in the directory `parent`, or None if nothing is there."""
    try:
        return stamp_of(os.lstat(name, dir_fd=parent))
    except FileNotFoundError:
        return None


def link_path(descriptor: int) -> str:
    """Return a path that reaches the object itself that an O_PATH descriptor names."""
    return f"/proc/self/fd/{descriptor}"


def read_xattrs(target: Target, carried: Carried = USUALLY_CARRIED) -> Xattrs:
    """Return the carried xattrs of an object, sorted by name, its flags among them; none where the file system has none.

    ACLs that say the same are the same.
    """
    flags = flags_of(target) if FLAGS in carried.names else NONE
    told = ((FLAGS, flags),) if flags else ()
    try:
        listed = os.listxattr(target)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return told
        raise
    if not listed:
        return told
    names = sorted(filter(carried, map(os.fsencode, listed)))
    values = ((name, _value(target, name)) for name in names)
    found = [(n, ordered(v) if n.startswith(ACL_PREFIX) else v) for n, v in values if v is not None]
    return tuple(sorted((*told, *found)) if told else found)


def read_attributes(parent: int, name: bytes) -> tuple[os.stat_result, Xattrs]:
    """Return lstat and the carried xattrs of `name` in the directory `parent`."""
    with object_at(parent, name) as descriptor:
        return os.fstat(descriptor), read_xattrs(link_path(descriptor))


@contextlib.contextmanager
def object_at(parent: int, name: bytes) -> Iterator[int]:
    """Hold an O_PATH descriptor of `name` in the directory `parent`, a symlink itself included."""
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def set_attributes(
    parent: int,
    name: bytes,
    mode: int | None = None,
    uid: int | None = None,
    gid: int | None = None,
    mtime_ns: int | None = None,
    xattrs: Xattrs | None = None,
    removed: tuple[bytes, ...] = (),
) -> tuple[Stamp, LeftOut]:
    """Set attributes of `name` in the directory `parent`; return the stamp it shows then, and the xattrs that it cannot have.

    None leaves a field as it is, also where setting another one makes the kernel clear it. `removed` are the names of the xattrs that
    go; those that neither `xattrs` nor `removed` name stay. A symlink's mode cannot be set and is passed over.

    Raises:
        OSError: the first refusal that trying again later may mend; what was set before it stays set, so the caller redoes or reports.
    """
    left_out: LeftOut = ()
    with object_at(parent, name) as descriptor:
        before = os.fstat(descriptor)
        path = link_path(descriptor)
        new_uid, new_gid = before.st_uid if uid is None else uid, before.st_gid if gid is None else gid
        if (new_uid, new_gid) != (before.st_uid, before.st_gid):
            if xattrs is None:
                xattrs = _capabilities(path)  # chown is about to clear them, and nobody asked for that
            mode = _narrowed(path, before.st_mode, mode)
            os.chown(path, new_uid, new_gid)
        elif mode == stat.S_IMODE(before.st_mode):
            mode = None
        if mode is not None and not stat.S_ISLNK(before.st_mode):
            os.chmod(path, mode)
        for gone in removed:
            remove_xattr(path, gone)
        if xattrs is not None:
            left_out = _set_xattrs(path, xattrs)
        if mtime_ns is not None:
            syscalls.set_mtime(syscalls.AT_FDCWD, path.encode(), mtime_ns, flags=0)
        return stamp_of(os.fstat(descriptor)), left_out


def remove_xattrs(target: Target) -> None:
    """Take all xattrs from an object that may be kept the same."""
    for name, _ in read_xattrs(target, EVERYTHING):
        remove_xattr(target, name)


def _set_xattrs(target: str, wanted: Xattrs) -> LeftOut:
    """Give an object xattrs; what is so already is not touched. Of those that it cannot have, no older value stays."""
    left_out: list[tuple[bytes, int]] = []
    for name, value in xattrs_in_order(wanted):
        before = _value(target, name)
        if before == value:
            continue
        try:
            os.setxattr(target, name, value)
        except OSError as error:
            if not (is_unable(target, error) and _may_be_changed(target, error)):
                raise
            if before is not None:
                os.removexattr(target, name)
            left_out.append((name, error.errno or errno.EIO))
    return tuple(left_out)


def is_unable(target: Target, error: OSError) -> bool:
    """Return whether an attribute was refused for good, and not for want of room."""
    return error.errno in UNABLE or (error.errno == errno.ENOSPC and _has_space(target))


def _has_space(target: Target) -> bool:
    """Return whether ENOSPC for an xattr meant that it is too large, as ext4 says it, and not that the disk is full."""
    space = os.statvfs(target)
    return space.f_bavail > 0 and (space.f_favail > 0 or space.f_files == 0)


def _may_be_changed(target: str, error: OSError) -> bool:
    """Return whether it is not a flag that refused an xattr: an immutable object, or one that grows only, takes no mode either."""
    if error.errno not in (errno.EPERM, errno.EACCES):
        return True
    try:
        os.chmod(target, stat.S_IMODE(os.stat(target).st_mode))
    except OSError:
        return False
    return True


def remove_xattr(target: Target, name: bytes) -> None:
    """Remove an xattr; one that is gone already is no error."""
    try:
        os.removexattr(target, name)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise


def xattrs_in_order(xattrs: Xattrs) -> Xattrs:
    """Return `xattrs` in the order to set them: ACLs, which change the mode, late; capabilities, which writing clears, last."""
    return tuple(sorted(xattrs, key=lambda pair: (pair[0] == _CAPABILITY, pair[0].startswith(ACL_PREFIX), pair[0])))


def _capabilities(path: str) -> Xattrs | None:
    """Return all xattrs of an object if it has file capabilities, else None: there is nothing to put back."""
    xattrs = read_xattrs(path, EVERYTHING)
    return xattrs if any(name == _CAPABILITY for name, _ in xattrs) else None


def _narrowed(path: str, old: int, mode: int | None) -> int | None:
    """Take away the permissions that the new mode lacks before the owner changes; return the mode to set after it."""
    if stat.S_ISLNK(old):
        return None
    if mode is None:
        return stat.S_IMODE(old) if old & _PRIVILEGED_BITS else None
    if stat.S_IMODE(old) & ~mode & 0o777:
        os.chmod(path, stat.S_IMODE(old) & mode & 0o777)
    return mode


def _value(target: Target, name: bytes) -> bytes | None:
    try:
        return os.getxattr(target, name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):  # removed meanwhile, or listed without a reader for it
            return None
        raise
