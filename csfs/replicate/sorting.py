"""Writes rows as the rules have them now, a slice at a time, after these have changed."""

import time

import trio

from csfs.core.paths import ROOT, RelPath
from csfs.replicate.revising import go_on
from csfs.replicate.volume import Volume


class Sorting:
    """Sorts for one volume."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume

    async def run(self) -> None:
        """Sort whenever rules have changed, for ever."""
        volume = self._volume
        while True:
            await volume.progress.wait_until(lambda: not volume.is_sorted)
            await self._sort()
            volume.apply_soon(volume.index.rows.pending())
            volume.memory.said.notify()
            volume.ready.notify()
            volume.progress.notify()

    async def _sort(self) -> None:
        volume, engine = self._volume, self._volume.engine
        first: RelPath | None = ROOT
        while first is not None:
            begun = time.monotonic()
            first = go_on(volume.index, engine, first)
            # Half the time is everybody else's.
            await trio.sleep(time.monotonic() - begun)
            if volume.engine is not engine:
                engine, first = volume.engine, ROOT  # the rules have changed once more
