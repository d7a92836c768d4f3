"""Whether what a peer claims to have made is here, for programs that wait there (R26). Pure: contents are for the caller to find.

What supersedes a version was made by somebody who had it, or, under another name, stands for it: an edit follows a move, a rename
takes along what is there, a merge has what it was made of (R15, R7). Whoever has heard of that alone has neither.
"""

from collections.abc import Iterator

from csfs.core import versions
from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.records import ContentEntry
from csfs.core.rows import Row
from csfs.core.versions import Dot
from csfs.engine.following import moved_from, rows_ahead
from csfs.engine.live import content_entry, meta_entry
from csfs.engine.ports import IndexPort
from csfs.wire.messages import Claim


def claim_of(path: RelPath, row: Row) -> Claim:
    """Return the claim of what is shown at a path."""
    applied, shown = row.applied, row.applied.observation
    content_hash = shown.hash if shown is not None and shown.size else b""
    return Claim(path, applied.content_dot, applied.meta_dot, content_hash, applied.lineage.origin)


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
    return _stands(row, claim) or all(_is_told(index, there) for _, there in _places(index, path))


def content_claimed(index: IndexPort, path: RelPath, claim: Claim) -> tuple[RelPath, ContentEntry] | None:
    """Return the entry whose content is to be here, and its path; None if there is none: it is no file, or was replaced."""
    row = index.row(path)
    entry = content_entry(row.record, claim.content) if row is not None else None
    if entry is not None:
        return (path, entry) if _has_bytes(entry) else None
    if not claim.hash:
        return None
    found = [(place, one) for place, there in _places(index, path) for one in there.record.content.entries]
    same = [(place, one) for place, one in found if _has_bytes(one) and one.value.hash == claim.hash]
    return next(iter((*same, *((place, one) for place, one in found if _may_merge(one, claim)))), None)


def is_overruled(index: IndexPort, path: RelPath, claim: Claim) -> bool:
    """Return whether a claimed content was superseded by what a policy had preferred to it: whoever made that may never have had it.

    Who has nothing but that does not have what was claimed.
    """
    entries = (entry for _, there in _places(index, path) for entry in there.record.content.entries)
    return bool(claim.hash) and any(not _dots(claim).isdisjoint(entry.overruled) for entry in entries)


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


def _is_told(index: IndexPort, row: Row) -> bool:
    """Return whether what was moved away from here is known where it went: one of the two may arrive long before the other (R10)."""
    known = index.knowledge(row.scope)
    return all(versions.covers(known, entry.dot) for entry in row.record.content.entries if entry.moves)


def _may_merge(entry: ContentEntry, claim: Claim) -> bool:
    """Return whether an entry may be a merge of what is claimed, or hold the bytes of one, which it says no more once it is moved."""
    is_merge = bool(entry.merged) or (_has_bytes(entry) and entry.origin is not None)
    return is_merge and not _dots(claim).isdisjoint((*entry.merged, *entry.parents))


def _has_bytes(entry: ContentEntry) -> bool:
    return entry.value.kind is Kind.FILE and entry.value.size > 0
