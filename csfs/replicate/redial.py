"""Redialling: keeps trying until there is a link to a peer, quickly after a loss, patiently later."""

from collections.abc import Awaitable, Callable, Sequence

import trio

from csfs.config.addresses import Address
from csfs.errors import RemoteProtocolError, UnreachableError
from csfs.replicate.link import PACE, Link, Pace
from csfs.replicate.switchboard import Switchboard

DOUBLINGS_MAX = 16

Dial = Callable[[str, Sequence[Address]], Awaitable[tuple[Link, str]]]
"""Makes a link to a peer at one of its addresses, and says at which; raises UnreachableError or RemoteProtocolError."""


def retry_delay_s(failures: int, since_loss_s: float, jitter: float, pace: Pace = PACE) -> float:
    """Return how long to wait before the next dial; `jitter` in [0, 1) comes from the caller."""
    limit = pace.retry_s_soon_max if since_loss_s < pace.soon_s else pace.retry_s_max
    return min(limit, pace.retry_s_first * 2.0 ** min(failures, DOUBLINGS_MAX)) * (0.5 + jitter / 2)


class Caller:
    """Dials one peer whenever there is no link to it. The smaller name dials at once, the larger leaves it a moment to do so."""

    def __init__(
        self,
        ours: str,
        peer: str,
        addresses: Sequence[Address],
        switchboard: Switchboard,
        dial: Dial,
        jitter: Callable[[], float],
        pace: Pace = PACE,
    ) -> None:
        self.scope = trio.CancelScope()
        self._ours = ours
        self._peer = peer
        self._addresses = tuple(addresses)
        self._switchboard = switchboard
        self._dial = dial
        self._jitter = jitter
        self._pace = pace
        self._changed = trio.Event()

    def change(self, addresses: Sequence[Address]) -> None:
        """Dial `addresses` from now on; an attempt that is waiting starts at once if they are new."""
        if tuple(addresses) != self._addresses:
            self._addresses = tuple(addresses)
            self._changed.set()

    async def keep(self) -> None:
        """Keep a link to the peer, until `scope` is cancelled."""
        failures = 0
        lost_at = trio.current_time()
        with self.scope:
            while True:
                if self._switchboard.state_of(self._peer).connected:
                    lived_s = await self._linked()
                else:
                    lived_s = await self._tried(failures, lost_at)
                settled = lived_s >= self._pace.settled_s
                failures = 0 if settled else failures + 1
                lost_at = trio.current_time() if settled else lost_at

    async def _linked(self) -> float:
        """Wait while there is a link that the peer dialled; return for how long."""
        began = trio.current_time()
        await self._switchboard.wait_unlinked(self._peer)
        return trio.current_time() - began

    async def _tried(self, failures: int, lost_at: float) -> float:
        """Wait as long as it has to be, dial, and return how long the link lived; 0 when there was none."""
        if failures or self._ours > self._peer or not self._addresses:
            await self._pause(retry_delay_s(failures, trio.current_time() - lost_at, self._jitter(), self._pace))
        if self._switchboard.state_of(self._peer).connected or not self._addresses:
            return 0.0
        try:
            link, remote = await self._dial(self._peer, self._addresses)
        except (UnreachableError, RemoteProtocolError) as error:
            self._switchboard.note_failure(self._peer, str(error))
            return 0.0
        began = trio.current_time()
        try:
            await self._switchboard.connect(link, self._ours, remote)
        finally:
            await link.aclose()
        return trio.current_time() - began

    async def _pause(self, delay_s: float) -> None:
        with trio.move_on_after(delay_s if self._addresses else float("inf")):
            await self._changed.wait()
        self._changed = trio.Event()
