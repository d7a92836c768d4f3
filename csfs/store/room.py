"""Room on a disk. What arrives in bulk leaves a little, so that it stops neither smaller contents nor a program's next write."""

import errno
import os

LEFT_SHARE = 32
LEFT_SIZE_MAX = 64 * 1024 * 1024


def shortage(directory: int, size: int) -> int:
    """Return how many bytes are lacking on the disk of `directory` for `size` more, with a little left over; 0: none."""
    status = os.fstatvfs(directory)
    total = status.f_blocks * status.f_frsize
    if not total:  # a file system that does not tell
        return 0
    left = min(total // LEFT_SHARE, LEFT_SIZE_MAX)
    return max(0, size + left - status.f_bavail * status.f_frsize)


def check_room(directory: int, size: int) -> None:
    """Make sure that `size` more bytes leave a little room.

    Raises:
        OSError: ENOSPC, they would not.
    """
    if shortage(directory, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
