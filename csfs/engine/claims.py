"""Whether what a peer claims to have made is here, for programs that wait there (R26). Pure: contents are for the caller to find."""

from csfs.core import versions
from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.records import ContentEntry
from csfs.core.rows import Row
from csfs.wire.messages import Claim


def includes(row: Row | None, claim: Claim) -> bool:
    """Return whether what is known of a path includes the claimed versions, or what came after them."""
    if row is None:
        return claim.content is None and claim.meta is None
    pairs = ((claim.content, row.record.content), (claim.meta, row.record.meta))
    return all(dot is None or versions.covers(half.seen, dot) for dot, half in pairs)


def claim_of(path: RelPath, row: Row) -> Claim:
    """Return the claim of what is shown at a path."""
    applied, shown = row.applied, row.applied.observation
    return Claim(path, applied.content_dot, applied.meta_dot, shown.hash if shown is not None and shown.size else b"")


def is_overruled(row: Row | None, claim: Claim) -> bool:
    """Return whether a claimed content was superseded by what a policy had preferred to it: whoever made that may never have had it.

    Who has nothing but that does not have what was claimed.
    """
    entries = row.record.content.entries if row is not None else ()
    return bool(claim.hash) and any(claim.content in entry.overruled for entry in entries)


def content_claimed(row: Row | None, claim: Claim) -> ContentEntry | None:
    """Return the entry whose content is to be here, None if there is none: it is no file, or something has superseded it."""
    entries = row.record.content.entries if row is not None else ()
    return next((e for e in entries if e.dot == claim.content and e.value.kind is Kind.FILE and e.value.size), None)
