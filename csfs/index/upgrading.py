"""What an index of an older format needs to be brought forward and SQL has not: the digests of its rows, as they are made now."""

from typing import Any

import apsw
import msgspec

from csfs.core import digests
from csfs.core.paths import RelPath
from csfs.core.rows import Row


def teach(connection: apsw.Connection) -> None:
    """Let statements ask for `digest_of(path, row, before)` and for `digests_together(digest)` of several rows."""
    connection.create_scalar_function("digest_of", _digest_of, 3, deterministic=True)
    connection.create_aggregate_function("digests_together", _together, 1)


def _digest_of(*values: Any) -> Any:
    """Return what a path adds to the set hash; of a row that a bad disk has changed, what it was: whoever checks rows finds it."""
    path, encoded, before = values
    try:
        row = msgspec.msgpack.decode(encoded, type=Row)
    except (msgspec.MsgspecError, ValueError):
        return before
    return digests.packed(digests.digest_of(RelPath(path), row.record))


def _together() -> tuple[list[int], Any, Any]:
    return [], _add, _sum


def _add(found: list[int], digest: bytes) -> None:
    found.append(digests.unpacked(digest))


def _sum(found: list[int]) -> bytes:
    return digests.packed(digests.together(found))
