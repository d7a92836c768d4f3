"""Other rules, or other members: every row belongs to another group from one moment on, and is written so little by little (R11).

From that moment each row is read as the new rules have it, whatever the table says. What is written goes in slices, while everything
else goes on: peers are told, and heard, as ever, because nothing of that asks what the table says of groups. What does so waits
until all is written: set hashes, how far this member is settled, what is forgotten. A kill between two slices leaves a table of which
it is known that it is not sorted: that goes on at the next start, with whatever rules there are then.
"""

import contextlib

from csfs.core.paths import ROOT, RelPath
from csfs.core.versions import Scope
from csfs.engine.volume import VolumeEngine
from csfs.errors import UnwritableError
from csfs.index.index import Index

ROWS_MAX = 100
"""Rows written in one step of the loop: a few hundredths of a second."""


def begin(index: Index, engine: VolumeEngine, scopes: list[Scope]) -> None:
    """Have the rows read as the rules of a new engine have them, whose groups have these scopes; of a few, that is all.

    Raises:
        UnwritableError: nothing has changed.
    """
    if index.ledger.scopes != scopes:
        with index.transaction():
            engine.follow_rules(index.ledger.scopes)
            index.begin_anew()
            index.ledger.forget_cursors()  # who went by these rules all along would not tell again what he told once
            index.ledger.set_scopes(scopes)
            index.ledger.set_compared(b"")
    if not index.ledger.is_sorted:
        index.rows.revise(engine.in_scope)
        with contextlib.suppress(UnwritableError):  # it is gone on with later
            go_on(index, engine, ROOT)


def go_on(index: Index, engine: VolumeEngine, first: RelPath) -> RelPath | None:
    """Write some rows from a path on as they are read; return where to go on, None: now all are.

    Raises:
        UnwritableError: they are as they were.
    """
    with index.transaction():
        left = engine.sort_rows(first, ROWS_MAX)
        if left is None:
            index.ledger.set_sorted(True)
    if left is None:
        index.rows.revise(None)
    return left
