"""fanotify: who changes names, contents or attributes anywhere on a file system, by directory handle, name and process.

One group watches whole file systems (a mark on each), because a program that came before a mount may go anywhere beneath it. Most
events are csfs's own, or have nothing to do with a volume, so both are dropped as early as can be: by process before anything of an
event is taken apart, and in the kernel where a directory is known to be none of ours (an ignoring mark, which the kernel may forget).

Whole names arrive since Linux 5.9; renames as one event since 5.17; ignoring marks that cover what is in a directory since 6.0.
Needs CAP_SYS_ADMIN, and a file system that has handles. Not seen: writes to mapped memory before the file is closed.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Collection
from typing import NamedTuple

MODIFY = 0x2
ATTRIB = 0x4
CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
OVERFLOW = 0x4000
RENAME = 0x1000_0000
ON_CHILD = 0x0800_0000
ON_DIRECTORY = 0x4000_0000

NAMES = CREATE | DELETE | RENAME | MOVED_FROM | MOVED_TO

_CLOSE_ON_EXEC, _NONBLOCK, _UNLIMITED_MARKS = 0x1, 0x2, 0x20
_REPORT_DIRECTORY_AND_NAME = 0x400 | 0x800
_ADD, _REMOVE, _FLUSH = 0x1, 0x2, 0x80
_FILESYSTEM = 0x100
_IGNORE, _SURVIVES_MODIFY, _EVICTABLE = 0x400, 0x40, 0x200
_AT_FDCWD = -100

_ANYWHERE = MODIFY | CLOSE_WRITE | ATTRIB | CREATE | DELETE | ON_DIRECTORY
_IGNORED_IN_DIRECTORY = MODIFY | CLOSE_WRITE | ATTRIB | CREATE | DELETE | ON_CHILD
"""Not renames: one that ends elsewhere is to be seen, and a directory that changes its place may become one of ours."""

_METADATA = struct.Struct("=IBBHQii")
_RECORD = struct.Struct("=BBH")
_HANDLE_HEADER = struct.Struct("=8sIi")
_OLD_NAME, _NEW_NAME = 10, 12
READ_SIZE = 64 * 1024

_libc = ctypes.CDLL(None, use_errno=True)
_init = _libc.fanotify_init
_init.argtypes = (ctypes.c_uint, ctypes.c_uint)
_mark = _libc.fanotify_mark
_mark.argtypes = (ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p)
_open_by_handle_at = _libc.open_by_handle_at
_open_by_handle_at.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int)

_WHY = {
    errno.EPERM: "not permitted here (CAP_SYS_ADMIN of the whole host is needed)",
    errno.ENOSYS: "this kernel has no fanotify",
    errno.EINVAL: "this kernel's fanotify tells no names (Linux 5.9 does)",
    errno.ENODEV: "the file system underneath has no identity that fanotify can tell",
    errno.EOPNOTSUPP: "the file system underneath has no file handles",
    errno.EXDEV: "the file system underneath has several identities (a subvolume)",
}


class Place(NamedTuple):
    """A name in a directory. `directory` is a file handle, as `open_by_handle` takes it; `name` is `.` for the directory itself."""

    directory: bytes
    name: bytes


class Event(NamedTuple):
    """What a process did at a place; `target` is where a rename went. `pid` is 0 for one that cannot be seen from here."""

    mask: int
    pid: int
    filesystem: bytes
    place: Place
    target: Place | None


class Batch(NamedTuple):
    """What one read gave: others' events, how many events there were in all, and whether the queue was too short.

    `moved`: a directory changed its place, whoever did it.
    """

    events: list[Event]
    total: int
    overflow: bool
    moved: bool


class Group:
    """One fanotify group. Its descriptor becomes readable when something happened."""

    def __init__(self) -> None:
        """Make the group.

        Raises:
            OSError: fanotify cannot be used here; `reason_of` says why.
        """
        flags = _CLOSE_ON_EXEC | _NONBLOCK | _UNLIMITED_MARKS | _REPORT_DIRECTORY_AND_NAME
        self.descriptor: int = _init(flags, os.O_RDONLY | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise _failed()
        self._renames = RENAME
        self._can_ignore = True

    def close(self) -> None:
        """Watch nothing any more."""
        os.close(self.descriptor)

    # ------------------------------------------------------------------------------------------------------------ marks

    def watch(self, directory: int) -> None:
        """Watch the whole file system that a directory lies on.

        Raises:
            OSError: it cannot be watched; `reason_of` says why.
        """
        try:
            self._mark(_ADD | _FILESYSTEM, _ANYWHERE | self._renames, directory)
        except OSError as error:
            if error.errno != errno.EINVAL or self._renames != RENAME:
                raise
            self._renames = MOVED_FROM | MOVED_TO
            self._mark(_ADD | _FILESYSTEM, _ANYWHERE | self._renames, directory)

    def unwatch(self, directory: int) -> None:
        """Watch that file system no longer."""
        self._mark(_REMOVE | _FILESYSTEM, _ANYWHERE | self._renames, directory)

    def ignore(self, directory: int) -> bool:
        """Have the kernel tell nothing of the files in a directory, until it forgets that; return whether it can."""
        if not self._can_ignore:
            return False
        try:
            self._mark(_ADD | _IGNORE | _SURVIVES_MODIFY | _EVICTABLE, _IGNORED_IN_DIRECTORY, directory)
        except OSError as error:
            self._can_ignore = error.errno != errno.EINVAL
            return False
        return True

    def forget_ignored(self) -> None:
        """Tell of the files in every directory again."""
        self._mark(_FLUSH, 0, -1)

    def _mark(self, flags: int, mask: int, directory: int) -> None:
        # What is marked is what the descriptor has open; to flush, nothing is.
        path = b"/" if directory < 0 else None
        if _mark(self.descriptor, flags, mask, directory if directory >= 0 else _AT_FDCWD, path) != 0:
            raise _failed()

    # ----------------------------------------------------------------------------------------------------------- events

    def read(self, own: Collection[int]) -> Batch | None:
        """Return some of what happened, None for nothing (more); what the processes `own` did is counted and left out."""
        try:
            data = os.read(self.descriptor, READ_SIZE)
        except BlockingIOError:
            return None
        events: list[Event] = []
        position = total = 0
        overflow = moved = False
        unpack = _METADATA.unpack_from
        renames = RENAME | MOVED_FROM | MOVED_TO
        while position < len(data):
            length, _, _, size, mask, _, pid = unpack(data, position)
            total += 1
            if mask & ON_DIRECTORY and mask & renames:
                moved = True
            if pid not in own:
                if mask & OVERFLOW:
                    overflow = True
                else:
                    event = _event(data, position + size, position + length, mask, pid)
                    if event is not None:
                        events.append(event)
            position += length
        return Batch(events, total, overflow, moved)


def _event(data: bytes, position: int, end: int, mask: int, pid: int) -> Event | None:
    """Return the event whose records lie between two positions; None for one that names no directory."""
    filesystem, places, target = b"", [], None
    while position < end:
        kind, _, length = _RECORD.unpack_from(data, position)
        filesystem, size, _ = _HANDLE_HEADER.unpack_from(data, position + _RECORD.size)
        start = position + _RECORD.size + 8
        name_start = start + 8 + size
        name = data[name_start : position + length].partition(b"\0")[0]
        place = Place(data[start:name_start], name or b".")
        if kind == _NEW_NAME:
            target = place
        else:
            places.append(place)
        position += length
    if not places:
        return Event(mask, pid, filesystem, target, None) if target is not None else None
    return Event(mask, pid, filesystem, places[0], target)


def open_by_handle(mount: int, handle: bytes) -> int:
    """Return a descriptor of the directory that a handle names, on the mount that the descriptor `mount` lies on.

    Raises:
        OSError: ESTALE when it is gone.
    """
    descriptor: int = _open_by_handle_at(mount, handle, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if descriptor < 0:
        raise _failed()
    return descriptor


def filesystem_of(directory: int) -> bytes:
    """Return what events call the file system that a directory lies on."""
    return os.fstatvfs(directory).f_fsid.to_bytes(8, "little")


def reason_of(error: OSError) -> str:
    """Return for a person why a file system cannot be watched."""
    return _WHY.get(error.errno or 0, error.strerror or str(error))


def _failed() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
