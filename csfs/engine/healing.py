"""What comes of a walk: records that were lost come back, and what is stale here goes (R11, R13)."""

from collections.abc import Sequence

import msgspec

from csfs.core import versions
from csfs.core.paths import RelPath
from csfs.core.records import NOTHING_KNOWN
from csfs.core.versions import Scope, Vector
from csfs.engine.forgetting import dots_of
from csfs.engine.mending import Mending
from csfs.engine.ports import Received
from csfs.engine.quarantine import Quarantine
from csfs.engine.remote import Remote, joined_with
from csfs.wire.messages import Update


class Healed(msgspec.Struct, frozen=True):
    """`lost`: paths of which something had been known here and was not there; `stale`: those that go from here."""

    received: Received
    lost: tuple[RelPath, ...]
    stale: tuple[RelPath, ...] = ()


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
        lost = tuple(RelPath(update.path) for update in updates if self._is_lost(update, scope))
        received = self.receive(peer, scope, updates, None, now_ns, mending=True)
        refused = {path for path, _ in received.refused}
        stale = []
        if known_there is not None:
            told = {update.path for update in updates}
            forgotten = [path for path in asked if path not in told]
            stale = [path for path in forgotten if self.is_stale(path, known_there)]
            for path in forgotten:
                self.drop_beside_doubt(path, known_there)
        touched = dict.fromkeys((*received.touched, *stale))
        turned = {path: False for path in stale if self.remove_stale(path)}
        self._turn_ancestors(turned, touched)
        return Healed(
            Received(tuple(touched), received.refused),
            tuple(path for path in lost if path not in refused),
            tuple(stale),
        )

    def _is_lost(self, update: Update, scope: Scope) -> bool:
        """Return whether an update says something new of changes that are known here already."""
        row = self._index.row(RelPath(update.path))
        before = row.record if row is not None else NOTHING_KNOWN
        after = joined_with(before, update)
        known = self._index.knowledge(scope)
        return after != before and all(versions.covers(known, dot) for dot in dots_of(after))
