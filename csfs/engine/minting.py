"""New versions: which halves of a path changed on disk, and the entries that say so."""

import msgspec

from csfs.core import versions
from csfs.core.objects import Applied, Content, Kind, Meta, Observation, Xattrs
from csfs.core.paths import RelPath, parent_of
from csfs.core.policies import origin_of
from csfs.core.privileges import has_privileges
from csfs.core.records import ContentEntry, DirectoryTime, Half, MetaEntry, Record, halves_joined
from csfs.core.versions import Dot, Hlc, Scope, Vector
from csfs.engine.live import (
    NO_META,
    Live,
    applied_as,
    content_entry,
    content_of,
    holds,
    is_plain_directory,
    is_same_meta,
    live_of,
    meta_of,
)
from csfs.engine.ports import Row
from csfs.engine.rules import GroupRules
from csfs.engine.state import State

OVERRULED_MAX = 16
"""Overruled entries that an entry names; older ones were replaced that many conflicts ago."""


class Change(msgspec.Struct, frozen=True):
    """What differs between what was applied and what is on disk. `object`: it was created, removed or is another one."""

    content: bool
    meta: bool
    time: bool
    object: bool

    @staticmethod
    def between(applied: Applied, after: Observation | None, created: bool) -> "Change | None":
        """Return what differs, None for nothing (a stamp alone is nothing). Owners are compared by number (R4)."""
        before = applied.observation
        if before is None or after is None:
            if before is after:
                return None
            return Change(True, True, after is not None and after.kind is Kind.DIRECTORY, True)
        if before.kind is not after.kind:
            return Change(True, True, after.kind is Kind.DIRECTORY, True)
        time = before.mtime_ns != after.mtime_ns
        is_directory = after.kind is Kind.DIRECTORY
        content = not holds(after, content_of(before)) or (time and not is_directory)
        meta = (
            before.mode != after.mode
            or before.uid != after.uid
            or before.gid != after.gid
            or before.xattrs != after.xattrs
        )
        if not (content or meta or time):
            return None
        return Change(content, meta, time and is_directory, content and created)


class Circumstances(msgspec.Struct, frozen=True):
    """What is known of a change beyond what the disk shows. `adopting`: it may be something known that was applied."""

    now_ns: int
    moved_from: RelPath | None = None
    moved_to: RelPath | None = None
    racy: bool = False
    adopting: bool = True


class _Draft(msgspec.Struct):
    """A record under change, and what will be applied of it."""

    record: Record
    content: tuple[Dot | None, Vector]
    meta: tuple[Dot | None, Vector]


class Minting(State):
    """Makes entries; `Local` decides when."""

    def _change(
        self,
        path: RelPath,
        row: Row,
        observation: Observation | None,
        change: Change,
        group: GroupRules,
        circumstances: Circumstances,
    ) -> bool:
        """Adopt what is known and mint what is not; return whether the record changed."""
        applied = row.applied
        before = applied.observation
        content, meta = _carried_content(applied, observation), _carried_meta(applied, observation)
        live = None
        if row.pending and circumstances.adopting:
            live = self._live(path, row.record, applied, group)
        draft = _Draft(row.record, (applied.content_dot, applied.content_seen), (applied.meta_dot, applied.meta_seen))
        minted = False
        hlc = self._tick(circumstances.now_ns, row.record)
        if change.content:
            minted = self._content_changed(path, row, draft, change, (content, meta), live, group, circumstances, hlc)
        if observation is None:
            if minted:
                self._mint_meta(draft, group.scope, NO_META, None, hlc)
            else:
                draft.meta = (None, draft.meta[1])
        else:
            self._meta_changed(draft, change, minted, meta, observation, live, group, hlc)
            # While a directory is being changed for peers, its time is rather the trace of a commit than somebody's wish.
            if change.time and (change.object or not row.pending):
                self._time_changed(draft, observation.mtime_ns, group.scope, hlc)
        mtime_ns = None if content.kind is Kind.DIRECTORY else content.mtime_ns
        after = applied_as(observation, mtime_ns, meta, draft.content, draft.meta, racy=circumstances.racy)
        leaf = not row.pending and not _is_directory(before) and not _is_directory(observation)
        pending = self._is_pending(path, draft.record, after, group, leaf=leaf)
        self._store(path, row, draft.record, after, group, pending)
        if minted and change.object:
            self._mint_parent(path, circumstances.now_ns)
        return draft.record is not row.record

    def _content_changed(
        self,
        path: RelPath,
        row: Row,
        draft: _Draft,
        change: Change,
        values: tuple[Content, Meta | None],
        live: Live | None,
        group: GroupRules,
        circumstances: Circumstances,
        hlc: Hlc,
    ) -> bool:
        """Return whether an entry had to be minted."""
        applied, half = row.applied, row.record.content
        content, meta = values
        known = _known_entry(row, content, live)
        if known is not None:
            seen = versions.with_dot(applied.content_seen, known.dot)
            if live is not None and live.entry is known:
                seen = versions.joined(seen, self._context(row, live, group))
            draft.content = (known.dot, seen)
            return False
        if content.kind is Kind.ABSENT and not half.entries:
            draft.content = (None, applied.content_seen)
            return False
        dot = self._mint(group.scope, draft.record)
        seen = applied.content_seen
        if not half.entries:
            # Where a tombstone may have been dropped, the new object has seen all that this member knows (R12).
            seen = versions.joined(seen, self._index.knowledge(group.scope))
        entry = self._entry(path, row, dot, hlc, change, content, meta, circumstances)
        seen = versions.with_dot(seen, dot)
        joined = halves_joined(half, Half((entry,), seen))
        draft.record = msgspec.structs.replace(draft.record, content=joined)
        draft.content = (dot, seen)
        return True

    def _entry(
        self,
        path: RelPath,
        row: Row,
        dot: Dot,
        hlc: Hlc,
        change: Change,
        content: Content,
        meta: Meta | None,
        circumstances: Circumstances,
    ) -> ContentEntry:
        applied, before = row.applied, row.applied.observation
        base = content_entry(row.record, applied.content_dot)
        birth = base.birth if base is not None else None
        parent = origin_of(base) if base is not None else applied.content_dot
        same_bytes = before is not None and _is_same_object(before, content)
        if content.kind is Kind.ABSENT:
            meta = applied.meta or (meta_of(before) if before is not None else None)
            same_bytes = False
        elif change.object:
            birth = dot
            if circumstances.moved_from is not None:
                source_birth, source_origin = self._source(circumstances.moved_from, path, content)
                birth, parent = source_birth or dot, source_origin or parent
                same_bytes = source_origin is not None
        return ContentEntry(
            dot,
            hlc,
            content,
            meta,
            birth,
            parent,
            circumstances.moved_to,
            origin=parent if same_bytes else None,
            overruled=_overruled(row, base, content),
        )

    def _source(self, source: RelPath, path: RelPath, content: Content) -> tuple[Dot | None, Dot | None]:
        """Return the birth of the object that was moved here, and the origin of its bytes if they are still the same."""
        row = self._index.row(source)
        if row is None:
            return None, None
        entry = content_entry(row.record, row.applied.content_dot)
        if entry is None:
            return None, None
        if entry.value.kind is Kind.ABSENT:
            return (entry.birth, None) if entry.moved_to == path else (None, None)
        same = entry.value.kind is content.kind and entry.value.hash == content.hash
        return entry.birth, origin_of(entry) if same else None

    def _meta_changed(
        self,
        draft: _Draft,
        change: Change,
        minted: bool,
        meta: Meta | None,
        observation: Observation,
        live: Live | None,
        group: GroupRules,
        hlc: Hlc,
    ) -> None:
        assert meta is not None, "an object without meta"
        # Someone else's bytes must not inherit what was granted to others: privileges are said anew for new bytes (R5).
        if minted and (change.object or has_privileges(observation.mode, observation.xattrs)):
            self._mint_meta(draft, group.scope, meta, observation, hlc)
            return
        if not change.meta and minted:
            return
        is_known = live is not None and holds(observation, live.content)
        if is_known and live is not None and live.meta is not None and is_same_meta(meta, live.meta):
            draft.meta = (live.meta_dot, versions.joined(draft.meta[1], draft.record.meta.seen))
            return
        if change.meta:
            self._mint_meta(draft, group.scope, meta, observation, hlc)

    def _mint_meta(self, draft: _Draft, scope: Scope, meta: Meta, observation: Observation | None, hlc: Hlc) -> None:
        dot = self._mint(scope, draft.record)
        kind, content_hash = (Kind.ABSENT, b"") if observation is None else (observation.kind, observation.hash)
        seen = versions.with_dot(draft.meta[1], dot)
        entry = MetaEntry(dot, hlc, meta, kind, content_hash)
        joined = halves_joined(draft.record.meta, Half((entry,), seen))
        draft.record = msgspec.structs.replace(draft.record, meta=joined)
        draft.meta = (dot, seen)

    def _time_changed(self, draft: _Draft, mtime_ns: int, scope: Scope, hlc: Hlc) -> None:
        register = draft.record.time
        if register is None or register.mtime_ns != mtime_ns:
            time = DirectoryTime(self._mint(scope, draft.record), hlc, mtime_ns)
            draft.record = msgspec.structs.replace(draft.record, time=time)

    def _mint_parent(self, path: RelPath, now_ns: int) -> None:
        """A local create or remove inside a directory that lives only by what is below it makes it live by itself (R16)."""
        parent = parent_of(path)
        row = self._index.row(parent) if path else None
        if row is None or is_plain_directory(row.record) or not _is_directory(row.applied.observation):
            return
        group = self._followed(parent)
        if group is None or not self._may_write(group):
            return
        ranks = self._ranks(group, row.record)
        if live_of(row.record, row.applied, False, group.policy, ranks).content.kind is Kind.DIRECTORY:
            return
        change = Change(content=True, meta=True, time=False, object=True)
        self._change(parent, row, row.applied.observation, change, group, Circumstances(now_ns, adopting=False))


def _is_directory(observation: Observation | None) -> bool:
    return observation is not None and observation.kind is Kind.DIRECTORY


def _is_same_object(observation: Observation, content: Content) -> bool:
    return observation.kind is not Kind.DIRECTORY and holds(observation, content)


def _known_entry(row: Row, content: Content, live: Live | None) -> ContentEntry | None:
    """Return the known entry, not applied before, that the disk shows: what a crash kept from being recorded (R4)."""
    if live is None:
        return None
    seen = row.applied.content_seen
    known = [e for e in row.record.content.entries if e.value == content and not versions.covers(seen, e.dot)]
    return next((entry for entry in known if entry is live.entry), known[0] if known else None)


def _overruled(row: Row, base: ContentEntry | None, content: Content) -> tuple[Dot, ...]:
    """Return the losers of a decided conflict that a change to the winner replaces, with those that led to the winner."""
    half, applied = row.record.content, row.applied
    earlier = base.overruled if base is not None else ()
    losers = tuple(
        entry.dot
        for entry in half.entries
        if entry.dot != applied.content_dot
        and versions.covers(applied.content_seen, entry.dot)
        and entry.value.kind not in (Kind.ABSENT, Kind.DIRECTORY)
        and entry.value != content
    )
    return (earlier + losers)[-OVERRULED_MAX:]


def _carried_content(applied: Applied, observation: Observation | None) -> Content:
    """Return what was found, with the exact time where the disk shows what it made of it (R4)."""
    content = content_of(observation)
    before = applied.observation
    if observation is None or before is None or applied.mtime_ns is None or content.kind is Kind.DIRECTORY:
        return content
    if before.mtime_ns != observation.mtime_ns:
        return content
    return msgspec.structs.replace(content, mtime_ns=applied.mtime_ns)


def _carried_meta(applied: Applied, observation: Observation | None) -> Meta | None:
    """Return what was found, with each field that is still as we set it as it was wanted (R4)."""
    if observation is None:
        return None
    found, wanted, before = meta_of(observation), applied.meta, applied.observation
    if wanted is None or before is None or before.kind is not observation.kind:
        return found
    same_owner, same_group = before.uid == found.uid, before.gid == found.gid
    return Meta(
        wanted.mode if before.mode == found.mode else found.mode,
        wanted.uid if same_owner else found.uid,
        wanted.gid if same_group else found.gid,
        wanted.owner if same_owner else found.owner,
        wanted.group if same_group else found.group,
        _carried_xattrs(wanted.xattrs, before.xattrs, found.xattrs),
    )


def _carried_xattrs(wanted: Xattrs, before: Xattrs, found: Xattrs) -> Xattrs:
    if before == found:
        return wanted
    values, set_before, found_now = dict(wanted), dict(before), dict(found)
    for name in set_before.keys() | found_now.keys():
        if set_before.get(name) == found_now.get(name):
            continue
        if name in found_now:
            values[name] = found_now[name]
        else:
            values.pop(name, None)
    return tuple(sorted(values.items()))
