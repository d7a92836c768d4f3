"""What the disk shows by the index, for a comparison of the whole tree: read in a thread, over a connection of its own.

Each call reads what is committed by then. No transaction stays open between two, or the index's log could not be begun anew.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apsw
import msgspec

from csfs.core import digests
from csfs.core.digests import Range
from csfs.core.paths import RelPath
from csfs.core.rows import Row
from csfs.core.versions import Scope
from csfs.index.columns import packed_shown
from csfs.index.encoding import decoded_row
from csfs.index.vectors import WrittenVectors

PORTION_MAX = 8_000
CHECKED_MAX = 500
_SAID = "SELECT scope, digest FROM digests"


class Checked(NamedTuple):
    """A portion of rows: where to go on (None: these were the last), those that have changed since they were put, and the others."""

    going_on: RelPath | None
    wrong: list[RelPath]
    right: list[tuple[RelPath, Row]]


class Shown:
    """Packed stamps by path, in the order of the paths' bytes."""

    def __init__(self, path: str) -> None:
        """`path` is the index's file, which exists."""
        self._connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
        self._connection.set_busy_timeout(5_000)
        self._vectors = WrittenVectors(self._connection.execute)

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

    def rows(self, scope: Scope, asked: Range) -> Iterator[tuple[RelPath, Row]]:
        """Yield the rows of a scope in a range, ascending, that are live or show something."""
        condition, values = _in_range(scope, asked)
        query = f"SELECT path, row FROM rows WHERE (live OR stamp IS NOT NULL) AND {condition} ORDER BY path"
        for path, encoded in self._connection.execute(query, values):
            yield path, decoded_row(encoded, self._vectors)

    def digests(self, scope: Scope, asked: Range) -> Iterator[tuple[RelPath, int]]:
        """Yield the live paths of a scope in a range, ascending, and what each adds to the set hash."""
        condition, values = _in_range(scope, asked)
        query = f"SELECT path, digest FROM rows WHERE digest IS NOT NULL AND {condition} ORDER BY path"
        for path, digest in self._connection.execute(query, values):
            yield path, digests.unpacked(digest)

    def count(self, scope: Scope, asked: Range) -> int:
        """Return how many live paths of a scope there are in a range."""
        condition, values = _in_range(scope, asked)
        ((count,),) = self._connection.execute(
            f"SELECT count(*) FROM rows WHERE digest IS NOT NULL AND {condition}", values
        )
        return int(count)

    def miscounted(self) -> dict[Scope, int]:
        """Return by how much the rows' digests differ from the set hashes that the index says, where they do."""
        with self._connection:  # one moment for both
            said = {scope: digests.unpacked(digest) for scope, digest in self._connection.execute(_SAID)}
            counted = dict.fromkeys(said, digests.NOTHING)
            for scope, digest in self._connection.execute("SELECT scope, digest FROM rows WHERE digest IS NOT NULL"):
                counted[scope] = digests.together((counted.get(scope, digests.NOTHING), digests.unpacked(digest)))
        differences = {scope: digests.without(counted[scope], said.get(scope, digests.NOTHING)) for scope in counted}
        return {scope: difference for scope, difference in differences.items() if difference}

    def checked(self, first: RelPath) -> Checked:
        """Return rows from `first` on, and which of them have changed since they were put."""
        query = "SELECT path, scope, digest, live, pending, stamp, row FROM rows WHERE path >= ? ORDER BY path LIMIT ?"
        wrong, right, last, count = list[RelPath](), list[tuple[RelPath, Row]](), first, 0
        for path, *columns, encoded in self._connection.execute(query, (first, CHECKED_MAX)):
            last, count = path, count + 1
            row = self._as_put(path, columns, encoded)
            if row is None:
                wrong.append(path)
            else:
                right.append((path, row))
        return Checked(RelPath(last + b"\0") if count == CHECKED_MAX else None, wrong, right)

    def _as_put(self, path: RelPath, columns: list[object], encoded: bytes) -> Row | None:
        """Return a row if its columns, those that `checked` asks for, say what it says; None if they do not."""
        try:
            row = decoded_row(encoded, self._vectors)
        except (msgspec.MsgspecError, ValueError):
            return None
        counted = digests.digest_of(path, row.record)
        digest = digests.packed(counted) if counted else None
        return row if columns == [row.scope, digest, row.live, row.pending, packed_shown(row)] else None

    def held_among(self, paths: Iterable[RelPath]) -> set[RelPath]:
        """Return those of `paths` that are to stay on this member alone."""
        query = "SELECT path FROM held WHERE path = ?"
        return {path for path in paths if self._connection.execute(query, (path,)).fetchone() is not None}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _in_range(scope: Scope, asked: Range) -> tuple[str, tuple[bytes, ...]]:
    # The root comes first, and is in the range that begins with it.
    condition = "scope = ?1 AND path >= ?2 AND (path > ?2 OR ?2 = x'') AND path <= ?3"
    return condition, (scope, asked.above, asked.last or b"\xff" * 4096)
