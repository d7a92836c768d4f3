"""System calls that only a mount needs, on descriptors and byte names. Each raises OSError like those of `os`."""

import ctypes
import errno
import os

CLONE_NEWNS = 0x00020000
MS_REC = 0x4000
MS_SLAVE = 0x80000
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
OPEN_TREE_CLONE = 1
_SYS_OPEN_TREE = 428
_SYS_MOUNT_SETATTR = 442
_MOUNT_ATTR_RDONLY = 1
_HANDLE_SIZE_MAX = 128

_libc = ctypes.CDLL(None, use_errno=True)


class _FileHandle(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_uint),
        ("type", ctypes.c_int),
        ("data", ctypes.c_ubyte * _HANDLE_SIZE_MAX),
    )


_HEADER_SIZE = 8
_handle_at = _libc.name_to_handle_at
_handle_at.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int), ctypes.c_int)
_open_by_handle_at = _libc.open_by_handle_at
_open_by_handle_at.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int)
_unshare = _libc.unshare
_unshare.argtypes = (ctypes.c_int,)
_mount = _libc.mount
_mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_void_p)
_umount2 = _libc.umount2
_umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_open_tree = _libc.syscall
_open_tree.restype = ctypes.c_long
_open_tree.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


class _MountAttributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace"))


_mount_setattr = _libc["syscall"]  # an object of its own, with types of its own
_mount_setattr.restype = ctypes.c_long
_mount_setattr.argtypes = (
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_uint,
    ctypes.POINTER(_MountAttributes),
    ctypes.c_size_t,
)

_chmod_at = _libc["syscall"]
_chmod_at.restype = ctypes.c_long
_chmod_at.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint)
_chown_at = _libc.fchownat
_chown_at.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_int)
_SYS_FCHMODAT2 = 452
_getcpu = _libc.sched_getcpu
_STAT_CORE = 36
"""The field `processor` of proc(5), counted from the one after the name."""
_NOBODY = 0xFFFF_FFFF
_fallocate = _libc.fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)

# One buffer serves all calls: the mount's loop is the only caller.
_handle = _FileHandle()
_handle_address = ctypes.addressof(_handle)
_mount_id = ctypes.c_int()
_mount_id_reference = ctypes.byref(_mount_id)


def _failed(path: bytes | None = None) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), os.fsdecode(path) if path is not None else None)


def handle_at(directory: int, name: bytes) -> bytes:
    """Return the file handle of `name` in `directory` (of the directory itself if empty), as `open_by_handle` takes it.

    A symlink's own; it holds the file system's generation: a new object with an old inode number has another. Not thread-safe.

    Raises:
        OSError: EOPNOTSUPP where the file system has no handles, EOVERFLOW for one too large, ENOENT.
    """
    _handle.size = _HANDLE_SIZE_MAX
    flags = 0 if name else AT_EMPTY_PATH
    if _handle_at(directory, name, _handle_address, _mount_id_reference, flags) != 0:
        raise _failed(name)
    return ctypes.string_at(_handle_address, _HEADER_SIZE + _handle.size)


def open_by_handle(mount: int, handle: bytes, flags: int) -> int:
    """Open the object of `handle` on the mount that the descriptor `mount` lies on; closed on exec.

    Raises:
        OSError: ESTALE when it is gone, EPERM without CAP_DAC_READ_SEARCH, and what open(2) says.
    """
    descriptor: int = _open_by_handle_at(mount, handle, flags | os.O_CLOEXEC)
    if descriptor < 0:
        raise _failed()
    return descriptor


def own_core() -> int:
    """Return the core that the calling thread runs on."""
    core: int = _getcpu()
    return core


def core_of(thread: int) -> int:
    """Return the core that a thread ran on last, -1 where that cannot be seen (it is gone, or of another pid namespace)."""
    try:
        with open(f"/proc/{thread}/stat", "rb", buffering=0) as file:
            return int(file.read(1024).rpartition(b")")[2].split()[_STAT_CORE])
    except (OSError, IndexError, ValueError):
        return -1


def unshare(flags: int) -> None:
    """Leave namespaces; see unshare(2)."""
    if _unshare(flags) != 0:
        raise _failed()


def set_propagation(path: bytes, flags: int) -> None:
    """Change how mounts below `path` propagate: `flags` are MS_SLAVE and the like, with MS_REC."""
    if _mount(None, path, None, flags, None) != 0:
        raise _failed(path)


def umount(path: bytes, flags: int = 0) -> None:
    """Unmount what is mounted at `path`, which is not followed if it is a symlink.

    Raises:
        OSError: EBUSY while it is in use, unless `flags` has MNT_DETACH; EINVAL when nothing is mounted there.
    """
    if _umount2(path, flags | UMOUNT_NOFOLLOW) != 0:
        raise _failed(path)


def cloned_mount(path: bytes) -> int:
    """Return a descriptor of the root of a detached copy of the mount at `path`; the mount lives on while it is open."""
    descriptor: int = _open_tree(_SYS_OPEN_TREE, AT_FDCWD, path, OPEN_TREE_CLONE | os.O_CLOEXEC)
    if descriptor < 0:
        raise _failed(path)
    return descriptor


def make_writable(mount: int) -> None:
    """Take read-only away from a detached mount that the descriptor `mount` is the root of.

    Raises:
        OSError: ENOSYS before Linux 5.12.
    """
    attributes = _MountAttributes(clear=_MOUNT_ATTR_RDONLY)
    size = ctypes.sizeof(attributes)
    if _mount_setattr(_SYS_MOUNT_SETATTR, mount, b"", AT_EMPTY_PATH, ctypes.byref(attributes), size) != 0:
        raise _failed()


def remount(path: bytes, flags: int) -> None:
    """Change the flags of what is mounted at `path`: `flags` as mount(2) takes them with MS_REMOUNT.

    Raises:
        OSError: EBUSY when it is to be read-only and something is open for writing.
    """
    if _mount(None, path, None, flags, None) != 0:
        raise _failed(path)


def chmod(descriptor: int, mode: int) -> None:
    """Set the mode of what a descriptor has open, O_PATH or not; not a symlink's."""
    if _chmod_at(_SYS_FCHMODAT2, descriptor, b"", mode, AT_EMPTY_PATH) == 0:
        return
    if ctypes.get_errno() != errno.ENOSYS:
        raise _failed()
    os.chmod(f"/proc/self/fd/{descriptor}", mode)  # before Linux 6.6


def chown(descriptor: int, uid: int, gid: int) -> None:
    """Set owner and group of what a descriptor has open, O_PATH or not, a symlink's own too; -1 leaves one as it is."""
    if _chown_at(descriptor, b"", uid & _NOBODY, gid & _NOBODY, AT_EMPTY_PATH) != 0:
        raise _failed()


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    """Allocate, zero or give back the space of a part of a file; see fallocate(2)."""
    if _fallocate(descriptor, mode, offset, length) != 0:
        raise _failed()
