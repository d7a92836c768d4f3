"""What a peer may say of a path: checked once, where it comes in. Complaints are for the other side's administrator."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from csfs.core.acls import NAMED_SIZE_MAX, is_acl
from csfs.core.merging import MERGED_SIZE_MAX
from csfs.core.objects import Content, Kind, Meta, Xattrs
from csfs.core.paths import ROOT, checked
from csfs.core.records import ContentEntry, DirectoryTime, Half, MetaEntry, Move
from csfs.core.versions import Dot, Vector, covers
from csfs.wire.messages import Update

ENTRIES_MAX: Final = 64
INCARNATIONS_MAX: Final = 16_384
"""Of 50 members that are booted once a week, that takes six years; `replicate.ageing` says what to do after a quarter of it."""
OVERRULED_MAX: Final = 256
MOVES_MAX: Final = 64
PARENTS_MAX: Final = 64
ANCESTORS_MAX: Final = 64
TARGET_SIZE_MAX: Final = 4_095
"""PATH_MAX without its NUL: symlink(2)."""
HASH_SIZE: Final = 32
XATTRS_MAX: Final = 256
XATTR_NAME_SIZE_MAX: Final = 255
XATTR_VALUE_SIZE_MAX: Final = 65_536
"""XATTR_NAME_MAX and XATTR_SIZE_MAX of Linux."""
NAME_SIZE_MAX: Final = 256
"""Longest owner's name taken (LOGIN_NAME_MAX)."""
COUNTER_MAX: Final = 2**63 - 1
CLOCK_MAX: Final = 2**62
"""The year 2116; leaves room to be later than any clock accepted."""
TIME_MAX: Final = 2**63 - 1
_DEVICES: Final = (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)


class RefusedError(ValueError):
    """An update that is not taken in; says why."""


class AheadError(RefusedError):
    """An update that knows more of this member's own changes than it does itself."""


def check_update(update: Update) -> None:
    """Check everything about an update that does not depend on what is known here.

    Raises:
        RefusedError: it cannot be what a member says.
    """
    if update.content is not None:
        _check_half(update.content)
        for entry in update.content.entries:
            _check_content_entry(entry, update.path)
    if update.meta is not None:
        _check_half(update.meta)
        for meta in update.meta.entries:
            _check_clock(meta.hlc)
            _check_meta(meta.value)
            _check_count(meta.parents, PARENTS_MAX, "metas that it was made from")
            _check_dots((meta.birth, *meta.parents, meta.origin, meta.write))
            _require(not meta.hash or len(meta.hash) == HASH_SIZE, "a hash of another size")
    if update.time is not None:
        _check_time(update.time)


def check_mark(mark: Vector) -> None:
    """Check a peer's knowledge.

    Raises:
        RefusedError: it cannot be what a member says.
    """
    if len(mark) > INCARNATIONS_MAX:
        raise RefusedError(
            f"it has seen more than {INCARNATIONS_MAX} lives of members; change any rule of its group, which then begins anew"
        )
    if mark and not (min(mark) >= 0 and max(mark) <= COUNTER_MAX):
        raise RefusedError("an incarnation out of range")
    if mark and not (min(mark.values()) >= 0 and max(mark.values()) <= COUNTER_MAX):
        raise RefusedError("a counter out of range")


def _require(holds: bool, complaint: str) -> None:
    if not holds:
        raise RefusedError(complaint)


def _check_count(things: Sequence[object], count_max: int, what: str) -> None:
    if len(things) > count_max:
        raise RefusedError(f"more than {count_max} {what}")


def _check_half(half: Half[ContentEntry] | Half[MetaEntry]) -> None:
    entries = half.entries
    if not 0 < len(entries) <= ENTRIES_MAX:
        raise RefusedError(f"{len(entries)} entries, limit {ENTRIES_MAX}")
    check_mark(half.seen)
    _check_dots(entry.dot for entry in entries)
    for entry in entries:
        _require(covers(half.seen, entry.dot), "an entry that its own half has not seen")
    if len(entries) > 1:
        _require(len({entry.dot.incarnation for entry in entries}) == len(entries), "two entries of one incarnation")


def _check_dots(dots: Iterable[Dot | None]) -> None:
    for dot in dots:
        if dot is not None and not (0 < dot.counter <= COUNTER_MAX and 0 <= dot.incarnation <= COUNTER_MAX):
            raise RefusedError("a dot out of range")


def _check_clock(hlc: int) -> None:
    _require(0 <= hlc <= CLOCK_MAX, "a clock out of range")


def _check_time(time: DirectoryTime) -> None:
    _check_dots((time.dot,))
    _check_clock(time.hlc)
    _require(abs(time.mtime_ns) <= TIME_MAX, "a time out of range")


def _check_content_entry(entry: ContentEntry, path: bytes) -> None:
    _check_clock(entry.hlc)
    _check_content(entry.value)
    if path == ROOT:
        _require(entry.value.kind is Kind.DIRECTORY, "the volume's root is a directory")
    if entry.snapshot is not None:
        _check_meta(entry.snapshot)
    _check_count(entry.parents, PARENTS_MAX, "contents that it was made from")
    _check_count(entry.overruled, OVERRULED_MAX, "overruled entries")
    _check_count(entry.merged, OVERRULED_MAX, "merged entries")
    _check_dots((entry.birth, *entry.parents, entry.write, entry.origin, *entry.overruled, *entry.merged))
    _check_moves(entry.moves)
    _check_count(entry.ancestors, ANCESTORS_MAX, "ancestors")
    for ancestor in entry.ancestors:
        is_sized = 0 <= ancestor.size <= MERGED_SIZE_MAX and len(ancestor.hash) == HASH_SIZE
        _require(is_sized and 0 <= ancestor.number <= COUNTER_MAX, "an ancestor out of range")


def _check_moves(moves: tuple[Move, ...]) -> None:
    _check_count(moves, MOVES_MAX, "moves")
    _check_dots(move.object for move in moves)
    for move in moves:
        try:
            checked(move.target)
        except ValueError as error:
            raise RefusedError(f"moved to a path that is none: {error}") from error


def _check_content(content: Content) -> None:
    kind = content.kind
    _require(0 <= content.size <= COUNTER_MAX and abs(content.mtime_ns) <= TIME_MAX, "a size or time out of range")
    _require(len(content.hash) == (HASH_SIZE if kind is Kind.FILE else 0), "a hash that does not fit its kind")
    _require(kind is Kind.FILE or content.size == 0 or kind is Kind.SYMLINK, "a size that does not fit its kind")
    target = content.target
    _require(bool(target) == (kind is Kind.SYMLINK) and len(target) <= TARGET_SIZE_MAX, "a target out of range")
    _require(b"\0" not in target, "a target with a NUL byte")
    _require(0 <= content.device < 2**64 and (content.device == 0 or kind in _DEVICES), "a device out of range")


def _check_meta(meta: Meta) -> None:
    _require(0 <= meta.mode <= 0o7777, "a mode out of range")
    _require(0 <= meta.uid < 2**32 - 1 and 0 <= meta.gid < 2**32 - 1, "an owner out of range")
    _require(len(meta.owner) <= NAME_SIZE_MAX and len(meta.group) <= NAME_SIZE_MAX, "an owner's name out of range")
    _require("\0" not in meta.owner and "\0" not in meta.group, "an owner's name with a NUL byte")
    if meta.xattrs:
        _check_xattrs(meta.xattrs)


def _check_xattrs(xattrs: Xattrs) -> None:
    _check_count(xattrs, XATTRS_MAX, "extended attributes")
    names = [name for name, _ in xattrs]
    _require(all(a < b for a, b in pairwise(names)), "extended attributes out of order")
    for name, value in xattrs:
        _require(
            0 < len(name) <= XATTR_NAME_SIZE_MAX and b"\0" not in name, "an extended attribute's name out of range"
        )
        size_max = NAMED_SIZE_MAX if is_acl(name) else XATTR_VALUE_SIZE_MAX
        _require(len(value) <= size_max, "an extended attribute out of range")
