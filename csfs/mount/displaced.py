"""What commits take away from a path: where it goes, and who goes on watching it.

The order of steps leaves at every moment either the old object or the new one under its name, and the displaced one under the
staged or the kept name: a crash in between loses nothing, the daemon finds it in the stage.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from csfs.core.paths import RelPath
from csfs.mount.capture import Capture, OpenFile
from csfs.mount.inodes import Inodes, Name, Node
from csfs.store import syscalls
from csfs.wire import control


class Displaced:
    """Makes installs and removals underneath, and keeps an eye on displaced files that somebody has open."""

    def __init__(self, inodes: Inodes, capture: Capture) -> None:
        self._inodes = inodes
        self._capture = capture

    def install(self, stage: int, staged: bytes, directory: int, name: bytes, kept: bytes) -> None:
        """Make the staged object live; what was there goes to `kept`, or away if that is empty. Descriptors are directories.

        Raises:
            OSError: nothing has changed then.
        """
        try:
            syscalls.renameat2(stage, staged, directory, name, syscalls.RENAME_NOREPLACE)
            return
        except FileExistsError:
            pass
        syscalls.renameat2(stage, staged, directory, name, syscalls.RENAME_EXCHANGE)
        try:
            if kept:
                self._move_to_kept(stage, staged, kept)
            else:
                os.unlink(staged, dir_fd=stage)
        except (OSError, ValueError):
            # What a commit that failed has left in the stage is thrown away: that must not be what was displaced.
            syscalls.renameat2(stage, staged, directory, name, syscalls.RENAME_EXCHANGE)
            raise

    def remove(self, directory: int, name: bytes, kept: bytes) -> None:
        """Take the object away; a file goes to `kept` if that is not empty."""
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            os.rmdir(name, dir_fd=directory)
        elif kept:
            self._move_to_kept(directory, name, kept)
        else:
            os.unlink(name, dir_fd=directory)

    def _kept_directory(self) -> int:
        return syscalls.openat2(self._inodes.root, control.KEPT, os.O_PATH | os.O_DIRECTORY)

    def _move_to_kept(self, directory: int, name: bytes, kept: bytes) -> None:
        if b"/" in kept or kept in (b".", b".."):
            raise ValueError(f"{kept!r} is not a plain name")
        store = self._kept_directory()
        try:
            syscalls.renameat2(directory, name, store, kept, syscalls.RENAME_NOREPLACE)
        finally:
            os.close(store)

    @contextmanager
    def watched(
        self, node: Node | None, name: Name, kept: bytes, path: RelPath, commit_id: int, has_others: bool
    ) -> Iterator[bytes]:
        """Give the kept name to use while the object `node` is taken away from `name`; afterwards it is watched if it is open.

        A file that somebody has open for writing is kept in any case: until it is closed nobody knows whether it was the last
        that was written to it. What has other names stays live under those: what is written to it later is written there.
        """
        if node is None:
            yield kept
            return
        file = self._capture.files.get(node.inode)
        file = file if file is not None and file.node is node else None
        writing = file is not None and file.writing > 0
        doomed = writing and not kept and not has_others
        name_kept = b"displaced.%d" % commit_id if doomed else kept
        pinned = not (name_kept and node.handle) and self._inodes.pin(node)
        try:
            yield name_kept
        except BaseException:
            if pinned:
                self._inodes.unpin(node)
            raise
        self._inodes.unnamed(node, name)
        node.kept = bool(name_kept)
        if file is not None and (name_kept or has_others) and not node.names:
            file.displaced, file.kept, file.doomed = path, name_kept, doomed

    def last_closed(self, file: OpenFile) -> None:
        """Nobody has a displaced file open any more, nothing was written to it, and nobody asked to keep it: it goes."""
        file.doomed = False
        try:
            store = self._kept_directory()
        except OSError:
            return
        try:
            os.unlink(file.kept, dir_fd=store)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
        finally:
            os.close(store)
        file.node.kept = False
