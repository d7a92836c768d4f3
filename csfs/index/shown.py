"""What the disk shows by the index, for a comparison of the whole tree: read in a thread, over a connection of its own.

Each call reads what is committed by then. No transaction stays open between two, or the index's log could not be begun anew.
"""

from collections.abc import Iterable, Iterator

import apsw

from csfs.core.paths import RelPath

PORTION_MAX = 8_000


class Shown:
    """Packed stamps by path, in the order of the paths' bytes."""

    def __init__(self, path: str) -> None:
        """`path` is the index's file, which exists."""
        self._connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
        self._connection.set_busy_timeout(5_000)

    def portions(self, above: bytes, before: bytes) -> Iterator[dict[RelPath, bytes]]:
        """Yield what is shown at the paths between two, exclusive: packed stamps, `RACY` after those that are racy."""
        query = "SELECT path, stamp FROM rows WHERE path > ? AND path < ? AND stamp IS NOT NULL ORDER BY path LIMIT ?"
        while True:
            portion: dict[RelPath, bytes] = dict(self._connection.execute(query, (above, before, PORTION_MAX)))
            if portion:
                yield portion
            if len(portion) < PORTION_MAX:
                return
            above = next(reversed(portion))

    def held_among(self, paths: Iterable[RelPath]) -> set[RelPath]:
        """Return those of `paths` that are to stay on this member alone."""
        query = "SELECT path FROM held WHERE path = ?"
        return {path for path in paths if self._connection.execute(query, (path,)).fetchone() is not None}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
