"""Records: all that is known of a path, as two multi-value registers that merge by a join, and a directory's time.

Each half (content, meta) is a set of entries plus the vector of everything it has seen. The join keeps an entry if the
other side has it too, or has not seen its dot: commutative, associative, idempotent (an optimised add-wins register, Bieniusa
et al. 2012). What is live is a pure function of the set: see `policies`.
"""

from typing import Generic, NamedTuple, TypeVar

import msgspec

from csfs.core import versions
from csfs.core.objects import Content as Content
from csfs.core.objects import Kind
from csfs.core.objects import Meta as Meta
from csfs.core.paths import RelPath
from csfs.core.versions import Dot, Hlc, Vector


class Move(NamedTuple):
    """Where an object went that a version took away from its path (R15)."""

    object: Dot
    target: RelPath


class Ancestor(NamedTuple):
    """A content that another one came from. `number` grows from each version of a path, from 0 on, to what was made of it."""

    number: int
    hash: bytes
    size: int


class ContentEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The content half at one version.

    `snapshot` is the meta it was observed with (None for a tombstone of something never seen). `birth` is the object's id: the
    dot of the entry that created it. `parents` are the dots of bytes that it was made from. `moves` say where objects went that
    this entry, or one that it replaced, took away from the path. The last ones are last in both. `write` is shared by all names of
    one inode that one write changed, and by names that were linked to it since: the dot of the first; None: its own (R17). `origin` is
    the dot of the entry that first held these bytes, None for this one (R6).
    `overruled` are entries that a policy had decided against when this one replaced them, or that stand again if this one, which has
    followed a move, is taken back: a member that shows one of them keeps it. `carried`: the object was moved here, or given this name,
    as it was, so that this is nobody's edit (R15). `merged` are entries that it was put together from: while it is not live itself,
    what they hold is kept, too. `ancestors` are what it came from at this path, the newest first, in groups that merge.
    """

    dot: Dot
    hlc: Hlc
    value: Content
    snapshot: Meta | None = None
    birth: Dot | None = None
    parents: tuple[Dot, ...] = ()
    moves: tuple[Move, ...] = ()
    write: Dot | None = None
    origin: Dot | None = None
    overruled: tuple[Dot, ...] = ()
    carried: bool = False
    merged: tuple[Dot, ...] = ()
    ancestors: tuple[Ancestor, ...] = ()


class MetaEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The meta half at one version; `kind` and `hash` name the object that its privileges are for (R5).

    `birth` is the object's id. `parents` are the dots of metas that it was made from, `origin` that of the entry that first said
    this, None for this one. `carried`: the object was moved here as it was, so that this is nobody's edit (R15).
    `write` is shared by names of one inode, as the content's is (R17). `decided`: its mode is what somebody decided on for the bytes of
    that hash, and nobody has set it since: it opens no others (R5).
    """

    dot: Dot
    hlc: Hlc
    value: Meta
    kind: Kind
    hash: bytes = b""
    birth: Dot | None = None
    parents: tuple[Dot, ...] = ()
    origin: Dot | None = None
    carried: bool = False
    write: Dot | None = None
    decided: bool = False


E = TypeVar("E", ContentEntry, MetaEntry)


def write_of(entry: ContentEntry | MetaEntry) -> Dot:
    """Return the dot that all names of one inode share."""
    return entry.write or entry.dot


class Half(msgspec.Struct, Generic[E], frozen=True, array_like=True, gc=False):
    """The entries that nothing supersedes, by dot, and everything this half has seen."""

    entries: tuple[E, ...] = ()
    seen: Vector = {}


class DirectoryTime(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A directory's mtime: the last by clock, then dot. Never a conflict, never an edit (R6)."""

    dot: Dot
    hlc: Hlc
    mtime_ns: int


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """All that is known of one path."""

    content: Half[ContentEntry] = Half()
    meta: Half[MetaEntry] = Half()
    time: DirectoryTime | None = None


NOTHING_KNOWN = Record()


def halves_joined(ours: Half[E], theirs: Half[E]) -> Half[E]:
    """Return the join of two states of one half."""
    if ours == theirs:
        return ours
    if (not ours.seen and len(theirs.entries) < 2) or _is_next(ours, theirs):
        return theirs
    our_dots = {entry.dot for entry in ours.entries}
    both = {entry.dot: entry for entry in theirs.entries if entry.dot in our_dots}
    kept = [
        _of_one_dot(e, both[e.dot]) if e.dot in both else e
        for e in ours.entries
        if e.dot in both or not versions.covers(theirs.seen, e.dot)
    ]
    kept += [e for e in theirs.entries if e.dot not in our_dots and not versions.covers(ours.seen, e.dot)]
    return Half(tuple(sorted(kept, key=lambda entry: entry.dot)), versions.joined(ours.seen, theirs.seen))


def _is_next(ours: Half[E], theirs: Half[E]) -> bool:
    """Return whether theirs is one entry that was made having seen all of ours, and nothing else, as most are."""
    if len(ours.entries) != 1 or len(theirs.entries) != 1:
        return False
    before, after = ours.entries[0].dot, theirs.entries[0].dot
    is_replaced = before != after and versions.covers(theirs.seen, before)
    return is_replaced and not versions.covers(ours.seen, after) and versions.includes(theirs.seen, ours.seen)


def _of_one_dot(ours: E, theirs: E) -> E:
    """Return one of two entries that claim one dot, the same everywhere: only two hosts with one identity make such (R8)."""
    return ours if ours == theirs else max(ours, theirs, key=msgspec.msgpack.encode)


def times_joined(ours: DirectoryTime | None, theirs: DirectoryTime | None) -> DirectoryTime | None:
    """Return the later of two states of a directory's time."""
    if ours is None or theirs is None:
        return ours or theirs
    return max(ours, theirs, key=lambda time: (time.hlc, time.dot, time.mtime_ns))


def records_joined(ours: Record, theirs: Record) -> Record:
    """Return the join of what two members know of one path."""
    return Record(
        halves_joined(ours.content, theirs.content),
        halves_joined(ours.meta, theirs.meta),
        times_joined(ours.time, theirs.time),
    )
