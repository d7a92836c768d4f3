"""System calls through the mount: the commits that the kernel has to see, by the commit thread alone, and looks at names."""

import errno
import os
import stat
from collections.abc import Iterable

from csfs.core.paths import RelPath, name_of, parent_of
from csfs.store.beneath import open_in_pieces
from csfs.wire.control import STAGE, Commit, Install, Link, Move, Remove


def look_up(clone: int, paths: Iterable[RelPath]) -> None:
    """Have the mount asked what is at these paths: so it learns the names of what it knows by other ones. Closes `clone`.

    For a thread that nobody waits for: a program that waits for other members may hold a directory on the way.
    """
    try:
        for path in paths:
            try:
                os.close(open_in_pieces(clone, path, os.O_PATH | os.O_NOFOLLOW))
            except OSError:
                pass  # nothing is there any more, which is as good
    finally:
        os.close(clone)


class Through:
    """Makes commits' system calls beneath the cloned mount's root, never through a symlink or out of it."""

    def __init__(self, clone: int) -> None:
        self._clone = clone
        self._stage = -1

    def close(self) -> None:
        """Let go of the mount; the clone itself is the caller's."""
        if self._stage >= 0:
            os.close(self._stage)
            self._stage = -1

    def call(self, commit: Commit, *, refresh: int = 0) -> int:
        """Make the one system call of `commit`, or have the kernel learn what it did; return its errno, 0 for success.

        `refresh`: the number of the inode of which the kernel is to learn; ESTALE when something else is there by now.
        """
        try:
            parent = self._opened(parent_of(commit.path))
            try:
                if refresh:
                    self._refresh(parent, name_of(commit.path) or b".", refresh)
                else:
                    self._call_in(parent, commit)
            finally:
                os.close(parent)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def _opened(self, directory: RelPath) -> int:
        return open_in_pieces(self._clone, directory, os.O_PATH | os.O_DIRECTORY)

    def _opened_stage(self) -> int:
        # Held open: nobody else may see it, so the kernel would ask for every part of its path each time.
        if self._stage < 0:
            self._stage = open_in_pieces(self._clone, STAGE, os.O_PATH | os.O_DIRECTORY)
        return self._stage

    def _call_in(self, parent: int, commit: Commit) -> None:
        name = name_of(commit.path) or b"."
        match commit.action:
            case Install(staged=staged) | Link(staged=staged):
                os.rename(staged, name, src_dir_fd=self._opened_stage(), dst_dir_fd=parent)
            case Move(source=source):
                source_parent = self._opened(parent_of(source))
                try:
                    os.rename(name_of(source), name, src_dir_fd=source_parent, dst_dir_fd=parent)
                finally:
                    os.close(source_parent)
            case Remove():
                self._remove(parent, name)
            case _:  # what needs no call of its own must never be taken for a removal
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def _remove(self, parent: int, name: bytes) -> None:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            os.rmdir(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)

    def _refresh(self, parent: int, name: bytes, inode: int) -> None:
        # The mount answers this chmod from what is there, so that the kernel learns attributes and ACLs anew.
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=parent)
        try:
            found = os.fstat(descriptor)
            if found.st_ino != inode:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            if not stat.S_ISLNK(found.st_mode):
                os.chmod(f"/proc/self/fd/{descriptor}", stat.S_IMODE(found.st_mode))
            else:  # nothing of a symlink's mode can be set, and a chown to nobody else makes the kernel ask as well
                os.chown(name, -1, -1, dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(descriptor)
