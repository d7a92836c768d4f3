"""What an entry remembers of those before it: the versions that it came from, and those that were decided against.

Where a group merges, the newest version that two entries both came from is the base of their merge. An entry names the latest
ones, then every fourth, every sixteenth, and the first one: who was away for long finds one. If that is older than what both came
from, what both have in common since is no contradiction, but a line that was edited twice since may be. Which are left out
goes by their number, the same at every member.
"""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Final

from csfs.core import versions
from csfs.core.merging import MERGED_SIZE_MAX
from csfs.core.objects import Content, Kind
from csfs.core.policies import origin_of
from csfs.core.records import Ancestor, ContentEntry
from csfs.core.versions import Dot, Incarnation
from csfs.engine.live import ABSENT, Live, content_entry
from csfs.engine.ports import Row

OVERRULED_MAX: Final = 64
"""Overruled entries that an entry names: its own first of all; older ones were decided against that many losers ago."""
ANCESTORS_MAX: Final = 20
RECENT_MAX: Final = 8
ALIKE_MAX: Final = 4
"""Older ancestors at the same distance from each other; the next ones are farther apart by the same number."""


def may_be_merged(content: Content) -> bool:
    """Return whether this is a file small enough to be put together with others."""
    return content.kind is Kind.FILE and content.size <= MERGED_SIZE_MAX


def line_of(entry: ContentEntry) -> tuple[Ancestor, ...]:
    """Return what a successor of `entry` comes from: its content, and what that came from."""
    if not may_be_merged(entry.value):
        return entry.ancestors
    number = entry.ancestors[0].number + 1 if entry.ancestors else 0
    return _thinned((Ancestor(number, entry.value.hash, entry.value.size), *entry.ancestors))


def line_of_all(entries: Iterable[ContentEntry]) -> tuple[Ancestor, ...]:
    """Return what an entry comes from that has seen all of `entries`."""
    return _thinned(ancestor for entry in entries for ancestor in line_of(entry))


def line_of_change(row: Row, incarnation: Incarnation, told: int) -> tuple[Ancestor, ...]:
    """Return what a local change comes from: what is shown. `told`: the position up to which others may have heard.

    A version that nobody else has heard of is nobody's ancestor: who works alone for a day adds nothing.
    """
    applied, entries = row.applied, row.record.content.entries
    base = content_entry(row.record, applied.content_dot)
    if base is not None:
        is_own = base.dot.incarnation == incarnation and row.content_position > told
        return base.ancestors if is_own else line_of(base)
    shown = applied.observation
    if shown is None or shown.kind is not Kind.FILE or shown.size > MERGED_SIZE_MAX:
        return ()
    # What replaced it is known already, and may say where it stands.
    for entry in entries:
        for at, ancestor in enumerate(entry.ancestors):
            if ancestor.hash == shown.hash:
                return entry.ancestors[at:]
    return (Ancestor(0, shown.hash, shown.size),)


def common_ancestor(ours: Sequence[Ancestor], theirs: Sequence[Ancestor]) -> Ancestor | None:
    """Return the newest content that both lines have, None if there is none."""
    known = {ancestor.hash for ancestor in ours}
    shared = known.intersection(ancestor.hash for ancestor in theirs)
    return max((ancestor for ancestor in (*ours, *theirs) if ancestor.hash in shared), default=None)


def _thinned(ancestors: Iterable[Ancestor]) -> tuple[Ancestor, ...]:
    kept: dict[bytes, Ancestor] = {}
    step, room = 1, RECENT_MAX
    for ancestor in sorted(ancestors, reverse=True):
        if ancestor.number % step or ancestor.hash in kept:
            continue
        kept[ancestor.hash] = ancestor
        room -= 1
        if not room:
            step, room = step * ALIKE_MAX, ALIKE_MAX
        if len(kept) == ANCESTORS_MAX:
            break
    return tuple(kept.values())


# -------------------------------------------------------------------------------------------------------- decided against


def overruled_by_change(
    row: Row, content: Content, incarnation: Incarnation, source: Row | None = None
) -> tuple[Dot, ...]:
    """Return the losers of decided conflicts that a change replaces, with those that led to what it replaces.

    What this member has decided and not applied yet is among them: no vector can leave out an earlier dot of its own. So is what was
    decided against at the `source` of what was moved here: who has not heard of an earlier move may show that under this name. What
    said so may be in doubt, and not known any more (R8).
    """
    applied, losers = row.applied, list[Dot]()
    before = [overruled_by_change(source, ABSENT, incarnation) if source is not None else (), applied.lineage.overruled]
    for entry in row.record.content.entries:
        if versions.covers(applied.content_seen, entry.dot):
            before.append(entry.overruled)
            if _is_bytes(entry) and entry.dot != applied.content_dot and entry.value != content:
                losers += _decided_against(entry)
        elif entry.dot.incarnation == incarnation and entry.value != content:
            before.append(entry.overruled)
            losers += _decided_against(entry)
    return latest_dots(before, losers)


def overruled_by_decision(entries: Sequence[ContentEntry], live: Live, content: Content) -> tuple[Dot, ...]:
    """Return the entries that are decided against beside the live one, with those that were before, and those decided for.

    A file that gives way to a directory is among them: who wants something below it has said nothing of the file (R16). So is what a
    merge was made of that is decided against: it may not have been shown yet to anybody.
    Who shows one of those decided for does nothing now; whoever replaces this entry before it has come has not seen them.
    """
    losers = list[Dot]()
    for entry in entries:
        is_displaced = entry.dot != live.content_dot or content.kind is Kind.DIRECTORY
        if _is_bytes(entry) and (is_displaced or entry.value == content):
            losers += _decided_against(entry)
        else:
            losers += entry.merged
    return latest_dots((entry.overruled for entry in entries), losers)


def overruled_in(entries: Iterable[ContentEntry], loser: ContentEntry | None = None) -> tuple[Dot, ...]:
    """Return what was decided against when one of these was made, and the loser of now, if there is one."""
    return latest_dots((entry.overruled for entry in entries), _decided_against(loser) if loser is not None else ())


def latest_dots(before: Iterable[Sequence[Dot]], last: Iterable[Dot] = ()) -> tuple[Dot, ...]:
    """Return what stands `last`, and as much as there is room for of what each of the lists `before` has at its end.

    What has just been decided against may be shown by many who have heard of nothing yet; of the rest most have.
    """
    found = dict.fromkeys(last)
    for dots in zip_longest(*(reversed(one) for one in before)):
        found.update(dict.fromkeys(dot for dot in dots if dot is not None))
    return tuple(found)[:OVERRULED_MAX][::-1]


def _decided_against(entry: ContentEntry) -> tuple[Dot, ...]:
    """Return the dots under which a member may show what a loser holds: an edit that followed has another where it was made."""
    return (*entry.merged, entry.dot, origin_of(entry))


def _is_bytes(entry: ContentEntry) -> bool:
    return entry.value.kind not in (Kind.ABSENT, Kind.DIRECTORY)
