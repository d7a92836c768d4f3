"""What csfs uses of libfuse beside pyfuse3: layouts of its public structures, and its functions. See fuse_lowlevel.h.

The layouts are those of libfuse 3.5 to 3.16; `check_operations` says whether a table of operations looks like one of theirs.
"""

import ctypes

import pyfuse3

VERSION_FIRST, VERSION_LAST = 305, 316
"""As fuse_version() gives them. Before, directories could not be cached; later ones lay out connection and file anew."""

OPERATIONS = (
    "init",
    "destroy",
    "lookup",
    "forget",
    "getattr",
    "setattr",
    "readlink",
    "mknod",
    "mkdir",
    "unlink",
    "rmdir",
    "symlink",
    "rename",
    "link",
    "open",
    "read",
    "write",
    "flush",
    "release",
    "fsync",
    "opendir",
    "readdir",
    "releasedir",
    "fsyncdir",
    "statfs",
    "setxattr",
    "getxattr",
    "listxattr",
    "removexattr",
    "access",
    "create",
    "getlk",
    "setlk",
    "bmap",
    "ioctl",
    "poll",
    "write_buf",
    "retrieve_reply",
    "forget_multi",
    "flock",
    "fallocate",
    "readdirplus",
    "copy_file_range",
    "lseek",
)
"""The fields of struct fuse_lowlevel_ops, in order: each is a pointer to a function."""

CAP_DONT_MASK = 1 << 6
CAP_AUTO_INVAL_DATA = 1 << 12
CAP_ASYNC_DIO = 1 << 15
CAP_CACHE_SYMLINKS = 1 << 23
IOCTL_IS_DIRECTORY = 1 << 4

Pointer = ctypes.c_void_p


class Table(ctypes.Structure):
    """struct fuse_lowlevel_ops."""

    _fields_ = tuple((name, Pointer) for name in OPERATIONS)


class Connection(ctypes.Structure):
    """The beginning of struct fuse_conn_info."""

    _fields_ = tuple(
        (name, ctypes.c_uint32)
        for name in ("proto_major", "proto_minor", "max_write", "max_read", "max_readahead", "capable", "want")
    )


class FileInfo(ctypes.Structure):
    """struct fuse_file_info; `bits` are its one-bit fields."""

    _fields_ = (
        ("flags", ctypes.c_int32),
        ("bits", ctypes.c_uint32),
        ("padding", ctypes.c_uint32),
        ("fh", ctypes.c_uint64),
        ("lock_owner", ctypes.c_uint64),
        ("poll_events", ctypes.c_uint32),
    )


class Context(ctypes.Structure):
    """struct fuse_ctx: who made a request."""

    _fields_ = (("uid", ctypes.c_uint32), ("gid", ctypes.c_uint32), ("pid", ctypes.c_int32), ("umask", ctypes.c_uint32))


class Buffer(ctypes.Structure):
    """struct fuse_buf."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("memory", ctypes.c_void_p),
        ("descriptor", ctypes.c_int),
        ("position", ctypes.c_int64),
    )


class Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("address", ctypes.c_size_t), ("length", ctypes.c_size_t))


SESSION_NEW = ctypes.PYFUNCTYPE(Pointer, Pointer, Pointer, ctypes.c_size_t, Pointer)
INIT = ctypes.PYFUNCTYPE(None, Pointer, ctypes.POINTER(Connection))
_FILE = ctypes.POINTER(FileInfo)
RECEIVE = ctypes.PYFUNCTYPE(ctypes.c_int, Pointer, ctypes.POINTER(Buffer))
WRITEV = ctypes.PYFUNCTYPE(ctypes.c_ssize_t, ctypes.c_int, ctypes.POINTER(Vector), ctypes.c_int)
FALLOCATE = ctypes.PYFUNCTYPE(None, Pointer, ctypes.c_uint64, ctypes.c_int, ctypes.c_int64, ctypes.c_int64, _FILE)
LSEEK = ctypes.PYFUNCTYPE(None, Pointer, ctypes.c_uint64, ctypes.c_int64, ctypes.c_int, _FILE)
IOCTL = ctypes.PYFUNCTYPE(
    None,
    Pointer,
    ctypes.c_uint64,
    ctypes.c_uint,
    Pointer,
    _FILE,
    ctypes.c_uint,
    Pointer,
    ctypes.c_size_t,
    ctypes.c_size_t,
)
COPY_FILE_RANGE = ctypes.PYFUNCTYPE(
    None,
    Pointer,
    ctypes.c_uint64,
    ctypes.c_int64,
    _FILE,
    ctypes.c_uint64,
    ctypes.c_int64,
    _FILE,
    ctypes.c_size_t,
    ctypes.c_int,
)


def loaded() -> ctypes.PyDLL:
    """Return pyfuse3's own shared object: names looked up in it lead to the libfuse that it uses.

    Raises:
        OSError: it is not what is expected.
    """
    library = ctypes.PyDLL(pyfuse3.__file__)
    try:
        version = library.fuse_version()
        signatures = {
            "fuse_reply_err": (Pointer, ctypes.c_int),
            "fuse_reply_write": (Pointer, ctypes.c_size_t),
            "fuse_reply_lseek": (Pointer, ctypes.c_int64),
            "fuse_reply_ioctl": (Pointer, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t),
        }
        for name, types in signatures.items():
            getattr(library, name).argtypes = types
        library.fuse_req_ctx.argtypes = (Pointer,)
        library.fuse_req_ctx.restype = ctypes.POINTER(Context)
    except AttributeError as error:
        raise OSError(f"libfuse lacks a function: {error}") from None
    if not VERSION_FIRST <= version <= VERSION_LAST:
        raise OSError(f"libfuse {version // 100}.{version % 100} is not one whose structures are known")
    return library


def itself() -> ctypes.PyDLL:
    """Return libfuse's shared object, which is loaded already.

    Raises:
        OSError: it has another name.
    """
    return ctypes.PyDLL("libfuse3.so.3")


_libc = ctypes.PyDLL(None)
_libc.malloc.argtypes = (ctypes.c_size_t,)
_libc.malloc.restype = ctypes.c_void_p
_libc.writev.argtypes = (ctypes.c_int, ctypes.POINTER(Vector), ctypes.c_int)
_libc.writev.restype = ctypes.c_ssize_t


def allocated(size: int) -> int:
    """Return memory of `size` bytes that whoever gets it returns with free(3)."""
    address: int | None = _libc.malloc(size)
    if address is None:
        raise MemoryError
    return address


def writev(descriptor: int, vectors: "ctypes._Pointer[Vector]", count: int) -> int:
    """Call writev(2) and leave errno as it is, for a caller written in C."""
    written: int = _libc.writev(descriptor, vectors, count)
    return written


def check_operations(table: Table, size: int) -> None:
    """Check that a table of operations is laid out as expected: pyfuse3 fills certain ones and leaves others.

    Raises:
        OSError: it is not.
    """
    filled = ("init", "lookup", "opendir", "getxattr", "create", "write_buf", "forget_multi", "readdirplus")
    empty = ("getlk", "setlk", "bmap", "ioctl", "flock", "fallocate", "copy_file_range", "lseek")
    if size < ctypes.sizeof(Table):
        raise OSError(f"pyfuse3 was built with a libfuse of {size // 8} operations, {len(OPERATIONS)} are expected")
    if not all(getattr(table, name) for name in filled) or any(getattr(table, name) for name in empty):
        raise OSError("pyfuse3's table of operations is laid out in another way than expected")
