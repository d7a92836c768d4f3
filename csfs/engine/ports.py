"""What the engine needs of an index, and the values it exchanges with the workers around it."""

import enum
from collections.abc import Iterator
from typing import Protocol

import msgspec

from csfs.core.objects import Applied, Observation, Stamp
from csfs.core.paths import RelPath
from csfs.core.records import Content, Meta, Record
from csfs.core.versions import Dot, Hlc, Scope, Vector
from csfs.wire.messages import Update


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """All that the index holds of one path.

    `scope` is the group revision that the path belongs to (empty: no group, the record is kept but not followed). `live`: the
    winner is something other than absent. `pending`: what is known is not yet what is shown. A half's position is
    the index position at which it last changed, 0 for never.
    """

    record: Record
    applied: Applied
    scope: Scope
    live: bool
    pending: bool
    content_position: int = 0
    meta_position: int = 0
    time_position: int = 0


class IndexPort(Protocol):
    """The engine's memory. Calls between two commits of the owner's transaction stand or fall together."""

    def row(self, path: RelPath) -> Row | None: ...

    def put(self, path: RelPath, row: Row) -> None: ...

    def drop(self, path: RelPath) -> None: ...

    def rows_below(self, path: RelPath) -> Iterator[tuple[RelPath, Row]]:
        """Yield all rows strictly below `path`, ascending by path. Rows may be put while iterating."""
        ...

    def has_live_below(self, path: RelPath) -> bool:
        """Return whether any row strictly below `path` is live."""
        ...

    def has_shown_below(self, path: RelPath) -> bool:
        """Return whether any row strictly below `path` has an applied observation (the disk shows something)."""
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

    def knowledge(self, scope: Scope) -> Vector: ...

    def set_knowledge(self, scope: Scope, knowledge: Vector) -> None: ...

    def clock(self) -> Hlc: ...

    def set_clock(self, clock: Hlc) -> None: ...


class Step(enum.Enum):
    """What has to be done so that the disk shows what is live."""

    INSTALL = "install"
    REMOVE = "remove"
    ATTRIBUTES = "attributes"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One application of what is live at a path, and what it makes of `Applied` when it is done.

    `expected` is the stamp that the disk must still show (None: nothing). `content` is what to install (its `hash` must be at
    hand for a file). `meta` is the complete meta wanted; `mtime_ns` None leaves the time alone. `base` is what is
    shown now. `keep`: what is displaced is the loser of a conflict and must be kept whatever retention says.
    """

    path: RelPath
    step: Step
    expected: Stamp | None
    base: Observation | None
    content: Content
    meta: Meta | None
    mtime_ns: int | None
    keep: bool
    content_dot: Dot | None
    content_seen: Vector
    meta_dot: Dot | None
    meta_seen: Vector


class Received(msgspec.Struct, frozen=True):
    """What became of updates from a peer: paths whose live state may have moved, and what was refused, with the reason."""

    touched: tuple[RelPath, ...]
    refused: tuple[tuple[bytes, str], ...] = ()


class Outgoing(msgspec.Struct, frozen=True):
    """A batch for one peer: updates of one scope in order, the position reached, and the mark when caught up.

    `updates` may be empty (the peer knows them all) while `position` moves on. `done`: nothing is left after it.
    """

    scope: Scope
    updates: tuple[Update, ...]
    position: int
    mark: Vector | None
    done: bool


class Conflict(msgspec.Struct, frozen=True):
    """A path with more than one value in one half; `dots` are the entries, the winner's first."""

    path: RelPath
    half: str
    dots: tuple[Dot, ...]
