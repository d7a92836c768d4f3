"""What peers are told: our update order, without what they know, and our knowledge at its end (R10)."""

from collections.abc import Collection, Iterator, Mapping

import msgspec

from csfs.core import versions
from csfs.core.moves import WholeMove
from csfs.core.paths import RelPath
from csfs.core.records import ContentEntry, Half, MetaEntry
from csfs.core.versions import Incarnation, Scope, Vector
from csfs.engine.ports import Connected, IndexPort, Outgoing, Row
from csfs.engine.rules import GroupRules, Rules
from csfs.engine.state import State
from csfs.wire.messages import Update


class Whole(msgspec.Struct, frozen=True):
    """A move whose versions have all positions after one, up to another."""

    scope: Scope
    after: int
    last: int
    move: WholeMove


class Exchange(State):
    """Batches for peers."""

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
        super().__init__(index, rules, member, incarnation, authors, pulling=pulling)
        self._wholes: list[Whole] = []
        """The last moves of directories that were made here in one step, by position."""

    def greeting(self, peer: str) -> dict[Scope, Vector]:
        """Return what is known, to be said to a peer at a greeting: nothing of it is let go of before it has stood, or `parted`."""
        self._connected[peer] = Connected()
        return self.knowledge()

    def greeted(self, peer: str, incarnation: Incarnation, *, joins: bool = False) -> None:
        """A new connection to a peer, which is this now: nothing is taken for told, and its past refusals are forgotten.

        Who `joins` is told of each group, whatever it says that it knows.
        """
        self._connected[peer] = Connected(incarnation, joins)
        self._told.pop(peer, None)

    def parted(self, peer: str) -> None:
        """The connection to a peer is over."""
        self._connected.pop(peer, None)

    def knowledge(self) -> dict[Scope, Vector]:
        """Return what is known of each group that this member is in, its own changes included."""
        groups = [group for group in self._rules.groups if self._member in group.members]
        return {group.scope: self._index.knowledge(group.scope) for group in groups}

    def outgoing(
        self,
        position: int,
        peer_knowledge: Mapping[Scope, Vector],
        limit: int,
        peer: str,
        apart: Collection[WholeMove] = (),
    ) -> Outgoing:
        """Return the next batch for a peer after `position`; at most `limit` rows are looked at.

        A batch that reaches the end carries the mark of its scope. Where records of several scopes went out, empty
        batches with the marks of the others follow, and the last is `done`. What came of a move in one step is told in one, by
        itself, but for moves that are to be told `apart`, path by path, because the peer has not followed them.
        """
        scopes = {group.scope for group in self._sendable(peer)}
        whole = self._next_whole(position, peer_knowledge, scopes, apart)
        if whole is not None and whole.after == position:
            self._told_up_to = max(self._told_up_to, whole.last)
            return Outgoing(whole.scope, (), whole.last, None, False, whole.move)
        rows = self._index.updated_since(position, limit)
        before = [row for row in rows if whole is None or _position_of(row[1]) <= whole.after]
        if whole is not None and len(before) < len(rows):
            rows, limit = before, len(before)
        if whole is not None and not rows:
            # What was changed before has moved on since.
            return self.outgoing(whole.after, peer_knowledge, limit, peer, apart)
        scope, reached = Scope(b""), position
        updates: list[Update] = []
        for path, row in rows:
            if row.scope in scopes:
                if scope and row.scope != scope:
                    return Outgoing(scope, tuple(updates), reached, None, False)
                update = _update_of(path, row, peer_knowledge.get(row.scope, {}))
                if update is not None:
                    scope = row.scope
                    updates.append(update)
            reached = _position_of(row)
            self._told_up_to = max(self._told_up_to, reached)
        if len(rows) == limit:
            return Outgoing(scope, tuple(updates), reached, None, False)
        owed = [one for one in self._owed(peer, scopes, peer_knowledge) if one != scope]
        if not scope and owed:
            scope = owed.pop(0)
        mark = self._index.knowledge(scope) if scope else None
        if mark is not None:
            self._told.setdefault(peer, {})[scope] = mark
        return Outgoing(scope, tuple(updates), max(reached, self._index.position()), mark, not owed)

    def withholds(self, peer: str) -> bool:
        """Return whether a peer is told nothing for now: it only receives, and what this member has may be stale (R8).

        What has been removed, and forgotten by all, goes from here without a word when the quarantine ends. Whoever else may change
        something says that it is gone; who only receives, and heard of it from here, would keep it for ever. Where nobody else may
        change anything, nobody says that anything is stale.
        """
        is_doubtful = self.is_in_quarantine and not self._heard_from(peer)
        return is_doubtful and any(self._heard_from(other) for other in self._peers)

    def _next_whole(
        self, position: int, known: Mapping[Scope, Vector], scopes: set[Scope], apart: Collection[WholeMove]
    ) -> Whole | None:
        """Return the next move that a peer may be told as a whole, if it has not heard of it."""
        for whole in self._wholes:
            is_next = whole.after >= position and whole.scope in scopes and whole.move not in apart
            if is_next and not versions.covers(known.get(whole.scope, {}), whole.move.first):
                return whole
        return None

    def is_hearsay(self, outgoing: Outgoing) -> bool:
        """Return whether a batch has something to say, and nothing of it was made here."""
        halves = [half for update in outgoing.updates for half in (update.content, update.meta) if half is not None]
        dots = [entry.dot for half in halves for entry in half.entries]
        dots += [update.time.dot for update in outgoing.updates if update.time is not None]
        return bool(dots) and all(self._authors.get(dot.incarnation) != self._member for dot in dots)

    def _sendable(self, peer: str) -> Iterator[GroupRules]:
        """Yield the groups in which we may speak and the peer listens."""
        return (g for g in self._rules.groups if peer in g.members and self._member in g.members and self._may_write(g))

    def _owed(self, peer: str, scopes: set[Scope], peer_knowledge: Mapping[Scope, Vector]) -> list[Scope]:
        """Return the scopes whose knowledge the peer neither has nor was told on this connection.

        Of one of which nobody knows anything, it is told that: who joins waits for word of each, even if it has said before that it
        knows as much (R14).
        """
        told, joins = self._told.get(peer, {}), self._connected.get(peer, Connected()).joins
        known = {scope: versions.joined(peer_knowledge.get(scope, {}), told.get(scope, {})) for scope in scopes}
        return [
            scope
            for scope in sorted(scopes)
            if not versions.includes(known[scope], self._index.knowledge(scope))
            or (scope not in told and (joins or scope not in peer_knowledge))
        ]


def _position_of(row: Row) -> int:
    return max(row.content_position, row.meta_position, row.time_position)


def _update_of(path: RelPath, row: Row, known: Vector) -> Update | None:
    """Return the halves that the peer may not have; None if there are none.

    A half whose entries it knows tells nothing: whatever they replaced, they were never without what they had seen. The
    halves' own positions say nothing about what was sent: a row that moved on before it was reached takes all along.
    """
    record = row.record
    content = record.content if _is_news(record.content, known) else None
    meta = record.meta if _is_news(record.meta, known) else None
    time = record.time if record.time is not None and not versions.covers(known, record.time.dot) else None
    if content is None and meta is None and time is None:
        return None
    return Update(path, content, meta, time)


def _is_news(half: Half[ContentEntry] | Half[MetaEntry], known: Vector) -> bool:
    return not all(versions.covers(known, entry.dot) for entry in half.entries)
