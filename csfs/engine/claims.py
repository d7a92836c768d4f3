"""Whether what a peer claims to have made is here, for programs that wait there (R26). Pure: contents are for the caller to find."""

from csfs.core import versions
from csfs.core.objects import Kind
from csfs.core.records import ContentEntry
from csfs.core.rows import Row
from csfs.wire.messages import Claim


def includes(row: Row | None, claim: Claim) -> bool:
    """Return whether what is known of a path includes the claimed versions, or what came after them."""
    if row is None:
        return claim.content is None and claim.meta is None
    pairs = ((claim.content, row.record.content), (claim.meta, row.record.meta))
    return all(dot is None or versions.covers(half.seen, dot) for dot, half in pairs)


def content_claimed(row: Row | None, claim: Claim) -> ContentEntry | None:
    """Return the entry whose content is to be here, None if there is none: it is no file, or something has superseded it."""
    entries = row.record.content.entries if row is not None else ()
    return next((e for e in entries if e.dot == claim.content and e.value.kind is Kind.FILE and e.value.size), None)
