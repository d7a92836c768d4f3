"""Paths for which commands of the configuration are still to be run: what was noted with a change survives a kill with it."""

import itertools
from collections.abc import Collection, Iterable
from typing import NamedTuple

from csfs.core.paths import RelPath
from csfs.index.database import Database


class Batch(NamedTuple):
    """Paths, ascending, for which a command is run in one go; `number` is the latest of what it has noted of them."""

    number: int
    paths: list[RelPath]


class DuePaths:
    """A table in the index file, by action: eight bytes that name a command and what it is for. Changed in transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        (latest,) = database.execute("SELECT max(number) FROM due WHERE number > 0").fetchone()
        self._numbers = itertools.count((latest or 0) + 1)
        """Never the same twice as long as somebody may still say how far he has come."""

    def add(self, action: bytes, path: RelPath) -> None:
        """An action is to be run for a path, once more if it is being run for it."""
        query = "INSERT OR REPLACE INTO due VALUES (?, ?, ?, 0)"
        self._database.write(query, (action, path, next(self._numbers)))

    def actions(self) -> set[bytes]:
        """Return what is to be run."""
        return {action for (action,) in self._database.execute("SELECT DISTINCT action FROM due WHERE number > 0")}

    def begin(self, action: bytes) -> Batch:
        """Return what an action is to be run for, and count that it was begun."""
        found = self._database.execute(
            "SELECT path, number FROM due WHERE action = ? AND number > 0 ORDER BY path", (action,)
        ).fetchall()
        number = max((number for _, number in found), default=0)
        self._database.write("UPDATE due SET begun = begun + 1 WHERE action = ? AND number > 0", (action,))
        return Batch(number, [RelPath(path) for path, _ in found])

    def give_up(self, action: bytes, begun_max: int, *, remembered: bool) -> list[RelPath]:
        """Do as if an action that was begun so often and never ended were `done`; return the paths."""
        condition = "action = ? AND number > 0 AND begun >= ?"
        found = self._database.execute(f"SELECT path FROM due WHERE {condition}", (action, begun_max)).fetchall()
        if found:
            self._database.write(f"{_ending(remembered)} WHERE {condition}", (action, begun_max))
        return [RelPath(path) for (path,) in found]

    def done(self, action: bytes, number: int, *, remembered: bool) -> None:
        """An action was run for what had been noted up to that number; `remembered`: for these paths it never is again."""
        self._database.write(f"{_ending(remembered)} WHERE action = ? AND number BETWEEN 1 AND ?", (action, number))

    def known(self, action: bytes) -> set[RelPath]:
        """Return the paths that an action was run for and remembers, or is to be run for."""
        found = self._database.execute("SELECT path FROM due WHERE action = ?", (action,))
        return {RelPath(path) for (path,) in found}

    def forget(self, action: bytes, paths: Iterable[RelPath]) -> None:
        """Forget paths, whatever was or is to be."""
        rows: list[tuple[object, ...]] = [(action, path) for path in paths]
        self._database.write_many("DELETE FROM due WHERE action = ? AND path = ?", rows)

    def keep(self, actions: Collection[bytes]) -> None:
        """Forget all other actions."""
        known = {action for (action,) in self._database.execute("SELECT DISTINCT action FROM due")}
        rows: list[tuple[object, ...]] = [(action,) for action in known.difference(actions)]
        self._database.write_many("DELETE FROM due WHERE action = ?", rows)


def _ending(remembered: bool) -> str:
    return "UPDATE due SET number = 0" if remembered else "DELETE FROM due"
