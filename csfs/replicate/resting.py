"""Gives memory back once a volume has come to rest: what was held at hand for work that is done is read again if it is wanted."""

from collections.abc import Callable

import trio

from csfs.replicate.volume import Volume
from csfs.store import heap

QUIET_S = 2.0
WORTH_SIZE = 1024 * 1024
"""Less is kept: whoever changes a file now and then has it at hand."""
WORTH_ROWS = 2_000
"""What it took to write so many rows is worth it as well: little of it is at hand, and much with the allocator and SQLite."""


class Resting:
    """Rests for one volume. `has_looked` says whether all that was told is looked at."""

    def __init__(self, volume: Volume, has_looked: Callable[[], bool]) -> None:
        self._volume = volume
        self._has_looked = has_looked

    async def run(self) -> None:
        """Rest after each piece of work, for ever."""
        rested = self._work_done()
        given_back = self._volume.index.change_count
        while True:
            # While memory is given back, more may be written: nobody would wake us for it.
            while self._work_done() == rested:
                await self._volume.written.wait()
            while await self._is_at_work():
                pass
            rested = self._work_done()
            if self._held() >= WORTH_SIZE or self._volume.index.change_count - given_back >= WORTH_ROWS:
                given_back = self._volume.index.change_count
                await self._rest()

    async def _is_at_work(self) -> bool:
        """Return, after a while, whether anything was done in it."""
        before = self._work_done()
        await trio.sleep(QUIET_S)
        return self._work_done() != before

    def _work_done(self) -> tuple[int, int]:
        """Return what changes whenever something is done."""
        return self._volume.index.change_count, self._volume.contents.put_count

    def _may_forget(self) -> bool:
        """Return whether no content at hand is needed: what is not shown yet may be here alone, or be waited for elsewhere."""
        return not self._volume.index.rows.amounts.left.paths

    def _held(self) -> int:
        """Return how many bytes are at hand, about, that may go."""
        volume = self._volume
        return volume.index.cached_size + (volume.contents.size if self._may_forget() else 0)

    async def _rest(self) -> None:
        volume = self._volume
        if self._may_forget():
            volume.contents.clear()
        volume.index.shrink()
        volume.rules.forget_answers()
        volume.happenings.pack()
        if self._has_looked():
            volume.happenings.looked_at_all()
            volume.engine.forget_left()
        await trio.to_thread.run_sync(heap.give_back)
