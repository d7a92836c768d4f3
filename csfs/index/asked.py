"""Which paths have a hash, or a write, or others below them: asked for many at once, before that is asked of one after the other.

What the table says holds until something is written to it. Rows that wait to be written are looked at as they are: to have each
written by itself, because somebody asks, would cost more than all that is asked.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Any

from csfs.core.objects import Kind
from csfs.core.paths import ROOT, RelPath, parent_of
from csfs.core.rows import Row
from csfs.core.versions import Dot
from csfs.index.database import Database

packed_dot = struct.Struct(">QQ").pack


class Asked:
    """Answers by hash, by write and by what is above. `dirty` are the rows that are not in the table yet; it stays the caller's."""

    def __init__(self, database: Database, dirty: Mapping[RelPath, Row | None]) -> None:
        self._database = database
        self._dirty = dirty
        self._dirty_hashes: dict[bytes, list[RelPath]] = {}
        """Dirty paths that showed a file of that hash when they were put."""
        self._dirty_writes: dict[Dot, list[RelPath]] = {}
        """Dirty paths that had that write when they were put."""
        self._unheld: set[bytes] = set()
        """Hashes that no row in the table has."""
        self._held_once: dict[bytes, RelPath] = {}
        """Hashes that one row in the table has, and its path."""
        self._written: dict[bytes, list[RelPath]] = {}
        """By write, packed, the paths in the table that have it."""
        self._dirty_above: set[RelPath] = set()
        """Directories that have dirty paths below them."""
        self._leaves: set[RelPath] = set()
        """Paths that no row in the table is below."""

    def put(self, path: RelPath, row: Row | None) -> None:
        """A row is dirty."""
        above = path
        while above and (above := parent_of(above)) not in self._dirty_above:
            self._dirty_above.add(above)
        if row is None:
            return
        shown = file_hash(row)
        if shown is not None:
            self._dirty_hashes.setdefault(shown, []).append(path)
        if row.write is not None:
            self._dirty_writes.setdefault(row.write, []).append(path)

    def clear(self) -> None:
        """What was dirty is in the table, or forgotten."""
        self._dirty_hashes.clear()
        self._dirty_writes.clear()
        self._dirty_above.clear()
        self._unheld.clear()
        self._held_once.clear()
        self._written.clear()
        self._leaves.clear()

    def columns(self, paths: Iterable[RelPath], names: str) -> dict[RelPath, tuple[Any, ...]]:
        """Return these columns of the paths that have a row in the table."""
        query = f"SELECT path, {names} FROM rows WHERE path IN KEYS"
        return {found[0]: found[1:] for found in self._database.read_of(query, paths)}

    def ask_hashes(self, hashes: Iterable[bytes]) -> None:
        """Find out which of these some file shows, and which are shown once."""
        wanted = set(hashes)
        if len(wanted) > 1:
            # Of an empty file there may be a hundred thousand: the first and the last are enough to know.
            ends = (
                f"(SELECT path FROM rows WHERE hash = column1 ORDER BY path {order} LIMIT 1)"
                for order in ("ASC", "DESC")
            )
            query = f"SELECT column1, {', '.join(ends)} FROM KEYS"
            found = self._database.read_of(query, wanted)
            self._unheld = {one for one, first, _ in found if first is None}
            self._held_once = {one: first for one, first, last in found if first is not None and first == last}

    def ask_writes(self, writes: Iterable[Dot]) -> None:
        """Find out which paths have these writes."""
        wanted = {packed_dot(*write) for write in writes}
        if len(wanted) > 1:
            self._written = {write: [] for write in wanted}
            for write, path in self._database.read_of("SELECT write, path FROM rows WHERE write IN KEYS", wanted):
                self._written[write].append(path)

    def ask_below(self, paths: Iterable[RelPath]) -> None:
        """Find out which of these have anything below them."""
        wanted = set(paths)
        wanted.discard(ROOT)
        if len(wanted) > 1:
            bounds = "path > CAST(column1 || '/' AS BLOB) AND path < CAST(column1 || '0' AS BLOB)"
            query = f"SELECT column1 FROM KEYS WHERE EXISTS (SELECT 1 FROM rows WHERE {bounds})"
            self._leaves = wanted.difference(found for (found,) in self._database.read_of(query, wanted))

    def is_leaf(self, path: RelPath) -> bool:
        """Return whether nothing is below a path, if that was found out."""
        return path in self._leaves and path not in self._dirty_above

    def is_dirty_below(self, path: RelPath) -> bool:
        """Return whether the table does not say yet what is below a path."""
        return path in self._dirty_above

    def with_hash(self, wanted: bytes, count_max: int) -> list[RelPath]:
        """Return paths that show a file with this hash; fewer than there are if some of the first are dirty."""
        stored: list[RelPath] = []
        if wanted in self._held_once:
            stored = [path for path in (self._held_once[wanted],) if path not in self._dirty]
        elif wanted not in self._unheld:
            found = self._database.execute("SELECT path FROM rows WHERE hash = ? LIMIT ?", (wanted, count_max))
            stored = [path for (path,) in found if path not in self._dirty]
        for path in dict.fromkeys(self._dirty_hashes.get(wanted, ())):
            row = self._dirty[path]
            if row is not None and file_hash(row) == wanted:
                stored.append(path)
        return stored[:count_max]

    def with_write(self, write: Dot) -> list[RelPath]:
        """Return the paths whose row has this write, ascending."""
        packed = packed_dot(*write)
        stored = self._written.get(packed)
        if stored is None:
            found = self._database.execute("SELECT path FROM rows WHERE write = ?", (packed,))
            stored = [path for (path,) in found]
        paths = {path for path in stored if path not in self._dirty}
        for path in self._dirty_writes.get(write, ()):
            row = self._dirty[path]
            if row is not None and row.write == write:
                paths.add(path)
        return sorted(paths)


def file_hash(row: Row) -> bytes | None:
    """Return the root hash of the regular file that is shown, None if something else is."""
    shown = row.applied.observation
    return shown.hash if shown is not None and shown.kind is Kind.FILE else None


def below(path: RelPath) -> tuple[bytes, bytes]:
    """Return the exclusive bounds of all paths strictly below `path`."""
    return (path + b"/", path + b"0") if path else (b"", b"\xff" * 256)
