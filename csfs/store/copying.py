"""Copying content between local files: shared blocks where the file system can, holes kept, the kernel doing the rest."""

import errno
import os

from csfs.store import syscalls
from csfs.store.hashing import BLOCK_SIZE
from csfs.store.redo import write_at

_NO_CLONE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.ETXTBSY)
_NO_COPY = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOSYS)
_READ_SIZE = 1024 * 1024
_HOLE_SIZE_MIN = 4096
"""Less than a block of any file system makes no hole."""


def copy_content(source: int, target: int, size: int) -> None:
    """Make the empty file `target` hold the first `size` bytes of `source`; fewer if it ends before. Positions move.

    What was copied is not verified: the source may change meanwhile.
    """
    try:
        syscalls.clone(source, target)
        os.ftruncate(target, size)
        return
    except OSError as error:
        if error.errno not in _NO_CLONE:
            raise
    os.ftruncate(target, size)
    offset = 0
    while offset < size:
        try:
            offset = os.lseek(source, offset, os.SEEK_DATA)
            end = min(size, os.lseek(source, offset, os.SEEK_HOLE))
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return
            end = size
        copy_range(source, target, offset, offset, end - offset)
        offset = max(end, offset + 1)


def copy_range(source: int, target: int, source_offset: int, target_offset: int, length: int) -> None:
    """Copy `length` bytes; fewer if the source ends before."""
    while length > 0:
        copied = _copy_some(source, target, source_offset, target_offset, length)
        if not copied:
            return
        source_offset, target_offset, length = source_offset + copied, target_offset + copied, length - copied


def write_block(target: int, index: int, data: bytes) -> None:
    """Write one block at its place; a run of zeros becomes a hole where the file system can."""
    write_sparse(target, index * BLOCK_SIZE, data)


def write_sparse(target: int, offset: int, data: bytes) -> None:
    """Write `data` at its place; zeros alone become a hole where the file system can, which does not make the file longer."""
    if len(data) >= _HOLE_SIZE_MIN and not data.strip(b"\0"):
        try:
            syscalls.punch_hole(target, offset, len(data))
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise
    write_at(target, offset, data)


def _copy_some(source: int, target: int, source_offset: int, target_offset: int, length: int) -> int:
    try:
        return os.copy_file_range(source, target, length, source_offset, target_offset)
    except OSError as error:
        if error.errno not in _NO_COPY:
            raise
    data = os.pread(source, min(length, _READ_SIZE), source_offset)
    return os.pwrite(target, data, target_offset) if data else 0
