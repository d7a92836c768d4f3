"""Which kept versions of one volume stay: so many of a path, for so long, and so much in all (R25)."""

import time
from collections.abc import Mapping

import trio

from csfs.index.index import Index
from csfs.replicate.keeping import KEPT_ROWS_MAX
from csfs.replicate.volume import Root, Volume

KEPT_COUNT_MAX = 10
KEPT_BYTES_MAX = 1024**3
KEPT_AGE_NS_MAX = 30 * 86_400 * 10**9
TRIM_S = 3_600.0


class Retention:
    """Says which versions may go, and has those of a path that had one content share an object."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._added, self._asked_s = -1, 0.0
        """How many versions had been kept when surplus was last looked for, and when that was."""

    def is_due(self) -> bool:
        """Return whether versions were kept since surplus was last looked for, or time alone may have made some."""
        return self._added != self._volume.index.ledger.kept_added or trio.current_time() - self._asked_s > TRIM_S

    def looked(self, added: int) -> None:
        """Surplus was looked for, and dealt with, when so many versions had been kept."""
        self._added, self._asked_s = added, trio.current_time()

    async def surplus(self, bytes_max: int) -> list[bytes]:
        """Return the kept versions that go; whose content is yet to be shown somewhere may be its only copy."""
        before_ns, ledger = time.time_ns() - KEPT_AGE_NS_MAX, self._volume.index.ledger
        found = ledger.surplus(
            count_max=KEPT_COUNT_MAX, bytes_max=bytes_max, before_ns=before_ns, rows_max=KEPT_ROWS_MAX
        )
        losers = ledger.old_losers(before_ns)  # they go by their age alone
        contested = set(self._volume.index.rows.contested()) if losers else set()
        found.update((name, content_hash) for name, path, content_hash in losers if path not in contested)
        awaited = await awaited_contents(self._volume.index) if found else set()
        return [name for name, content_hash in found.items() if content_hash not in awaited]

    async def share(self) -> None:
        """Have one object stand for all versions of a path that had the same content: the last, which stays the longest.

        Raises:
            trio.ClosedResourceError: the volume is not mounted.
        """
        index = self._volume.index
        if later := index.ledger.doubled():
            gone = await self._volume.with_root(_delete_doubled, later)
            with index.transaction():
                for name in gone:
                    index.ledger.drop_object(name)

    async def bytes_max(self) -> int:
        """Return how much kept versions may take now: less on a full disk, if that makes room enough."""
        volume = self._volume
        try:
            shortage = await volume.with_root(_shortage, volume.room_wanted)
        except trio.ClosedResourceError:
            return KEPT_BYTES_MAX
        together = volume.index.ledger.kept_bytes()
        return min(KEPT_BYTES_MAX, together - shortage) if 0 < shortage <= together else KEPT_BYTES_MAX


async def awaited_contents(index: Index) -> set[bytes]:
    """Return the hashes of contents that paths may show: those that are pending, and those with several versions."""
    rows, awaited = index.rows, set[bytes]()
    for path in {*rows.pending(), *rows.contested()}:
        row = rows.row(path)
        if row is not None:
            awaited.update(entry.value.hash for entry in row.record.content.entries)
        await trio.lowlevel.checkpoint()
    return awaited - {b""}


def _shortage(root: Root, size: int) -> int:
    return root.stage.shortage(size)


def _delete_doubled(root: Root, later: Mapping[bytes, bytes]) -> list[bytes]:
    return root.stage.kept.delete_doubled(later)
