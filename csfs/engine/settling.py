"""What a person decides about a path: a change that has seen everything known of it, so that it supersedes every contestant.

Nothing is done on disk here: the entry is known and then applied like a peer's, and what it displaces is kept like anything that
a peer's change displaces.
"""

from collections.abc import Container
from typing import NamedTuple

import msgspec

from csfs.core import versions
from csfs.core.objects import Applied, Content, Kind, Meta
from csfs.core.paths import ROOT, RelPath, ancestors_of
from csfs.core.policies import merges, origin_of, parents_with
from csfs.core.privileges import without_privileges
from csfs.core.records import ContentEntry, DirectoryTime, Half, MetaEntry, Record, write_of
from csfs.core.versions import Dot, Hlc
from csfs.engine.ancestry import line_of_all, overruled_by_decision
from csfs.engine.links import entry_of, shared_clock
from csfs.engine.live import (
    DIRECTORY,
    NO_META,
    PRIVATE_META,
    Live,
    holds,
    holds_directory,
    is_live,
    lineage_of,
    live_of,
    meta_entry,
    meta_of,
    new_row,
    removed_meta,
    shown_mtime_ns,
    stands_for,
)
from csfs.engine.moving import merged_moves
from csfs.engine.ports import Row
from csfs.engine.rules import GroupRules
from csfs.engine.state import State


class Settling(State):
    """Settles what is live."""

    def may_settle(self, path: RelPath) -> bool | None:
        """Return whether this member may change a path; None if it follows no path of that name."""
        group = self._followed(path)
        return None if group is None else self._may_write(group)

    def live(self, path: RelPath) -> Live | None:
        """Return what a path should show, None if nothing is known of it."""
        group, row = self._followed(path), self._index.row(path)
        return None if group is None or row is None else self._live(path, row.record, row.applied, group)

    def names_of(self, path: RelPath) -> tuple[RelPath, ...]:
        """Return the other paths that are linked to a path."""
        group, row = self._followed(path), self._index.row(path)
        entry = entry_of(row.record, row.write) if row is not None and row.write is not None else None
        return (
            () if group is None or entry is None else tuple(n for n, _ in self._links.linked(path, group.scope, entry))
        )

    def settle(
        self,
        path: RelPath,
        content: Content | None,
        meta: Meta | None,
        now_ns: int,
        apart: Container[RelPath] = (),
    ) -> tuple[RelPath, ...]:
        """Make this live at a path on top of all that is known, None leaving a half alone; return the paths to be planned.

        Directories that have to be there for it, and are not, come back with it. `content` of kind absent takes the path away.
        What is linked to it changes with it, as by a write, but for the paths `apart` (R17). Only where `may_settle`.
        """
        group = self._followed(path)
        assert group is not None, "a path that is not followed"
        assert self._may_write(group), "a member that only receives"
        made: list[RelPath] = []
        if content is not None and content.kind is not Kind.ABSENT:
            made += self._settle_parents(path, now_ns)
        names = [path, *(name for name in self._names_settled(path, content) if name not in apart)]
        rows = [self._index.row(name) or new_row(group) for name in names]
        hlc, shared = max(self._tick(now_ns, row.record) for row in rows), _NOT_SHARED
        twin = self._twin_on_disk(path, rows[0], content)
        if twin is not None:
            # As that name has it: the disk may show its time less exactly, or not its owners (R4).
            applied = msgspec.structs.replace(rows[0].applied, mtime_ns=twin[0].applied.mtime_ns)
            rows[0], content = msgspec.structs.replace(rows[0], applied=applied), twin[1].value
            meta = _meta_of(twin[0], meta, content)
            shared = _shared_with(twin, meta)
            hlc = max(shared_clock(twin[1], row.record, hlc) for row in rows)
        when = now_ns, hlc
        for name, row in zip(names, rows, strict=True):
            shared = self._settle_one(name, row, group, content, meta, when, shared)
        return (*made, *names, *self.woken())

    def _names_settled(self, path: RelPath, content: Content | None) -> tuple[RelPath, ...]:
        live = self.live(path)
        is_same_kind = live is not None and (content is None or content.kind is live.content.kind)
        return self.names_of(path) if is_same_kind else ()

    def _twin_on_disk(self, path: RelPath, row: Row, content: Content | None) -> tuple[Row, ContentEntry] | None:
        """Return the row of another name of what is shown at a path and stands for no version, and its entry, if that is shown there.

        A power cut may have left both: what is taken as it is stays one file (R24).
        """
        if content is None or row.applied.content_dot is not None or not _shows(row.applied, content):
            return None
        found = row.applied.observation
        twin = self._links.twin(path, row.scope, found, [name for name, _ in self._links.sharing(path, found)])
        return twin if twin is not None and _shows(twin[0].applied, twin[1].value) else None

    def _settle_parents(self, path: RelPath, now_ns: int) -> list[RelPath]:
        made = []
        for directory in reversed(ancestors_of(path)):
            group = self._followed(directory)
            if directory == ROOT or group is None or not self._may_write(group):
                continue
            row = self._index.row(directory) or new_row(group)
            by_itself = live_of(row.record, row.applied, False, group.policy, self._ranks(group, row.record))
            if by_itself.content.kind is not Kind.DIRECTORY:
                removed = removed_meta(row.record.content) or PRIVATE_META
                when = now_ns, self._tick(now_ns, row.record)
                self._settle_one(directory, row, group, DIRECTORY, removed, when, _NOT_SHARED)
                made.append(directory)
        return made

    def _settle_one(
        self,
        path: RelPath,
        row: Row,
        group: GroupRules,
        content: Content | None,
        meta: Meta | None,
        when: tuple[int, Hlc],
        shared: "_Shared",
    ) -> "_Shared":
        """Settle one path; return the writes that its other names share with it, given those that it shares with the ones before."""
        live = self._live(path, row.record, row.applied, group)
        now_ns, hlc = when
        record, applied = row.record, row.applied
        value = content if content is not None else live.content
        if value.kind is Kind.ABSENT:
            meta = NO_META
        if content is not None:
            half = record.content
            dot = self._mint(group.scope, record)
            seen = self._seen_with(dot, half.seen, half, group.scope)
            snapshot = live.meta if value.kind is Kind.ABSENT else meta if meta is not None else live.meta
            entry = _entry(dot, hlc, row, live, content, snapshot, merging=merges(group.policy))
            entry = msgspec.structs.replace(entry, write=shared.content)
            shared = shared._replace(content=shared.content or dot)
            record = Record(Half((entry,), seen), record.meta, record.time)
            if _shows(applied, content):
                applied = msgspec.structs.replace(
                    applied,
                    content_dot=dot,
                    content_seen=versions.joined(applied.content_seen, seen),
                    lineage=lineage_of(record, dot, applied.meta_dot, applied),
                )
        if meta is not None:
            dot = self._mint(group.scope, record)
            meta_entry = MetaEntry(dot, hlc, meta, value.kind, value.hash, write=shared.meta, decided=True)
            shared = shared._replace(meta=shared.meta or dot)
            seen = self._seen_with(dot, record.meta.seen, record.meta, group.scope)
            record = Record(record.content, Half((meta_entry,), seen), record.time)
            applied = _decided_as_shown(applied, value, meta)
        if value.kind is Kind.DIRECTORY and (record.time is None or not holds_directory(row.record)):
            time = DirectoryTime(self._mint(group.scope, record), hlc, now_ns)
            record = Record(record.content, record.meta, time)
        # Also where the disk shows it already: a plan finds that, and adopts it.
        self._store(path, row, record, applied, group, True)
        if is_live(record) != row.live:
            self._turn_ancestors({path: is_live(record)}, self._woken)
        return shared


class _Shared(NamedTuple):
    """The writes that names of one inode share which are settled together."""

    content: Dot | None = None
    meta: Dot | None = None


_NOT_SHARED = _Shared()


def _shared_with(twin: tuple[Row, ContentEntry], meta: Meta | None) -> _Shared:
    row, entry = twin
    return _Shared(write_of(entry), next((write_of(one) for one in row.record.meta.entries if one.value == meta), None))


def _meta_of(twin: Row, meta: Meta | None, content: Content) -> Meta | None:
    """Return the meta that another name of an object has here, if that is what the disk shows for it; else what is decided."""
    applied = twin.applied
    entry, found = meta_entry(twin.record, applied.meta_dot), applied.observation
    if meta is None or entry is None or found is None or meta != meta_of(found):
        return meta
    known = meta_for(entry, content)
    return known if stands_for(applied, known, content.kind) else meta


def _shows(applied: Applied, content: Content) -> bool:
    found = applied.observation
    is_timed = content.kind is not Kind.DIRECTORY
    return found is not None and holds(found, content) and (not is_timed or shown_mtime_ns(applied) == content.mtime_ns)


def _decided_as_shown(applied: Applied, content: Content, meta: Meta) -> Applied:
    """Return what is applied where a decision is for the bytes and the mode that are shown (R5).

    They may be moved, and recorded elsewhere, before a plan adopts it.
    """
    found = applied.observation
    if found is None or not holds(found, content) or found.mode != meta.mode:
        return applied
    return msgspec.structs.replace(applied, lineage=msgspec.structs.replace(applied.lineage, decided=True))


def _entry(
    dot: Dot, hlc: Hlc, row: Row, live: Live, content: Content, snapshot: Meta | None, *, merging: bool
) -> ContentEntry:
    entries = row.record.content.entries
    same = next((entry for entry in entries if entry.value == content), None)
    before = same or live.entry
    is_born = before is None or before.value.kind is Kind.ABSENT
    birth = dot if is_born and content.kind is not Kind.ABSENT else before.birth if before is not None else None
    return ContentEntry(
        dot,
        hlc,
        content,
        snapshot,
        birth,
        same.parents
        if same is not None
        else parents_with(before.parents, origin_of(before))
        if before is not None
        else (),
        merged_moves(list(entries), birth),
        origin=origin_of(same) if same is not None else None,
        overruled=overruled_by_decision(entries, live, content),
        ancestors=line_of_all(entries) if merging else (),
    )


def meta_for(entry: MetaEntry, content: Content) -> Meta:
    """Return what a meta entry means for a content: privileges belong to the bytes that they were given to (R5)."""
    return entry.value if entry.hash == content.hash else without_privileges(entry.value)
