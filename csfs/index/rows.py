"""The engine's memory in SQLite: rows by path, by position and by hash; knowledge; counters.

Rows put in a transaction stay in memory until it ends or a query needs them in the tables, so that a path touched
several times in one batch is written once.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from csfs.core import digests
from csfs.core.paths import RelPath
from csfs.core.rows import Amount, Row, Standing
from csfs.core.tokens import Tokens
from csfs.core.versions import Dot, Hlc, Scope, Vector
from csfs.index import columns
from csfs.index.asked import Asked, below
from csfs.index.columns import says_the_same
from csfs.index.database import Database
from csfs.index.encoding import decoded_row, encoded_row
from csfs.index.facts import Facts
from csfs.index.knowledge import Knowledge
from csfs.index.peers import Peers
from csfs.index.pending import Pending, awaited
from csfs.index.vectors import Vectors

CACHED_ROWS_MAX = 4_096
CACHED_LIVES_MAX = 512_000
"""Of rows with long vectors fewer are at hand: so many incarnations in one vector of each together."""
ROW_SIZE, LIFE_SIZE = 4_096, 72
"""What a row takes in memory, about, and each incarnation in it: the halves have a vector each."""

Columns = tuple[object, ...]

_BELOW = "path > ? AND path < ?"


class Rows:
    """Implements `engine.ports.IndexPort`."""

    def __init__(self, database: Database, facts: Facts, vectors: Vectors) -> None:
        self._database, self._facts, self._vectors = database, facts, vectors
        self._cache: dict[RelPath, Row | None] = {}
        self._revised: Callable[[RelPath, Row], Row] | None = None
        self._dirty: dict[RelPath, Row | None] = {}
        self._same: set[RelPath] = set()
        """Dirty paths of which the table has the record already, but for whether it is counted."""
        self._asked = Asked(database, self._dirty)
        self._knowledge = Knowledge(database)
        self._digests: dict[Scope, int] = {}
        self._dirty_digests: set[Scope] = set()
        self.amounts = Pending(database)
        self._load()
        self._peers = Peers(database)
        database.on_transaction_end(self._flush, self._forget)

    def _load(self) -> None:
        found = self._database.execute("SELECT scope, digest FROM digests")
        self._digests = {scope: digests.unpacked(digest) for scope, digest in found}

    def _flush(self) -> None:
        self._flush_rows()
        changed: list[tuple[object, ...]] = [(s, digests.packed(self._digests[s])) for s in self._dirty_digests]
        self._database.write_many("INSERT OR REPLACE INTO digests VALUES (?, ?)", changed)
        self._dirty_digests.clear()

    def _flush_rows(self) -> None:
        if not self._dirty:
            return
        found = self._asked.columns(self._dirty, columns.NAMES)
        shown, put, dropped = list[Columns](), list[Columns](), list[Columns]()
        for path, row in self._dirty.items():
            before = columns.Before(*found[path]) if path in found else columns.Before()
            now = awaited(row)
            self.amounts.changes(Amount(before.pending, before.awaited), now)
            if row is not None and path in self._same and before.digest is not None:
                shown.append((*columns.shown_columns(row, encoded_row(path, row, self._vectors), now.size), path))
                continue
            if before.digest is not None:
                self._add_digest(before.scope, -digests.unpacked(before.digest))
            if row is None:
                dropped.append((path,))
                continue
            digest = digests.digest_of(path, row.record)
            self._add_digest(row.scope, digest)
            known = columns.known_columns(row, digests.packed(digest) if digest else None)
            put.append((*columns.shown_columns(row, encoded_row(path, row, self._vectors), now.size), path, *known))
        self._database.write_many("DELETE FROM rows WHERE path = ?", dropped)
        self._database.write_many(columns.SHOW, shown)
        self._database.write_many(columns.PUT, put)
        self._dirty.clear()
        self._same.clear()
        self._asked.clear()

    def _add_digest(self, scope: Scope, digest: int) -> None:
        if digest:
            self._digests[scope] = digests.together((self._digests.get(scope, digests.NOTHING), digest))
            self._dirty_digests.add(scope)

    def _forget(self) -> None:
        self._dirty.clear()
        self._same.clear()
        self._asked.clear()
        self._cache.clear()
        self._dirty_digests.clear()
        self._load()
        self.amounts.load()

    # ------------------------------------------------------------------------------------------------ IndexPort: rows

    def row(self, path: RelPath) -> Row | None:
        """Return what is held of `path`."""
        if path in self._cache:
            return self._cache[path]
        found = self._database.execute("SELECT row FROM rows WHERE path = ?", (path,)).fetchone()
        row = None if found is None else self._read(path, found[0])
        self._remember(path, row)
        return row

    def revise(self, revised: Callable[[RelPath, Row], Row] | None) -> None:
        """Have every row read as `revised` makes it of the one that was put, None: as it was put; not in a transaction."""
        self._revised = revised
        self._cache.clear()

    def _read(self, path: RelPath, encoded: bytes) -> Row:
        row = decoded_row(encoded, self._vectors)
        return row if self._revised is None else self._revised(path, row)

    def scopes_from(self, first: RelPath, limit: int) -> list[tuple[RelPath, Scope]]:
        """Return the scopes of rows as they were put, from a path on."""
        return list(self._where("path, scope", "path >= ? ORDER BY path LIMIT ?", first, limit))

    def fetch(self, paths: Iterable[RelPath]) -> None:
        """Have rows at hand that are about to be asked for one by one."""
        wanted = dict.fromkeys(paths)
        missing = [path for path in wanted if path not in self._cache]
        if len(missing) < 2:
            return
        if len(self._cache) + len(missing) > self._cached_max:
            # Else the first of them would be gone before the last is here.
            self._flush_rows()
            self._cache.clear()
            missing = list(wanted)
        found = self._asked.columns(missing, "row")
        for path in missing:
            self._remember(path, self._read(path, found[path][0]) if path in found else None)

    @property
    def cached_size(self) -> int:
        """How many bytes the rows take that are at hand, about."""
        return len(self._cache) * (ROW_SIZE + LIFE_SIZE * self._vectors.longest)

    @property
    def _cached_max(self) -> int:
        return min(CACHED_ROWS_MAX, CACHED_LIVES_MAX // (self._vectors.longest + 1))

    def forget_cached(self) -> None:
        """Have no row at hand; not in a transaction."""
        self._cache.clear()

    def ask_ahead(self, paths: Collection[RelPath], hashes: Iterable[bytes] = (), writes: Iterable[Dot] = ()) -> None:
        """Have answers at hand to what is about to be asked, one by one, of these paths, hashes and writes."""
        self.fetch(paths)
        rows = (self.row(path) for path in paths)
        self._asked.ask_writes((*writes, *(row.write for row in rows if row is not None and row.write is not None)))
        self._asked.ask_hashes(hashes)
        self._asked.ask_below(paths)

    def _remember(self, path: RelPath, row: Row | None) -> None:
        if len(self._cache) >= self._cached_max and path not in self._cache:
            # Dirty rows must stay readable: they leave the cache only once they are in the table.
            self._flush_rows()
            self._cache.clear()
        self._cache[path] = row

    def put(self, path: RelPath, row: Row) -> None:
        """Set what is held of `path`."""
        # What is read in another way than it was put may say the same and not be in the table.
        may_be_same = self._revised is None and (path in self._same or path not in self._dirty)
        is_same = may_be_same and says_the_same(row, self._cache.get(path))
        (self._same.add if is_same else self._same.discard)(path)
        self._remember(path, row)
        self._dirty[path] = row
        self._asked.put(path, row)

    def drop(self, path: RelPath) -> None:
        """Forget `path`."""
        self._remember(path, None)
        self._same.discard(path)
        self._dirty[path] = None
        self._asked.put(path, None)

    def rows_below(self, path: RelPath) -> Iterator[tuple[RelPath, Row]]:
        """Yield all rows strictly below `path`, ascending; read in chunks, so rows may be put meanwhile."""
        lower, upper = below(path)
        while True:
            self._flush_rows()
            chunk = self._database.execute(
                f"SELECT path, row FROM rows WHERE {_BELOW} ORDER BY path LIMIT 500", (lower, upper)
            ).fetchall()
            for found, encoded in chunk:
                yield found, self._read(found, encoded)
            if len(chunk) < 500:
                return
            lower = chunk[-1][0]

    def has_live_below(self, path: RelPath) -> bool:
        """Return whether any row strictly below `path` is live, and of a group of ours."""
        return self._any_below(path, "live")

    def has_shown_below(self, path: RelPath) -> bool:
        """Return whether the disk shows anything strictly below `path` that is of a group of ours."""
        return self._any_below(path, "stamp IS NOT NULL")

    def _any_below(self, path: RelPath, condition: str) -> bool:
        if self._asked.is_leaf(path):
            return False
        if self._asked.is_dirty_below(path):
            self._flush_rows()
        where = f"FROM rows WHERE {_BELOW} AND {condition}"
        if self._revised is None:
            query = f"SELECT 1 {where} AND scope <> x'' LIMIT 1"
            return self._database.execute(query, below(path)).fetchone() is not None
        rows = self._database.execute(f"SELECT path, row {where}", below(path))
        return any(self._read(*found).scope for found in rows)  # as the rules have it now

    def paths_written(self, write: Dot) -> list[RelPath]:
        """Return the paths whose row has this write, ascending."""
        return self._asked.with_write(write)

    def paths_linked(self, inode: int) -> list[RelPath]:
        """Return the paths that show the object of this inode number, by what was seen there last, if it has several names."""
        return [path for (path,) in self._where("path", "inode = ? ORDER BY path", columns.packed_inode(inode))]

    def updated_since(self, position: int, limit: int) -> list[tuple[RelPath, Row]]:
        """Return rows whose greatest position is above `position`, ascending by it."""
        self._flush_rows()
        # The second condition is that of `rows_by_position`: SQLite uses an index of some rows for those that are sure to be in it.
        query = "SELECT path FROM rows WHERE position > ? AND position > 0 ORDER BY position LIMIT ?"
        found = self._database.execute(query, (position, limit)).fetchall()
        # What was put last is mostly in memory still, which saves decoding it.
        rows = ((path, self.row(path)) for (path,) in found)
        return [(path, row) for path, row in rows if row is not None]

    # ------------------------------------------------------------------------------------- IndexPort: numbers and clock

    def position(self) -> int:
        """Return the position handed out last."""
        return self._facts.number("position")

    def next_position(self) -> int:
        """Hand out the next position."""
        return self._facts.increment("position")

    def next_counter(self, scope: Scope) -> int:
        """Return the next counter of our incarnation; one sequence serves all scopes.

        A dot then means one change whatever revision of the rules it was made under: a record may go over into another
        scope as it is, and knowledge of a scope merely skips the counters that others used.
        """
        return self._facts.increment("counter")

    def skip_counters(self, scope: Scope, count: int) -> None:
        """Hand out the next counters at once."""
        self._facts.set_number("counter", self._facts.number("counter") + count)

    def last_counter(self, scope: Scope) -> int:
        """Return the counter of our incarnation that was handed out last."""
        return self._facts.number("counter")

    def knowledge(self, scope: Scope) -> Vector:
        """Return what is known of `scope`."""
        return self._knowledge.of(scope)

    def set_knowledge(self, scope: Scope, knowledge: Vector) -> None:
        """Set what is known of `scope`."""
        self._knowledge.set(scope, knowledge)

    # --------------------------------------------------------------------------------- IndexPort: set hashes and peers

    def digest(self, scope: Scope) -> int:
        """Return the set hash of the records of `scope`."""
        self._flush_rows()
        return self._digests.get(scope, digests.NOTHING)

    def correct_digests(self, differences: Mapping[Scope, int]) -> None:
        """The rows were counted and differ by so much from what is said."""
        for scope, difference in differences.items():
            self._add_digest(scope, difference)

    def put_as_it_is(self, path: RelPath) -> None:
        """Count a row as what it says now; one that says nothing is forgotten, for others to say."""
        try:
            row = self.row(path)
        except (msgspec.MsgspecError, ValueError):
            row = None
        if row is None:
            self.drop(path)
        else:
            self.put(path, row)
            self._same.discard(path)  # its other columns may say something else

    def removed(self, above: RelPath, limit: int) -> list[tuple[RelPath, Row]]:
        """Return rows above a path where nothing is live, shown or pending, ascending."""
        condition = "path > ? AND NOT live AND NOT pending AND stamp IS NULL ORDER BY path LIMIT ?"
        return self._rows_where(condition, above, limit)

    def unsettled(self, limit: int) -> list[tuple[RelPath, Row]]:
        """Return rows that are pending, or show something where nothing is live by itself."""
        pending = self._rows_where("pending LIMIT ?", limit)
        return pending + [
            (path, row) for path in self.living_on(limit - len(pending)) if (row := self.row(path)) is not None
        ]

    def doubtful(self) -> list[RelPath]:
        """Return the paths at which something is to be minted anew."""
        return [path for (path,) in self._where("path", "doubtful")]

    def _rows_where(self, condition: str, *values: object) -> list[tuple[RelPath, Row]]:
        return [(path, self._read(path, encoded)) for path, encoded in self._where("path, row", condition, *values)]

    def _where(self, names: str, condition: str, *values: object) -> Any:
        self._flush_rows()
        return self._database.execute(f"SELECT {names} FROM rows WHERE {condition}", values)

    def standings(self, member: str) -> Mapping[Scope, Standing]:
        """Return how far a member was in each scope when it last said so."""
        return self._peers.standings(member)

    def set_standings(self, member: str, standings: Mapping[Scope, Standing]) -> None:
        """Remember how far a member is."""
        self._peers.set_standings(member, standings)

    def tokens(self, member: str) -> Tokens:
        """Return the tokens of one peer."""
        return self._peers.tokens(member)

    def set_tokens(self, member: str, tokens: Tokens) -> None:
        """Remember the tokens of one peer."""
        self._peers.set_tokens(member, tokens)

    def clock(self) -> Hlc:
        """Return the hybrid logical clock's last reading."""
        return Hlc(self._facts.number("clock"))

    def set_clock(self, clock: Hlc) -> None:
        """Set the hybrid logical clock."""
        self._facts.set_number("clock", clock)

    # ---------------------------------------------------------------------------------------------- for the workers

    def pending(self) -> list[RelPath]:
        """Return every path whose known state is not yet shown."""
        return [path for (path,) in self._where("path", "pending")]

    def contested(self) -> list[RelPath]:
        """Return every path of which one half has several entries: conflicts are among them."""
        return [path for (path,) in self._where("path", "contested")]

    def living_on(self, limit: int) -> list[RelPath]:
        """Return paths that are shown though their own versions say that they are gone: directories with something in them."""
        self._flush_rows()
        # By itself SQLite goes through all that was ever removed.
        query = "SELECT path FROM rows INDEXED BY rows_living_on WHERE stamp IS NOT NULL AND NOT live AND NOT pending LIMIT ?"
        return [path for (path,) in self._database.execute(query, (limit,))]

    def paths_with_hash(self, wanted: bytes) -> list[RelPath]:
        """Return paths where a regular file with this content is shown, at most ten; fewer if some of ten are dirty."""
        return self._asked.with_hash(wanted, 10)

    def shown_paths(self, path: RelPath) -> Iterator[RelPath]:
        """Yield the paths strictly below `path` where the disk shows something, ascending."""
        yield from (found for found, _ in self.shown_stamps(path))

    def shown_stamps(self, path: RelPath) -> Iterator[tuple[RelPath, bytes]]:
        """Yield the paths strictly below `path` where the disk shows something, ascending, with the packed stamps."""
        self._flush_rows()
        query = f"SELECT path, stamp FROM rows WHERE {_BELOW} AND stamp IS NOT NULL ORDER BY path"
        # All at once: rows may be put while one after the other is looked into.
        for found, stamp in self._database.execute(query, below(path)).fetchall():
            yield found, stamp[: columns.STAMP_SIZE]

    def counts(self) -> tuple[int, int]:
        """Return how many paths are live, and how many are pending."""
        return self.live_count(), self.amounts.left.paths

    def live_count(self) -> int:
        """Return how many paths are live."""
        self._flush_rows()
        return int(self._database.execute("SELECT live FROM totals").fetchone()[0])

    def start_incarnation(self) -> None:
        """Begin counting anew: a new incarnation has used no counter."""
        self._facts.set_number("counter", 0)
