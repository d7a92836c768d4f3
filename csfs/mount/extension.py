"""Operations that pyfuse3 leaves out, added to its table before libfuse sees it: fallocate, lseek, ioctl, copy_file_range, directories
that the kernel may cache, writes that are not copied, and the caller's umask under default ACLs.

pyfuse3 calls `fuse_session_new` with its table; that call is redirected here once. Where anything is laid out in another way than
expected, the mount goes on without: programs then meet the refusals and fallbacks that docs/limits.md names.
"""

import ctypes
import errno
import logging
from collections.abc import Callable
from typing import Any, Protocol

from csfs.mount import guard, libfuse
from csfs.mount.hooks import Slot
from csfs.mount.operations.xattrs import CAPABILITY
from csfs.mount.writers import Writer

log = logging.getLogger(__name__)


class Extended(Protocol):
    """What the operations have to offer. Errors are OSError or FUSEError, as of all handlers."""

    def opened_directory(self, inode: int) -> tuple[int, bool]: ...
    def lacks_capability(self, inode: int) -> bool: ...
    def write_from(self, fh: int, offset: int, address: int, size: int, kill_privileges: bool) -> int: ...
    def fallocate(self, fh: int, mode: int, offset: int, length: int, writer: Writer) -> None: ...
    def seek(self, fh: int, offset: int, whence: int) -> int: ...
    def inode_flags(
        self, fh: int, is_directory: bool, command: int, given: bytes, size: int, writer: Writer
    ) -> bytes: ...
    def copied_range(
        self, source: int, source_offset: int, target: int, offset: int, length: int, writer: Writer
    ) -> int: ...
    def writer_of(self, uid: int, pid: int) -> Writer: ...


class Extension:
    """The added operations of one process; to be kept as long as the session is."""

    def __init__(self, operations: Extended) -> None:
        self._operations = operations
        self._kept: list[object] = []
        self.is_active = False

    def install(self) -> None:
        """Have the next session of pyfuse3 begin with these operations, or say why it will not."""
        try:
            self._libfuse = libfuse.loaded()
            slot = Slot(self._libfuse, b"fuse_session_new")
            self._directory_bits = libfuse.cache_directory_bits(self._libfuse)
            self._real_session_new = libfuse.SESSION_NEW(("fuse_session_new", self._libfuse))
            slot.redirect(self._kept_address(libfuse.SESSION_NEW(self._session_new)))
        except (OSError, AttributeError) as error:
            self._without(error)

    def _without(self, error: Exception) -> None:
        log.warning("no fallocate, holes, chattr and cached directories in this mount: %s", error)

    def _kept_address(self, function: Any) -> int:
        self._kept.append(function)
        return ctypes.cast(function, ctypes.c_void_p).value or 0

    def _session_new(self, arguments: int, operations: int, size: int, data: int | None) -> int | None:
        """Stand in for fuse_session_new: pass on a copy of the table with more in it."""
        try:
            table = libfuse.Table.from_buffer_copy(ctypes.string_at(operations, ctypes.sizeof(libfuse.Table)))
            libfuse.check_operations(table, size)
            self._extend(table)
            copy = ctypes.create_string_buffer(ctypes.string_at(operations, size), size)
            ctypes.memmove(copy, ctypes.addressof(table), ctypes.sizeof(table))
            operations = ctypes.addressof(copy)
            self._kept.append(copy)
            self.is_active = True
        except Exception as error:
            self._without(error)
        session: int | None = self._real_session_new(arguments, operations, size, data)
        return session

    def _extend(self, table: libfuse.Table) -> None:
        self._init_before = libfuse.INIT(table.init)
        self._write_before = libfuse.WRITE_BUF(table.write_buf)
        self._getxattr_before = libfuse.GETXATTR(table.getxattr)
        for name, kind, handler in (
            ("init", libfuse.INIT, self._init),
            ("opendir", libfuse.OPENDIR, self._opendir),
            ("getxattr", libfuse.GETXATTR, self._getxattr),
            ("write_buf", libfuse.WRITE_BUF, self._write),
            ("fallocate", libfuse.FALLOCATE, self._fallocate),
            ("lseek", libfuse.LSEEK, self._lseek),
            ("ioctl", libfuse.IOCTL, self._ioctl),
            ("copy_file_range", libfuse.COPY_FILE_RANGE, self._copy_file_range),
        ):
            setattr(table, name, self._kept_address(kind(handler)))

    def _init(self, data: int | None, connection: Any) -> None:
        self._init_before(data, connection)
        asked = connection.contents
        asked.want |= asked.capable & (libfuse.CAP_DONT_MASK | libfuse.CAP_CACHE_SYMLINKS)
        # A request read through a pipe costs two system calls more; only copies within the kernel would gain from it.
        asked.want &= ~libfuse.CAP_SPLICE_READ

    # --------------------------------------------------------------------------------------------------------- answers

    def _answered(self, request: int, handler: Callable[..., Any], *arguments: Any) -> Any:
        """Return what the handler returns; None when it failed, and the kernel has been told so."""
        error, result = guard.outcome(handler, *arguments)
        if error:
            self._libfuse.fuse_reply_err(request, error)
            return None
        return result

    def _writer(self, request: int) -> Writer:
        context = self._libfuse.fuse_req_ctx(request).contents
        return self._operations.writer_of(context.uid, context.pid)

    def _opendir(self, request: int, inode: int, file: Any) -> None:
        opened = self._answered(request, self._operations.opened_directory, inode)
        if opened is not None:
            information = file.contents
            information.fh, may_keep = opened
            if may_keep:
                information.bits |= self._directory_bits
            self._libfuse.fuse_reply_open(request, file)

    def _getxattr(self, request: int, inode: int, name: bytes, size: int) -> None:
        if name == CAPABILITY:
            error, lacks = guard.outcome(self._operations.lacks_capability, inode)
            if error or lacks:
                self._libfuse.fuse_reply_err(request, error or errno.ENODATA)
                return
        self._getxattr_before(request, inode, name, size)

    def _write(self, request: int, inode: int, buffers: Any, offset: int, file: Any) -> None:
        given = buffers.contents
        if given.flags & libfuse.BUFFER_IS_DESCRIPTOR or given.count != 1 or given.offset:
            self._write_before(request, inode, buffers, offset, file)
            return
        address, size = given.memory, given.size
        # The header of the request lies before the data: struct fuse_write_in, whose write_flags end 16 bytes earlier.
        flags = ctypes.c_uint32.from_address(address - 20).value
        kill = bool(flags & libfuse.WRITE_KILLS_PRIVILEGES)
        arguments = (file.contents.fh, offset, address, size, kill)
        written = self._answered(request, self._operations.write_from, *arguments)
        if written is not None:
            self._libfuse.fuse_reply_write(request, written)

    def _fallocate(self, request: int, inode: int, mode: int, offset: int, length: int, file: Any) -> None:
        writer = self._writer(request)
        arguments = (file.contents.fh, mode, offset, length, writer)
        error, _ = guard.outcome(self._operations.fallocate, *arguments)
        self._libfuse.fuse_reply_err(request, error)

    def _lseek(self, request: int, inode: int, offset: int, whence: int, file: Any) -> None:
        position = self._answered(request, self._operations.seek, file.contents.fh, offset, whence)
        if position is not None:
            self._libfuse.fuse_reply_lseek(request, position)

    def _ioctl(
        self,
        request: int,
        inode: int,
        command: int,
        argument: int | None,
        file: Any,
        flags: int,
        given: int | None,
        given_size: int,
        size: int,
    ) -> None:
        data = ctypes.string_at(given, given_size) if given else b""
        is_directory = bool(flags & libfuse.IOCTL_IS_DIRECTORY)
        arguments = (file.contents.fh, is_directory, command, data, size, self._writer(request))
        answer = self._answered(request, self._operations.inode_flags, *arguments)
        if answer is not None:
            self._libfuse.fuse_reply_ioctl(request, 0, answer, len(answer))

    def _copy_file_range(
        self,
        request: int,
        source_inode: int,
        source_offset: int,
        source: Any,
        inode: int,
        offset: int,
        file: Any,
        length: int,
        flags: int,
    ) -> None:
        if flags:
            self._libfuse.fuse_reply_err(request, errno.EINVAL)
            return
        arguments = (source.contents.fh, source_offset, file.contents.fh, offset, length, self._writer(request))
        copied = self._answered(request, self._operations.copied_range, *arguments)
        if copied is not None:
            self._libfuse.fuse_reply_write(request, copied)
