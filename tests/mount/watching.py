"""inotify, as a program that watches a directory uses it."""

import ctypes
import os
import select
import struct
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_HEADER = struct.Struct("iIII")


class Watch:
    """Watches one directory for names that come and go."""

    MOVED_TO = 0x80
    CREATE = 0x100
    DELETE = 0x200

    def __init__(self, path: Path) -> None:
        self._descriptor = _libc.inotify_init1(os.O_CLOEXEC)
        mask = self.MOVED_TO | self.CREATE | self.DELETE
        assert _libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask) >= 0

    def events(self) -> list[tuple[int, bytes]]:
        """Return what happened so far; waits for the first."""
        assert select.select([self._descriptor], [], [], 5)[0]
        data, found = os.read(self._descriptor, 65536), []
        while data:
            _, mask, _, size = _HEADER.unpack_from(data)
            found.append((mask, data[_HEADER.size : _HEADER.size + size].rstrip(b"\0")))
            data = data[_HEADER.size + size :]
        return found

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._descriptor)
