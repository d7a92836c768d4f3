"""Writes the journal from one thread, so that the mount never waits for the journal's disk: not when it is slow, nor when it hangs."""

import logging
from collections.abc import Callable
from typing import TypeVar

import trio

from csfs.journal.journal import Batch, Journal

log = logging.getLogger(__name__)

T = TypeVar("T")

COMMIT_INTERVAL_S = 0.05
"""Rows are written this long after the first of a batch, unless somebody waits for them: the daemon hears of them at once anyway,
and what a killed mount had not written is found by comparing."""
RETRY_S = 1.0
PRUNE_INTERVAL_S = 0.05
PATIENCE_S = 10.0
"""So long an fsync waits for the journal's disk; then it is answered, as the data itself is on its own disk already."""


class Noting:
    """One task does all that touches the journal's file; `told` hears of each change of the journal's trouble."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._wake = trio.Event()
        self._hurry = trio.Event()
        self._progress = trio.Event()
        self._limiter = trio.CapacityLimiter(1)  # of its own: the others may all be stuck in a disk that hangs
        self._sync_wanted = self._synced = 0
        self._prune_wanted = False
        self._trouble = journal.trouble
        self.told: Callable[[str], None] = _nobody

    def appended(self) -> None:
        """There are rows to be written."""
        self._wake.set()

    def prune_soon(self) -> None:
        """Rows that the daemon has taken care of may go."""
        self._prune_wanted = True
        self._wake.set()

    async def make_durable(self) -> None:
        """Return when all rows so far survive a power cut, or the journal cannot be written, or its disk hangs."""
        wanted = self._journal.last
        self._sync_wanted = max(self._sync_wanted, wanted)
        self._wake.set()
        self._hurry.set()
        with trio.move_on_after(PATIENCE_S) as scope:
            while self._synced < wanted and not self._journal.trouble:
                await self._progress.wait()
        if scope.cancelled_caught:
            log.error(
                "journal %s: its disk takes more than %g s; nobody waits for it any longer",
                self._journal.path,
                PATIENCE_S,
            )

    async def run(self) -> None:
        """Write, sync, prune and checkpoint, for ever."""
        while True:
            await self._wake.wait()
            if not self._hurry.is_set():
                with trio.move_on_after(COMMIT_INTERVAL_S):
                    await self._hurry.wait()
            self._wake, self._hurry = trio.Event(), trio.Event()
            await self._write()
            if self._journal.trouble and self._journal.is_dirty:
                await trio.sleep(RETRY_S)
                self._wake.set()
            elif self._prune_wanted:
                self._prune_wanted = await self._in_thread(self._journal.prune)
                if self._prune_wanted:
                    await trio.sleep(PRUNE_INTERVAL_S)
                    self._wake.set()
            if self._journal.wants_checkpoint:
                await self._in_thread(self._journal.checkpoint)

    async def _write(self) -> None:
        await (
            trio.lowlevel.checkpoint_if_cancelled()
        )  # not later: what was taken and not settled is lost to `Journal.close`
        batch, sync_wanted = self._journal.taken(), self._sync_wanted
        if batch is not None or sync_wanted > self._synced:
            trouble = await self._in_thread(lambda: self._written(batch, sync_wanted > self._synced))
            if batch is not None:
                self._journal.settle(batch, trouble)
            self._synced = sync_wanted
        if self._journal.trouble != self._trouble:
            self._trouble = self._journal.trouble
            self.told(self._trouble)
        self._progress.set()
        self._progress = trio.Event()

    def _written(self, batch: Batch | None, is_sync_wanted: bool) -> str:
        """Write a batch, and sync; return why it could not be written. For the thread."""
        try:
            trouble = self._journal.write(batch) if batch is not None else ""
        except Exception as error:  # a bug: the rows wait in memory, and the alarm is raised
            log.exception("unexpected error writing the journal")
            return f"journal {self._journal.path} cannot be written: {error!r}"
        if is_sync_wanted and not trouble:
            try:
                self._journal.sync_file()
            except OSError as error:
                log.error("journal %s cannot be synced: %s", self._journal.path, error)
        return trouble

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._limiter)


def _nobody(trouble: str) -> None:
    """Nobody listens yet."""
