"""Hard links: which names belong to one inode, by the records and by what is shown, and what such names have in common (R17).

Paths are linked exactly when their winners share write and value, within one group. One inode has one meta: that of linked paths is
decided among the entries of all of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from csfs.core import policies
from csfs.core.objects import Applied, Kind, Meta, Observation
from csfs.core.paths import RelPath
from csfs.core.policies import Ranks
from csfs.core.records import ContentEntry, Half, MetaEntry, Record, write_of
from csfs.core.versions import Dot, Hlc, Scope
from csfs.engine.live import content_entry, content_of, holds
from csfs.engine.ports import IndexPort, Row

_UNLINKABLE: Final = (Kind.ABSENT, Kind.DIRECTORY)


def winner_of(record: Record, policy: Sequence[str], ranks: Ranks, shown: Dot | None) -> ContentEntry | None:
    """Return the winner by the path's own record, if it is something that can have several names."""
    entry = policies.content_winner(record.content.entries, policy, ranks, shown)
    return entry if entry is not None and entry.value.kind not in _UNLINKABLE else None


def entry_of(record: Record, write: Dot) -> ContentEntry | None:
    """Return the entry of a write."""
    return next((entry for entry in record.content.entries if write_of(entry) == write), None)


def shown_entry(row: Row) -> ContentEntry | None:
    """Return the entry that is shown, if it still stands."""
    return content_entry(row.record, row.applied.content_dot)


def is_shown_elsewhere(row: Row, inode: int) -> bool:
    """Return whether the disk shows an object of another inode at the path."""
    shown = row.applied.observation
    return shown is not None and shown.stamp.inode != inode


def shows_as_found(row: Row, observation: Observation) -> bool:
    """Return whether what is recorded of a path is this object, with this content."""
    shown = row.applied.observation
    return (
        shown is not None
        and shown.stamp.inode == observation.stamp.inode
        and shown.mtime_ns == observation.mtime_ns
        and holds(observation, content_of(shown))
    )


class Links:
    """Asks an index for names."""

    def __init__(self, index: IndexPort) -> None:
        self._index = index

    def linked(self, path: RelPath, scope: Scope, entry: ContentEntry) -> Iterator[tuple[RelPath, Row]]:
        """Yield the other paths that are linked to `path`, where this entry is live; ascending."""
        write = write_of(entry)
        for other in self._index.paths_written(write):
            row = self._index.row(other)
            if other == path or row is None or row.scope != scope or row.write != write:
                continue  # found by a write that the rules before had it show
            theirs = entry_of(row.record, write)
            if theirs is not None and theirs.value == entry.value:
                yield other, row

    def sharing(self, path: RelPath, observation: Observation | None) -> Iterator[tuple[RelPath, Row]]:
        """Yield the other paths that show the same inode, by what was seen there last."""
        if observation is None or observation.links < 2 or observation.kind is Kind.DIRECTORY:
            return
        for other in self._index.paths_linked(observation.stamp.inode):
            row = self._index.row(other)
            if other != path and row is not None:
                yield other, row

    def strangers(
        self, path: RelPath, scope: Scope, write: Dot | None, applied: Applied
    ) -> Iterator[tuple[RelPath, Row]]:
        """Yield paths that show the same inode and are to show another one, or belong to another group."""
        for other, row in self.sharing(path, applied.observation):
            if row.scope != scope or row.write != write:
                yield other, row

    def misplaced(
        self, path: RelPath, row: Row, entry: ContentEntry, *, linkable: bool
    ) -> Iterator[tuple[RelPath, Row]]:
        """Yield paths that are not linked as they are to be, to one that shows this entry, which is live there.

        Those that show the same as a file of their own, if they are `linkable` here, perhaps as another version, and those that show
        the same inode, are to show another one, and give way.
        """
        shown = row.applied.observation
        assert shown is not None, "nothing is shown"
        for other, theirs in self.linked(path, row.scope, entry) if linkable else ():
            if (shows_live(theirs) or not theirs.pending) and is_shown_elsewhere(theirs, shown.stamp.inode):
                yield other, theirs
        for other, theirs in self.strangers(path, row.scope, row.write, row.applied):
            if theirs.scope == row.scope and (not shows_live(theirs), other) > (False, path):
                yield other, theirs

    def leader(self, path: RelPath, scope: Scope, entry: ContentEntry, applied: Applied) -> RelPath | None:
        """Return the path that `path`, where this entry is live, has to be linked to; None: the others are linked to it, or none is.

        The first of all names leads, and among the others the smallest; one that shares its inode with another group comes last.
        """
        shows = _shows(applied, entry)
        if shows and entry.write is None and applied.observation is not None and applied.observation.links < 2:
            return None  # as nearly always: it need not ask
        candidates = [(path, entry, applied.observation)] if shows else []
        for other, row in self.linked(path, scope, entry):
            theirs = shown_entry(row)
            if theirs is not None and write_of(theirs) == write_of(entry) and _shows(row.applied, theirs):
                candidates.append((other, theirs, row.applied.observation))
        shared: dict[int, bool] = {}
        """By inode, as most names have the same one: to ask for each name what shares it would cost the square of their number."""
        ready = []
        for name, theirs, observation in candidates:
            inode = observation.stamp.inode if observation is not None else 0
            if inode not in shared:
                shared[inode] = any(row.scope != scope for _, row in self.sharing(name, observation))
            ready.append((shared[inode], theirs.write is not None, name))
        first = min(ready)[-1] if ready else path
        return None if first == path else first

    def twin(
        self, path: RelPath, scope: Scope, observation: Observation | None, names: Iterable[RelPath]
    ) -> tuple[Row, ContentEntry] | None:
        """Return the row of another name of what was found, and its entry, if that is recorded as it was found."""
        if observation is None or observation.kind is Kind.DIRECTORY:
            return None
        for name in names:
            row = self._index.row(name)
            if name == path or row is None or row.scope != scope or not shows_as_found(row, observation):
                continue
            entry = shown_entry(row)
            if entry is not None:
                return row, entry
        return None


def _shows(applied: Applied, entry: ContentEntry) -> bool:
    shown = applied.observation
    return shown is not None and applied.content_dot == entry.dot and holds(shown, entry.value)


# --------------------------------------------------------------------------------------------------------- one meta for all


def shared_meta(own: Half[MetaEntry], others: Sequence[Record], kind: Kind) -> tuple[Half[MetaEntry], list[Meta]]:
    """Return the entries that the meta of linked paths is decided among, the same for each of them, and what limits it besides.

    Of the entries of one write the smallest dot stands for all. What a new name was given along with its inode is nobody's decision: it
    loses to one, and still grants to nobody what it did not grant before (R5).
    """
    best: dict[Dot, MetaEntry] = {}
    for half in (own, *(record.meta for record in others)):
        for entry in (entry for entry in half.entries if entry.kind is kind):
            known = best.get(write_of(entry))
            if known is None or entry.dot < known.dot:
                best[write_of(entry)] = entry
    decisions = [entry for entry in best.values() if entry.write is None]
    limits = [entry.value for entry in best.values() if entry.write is not None] if decisions else []
    return Half(tuple(sorted(decisions or best.values(), key=lambda entry: entry.dot)), own.seen), limits


def shared_snapshot(entry: ContentEntry, others: Sequence[Record]) -> Meta | None:
    """Return the snapshot that linked paths fall back upon."""
    theirs = [found for record in others if (found := entry_of(record, write_of(entry))) is not None]
    return min((entry, *theirs), key=lambda one: one.dot).snapshot


def meta_writes(record: Record) -> frozenset[tuple[Dot, Hlc, bool]]:
    """Return the writes of a record's meta: paths that have the same ones decide alike, alone or together.

    Of several, what is no decision of its own name, and when each was made, counts as well.
    """
    entries = record.meta.entries
    if len(entries) == 1:
        return frozenset({(write_of(entries[0]), Hlc(0), False)})
    return frozenset((write_of(entry), entry.hlc, entry.write is None) for entry in entries)


def shows_live(row: Row) -> bool:
    """Return whether the entry that is live at a path, by its own record, is shown there."""
    entry = shown_entry(row)
    return entry is not None and write_of(entry) == row.write


def shared_clock(twin: ContentEntry | MetaEntry, record: Record, hlc: Hlc) -> Hlc:
    """Return the clock of what another name of the same inode has, unless this one replaces something later."""
    clocks = [*(entry.hlc for entry in record.content.entries), *(entry.hlc for entry in record.meta.entries)]
    return twin.hlc if all(clock < twin.hlc for clock in clocks) else hlc


def is_same_inode(before: Observation | None, found: Observation | None) -> bool:
    """Return whether two looks found one object."""
    return before is not None and found is not None and before.stamp.inode == found.stamp.inode
