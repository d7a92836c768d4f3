"""Which entry of a half is live: pure functions of the set, the policy and the members' order, the same at every member.

Before any policy: an edit beats a delete, anything beats an empty directory, and bytes lose to what was made from them. Then the
policies in order, each a preorder that leaves its best candidates to the next; the hybrid logical clock and the dot decide
what is left. `merge` leaves everything to the next policy: what it makes is an entry that has seen the others. An entry's author and
dot are those of its write, which all names of one inode share: versions that were written through several names win or lose under
all of them (R17).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from csfs.core import acls
from csfs.core.objects import Content, Kind, Meta
from csfs.core.privileges import limited, without_privileges
from csfs.core.records import ContentEntry, E, Half, MetaEntry, write_of
from csfs.core.versions import Dot, Incarnation

Ranks = Mapping[Incarnation, int]
"""Per incarnation, its author's place in the group; authors that were removed are missing."""

NONE: Final = "none"
MERGE: Final = "merge"
FALLBACK: Final = ("younger",)

PARENTS_MAX: Final = 8
RECENT_PARENTS_MAX: Final = 4
"""What something was made from is for the few changes that cross it on the way; it costs some ten bytes each."""

_LAST: Final = 1 << 30

_content_measures: Final[dict[str, Callable[[ContentEntry], int]]] = {
    "younger": lambda entry: entry.value.mtime_ns,
    "older": lambda entry: -entry.value.mtime_ns,
    "bigger": lambda entry: entry.value.size,
    "smaller": lambda entry: -entry.value.size,
}
# Meta has no mtime: when it was set is its age.
_meta_measures: Final[dict[str, Callable[[MetaEntry], int]]] = {
    "younger": lambda entry: entry.hlc,
    "older": lambda entry: -entry.hlc,
}


def content_winner(
    entries: Sequence[ContentEntry], policy: Sequence[str], ranks: Ranks, shown: Dot | None = None
) -> ContentEntry | None:
    """Return the entry that is live, None for no entries.

    `shown` is the entry that this member showed last; it counts for the policy `none` alone.
    """
    if len(entries) < 2:
        return entries[0] if entries else None
    candidates = contenders(entries)
    if not is_content_conflict(candidates) or len({entry.value.kind for entry in candidates}) > 1:
        policy = [name for name in policy if name != NONE] or FALLBACK
    return _decided(candidates, policy, ranks, shown, _content_measures)


def meta_winner(
    entries: Sequence[MetaEntry], policy: Sequence[str], ranks: Ranks, shown: Dot | None = None
) -> MetaEntry | None:
    """Return the entry that is live among those that are eligible, None for no entries."""
    if len(entries) < 2:
        return entries[0] if entries else None
    return _decided(entries, policy, ranks, shown, _meta_measures)


def live_meta(
    half: Half[MetaEntry],
    content: Content,
    snapshot: Meta | None,
    policy: Sequence[str],
    ranks: Ranks,
    shown: Dot | None = None,
) -> tuple[Meta | None, Dot | None]:
    """Return the meta that an object with this content has, and the entry it is from (None: its snapshot) (R5)."""
    eligible = [entry for entry in half.entries if entry.kind is content.kind]
    winner = meta_winner(eligible, policy, ranks, shown)
    if winner is None:
        return snapshot, None
    value = winner.value if winner.hash == content.hash else without_privileges(winner.value)
    if len(eligible) > 1:
        value = limited(value, [entry.value for entry in eligible])
    return value, winner.dot


def is_content_conflict(entries: Sequence[ContentEntry]) -> bool:
    """Return whether the entries hold different objects; times alone are no conflict, nor is a delete against an edit."""
    if len(entries) < 2:
        return False
    living = [entry.value for entry in entries if entry.value.kind is not Kind.ABSENT]
    return len({(c.kind, c.size, c.hash, c.target, c.device) for c in living}) > 1


def is_meta_conflict(entries: Sequence[MetaEntry]) -> bool:
    """Return whether the entries for one kind of object say different things."""
    if len(entries) < 2:
        return False
    living = [entry for entry in entries if entry.kind is not Kind.ABSENT]
    values = {
        (e.value.mode, e.value.owner or e.value.uid, e.value.group or e.value.gid, acls.meaning(e.value.xattrs))
        for e in living
    }
    return len({entry.kind for entry in living}) == 1 and len(values) > 1


def is_left_open(entries: Sequence[ContentEntry], policy: Sequence[str]) -> bool:
    """Return whether the policy leaves the choice to each member, so that a local change has not seen the others."""
    return NONE in policy and is_content_conflict(entries)


def origin_of(entry: ContentEntry | MetaEntry) -> Dot:
    """Return the dot of the entry that first held these bytes, or said this of an object."""
    return entry.origin or entry.dot


def parents_with(parents: tuple[Dot, ...], last: Dot | None) -> tuple[Dot, ...]:
    """Return what something was made from whose last source is `last`, which had these.

    Of many, the last few stay, and the last one of each incarnation: it is what others may have who have heard nothing since.
    """
    if last is None:
        return parents
    if not parents:
        return (last,)
    chain = [*(dot for dot in parents if dot != last), last]
    latest = {dot.incarnation: dot for dot in chain}
    stay = {*chain[-RECENT_PARENTS_MAX:], *latest.values()}
    return tuple(dot for dot in chain if dot in stay)[-PARENTS_MAX:]


def merges(policy: tuple[str, ...]) -> bool:
    """Return whether files that several members changed are to be put together."""
    return policy[:1] == (MERGE,)


def contenders(entries: Sequence[ContentEntry]) -> Sequence[ContentEntry]:
    """Return what a policy has to choose from: not what loses whatever the policy is."""
    living = [entry for entry in entries if entry.value.kind is not Kind.ABSENT] or entries
    # Whoever asks has found out whether the directory has live children; here it is an empty one.
    objects = [entry for entry in living if entry.value.kind is not Kind.DIRECTORY] or living
    beaten = {parent for entry in objects for parent in entry.parents if parent != origin_of(entry)}
    unbeaten = [entry for entry in objects if origin_of(entry) not in beaten]
    return unbeaten or objects


def _decided(
    candidates: Sequence[E],
    policy: Sequence[str],
    ranks: Ranks,
    shown: Dot | None,
    measures: Mapping[str, Callable[[Any], int]],
) -> E:
    for name in policy:
        if len(candidates) == 1:
            break
        if name == NONE:
            return next((e for e in candidates if e.dot == shown), None) or min(candidates, key=write_of)
        if name == "first":
            return min(candidates, key=lambda entry: (entry.hlc, write_of(entry)))
        measure = _place(name, ranks) or measures.get(name)
        if measure is not None:
            best = max(measure(entry) for entry in candidates)
            candidates = [entry for entry in candidates if measure(entry) == best]
    return max(candidates, key=lambda entry: (entry.hlc, write_of(entry)))


def _place(name: str, ranks: Ranks) -> Callable[[Any], int] | None:
    """Return the measure of `left` and `right`: removed members come last in both."""
    if name == "left":
        return lambda entry: -ranks.get(write_of(entry).incarnation, _LAST)
    if name == "right":
        return lambda entry: ranks.get(write_of(entry).incarnation, -_LAST)
    return None
