"""Counts the set hashes anew from time to time: an index that a bad disk changed says what it has, not what it had (R13)."""

import logging
import time

import trio

from csfs.core.paths import RelPath, shown
from csfs.core.versions import Scope
from csfs.replicate.volume import Volume

log = logging.getLogger(__name__)

COUNT_S = 86_400.0
CHECKED_S = 0.05
"""Pause after each portion of rows that was checked: there is no hurry."""


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
        """Find out whether rows say something else than they did when they were put."""
        volume = self._volume
        above: RelPath | None = RelPath(b"")
        while above is not None:
            above, wrong = await trio.to_thread.run_sync(_wrong_rows, volume, above)
            for path in wrong:
                log.error("%s: the index does not say any more what it said of /%s", volume.name, shown(path))
            if wrong:
                with volume.index.transaction():
                    for path in wrong:
                        volume.index.rows.put_as_it_is(path)
                volume.progress.notify()
            await trio.sleep(CHECKED_S)


def _miscounted(volume: Volume) -> dict[Scope, int]:
    with volume.index.shown() as found:
        return found.miscounted()


def _wrong_rows(volume: Volume, above: RelPath) -> tuple[RelPath | None, list[RelPath]]:
    with volume.index.shown() as found:
        begun = time.monotonic()
        going_on, wrong = found.wrong_rows(above)
    # A thread that decodes keeps the loop waiting now and then: it takes a tenth of the time at most.
    time.sleep(9 * (time.monotonic() - begun))
    return going_on, wrong
