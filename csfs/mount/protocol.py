"""The kernel's own messages, as far as csfs reads and writes them without libfuse: see linux/fuse.h, whose layouts never change.

Each request is a header and what follows it; each reply is a header, then a body unless it is an error. Numbers are in the order of
the machine's bytes. Replies are packed whole, header included: one call each.
"""

import errno
import mmap
import struct

LOOKUP, FORGET, GETATTR, SETATTR = 1, 2, 3, 4
SYMLINK, MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK = 6, 8, 9, 10, 11, 12, 13
OPEN, READ, WRITE, RELEASE, FSYNC = 14, 15, 16, 18, 20
SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR, FLUSH, INIT, OPENDIR, RELEASEDIR = 21, 22, 23, 24, 25, 26, 27, 29
CREATE, INTERRUPT, BATCH_FORGET, RENAME2 = 35, 36, 42, 45

REQUEST = struct.Struct("=IIQQIII4x")
"""struct fuse_in_header: length, opcode, unique, inode, uid, gid, pid."""
BODY = REQUEST.size
"""Where a request's own fields begin."""

FORGETS = struct.Struct("=Q")
FORGET_COUNT = struct.Struct("=I4x")
FORGET_ONE = struct.Struct("=QQ")
SETATTR_IN = struct.Struct("=I4xQQ8xqqqIIII4xII4x")
"""struct fuse_setattr_in: valid, fh, size, atime, mtime, ctime, their nanoseconds, mode, uid, gid."""
MKDIR_IN = struct.Struct("=II")
MKNOD_IN = struct.Struct("=III4x")
LINK_IN = struct.Struct("=Q")
RENAME_IN = struct.Struct("=Q")
RENAME2_IN = struct.Struct("=QI4x")
OPEN_IN = struct.Struct("=iI")
CREATE_IN = struct.Struct("=iIII")
READ_IN = struct.Struct("=QQI")
WRITE_IN = struct.Struct("=QQII8xI4x")
"""struct fuse_write_in: fh, offset, size, write_flags, flags (of the open file, as fcntl(2) has left them); the data follow."""
RELEASE_IN = struct.Struct("=Q")
FLUSH_IN = struct.Struct("=Q16x")
FSYNC_IN = struct.Struct("=QI4x")
INTERRUPT_IN = struct.Struct("=Q")
SETXATTR_IN = struct.Struct("=II")
"""As it was before FUSE_SETXATTR_EXT, which libfuse does not ask for: size, flags."""
GETXATTR_IN = struct.Struct("=I4x")
INIT_IN = struct.Struct("=IIII")
"""The beginning of struct fuse_init_in: major, minor, max_readahead, flags."""
INIT_OUT_FLAGS = 12
"""Where the flags lie in struct fuse_init_out."""

SIZE_MAX = 256 * mmap.PAGESIZE
"""What the kernel reads or writes at most by one request, of libfuse up to 3.16: FUSE_MAX_MAX_PAGES."""

SET_MODE, SET_UID, SET_GID, SET_SIZE = 1 << 0, 1 << 1, 1 << 2, 1 << 3
SET_ATIME, SET_MTIME, HAS_HANDLE = 1 << 4, 1 << 5, 1 << 6
SET_ATIME_NOW, SET_MTIME_NOW = 1 << 7, 1 << 8
SETATTR_KILLS_PRIVILEGES = 1 << 11
OPEN_KILLS_PRIVILEGES = 1 << 0
WRITE_FROM_CACHE, WRITE_KILLS_PRIVILEGES = 1 << 0, 1 << 2
FSYNC_DATA_ALONE = 1 << 0
INIT_HANDLE_KILLPRIV_V2 = 1 << 28

FILE_KEEPS_CACHE = 1 << 1
DIRECTORY_CACHED = 1 << 3
FILE_NOT_FLUSHED = 1 << 5
"""Closing the file asks nothing; Linux 5.16 and later."""

_HEADER = "=IiQ"
_ATTRIBUTES = "QQQqqqIIIIIIIIII"
"""struct fuse_attr: inode, size, blocks, three times, their nanoseconds, mode, links, uid, gid, rdev, blksize, flags."""
STATUS_ONLY = struct.Struct(_HEADER)
ATTRIBUTES = struct.Struct(_HEADER + "Q8x" + _ATTRIBUTES)
ENTRY = struct.Struct(_HEADER + "QQQQ8x" + _ATTRIBUTES)
ABSENT = struct.Struct(_HEADER + "QQQ104x")
"""An entry without an object, which may be remembered: inode (0), generation, seconds."""
OPENED = struct.Struct(_HEADER + "QI4x")
OPENED_TAIL = struct.Struct("=QI4x")
"""struct fuse_open_out, as it follows an entry in the reply to CREATE."""
WRITTEN = struct.Struct(_HEADER + "I4x")
SIZE_ONLY = WRITTEN

ERRNO_MAX = 511
"""Larger ones are the kernel's own (ENOTSUPP of NFS is one), yet some file systems let them out."""
RDEV_MASK = 0xFFFF_FFFF
NS_PER_S = 1_000_000_000

assert (SETATTR_IN.size, ATTRIBUTES.size, ENTRY.size, ABSENT.size) == (88, 16 + 104, 16 + 128, 16 + 128)


def done(unique: int) -> bytes:
    """Return the reply that something is done."""
    return STATUS_ONLY.pack(STATUS_ONLY.size, 0, unique)


def failed(unique: int, error: int) -> bytes:
    """Return the reply that something failed; `error` is an errno."""
    return STATUS_ONLY.pack(STATUS_ONLY.size, -tellable(error), unique)


def unique_of(reply: bytes) -> int:
    """Return the number of the request that a reply is to."""
    return int(STATUS_ONLY.unpack_from(reply)[2])


def tellable(error: int | None) -> int:
    """Return an errno that the kernel takes: at any other one it drops the answer, and whoever asked waits for ever."""
    return error if error and 0 < error <= ERRNO_MAX else errno.EIO


def with_data(unique: int, data: bytes) -> bytes:
    """Return a reply whose body is `data`."""
    return STATUS_ONLY.pack(STATUS_ONLY.size + len(data), 0, unique) + data
