"""A directory that was moved with all that is below it, said at once instead of path by path."""

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from csfs.core.paths import RelPath
from csfs.core.records import Record
from csfs.core.versions import Dot, Hlc, Vector

PATHS_MAX: Final = 10_000
"""Paths that are moved at once, in one transaction: of more, each is looked at and told by itself, while everything else goes on."""
COUNTERS: Final = 5
"""Counters that each path takes: content, meta and time where it went, content and meta where it was. A file leaves out one."""

_encode = msgspec.msgpack.Encoder().encode


class WholeMove(msgspec.Struct, frozen=True, array_like=True):
    """All versions that one rename of a directory makes, for whoever has the same records below `source`.

    `first` is the first of their dots, which go on path by path, ascending. `known` is what their maker knew before: nothing was
    known where they went (R12). `digest` is `digest_of` what was live at and below the source.
    """

    source: bytes
    target: bytes
    first: Dot
    hlc: Hlc
    known: Vector
    digest: bytes

    def dot(self, number: int, which: int) -> Dot:
        """Return one of the dots of the path with this number, from 0 on."""
        return Dot(self.first.incarnation, self.first.counter + COUNTERS * number + which)

    def target_of(self, path: RelPath) -> RelPath:
        """Return where a path at or below the source went."""
        return RelPath(self.target + path[len(self.source) :])


def digest_of(records: Iterable[tuple[RelPath, Record]]) -> bytes:
    """Return a hash of whole records in this order, vectors and all."""
    digest = hashlib.blake2b(digest_size=32)
    for path, record in records:
        halves = [(half.entries, sorted(half.seen.items())) for half in (record.content, record.meta)]
        digest.update(_encode((path, halves, record.time)))
    return digest.digest()
