"""Looks through the index from time to time: what a bad disk changed says what it has, not what it had, and what was forgotten to be
shown is shown (R13)."""

import logging
import time
from collections.abc import Sequence

import trio

from csfs.core.paths import ROOT, RelPath, shown
from csfs.core.versions import Scope
from csfs.engine.overlooking import NOTHING_OVERLOOKED, is_plainly_shown
from csfs.replicate.volume import Volume

log = logging.getLogger(__name__)

COUNT_S = 86_400.0
CHECKED_S = 0.05
"""Pause after each portion of rows that was checked: there is no hurry."""
JUDGED_MAX = 100
"""Paths that are judged in one step of the loop."""


class Counting:
    """Counts for one volume."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume

    async def run(self) -> None:
        """Count at the start and once a day, for ever."""
        while True:
            await self._count()
            await self._check_rows()
            await trio.sleep(COUNT_S)

    async def _count(self) -> None:
        """Find out whether rows came or went that nobody put or dropped."""
        volume = self._volume
        differences = await trio.to_thread.run_sync(_miscounted, volume)
        if differences:
            log.error(
                "%s: rows of the index were lost or changed; what the other members have is compared", volume.name
            )
            with volume.index.transaction():
                volume.index.rows.correct_digests(differences)
            volume.progress.notify()

    async def _check_rows(self) -> None:
        """Find out whether rows say something else than they did when they were put, or what is known is not shown and nobody waits."""
        volume = self._volume
        going_on: RelPath | None = ROOT
        while going_on is not None:
            going_on, wrong, doubtful = await trio.to_thread.run_sync(_checked, volume, going_on)
            for path in wrong:
                log.error("%s: the index does not say any more what it said of /%s", volume.name, shown(path))
            if wrong:
                with volume.index.transaction():
                    for path in wrong:
                        volume.index.rows.put_as_it_is(path)
                volume.apply_soon(path for path in wrong if volume.is_pending(path))
                volume.progress.notify()
            paths = [*wrong, *doubtful]
            for number in range(0, len(paths), JUDGED_MAX):
                await self._take_up(paths[number : number + JUDGED_MAX])
            await trio.sleep(CHECKED_S)

    async def _take_up(self, paths: Sequence[RelPath]) -> None:
        """Have those planned anew that show something else than is known, though nothing is pending there (R13)."""
        volume = self._volume
        # Until then directories are not planned yet that have lost what is below them.
        await volume.progress.wait_until(lambda: volume.is_sorted)
        begun = time.monotonic()
        with volume.index.transaction():
            found = volume.engine.take_up(paths)
        if found != NOTHING_OVERLOOKED:
            volume.memory.overlooked(found.differing)
            for path in found.apart:
                log.info("%s: /%s is to be another name of a file, and shows one of its own", volume.name, shown(path))
            volume.apply_soon((*found.differing, *found.apart))
            volume.progress.notify()
        await trio.sleep(9 * (time.monotonic() - begun))


def _miscounted(volume: Volume) -> dict[Scope, int]:
    with volume.index.shown() as found:
        return found.miscounted()


def _checked(volume: Volume, first: RelPath) -> tuple[RelPath | None, list[RelPath], list[RelPath]]:
    """Return where to go on, rows that have changed since they were put, and those that a glance does not clear."""
    with volume.index.shown() as found:
        begun = time.monotonic()
        going_on, wrong, right = found.checked(first)
        doubtful = [path for path, row in right if not is_plainly_shown(row)]
    # A thread that decodes keeps the loop waiting now and then: it takes a tenth of the time at most.
    time.sleep(9 * (time.monotonic() - begun))
    return going_on, wrong, doubtful
