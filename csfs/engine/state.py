"""What all parts of an engine share: the index, the rules, minting, and storing a row with what follows from it."""

from collections.abc import Collection, Iterator, Mapping

import msgspec

from csfs.core import policies, versions
from csfs.core.objects import Applied, Kind
from csfs.core.paths import ROOT, RelPath, ancestors_of
from csfs.core.policies import Ranks
from csfs.core.privileges import limited
from csfs.core.records import ContentEntry, E, Half, Record, write_of
from csfs.core.tokens import Owed
from csfs.core.versions import Dot, Hlc, Incarnation, Scope, Vector
from csfs.engine.left_behind import LeftBehind
from csfs.engine.links import (
    Links,
    entry_of,
    is_shown_elsewhere,
    meta_writes,
    shared_meta,
    shared_snapshot,
    shown_entry,
    shows_live,
    winner_of,
)
from csfs.engine.live import (
    PRIVATE_META,
    Live,
    applied_as,
    context_of,
    difference,
    is_for_other_bytes,
    is_live,
    is_plain_directory,
    lineage_of,
    live_of,
    meta_entry,
    new_row,
    unshown,
)
from csfs.engine.ports import Connected, IndexPort, Row, Step
from csfs.engine.rules import GroupRules, Rules, may_send
from csfs.engine.validation import CLOCK_MAX


class State:
    """The state of one volume on one member. `authors` may grow while the engine lives; it is read each time."""

    def __init__(
        self,
        index: IndexPort,
        rules: Rules,
        member: str,
        incarnation: Incarnation,
        authors: Mapping[Incarnation, str],
        *,
        pulling: bool = False,
    ) -> None:
        self._index = index
        self._links = Links(index)
        self.unlinkable: set[Dot] = set()
        """Writes whose names cannot be linked here: each is a file of its own."""
        self._rules = rules
        self._member = member
        self._incarnation = incarnation
        self._authors = authors
        self.pulling = pulling
        self._waiting: dict[RelPath, set[RelPath]] = {}
        """By directory that is not shown yet, the paths that were planned and wait for it."""
        self._emptying: set[RelPath] = set()
        """Directories that go once nothing is shown below them."""
        self._followed_by: dict[RelPath, set[RelPath]] = {}
        """By path that an edit followed a move to, those that go once it is shown there."""
        self._woken: dict[RelPath, None] = {}
        self._told: dict[str, dict[Scope, Vector]] = {}
        """By peer, the marks that it was sent on this connection."""
        self._ahead: dict[RelPath, set[RelPath]] = {}
        """By path, those from which an edit would follow if the object had come there; itself, if it waits to be looked at first."""
        self._left = LeftBehind()
        self._overtaken: dict[RelPath, ContentEntry] = {}
        """Merges of ours that a change made here replaced without having seen them: they are to be merged with it."""
        self._told_up_to = index.position()
        """The position up to which others may have heard."""
        groups = [group for group in rules.groups if member in group.members]
        self._peers = frozenset(peer for group in groups for peer in group.members if peer != member)
        """The other members of our groups."""
        self._settled_once: dict[Scope, Vector] = {}
        self._connected: dict[str, Connected] = {}
        """By peer, what there is to remember of it on this connection."""

    @property
    def is_in_quarantine(self) -> bool:
        """Whether a peer has shown that this member was restored or cloned, and is still to be caught up with (R8)."""
        return any(self._index.tokens(peer).owed is Owed.NOW for peer in self._peers)

    def _heard_from(self, peer: str) -> list[Scope]:
        return [g.scope for g in self._rules.groups if self._member in g.members and may_send(g, peer)]

    def _seen_with(self, dot: Dot, seen: Vector, half: Half[E], scope: Scope) -> Vector:
        """Return what a new entry of a half has seen."""
        if not half.entries:
            seen = versions.joined(seen, self._seen_of_nothing(scope))
        return versions.with_dot(seen, dot)

    def _seen_of_nothing(self, scope: Scope) -> Vector:
        """Return what a record has seen that is made where there is none: a tombstone may have been forgotten there (R12)."""
        return self._index.knowledge(scope)

    def finish_pull(self) -> None:
        """The first exchange is complete: plans are made, and every path on disk is to be observed as joining (R14)."""
        self.pulling = False

    def woken(self) -> tuple[RelPath, ...]:
        """Return, once, paths other than the observed ones that a local change made worth planning."""
        woken = tuple(self._woken)
        self._woken.clear()
        return woken

    def _rows(self) -> Iterator[tuple[RelPath, Row]]:
        root = self._index.row(ROOT)
        if root is not None:
            yield ROOT, root
        yield from self._index.rows_below(ROOT)

    def _followed(self, path: RelPath) -> GroupRules | None:
        """Return the path's group if we are in it."""
        group = self._rules.group_of(path)
        return group if group is not None and self._member in group.members else None

    def _may_write(self, group: GroupRules) -> bool:
        return may_send(group, self._member)

    def _ranks(self, group: GroupRules, record: Record) -> Ranks:
        """Return the authors' places in the group, where there is something to choose from."""
        if len(record.content.entries) < 2 and len(record.meta.entries) < 2:
            return {}
        return self._all_ranks(group)

    def _all_ranks(self, group: GroupRules) -> Ranks:
        places = {member: place for place, member in enumerate(group.members)}
        return {dot: places[member] for dot, member in self._authors.items() if member in places}

    def _live(
        self,
        path: RelPath,
        record: Record,
        applied: Applied,
        group: GroupRules,
        *,
        leaf: bool = False,
        alone: bool = False,
        without: Collection[bytes] = (),
    ) -> Live:
        """Return what the path should show. `leaf` says that nothing can be live below it, which saves asking.

        `alone` leaves out what linked paths have in common.
        """
        below = False
        if not leaf and not is_plain_directory(record):
            below = not path or self._index.has_live_below(path)
        live = live_of(record, applied, below, group.policy, self._ranks(group, record), without)
        if alone or live.entry is None or live.write is None:
            return live
        return self._together(path, record, live, applied, group)

    def _together(self, path: RelPath, record: Record, live: Live, applied: Applied, group: GroupRules) -> Live:
        """Return what is live with the meta that all linked paths have (R17)."""
        assert live.entry is not None
        others = [row.record for _, row in self._links.linked(path, group.scope, live.entry)]
        if not others:
            return live
        half, limits = shared_meta(record.meta, others, live.content.kind)
        shown = meta_entry(record, applied.meta_dot)
        ours = next((one.dot for one in half.entries if shown is not None and write_of(one) == write_of(shown)), None)
        snapshot, ranks = shared_snapshot(live.entry, others), self._all_ranks(group)
        meta, dot = policies.live_meta(half, live.content, snapshot, group.policy, ranks, ours)
        decided = next((one for one in half.entries if one.dot == dot), None)
        if snapshot is not None and decided is not None and is_for_other_bytes(decided, live.content):
            limits = [*limits, snapshot]
        meta = limited(meta, limits) if meta is not None and limits else meta
        same = [e.dot for e in record.meta.entries if decided is not None and write_of(e) == write_of(decided)]
        return msgspec.structs.replace(live, meta=meta or PRIVATE_META, meta_dot=same[0] if same else None)

    def _write_at(self, path: RelPath, record: Record, applied: Applied, group: GroupRules | None) -> Dot | None:
        """Return the write of what is live by the path's own record."""
        if not record.content.entries or group is None:
            return None
        winner = winner_of(record, group.policy, self._ranks(group, record), applied.content_dot)
        return write_of(winner) if winner is not None else None

    def _mint(self, scope: Scope, record: Record) -> Dot:
        """Return a dot that nothing known of the path has seen; knowledge includes it from now on."""
        seen = max(
            record.content.seen.get(self._incarnation, 0),
            record.meta.seen.get(self._incarnation, 0),
            record.time.dot.counter if record.time and record.time.dot.incarnation == self._incarnation else 0,
        )
        dot = Dot(self._incarnation, self._index.next_counter(scope))
        # A record that came from another revision of the group was counted there.
        while dot.counter <= seen:
            dot = Dot(self._incarnation, self._index.next_counter(scope))
        self._index.set_knowledge(scope, versions.with_dot(self._index.knowledge(scope), dot))
        return dot

    def _tick(self, now_ns: int, record: Record) -> Hlc:
        """Return the clock's next reading: a change is always later than what it replaces."""
        clock = versions.ticked(self._index.clock(), now_ns)
        self._index.set_clock(clock)
        last = max(
            (
                *(entry.hlc for entry in record.content.entries),
                *(meta.hlc for meta in record.meta.entries),
                record.time.hlc if record.time is not None else 0,
            )
        )
        # A clock that is far ahead, perhaps by mistake, counts for this path alone.
        return clock if clock > last else Hlc(min(last + 1, CLOCK_MAX))

    def _store(
        self, path: RelPath, row: Row, record: Record, applied: Applied, group: GroupRules, pending: bool
    ) -> None:
        """Store what is known and applied; halves that differ from the row's take the next position."""
        old = row.record
        content, meta, time = row.content_position, row.meta_position, row.time_position
        if record is not old:
            changed = (
                record.content.entries != old.content.entries,
                record.meta.entries != old.meta.entries,
                record.time != old.time,
            )
            if any(changed):
                position = self._index.next_position()
                content, meta, time = (
                    position if moved else before for moved, before in zip(changed, (content, meta, time), strict=True)
                )
        after = msgspec.structs.replace(
            row,
            record=record,
            applied=applied,
            scope=group.scope,
            pending=pending,
            content_position=content,
            meta_position=meta,
            time_position=time,
            arrived=unshown(row.arrived, record, applied),
        )
        self._put_known(path, row, after, group)
        self._wake_waiting(path, row.applied, applied)
        if path in self._followed_by:
            self._wake_followed(path)

    def _put_known(self, path: RelPath, before: Row, after: Row, group: GroupRules | None) -> None:
        """Put a row with another record, group or rules than before, and what follows; every change of what is known comes by here."""
        live, write = is_live(after.record), self._write_at(path, after.record, after.applied, group)
        after = msgspec.structs.replace(after, live=live, write=write)
        self._index.put(path, after)
        self._wake_names(path, before, after)

    def _wake_names(self, path: RelPath, before: Row, after: Row) -> None:
        """A path's record, group or winner has changed: have those planned whose meta was, or is now, decided together with its own."""
        was, now = before.record.meta.entries, after.record.meta.entries
        if (before.scope, before.write, was) == (after.scope, after.write, now):
            return
        entries = [entry_of(row.record, row.write) if row.write is not None else None for row in (before, after)]
        others = list[tuple[RelPath, Row]]()
        for row, entry in zip((before, after), entries, strict=True):
            is_ours = entry is not None and entry.write is None and entry.dot.incarnation == self._incarnation
            if row is after and is_ours and entry not in before.record.content.entries:
                continue  # made here and just now: nobody else knows it
            if row is before or entry is not entries[0] or after.scope != before.scope:
                others = list(self._links.linked(path, row.scope, entry)) if entry is not None else []
            ours = meta_writes(row.record)
            if all(meta_writes(theirs.record) == ours for _, theirs in others):
                continue  # not only the first of them: the others may have been given something else to decide on
            for other, theirs in others:
                self._set_pending(other, theirs)
                self._woken[other] = None

    def _store_applied(self, path: RelPath, row: Row, applied: Applied, *, pending: bool) -> None:
        write = row.write
        if len(row.record.content.entries) > 1:
            write = self._write_at(path, row.record, applied, self._followed(path))
        arrived = unshown(row.arrived, row.record, applied)
        after = msgspec.structs.replace(row, applied=applied, pending=pending, write=write, arrived=arrived)
        self._index.put(path, after)
        self._wake_names(path, row, after)
        self._wake_waiting(path, row.applied, applied)

    def _adopt(self, path: RelPath, row: Row, group: GroupRules) -> None:
        """The disk shows what is live: from now on changes build on it."""
        live = self._live(path, row.record, row.applied, group)
        applied = applied_as(
            row.applied.observation,
            live.mtime_ns,
            live.meta,
            (live.content_dot, versions.joined(row.applied.content_seen, self._context(row, live, group))),
            (live.meta_dot, versions.joined(row.applied.meta_seen, row.record.meta.seen)),
            lineage=lineage_of(row.record, live.content_dot, live.meta_dot, row.applied),
            racy=row.applied.racy,
        )
        if applied != row.applied or row.pending:
            self._store_applied(path, row, applied, pending=False)
            self._wake_apart(path, group)

    def _wake_apart(self, path: RelPath, group: GroupRules) -> None:
        """A path shows what is live: have those planned that are to be linked to it and are not, or are and are not to be."""
        row = self._index.row(path)
        entry = shown_entry(row) if row is not None else None
        if row is None or entry is None or row.applied.observation is None or write_of(entry) != row.write:
            return
        for other, theirs in list(self._links.misplaced(path, row, entry, linkable=row.write not in self.unlinkable)):
            self._set_pending(other, theirs)
            self._woken[other] = None

    def _context(self, row: Row, live: Live, group: GroupRules) -> Vector:
        return context_of(row.record.content, live, row.applied, group.policy)

    def _turn_ancestors(self, turned: Mapping[RelPath, bool], touched: dict[RelPath, None]) -> None:
        """Directories live with what is below them: have those planned that this alone makes come or go (R16)."""
        settled: set[RelPath] = set()
        for path, live in turned.items():
            for directory in ancestors_of(path):
                if directory in settled or directory == ROOT:
                    break
                settled.add(directory)
                row, group = self._index.row(directory), self._followed(directory)
                if row is not None and is_plain_directory(row.record):
                    break
                if group is None:
                    continue  # nobody plans it
                if row is None and live:
                    row = new_row(group)  # of which nobody has told
                if row is not None:
                    self._set_pending(directory, row)
                    touched[directory] = None

    def _set_pending(self, path: RelPath, row: Row) -> None:
        if not row.pending:
            self._index.put(path, msgspec.structs.replace(row, pending=True))

    def _wake_waiting(self, path: RelPath, before: Applied, after: Applied) -> None:
        """What is shown has changed, by a plan or by somebody else: have those planned that waited for it."""
        if path in self._followed_by and after.observation != before.observation:
            self._wake_followed(path)
        if after.observation is None:
            if before.observation is not None:
                self._wake_emptying(path)
        elif after.observation.kind is Kind.DIRECTORY and path in self._waiting:
            self._woken.update(dict.fromkeys(sorted(self._waiting.pop(path))))

    def _wake_followed(self, path: RelPath) -> None:
        """An edit that followed a move to this path is shown, or will not be: what shows it elsewhere may go."""
        self._woken.update(dict.fromkeys(sorted(self._followed_by.pop(path))))

    def _wake_emptying(self, path: RelPath) -> None:
        """Something is no longer shown: the nearest directory that waits to be empty may go now."""
        if not self._emptying:
            return
        for directory in ancestors_of(path):
            if directory in self._emptying:
                self._emptying.discard(directory)
                self._woken[directory] = None
                return

    def _is_shown_directory(self, path: RelPath) -> bool:
        row = self._index.row(path)
        shown = row.applied.observation if row is not None else None
        return shown is not None and shown.kind is Kind.DIRECTORY

    def _is_pending(self, path: RelPath, record: Record, applied: Applied, group: GroupRules, *, leaf: bool) -> bool:
        return self._step(path, applied, self._live(path, record, applied, group, leaf=leaf), group) is not None

    def _step(self, path: RelPath, applied: Applied, live: Live, group: GroupRules) -> Step | None:
        """Return what has to be done so that the disk shows what is live, as one inode with what is linked to it alone."""
        step, shown = difference(applied, live), applied.observation
        if step in (Step.INSTALL, Step.REMOVE) or shown is None or live.entry is None or live.write is None:
            return step
        if self._is_misplaced(path, applied, live, group):
            return Step.INSTALL
        strangers = self._links.sharing(path, shown) if step is Step.ATTRIBUTES else ()
        if any(row.scope != group.scope for _, row in strangers):
            return Step.INSTALL  # what is said of one group's path is not to be set for another's
        return step

    def _is_misplaced(self, path: RelPath, applied: Applied, live: Live, group: GroupRules) -> bool:
        assert applied.observation is not None
        assert live.entry is not None
        if live.write not in self.unlinkable:
            leader = self._links.leader(path, group.scope, live.entry, applied)
            row = self._index.row(leader) if leader is not None else None
            if row is not None and is_shown_elsewhere(row, applied.observation.stamp.inode):
                return True
        ours = (live.entry.dot != applied.content_dot, path)
        return any(
            ours > (not shows_live(row), other)
            for other, row in self._links.strangers(path, group.scope, live.write, applied)
            if row.scope == group.scope
        )
