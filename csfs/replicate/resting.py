"""Gives memory back once a volume has come to rest: what was held at hand for work that is done is read again if it is wanted."""

import trio

from csfs.replicate.volume import Volume
from csfs.store import heap

QUIET_S = 2.0
WORTH_SIZE = 1024 * 1024
"""Less is kept: whoever changes a file now and then has it at hand."""


class Resting:
    """Rests for one volume."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume

    async def run(self) -> None:
        """Rest after each piece of work, for ever."""
        rested = self._work_done()
        while True:
            # While memory is given back, more may be written: nobody would wake us for it.
            while self._work_done() == rested:
                await self._volume.written.wait()
            while await self._is_at_work():
                pass
            rested = self._work_done()
            await self._rest()

    async def _is_at_work(self) -> bool:
        """Return, after a while, whether anything was done in it."""
        before = self._work_done()
        await trio.sleep(QUIET_S)
        return self._work_done() != before

    def _work_done(self) -> tuple[int, int]:
        """Return what changes whenever something is done."""
        return self._volume.index.change_count, self._volume.contents.put_count

    async def _rest(self) -> None:
        volume = self._volume
        # What arrived and is not shown yet may be here alone, or a program elsewhere waits for it to be here.
        is_done = not volume.index.rows.amounts.left.paths
        held = volume.index.rows.cached_size + (volume.contents.size if is_done else 0)
        if held < WORTH_SIZE:
            return
        if is_done:
            volume.contents.clear()
        volume.index.shrink()
        volume.rules.forget_answers()
        await trio.to_thread.run_sync(heap.give_back)
