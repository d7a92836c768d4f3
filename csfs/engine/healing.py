"""What comes of a walk: records that were lost come back, and what is stale here goes (R11, R13)."""

from collections.abc import Iterable, Sequence

import msgspec

from csfs.core import versions
from csfs.core.paths import RelPath
from csfs.core.policies import origin_of
from csfs.core.records import NOTHING_KNOWN, ContentEntry, E, Half, Record
from csfs.core.versions import Scope, Vector
from csfs.engine.forgetting import dots_of
from csfs.engine.live import content_entry
from csfs.engine.mending import Mending
from csfs.engine.ports import Received
from csfs.engine.quarantine import Quarantine
from csfs.engine.remote import Remote, joined_with
from csfs.wire.messages import Update


class Healed(msgspec.Struct, frozen=True):
    """`lost`: paths of which something had been known here and was not there; `stale`: those that go from here.

    `has_let_go`: something is not here any more that somebody who is away may have told: all have to tell anew what they know.
    """

    received: Received
    lost: tuple[RelPath, ...]
    stale: tuple[RelPath, ...] = ()
    has_let_go: bool = False


class Healing(Remote, Quarantine, Mending):
    """Joins what two members told each other at the end of a walk."""

    def healed(
        self,
        peer: str,
        scope: Scope,
        asked: Sequence[RelPath],
        updates: Sequence[Update],
        now_ns: int,
        *,
        known_there: Vector | None = None,
    ) -> Healed:
        """Take in whole records that a peer has of paths at which we differ, in one transaction.

        `known_there` is what the peer knew when it answered, and given only while we catch up with it in quarantine: of what it
        was `asked` for, and has no record of, what is stale goes from here.
        """
        let_go = self._let_go(peer, scope, asked, updates)
        others = [update for update in updates if update.path not in let_go]
        # In quarantine it was let go for being in doubt, or for having been replaced by what is.
        is_loss = known_there is None
        lost = tuple(RelPath(update.path) for update in others if is_loss and self._is_lost(update, scope))
        received = self.receive(peer, scope, updates, None, now_ns, mending=True)
        refused = {path for path, _ in received.refused}
        stale, turned = list[RelPath](), dict[RelPath, bool]()
        if known_there is not None:
            told = {update.path for update in updates}
            forgotten = [path for path in asked if path not in told]
            stale = [path for path in forgotten if self.is_stale(path, known_there)]
            turned = {path: False for path in forgotten if self.drop_beside_doubt(path, known_there)}
        touched = dict.fromkeys((*received.touched, *stale, *let_go))
        turned |= {path: False for path in stale if self.remove_stale(path)}
        for path, was_live in let_go.items():
            row = self._index.row(path)
            if row is not None and row.live != was_live:
                turned[path] = row.live
        self._turn_ancestors(turned, touched)
        self._note_compared(peer, scope, asked)
        return Healed(
            msgspec.structs.replace(received, touched=tuple(touched)),
            tuple(path for path in lost if path not in refused),
            tuple(stale),
            bool(let_go),
        )

    def _let_go(
        self, peer: str, scope: Scope, asked: Sequence[RelPath], updates: Sequence[Update]
    ) -> dict[RelPath, bool]:
        """Let go of what nobody knows but this member, which only receives; return the paths, and whether they were live before.

        Nobody listens to it, and so nobody else will ever have that. Others have lost it, with the disk of its author. What is
        known, and the peer does not have, stays: others may bring it back to the peer. Of a life that was lost from some point on,
        nothing is known for sure: it may have gone on with the same dots for something else before that was noticed.
        Where all who are listened to are here, and have the same, nobody brings back what stands beside that at a path: somebody had
        replaced it, in a life that was lost. What they have, and was replaced by what is here, is not lost to them: it comes back.
        """
        known, told = self._known_together(peer, scope), {update.path: update for update in updates}
        if known is not None:
            lost = self._disowned(scope)
            known = {life: counter for life, counter in known.items() if life not in lost}
        is_alone = known is not None and self._differs_from_all(scope)
        let_go, gone = dict[RelPath, bool](), list[ContentEntry]()
        for path in asked if known is not None and not self.speaks_in(scope) else ():
            row, group = self._index.row(path), self._followed(path)
            if known is None or row is None or row.scope != scope:
                continue
            vouched = {} if is_alone and path in told else known
            record = _vouched_for(row.record, told.get(path, Update(path)), vouched)
            if record == row.record:
                continue
            applied = row.applied
            if content_entry(record, applied.content_dot) is None:
                applied = msgspec.structs.replace(applied, content_dot=None)  # it is kept
            left = msgspec.structs.replace(row, record=record, applied=applied, pending=True)
            self._put_known(path, row, left, group)
            let_go[path] = row.live
            gone += [entry for entry in row.record.content.entries if entry not in record.content.entries]
        self._keep_under_old_names(gone)
        return let_go

    def _keep_under_old_names(self, gone: Iterable[ContentEntry]) -> None:
        """What these versions stood for, or were made of, is kept where it is shown still, be it under another name.

        An edit that has followed a move is shown under its old name until it is shown where it went (R15): nothing there says any more
        that it went, and it would go as what somebody has removed.
        """
        dots = {dot for entry in gone for dot in (entry.dot, origin_of(entry), *entry.merged, *entry.parents)}
        for path in self._index.pending() if dots else ():
            row = self._index.row(path)
            if row is None or content_entry(row.record, row.applied.content_dot) is not None:
                continue  # what is shown there stands there
            if not dots.isdisjoint((row.applied.content_dot, row.applied.lineage.origin)):
                applied = msgspec.structs.replace(row.applied, content_dot=None)
                self._store_applied(path, row, applied, pending=True)

    def _note_compared(self, peer: str, scope: Scope, asked: Sequence[RelPath]) -> None:
        """What is left of these at a member that only receives, the peer has, too, or others may bring it to him."""
        link = self._connected.get(peer)
        if link is None or self.speaks_in(scope) or self._known_together(peer, scope) is None:
            return
        rows = ((path, self._index.row(path)) for path in asked)
        link.compared.update({path: row.record for path, row in rows if row is not None and not row.live})

    def _is_lost(self, update: Update, scope: Scope) -> bool:
        """Return whether an update says something new of changes that are known here already."""
        row = self._index.row(RelPath(update.path))
        before = row.record if row is not None else NOTHING_KNOWN
        after = joined_with(before, update)
        known = self._index.knowledge(scope)
        return after != before and all(versions.covers(known, dot) for dot in dots_of(after))


def _vouched_for(record: Record, theirs: Update, known: Vector) -> Record:
    """Return what of a record is known, or told by a peer."""
    time = record.time
    if time is not None and time != theirs.time and not versions.covers(known, time.dot):
        time = None
    return Record(
        _half_vouched_for(record.content, theirs.content, known),
        _half_vouched_for(record.meta, theirs.meta, known),
        time,
    )


def _half_vouched_for(half: Half[E], theirs: Half[E] | None, known: Vector) -> Half[E]:
    """Return a half without entries that nobody vouches for. What these had replaced is not here: so what is left has seen itself.

    Where nothing counts as known, so it has if it replaced what the peer tells beside it.
    """
    told = {entry.dot for entry in theirs.entries} if theirs is not None else set()
    left = tuple(entry for entry in half.entries if entry.dot in told or versions.covers(known, entry.dot))
    if len(left) == len(half.entries) and (known or told.issubset(entry.dot for entry in left)):
        return half
    return Half(left, {entry.dot.incarnation: entry.dot.counter for entry in left})
