"""Tombstones that nobody needs any more, and how far every member of a group is (R12).

A member is *settled* up to what its disk shows: everything it knows but what is still pending here. What all members of a group
are settled up to, receive-only ones included, can be forgotten: nobody has, or will come to have, anything that it would have
to beat. That is more than that all have stored it: a removed directory of which one member's disk still shows a child may yet
live on there, with the attributes that its tombstone says.

A member's word counts only for itself, and only if it said so itself on a connection on which it had said all before: else
an older record could still be under way. What comes after that, by a repeated message, is known and gone.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from csfs.core import versions
from csfs.core.paths import ROOT, RelPath
from csfs.core.records import Record
from csfs.core.versions import Dot, Scope, Vector
from csfs.engine.ports import Connected, Row, Standing
from csfs.engine.rules import GroupRules
from csfs.engine.state import State
from csfs.engine.validation import check_mark

NO_DIGESTS: Final[Mapping[Scope, bytes]] = {}
UNSETTLED_MAX: Final = 1_000
"""While more is left to do, a member does not find out how far it is settled: it says what it last knew."""


class Forgetting(State):
    """What each member is known to have settled, and what can be forgotten then."""

    def standings(self) -> dict[Scope, Standing]:
        """Return how far this member is in each of its groups."""
        groups = [group for group in self._rules.groups if self._member in group.members]
        settled = self._settled([group.scope for group in groups])
        return {
            group.scope: Standing(self._index.knowledge(group.scope), settled.get(group.scope, versions.EMPTY))
            for group in groups
        }

    def stands(
        self, peer: str, standings: Mapping[Scope, Standing], digests: Mapping[Scope, bytes] = NO_DIGESTS
    ) -> None:
        """A peer says how far it is, and its set hashes; what it says of groups that it, or this member, is not in is let go.

        Raises:
            RefusedError: it cannot be what a member says.
        """
        shared = {g.scope for g in self._rules.groups if peer in g.members and self._member in g.members}
        for standing in standings.values():
            check_mark(standing.known)
            check_mark(standing.settled)
        link = self._connected.setdefault(peer, Connected())
        link.has_stood, link.digests = True, digests
        said = {scope: standing for scope, standing in standings.items() if scope in shared}
        if said != self._index.standings(peer):
            self._index.set_standings(peer, said)

    def _settled(self, scopes: Iterable[Scope]) -> dict[Scope, Vector]:
        """Return, by scope, the changes that the disk shows, or never has to; nothing while that cannot be told.

        What was settled once stays so: who always has much to do, or a peer that does, would else never let anything be forgotten.
        """
        if self.pulling or self.is_in_quarantine:
            self._settled_once = {}
            return {}
        unsettled = self._index.unsettled(UNSETTLED_MAX)
        if len(unsettled) == UNSETTLED_MAX:
            return {scope: self._settled_once[scope] for scope in scopes if scope in self._settled_once}
        lowered = {scope: dict(self._index.knowledge(scope)) for scope in scopes}
        for _, row in unsettled:
            vector = lowered.get(row.scope, {})
            for dot in dots_of(row.record):
                if vector.get(dot.incarnation, 0) >= dot.counter:
                    vector[dot.incarnation] = dot.counter - 1
        self._settled_once.update(lowered)
        return dict(lowered)

    def settled_everywhere(self) -> dict[Scope, Vector]:
        """Return, by scope, the changes that every member of the group has settled."""
        groups = [group for group in self._rules.groups if self._member in group.members]
        ours = self._settled([group.scope for group in groups])
        return {group.scope: self._common(group, ours[group.scope]) for group in groups if group.scope in ours}

    def _common(self, group: GroupRules, ours: Vector) -> Vector:
        common = dict(ours)
        for member in group.members:
            if member != self._member:
                theirs = self._index.standings(member).get(group.scope, Standing()).settled
                common = {life: min(counter, theirs.get(life, 0)) for life, counter in common.items()}
        return common

    def forget(self, settled: Mapping[Scope, Vector], above: RelPath, limit: int) -> tuple[int, RelPath | None]:
        """Drop tombstones above a path that nobody needs, `settled` being what `settled_everywhere` said in the same transaction.

        Return how many went, and where to go on; None: these were all.
        """
        rows, count = self._index.removed(above, limit), 0
        for path, row in rows:
            if path != ROOT and self._is_forgettable(row, settled.get(row.scope, versions.EMPTY)):
                self._index.drop(path)
                count += 1
        return count, rows[-1][0] if len(rows) == limit else None

    def _is_forgettable(self, row: Row, settled: Vector) -> bool:
        time = row.record.time
        # Who makes a directory anew gives it a time by this clock: it must come after the one that others remember.
        is_past = time is None or time.hlc <= self._index.clock()
        return bool(row.scope) and is_past and all(versions.covers(settled, dot) for dot in dots_of(row.record))


def dots_of(record: Record) -> Iterable[Dot]:
    """Yield the dots that stand in a record."""
    yield from (entry.dot for entry in record.content.entries)
    yield from (entry.dot for entry in record.meta.entries)
    if record.time is not None:
        yield record.time.dot
