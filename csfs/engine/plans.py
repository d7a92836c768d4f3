"""What has to be done on disk: derived from what is known and what is applied, never stored."""

from collections.abc import Collection

import msgspec

from csfs.core import acls, versions
from csfs.core.objects import Applied, Content, Kind, Meta, Observation
from csfs.core.paths import ROOT, RelPath, ancestors_of, parent_of
from csfs.core.policies import origin_of
from csfs.core.records import NOTHING_KNOWN, ContentEntry
from csfs.core.rows import Doubt
from csfs.core.versions import Dot
from csfs.engine.following import is_of, rows_ahead
from csfs.engine.links import is_shown_elsewhere
from csfs.engine.live import (
    ABSENT,
    NOTHING_LIVE,
    Live,
    applied_as,
    content_entry,
    context_of,
    holds,
    is_same_meta,
    lineage_of,
    meta_of,
    new_row,
    stands_for_time,
)
from csfs.engine.moving import Moving
from csfs.engine.ports import Plan, Row, Step
from csfs.engine.rules import GroupRules


class Plans(Moving):
    """Plans, and what becomes of them."""

    def plan(self, path: RelPath, without: Collection[bytes] = (), *, undressed: bool = False) -> Plan | None:
        """Return what makes the disk show what is live at a path; None if it does, or cannot yet.

        A path that cannot be planned yet stays pending: `applied` and `woken` return it when it can. What is on disk already is
        adopted here. `without` are hashes of contents that nobody reachable has: what is live without them is shown until then, and
        the better version stays wanted (R21). `undressed`: this host may by now show more of its attributes than it could (R4).
        """
        group = self._followed(path)
        if group is None or self.pulling or self.is_in_quarantine:
            return None
        row = self._index.row(path)
        if row is None:
            if not self._index.has_live_below(path):
                return None
            row = new_row(group)
        if path == ROOT and row.applied.observation is None:
            # Nobody looked at it: it is there, whatever the index says, and nothing can be installed.
            self._settle(path, row)
            return None
        live = self._live(path, row.record, row.applied, group, without=without)
        step = self._step(path, row.applied, live, group)
        if step is None and undressed and row.applied.observation is not None:
            step = Step.ATTRIBUTES
        if path in self._ahead.get(path, ()):
            # An edit is to follow a move from here once somebody has looked: what was made since has not seen that move.
            self._set_pending(path, row)
            return None
        if without and (step is None or live.content.hash in without):
            return None
        if without and step is Step.ATTRIBUTES and any(self._links.sharing(path, row.applied.observation)):
            return None  # what stands in, and has another name, shows what that one says: else they would change it in turn for ever
        if step is None:
            self._adopt(path, row, group)
            return None
        if self._is_unknown(row, live, group):
            self._settle(path, row)
            return None
        self._set_pending(path, row)
        in_the_way = step is Step.INSTALL and _is_in_the_way(row.applied.observation, live)
        if in_the_way:
            step = Step.REMOVE
        if not self._is_possible(path, step, row.applied):
            return None
        taken = self._taken_along(path, row) if step is not Step.ATTRIBUTES else None
        if taken is not None and live.content.kind is Kind.ABSENT and self._comes_first(path, *taken):
            return None
        keep = step is not Step.ATTRIBUTES and (taken is not None or _must_keep(row, live))
        if in_the_way:
            return _cleared(path, row, keep, live.content)
        plan = self._planned(path, step, row, live, group, keep=keep, best=not without)
        is_lost = taken is not None or _is_lost(row, live)
        if keep and not is_lost and _is_made_from(live.entry, row.applied):
            return msgspec.structs.replace(plan, succeeded=True)
        return plan

    def applied(self, plan: Plan, observation: Observation | None, *, racy: bool = False) -> tuple[RelPath, ...]:
        """Record that a plan was carried out, and what the disk shows now; return paths that may be planned now."""
        path = plan.path
        group = self._followed(path)
        if group is None:
            return ()
        row = self._index.row(path) or new_row(group)
        if row.applied.observation != plan.base:
            # Something else was recorded meanwhile: what it leaves to do is to be planned anew.
            self._set_pending(path, row)
            return (path,)
        applied = applied_as(
            observation,
            plan.mtime_ns,
            plan.meta,
            (plan.content_dot, versions.joined(row.applied.content_seen, plan.content_seen)),
            (plan.meta_dot, versions.joined(row.applied.meta_seen, plan.meta_seen)),
            lineage=plan.lineage,
            racy=racy or (plan.step is Step.ATTRIBUTES and row.applied.racy),
        )
        if racy and observation is None:
            # Nobody recorded that it went: it may be that somebody has moved it, and be found where he did.
            self._leave(path, row.applied)
        if plan.link is not None and observation is not None:
            applied = self._as_linked(plan, row.applied, applied)
        self._show_names(plan, applied)
        pending = self._is_pending(path, row.record, applied, group, leaf=False)
        self._store_applied(path, msgspec.structs.replace(row, doubt=Doubt.NONE), applied, pending=pending)
        # Also by attributes alone: what stood in for another version, and is the one now, shows what names were not linked to.
        self._wake_apart(path, group)
        freed = self.woken()
        return (path, *freed) if pending else freed

    def _as_linked(self, plan: Plan, before: Applied, applied: Applied) -> Applied:
        """A new name shows what the others show, which need not be what was planned."""
        row = self._index.row(plan.link) if plan.link is not None else None
        if row is None or row.applied.observation is None or plan.meta is None:
            return applied
        theirs = row.applied
        is_as_planned = is_same_meta(theirs.meta or meta_of(row.applied.observation), plan.meta)
        return msgspec.structs.replace(
            applied,
            mtime_ns=theirs.mtime_ns,
            meta=theirs.meta,
            meta_dot=plan.meta_dot if is_as_planned else None,
            meta_seen=applied.meta_seen if is_as_planned else before.meta_seen,
        )

    def _show_names(self, plan: Plan, applied: Applied) -> None:
        """The other names of what was linked, or given attributes, show it too; what nobody has looked at stays as it is."""
        shown = applied.observation
        if shown is None or (plan.link is None and plan.step is not Step.ATTRIBUTES):
            return
        names = {name: row for name, row in self._links.sharing(plan.path, shown)}
        leader = self._index.row(plan.link) if plan.link is not None else None
        if leader is not None and plan.link is not None:
            names.setdefault(plan.link, leader)
        for name, row in names.items():
            before = row.applied.observation
            if before is None or before.stamp.inode != shown.stamp.inode or before == shown:
                continue
            if plan.step is Step.ATTRIBUTES and (plan.base is None or before.stamp != plan.base.stamp):
                continue
            theirs = msgspec.structs.replace(
                row.applied, observation=shown, mtime_ns=applied.mtime_ns, meta=applied.meta
            )
            self._store_applied(name, row, theirs, pending=row.pending)
            self._woken[name] = None

    def _is_unknown(self, row: Row, live: Live, group: GroupRules) -> bool:
        """Return whether something is shown of which nobody has ever said a word: a power cut has left it, and it is not sent (R24).

        Where this member only receives, it goes; so does what somebody made here while it did.
        """
        shown = row.applied.observation
        is_file = shown is not None and shown.kind is not Kind.DIRECTORY
        # What was known once and is not any more goes like anything that was removed (R8).
        is_new = row.record == NOTHING_KNOWN and not row.applied.content_seen
        is_unproven = bool(row.doubt and row.doubt & Doubt.UNPROVEN)
        return is_file and live is NOTHING_LIVE and is_new and is_unproven and self._may_write(group)

    def _settle(self, path: RelPath, row: Row) -> None:
        if row.pending:
            self._store_applied(path, row, row.applied, pending=False)

    def _is_possible(self, path: RelPath, step: Step, applied: Applied) -> bool:
        shown = applied.observation
        if step is Step.ATTRIBUTES:
            return True
        if path == ROOT:
            return False
        if shown is not None and shown.kind is Kind.DIRECTORY and self._index.has_shown_below(path):
            self._emptying.add(path)
            return False
        parent = parent_of(path)
        if step is Step.INSTALL and parent != ROOT and not self._is_shown_directory(parent):
            if self._followed(parent) is None:
                return True  # nobody plans it, and no look tells of it: the gate sees whether it is there
            self._waiting.setdefault(parent, set()).add(path)
            return False
        return True

    def _taken_along(self, path: RelPath, row: Row) -> tuple[RelPath, ContentEntry | None] | None:
        """Return where what is shown here has followed a move to, and is not shown yet; and its version there (R15).

        That is None if another one took its place before it was ever shown, or the object is there as it was before the edit. What a
        rename brought along counts only where it loses: else it goes to its new name like anything that was moved.
        """
        applied, birth = row.applied, row.applied.lineage.birth
        if (
            birth is None
            or applied.observation is None
            or applied.observation.kind is Kind.DIRECTORY
            or not row.record.content.entries
            or content_entry(row.record, applied.content_dot) is not None
        ):
            return None
        ahead = list(rows_ahead(self._index, row, birth))
        known = [entry for _, there in ahead for entry in there.record.content.entries]
        has_gone_on = any(_has_gone_on(entry, birth, applied) for entry in known)
        for target, there in ahead:
            for entry in there.record.content.entries:
                if is_of(entry, birth) and _has(entry, applied):
                    shown = there.applied.observation
                    if shown is not None and holds(shown, entry.value):
                        return None
                    if not entry.carried or not self._is_to_be_shown(target, there, entry):
                        return target, entry
                if not (has_gone_on or _dots_shown(applied).isdisjoint(entry.overruled)):
                    return target, None
        # It may have been replaced there, unseen, and the object have been moved on, or back here, by who had not heard of it.
        before = applied.lineage.parents
        for target, there in ((path, row), *ahead):
            entries = there.record.content.entries
            if any(is_of(entry, birth) and entry.carried and origin_of(entry) in before for entry in entries):
                return target, None
        return None

    def _is_to_be_shown(self, path: RelPath, row: Row, entry: ContentEntry | None) -> bool:
        """Return whether a path waits for this version, which is the best there; what loses is shown nowhere."""
        group = self._followed(path)
        return group is not None and row.pending and self._live(path, row.record, row.applied, group).entry == entry

    def _comes_first(self, path: RelPath, target: RelPath, entry: ContentEntry | None) -> bool:
        """Return whether an edit is shown at its new name before it goes from the old one; what can be in the way does not wait."""
        row = self._index.row(target)
        if row is None or not self._is_to_be_shown(target, row, entry):
            return False
        for one in (target, *ancestors_of(target)):
            found = self._index.row(one)
            shown = found.applied.observation if found is not None else None
            if shown is not None and (shown.kind is Kind.DIRECTORY) == (one == target):
                return False
            if shown is not None and one != target:
                break
        self._followed_by.setdefault(target, set()).add(path)
        return True

    def _planned(
        self, path: RelPath, step: Step, row: Row, live: Live, group: GroupRules, *, keep: bool, best: bool
    ) -> Plan:
        base = row.applied.observation
        return Plan(
            path=path,
            step=step,
            expected=base.stamp if base is not None else None,
            base=base,
            content=live.content,
            meta=live.meta,
            mtime_ns=live.mtime_ns,
            keep=keep,
            content_dot=live.content_dot,
            content_seen=context_of(row.record.content, live, row.applied, group.policy, best=best),
            meta_dot=live.meta_dot,
            meta_seen=row.record.meta.seen,
            lineage=lineage_of(row.record, live.content_dot, live.meta_dot, row.applied),
            write=live.write,
            link=self._to_link(path, row, live, group) if step is Step.INSTALL else None,
        )

    def link_source(self, plan: Plan) -> Observation | None:
        """Return what is shown at the path that a plan links to; None if that shows something else by now, or not yet."""
        row = self._index.row(plan.link) if plan.link is not None else None
        shown = row.applied.observation if row is not None else None
        # Others may have replaced its entry meanwhile: what counts is what the disk shows.
        is_it = row is not None and row.applied.lineage.write == plan.write
        return shown if shown is not None and is_it and holds(shown, plan.content) else None

    def _to_link(self, path: RelPath, row: Row, live: Live, group: GroupRules) -> RelPath | None:
        """Return a path that shows the inode which this one has to be another name of."""
        if live.entry is None or live.write is None or live.write in self.unlinkable:
            return None
        leader = self._links.leader(path, group.scope, live.entry, row.applied)
        there, shown = self._index.row(leader) if leader is not None else None, row.applied.observation
        if there is None or (shown is not None and not is_shown_elsewhere(there, shown.stamp.inode)):
            return None
        return leader


def is_carried_out(
    plan: Plan,
    observation: Observation | None,
    source: Observation | None = None,
    kept: Collection[bytes] = (),
) -> bool:
    """Return whether the disk shows what an installation or a removal was to leave, and nothing that came after it.

    `source` is what is shown where the plan links to: whatever was written to that since was written under both names. `kept` are
    the names in the kept store: where what a removal was to keep is not among them, it was a program that took it away.
    """
    if plan.link is not None:
        return observation is not None and source is not None and observation.stamp.inode == source.stamp.inode
    match plan.step:
        case Step.REMOVE:
            return observation is None and (not plan.kept or plan.kept in kept)
        case Step.INSTALL if observation is not None and plan.meta is not None:
            # A directory's time moves with each name in it.
            same_time = plan.content.kind is Kind.DIRECTORY or stands_for_time(observation.mtime_ns, plan.mtime_ns)
            return same_time and holds(observation, plan.content) and _stands_for_meta(observation, plan.meta)
        case _:
            return False


def _stands_for_meta(observation: Observation, meta: Meta) -> bool:
    """Return whether a host may show this for that meta: it may have no name for an owner, or no place for an attribute (R4)."""
    same_owner = observation.owner == meta.owner or observation.uid == meta.uid
    same_group = observation.group == meta.group or observation.gid == meta.gid
    return (
        observation.mode == meta.mode and same_owner and same_group and acls.may_show(observation.xattrs, meta.xattrs)
    )


def _is_in_the_way(shown: Observation | None, live: Live) -> bool:
    """Return whether what is shown has to go first: no rename puts a directory over something else, or the other way round."""
    return shown is not None and (shown.kind is Kind.DIRECTORY) != (live.content.kind is Kind.DIRECTORY)


def _cleared(path: RelPath, row: Row, keep: bool, room_for: Content) -> Plan:
    """Return what makes room for what is live. Nothing new is applied by that: the context stays what it was (R3)."""
    base, applied = row.applied.observation, row.applied
    assert base is not None, "nothing is in the way"
    return Plan(
        path=path,
        step=Step.REMOVE,
        expected=base.stamp,
        base=base,
        content=ABSENT,
        meta=None,
        mtime_ns=None,
        keep=keep,
        content_dot=None,
        content_seen=applied.content_seen,
        meta_dot=None,
        meta_seen=applied.meta_seen,
        room_for=room_for,
    )


def _has(entry: ContentEntry, applied: Applied) -> bool:
    """Return whether an entry has the bytes that are shown, perhaps among those that it was put together from."""
    return origin_of(entry) == applied.lineage.origin or applied.content_dot in entry.merged


def _must_keep(row: Row, live: Live) -> bool:
    """Return whether what is displaced is kept whole: it is lost, was decided against, or may stand again (R15)."""
    return _is_lost(row, live) or _is_overruled(row)


def _is_lost(row: Row, live: Live) -> bool:
    """Return whether what is displaced loses a conflict, or was never known to anybody else."""
    shown, dot = row.applied.observation, row.applied.content_dot
    if shown is None or shown.kind is Kind.DIRECTORY:
        return False
    if dot is None or (row.doubt and row.doubt & Doubt.LAST):
        return True
    ours = content_entry(row.record, dot)
    if ours is not None and not holds(shown, ours.value):
        return True  # two hosts with one identity gave this dot to two versions, and the other one stands (R8)
    # The bytes shown may be an entry's that is not adopted yet, having come after the one that is applied.
    losers = [entry for entry in row.record.content.entries if entry.dot != live.content_dot]
    is_loser = any(entry.dot == dot or holds(shown, entry.value) for entry in losers)
    return is_loser or any(dot in entry.merged for entry in losers)


def _is_overruled(row: Row) -> bool:
    """Return whether what is displaced is named among what was decided against."""
    shown, shown_as = row.applied.observation, _dots_shown(row.applied)
    if shown is None or shown.kind is Kind.DIRECTORY:
        return False
    return any(not shown_as.isdisjoint(entry.overruled) for entry in row.record.content.entries)


def _is_made_from(entry: ContentEntry | None, applied: Applied) -> bool:
    """Return whether a version was made from the bytes that are shown: whoever made it had these, and they lost nothing."""
    return entry is not None and not _dots_shown(applied).isdisjoint(entry.parents)


def _has_gone_on(entry: ContentEntry, birth: Dot, applied: Applied) -> bool:
    """Return whether the object was edited, or removed, by somebody who had the bytes that are shown."""
    # A new object at its old name names them too, and so does what says that it was moved on: neither tells that it arrived.
    is_moved_on = entry.value.kind is Kind.ABSENT and any(move.object == birth for move in entry.moves)
    return entry.birth == birth and not is_moved_on and _is_made_from(entry, applied)


def _dots_shown(applied: Applied) -> set[Dot | None]:
    """Return the dots by which a later version may name the bytes shown: a touch, or a move, gives them another one."""
    return {applied.content_dot, applied.lineage.origin}
