"""Handlers of open files: create, open, read, write, fsync, release."""

import errno
import logging
import os
import stat

import pyfuse3
import trio

from csfs.core.changes import Synced
from csfs.mount.capture import OpenFile
from csfs.mount.inodes import Node
from csfs.mount.operations import privileges
from csfs.mount.operations.base import Answer
from csfs.mount.operations.directories import Directories, caller_umask
from csfs.mount.operations.xattrs import CAPABILITY
from csfs.mount.protocol import FILE_KEEPS_CACHE, FILE_NOT_FLUSHED
from csfs.mount.refresh import forget_attributes
from csfs.mount.writers import Caller, Writer

log = logging.getLogger(__name__)

_STRIPPED = os.O_APPEND | os.O_DIRECT | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_DIRECTORY
"""O_DIRECT wants aligned buffers. O_APPEND is the kernel's: it sends the offset, and fcntl can clear the flag unheard."""


Opened = tuple[int, int]
"""The number of a handle, and what the kernel is to know of it: FOPEN_* of linux/fuse.h."""


class Handle:
    """An open file as one opener has it; `created`: by this very open, and no row has told its end yet.

    `flushed`: the kernel asks when one of its descriptors is closed, because that had to wait for others when it was opened.
    """

    __slots__ = ("created", "descriptor", "file", "flushed", "writer", "writing")

    def __init__(self, descriptor: int, file: OpenFile, writer: Writer, writing: bool) -> None:
        self.descriptor = descriptor
        self.file = file
        self.writer = writer
        self.writing = writing
        self.created = False
        self.flushed = False


class Files(Directories):
    """Handlers whose argument is an open file. Reads and writes go to the page cache underneath, so they are made in place."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self._handles: dict[int, Handle] = {}

    def open_descriptor(self, node: Node) -> int | None:
        file = self.capture.files.get(node.inode)
        if file is None or file.node is not node:
            return None
        return next((self._handles[number].descriptor for number in file.handles), None)

    def writable_descriptor(self, fh: int) -> int | None:
        handle = self._handles.get(fh)
        return handle.descriptor if handle is not None and handle.writing else None

    def open(self, inode: int, flags: int, ctx: Caller, kills: bool | None = None) -> Opened:
        """Open a file. `kills`: a truncation takes privileges away; None where the kernel does not say."""
        return self._open(self.inodes.node(inode), flags, ctx, kills)

    def _open(self, node: Node, flags: int, ctx: Caller, kills: bool | None) -> Opened:
        if self.read_only is not None and flags & (os.O_ACCMODE | os.O_TRUNC):
            self.read_only.check_object(node)
        descriptor = self._opened(node, flags)
        status = os.fstat(descriptor)
        handle = self._remembered(node, descriptor, status.st_size, flags, self.writer(ctx))
        if flags & os.O_TRUNC:
            try:
                self._truncated(self._handles[handle], ctx, ctx.uid != 0 if kills is None else kills)
            except BaseException:
                self._close(handle)  # the kernel never hears of it, so it will not release it
                raise
        return handle, self._how(handle, flags)

    def _how(self, fh: int, flags: int) -> int:
        """Return what the kernel is to know: whether its pages of the file stay right, and whether to ask when it is closed."""
        handle = self._handles[fh]
        node = handle.file.node
        how = 0 if node.foreign or node.inode in self.refresher.outdated else FILE_KEEPS_CACHE
        is_writing = bool(flags & os.O_ACCMODE)
        handle.flushed = self.waiting_for is not None and is_writing and self.waiting_for.covers(node)
        return how if handle.flushed else how | FILE_NOT_FLUSHED

    def _opened(self, node: Node, flags: int) -> int:
        # O_TRUNC is done after the open, when the old size is known
        wanted = flags & ~_STRIPPED & ~os.O_TRUNC
        try:
            return self.inodes.opened(node, wanted)
        except PermissionError:
            if not flags & os.O_APPEND:
                raise
            return self.inodes.opened(node, wanted | os.O_APPEND)  # an append-only inode (chattr +a) insists

    def _remembered(self, node: Node, descriptor: int, size: int, flags: int, writer: Writer) -> int:
        handle = self.new_handle()
        writing = flags & os.O_ACCMODE != os.O_RDONLY
        file = self.capture.opened(node, handle, size, writing)
        self._handles[handle] = Handle(descriptor, file, writer, writing)
        return handle

    def _truncated(self, handle: Handle, ctx: Caller, kills: bool) -> None:
        """Empty a file because it was opened with O_TRUNC, which the kernel leaves to us together with the privileges."""
        node = handle.file.node
        if self.keeping is not None:
            self.keeping.overwriting(handle.file, handle.writer)
        if handle.writing:
            os.ftruncate(handle.descriptor, 0)
        else:
            os.truncate(f"/proc/self/fd/{handle.descriptor}", 0)
        self.capture.resized(node, handle.file.size, 0, handle.writer)
        if kills:
            self.clear_privileges(handle, ctx, with_capability=True)

    def clear_privileges(self, handle: Handle, ctx: Caller, with_capability: bool = False) -> None:
        """Clear setuid and setgid, and a capability if asked, which belonged to the bytes that have gone or changed."""
        node, descriptor = handle.file.node, handle.descriptor
        status = os.fstat(descriptor)
        bits = privileges.cleared(status, ctx)
        if bits:
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & ~bits)
        without = with_capability and not node.no_capability and _without_capability(descriptor)
        if bits or without:
            # The kernel thinks of size and times alone. It waits for nothing here: who asks has the file open.
            forget_attributes({node.inode})
            self.capture.attributes_set(node, handle.writer)

    def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: Caller, kills: bool | None = None
    ) -> tuple[Opened, Answer]:
        parent = self.inodes.node(parent_inode)
        self.check_name(parent, name)
        directory = self.inodes.descriptor(parent)
        creating = flags & ~_STRIPPED | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with caller_umask(ctx):
                descriptor = os.open(name, creating, stat.S_IMODE(mode), dir_fd=directory)
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
            return self._found_instead(parent, name, flags, ctx, kills)
        try:
            self.give(directory, name, mode, ctx)
            node, status = self.inodes.found(parent, name)
        except OSError:
            os.close(descriptor)
            os.unlink(name, dir_fd=directory)
            raise
        node.no_capability = True
        writer = self.writer(ctx)
        number = self._remembered(node, descriptor, 0, flags, writer)
        self._handles[number].created = True
        self.capture.created((parent.inode, name), writer, still_open=True)
        return (number, self._how(number, flags)), self.entered(node, status)

    def _found_instead(
        self, parent: Node, name: bytes, flags: int, ctx: Caller, kills: bool | None
    ) -> tuple[Opened, Answer]:
        """Open what somebody made underneath since the kernel looked."""
        node, status = self.inodes.found(parent, name)
        try:
            if not stat.S_ISREG(status.st_mode):
                raise pyfuse3.FUSEError(errno.EEXIST)
            opened = self._open(node, flags, ctx, kills)
        except BaseException:
            self.inodes.release_unseen(node)
            raise
        return opened, self.entered(node, self.status(node))

    def read(self, fh: int, off: int, size: int) -> bytes:
        return os.pread(self._handles[fh].descriptor, size, off)

    def write(self, fh: int, off: int, buf: bytes) -> int:
        handle = self._handles[fh]
        if self.keeping is not None and off < handle.file.size:
            self.keeping.overwriting(handle.file, handle.writer)
        written = os.pwrite(handle.descriptor, buf, off)
        self.capture.wrote(handle.file, off, written, handle.writer)
        return written

    def read_into(self, fh: int, offset: int, memory: memoryview) -> int:
        """Read into `memory`; return how many bytes there were."""
        return os.preadv(self._handles[fh].descriptor, [memory], offset)

    def write_from(
        self, fh: int, offset: int, data: memoryview, killer: Caller | None, *, appends: bool = False
    ) -> int:
        """Write `data`. `killer`: who writes, if that takes privileges away. `appends`: opened with O_APPEND, `offset` is a guess."""
        handle = self._handles[fh]
        if killer is not None:
            self.clear_privileges(handle, killer)  # first: where they cannot be taken away, nothing must change
        if appends and os.fstat(handle.descriptor).st_size != offset:
            written = self._append(handle, offset, data)
        else:
            if self.keeping is not None and offset < handle.file.size:
                self.keeping.overwriting(handle.file, handle.writer)
            written = os.pwrite(handle.descriptor, data, offset)
            self.capture.wrote(handle.file, offset, written, handle.writer)
        return written

    def _append(self, handle: Handle, offset: int, data: memoryview) -> int:
        """Write at an end that the kernel does not know: somebody wrote underneath, through a descriptor from before mounting, say."""
        written = os.pwritev(handle.descriptor, [data], offset, os.RWF_APPEND)
        end = os.fstat(handle.descriptor).st_size
        self.capture.wrote(handle.file, end - written, written, handle.writer)
        # It takes what was written to lie where it believed the end to be.
        self.refresher.forget(handle.file.node.inode)
        return written

    def flush(self, fh: int) -> None:
        """A descriptor of a file is closed: where that has to wait, say what for.

        Raises:
            OSError: ENOSYS where nothing is waited for: the kernel then asks no more, of no file, as long as this mount lasts.
        """
        handle = self._handles[fh]
        if self.waiting_for is None:
            if handle.flushed:
                return  # its group has just ceased to wait, and may begin again
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        if handle.writing:
            self.capture.tell(handle.file)
            self.waiting_for.owe(handle.file.node)

    def release(self, fh: int) -> None:
        self._close(fh)

    def _close(self, fh: int) -> None:
        handle = self._handles.pop(fh)
        try:
            os.close(handle.descriptor)
        except OSError:
            pass  # what close(2) reports here belongs to writes that were answered already
        self.capture.closed(handle.file, fh, handle.writing, handle.created)
        self.gate.closed(handle.file)

    async def fsync(self, fh: int, datasync: bool) -> None:
        handle = self._handles[fh]
        # The data first: a durable row then proves that the content it names was on the disk.
        status = os.fstat(handle.descriptor)
        await trio.to_thread.run_sync(os.fdatasync if datasync else os.fsync, handle.descriptor)
        self.capture.tell(handle.file)
        self.capture.synced(handle.file, Synced(status.st_ino, status.st_size, status.st_mtime_ns))
        await self.journal_durable()
        if self.waiting_for is not None:
            self.waiting_for.begin()
            self.waiting_for.owe(handle.file.node)

    async def journal_durable(self) -> None:
        await self.capture.noting.make_durable()

    def close_all(self) -> None:
        """Tell what is left to tell of open files, and close them: the mount is going."""
        for number in list(self._handles):
            self._close(number)
        for number in list(self._listings):
            self.close_listing(number)


def _without_capability(descriptor: int) -> bool:
    """Remove a file's capability; return whether it had one."""
    try:
        os.removexattr(descriptor, CAPABILITY)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
        return False
    return True
