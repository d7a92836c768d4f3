"""Handlers of extended attributes, ACLs and file capabilities among them."""

import errno
import os
import stat
from collections.abc import Sequence

import pyfuse3

from csfs.mount.operations import privileges
from csfs.mount.operations.base import Base, Target
from csfs.mount.writers import Caller

CAPABILITY = b"security.capability"
ACL_ACCESS = b"system.posix_acl_access"
PRIVILEGED = b"trusted."


class Xattrs(Base):
    """Handlers of extended attributes. Objects are reached by descriptor, symlinks themselves included."""

    def lacks_capability(self, inode: int) -> bool:
        """Return whether an object is known to have no file capability, which the kernel asks before every single write."""
        return self.inodes.node(inode).no_capability

    def getxattr(self, inode: int, name: bytes, ctx: Caller) -> bytes:
        node = self.inodes.node(inode)
        if name == CAPABILITY and (node.no_capability or (node.foreign and self.options(node) & os.ST_NOSUID)):
            raise pyfuse3.FUSEError(errno.ENODATA)
        with self.reached(node) as (_, target):
            try:
                return os.getxattr(target, name)
            except OSError as error:
                if name == CAPABILITY and error.errno == errno.ENODATA:
                    node.no_capability = True
                raise

    def setxattr(self, inode: int, name: bytes, value: bytes, ctx: Caller, flags: int = 0) -> None:
        node = self.inodes.node(inode)
        self.check_object(node)
        with self.reached(node) as (_, target):
            if name == CAPABILITY:
                node.no_capability = False
            os.setxattr(target, name, value, flags)
            if name == ACL_ACCESS:
                _clear_setgid(target, ctx)
        self.capture.attributes_set(node, self.writer(ctx))

    def removexattr(self, inode: int, name: bytes, ctx: Caller) -> None:
        node = self.inodes.node(inode)
        self.check_object(node)
        with self.reached(node) as (_, target):
            os.removexattr(target, name)
        self.capture.attributes_set(node, self.writer(ctx))

    def listxattr(self, inode: int, ctx: Caller) -> Sequence[bytes]:
        node = self.inodes.node(inode)
        with self.reached(node) as (_, target):
            try:
                names = [os.fsencode(name) for name in os.listxattr(target)]
            except OSError as error:
                if error.errno == errno.EOPNOTSUPP:
                    return []
                raise
        return names if ctx.uid == 0 else [name for name in names if not name.startswith(PRIVILEGED)]


def _clear_setgid(target: Target, ctx: Caller) -> None:
    """Take setgid away when somebody outside of the object's group has set its ACL, as the kernel does for its own file systems."""
    status = os.stat(target)
    if ctx.uid == 0 or not status.st_mode & stat.S_ISGID:
        return
    if not privileges.is_member(ctx, status.st_gid):
        os.chmod(target, stat.S_IMODE(status.st_mode) & ~stat.S_ISGID)
