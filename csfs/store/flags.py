"""Flags of an inode that forbid changes, as chattr sets them: `a` (append-only) and `i` (immutable); as bytes, these letters, sorted.

Whoever is not to change such an object gets EPERM, root as well: before anything is done to it they have to be taken away.
"""

import errno
import os
from typing import Final

from csfs.store import syscalls

NONE: Final = b""
POSSIBLE: Final = (NONE, b"a", b"ai", b"i")
_APPEND, _IMMUTABLE = 0x20, 0x10
"""FS_APPEND_FL and FS_IMMUTABLE_FL; STATX_ATTR_APPEND and STATX_ATTR_IMMUTABLE are the same numbers."""
_BITS: Final = ((b"a", _APPEND), (b"i", _IMMUTABLE))
_ALL: Final = _APPEND | _IMMUTABLE
UNKNOWN: Final = (errno.ENOTTY, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.EINVAL)
"""The file system has no such flags, or this host may not set them, however often it is tried."""


def flags_of(target: int | str) -> bytes:
    """Return the flags of what a descriptor has open, O_PATH or not, or its /proc path names; none on file systems without."""
    attributes = syscalls.statx_attributes(target)
    return b"".join(letter for letter, bit in _BITS if attributes & bit)


def put(descriptor: int, flags: bytes) -> None:
    """Have what `descriptor` has open (not O_PATH) exactly these flags.

    Raises:
        OSError: EINVAL for what are no flags, and what `syscalls.set_inode_flags` says.
    """
    if flags not in POSSIBLE:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    wanted = sum(bit for letter, bit in _BITS if letter in flags)
    before = syscalls.inode_flags(descriptor)
    after = before & ~_ALL | wanted
    if after == before:
        return
    if before & _IMMUTABLE and wanted:
        syscalls.set_inode_flags(descriptor, before & ~_ALL)  # an immutable object takes no other flag
    syscalls.set_inode_flags(descriptor, after)
