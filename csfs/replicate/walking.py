"""A walk to the paths at which we differ from a peer, and what comes of it: whole records go both ways (R13)."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence

import trio

from csfs.core.digests import Range
from csfs.core.paths import RelPath, shown
from csfs.core.versions import Scope, Vector
from csfs.engine.mending import Walk, parts_of
from csfs.replicate.asking import Asking
from csfs.replicate.memory import outlived
from csfs.replicate.portions import portions
from csfs.replicate.volume import Volume
from csfs.wire.messages import RECORDS_ASKED_MAX, Mend, Part, PeerMessage

log = logging.getLogger(__name__)


class Walking:
    """Walks of one volume with one peer. `give_token` returns a fresh token for what may hold new changes of ours.

    `is_unseen` says whether somebody here has changed a path, and nobody has looked yet.
    """

    def __init__(
        self,
        volume: Volume,
        peer: str,
        asking: Asking,
        send: Callable[[PeerMessage], Awaitable[None]],
        give_token: Callable[[], bytes],
        is_unseen: Callable[[RelPath], bool],
    ) -> None:
        self._volume = volume
        self._peer = peer
        self._asking = asking
        self._send = send
        self._give_token = give_token
        self._is_unseen = is_unseen

    async def walk(self, scope: Scope, known_there: Vector | None = None) -> bool:
        """Find where we differ and have both take in what the other has; return whether all of it was answered.

        `known_there` is what the peer knew, given only while this member catches up with it in quarantine: what is stale goes.
        """
        before = list[RelPath]()
        while (walk := await self._found(scope)) is not None:
            differing = list(walk.differing)
            for first in range(0, len(differing), RECORDS_ASKED_MAX):
                if not await self.exchange(scope, differing[first : first + RECORDS_ASKED_MAX], known_there):
                    return False
            if walk.is_whole:
                with self._volume.index.transaction():
                    if self._volume.engine.walked(self._peer, scope):
                        self._volume.index.ledger.forget_cursors()
            if walk.is_whole or differing == before:
                return True
            before = differing
        return False

    async def _found(self, scope: Scope) -> Walk | None:
        """Return a walk to the paths at which we differ, as many as one finds; None if the peer did not answer."""
        volume, walk = self._volume, Walk(self._volume.engine.unvouched(self._peer, scope))
        while (asked := walk.question()) is not None:
            parts = await self._asking.parts(volume.name, scope, asked.above, asked.last)
            if parts is None:
                return None
            await trio.to_thread.run_sync(_compared, volume, walk, asked, parts, scope)
        return walk

    async def exchange(self, scope: Scope, paths: Sequence[RelPath], known_there: Vector | None) -> bool:
        """Have both take in what the other has at these paths; return whether the peer answered, and had no change of ours to tell.

        That is one which this member has not made: it is another incarnation then.
        """
        volume = self._volume
        updates = await self._asking.records(volume.name, scope, paths)
        if updates is None:
            return False
        engine, position = volume.engine, volume.index.rows.position()
        with volume.index.transaction():
            healed = engine.healed(self._peer, scope, paths, updates, time.time_ns(), known_there=known_there)
            # An edit of ours may have waited for nothing but word of where the object is now.
            followed = engine.follow(healed.received.touched, time.time_ns(), self._is_unseen)
            if healed.has_let_go:
                volume.index.ledger.forget_cursors()
        if healed.received.is_ahead:
            outlived(volume, self._peer)
            return False
        volume.mended(self._peer, healed.lost)
        for path in healed.stale:
            log.warning("%s: %s was removed while this member does not remember; it is kept", volume.name, shown(path))
        volume.take_in((*healed.received.touched, *followed))
        if volume.index.rows.position() != position:
            volume.changed.notify()
        if engine.speaks_in(scope):
            for portion in portions(engine.records(scope, paths)):
                if portion:
                    await self._send(Mend(volume.name, scope, portion, self._give_token()))
        return True


def _compared(volume: Volume, walk: Walk, asked: Range, parts: Sequence[Part], scope: Scope) -> None:
    with volume.index.shown() as ours:
        walk.answered(asked, parts, ours.digests(scope, asked))


def parts_in(volume: Volume, scope: Scope, asked: Range) -> tuple[Part, ...]:
    """Return the parts of a range, for a peer that asks; for a thread."""
    with volume.index.shown() as ours:
        return parts_of(ours.digests(scope, asked), ours.count(scope, asked))
