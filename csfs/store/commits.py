"""Making staged objects live, taking live ones away, moving them: each one rename, with what is displaced kept in the same step.

Plain functions over descriptors for the mount, which has checked the stamps expected in the same step of its loop. A crash
between an exchange and what follows it leaves the displaced object in the stage under the staged name, complete: see
`Stage.leftovers`.
"""

import errno
import os
import stat

from csfs.core.objects import Stamp
from csfs.store import syscalls
from csfs.store.attributes import stamp_at

_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def commit_install(
    stage: int, staged: bytes, parent: int, name: bytes, kept_directory: int, kept: bytes, *, replace: bool
) -> Stamp:
    """Make `staged` live as `name` in the directory `parent`, and return the stamp it shows there.

    With `replace` something must be there: it goes to `kept`, or away if `kept` is empty (a directory must be empty, and is
    never kept). Without, nothing may be there.

    Raises:
        FileExistsError: without `replace`, something is there, or `kept` is taken.
        FileNotFoundError: with `replace`, nothing is there; or nothing is staged.
        OSError: ENOTEMPTY for a directory in use, and what rename(2) says. Everything is as it was before.
    """
    if not replace:
        syscalls.renameat2(stage, staged, parent, name, syscalls.RENAME_NOREPLACE)
        return _live(parent, name)
    try:
        syscalls.renameat2(stage, staged, parent, name, syscalls.RENAME_EXCHANGE)
    except OSError as error:
        if error.errno not in _NO_EXCHANGE:
            raise
        return _install_by_link(stage, staged, parent, name, kept_directory, kept)
    try:
        _put_away(stage, staged, kept_directory, kept)
    except OSError:
        syscalls.renameat2(stage, staged, parent, name, syscalls.RENAME_EXCHANGE)
        raise
    return _live(parent, name)


def commit_remove(parent: int, name: bytes, kept_directory: int, kept: bytes) -> None:
    """Take `name` out of the directory `parent`: to `kept`, or away if `kept` is empty or it is a directory.

    Raises:
        FileExistsError: `kept` is taken.
        OSError: ENOTEMPTY for a directory in use, and what rename(2) and unlink(2) say.
    """
    _put_away(parent, name, kept_directory, kept)


def commit_move(source_parent: int, source: bytes, parent: int, name: bytes) -> Stamp:
    """Rename `source` to `name`, where nothing may be, and return the stamp it shows there.

    Raises:
        FileExistsError: something is there.
    """
    syscalls.renameat2(source_parent, source, parent, name, syscalls.RENAME_NOREPLACE)
    return _live(parent, name)


def _put_away(parent: int, name: bytes, kept_directory: int, kept: bytes) -> None:
    if stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
        os.rmdir(name, dir_fd=parent)
    elif kept:
        syscalls.renameat2(parent, name, kept_directory, kept, syscalls.RENAME_NOREPLACE)
    else:
        os.unlink(name, dir_fd=parent)


def _install_by_link(stage: int, staged: bytes, parent: int, name: bytes, kept_directory: int, kept: bytes) -> Stamp:
    """Install over something where the file system cannot exchange: the displaced object gets its kept name first."""
    displaced = os.lstat(name, dir_fd=parent)
    if stat.S_ISDIR(displaced.st_mode) != stat.S_ISDIR(os.lstat(staged, dir_fd=stage).st_mode):
        _put_away(parent, name, kept_directory, kept)
    elif kept and not stat.S_ISDIR(displaced.st_mode):
        os.link(name, kept, src_dir_fd=parent, dst_dir_fd=kept_directory, follow_symlinks=False)
    os.rename(staged, name, src_dir_fd=stage, dst_dir_fd=parent)
    return _live(parent, name)


def _live(parent: int, name: bytes) -> Stamp:
    stamp = stamp_at(parent, name)
    assert stamp is not None, "nobody else changes the directory underneath"
    return stamp
