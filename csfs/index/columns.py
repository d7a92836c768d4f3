"""What the table of rows has of a row in columns of its own, and the statements that write it."""

import struct
from typing import Final, NamedTuple

from csfs.core.rows import MADE, Row, linked_inode
from csfs.core.versions import Scope
from csfs.index.asked import file_hash, packed_dot
from csfs.index.strangers import strangers_of

STAMP_SIZE = 32
"""Bytes of a packed stamp."""
RACY = b"r"
"""Follows a packed stamp that does not prove that nothing was written since (R23)."""

PUT = """INSERT INTO rows (pending, stamp, hash, inode, row, doubtful, awaited, strangers, path, position, live, contested,
write, scope, digest)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (path) DO UPDATE SET position = excluded.position, live = excluded.live, pending = excluded.pending,
contested = excluded.contested, stamp = excluded.stamp, hash = excluded.hash, write = excluded.write, inode = excluded.inode,
row = excluded.row, scope = excluded.scope, digest = excluded.digest, doubtful = excluded.doubtful,
awaited = excluded.awaited, strangers = excluded.strangers"""
"""Columns as `shown_columns` returns them, the path, and those of `known_columns`."""

SHOW = (
    "UPDATE rows SET pending = ?, stamp = ?, hash = ?, inode = ?, row = ?, doubtful = ?, awaited = ?, strangers = ? "
    "WHERE path = ?"
)
"""The same, of a row of which nothing else has changed: SQLite writes anew each index that a column named here is in."""

packed_inode = struct.Struct(">Q").pack


class Before(NamedTuple):
    """What the table has of a path; `NAMES` are the columns."""

    scope: Scope = Scope(b"")
    digest: bytes | None = None
    pending: int = 0
    awaited: int = 0


NAMES: Final = ", ".join(Before._fields)


def says_the_same(row: Row, before: Row | None) -> bool:
    """Return whether `known_columns` are the same of both rows, as far as a glance shows it."""
    return (
        before is not None
        and before.record is row.record
        and (before.write, before.scope, before.live) == (row.write, row.scope, row.live)
        and _position_of(before) == _position_of(row)
    )


def _position_of(row: Row) -> int:
    """Return the position at which something of the record last changed."""
    return max(row.content_position, row.meta_position, row.time_position)


def shown_columns(row: Row, encoded: bytes, awaited: int) -> tuple[object, ...]:
    """Return the columns that may change while the record stays; `awaited` are the bytes that are to be shown and are not."""
    inode = linked_inode(row)
    return (
        row.pending,
        packed_shown(row),
        file_hash(row),
        packed_inode(inode) if inode is not None else None,
        encoded,
        bool(row.doubt and row.doubt & MADE),  # an enumeration's `&` takes as long as all else here
        awaited,
        strangers_of(row),
    )


def packed_shown(row: Row) -> bytes | None:
    """Return the packed stamp of what is shown, and what it does not prove; None if nothing is."""
    shown = row.applied.observation
    return shown.stamp.packed() + (RACY if row.applied.racy else b"") if shown is not None else None


def known_columns(row: Row, digest: bytes | None) -> tuple[object, ...]:
    """Return the columns that belong to the record."""
    write = packed_dot(*row.write) if row.write is not None else None
    contested = len(row.record.content.entries) > 1 or len(row.record.meta.entries) > 1
    return _position_of(row), row.live, contested, write, row.scope, digest
