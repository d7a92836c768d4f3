"""Dots and version vectors: which change made an entry, and what it had seen.

A dot's member is an *incarnation*: a random number drawn anew at every index creation and boot, so that a member restored
from a backup can never mint a dot that others know with another meaning. Counters are per incarnation and scope.
"""

from collections.abc import Mapping
from typing import NamedTuple, NewType

Incarnation = NewType("Incarnation", int)
"""A random number below 2**63: one life of one member."""

Scope = NewType("Scope", bytes)
"""Eight bytes naming one revision of one group of one volume; counters and knowledge exist per scope."""

Hlc = NewType("Hlc", int)
"""A hybrid logical clock: nanoseconds since 1970, never less than any seen before (Kulkarni et al. 2014)."""


class Dot(NamedTuple):
    """The one change that made an entry."""

    incarnation: Incarnation
    counter: int


Vector = Mapping[Incarnation, int]
"""Changes seen: per incarnation, every counter up to this one. Never changed in place."""

EMPTY: Vector = {}


def covers(vector: Vector, dot: Dot) -> bool:
    """Return whether `vector` has seen `dot`."""
    return vector.get(dot.incarnation, 0) >= dot.counter


def includes(larger: Vector, smaller: Vector) -> bool:
    """Return whether `larger` has seen all that `smaller` has."""
    for incarnation, counter in smaller.items():  # noqa: SIM110 - called several times per change; a generator costs twice
        if larger.get(incarnation, 0) < counter:
            return False
    return True


def joined(ours: Vector, theirs: Vector) -> Vector:
    """Return what either has seen."""
    if ours is theirs or not theirs or includes(ours, theirs):
        return ours
    if includes(theirs, ours):
        return theirs
    merged = dict(ours)
    for incarnation, counter in theirs.items():
        if merged.get(incarnation, 0) < counter:
            merged[incarnation] = counter
    return merged


def with_dot(vector: Vector, dot: Dot) -> Vector:
    """Return `vector` with `dot` seen."""
    return vector if covers(vector, dot) else {**vector, dot.incarnation: dot.counter}


def ticked(last: Hlc, now_ns: int) -> Hlc:
    """Return the clock's next reading: after `last`, and not before the host's clock."""
    return Hlc(max(last + 1, now_ns))
