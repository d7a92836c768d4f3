"""Whether what a peer claims to have made is here, for programs that wait there (R26). Pure: contents are for the caller to find.

What supersedes a version was made by somebody who had it, or, under another name, stands for it: an edit follows a move, a rename
takes along what is there, a merge has what it was made of (R15, R7). Whoever has heard of that alone has neither: what was made of what
is claimed, or took its place, has to be here with its content.
"""

from collections.abc import Iterable, Iterator

from csfs.core import versions
from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.records import ContentEntry
from csfs.core.rows import Row
from csfs.core.versions import Dot, Hlc
from csfs.engine.following import moved_from, rows_ahead
from csfs.engine.live import content_entry, meta_entry
from csfs.engine.ports import IndexPort
from csfs.wire.messages import Claim


def claim_of(path: RelPath, row: Row) -> Claim:
    """Return the claim of what is shown at a path."""
    applied, shown = row.applied, row.applied.observation
    content_hash = shown.hash if shown is not None and shown.size else b""
    return Claim(path, applied.content_dot, applied.meta_dot, content_hash, applied.lineage.origin, _made_at(row))


def _made_at(row: Row) -> Hlc:
    """Return a time after which all was made that supersedes what is shown; zero if something has superseded it already."""
    applied, record = row.applied, row.record
    content, meta = content_entry(record, applied.content_dot), meta_entry(record, applied.meta_dot)
    if (applied.content_dot and content is None) or (applied.meta_dot and meta is None):
        return Hlc(0)
    return min((entry.hlc for entry in (content, meta) if entry is not None), default=Hlc(0))


def followed_from(index: IndexPort, path: RelPath) -> Iterator[tuple[RelPath, Row]]:
    """Yield what is known where edits made under a name may have followed moves to: who asks for them asks for what is there, too."""
    for place, there in _places(index, path):
        entries = there.record.content.entries
        if place != path and any(_has_bytes(one) and one.origin is not None and not one.carried for one in entries):
            yield place, there


def includes(index: IndexPort, path: RelPath, claim: Claim) -> bool:
    """Return whether what is known includes the claimed versions, or what came after them, under whatever name."""
    row = index.row(path)
    if row is None:
        return claim.content is None and claim.meta is None
    pairs = ((claim.content, row.record.content), (claim.meta, row.record.meta))
    if not all(dot is None or versions.covers(half.seen, dot) for dot, half in pairs):
        return False
    return _stands(row, claim) or all(_is_told(index, there, claim) for _, there in _places(index, path))


def contents_claimed(index: IndexPort, path: RelPath, claim: Claim) -> list[tuple[RelPath, ContentEntry]] | None:
    """Return the versions whose contents are to be here for a claim that is included, and their paths; none of what is no file.

    The claimed one; where that was superseded, one that has the same bytes; else what was made of it; else, where another file took its
    place, that. None: a policy may have preferred to it what superseded it, whose author never had it then: who has nothing but that
    does not have what was claimed, and who has the claimed content itself does.
    """
    row = index.row(path)
    entry = content_entry(row.record, claim.content) if row is not None else None
    if entry is not None:
        return _files([(path, entry)])
    if not claim.hash:
        return []
    found = [(place, one) for place, there in _places(index, path) for one in there.record.content.entries]
    same = [(place, one) for place, one in found if one.value.hash == claim.hash]
    made = [(place, one) for place, one in found if _is_made_of(one, claim)]
    if not same and not made and any(_is_overruled(claim, one) for _, one in found):
        return None
    return _files(same)[:1] or _files(made or found)


def _is_overruled(claim: Claim, entry: ContentEntry) -> bool:
    """Return whether a policy had decided against what is claimed, or what its author made of it, when an entry was made."""
    incarnation, counter = claim.content or (None, 0)
    is_later = any(dot.incarnation == incarnation and dot.counter > counter for dot in entry.overruled)
    return is_later or not _dots(claim).isdisjoint(entry.overruled)


def _dots(claim: Claim) -> set[Dot]:
    """Return the dots by which other versions may name what is claimed: under another name it has another one of its own."""
    return {dot for dot in (claim.content, claim.origin) if dot is not None}


def _stands(row: Row, claim: Claim) -> bool:
    """Return whether nothing has superseded what is claimed."""
    is_content = claim.content is None or content_entry(row.record, claim.content) is not None
    return is_content and (claim.meta is None or meta_entry(row.record, claim.meta) is not None)


def _places(index: IndexPort, path: RelPath) -> Iterator[tuple[RelPath, Row]]:
    """Yield what is known of a path, and of those that objects were moved to from there, move by move."""
    row, seen = index.row(path), {path}
    if row is None:
        return
    yield path, row
    for moved in moved_from(row):
        for place, there in rows_ahead(index, row, moved):
            if place not in seen:
                seen.add(place)
                yield place, there


def _is_told(index: IndexPort, row: Row, claim: Claim) -> bool:
    """Return whether what was moved away from here is known where it went: one of the two may arrive long before the other (R10).

    What was made before what is claimed has not superseded it; knowledge may never cover that, if the rules have changed since (R9).
    """
    known, entries = index.knowledge(row.scope), row.record.content.entries
    return all(versions.covers(known, one.dot) for one in entries if one.moves and one.hlc >= claim.hlc)


def _is_made_of(entry: ContentEntry, claim: Claim) -> bool:
    """Return whether an entry was made of what is claimed, or merges or removes it; what says where it went is none of these."""
    has_gone_on = entry.value.kind is Kind.ABSENT and bool(entry.moves)
    return not has_gone_on and not _dots(claim).isdisjoint(entry.parents)


def _files(found: Iterable[tuple[RelPath, ContentEntry]]) -> list[tuple[RelPath, ContentEntry]]:
    return [(place, entry) for place, entry in found if _has_bytes(entry)]


def _has_bytes(entry: ContentEntry) -> bool:
    return entry.value.kind is Kind.FILE and entry.value.size > 0
