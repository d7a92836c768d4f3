"""Contents of small files that merges may need: what a path shows or came from is here before anybody writes over it."""

from typing import Final

from csfs.core.paths import RelPath
from csfs.index.database import Database

TOGETHER_SIZE_MAX: Final = 64 << 20


class Bases:
    """Contents by path and hash, in the same file and the same transactions as the rows; beyond a limit the oldest go."""

    def __init__(self, database: Database, size_max: int = TOGETHER_SIZE_MAX) -> None:
        self._database = database
        self.size_max = size_max
        self._size = self._summed()

    def _summed(self) -> int:
        ((size,),) = self._database.execute("SELECT coalesce(sum(length(data)), 0) FROM bases")
        return int(size)

    @property
    def is_full(self) -> bool:
        """Whether whatever else is held takes the place of something."""
        return self._size >= self.size_max

    def hold(self, path: RelPath, content_hash: bytes, data: bytes) -> None:
        """Hold a content for a path; an empty one is a note that there is nothing to hold."""
        self._size += len(data)
        self._database.write(
            "INSERT OR REPLACE INTO bases (path, hash, data) VALUES (?, ?, ?)", (path, content_hash, data)
        )

    def trim(self) -> None:
        """Let the oldest go that are too many."""
        if self._size <= self.size_max:
            return
        # What was released, replaced or rolled back since was not subtracted.
        self._size = self._summed()
        excess = self._size - self.size_max
        if excess > 0:
            self._database.write(
                "DELETE FROM bases WHERE id IN (SELECT id FROM (SELECT id, "
                "sum(length(data)) OVER (ORDER BY id) - length(data) AS before FROM bases) WHERE before < ?)",
                (excess,),
            )
            self._size = self._summed()

    def held(self, path: RelPath) -> set[bytes]:
        """Return the hashes of what is held for a path."""
        return {found for (found,) in self._database.execute("SELECT hash FROM bases WHERE path = ?", (path,))}

    def release(self, path: RelPath, content_hash: bytes) -> None:
        """Hold a content no longer."""
        self._database.write("DELETE FROM bases WHERE path = ? AND hash = ?", (path, content_hash))

    def content(self, content_hash: bytes) -> bytes | None:
        """Return a content, None if it is not held."""
        query = "SELECT data FROM bases WHERE hash = ? AND length(data) > 0 LIMIT 1"
        found = self._database.execute(query, (content_hash,)).fetchone()
        return found[0] if found else None

    def paths(self, content_hash: bytes) -> list[RelPath]:
        """Return the paths that a content is held for."""
        return [path for (path,) in self._database.execute("SELECT path FROM bases WHERE hash = ?", (content_hash,))]

    def missing(self, after: RelPath, limit: int) -> list[RelPath]:
        """Return paths behind `after`, ascending, that show a regular file which is not held."""
        query = (
            "SELECT path FROM rows WHERE path > ? AND hash IS NOT NULL AND NOT EXISTS "
            "(SELECT 1 FROM bases WHERE bases.path = rows.path AND bases.hash = rows.hash) ORDER BY path LIMIT ?"
        )
        return [path for (path,) in self._database.execute(query, (after, limit))]
