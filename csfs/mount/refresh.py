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
from functools import partial

import pyfuse3

from csfs.core.paths import ROOT, RelPath, name_of, parent_of
from csfs.mount.inodes import Inodes, Node
from csfs.store.beneath import open_in_pieces
from csfs.wire.control import Stale

log = logging.getLogger(__name__)

Entry = tuple[int, bytes]

TOLD_S_MAX = 0.02
"""How long the loop waits for the kernel to take in a word that hardly ever has to wait."""

_FORGOTTEN = (errno.ENOENT, errno.ESTALE, errno.ENOTDIR)


class Refresher:
    """Used by the mount's loop; owns one thread."""

    def __init__(self, inodes: Inodes) -> None:
        self._inodes = inodes
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.outdated: dict[int, object] = {}
        """Files whose content in the kernel's memory is not to be believed by whoever opens them."""
        self._lock = threading.Lock()

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
        self._begin(partial(_tell, list(entries), list(inodes), done))
        return renamed

    def forget(self, inode: int) -> None:
        """Have the kernel ask anew for attributes and content of an object, once the request at hand is answered."""
        self._begin(partial(_tell, [], [inode], _nothing))

    def overwritten(self, inode: int) -> None:
        """The content of a file that nobody has open was changed underneath, in this step of the loop: nobody may see what it was.

        The kernel has forgotten its size and times on return, or does so in a moment: it may have to wait for something that the loop
        has to answer. What it has of the content is thrown away, by whoever opens the file if that is sooner.
        """
        mark = object()
        with self._lock:
            self.outdated[inode] = mark
        told = threading.Event()

        def job() -> None:
            _told(pyfuse3.invalidate_inode, inode, True)
            told.set()
            _told(pyfuse3.invalidate_inode, inode)
            with self._lock:
                if self.outdated.get(inode) is mark:
                    del self.outdated[inode]

        self._begin(job)
        told.wait(TOLD_S_MAX)

    def _begin(self, job: Callable[[], None]) -> None:
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
            self._jobs.get()()


def _tell(entries: list[Entry], inodes: list[int], done: Callable[[], None]) -> None:
    """Have the kernel ask about names in directories, and inodes; then call `done`."""
    for parent, name in entries:
        _told(pyfuse3.invalidate_entry, parent, name)
    for inode in inodes:
        _told(pyfuse3.invalidate_inode, inode)
    done()


def forget_attributes(inodes: set[int]) -> None:
    """Have the kernel ask anew: it has attributes cached that a commit changed, and whoever was to tell it is gone."""
    for inode in inodes:
        try:
            pyfuse3.invalidate_inode(inode, attr_only=True)
        except OSError as error:
            if error.errno != errno.ENOENT:  # the kernel has forgotten it meanwhile
                log.warning("attributes of inode %d may be seen as they were: %s", inode, error)


def _nothing() -> None:
    """Nobody waits."""


def _told(tell: Callable[..., None], *arguments: object) -> None:
    try:
        tell(*arguments)
    except OSError as error:
        if error.errno not in _FORGOTTEN:
            log.warning("the kernel may show what was there before: %s", error)
