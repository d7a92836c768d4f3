"""What the engine needs of an index, and the values it exchanges with the workers around it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import msgspec

from csfs.core.moves import WholeMove
from csfs.core.paths import RelPath
from csfs.core.records import Record
from csfs.core.rows import Plan as Plan
from csfs.core.rows import Row as Row
from csfs.core.rows import Standing as Standing
from csfs.core.rows import Step as Step
from csfs.core.tokens import Tokens
from csfs.core.versions import Dot, Hlc, Incarnation, Scope, Vector
from csfs.wire.messages import Update


class Connected(msgspec.Struct):
    """A peer's `incarnation`, and in which scopes its marks count for nothing, as something was refused (R10), or are still to come.

    `joins`: it waits for word of each group (R14). `has_stood`: it has said how it stands; `digests` are the set hashes that it
    said last. `compared`: records of directories that no set hash tells, once they were compared with its own.
    """

    incarnation: Incarnation | None = None
    joins: bool = False
    has_stood: bool = False
    digests: Mapping[Scope, bytes] = msgspec.field(default_factory=dict)
    tainted: set[Scope] = msgspec.field(default_factory=set)
    midstream: set[Scope] = msgspec.field(default_factory=set)
    compared: dict[RelPath, Record] = msgspec.field(default_factory=dict)


class IndexPort(Protocol):
    """The engine's memory. Calls between two commits of the owner's transaction stand or fall together."""

    def row(self, path: RelPath) -> Row | None: ...

    def put(self, path: RelPath, row: Row) -> None: ...

    def drop(self, path: RelPath) -> None: ...

    def rows_below(self, path: RelPath) -> Iterator[tuple[RelPath, Row]]:
        """Yield all rows strictly below `path`, ascending by path. Rows may be put while iterating."""
        ...

    def revise(self, revised: Callable[[RelPath, Row], Row] | None) -> None:
        """Have every row read as `revised` makes it of the one that was put; None: as it was put. Columns stay as they are."""
        ...

    def scopes_from(self, first: RelPath, limit: int) -> list[tuple[RelPath, Scope]]:
        """Return the scopes of rows as they were put, from a path on, ascending by path, at most `limit`."""
        ...

    def has_live_below(self, path: RelPath) -> bool:
        """Return whether any row strictly below `path` is live, and of a group of ours."""
        ...

    def has_shown_below(self, path: RelPath) -> bool:
        """Return whether any row strictly below `path` has an applied observation (the disk shows something)."""
        ...

    def paths_written(self, write: Dot) -> list[RelPath]:
        """Return the paths whose row has this write, ascending."""
        ...

    def paths_linked(self, inode: int) -> list[RelPath]:
        """Return the paths that show the object of this inode number, by what was seen there last, if it has several names."""
        ...

    def updated_since(self, position: int, limit: int) -> list[tuple[RelPath, Row]]:
        """Return rows whose greatest position is above `position`, ascending by it, at most `limit`."""
        ...

    def position(self) -> int:
        """Return the position handed out last."""
        ...

    def next_position(self) -> int: ...

    def next_counter(self, scope: Scope) -> int:
        """Return the next counter of our incarnation in `scope`, from 1 on, without gaps."""
        ...

    def skip_counters(self, scope: Scope, count: int) -> None:
        """Hand out the next `count` counters at once: `next_counter` goes on after them."""
        ...

    def last_counter(self, scope: Scope) -> int:
        """Return a counter of our incarnation that none handed out in `scope` exceeds, 0 for none."""
        ...

    def knowledge(self, scope: Scope) -> Vector: ...

    def set_knowledge(self, scope: Scope, knowledge: Vector) -> None: ...

    def digest(self, scope: Scope) -> int:
        """Return the set hash of the records of `scope` (R13), as of this moment."""
        ...

    def removed(self, above: RelPath, limit: int) -> list[tuple[RelPath, Row]]:
        """Return rows above a path, ascending, where nothing is live, shown or pending, at most `limit`."""
        ...

    def pending(self) -> list[RelPath]:
        """Return every path whose known state is not yet shown."""
        ...

    def unsettled(self, limit: int) -> list[tuple[RelPath, Row]]:
        """Return rows that are pending, or show something where nothing is live by itself, at most `limit`."""
        ...

    def doubtful(self) -> list[RelPath]:
        """Return the paths at which something is to be minted anew."""
        ...

    def standings(self, member: str) -> Mapping[Scope, Standing]:
        """Return how far a member was in each scope when it last said so."""
        ...

    def set_standings(self, member: str, standings: Mapping[Scope, Standing]) -> None: ...

    def tokens(self, member: str) -> Tokens: ...

    def set_tokens(self, member: str, tokens: Tokens) -> None: ...

    def clock(self) -> Hlc: ...

    def set_clock(self, clock: Hlc) -> None: ...


class Received(msgspec.Struct, frozen=True):
    """What became of updates from a peer: paths whose live state may have moved, and what was refused, with the reason.

    `is_ahead`: the peer knows changes of ours that we have not made: this member was restored or cloned (R8). `is_foreign`: they are
    of other rules than this member's.
    """

    touched: tuple[RelPath, ...]
    refused: tuple[tuple[bytes, str], ...] = ()
    is_ahead: bool = False
    is_foreign: bool = False


class Outgoing(msgspec.Struct, frozen=True):
    """A batch for one peer: updates of one scope in order, the position reached, and the mark when caught up.

    `updates` may be empty (the peer knows them all) while `position` moves on. `done`: nothing is left after it. With a `move` there
    are none: `position` counts once the peer has followed it.
    """

    scope: Scope
    updates: tuple[Update, ...]
    position: int
    mark: Vector | None
    done: bool
    move: WholeMove | None = None


class Conflict(msgspec.Struct, frozen=True):
    """A path with more than one value in one half; `dots` are the entries, the winner's first."""

    path: RelPath
    half: str
    dots: tuple[Dot, ...]
