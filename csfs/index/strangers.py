"""Who is named in ACLs and is not known to this host: there the rights are left out until he is (R4)."""

from csfs.core.acls import strangers, unshown
from csfs.core.paths import RelPath
from csfs.core.rows import Row
from csfs.index.database import Database

_BETWEEN = "\0"
"""Between the words for two: no name has it."""


def strangers_of(row: Row) -> str | None:
    """Return the column for a row: whom ACLs that are shown at the path leave out, None for nobody."""
    shown, wanted = row.applied.observation, row.applied.meta
    if wanted is None or shown is None or not wanted.xattrs:
        return None
    return _BETWEEN.join(strangers(unshown(shown.xattrs, wanted.xattrs))) or None


class Strangers:
    """Asks the table of rows, as it was when something was last stored."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[tuple[tuple[str, ...], RelPath]]:
        """Return those that are left out together, such as `user bob`, and the first of the paths where they are."""
        query = "SELECT strangers, min(path) FROM rows WHERE strangers IS NOT NULL GROUP BY strangers"
        return [(tuple(words.split(_BETWEEN)), RelPath(path)) for words, path in self._database.execute(query)]

    def paths_of(self, together: tuple[str, ...]) -> list[RelPath]:
        """Return the paths where just these are left out."""
        query = "SELECT path FROM rows WHERE strangers IS NOT NULL AND strangers = ?"
        return [RelPath(path) for (path,) in self._database.execute(query, (_BETWEEN.join(together),))]

    def by_path(self, limit: int) -> list[tuple[RelPath, tuple[str, ...]]]:
        """Return paths where somebody is left out, and whom; at most `limit`."""
        query = "SELECT path, strangers FROM rows WHERE strangers IS NOT NULL LIMIT ?"
        return [
            (RelPath(path), tuple(words.split(_BETWEEN))) for path, words in self._database.execute(query, (limit,))
        ]
