"""New versions: which halves of a path changed on disk, and the entries that say so."""

import msgspec

from csfs.core import acls, versions
from csfs.core.objects import Applied, Content, Kind, Meta, Observation
from csfs.core.paths import RelPath, ancestors_of, parent_of
from csfs.core.policies import merges, origin_of, parents_with
from csfs.core.privileges import has_privileges
from csfs.core.records import ContentEntry, DirectoryTime, Half, MetaEntry, Move, Record, halves_joined, write_of
from csfs.core.rows import Doubt
from csfs.core.versions import Dot, Hlc, Vector
from csfs.engine.ancestry import line_of_change, overruled_by_change
from csfs.engine.carrying import carried_content, carried_meta
from csfs.engine.links import is_same_inode, shared_clock
from csfs.engine.live import (
    NO_META,
    Live,
    applied_as,
    content_entry,
    content_of,
    holds,
    holds_directory,
    is_limited,
    is_live,
    is_plain_directory,
    is_same_meta,
    known_entry,
    lineage_of,
    live_of,
    meta_entry,
    meta_of,
    stands_for,
)
from csfs.engine.moving import Circumstances as Circumstances
from csfs.engine.moving import Moving, is_replaced, moves_after, rewritten_of
from csfs.engine.ports import Row
from csfs.engine.rules import GroupRules

OVERTAKEN_MAX = 1_024


class Change(msgspec.Struct, frozen=True):
    """What differs between what was applied and what is on disk. `object`: it was created, removed or is another one."""

    content: bool
    meta: bool
    time: bool
    object: bool

    @staticmethod
    def between(applied: Applied, after: Observation | None, created: bool) -> "Change | None":
        """Return what differs, None for nothing (a stamp alone is nothing). Owners, and ACLs, are compared by number (R4)."""
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
            or not acls.are_same_here(before.xattrs, after.xattrs)
        )
        if not (content or meta or time):
            return None
        return Change(content, meta, time and is_directory, content and created)


class _Sight(msgspec.Struct):
    """One path under change: what was found, and the record and what is applied of it as they come to be.

    `moved_here` is what was applied where the object was moved from, `moved_away` where the object that was here before went.
    `represented` is what is applied where the object was seen last, be it under another name; `came` what the object was made
    from that was moved here, and saved as another inode since.
    `values` are what new entries would say; `live` is None where nothing known waits to be applied.
    """

    path: RelPath
    row: Row
    observation: Observation | None
    change: Change
    moved_here: Applied | None
    moved_away: Move | None
    represented: Applied
    came: Applied | None
    group: GroupRules
    circumstances: Circumstances
    hlc: Hlc
    values: tuple[Content, Meta | None]
    live: Live | None
    record: Record
    content: tuple[Dot | None, Vector]
    meta: tuple[Dot | None, Vector]


class Minting(Moving):
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
        sight = self._sight(path, row, observation, change, group, circumstances)
        minted = change.content and self._content_changed(sight)
        if observation is None:
            self._meta_removed(sight, minted)
        else:
            self._meta_changed(sight, observation, minted)
            # While a directory is being changed for peers, its time is rather the trace of a commit than somebody's wish.
            if change.time and (change.object or not row.pending):
                self._time_changed(sight, observation.mtime_ns)
        self._store_sight(sight)
        if minted and (change.object or not row.live):
            made = change.object or not row.record.content.entries
            self._mint_parent(path, circumstances.now_ns, anew=circumstances.anew, made=made)
        if row.live and not is_live(sight.record):
            # A directory may beat what else is known of its path by what is in it alone.
            self._turn_ancestors({path: False}, self._woken)
        elif is_live(sight.record) and not row.live:
            self._wake_living(path)
        return sight.record is not row.record

    def _sight(
        self,
        path: RelPath,
        row: Row,
        observation: Observation | None,
        change: Change,
        group: GroupRules,
        circumstances: Circumstances,
    ) -> _Sight:
        applied = row.applied
        is_waiting = row.pending and circumstances.adopting
        moved_here = self._moved_here(observation, circumstances.moved_from)
        moved_away = self._moved_away(path, applied, observation, circumstances, group)
        is_other = moved_here is not None or moved_away is not None
        came = self._may_have_come(path, applied, observation, circumstances.moved_from)
        rewritten = rewritten_of(came)
        if change.content and (is_other or came):
            change = msgspec.structs.replace(change, object=True)
        represented, meta, change = self._represented(applied, observation, change, circumstances)
        if rewritten is not None and represented is applied:
            represented = rewritten
            if change.content:
                self._turns_up_rewritten(path, came, circumstances.moved_from)
        return _Sight(
            path,
            row,
            observation,
            change,
            moved_here,
            moved_away,
            represented,
            rewritten,
            group,
            circumstances,
            self._tick(circumstances.now_ns, row.record),
            (carried_content(represented, observation), meta),
            self._live(path, row.record, applied, group, alone=True) if is_waiting else None,
            row.record,
            (applied.content_dot, applied.content_seen),
            (applied.meta_dot, applied.meta_seen),
        )

    def _represented(
        self, applied: Applied, observation: Observation | None, change: Change, circumstances: Circumstances
    ) -> tuple[Applied, Meta | None, Change]:
        """Return what is applied where the object was seen last, under whatever name, what it says by that, and what differs (R4)."""
        twin, moved_here = circumstances.twin, self._moved_here(observation, circumstances.moved_from)
        represented = twin[0].applied if twin is not None else moved_here or circumstances.kin or applied
        meta = carried_meta(represented, observation)
        if represented is applied or observation is None or meta is None:
            return represented, meta, change
        if stands_for(applied, meta, observation.kind):
            return represented, carried_meta(applied, observation), change
        return represented, meta, msgspec.structs.replace(change, meta=True)

    def _store_sight(self, sight: _Sight) -> None:
        """Store what came of it; whether anything still waits to be shown is asked only where it can be."""
        row, observation = sight.row, sight.observation
        if observation is None and not is_live(sight.record):
            # Whatever else is known to be gone is not here either: what is made here next has seen that, too.
            sight.content = (sight.content[0], versions.joined(sight.content[1], sight.record.content.seen))
            sight.meta = (sight.meta[0], versions.joined(sight.meta[1], sight.record.meta.seen))
        content, meta = sight.values
        mtime_ns = None if content.kind is Kind.DIRECTORY else content.mtime_ns
        racy = sight.circumstances.racy
        lineage = lineage_of(sight.record, sight.content[0], sight.meta[0], row.applied)
        applied = applied_as(observation, mtime_ns, meta, sight.content, sight.meta, lineage=lineage, racy=racy)
        before = row.applied.observation
        if before is not None and (observation is None or observation.stamp.inode != before.stamp.inode):
            self._leave(sight.path, row.applied)
            if sight.moved_here is not None and sight.circumstances.moved_to is None:
                self._left.turned_up(sight.path, row.applied, sight.path)  # it was replaced, and went nowhere
        leaf = not (row.pending or _is_directory(row.applied.observation) or _is_directory(observation))
        pending = self._is_pending(sight.path, sight.record, applied, sight.group, leaf=leaf)
        self._store(sight.path, row, sight.record, applied, sight.group, pending)
        is_known = content_entry(row.record, applied.content_dot) is not None
        if is_known and not pending and (row.pending or not is_same_inode(before, observation)):
            # Somebody made what was to come, or what stood in for it is it now: names may show it apart.
            self._wake_apart(sight.path, sight.group)

    def _content_changed(self, sight: _Sight) -> bool:
        """Return whether an entry had to be minted."""
        row, half, seen = sight.row, sight.record.content, sight.row.applied.content_seen
        content = sight.values[0]
        known = known_entry(row, content, sight.live)
        if known is not None and (sight.moved_away is None or sight.moved_away in known.moves):
            seen = versions.with_dot(seen, known.dot)
            if sight.live is not None and sight.live.entry is known:
                seen = versions.joined(seen, self._context(row, sight.live, sight.group))
            sight.content = (known.dot, seen)
            return False
        if content.kind is Kind.ABSENT and not (half.entries or sight.circumstances.anew):
            sight.content = (None, seen)
            return False
        dot = self._mint(sight.group.scope, sight.record)
        seen = self._seen_with(dot, seen, half, sight.group.scope)
        joined = halves_joined(half, Half((self._entry(sight, dot),), seen))
        self._notice_overtaken(sight.path, row)
        sight.record = Record(joined, sight.record.meta, sight.record.time)
        sight.content = (dot, seen)
        return True

    def _notice_overtaken(self, path: RelPath, row: Row) -> None:
        """Remember the merge of ours that a change replaces unseen, because no vector can leave out an earlier dot of its own."""
        for entry in row.record.content.entries:
            is_unseen = not versions.covers(row.applied.content_seen, entry.dot)
            if entry.merged and entry.dot.incarnation == self._incarnation and is_unseen:
                self._overtaken[path] = entry
                if len(self._overtaken) > OVERTAKEN_MAX:
                    del self._overtaken[next(iter(self._overtaken))]

    def _entry(self, sight: _Sight, dot: Dot) -> ContentEntry:
        merging = merges(sight.group.policy)
        applied, moved = sight.row.applied, sight.moved_here
        content, meta = sight.values
        before, lineage = applied.observation, applied.lineage
        birth, origin, parents = lineage.birth, lineage.origin or applied.content_dot, lineage.parents
        same_bytes = before is not None and _is_same_object(before, content)
        if content.kind is Kind.ABSENT:
            meta = applied.meta or (meta_of(before) if before is not None else None)
            same_bytes = False
        elif moved is not None and moved.observation is not None:
            same_bytes = moved.lineage.origin is not None and holds(moved.observation, content)
            birth, origin, parents = moved.lineage.birth or dot, moved.lineage.origin or origin, moved.lineage.parents
        elif sight.change.object:
            birth = dot
            if sight.came is not None:
                birth, origin, parents = sight.came.lineage.birth, sight.came.lineage.origin, sight.came.lineage.parents
        write, hlc, twin = None, sight.hlc, sight.circumstances.twin
        source = self._source(sight.circumstances.moved_from, moved)
        is_named = twin is not None and moved is None and not is_same_inode(before, sight.observation)
        if twin is not None:
            write, hlc = write_of(twin[1]), shared_clock(twin[1], sight.row.record, sight.hlc)
            if is_named:
                birth, origin, parents, same_bytes = twin[1].birth, origin_of(twin[1]), twin[1].parents, True
        here = None if content.kind is Kind.ABSENT else birth
        return ContentEntry(
            dot,
            hlc,
            content,
            meta,
            birth,
            parents if same_bytes else parents_with(parents, origin),
            moves_after(sight.row, self._incarnation, here, sight.moved_away, came=moved is not None),
            write=write,
            origin=origin if same_bytes else None,
            overruled=overruled_by_change(sight.row, content, self._incarnation, source),
            carried=same_bytes and (moved is not None or is_named),
            ancestors=line_of_change(sight.row, self._incarnation, self._told_up_to) if merging else (),
        )

    def _meta_removed(self, sight: _Sight, minted: bool) -> None:
        if minted:
            self._mint_meta(sight, NO_META)
        else:
            sight.meta = (None, sight.meta[1])

    def _meta_changed(self, sight: _Sight, observation: Observation, minted: bool) -> None:
        change, live, meta, applied = sight.change, sight.live, sight.values[1], sight.row.applied
        assert meta is not None, "an object without meta"
        # Someone else's bytes must not inherit what was granted to others: privileges are said anew for new bytes (R5).
        # Who writes where no version's mode is shown, or less than one allows, has seen the one that is.
        is_new = change.object or applied.meta_dot is None or is_limited(sight.record, applied, observation, meta)
        if minted and (is_new or has_privileges(observation.mode, observation.xattrs)):
            self._mint_meta(sight, meta)
        elif not change.meta and minted:
            return
        elif live is not None and _shows(observation, meta, live):
            sight.meta = (live.meta_dot, versions.joined(sight.meta[1], sight.record.meta.seen))
        elif change.meta:
            self._mint_meta(sight, meta)

    def _mint_meta(self, sight: _Sight, meta: Meta) -> None:
        dot = self._mint(sight.group.scope, sight.record)
        seen = self._seen_with(dot, sight.meta[1], sight.record.meta, sight.group.scope)
        entry = self._meta_entry(sight, dot, meta)
        twin = sight.circumstances.twin
        theirs = meta_entry(twin[0].record, twin[0].applied.meta_dot) if twin is not None else None
        if theirs is not None and theirs.value == meta and theirs.kind is entry.kind:
            hlc = shared_clock(theirs, sight.row.record, sight.hlc)
            entry = msgspec.structs.replace(entry, hlc=hlc, write=write_of(theirs))
        joined = halves_joined(sight.record.meta, Half((entry,), seen))
        sight.record = Record(sight.record.content, joined, sight.record.time)
        sight.meta = (dot, seen)

    def _meta_entry(self, sight: _Sight, dot: Dot, meta: Meta) -> MetaEntry:
        found, before, moved = sight.observation, sight.row.applied, sight.moved_here
        kind, content_hash = (found.kind, found.hash) if found is not None else (Kind.ABSENT, b"")
        birth = lineage_of(sight.record, sight.content[0], None, before).birth
        shown = moved.observation if moved is not None else None
        lineage = before.lineage if moved is None or shown is None else moved.lineage
        origin, parents = lineage.meta_origin, lineage.meta_parents
        carried = moved is not None and shown is not None and is_same_meta(moved.meta or meta_of(shown), meta)
        carried = carried and origin is not None
        return MetaEntry(
            dot,
            sight.hlc,
            meta,
            kind,
            content_hash,
            birth,
            parents if carried else parents_with(parents, origin),
            origin if carried else None,
            carried,
            decided=self._is_decided(sight, birth),
        )

    def _is_decided(self, sight: _Sight, birth: Dot | None) -> bool:
        """Return whether the mode found is one that was decided on for certain bytes, and that nobody has set since (R5).

        The decision may be known, and not applied: what replaces it unseen says the same.
        """
        found, shown, lineage = sight.observation, sight.represented.observation, sight.represented.lineage
        if found is None or shown is None or found.mode != shown.mode or birth != lineage.birth:
            return False
        return lineage.decided or any(
            entry.decided and is_replaced(entry, sight.meta[1], self._incarnation)
            for entry in sight.record.meta.entries
        )

    def _time_changed(self, sight: _Sight, mtime_ns: int) -> None:
        register = sight.record.time
        # Others may have forgotten the time of a directory that was removed here before.
        is_new = sight.change.object and not holds_directory(sight.row.record)
        if register is None or register.mtime_ns != mtime_ns or is_new:
            time = DirectoryTime(self._mint(sight.group.scope, sight.record), sight.hlc, mtime_ns)
            sight.record = Record(sight.record.content, sight.record.meta, time)

    def _wake_living(self, path: RelPath) -> None:
        """Something lives again: directories above that wait to be empty stay."""
        for directory in ancestors_of(path) if self._emptying else ():
            if directory in self._emptying:
                self._emptying.discard(directory)
                self._woken[directory] = None

    def _mint_parent(self, path: RelPath, now_ns: int, *, anew: bool = False, made: bool = True) -> None:
        """A local create or remove (`made`) inside a directory that lives only by what is below it makes it live by itself (R16)."""
        parent = parent_of(path)
        row = self._index.row(parent) if path else None
        if row is None or is_plain_directory(row.record) or not _is_directory(row.applied.observation):
            return
        anew = (anew or bool(row.doubt & Doubt.LAST)) and not row.live
        if not anew and (row.applied.content_dot is not None or not made):
            # Whoever did that had a directory before him: that it was removed elsewhere is known, and not applied (R3).
            return
        group = self._followed(parent)
        if group is None or not self._may_write(group):
            return
        by_itself = live_of(row.record, row.applied, False, group.policy, self._ranks(group, row.record))
        if by_itself.content.kind is Kind.DIRECTORY:
            return
        # Who has no time of it, or has forgotten it, would show that of his own commits.
        change = Change(content=True, meta=True, time=row.record.time is None or anew, object=True)
        self._change(parent, row, row.applied.observation, change, group, Circumstances(now_ns, adopting=False))


def _is_directory(observation: Observation | None) -> bool:
    return observation is not None and observation.kind is Kind.DIRECTORY


def _shows(observation: Observation, meta: Meta, live: Live) -> bool:
    return live.meta is not None and holds(observation, live.content) and is_same_meta(meta, live.meta)


def _is_same_object(observation: Observation, content: Content) -> bool:
    return observation.kind is not Kind.DIRECTORY and holds(observation, content)
