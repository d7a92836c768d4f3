"""Handlers of attributes: stat, chmod, chown, truncate, utimes, link targets, the file system's own figures."""

import os
import stat
import time
from abc import abstractmethod

import pyfuse3

from csfs.mount import syscalls
from csfs.mount.inodes import Node
from csfs.mount.operations import privileges
from csfs.mount.operations.base import Answer, Base
from csfs.mount.writers import Caller, Writer
from csfs.store import syscalls as store_syscalls

PRESENT_NS = 2_000_000_000
"""A time that differs less from the clock may be the one that the kernel took from it when it asked."""
_NONE = (None,) * 5


class Wanted:
    """What a setattr is to set; None leaves a field as it is, and a time may be `NOW` of store/syscalls.

    `kills_privileges`: who asks may not keep those of the file.
    """

    __slots__ = ("atime_ns", "gid", "kills_privileges", "mode", "mtime_ns", "size", "uid")

    def __init__(self) -> None:
        self.mode: int | None = None
        self.uid: int | None = None
        self.gid: int | None = None
        self.size: int | None = None
        self.atime_ns: int | None = None
        self.mtime_ns: int | None = None
        self.kills_privileges = False

    @property
    def is_mode_alone(self) -> bool:
        """Whether this is chmod of something else than a symlink, which needs no look at what was before."""
        kind = stat.S_IFMT(self.mode or 0)
        others = self.uid, self.gid, self.size, self.atime_ns, self.mtime_ns
        return kind not in (0, stat.S_IFLNK) and others == _NONE

    @classmethod
    def of(cls, attr: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields) -> "Wanted":
        """Return what pyfuse3 says that the kernel wants."""
        wanted = cls()
        wanted.mode = attr.st_mode if fields.update_mode else None
        wanted.uid = attr.st_uid if fields.update_uid else None
        wanted.gid = attr.st_gid if fields.update_gid else None
        wanted.size = attr.st_size if fields.update_size else None
        wanted.atime_ns = attr.st_atime_ns if fields.update_atime else None
        wanted.mtime_ns = attr.st_mtime_ns if fields.update_mtime else None
        return wanted


class Attributes(Base):
    """Handlers whose argument is an object and what describes it."""

    def getattr(self, inode: int, ctx: Caller) -> Answer:
        node = self.inodes.node(inode)
        if not node.seen and not self.gate.is_commit_thread(ctx.pid):
            node.seen = True  # by a way without names: `..`, or a handle
        return node, self.status(node)

    def readlink(self, inode: int, ctx: Caller) -> bytes:
        descriptor = self.inodes.opened(self.inodes.node(inode))
        try:
            return os.readlink(b"", dir_fd=descriptor)
        finally:
            os.close(descriptor)

    def setattr(self, inode: int, wanted: Wanted, fh: int | None, ctx: Caller) -> Answer:
        node = self.inodes.node(inode)
        if self.gate.is_commit_thread(ctx.pid):
            # The gate has set the attributes underneath already; this request only makes the kernel ask.
            self.gate.refreshed(node)
            return node, self.status(node)
        self.check_object(node)
        descriptor = self.open_descriptor(node)
        if descriptor is not None:
            return node, self._set(node, descriptor, wanted, fh, ctx)
        descriptor = self.inodes.opened(node)
        try:
            return node, self._set(node, descriptor, wanted, fh, ctx)
        finally:
            os.close(descriptor)

    def _set(self, node: Node, descriptor: int, wanted: Wanted, fh: int | None, ctx: Caller) -> os.stat_result:
        """Set what was asked for through a descriptor that may be good for nothing else; return lstat after it."""
        writer = self.writer(ctx)
        if wanted.is_mode_alone:
            syscalls.chmod(descriptor, stat.S_IMODE(wanted.mode or 0))
            self.capture.attributes_set(node, writer)
            return os.fstat(descriptor)
        before = os.fstat(descriptor)
        if wanted.size is not None:
            self._truncate(node, f"/proc/self/fd/{descriptor}", before.st_size, wanted.size, fh, writer)
        changed = _change(descriptor, wanted, before)
        if wanted.kills_privileges:
            changed |= _without_privileges(descriptor, wanted, before, ctx)
        if changed:
            self.capture.attributes_set(node, writer)
        return os.fstat(descriptor)

    def _truncate(self, node: Node, path: str, old: int, size: int, fh: int | None, writer: Writer) -> None:
        if self.keeping is not None and size < old:
            self.keeping.destroying(node, writer)
        descriptor = None if fh is None else self.writable_descriptor(fh)
        if descriptor is None:
            os.truncate(path, size)
        else:
            os.ftruncate(descriptor, size)
        self.capture.resized(node, old, size, writer)

    @abstractmethod
    def writable_descriptor(self, fh: int) -> int | None:
        """Return the descriptor behind a handle if it is open for writing. Files know."""

    def statfs(self, ctx: Caller) -> pyfuse3.StatvfsData:
        underneath = os.fstatvfs(self.inodes.root)
        answer = pyfuse3.StatvfsData()
        for field in ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail", "namemax"):
            setattr(answer, f"f_{field}", getattr(underneath, f"f_{field}"))
        return answer

    def access(self, inode: int, mode: int, ctx: Caller) -> bool:
        return True  # the kernel checks permissions itself (default_permissions) and does not ask


def _change(descriptor: int, wanted: Wanted, before: os.stat_result) -> bool:
    """Set what was asked for; return whether it is something that other members get to see."""
    owned = wanted.uid is not None or wanted.gid is not None
    if owned:
        uid, gid = wanted.uid, wanted.gid
        syscalls.chown(descriptor, -1 if uid is None else uid, -1 if gid is None else gid)
    if wanted.mode is not None and not stat.S_ISLNK(before.st_mode):
        # after chown, which clears setuid and setgid: the kernel sends the mode along when that is not wanted
        syscalls.chmod(descriptor, stat.S_IMODE(wanted.mode))
    if wanted.atime_ns is not None or wanted.mtime_ns is not None:
        _set_times(b"/proc/self/fd/%d" % descriptor, wanted.atime_ns, wanted.mtime_ns)
    return owned or wanted.mode is not None or wanted.mtime_ns is not None


def _without_privileges(descriptor: int, wanted: Wanted, before: os.stat_result, ctx: Caller) -> bool:
    """Take setuid and setgid away after a truncation, or setgid after a change of owner; return whether there was any."""
    if wanted.size is not None:
        bits = privileges.cleared(before, ctx)
    else:
        # chown underneath has cleared what it clears for root
        bits = stat.S_ISGID if privileges.loses_setgid(before, ctx) else 0
    if bits:
        syscalls.chmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) & ~bits)
    return bool(bits)


def _set_times(target: bytes, atime_ns: int | None, mtime_ns: int | None) -> None:
    try:
        store_syscalls.set_times(target, atime_ns, mtime_ns)
    except PermissionError:
        # An append-only object takes the present time alone, which pyfuse3 does not say by name.
        given = [moment for moment in (atime_ns, mtime_ns) if moment is not None]
        if len(given) < 2 or max(abs(time.time_ns() - moment) for moment in given) > PRESENT_NS:
            raise
        os.utime(target)
