"""Losses that wait until a person lets them through: the brake's memory in the index file."""

from typing import NamedTuple

from csfs.core.paths import RelPath
from csfs.core.rows import Loss, Waiting
from csfs.core.versions import Dot, Incarnation
from csfs.index.asked import below
from csfs.index.database import Database

_STILL = "FROM braked JOIN rows USING (path) WHERE pending AND NOT approved"
"""Whatever superseded a loss has left a row that is not pending, or is planned anew and dropped."""


class Braked(NamedTuple):
    """What of one member's changes waits, and since when the oldest of it does."""

    member: str
    removed: int
    replaced: int
    since_ns: int


class BrakedPaths:
    """Implements `engine.brake.WaitingPort`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        ((self._any,),) = database.execute("SELECT EXISTS (SELECT 1 FROM braked)")
        # Rolled back or not, to look once more than needed does no harm.

    def at(self, path: RelPath) -> Waiting | None:
        """Return what waits at a path."""
        if not self._any:
            return None
        columns = "member, removed, incarnation, counter, since_ns, approved"
        found = self._database.execute(f"SELECT {columns} FROM braked WHERE path = ?", (path,)).fetchone()
        if found is None:
            return None
        member, removed, incarnation, counter, since_ns, approved = found
        return Waiting(
            path, Loss(member, bool(removed), Dot(Incarnation(incarnation), counter)), since_ns, bool(approved)
        )

    def put(self, waiting: Waiting) -> None:
        """Remember a loss that waits."""
        self._any = True
        loss = waiting.loss
        self._database.write(
            "INSERT OR REPLACE INTO braked VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                waiting.path,
                loss.member,
                loss.removed,
                loss.dot.incarnation,
                loss.dot.counter,
                waiting.since_ns,
                waiting.approved,
            ),
        )

    def drop(self, path: RelPath) -> None:
        """Nothing waits at a path any more."""
        if self._any:
            self._database.write("DELETE FROM braked WHERE path = ?", (path,))

    def is_braked(self, member: str) -> bool:
        """Return whether a loss by `member` waits that nobody has let through."""
        if not self._any:
            return False
        query = f"SELECT 1 {_STILL} AND member = ? LIMIT 1"
        return self._database.execute(query, (member,)).fetchone() is not None

    def summary(self) -> list[Braked]:
        """Return what waits, by member."""
        if not self._any:
            return []
        query = f"SELECT member, sum(removed), sum(NOT removed), min(since_ns) {_STILL} GROUP BY member ORDER BY member"
        return [Braked(*found) for found in self._database.execute(query)]

    def below(self, directory: RelPath) -> list[Waiting]:
        """Return what waits at and below a directory, ascending by path."""
        lower, upper = below(directory)
        query = f"SELECT path {_STILL} AND (path = ? OR (path > ? AND path < ?)) ORDER BY path"
        paths = [RelPath(path) for (path,) in self._database.execute(query, (directory, lower, upper))]
        return [waiting for path in paths if (waiting := self.at(path)) is not None]

    def approve(self, waiting: Waiting) -> None:
        """A person has let this through."""
        self._database.write("UPDATE braked SET approved = 1 WHERE path = ?", (waiting.path,))
