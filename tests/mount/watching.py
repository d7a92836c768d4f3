"""inotify, as a program that watches a directory uses it."""

import ctypes
import os
import select
import struct
import time
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_HEADER = struct.Struct("iIII")

Event = tuple[int, bytes]
"""What happened, and to which name in the directory; b"" for the directory itself."""


class Watch:
    """Watches one directory, for names that come and go if not told otherwise."""

    MODIFY = 0x2
    ATTRIB = 0x4
    MOVED_FROM = 0x40
    MOVED_TO = 0x80
    CREATE = 0x100
    DELETE = 0x200
    DELETE_SELF = 0x400
    IS_DIRECTORY = 0x40000000

    def __init__(self, path: Path, mask: int = MOVED_TO | CREATE | DELETE) -> None:
        self._descriptor = _libc.inotify_init1(os.O_CLOEXEC)
        self._kept: list[Event] = []
        assert _libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask) >= 0

    def events(self, timeout_s: float = 5) -> list[Event]:
        """Return what happened so far; waits for the first."""
        assert select.select([self._descriptor], [], [], timeout_s)[0]
        data, found = os.read(self._descriptor, 65536), []
        while data:
            _, mask, _, size = _HEADER.unpack_from(data)
            found.append((mask, data[_HEADER.size : _HEADER.size + size].rstrip(b"\0")))
            data = data[_HEADER.size + size :]
        return found

    def until(self, wanted: Event, timeout_s: float = 30) -> list[Event]:
        """Return what happened since the last call, up to and with `wanted`."""
        deadline = time.monotonic() + timeout_s
        while wanted not in self._kept:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._descriptor], [], [], left)[0]:
                raise AssertionError(f"no {wanted} within {timeout_s} s, but {self._kept}")
            self._kept += self.events()
        count = self._kept.index(wanted) + 1
        found, self._kept = self._kept[:count], self._kept[count:]
        return found

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._descriptor)
