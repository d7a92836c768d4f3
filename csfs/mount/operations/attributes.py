"""Handlers of attributes: stat, chmod, chown, truncate, utimes, link targets, the file system's own figures."""

import os
import stat

import pyfuse3

from csfs.mount.inodes import Node
from csfs.mount.operations.base import Base, Target
from csfs.mount.writers import Writer


class Attributes(Base):
    """Handlers whose argument is an object and what describes it."""

    def getattr(self, inode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        node = self.inodes.node(inode)
        return self.answer(node, self.status(node))

    def readlink(self, inode: int, ctx: pyfuse3.RequestContext) -> bytes:
        descriptor = self.inodes.opened(self.inodes.node(inode))
        try:
            return os.readlink(b"", dir_fd=descriptor)
        finally:
            os.close(descriptor)

    def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        node = self.inodes.node(inode)
        if self.gate.is_commit_thread(ctx.pid):
            # The gate has set the attributes underneath already; this request only makes the kernel ask.
            self.gate.refreshed(node)
            return self.answer(node, self.status(node))
        with self.reached(node) as (descriptor, target):
            before = os.fstat(descriptor)
            writer = self.writer(ctx)
            if fields.update_size:
                self._truncate(node, f"/proc/self/fd/{descriptor}", before.st_size, attr.st_size, fh, writer)
            if self._change(target, attr, fields, before):
                self.capture.attributes_set(node, writer)
            return self.answer(node, os.fstat(descriptor))

    def _truncate(self, node: Node, path: str, old: int, size: int, fh: int | None, writer: Writer) -> None:
        descriptor = None if fh is None else self.writable_descriptor(fh)
        if descriptor is None:
            os.truncate(path, size)
        else:
            os.ftruncate(descriptor, size)
        self.capture.resized(node, old, size, writer)

    def _change(
        self, target: Target, attr: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields, before: os.stat_result
    ) -> bool:
        """Set what was asked for; return whether it is something that other members get to see."""
        if fields.update_uid or fields.update_gid:
            uid = attr.st_uid if fields.update_uid else -1
            gid = attr.st_gid if fields.update_gid else -1
            os.chown(target, uid, gid)
        if fields.update_mode and not stat.S_ISLNK(before.st_mode):
            # after chown, which clears setuid and setgid: the kernel sends the mode along when that is not wanted
            os.chmod(target, stat.S_IMODE(attr.st_mode))
        if fields.update_atime or fields.update_mtime:
            atime_ns = attr.st_atime_ns if fields.update_atime else before.st_atime_ns
            mtime_ns = attr.st_mtime_ns if fields.update_mtime else os.stat(target).st_mtime_ns
            os.utime(target, ns=(atime_ns, mtime_ns))
        return fields.update_uid or fields.update_gid or fields.update_mode or fields.update_mtime

    def writable_descriptor(self, fh: int) -> int | None:
        """Return the descriptor behind a handle if it is open for writing. Files know."""
        raise NotImplementedError

    def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        underneath = os.fstatvfs(self.inodes.root)
        answer = pyfuse3.StatvfsData()
        for field in ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail", "namemax"):
            setattr(answer, f"f_{field}", getattr(underneath, f"f_{field}"))
        return answer

    def access(self, inode: int, mode: int, ctx: pyfuse3.RequestContext) -> bool:
        return True  # the kernel checks permissions itself (default_permissions) and does not ask
