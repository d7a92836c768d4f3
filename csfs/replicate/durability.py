"""Makes what a volume's member has received survive a power cut: one sync for all who ask meanwhile."""

import trio

from csfs.replicate.volume import Root, Volume


class Durability:
    """Of one volume: what is staged, committed and kept, and the index."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._turn = trio.Lock()
        self._asked = self._reached = 0

    async def reach(self) -> None:
        """Return when everything so far is durable.

        Raises:
            trio.ClosedResourceError: the volume is not mounted (any more).
            OSError: a disk refuses.
        """
        self._asked += 1
        ticket = self._asked
        async with self._turn:
            if self._reached < ticket:
                covered = self._asked
                await self._volume.with_root(_sync)
                await trio.to_thread.run_sync(self._volume.index.sync)
                self._reached = covered


def _sync(root: Root) -> None:
    root.stage.sync()
