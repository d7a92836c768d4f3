"""Has the kernel ask anew about what somebody changed underneath: attributes, contents, listings and names are in its caches for hours.

What the mount itself knows of names is put right in one step of its loop. The kernel is told by a thread: it may have to wait for
something that the loop has to answer.
"""

import errno
import logging
import os
import queue
import threading
from collections.abc import Callable, Sequence

import pyfuse3

from csfs.core.paths import ROOT, RelPath, name_of, parent_of
from csfs.mount.inodes import Inodes, Node
from csfs.store.beneath import open_in_pieces
from csfs.wire.control import Stale

log = logging.getLogger(__name__)

Entry = tuple[int, bytes]
Job = tuple[list[Entry], list[int], Callable[[], None]]
"""Names in directories, and inodes, about which the kernel is to ask; and what to call then."""

_FORGOTTEN = (errno.ENOENT, errno.ESTALE, errno.ENOTDIR)


class Refresher:
    """Used by the mount's loop; owns one thread."""

    def __init__(self, inodes: Inodes) -> None:
        self._inodes = inodes
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def take(self, stale: Sequence[Stale], done: Callable[[], None]) -> list[int]:
        """Have the kernel ask anew about `stale`; `done` is called by the thread when it was told.

        Return the places in `stale` of what the kernel knows by another name: the new one is yet to be looked up.
        """
        entries: dict[Entry, None] = {}
        inodes: dict[int, None] = {}
        renamed = []
        for number, one in enumerate(stale):
            try:
                if self._is_renamed(one, entries, inodes):
                    renamed.append(number)
            except (OSError, ValueError) as error:
                log.info("what was changed underneath cannot be looked at: %s", error)
        self._begin((list(entries), list(inodes), done))
        return renamed

    def forget(self, inode: int) -> None:
        """Have the kernel ask anew for attributes and content of an object, once the request at hand is answered."""
        self._begin(([], [inode], _nothing))

    def _begin(self, job: Job) -> None:
        self._jobs.put(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="refresh", daemon=True)
            self._thread.start()

    def _is_renamed(self, stale: Stale, entries: dict[Entry, None], inodes: dict[int, None]) -> bool:
        before = self._known(stale.inode)
        if before is not None:
            inodes[before.inode] = None
        parent, status = self._found(stale.path)
        now = self._inodes.known(status) if status is not None else None
        if now is not None:
            now.no_capability = False
            inodes[now.inode] = None
        if parent is not None:
            inodes[parent.inode] = None
            name = parent.inode, name_of(stale.path)
            if stale.named:
                entries[name] = None
            if before is not None and before is not now:
                self._inodes.unnamed(before, name)
        return stale.named and now is not None and stale.path not in self._inodes.paths_of(now)

    def _known(self, inode: int) -> Node | None:
        try:
            return self._inodes.node(inode)
        except OSError:
            return None

    def _found(self, path: RelPath) -> tuple[Node | None, os.stat_result | None]:
        """Return the directory of a path if the kernel knows it, and lstat of what is there; the root has no directory."""
        if path == ROOT:
            return None, os.fstat(self._inodes.root)
        try:
            directory = open_in_pieces(self._inodes.root, parent_of(path), os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return None, None
        try:
            parent = self._inodes.known(os.fstat(directory))
            try:
                return parent, os.stat(name_of(path), dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                return parent, None
        finally:
            os.close(directory)

    # ------------------------------------------------------------------------------------------------------- the thread

    def _work(self) -> None:
        while True:
            entries, inodes, done = self._jobs.get()
            for parent, name in entries:
                _told(pyfuse3.invalidate_entry, parent, name)
            for inode in inodes:
                _told(pyfuse3.invalidate_inode, inode)
            done()


def _nothing() -> None:
    """Nobody waits."""


def _told(tell: Callable[..., None], *arguments: object) -> None:
    try:
        tell(*arguments)
    except OSError as error:
        if error.errno not in _FORGOTTEN:
            log.warning("the kernel may show what was there before: %s", error)
