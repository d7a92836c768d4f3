"""Linux's asynchronous I/O (io_submit(2)), which Python does not have."""

import ctypes
import mmap
import os
import platform
import struct

NUMBERS = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}.get(platform.machine())
"""Of the system calls io_setup, io_destroy, io_getevents, io_submit; None on a machine whose numbers nobody looked up."""

_PWRITE = 1
_CONTROL = struct.Struct("=QIIHhIQQqQII")
_EVENT = struct.Struct("=QQqq")
_libc = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


class Writer:
    """Writes whole buffers to one descriptor, several at a time. Use it as a context manager."""

    def __init__(self, descriptor: int, depth: int) -> None:
        assert NUMBERS is not None
        self._setup, self._destroy, self._events, self._submit = NUMBERS
        self._descriptor = descriptor
        self._depth = depth
        self._context = ctypes.c_ulong()

    def __enter__(self) -> "Writer":
        _call(self._setup, self._depth, ctypes.byref(self._context))
        return self

    def __exit__(self, *_: object) -> None:
        _call(self._destroy, self._context)

    def write(self, buffer: mmap.mmap, size: int) -> None:
        """Write `buffer` at the start of the file in pieces of `size` bytes, all under way at once, and wait for all."""
        address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        pieces = [
            ctypes.create_string_buffer(
                _CONTROL.pack(0, 0, 0, _PWRITE, 0, self._descriptor, address + offset, size, offset, 0, 0, 0)
            )
            for offset in range(0, len(buffer), size)
        ]
        assert len(pieces) <= self._depth
        pointers = (ctypes.c_void_p * len(pieces))(*map(ctypes.addressof, pieces))
        assert _call(self._submit, self._context, ctypes.c_long(len(pieces)), pointers) == len(pieces)
        events = ctypes.create_string_buffer(_EVENT.size * len(pieces))
        left = len(pieces)
        while left:
            count = _call(self._events, self._context, ctypes.c_long(1), ctypes.c_long(left), events, None)
            for _, _, result, _ in _EVENT.iter_unpack(events.raw[: count * _EVENT.size]):
                assert result == size, f"a write of {size} bytes answered {result}"
            left -= count
