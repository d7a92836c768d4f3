"""Directories that are moved as a whole (R15): one step for whoever moved one, on the wire, and for whoever agrees on what is below.

Who moved it makes all versions at once, without a look at each path. Who is told and has the same records below, all of them shown,
renames its own, and comes to the same versions by itself. Nobody else does: he asks for them one by one, as of any other change.
"""

from typing import Final

import msgspec

from csfs.core import versions
from csfs.core.moves import COUNTERS, PATHS_MAX, WholeMove, digest_of
from csfs.core.objects import Applied, Kind, Observation
from csfs.core.paths import PATH_SIZE_MAX, ROOT, RelPath, checked, is_below, parent_of
from csfs.core.policies import merges
from csfs.core.versions import Dot, Hlc, Scope
from csfs.engine.exchange import Exchange, Whole
from csfs.engine.expanding import expanded, gives_way, is_gone, is_plain, shown_no_more, shown_there
from csfs.engine.live import is_live, new_row
from csfs.engine.minting import Minting
from csfs.engine.ports import Connected, Row
from csfs.engine.remote import SKEW_NS_MAX, joined_with
from csfs.engine.rules import GroupRules, may_send
from csfs.engine.validation import CLOCK_MAX, COUNTER_MAX, RefusedError, check_mark

TOLD_MAX: Final = 16
"""Moves that are told as a whole to who was away meanwhile; older ones path by path."""

Moved = list[tuple[RelPath, Row]]
"""What is shown at and below a directory, ascending."""


class _Unfollowed(msgspec.Struct, frozen=True):
    """In place of a group: that of a path which is in none, and of which the record is kept and not followed."""

    scope: Scope = Scope(b"")
    members: tuple[str, ...] = ()
    receive_only: frozenset[str] = frozenset()
    policy: tuple[str, ...] = ("younger",)


UNFOLLOWED: Final = _Unfollowed()


class Wholes(Minting, Exchange):
    """Moves directories as a whole."""

    def move_whole(self, source: RelPath, target: RelPath, observation: Observation, now_ns: int) -> Moved:
        """A directory was moved, is found at `target`, and nobody has changed anything below since: make all versions at once.

        Return what was shown at the paths that were moved; none, and nothing was done, if each has to be looked at by itself.
        """
        group = self._followed(source)
        if group is None or self.pulling or self.is_in_quarantine or not self._may_write(group):
            return []
        moved = self._moved_with(source, target, group)
        if moved is None or not _is_as_it_was(moved[0][1], observation):
            return []
        known, last = self._index.knowledge(group.scope), self._index.last_counter(group.scope)
        hlc = versions.ticked(self._index.clock(), now_ns)
        digest = digest_of((path, row.record) for path, row in moved)
        move = WholeMove(source, target, Dot(self._incarnation, last + 1), hlc, known, digest)
        if not self._makes_room(move, moved) or any(self._has_seen(row, last) for _, row in moved):
            return []
        self._index.skip_counters(group.scope, COUNTERS * len(moved))
        self._index.set_knowledge(group.scope, versions.with_dot(known, move.dot(len(moved) - 1, COUNTERS - 1)))
        self._index.set_clock(hlc)
        position = self._index.position()
        self._carry(move, moved, observation, merging=merges(group.policy))
        whole = Whole(group.scope, position, self._index.position(), move)
        self._leave(source, moved[0][1].applied)
        for path in (source, target):
            self._mint_parent(path, now_ns)
        self._wholes.append(whole)
        del self._wholes[:-TOLD_MAX]
        return moved

    def move_undone(self) -> None:
        """The transaction of the last `move_whole` came to nothing: nobody is told of that move."""
        del self._wholes[-1:]

    def agrees(self, peer: str, scope: Scope, move: WholeMove, now_ns: int) -> tuple[RelPath, ...]:
        """Return what a peer's move would move here, by old names; nothing if this member does not have what the peer had."""
        group = next((group for group in self._rules.groups if group.scope == scope), None)
        if group is None or not may_send(group, peer) or self.pulling or self.is_in_quarantine:
            return ()
        if (
            scope in self._connected.setdefault(peer, Connected()).tainted
            or self._authors.get(move.first.incarnation) != peer
        ):
            return ()
        try:
            check_mark(move.known)
            source, target = checked(move.source), checked(move.target)
        except (RefusedError, ValueError):
            return ()
        counts = 0 < move.first.counter < COUNTER_MAX - COUNTERS * PATHS_MAX
        # Nobody knows a change of ours that was not made: told path by path, it is found out what that means (R8).
        counts = counts and move.known.get(self._incarnation, 0) <= self._index.last_counter(scope)
        if not counts or not 0 <= move.hlc <= min(CLOCK_MAX, now_ns + SKEW_NS_MAX):
            return ()
        moved = self._moved_with(source, target, group)
        if moved is None or not self._makes_room(move, moved):
            return ()
        is_same = digest_of((path, row.record) for path, row in moved) == move.digest
        return tuple(path for path, _ in moved) if is_same else ()

    def shown_at_and_below(self, source: RelPath) -> dict[RelPath, Applied]:
        """Return what is shown at and below a directory: what a move of it moves, whatever became known meanwhile."""
        return {path: row.applied for path, row in self._shown(source)}

    def moved_whole(
        self, scope: Scope, move: WholeMove, observation: Observation, peer: str = "", *, merging: bool
    ) -> bool:
        """Record that a directory was renamed here as a peer had moved it; `observation` is what is at the target now.

        `peer` has just told of it, and is to hear that it is known; none: that is found out later. `merging`: so it was in the
        group when that was agreed. If the rules have changed since, each path is recorded in whatever group it is in now.

        Return whether all of the peer's versions are known here by that; else it has to tell each path by itself, because something
        else has become known of one meanwhile, or the rules have changed.
        """
        is_same = any(group.scope == scope for group in self._rules.groups)
        if move.hlc > self._index.clock():
            self._index.set_clock(Hlc(move.hlc))
        if peer and is_same:
            # More is here than the knowledge says until it has told its mark.
            self._connected.setdefault(peer, Connected()).midstream.add(scope)
        source, target, moved = RelPath(move.source), RelPath(move.target), self._shown(RelPath(move.source))
        for path, one in moved if not peer else ():
            self._leave(path, one.applied)  # somebody may have moved it on, by whichever name he knew it
        is_known = self._carry(move, moved, observation, merging=merging) and is_same
        for path, _ in moved:
            self._wake_linked_since(move.target_of(path))
        touched = dict[RelPath, None]()
        row = self._index.row(source)
        self._turn_ancestors({source: row is not None and row.live, target: True}, touched)
        self._woken.update(touched)
        return is_known

    # ------------------------------------------------------------------------------------------------------------ checks

    def _shown(self, source: RelPath) -> Moved:
        row = self._index.row(source)
        rows = [(source, row)] if row is not None else []
        rows += self._index.rows_below(source)
        return [(path, one) for path, one in rows if one.applied.observation is not None]

    def _moved_with(self, source: RelPath, target: RelPath, group: GroupRules) -> Moved | None:
        """Return what is moved, if all of it is plain and stays in its group; None otherwise."""
        row = self._index.row(source)
        nested = source == target or is_below(source, target) or is_below(target, source) or ROOT in (source, target)
        if nested or row is None or not self._is_shown_directory(source):
            return None
        moved, longer = [(source, row)], len(target) - len(source)
        for path, found in self._index.rows_below(source):
            if found.applied.observation is not None:
                moved.append((path, found))
            elif not is_gone(found):
                return None
            if len(moved) > PATHS_MAX or len(path) + longer > PATH_SIZE_MAX:
                return None
        return moved if all(self._stays(path, source, target, one, group) for path, one in moved) else None

    def _stays(self, path: RelPath, source: RelPath, target: RelPath, row: Row, group: GroupRules) -> bool:
        """Return whether a path is moved within its group, and nothing waits there that goes by its name."""
        there = self._followed(RelPath(target + path[len(source) :]))
        waits = path in self._ahead or path in self._overtaken or path in self._followed_by
        return (
            is_plain(row)
            and row.scope == group.scope
            and there is not None
            and there.scope == group.scope
            and not waits
        )

    def _makes_room(self, move: WholeMove, moved: Moved) -> bool:
        """Return whether nothing is where the directory goes but a directory around it, nor anything known of it that counts."""
        target = RelPath(move.target)
        if parent_of(target) != ROOT and not self._is_shown_directory(parent_of(target)):
            return False
        row = self._index.row(target)
        there = dict(self._index.rows_below(target)) | ({target: row} if row is not None else {})
        if any(not is_gone(found) for found in there.values()):
            return False
        for path, one in moved:
            found, birth = there.get(move.target_of(path)), one.record.content.entries[0].birth
            if found is not None and (birth is None or not gives_way(found, birth, move)):
                return False
        return True

    def _has_seen(self, row: Row, last: int) -> bool:
        """Return whether a path has seen counters of this member that were not handed out yet: another revision counted them."""
        record = row.record
        return any(half.seen.get(self._incarnation, 0) > last for half in (record.content, record.meta))

    # ---------------------------------------------------------------------------------------------------------- carrying

    def _carry(self, move: WholeMove, moved: Moved, observation: Observation, *, merging: bool) -> bool:
        """Store what comes of a move at both names of each path; return whether all its versions are known now."""
        is_whole = True
        left, came = list[RelPath](), list[RelPath]()
        for number, (path, row) in enumerate(moved):
            target = move.target_of(path)
            from_group, group = self._followed(path) or UNFOLLOWED, self._followed(target) or UNFOLLOWED
            there = self._index.row(target) or new_row(group)
            gone, come = row.record, there.record
            if is_same_version(row):
                arrives, leaves = expanded(move, number, path, row.record, merging=merging)
                gone, come = joined_with(gone, leaves), joined_with(come, arrives)
            else:
                is_whole = False
            shown = observation if number == 0 else row.applied.observation
            assert shown is not None, "nothing was shown that is moved"
            applied = shown_there(move, number, row.applied, shown)
            is_clean = is_whole and len(come.content.entries) == len(come.meta.entries) == 1
            self._store(target, there, come, applied, group, bool(group.scope) and not is_clean)
            seen = (gone.content.seen, gone.meta.seen) if not is_live(gone) else ({}, {})
            is_left = not is_whole or is_live(gone)
            nothing = shown_no_more(move, number, row.applied, seen)
            self._store(path, row, gone, nothing, from_group, bool(from_group.scope) and is_left)
            came += [] if is_clean else [target]
            left += [path] if is_left else []
        self._reconsider(left, came)
        return is_whole

    def _reconsider(self, left: list[RelPath], came: list[RelPath]) -> None:
        """Something else is known of some of these: whether they show what is live can be told now that all are stored.

        A directory that went as it was told, and is in none of these, has to live on for what is left of what was in it (R16).
        """
        living = dict[RelPath, bool]()
        for path in (*left, *came):
            row, group = self._index.row(path), self._followed(path)
            if row is not None and group is not None:
                pending = self._is_pending(path, row.record, row.applied, group, leaf=False)
                self._index.put(path, msgspec.structs.replace(row, pending=pending))
                self._woken[path] = None
                if row.live:
                    living[path] = True
        self._turn_ancestors(living, self._woken)

    def _wake_linked_since(self, path: RelPath) -> None:
        """What went to a path may have another name already, told by who has heard of the move, and be shown there apart (R17)."""
        row, group = self._index.row(path), self._followed(path)
        if row is not None and group is not None and not row.pending:
            self._wake_apart(path, group)


def is_same_version(row: Row) -> bool:
    """Return whether what is shown is still all that is known: nobody has told anything else of it meanwhile."""
    contents, metas = row.record.content.entries, row.record.meta.entries
    return [e.dot for e in contents] == [row.applied.content_dot] and [e.dot for e in metas] == [row.applied.meta_dot]


def _is_as_it_was(row: Row, observation: Observation) -> bool:
    """Return whether a directory is the one that was shown, unchanged but for its change time."""
    before = row.applied.observation
    if before is None or before.kind is not Kind.DIRECTORY or before.stamp.inode != observation.stamp.inode:
        return False
    return msgspec.structs.replace(before, stamp=observation.stamp, links=observation.links) == observation
