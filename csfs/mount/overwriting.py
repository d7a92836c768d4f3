"""Commits that overwrite a live file in place: for a large file of which little changes, where the file system cannot share blocks.

All is written in one step of the mount's loop, and only while nobody has the file open, so no program sees a part of it: whoever opens
it next reads it anew. Should the process be killed in the middle, the next one finishes it before it serves (`store/redo`).
"""

import logging
import os
import stat

import trio

from csfs.core.objects import Stamp
from csfs.core.paths import shown
from csfs.mount.capture import Capture
from csfs.mount.inodes import Inodes
from csfs.mount.refresh import Refresher
from csfs.store import redo
from csfs.store.attributes import stamp_of
from csfs.store.beneath import open_in_pieces
from csfs.wire import control
from csfs.wire.control import Commit, CommitResult, Outcome, Overwrite

FINISH_S = 0.5
complain = logging.getLogger(__name__)


class Overwriting:
    """Carries out the redo logs that the daemon has prepared."""

    def __init__(self, inodes: Inodes, capture: Capture, refresher: Refresher, opened: redo.Opened) -> None:
        self._opened = opened
        self._inodes = inodes
        self._capture = capture
        self._refresher = refresher
        self._torn: dict[bytes, tuple[redo.Redo, Stamp]] = {}
        """Logs that could neither be carried out nor taken back, by name, and what the file showed then."""
        self._tore = trio.Event()

    def take(self, commit: Commit, action: Overwrite, directory: int, name: bytes) -> CommitResult:
        """Overwrite the file `name` in `directory`, which shows what the daemon expects.

        Raises:
            OSError: nothing has changed.
        """
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        node = self._inodes.known(status)
        if (node is not None and self._is_open(node.inode)) or not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            return CommitResult(commit.id, Outcome.BUSY, stamp_of(status), reason="open, or has other names")
        stage = self._opened_stage()
        try:
            log = redo.read(stage, redo.PREPARED + action.log)
            if log.path != commit.path or log.expected != commit.expected:
                raise ValueError("the redo log is another commit's")
            try:
                stamp = self._overwritten(stage, action.log, log, directory, name)
            except OSError as error:
                if redo.is_begun(stage, action.log):
                    self._torn[action.log] = log, stamp_of(os.stat(name, dir_fd=directory, follow_symlinks=False))
                    self._tore.set()
                    complain.error("%s is half overwritten, and will be finished: %s", shown(log.path), error)
                raise
        finally:
            os.close(stage)
        if node is not None:
            self._refresher.overwritten(node.inode)
        return CommitResult(commit.id, Outcome.DONE, stamp, refresh=node is not None)

    async def run(self) -> None:
        """Finish what failed halfway as soon as the storage takes it, for ever."""
        while True:
            if not self._torn:
                self._tore = trio.Event()
                await self._tore.wait()
            await trio.sleep(FINISH_S)
            self.finish_torn()

    def finish_torn(self) -> None:
        """Try again to finish what failed halfway, and nobody has open; the daemon looks then at what has come of it."""
        for name, (log, left) in list(self._torn.items()):
            if self._is_open(log.expected.inode):
                continue
            try:
                stage = self._opened_stage()
                try:
                    now = redo.finish(self._inodes.root, stage, name, left, self._opened)
                finally:
                    os.close(stage)
            except OSError:
                continue
            if now is not None:
                self._torn[name] = log, now
                continue
            del self._torn[name]
            complain.warning("%s: overwritten in place, and finished after a failure", shown(log.path))
            self._refresher.overwritten(log.expected.inode)
            self._capture.doubted(log.path)

    def _is_open(self, inode: int) -> bool:
        file = self._capture.files.get(inode)
        return file is not None and bool(file.handles)

    def _opened_stage(self) -> int:
        return open_in_pieces(self._inodes.root, control.STAGE, os.O_RDONLY | os.O_DIRECTORY)

    def _overwritten(self, stage: int, name: bytes, log: redo.Redo, directory: int, target_name: bytes) -> Stamp:
        target = os.open(target_name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            redo.carry_out(stage, name, target, log)
            return stamp_of(os.fstat(target))
        finally:
            os.close(target)
