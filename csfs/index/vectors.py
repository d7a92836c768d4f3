"""Large vectors, written once for all that have them, or nearly the same.

Most of a vector are incarnations that have ended: each boot of each member that changed something leaves one, for ever, and
what is made at one time has seen the same of them. So a large vector is written as the number of a *base*, another vector, in
a table of its own, and the incarnations in which it differs from that. Whoever reads gets the whole of it: nothing of this is
known outside of the index.

A vector becomes a base when those of two paths resemble each other, and no base: what one path alone has is written where it
stands. What counts for that are the incarnations, not how far each of them has come: those that are alive move on with every
change, and there are no more of them than members. So as many bases come about as there are times in which so many
incarnations ended that it matters; they are never changed and never dropped, which takes a few KiB.
"""

import hashlib
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from csfs.core.paths import RelPath
from csfs.core.versions import Incarnation, Vector
from csfs.index.database import Database

SMALL_MAX: Final = 7
"""So many incarnations are written where they stand: they take about what differs from a base."""
NEAR_MAX: Final = 8
"""A vector may lack so many incarnations of a base, or have so many that it has not, or else a sixteenth of its own."""
NEAR_SHARE: Final = 16
CANDIDATES_MAX: Final = 8

BASE: Final = Incarnation(-1)
"""Stands in a written vector for the number of its base; no incarnation is negative."""
LACKING: Final = -1
"""The counter, in a written vector, of an incarnation that its base has and it has not."""
RECENT_MAX: Final = 4
"""A row has four vectors, of which mostly two and two are the same."""

_decode = msgspec.msgpack.Decoder(dict[Incarnation, int]).decode


class LostVectorError(msgspec.DecodeError):
    """What was written refers to a base that is not there, or not as it was written: nothing can be made of it."""


class WrittenVectors:
    """Reads what `Vectors` wrote. `reading` runs statements over the connection of whoever asks."""

    def __init__(self, reading: Callable[[str, tuple[object, ...]], Any]) -> None:
        self._reading = reading
        self._bases: dict[int, Vector] = {}
        self._read: deque[tuple[Vector, Vector]] = deque(maxlen=RECENT_MAX)
        """Written vectors that were read last, and what they are."""

    def whole(self, written: Vector) -> Vector:
        """Return a vector as it was before it was written; equal ones of one row are one object.

        Raises:
            LostVectorError: its base is lost.
        """
        number = written.get(BASE)
        if number is None:
            return written
        for before, whole in self._read:
            if before == written:
                return whole
        whole = self._base(number)
        if len(written) > 1:
            whole = {**whole, **written}
            del whole[BASE]
            if LACKING in written.values():
                whole = {life: counter for life, counter in whole.items() if counter != LACKING}
        self._read.appendleft((written, whole))
        return whole

    def _base(self, number: int) -> Vector:
        base = self._bases.get(number)
        if base is None:
            found = self._reading("SELECT digest, vector FROM vectors WHERE number = ?", (number,)).fetchone()
            if found is None or found[0] != _digest_of(found[1]):
                raise LostVectorError(f"vector {number} is not in the index any more")
            base = self._bases[number] = _decode(found[1])
        return base


class Vectors(WrittenVectors):
    """Writes vectors, too; used in transactions."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.execute)
        self._database = database
        self._written: deque[tuple[Vector, RelPath, Vector]] = deque(maxlen=RECENT_MAX)
        """Vectors that were written last, for which path, and how."""
        self._candidates: dict[RelPath, Vector] = {}
        """Vectors that were written where they stand, by path: those that may become a base."""
        self._order: list[int] = []
        """Bases, those first that were of use last."""
        self._last_number = 0
        self.longest = 0
        """How many incarnations the base has that has the most."""
        self._load()
        database.on_transaction_end(_nothing, self._forget)

    def _load(self) -> None:
        found = self._database.execute("SELECT number FROM vectors ORDER BY number DESC")
        self._order = [number for (number,) in found]
        self._last_number = self._order[0] if self._order else 0
        for number in list(self._order):
            try:
                self._base(number)
            except LostVectorError:
                self._order.remove(number)
        self.longest = max(map(len, self._bases.values()), default=0)

    def _forget(self) -> None:
        self._bases.clear()
        self._read.clear()
        self._written.clear()
        self._candidates.clear()
        self._load()

    def written(self, vector: Vector, path: RelPath) -> Vector:
        """Return how a vector is written that a path has, having written what it refers to."""
        if len(vector) <= SMALL_MAX:
            return vector
        for before, whose, written in self._written:
            # What stands by itself at one path becomes a base when another one has it.
            if before is vector and (written is not vector or whose == path):
                return written
        written = self._by_a_base(vector) or self._by_itself(vector, path)
        self._written.appendleft((vector, path, written))
        return written

    def _by_a_base(self, vector: Vector) -> Vector | None:
        """Return a vector as what differs from a base; None if no base is near."""
        for place, number in enumerate(self._order):
            base = self._bases[number]
            different = _differences(vector, base)
            if different is not None:
                if place:
                    self._order.insert(0, self._order.pop(place))
                different[BASE] = number
                return different if len(different) < len(vector) else vector
        return None

    def _by_itself(self, vector: Vector, path: RelPath) -> Vector:
        """Return a vector as it is, or as a base if another path has had almost the same."""
        return {BASE: self._made_a_base(vector)} if self._is_shared(vector, path) else vector

    def _is_shared(self, vector: Vector, path: RelPath) -> bool:
        """Return whether another path has had almost this vector."""
        self._candidates.pop(path, None)
        if any(_differences(vector, candidate) is not None for candidate in self._candidates.values()):
            return True
        if len(self._candidates) >= CANDIDATES_MAX:
            del self._candidates[next(iter(self._candidates))]
        self._candidates[path] = vector
        return False

    def _made_a_base(self, vector: Vector) -> int:
        self._last_number += 1
        encoded = msgspec.msgpack.encode(vector)
        self._database.write("INSERT INTO vectors VALUES (?, ?, ?)", (self._last_number, _digest_of(encoded), encoded))
        self._bases[self._last_number] = vector
        self.longest = max(self.longest, len(vector))
        self._order.insert(0, self._last_number)
        return self._last_number


def _differences(vector: Vector, base: Vector) -> dict[Incarnation, int] | None:
    """Return what turns `base` into `vector`; None if they have too many incarnations that the other has not."""
    near_max = max(NEAR_MAX, len(vector) // NEAR_SHARE)
    if abs(len(vector) - len(base)) > near_max:
        return None
    different = {life: counter for life, counter in vector.items() if base.get(life) != counter}
    added = sum(life not in base for life in different)
    lacking = len(base) - (len(vector) - added)
    if added + lacking > near_max:
        return None
    if lacking:
        different.update((life, LACKING) for life in base if life not in vector)
    return different


def _digest_of(encoded: bytes) -> bytes:
    return hashlib.blake2b(encoded, digest_size=8).digest()


def _nothing() -> None:
    """Nothing waits to be written."""
