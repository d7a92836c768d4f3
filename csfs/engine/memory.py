"""An index in memory, with transactions: for tests and the simulator."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from csfs.core import digests
from csfs.core.paths import RelPath
from csfs.core.rows import MADE, linked_inode
from csfs.core.tokens import NO_TOKENS, Tokens
from csfs.core.versions import Dot, Hlc, Scope, Vector
from csfs.engine.ports import Row, Standing

T = TypeVar("T")

AFTER_SLASH = b"0"
"""The character after `/`: where what lies in a directory ends, in the order of paths."""


class MemoryIndex:
    """Implements `IndexPort`. What was not committed is gone after `rollback`, as after a crash."""

    def __init__(self) -> None:
        self._rows: dict[RelPath, Row] = {}
        self._paths: list[RelPath] = []
        """The paths of all rows, ascending."""
        self._pending: set[RelPath] = set()
        self._order: dict[int, RelPath] = {}
        self._positions: list[int] = []
        self._position = 0
        self._counter = 0
        self._knowledge: dict[Scope, Vector] = {}
        self._digests: dict[Scope, int] = {}
        self._standings: dict[str, Mapping[Scope, Standing]] = {}
        self._tokens: dict[str, Tokens] = {}
        self._clock = Hlc(0)
        self._undo: list[Callable[[], None]] = []
        self._revised: Callable[[RelPath, Row], Row] | None = None

    def commit(self) -> None:
        """Make everything up to here durable."""
        self._undo.clear()

    def rollback(self) -> None:
        """Take back everything since the last commit."""
        while self._undo:
            self._undo.pop()()

    def start_incarnation(self) -> None:
        """Count from the beginning: a new incarnation has used no counter."""
        self._set_counter(0)

    def _set_counter(self, counter: int) -> None:
        before = self._counter
        self._undo.append(lambda: setattr(self, "_counter", before))
        self._counter = counter

    def pending(self) -> list[RelPath]:
        """Return every path whose known state is not yet shown, ascending."""
        return sorted(self._pending)

    def rows(self) -> dict[RelPath, Row]:
        """Return all rows."""
        return {path: self._read(path, row) for path, row in self._rows.items()}

    def revise(self, revised: Callable[[RelPath, Row], Row] | None) -> None:
        """Have every row read as `revised` makes it of the one that was put."""
        self._revised = revised

    def _read(self, path: RelPath, row: Row) -> Row:
        return row if self._revised is None else self._revised(path, row)

    def scopes_from(self, first: RelPath, limit: int) -> list[tuple[RelPath, Scope]]:
        """Return the scopes of rows as they were put, from a path on."""
        paths = self._paths[bisect_left(self._paths, first) :][:limit]
        return [(path, self._rows[path].scope) for path in paths]

    def row(self, path: RelPath) -> Row | None:
        """Return what is held of `path`."""
        row = self._rows.get(path)
        return None if row is None else self._read(path, row)

    def put(self, path: RelPath, row: Row) -> None:
        """Set what is held of `path`."""
        before = self._rows.get(path)
        self._undo.append(lambda: self._set(path, before))
        self._set(path, row)

    def drop(self, path: RelPath) -> None:
        """Forget `path`."""
        before = self._rows.get(path)
        self._undo.append(lambda: self._set(path, before))
        self._set(path, None)

    def _set(self, path: RelPath, row: Row | None) -> None:
        old = self._rows.pop(path, None)
        if old is not None:
            self._order.pop(position_of(old), None)
            self._add(old.scope, -digests.digest_of(path, old.record))
            if row is None:
                del self._paths[bisect_left(self._paths, path)]
        elif row is not None:
            insort(self._paths, path)
        self._pending.discard(path)
        if row is None:
            return
        self._rows[path] = row
        self._add(row.scope, digests.digest_of(path, row.record))
        if row.pending:
            self._pending.add(path)
        position = position_of(row)
        if position:
            self._order[position] = path
            if not self._positions or position > self._positions[-1]:
                self._positions.append(position)

    def _add(self, scope: Scope, digest: int) -> None:
        self._digests[scope] = digests.together((self._digests.get(scope, digests.NOTHING), digest))

    def digest(self, scope: Scope) -> int:
        """Return the set hash of the records of `scope`."""
        return self._digests.get(scope, digests.NOTHING)

    def removed(self, above: RelPath, limit: int) -> list[tuple[RelPath, Row]]:
        """Return rows above a path where nothing is live, shown or pending."""
        return [
            (path, self._read(path, row))
            for path, row in sorted(self._rows.items())
            if path > above and not (row.live or row.pending or row.applied.observation is not None)
        ][:limit]

    def unsettled(self, limit: int) -> list[tuple[RelPath, Row]]:
        """Return rows that are pending, or show something where nothing is live by itself."""
        return [
            (path, self._read(path, row))
            for path, row in self._rows.items()
            if row.pending or (not row.live and row.applied.observation is not None)
        ][:limit]

    def doubtful(self) -> list[RelPath]:
        """Return the paths at which something is to be minted anew."""
        return sorted(path for path, row in self._rows.items() if row.doubt & MADE)

    def standings(self, member: str) -> Mapping[Scope, Standing]:
        """Return how far a member was when it last said so."""
        return self._standings.get(member, {})

    def set_standings(self, member: str, standings: Mapping[Scope, Standing]) -> None:
        """Remember how far a member is."""
        self._remember(self._standings, member, standings)

    def tokens(self, member: str) -> Tokens:
        """Return the tokens of one peer."""
        return self._tokens.get(member, NO_TOKENS)

    def set_tokens(self, member: str, tokens: Tokens) -> None:
        """Remember the tokens of one peer."""
        self._remember(self._tokens, member, tokens)

    def _remember(self, values: dict[str, T], key: str, value: T) -> None:
        before = values.get(key)

        def undo() -> None:
            values.pop(key)
            if before is not None:
                values[key] = before

        self._undo.append(undo)
        values[key] = value

    def rows_below(self, path: RelPath) -> Iterator[tuple[RelPath, Row]]:
        """Yield all rows strictly below `path`, ascending."""
        for found in self._below(path):
            if found in self._rows:
                yield found, self._read(found, self._rows[found])

    def _below(self, path: RelPath) -> list[RelPath]:
        """Return the paths of rows strictly below `path`, which lie side by side."""
        if not path:
            return self._paths[bisect_right(self._paths, path) :]
        first = bisect_left(self._paths, path + b"/")
        return self._paths[first : bisect_left(self._paths, path + AFTER_SLASH, lo=first)]

    def has_live_below(self, path: RelPath) -> bool:
        """Return whether any row strictly below `path` is live, and of a group of ours."""
        return any(row.live and self._read(found, row).scope for found, row in self._rows_below(path))

    def has_shown_below(self, path: RelPath) -> bool:
        """Return whether the disk shows anything strictly below `path` that is of a group of ours."""
        rows = self._rows_below(path)
        return any(row.applied.observation is not None and self._read(found, row).scope for found, row in rows)

    def _rows_below(self, path: RelPath) -> Iterator[tuple[RelPath, Row]]:
        return ((found, self._rows[found]) for found in self._below(path))

    def paths_written(self, write: Dot) -> list[RelPath]:
        """Return the paths whose row has this write, ascending."""
        return sorted(path for path, row in self._rows.items() if row.write == write)

    def paths_linked(self, inode: int) -> list[RelPath]:
        """Return the paths that show the object of this inode number, if it has several names."""
        return sorted(path for path, row in self._rows.items() if linked_inode(row) == inode)

    def updated_since(self, position: int, limit: int) -> list[tuple[RelPath, Row]]:
        """Return rows whose greatest position is above `position`, ascending by it, at most `limit`."""
        found: list[tuple[RelPath, Row]] = []
        for one in self._positions[bisect_right(self._positions, position) :]:
            path = self._order.get(one)
            if path is not None:
                found.append((path, self._read(path, self._rows[path])))
                if len(found) == limit:
                    break
        return found

    def position(self) -> int:
        """Return the position handed out last."""
        return self._position

    def next_position(self) -> int:
        """Hand out the next position."""
        before = self._position
        self._undo.append(lambda: self._set_position(before))
        self._position += 1
        return self._position

    def _set_position(self, position: int) -> None:
        self._position = position
        while self._positions and self._positions[-1] > position:
            self._positions.pop()

    def next_counter(self, scope: Scope) -> int:
        """Return the next counter of our incarnation; one sequence serves all scopes, as in the index on disk."""
        self._set_counter(self._counter + 1)
        return self._counter

    def skip_counters(self, scope: Scope, count: int) -> None:
        """Hand out the next counters at once."""
        self._set_counter(self._counter + count)

    def last_counter(self, scope: Scope) -> int:
        """Return the counter handed out last."""
        return self._counter

    def knowledge(self, scope: Scope) -> Vector:
        """Return what is known of `scope`."""
        return self._knowledge.get(scope, {})

    def set_knowledge(self, scope: Scope, knowledge: Vector) -> None:
        """Set what is known of `scope`."""
        before = self._knowledge.get(scope, {})
        self._undo.append(lambda: self._knowledge.__setitem__(scope, before))
        self._knowledge[scope] = knowledge

    def clock(self) -> Hlc:
        """Return the hybrid logical clock's last reading."""
        return self._clock

    def set_clock(self, clock: Hlc) -> None:
        """Set the hybrid logical clock."""
        before = self._clock
        self._undo.append(lambda: setattr(self, "_clock", before))
        self._clock = clock


def position_of(row: Row) -> int:
    """Return the greatest of the row's positions."""
    return max(row.content_position, row.meta_position, row.time_position)
