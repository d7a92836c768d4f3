"""What a directory that was moved as a whole comes to, path by path: the same versions as looks at each path would have made (R15).

Pure: whoever has the same record of a path makes the same of it.
"""

from typing import Final

import msgspec

from csfs.core import versions
from csfs.core.moves import WholeMove
from csfs.core.objects import Applied, Kind, Lineage, Observation
from csfs.core.paths import RelPath
from csfs.core.policies import origin_of, parents_with
from csfs.core.privileges import has_privileges
from csfs.core.records import ContentEntry, DirectoryTime, Half, MetaEntry, Move, Record
from csfs.core.rows import Doubt, Row
from csfs.core.versions import Dot, Hlc, Vector
from csfs.engine.ancestry import line_of, overruled_in
from csfs.engine.live import ABSENT, NO_META, shown_mtime_ns
from csfs.engine.moving import merged_moves
from csfs.engine.validation import CLOCK_MAX
from csfs.wire.messages import Update

CONTENT: Final = 0
META: Final = 1
TIME: Final = 2
GONE: Final = 3
GONE_META: Final = 4


def is_plain(row: Row) -> bool:
    """Return whether a path shows the one version that is known of it, as its author had it, under its only name."""
    applied, contents, metas = row.applied, row.record.content.entries, row.record.meta.entries
    shown = applied.observation
    if shown is None or row.pending or row.doubt is not Doubt.NONE or len(contents) != 1 or len(metas) != 1:
        return False
    (content,), (meta,) = contents, metas
    is_shown = (applied.content_dot, applied.meta_dot) == (content.dot, meta.dot) and shown.kind is content.value.kind
    is_one = content.birth is not None and meta.birth == content.birth and meta.kind is content.value.kind
    if not (is_shown and is_one) or (has_privileges(meta.value.mode, meta.value.xattrs) and meta.hash != shown.hash):
        return False
    if shown.kind is Kind.DIRECTORY:
        # Its time is told with it: it must be known, and shown.
        return row.record.time is not None and row.record.time.mtime_ns == shown_mtime_ns(applied)
    return shown.links == 1 and content.write is None and meta.write is None


def is_gone(row: Row) -> bool:
    """Return whether nothing is at a path, nor waits to be there."""
    return not (row.live or row.pending) and row.applied.observation is None and row.doubt is Doubt.NONE


def gives_way(row: Row, birth: Dot, move: WholeMove) -> bool:
    """Return whether what is known to be gone says nothing that is to be remembered of the object that comes in its place."""
    contents, metas, time = row.record.content.entries, row.record.meta.entries, row.record.time
    entries: list[ContentEntry | MetaEntry] = [*contents, *metas]
    is_known = all(versions.covers(move.known, entry.dot) for entry in entries)
    is_past = all(entry.hlc < move.hlc for entry in entries) and (time is None or time.hlc < move.hlc)
    says = any(e.overruled or e.ancestors or any(one.object != birth for one in e.moves) for e in contents)
    return is_known and is_past and not says


def expanded(move: WholeMove, number: int, path: RelPath, record: Record, *, merging: bool) -> tuple[Update, Update]:
    """Return what one path comes to, where it went and where it was; `number` is its place among all that were moved."""
    (entry,), (meta,) = record.content.entries, record.meta.entries
    hlc = _later(move, record)
    return _come(move, number, path, record, hlc), _gone(move, number, path, (entry, meta), (record, hlc), merging)


def _later(move: WholeMove, record: Record) -> Hlc:
    """Return a time that is later than what is replaced."""
    last = max(record.content.entries[0].hlc, record.meta.entries[0].hlc, record.time.hlc if record.time else 0)
    return move.hlc if move.hlc > last else Hlc(min(last + 1, CLOCK_MAX))


def _come(move: WholeMove, number: int, path: RelPath, record: Record, hlc: Hlc) -> Update:
    (entry,), (meta,) = record.content.entries, record.meta.entries
    at, meta_at, kind = move.dot(number, CONTENT), move.dot(number, META), entry.value.kind
    content = ContentEntry(
        at,
        hlc,
        entry.value,
        meta.value,
        entry.birth,
        entry.parents,
        origin=origin_of(entry),
        overruled=overruled_in([entry]),
        carried=True,
    )
    said = MetaEntry(
        meta_at,
        hlc,
        meta.value,
        kind,
        entry.value.hash,
        entry.birth,
        meta.parents,
        origin_of(meta),
        carried=True,
        decided=meta.decided,
    )
    time = None
    if kind is Kind.DIRECTORY:
        assert record.time is not None, "a directory without a time"
        time = DirectoryTime(move.dot(number, TIME), hlc, record.time.mtime_ns)
    return Update(
        move.target_of(path),
        Half((content,), _with(move.known, at)),
        Half((said,), _with(move.known, meta_at)),
        time,
    )


def _gone(
    move: WholeMove,
    number: int,
    path: RelPath,
    entries: tuple[ContentEntry, MetaEntry],
    before: tuple[Record, Hlc],
    merging: bool,
) -> Update:
    (entry, meta), (record, hlc) = entries, before
    at, meta_at = move.dot(number, GONE), move.dot(number, GONE_META)
    assert entry.birth is not None, "an object without a birth"
    tombstone = ContentEntry(
        at,
        hlc,
        ABSENT,
        meta.value,
        entry.birth,
        parents_with(entry.parents, origin_of(entry)),
        merged_moves([entry], None, Move(entry.birth, move.target_of(path))),
        overruled=overruled_in([entry]),
        ancestors=line_of(entry) if merging else (),
    )
    nothing = MetaEntry(
        meta_at, hlc, NO_META, Kind.ABSENT, birth=entry.birth, parents=parents_with(meta.parents, origin_of(meta))
    )
    return Update(
        path,
        Half((tombstone,), _with(record.content.seen, at)),
        Half((nothing,), _with(record.meta.seen, meta_at)),
    )


def _with(seen: Vector, dot: Dot) -> Vector:
    return {**seen, dot.incarnation: dot.counter}


def shown_there(move: WholeMove, number: int, applied: Applied, observation: Observation) -> Applied:
    """Return what is applied where a path went, by what was applied where it was: it is the same object."""
    at, meta_at = move.dot(number, CONTENT), move.dot(number, META)
    return msgspec.structs.replace(
        applied,
        observation=observation,
        content_dot=at,
        content_seen=_with(move.known, at),
        meta_dot=meta_at,
        meta_seen=_with(move.known, meta_at),
        lineage=msgspec.structs.replace(applied.lineage, write=at),
    )


def shown_no_more(move: WholeMove, number: int, applied: Applied, seen: tuple[Vector, Vector]) -> Applied:
    """Return what is applied where a path was: nothing, having `seen` all that is gone there."""
    at, meta_at, lineage = move.dot(number, GONE), move.dot(number, GONE_META), applied.lineage
    return Applied(
        observation=None,
        content_dot=at,
        content_seen=versions.joined(seen[0], _with(applied.content_seen, at)),
        meta_dot=meta_at,
        meta_seen=versions.joined(seen[1], _with(applied.meta_seen, meta_at)),
        lineage=Lineage(
            lineage.birth,
            at,
            parents_with(lineage.parents, lineage.origin),
            meta_at,
            parents_with(lineage.meta_parents, lineage.meta_origin),
            at,
        ),
    )
