"""What all handlers share: the state of the mount, and answers that describe an object."""

import errno
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import pyfuse3

from csfs.core.paths import RESERVED
from csfs.mount.capture import Capture
from csfs.mount.gate import Gate
from csfs.mount.inodes import ROOT_INODE, Inodes, Node
from csfs.mount.keeping import Keeping
from csfs.mount.read_only import ReadOnly
from csfs.mount.waiting import Waiting
from csfs.mount.writers import Caller, Programs, Writer

CACHE_S = 6 * 3600.0
"""How long the kernel may believe what it was told: everything that changes goes through the mount, or is unknown to the kernel."""


Target = int | str
"""What a system call on an object takes: a descriptor, or the path in /proc of one that is good for nothing else."""

Answer = tuple[Node, os.stat_result]
"""What the kernel is told of an object: `Base.entry` says it in pyfuse3's words."""


class Base(ABC):
    """The state of one mount; the mixins add the handlers."""

    def __init__(self, inodes: Inodes, capture: Capture, gate: Gate) -> None:
        self.inodes = inodes
        self.capture = capture
        self.gate = gate
        self.refresher = gate.refresher
        self.read_only: ReadOnly | None = None
        """Keeps programs from changing some paths; None where there are none such."""
        self.keeping: Keeping | None = None
        """Keeps what programs are about to destroy; None where nothing is kept."""
        self._programs = Programs()
        self._handle_next = 1
        self.waiting_for: Waiting | None = None
        """What programs wait for after their changes; None where they never do."""
        self.waiting = 0
        """How many requests wait for something that happens elsewhere: the loop must not keep to itself meanwhile."""
        self.clears_privileges = False
        """Whether the kernel leaves it to us to take setuid and setgid away, and says when (FUSE_HANDLE_KILLPRIV_V2)."""

    def writer(self, context: Caller) -> Writer:
        return self._programs.writer(context.uid, context.pid)

    def new_handle(self) -> int:
        """Return a number for a handle; never one used before."""
        self._handle_next += 1
        return self._handle_next

    def status(self, node: Node) -> os.stat_result:
        """Return lstat of a node, also of one without a name.

        Raises:
            OSError: ESTALE when the object is gone.
        """
        if node.pinned >= 0:
            return os.fstat(node.pinned)
        if node.is_directory:
            return os.fstat(self.inodes.descriptor(node))
        descriptor = self.open_descriptor(node)
        if descriptor is not None:
            return os.fstat(descriptor)
        descriptor = self.inodes.opened(node)
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def reached(self, node: Node) -> Iterator[tuple[int, Target]]:
        """Give a descriptor of an object, and what to change it through: the symlink itself, never what it leads to."""
        descriptor = self.open_descriptor(node)
        if descriptor is not None:
            yield descriptor, descriptor
            return
        descriptor = self.inodes.opened(node)
        try:
            yield descriptor, f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)

    @abstractmethod
    def open_descriptor(self, node: Node) -> int | None:
        """Return a descriptor that some handle has open on the node, if any. Files know."""

    def entry(self, answer: Answer) -> pyfuse3.EntryAttributes:
        """Return what pyfuse3 tells the kernel of an object."""
        node, status = answer
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = status.st_ino if node.inode == ROOT_INODE else node.inode
        entry.generation = node.generation
        is_believed = node.seen and not (node.hidden or node.foreign)
        entry.entry_timeout = entry.attr_timeout = CACHE_S if is_believed else 0
        entry.st_mode = self.mode(node, status)
        entry.st_nlink = self.links(node, status)
        entry.st_uid = status.st_uid
        entry.st_gid = status.st_gid
        entry.st_rdev = status.st_rdev
        entry.st_size = status.st_size
        entry.st_blksize = status.st_blksize
        entry.st_blocks = status.st_blocks
        entry.st_atime_ns = status.st_atime_ns
        entry.st_mtime_ns = status.st_mtime_ns
        entry.st_ctime_ns = status.st_ctime_ns
        return entry

    def mode(self, node: Node, status: os.stat_result) -> int:
        """Return the mode that programs are shown: what another mount below the volume forbids, csfs must not make possible.

        The kernel obeys the options of the mount that a program goes through, which is ours. It is shown no setuid or setgid where
        there is to be none, nothing to execute, and devices that are for nobody but root.
        """
        mode = status.st_mode
        if not node.foreign or stat.S_ISDIR(mode):
            return mode
        forbidden = self.options(node)
        if stat.S_ISREG(mode):
            mode &= ~(stat.S_ISUID | stat.S_ISGID) if forbidden & os.ST_NOSUID else -1
            return mode & ~0o111 if forbidden & os.ST_NOEXEC else mode
        is_device = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
        return stat.S_IFMT(mode) if is_device and forbidden & os.ST_NODEV else mode

    def options(self, node: Node) -> int:
        """Return the options of the mount that an object lies on underneath, as statvfs(3) has them."""
        with self.reached(node) as (descriptor, _):
            return os.fstatvfs(descriptor).f_flag

    def links(self, node: Node, status: os.stat_result) -> int:
        """Return the number of links that programs can see."""
        if node.kept:
            return max(0, status.st_nlink - 1)
        if node.inode == ROOT_INODE and status.st_nlink > 2:
            try:
                os.stat(RESERVED, dir_fd=self.inodes.root, follow_symlinks=False)
            except OSError:
                return status.st_nlink
            return status.st_nlink - 1
        return status.st_nlink

    def entered(self, node: Node, status: os.stat_result) -> Answer:
        """Return the answer to a program's lookup, and count it."""
        node.lookups += 1
        node.seen = True
        return node, status

    def check_name(self, parent: Node, name: bytes) -> None:
        """Keep programs from making, replacing or removing what is not theirs to change: the reserved directory is not.

        Raises:
            FUSEError: EPERM.
            OSError: EROFS.
        """
        if (parent.inode == ROOT_INODE and name == RESERVED) or parent.hidden:
            raise pyfuse3.FUSEError(errno.EPERM)
        if self.read_only is not None:
            self.read_only.check_name((parent.inode, name))

    def check_object(self, node: Node) -> None:
        """Keep programs from changing an object that is not theirs to change.

        Raises:
            OSError: EROFS.
        """
        if self.read_only is not None:
            self.read_only.check_object(node)
