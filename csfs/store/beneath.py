"""Opening paths beneath a root descriptor: the kernel resolves them, never through a symlink, never out, never across a mount."""

import errno
import os

from csfs.core.paths import RelPath, shown
from csfs.errors import ForeignError
from csfs.store import syscalls

ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""Nothing is at a path whose parents are missing, no directories, or symlinks."""
_PIECE_SIZE_MAX = 4000
"""The kernel takes no path of 4096 bytes or more at once."""


def open_beneath(root: int, path: RelPath, flags: int) -> int:
    """Open `path` beneath the directory `root`, never following anything; the root itself is `ROOT`.

    Raises:
        ForeignError: a part of the path is a mount of something else.
        OSError: as open(2) says; ELOOP where a part is a symlink.
    """
    try:
        return open_in_pieces(root, path, flags | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise ForeignError(f"{shown(path)}: another file system is mounted there") from error
        raise


def open_in_pieces(root: int, path: bytes, flags: int) -> int:
    """Open `path` as `openat2` does, however long it is.

    Raises:
        OSError: as `openat2` says.
    """
    directory, rest = root, path or b"."
    try:
        while len(rest) > _PIECE_SIZE_MAX:
            cut = rest.rindex(b"/", 0, _PIECE_SIZE_MAX)
            deeper = syscalls.openat2(directory, rest[:cut], os.O_PATH | os.O_DIRECTORY)
            if directory != root:
                os.close(directory)
            directory, rest = deeper, rest[cut + 1 :]
        return syscalls.openat2(directory, rest, flags)
    finally:
        if directory != root:
            os.close(directory)


def is_beneath(root: int, directory: int) -> bool:
    """Return whether `directory` lies below the directory `root`, or is it, however long its path: its parents are gone through.

    One that was removed meanwhile lies nowhere.
    """
    top = os.fstat(root)
    descriptor = os.dup(directory)
    try:
        while not os.path.samestat(status := os.fstat(descriptor), top):
            above = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = above
            if os.path.samestat(os.fstat(above), status):
                return False
    except FileNotFoundError:
        return False
    finally:
        os.close(descriptor)
    return True
