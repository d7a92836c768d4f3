"""System calls that Python does not offer, on descriptors and byte names. Each raises OSError like those of `os`.

Numbers of system calls since 2019 are the same on every architecture that Python runs on (alpha excepted); older ones
come from the C library by name. Calls release the interpreter lock, as those of `os` do.
"""

import ctypes
import errno
import fcntl
import os
import sys

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_SYMLINK_NOFOLLOW = 0x100
O_PATH: int = os.O_PATH

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_WITHIN = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS
"""Never out of the directory, never through a symlink, never across a mount."""

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2

FICLONE = 0x40049409
GETFLAGS, SETFLAGS = 0x80086601, 0x40086602
"""FS_IOC_* of linux/fs.h, as 64-bit hosts have them."""
FALLOC_FL_KEEP_SIZE = 0x01
FALLOC_FL_PUNCH_HOLE = 0x02

UTIME_NOW = (1 << 30) - 1
NOW = 1 << 70
"""In nanoseconds, no time that a file can have: see `set_times`."""
UTIME_OMIT = (1 << 30) - 2

_SYS_OPENAT2 = 437
_OPENAT2_ATTEMPTS_MAX = 64

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


_TimespecPair = _Timespec * 2
_OPEN_HOW_SIZE = ctypes.sizeof(_OpenHow)

_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_OpenHow), ctypes.c_size_t)
_renameat2 = _libc.renameat2
_renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_syncfs = _libc.syncfs
_syncfs.argtypes = (ctypes.c_int,)
_utimensat = _libc.utimensat
_utimensat.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_Timespec), ctypes.c_int)
_futimens = _libc.futimens
_futimens.argtypes = (ctypes.c_int, ctypes.POINTER(_Timespec))
_statx = _libc.statx
_statx.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)
_STATX_SIZE, _STATX_ATTRIBUTES = 256, slice(8, 16)
_fallocate = _libc.fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def _failed(*names: bytes) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), *(os.fsdecode(name) for name in names[:1]))


def openat2(directory: int, path: bytes, flags: int, mode: int = 0, resolve: int = RESOLVE_WITHIN) -> int:
    """Open `path` beneath the descriptor `directory` and return a descriptor, closed on exec.

    Raises:
        OSError: ELOOP for a symlink on the way, EXDEV for a mount or a way out, and what open(2) says.
    """
    if b"\0" in path:
        raise ValueError("path holds a NUL byte")
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(_OPENAT2_ATTEMPTS_MAX):
        descriptor: int = _syscall(_SYS_OPENAT2, directory, path, how, _OPEN_HOW_SIZE)
        if descriptor >= 0:
            return descriptor
        # EAGAIN: a rename somewhere kept the kernel from proving that `..` stays beneath; openat2(2) asks to retry.
        if ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            break
    raise _failed(path)


def renameat2(source_directory: int, source: bytes, target_directory: int, target: bytes, flags: int = 0) -> None:
    """Rename with RENAME_NOREPLACE or RENAME_EXCHANGE.

    Raises:
        OSError: EEXIST with RENAME_NOREPLACE over something, ENOENT with RENAME_EXCHANGE where nothing is, EINVAL where
            the file system has no such flag, and what rename(2) says.
    """
    if _renameat2(source_directory, source, target_directory, target, flags) != 0:
        raise _failed(source, target)


def syncfs(descriptor: int) -> None:
    """Write everything of the file system that `descriptor` lies on to the disk, and wait for it."""
    if _syncfs(descriptor) != 0:
        raise _failed()


def clone(source: int, target: int) -> None:
    """Make the file `target` share all blocks of the file `source` (a reflink).

    Raises:
        OSError: EOPNOTSUPP, EXDEV, EINVAL or ENOTTY where the file system cannot.
    """
    fcntl.ioctl(target, FICLONE, source)


def punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Free the bytes given, which read as zeros afterwards; the size stays.

    Raises:
        OSError: EOPNOTSUPP where the file system cannot.
    """
    if _fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) != 0:
        raise _failed()


def _time(moment_ns: int | None) -> _Timespec:
    if moment_ns is None or moment_ns == NOW:
        return _Timespec(0, UTIME_OMIT if moment_ns is None else UTIME_NOW)
    # floor division: times before 1970 have a negative second and a positive nanosecond
    return _Timespec(*divmod(moment_ns, 1_000_000_000))


def _times(mtime_ns: int) -> ctypes.Array[_Timespec]:
    return _TimespecPair(_time(None), _time(mtime_ns))


def set_times(path: bytes, atime_ns: int | None, mtime_ns: int | None) -> None:
    """Set the times of what `path` leads to; None leaves one as it is, `NOW` is the file system's own present time."""
    if _utimensat(AT_FDCWD, path, _TimespecPair(_time(atime_ns), _time(mtime_ns)), 0) != 0:
        raise _failed(path)


def set_mtime(directory: int, name: bytes, mtime_ns: int, flags: int = AT_SYMLINK_NOFOLLOW) -> None:
    """Set the mtime of `name` in `directory`, a symlink's own included; the atime stays."""
    if _utimensat(directory, name, _times(mtime_ns), flags) != 0:
        raise _failed(name)


def set_mtime_of(descriptor: int, mtime_ns: int) -> None:
    """Set the mtime of what `descriptor` has open (not O_PATH); the atime stays."""
    if _futimens(descriptor, _times(mtime_ns)) != 0:
        raise _failed()


def statx_attributes(target: int | str) -> int:
    """Return what statx(2) calls attributes (STATX_ATTR_*) of what a descriptor has open, O_PATH or not, or its /proc path names."""
    status = ctypes.create_string_buffer(_STATX_SIZE)
    where = (target, b"", AT_EMPTY_PATH) if isinstance(target, int) else (AT_FDCWD, os.fsencode(target), 0)
    if _statx(*where, 0, status) != 0:
        raise _failed()
    return int.from_bytes(status.raw[_STATX_ATTRIBUTES], sys.byteorder)


def inode_flags(descriptor: int) -> int:
    """Return what lsattr shows of the file or directory that `descriptor` has open (not O_PATH).

    Raises:
        OSError: ENOTTY or EOPNOTSUPP where the file system has no such flags.
    """
    found = bytearray(4)
    fcntl.ioctl(descriptor, GETFLAGS, found)
    return int.from_bytes(found, sys.byteorder)


def set_inode_flags(descriptor: int, flags: int) -> None:
    """Set what chattr sets.

    Raises:
        OSError: EPERM without CAP_LINUX_IMMUTABLE, EOPNOTSUPP for flags that the file system does not have.
    """
    fcntl.ioctl(descriptor, SETFLAGS, flags.to_bytes(4, sys.byteorder))
