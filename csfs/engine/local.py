"""From what is on disk to new versions: a change builds on what was applied, and is then joined with what is known (R3)."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from csfs.core import acls
from csfs.core.objects import NO_LINEAGE, Applied, Kind, Observation, Stamp
from csfs.core.paths import ROOT, RelPath
from csfs.core.privileges import SET_ID
from csfs.core.records import ContentEntry, DirectoryTime, write_of
from csfs.core.rows import Doubt
from csfs.engine.carrying import carried_content, carried_meta
from csfs.engine.links import is_shown_elsewhere, shown_entry
from csfs.engine.live import (
    applied_as,
    content_of,
    directory_time,
    holds,
    names_kept,
    new_row,
    stands_for,
    stands_for_time,
    stands_in,
)
from csfs.engine.minting import Change, Circumstances, Minting
from csfs.engine.ports import Plan, Row, Step
from csfs.engine.rules import GroupRules
from csfs.engine.taking_back import TakingBack

PERMISSIONS: Final = 0o777


class Local(TakingBack, Minting):
    """Observations: what was found at a path."""

    def observe(
        self,
        path: RelPath,
        observation: Observation | None,
        now_ns: int,
        *,
        created: bool = False,
        moved_to: RelPath | None = None,
        moved_from: RelPath | None = None,
        joining: bool = False,
        extra: str = "add",
        racy: bool = False,
        names: Sequence[RelPath] = (),
        linked_from: RelPath | None = None,
    ) -> bool:
        """Compare what is at a path with what was applied there; return whether the record changed.

        `created`: it is another object than the one that was there. `joining`: it was here before this member joined, so
        the cluster's version is live (R14); what the cluster does not know is minted if `extra` is `add`, and
        left out of the index if it is `keep`; but the root is minted, which is no more one member's than another's. `names` are other
        paths at which the same inode was found, all of which are observed in the same transaction; `linked_from` one of which somebody
        says that it was linked here. A path outside the rules is ignored.
        """
        group = self._followed(path)
        if group is None:
            return False
        row = self._index.row(path)
        if joining and observation is not None:
            known = row is not None and bool(row.record.content.entries)
            if known or self._index.has_live_below(path):
                self._join_found(path, row or new_row(group), observation, group, racy)
                return False
            if extra == "keep" and row is None and (path != ROOT or not self._may_write(group)):
                return False
        if row is None:
            if observation is None:
                return False
            row = new_row(group)
        twin = self._links.twin(path, group.scope, observation, names)
        kin = self._kin(row.applied, observation, names if linked_from is None else (*names, linked_from))
        circumstances = Circumstances(now_ns, moved_from, moved_to, racy, twin=twin, kin=kin)
        self._turns_up(path, observation, moved_from)
        change = self._changed(path, row, observation, circumstances, names, created=created)
        if change is None:
            self._refresh(path, row, observation, racy)
            return False
        if not self._may_write(group):
            self._notice(path, row, observation, change, group, circumstances)
            return False
        if observation is not None and _is_unclaimed(row, observation):
            # Bytes that are nobody's do not become somebody's by a touch, or a chmod.
            change = msgspec.structs.replace(change, content=False)
            if not (change.meta and row.record.content.entries):
                self._refresh(path, row, observation, racy)
                return False
        is_changed = self._change(path, row, observation, change, group, circumstances)
        if change.content:
            self._take_back(path, row, now_ns)
        self._adopt_shown(path, row, group)
        return is_changed

    def _changed(
        self,
        path: RelPath,
        row: Row,
        found: Observation | None,
        circumstances: Circumstances,
        names: Sequence[RelPath],
        *,
        created: bool,
    ) -> Change | None:
        """Return what differs from what was applied; also where the disk shows the same, for other names or for somebody else."""
        change = Change.between(row.applied, found, created)
        if (change is None or not change.content) and self._is_relinked(path, row, found, circumstances.twin, names):
            return Change(content=True, meta=change is not None and change.meta, time=False, object=False)
        if change is None and self._is_given_to_another(row.applied, found, circumstances):
            return Change(content=False, meta=True, time=False, object=False)
        return change

    def other_names(self, plan: Plan) -> list[RelPath]:
        """Return the other paths that showed what the attributes planned were to be set of."""
        return [name for name, _ in self._links.sharing(plan.path, plan.base)] if plan.step is Step.ATTRIBUTES else []

    def interrupted(self, plan: Plan, observation: Observation | None) -> bool:
        """Attributes were being set as planned when everything stopped: return whether any of what is on disk comes from that.

        `observation` is that of the object, under another of its names where it is no longer at the path.
        Such a field is nobody's change: it is taken for what is shown, so that the next plan completes it (R20). What somebody has
        changed since is not, and is left for a look to find.
        """
        row, base = self._index.row(plan.path), plan.base
        if row is None or base is None or observation is None or row.applied.observation != base:
            return False
        if observation.kind is not base.kind or observation.stamp.inode != base.stamp.inode:
            return False
        half_set = msgspec.structs.replace(base, **_fields_set(plan, base, observation))
        if half_set == base:
            return False
        for name, other in self._links.sharing(plan.path, base):
            if other.applied.observation is not None and other.applied.observation.stamp == base.stamp:
                self._store_applied(name, other, _half_set(other.applied, half_set), pending=True)
        if msgspec.structs.replace(half_set, stamp=observation.stamp) == observation:
            half_set = observation
        self._store_applied(plan.path, row, _half_set(row.applied, half_set), pending=True)
        return True

    def touched(self, directory: RelPath, mtime_ns: int, now_ns: int) -> bool:
        """Names in a directory were changed locally, which gave it this time; return whether the record changed."""
        group = self._followed(directory)
        row = self._index.row(directory)
        if group is None or row is None or not _shows_directory(row):
            return False
        applied = _with_time(row.applied, mtime_ns, None)
        register = row.record.time
        if (register is not None and register.mtime_ns == mtime_ns) or not self._may_write(group):
            if applied != row.applied:
                pending = self._is_pending(directory, row.record, applied, group, leaf=False)
                self._store_applied(directory, row, applied, pending=pending)
            return False
        time = DirectoryTime(self._mint(group.scope, row.record), self._tick(now_ns, row.record), mtime_ns)
        record = msgspec.structs.replace(row.record, time=time)
        pending = (row.pending or stands_in(record)) and self._is_pending(directory, record, applied, group, leaf=False)
        self._store(directory, row, record, applied, group, pending)
        self._adopt_shown(directory, row, group)
        return True

    def disturbed(self, directory: RelPath, stamp: Stamp, mtime_ns: int) -> None:
        """A commit of ours changed a directory's stamp and time: nobody's change, and `plan` puts the time back.

        Nobody has looked at the rest of it, which may have changed, too: the stamp proves nothing (R23).
        """
        group = self._followed(directory)
        row = self._index.row(directory)
        if group is None or row is None or not _shows_directory(row):
            return
        applied = _with_time(row.applied, mtime_ns, stamp)
        if applied == row.applied or not _is_of(row.applied, stamp):
            return
        applied = msgspec.structs.replace(applied, racy=True)
        moved = directory_time(row.record) != mtime_ns
        self._store_applied(directory, row, applied, pending=row.pending or moved)

    def _adopt_shown(self, path: RelPath, before: Row, group: GroupRules) -> None:
        """Adopt what a path waited for, and shows by now without a plan: a host may show two versions alike (R4)."""
        row = self._index.row(path)
        if row is not None and before.pending and not row.pending:
            self._adopt(path, row, group)

    def _is_relinked(
        self,
        path: RelPath,
        row: Row,
        found: Observation | None,
        twin: tuple[Row, ContentEntry] | None,
        names: Sequence[RelPath],
    ) -> bool:
        """Return whether the same bytes are a name of another inode than before: linked to others now, or no longer (R17)."""
        before, entry = row.applied.observation, shown_entry(row)
        if before is None or found is None or entry is None or found.kind in (Kind.DIRECTORY, Kind.ABSENT):
            return False
        moved = before.stamp.inode != found.stamp.inode
        if twin is not None:
            return write_of(twin[1]) != write_of(entry) and (moved or found.links > before.links)
        return moved and any(
            name not in names and is_shown_elsewhere(other, found.stamp.inode)
            for name, other in self._links.linked(path, row.scope, entry)
        )

    def _is_given_to_another(self, before: Applied, found: Observation | None, circumstances: Circumstances) -> bool:
        """Return whether what was moved here looks like what was here before, and has an owner whom this host cannot show (R4)."""
        moved = self._moved_here(found, circumstances.moved_from)
        meta = carried_meta(moved, found) if moved is not None else None
        return found is not None and meta is not None and not stands_for(before, meta, found.kind)

    def _refresh(self, path: RelPath, row: Row, observation: Observation | None, racy: bool) -> None:
        """Nothing differs but, perhaps, the stamp or the names that this host has for owners."""
        if observation is not None:
            observation = names_kept(row.applied.observation, observation)
        if observation != row.applied.observation or racy != row.applied.racy:
            applied = msgspec.structs.replace(row.applied, observation=observation, racy=racy)
            self._store_applied(path, row, applied, pending=row.pending)

    def _join_found(self, path: RelPath, row: Row, observation: Observation, group: GroupRules, racy: bool) -> None:
        """Take in what was here before this member joined: what is equal is adopted, the rest is replaced and kept."""
        if Change.between(row.applied, observation, False) is None:
            self._refresh(path, row, observation, racy)
            return
        self._store_applied(path, row, Applied(observation=observation, racy=racy), pending=True)
        row = self._index.row(path) or row
        live = self._live(path, row.record, row.applied, group)
        if self._step(path, row.applied, live, group) is None:
            self._adopt(path, row, group)

    def _notice(
        self,
        path: RelPath,
        row: Row,
        observation: Observation | None,
        change: Change,
        group: GroupRules,
        circumstances: Circumstances,
    ) -> None:
        """A receive-only member mints nothing: note what is shown, so that the plan restores what is live, and keeps this."""
        before = row.applied
        represented, meta, change = self._represented(before, observation, change, circumstances)
        applied = applied_as(
            observation,
            carried_content(represented, observation).mtime_ns or None,
            meta,
            (None if change.content else before.content_dot, before.content_seen),
            (None if change.meta else before.meta_dot, before.meta_seen),
            lineage=NO_LINEAGE if change.content else before.lineage,
        )
        self._store_applied(path, row, applied, pending=True)
        row = msgspec.structs.replace(row, applied=applied, pending=True)
        if not self._is_pending(path, row.record, applied, group, leaf=False):
            self._adopt(path, row, group)


def _fields_set(plan: Plan, base: Observation, found: Observation) -> dict[str, Any]:
    """Return the fields that show what was planned, or what this host made of it."""
    wanted, fields = plan.meta, dict[str, Any]()
    if plan.mtime_ns is not None and stands_for_time(found.mtime_ns, plan.mtime_ns):
        fields["mtime_ns"] = found.mtime_ns
    if wanted is None:
        return fields
    # Permissions go before the owner changes, which takes privileges away; the mode that is wanted comes last.
    narrowed = base.mode & wanted.mode & PERMISSIONS
    if found.mode in (wanted.mode, narrowed, base.mode & ~SET_ID):
        fields["mode"] = found.mode
    if found.owner == wanted.owner or found.uid == wanted.uid:
        fields.update(uid=found.uid, owner=found.owner)
    if found.group == wanted.group or found.gid == wanted.gid:
        fields.update(gid=found.gid, group=found.group)
    # A mode moves the mask of the list that is still there.
    before = {*base.xattrs, *(acls.with_mode(base.xattrs, found.mode) if "mode" in fields else ())}
    if acls.may_show(tuple(pair for pair in found.xattrs if pair not in before), wanted.xattrs):
        fields["xattrs"] = found.xattrs
    return fields


def _half_set(applied: Applied, found: Observation) -> Applied:
    """Return what is applied once this is shown: what the disk stood for before goes for the fields that are as they were."""
    before = applied.observation
    is_same_time = before is not None and before.mtime_ns == found.mtime_ns
    return msgspec.structs.replace(
        applied,
        observation=found,
        mtime_ns=applied.mtime_ns if is_same_time else None,
        meta=carried_meta(applied, found) if applied.meta is not None else None,
    )


def _is_unclaimed(row: Row, observation: Observation) -> bool:
    """Return whether the bytes found were shown before, and are no version's, nor in doubt as one that is to be made anew (R8)."""
    before = row.applied.observation
    if before is None or before.kind is Kind.DIRECTORY or row.applied.content_dot is not None:
        return False
    if row.doubt & Doubt.CONTENT:
        return False
    return before.kind is observation.kind and holds(observation, content_of(before))


def _shows_directory(row: Row) -> bool:
    return row.applied.observation is not None and row.applied.observation.kind is Kind.DIRECTORY


def _is_of(applied: Applied, stamp: Stamp) -> bool:
    """Return whether the stamp is one of the object shown; whoever put another one there is yet to be heard of."""
    return applied.observation is not None and applied.observation.stamp.inode == stamp.inode


def _with_time(applied: Applied, mtime_ns: int, stamp: Stamp | None) -> Applied:
    observation = applied.observation
    assert observation is not None, "a directory that shows nothing"
    stamp = stamp or msgspec.structs.replace(observation.stamp, mtime_ns=mtime_ns)
    observation = msgspec.structs.replace(observation, stamp=stamp, mtime_ns=mtime_ns)
    return msgspec.structs.replace(applied, observation=observation, mtime_ns=None)
