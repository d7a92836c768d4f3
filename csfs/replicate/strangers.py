"""Gives rights by ACLs to those whom this host did not know when they were to be given, once it knows them."""

import trio

from csfs.core.paths import RelPath
from csfs.replicate.volume import Volume
from csfs.store.naming import known

CHECK_S = 5.0

Together = tuple[str, ...]


class Strangers:
    """Watches for one volume."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._rounds: dict[Together, int] = {}
        """By those that are left out together, for how many rounds one of them has been known."""

    async def run(self) -> None:
        """Look every few seconds whether somebody who is left out is known by now, for ever."""
        while True:
            await trio.sleep(CHECK_S)
            found = self._volume.index.strangers.all()
            if found or self._rounds:
                self._take_up(await trio.to_thread.run_sync(self._known, found))

    def _known(self, found: list[tuple[Together, RelPath]]) -> list[Together]:
        """Return those of which one is known; for a thread, because a directory service may have to be asked."""
        return [together for together, path in found if known(together, self._volume.treated(path).owners)]

    def _take_up(self, together: list[Together]) -> None:
        """Have the paths planned anew.

        Where that does not help, another name has the same number here, or a thread believed what it had heard: it is tried again
        less and less often.
        """
        volume = self._volume
        self._rounds = {one: self._rounds.get(one, 0) + 1 for one in together}
        for one, rounds in self._rounds.items():
            if rounds & (rounds - 1) == 0:
                paths = volume.index.strangers.paths_of(one)
                volume.shortcomings.undressed.update(paths)
                volume.apply_soon(paths)
