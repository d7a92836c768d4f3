"""Operations that pyfuse3 leaves out, added to its table before libfuse sees it: fallocate, lseek, ioctl, copy_file_range, and the
caller's umask under default ACLs.

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
from csfs.mount.intake import Intake
from csfs.mount.writers import Caller

log = logging.getLogger(__name__)


class Extended(Protocol):
    """What the operations have to offer. Errors are OSError or FUSEError, as of all handlers."""

    def fallocate(self, fh: int, mode: int, offset: int, length: int, caller: Caller) -> None: ...
    def seek(self, fh: int, offset: int, whence: int) -> int: ...
    def inode_flags(
        self, fh: int, is_directory: bool, command: int, given: bytes, size: int, caller: Caller
    ) -> bytes: ...
    def copied_range(
        self, source: int, source_offset: int, target: int, offset: int, length: int, caller: Caller
    ) -> int: ...


class Extension:
    """The added operations of one process; to be kept as long as the session is."""

    def __init__(self, operations: Extended, intake: Intake) -> None:
        self._operations = operations
        self._intake = intake
        self._kept: list[object] = []
        self.is_active = False

    def install(self) -> None:
        """Have the next session of pyfuse3 begin with these operations, or say why it will not."""
        try:
            self._libfuse = libfuse.loaded()
            slot = Slot(self._libfuse, b"fuse_session_new")
            self._real_session_new = libfuse.SESSION_NEW(("fuse_session_new", self._libfuse))
            self._intake.install(self._libfuse)
            slot.redirect(self._kept_address(libfuse.SESSION_NEW(self._session_new)))
        except (OSError, AttributeError) as error:
            self._without(error)

    def _without(self, error: Exception) -> None:
        log.warning("no fallocate, holes and chattr in this mount: %s", error)

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
        for name, kind, handler in (
            ("init", libfuse.INIT, self._init),
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
        # After an asynchronous write past the page cache, the kernel keeps pages that were read while it was under way,
        # and here they stay for good. Without this it writes in turn, and drops them.
        asked.want &= ~libfuse.CAP_ASYNC_DIO
        # Else the kernel throws away all pages of a file whose time is another one than it knew, as after each write of a
        # program's own. What others write underneath it is told of (see refresh).
        asked.want &= ~libfuse.CAP_AUTO_INVAL_DATA

    # --------------------------------------------------------------------------------------------------------- answers

    def _answered(self, request: int, handler: Callable[..., Any], *arguments: Any) -> Any:
        """Return what the handler returns; None when it failed, and the kernel has been told so."""
        error, result = guard.outcome(handler, *arguments)
        if error:
            self._libfuse.fuse_reply_err(request, error)
            return None
        return result

    def _caller(self, request: int) -> Caller:
        caller: Caller = self._libfuse.fuse_req_ctx(request).contents
        return caller

    def _fallocate(self, request: int, inode: int, mode: int, offset: int, length: int, file: Any) -> None:
        arguments = (file.contents.fh, mode, offset, length, self._caller(request))
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
        arguments = (file.contents.fh, is_directory, command, data, size, self._caller(request))
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
        arguments = (source.contents.fh, source_offset, file.contents.fh, offset, length, self._caller(request))
        copied = self._answered(request, self._operations.copied_range, *arguments)
        if copied is not None:
            self._libfuse.fuse_reply_write(request, copied)
