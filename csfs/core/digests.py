"""The set hash: a number that two members have in common when they know the same of the paths of a group (R13).

Each path that is live adds a number of its own, so that a change costs what it changes, and parts of the set can be compared
alone. Tombstones and what was seen add nothing: members forget tombstones at different times.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.records import Record

SIZE: Final = 32
MODULUS: Final = 1 << 8 * SIZE
NOTHING: Final = 0

_encode = msgspec.msgpack.Encoder().encode


def digest_of(path: RelPath, record: Record) -> int:
    """Return what a path adds to the set hash: nothing if nothing is live there."""
    content = [entry for entry in record.content.entries if entry.value.kind is not Kind.ABSENT]
    if not content:
        return NOTHING
    meta = [entry for entry in record.meta.entries if entry.kind is not Kind.ABSENT]
    content.sort(key=lambda entry: entry.dot)
    meta.sort(key=lambda entry: entry.dot)
    # Of what is no directory, some may remember a time that others have forgotten with its tombstone.
    time = record.time if any(entry.value.kind is Kind.DIRECTORY for entry in content) else None
    return sum(_hashed(path, half) for half in (content, meta, time) if half) % MODULUS


def _hashed(path: RelPath, half: object) -> int:
    return int.from_bytes(hashlib.blake2b(_encode((path, half)), digest_size=SIZE).digest(), "little")


def together(digests: Iterable[int]) -> int:
    """Return the set hash of several paths, or of several parts of a set."""
    return sum(digests) % MODULUS


def without(total: int, part: int) -> int:
    """Return the set hash that is left when a part of the set is taken away."""
    return (total - part) % MODULUS


def packed(digest: int) -> bytes:
    """Return a digest as an index and a message have it."""
    return digest.to_bytes(SIZE, "little")


def unpacked(data: bytes) -> int:
    """Return the digest that `packed` made this of; other sizes are no digest's."""
    return int.from_bytes(data, "little")


Digested = tuple[RelPath, int]
"""A live path and what it adds to the set hash."""


@dataclass(frozen=True, slots=True)
class Range:
    """Paths after `above`, up to and including `last`; an empty `last` is the end."""

    above: bytes = b""
    last: bytes = b""

    def holds(self, path: bytes) -> bool:
        """Return whether a path is in the range; the root is in the one that begins with it."""
        return (path > self.above or not (path or self.above)) and (not self.last or path <= self.last)
