"""Reads the requests of the kernel: those that csfs answers itself never reach libfuse, the others it finds in its own buffer.

pyfuse3 asks libfuse for the next request (`fuse_session_receive_buf`); that call is redirected here. Since requests are seen before
libfuse sees them, csfs can also promise the kernel to take care of privileges (FUSE_HANDLE_KILLPRIV_V2), which libfuse 3.14 has no
word for: the kernel then no longer asks before each write whether the file has a capability.
"""

import ctypes
import errno
import logging
import os

from csfs.mount import libfuse
from csfs.mount import protocol as p
from csfs.mount.direct import Direct
from csfs.mount.hooks import Slot
from csfs.mount.operations.passthrough import Handlers
from csfs.mount.waiting import Waiting

log = logging.getLogger(__name__)

BUFFER_SIZE = p.SIZE_MAX + 4096
"""What libfuse reads into: the largest write, and its header. No less: libfuse may read into what is allocated here."""
_TRY_AGAIN = (errno.EAGAIN, errno.EINTR, errno.ENOENT)
"""A request was taken back before (EAGAIN) or while (ENOENT) it was read."""


class Intake:
    """The one reader of a session; to be kept as long as the session is."""

    def __init__(self, handlers: Handlers, waiting: Waiting) -> None:
        self._handlers = handlers
        self._waiting_for = waiting
        self._buffer = bytearray(BUFFER_SIZE)
        self._buffers = [self._buffer]
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))
        self._direct = Direct(handlers, self._buffer)
        self._waiting = 0
        """Bytes in the buffer that are for libfuse."""
        self._kept: list[object] = []
        self._blocking = True
        self.is_active = False

    def follow(self, waits: bool) -> None:
        """Have programs wait for other members from now on where the rules say so, or never. Where libfuse reads, none ever does."""
        waiting = self._waiting_for if waits and self.is_active else None
        self._handlers.waiting_for = waiting
        self._direct.follow(waiting)

    @property
    def caller(self) -> int:
        """The thread that made the last request answered here, 0 for none."""
        return self._direct.caller

    @property
    def has_waiting(self) -> bool:
        """Whether a request waits for something that other tasks bring about."""
        return self._handlers.waiting > 0

    def install(self, library: ctypes.PyDLL) -> None:
        """Have pyfuse3 take its requests from here. `library` is pyfuse3's own shared object.

        Raises:
            OSError: its calls cannot be redirected.
        """
        slot = Slot(library, b"fuse_session_receive_buf")
        self._receive_before = libfuse.RECEIVE(("fuse_session_receive_buf", library))
        slot.redirect(self._kept_address(libfuse.RECEIVE(self._receive)))
        self.is_active = self._waiting_for.is_possible = True
        try:
            self._writev_slot = Slot(libfuse.itself(), b"writev")
        except OSError as error:
            log.warning("the kernel asks before each write whether the file has a capability: %s", error)

    def _kept_address(self, function: object) -> int:
        self._kept.append(function)
        return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]

    def serve_one(self, descriptor: int) -> bool:
        """Answer the next request, if it is still there; False when it, or the end of the session, is for libfuse."""
        if not self.is_active:
            return False
        if self._blocking:
            os.set_blocking(descriptor, False)
            self._blocking = False
            self._waiting_for.descriptor = descriptor
        try:
            size = os.readv(descriptor, self._buffers)
        except OSError as error:
            # what else there is, libfuse finds too: it knows what an unmounted session is
            return error.errno in _TRY_AGAIN
        if self._direct.answered(descriptor):
            return True
        self._waiting = size
        return False

    def _receive(self, session: int, given: "ctypes._Pointer[libfuse.Buffer]") -> int:
        """Stand in for fuse_session_receive_buf."""
        size, self._waiting = self._waiting, 0
        if not size:
            result: int = self._receive_before(session, given)
            return -errno.EINTR if result == -errno.EAGAIN else result
        buffer = given.contents
        if not buffer.memory:
            buffer.memory = libfuse.allocated(BUFFER_SIZE)  # pyfuse3 frees it
        ctypes.memmove(buffer.memory, self._address, size)
        buffer.size, buffer.flags = size, 0
        if p.REQUEST.unpack_from(self._buffer)[1] == p.INIT:
            self._greeted(p.INIT_IN.unpack_from(self._buffer, p.BODY)[3])
        return size

    # ------------------------------------------------------------------------------------------------------- privileges

    def _greeted(self, offered: int) -> None:
        """The kernel says hello: have the answer that libfuse is about to write promise more than libfuse knows of."""
        if offered & p.INIT_HANDLE_KILLPRIV_V2 and self._writev_slot is not None:
            self._writev_slot.redirect(self._kept_address(libfuse.WRITEV(self._answer_hello)))

    _writev_slot: Slot | None = None

    def _answer_hello(self, descriptor: int, vectors: "ctypes._Pointer[libfuse.Vector]", count: int) -> int:
        assert self._writev_slot is not None
        self._writev_slot.restore()
        if count > 1 and vectors[1].length > p.INIT_OUT_FLAGS:
            flags = ctypes.c_uint32.from_address(vectors[1].address + p.INIT_OUT_FLAGS)
            flags.value |= p.INIT_HANDLE_KILLPRIV_V2
            self._handlers.clears_privileges = True
        return libfuse.writev(descriptor, vectors, count)
