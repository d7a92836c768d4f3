"""Drops tombstones that nobody needs any more, a few at a time (R12)."""

import trio

from csfs.core.paths import ROOT, RelPath
from csfs.core.versions import Scope, Vector
from csfs.replicate.volume import Volume

FORGET_S = 5.0
FORGOTTEN_MAX = 500
"""Tombstones looked at between two transactions."""


class Forgetting:
    """Forgets for one volume."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._settled: dict[Scope, Vector] = {}
        """What all had settled when tombstones were looked at last: while it is the same, there is nothing to do."""

    async def run(self) -> None:
        """Forget what can be forgotten, for ever."""
        while True:
            await self._volume.memory.said.wait()
            await trio.sleep(FORGET_S)
            await self._forget()

    async def _forget(self) -> None:
        volume = self._volume
        going_on: RelPath | None = ROOT
        while going_on is not None and volume.is_sorted:
            with volume.index.transaction():
                settled = volume.engine.settled_everywhere()
                if going_on == ROOT:
                    if settled == self._settled:
                        return
                    self._settled = settled
                _, going_on = volume.engine.forget(settled, going_on, FORGOTTEN_MAX)
            await trio.lowlevel.checkpoint()
