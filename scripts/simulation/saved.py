"""A backup of a simulated member."""

from typing import NamedTuple

from csfs.core.moves import WholeMove
from csfs.core.paths import RelPath
from csfs.core.rows import Plan, Waiting
from csfs.core.versions import Incarnation, Scope
from scripts.simulation.index import Index
from scripts.simulation.tree import FakeTree

Cursor = tuple[int, int]
"""A peer's index id, and the position in it up to which everything that it sent is stored."""


class Saved(NamedTuple):
    """A backup of a whole host."""

    tree: FakeTree
    rows: Index
    kept: frozenset[bytes]
    retained: frozenset[tuple[RelPath, bytes]]
    cursors: dict[str, Cursor]
    scopes: list[Scope]
    pulling: bool
    held: frozenset[RelPath]
    intents: dict[RelPath, Plan]
    moving: tuple[Scope, WholeMove, bool] | None
    authors: dict[Incarnation, str]
    touched: set[RelPath]
    waiting: dict[RelPath, Waiting]
    bases: dict[RelPath, dict[bytes, bytes]]
    life: tuple[Incarnation, int]
    """Which incarnation, and the index's id."""
    step: int
    """The last one, of all users."""
    forgotten: tuple[range, ...]
