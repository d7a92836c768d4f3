"""One live link per peer, whoever dialled: which of two connections stays, and what runs on it.

Both members of a pair decide alone and alike: the connection dialled by the smaller name stays; of two dialled by the same
one, the newer, for a member dials only when it has none.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from csfs.errors import CsfsError
from csfs.replicate.link import PACE, Link, Pace

log = logging.getLogger(__name__)

OnLink = Callable[[str, Link], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class PeerState:
    """A peer as `csfs status` shows it. `since_ns` is when the link came up or was lost, 0: never; `error` the last failure."""

    connected: bool = False
    since_ns: int = 0
    remote: str = ""
    error: str = ""
    bytes_sent: int = 0
    bytes_received: int = 0


@dataclass(eq=False, slots=True)
class _Line:
    link: Link
    dialler: str
    remote: str
    since_ns: int
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)


def prevails(dialler: str, current: str | None) -> bool:
    """Return whether a connection dialled by `dialler` takes the place of one dialled by `current` (None: there is none)."""
    return current is None or dialler <= current


class Switchboard:
    """The live links, and the last word about peers that have none."""

    def __init__(self, on_link: OnLink, pace: Pace = PACE) -> None:
        self._on_link = on_link
        self._pace = pace
        self._lines: dict[str, _Line] = {}
        self._lost: dict[str, PeerState] = {}

    def state_of(self, peer: str) -> PeerState:
        """Return how the link to `peer` is."""
        line = self._lines.get(peer)
        if line is None:
            return self._lost.get(peer, PeerState())
        link = line.link
        return PeerState(True, line.since_ns, line.remote, "", link.bytes_sent, link.bytes_received)

    def is_meeting(self, peer: str) -> bool:
        """Return whether there is a link to `peer` on which the two have yet to tell each other what they have."""
        line = self._lines.get(peer)
        return line is not None and line.link.is_meeting

    def note_failure(self, peer: str, reason: str) -> None:
        """Remember why `peer` could not be reached."""
        lost = self._lost.get(peer, PeerState())
        if reason != lost.error:  # said once, not at every try
            log.info("%s", reason)
        self._lost[peer] = PeerState(since_ns=lost.since_ns, remote=lost.remote, error=reason)

    def forget(self, peer: str) -> None:
        """Remember nothing of `peer`."""
        self._lost.pop(peer, None)

    async def wait_unlinked(self, peer: str) -> None:
        """Return once there is no link to `peer`."""
        while (line := self._lines.get(peer)) is not None:
            await line.ended.wait()

    async def hang_up(self, peer: str, reason: str) -> None:
        """End the link to `peer`, if there is one, and wait until nothing runs on it."""
        line = self._lines.get(peer)
        if line is not None:
            await line.link.goodbye(reason)
            line.scope.cancel()
            await line.ended.wait()

    async def connect(self, link: Link, dialler: str, remote: str) -> bool:
        """Run `on_link` for as long as `link` lives; False at once if there is a better connection already.

        The link that it replaces is ended first, and what ran on it has returned before `on_link` starts.
        """
        before = self._lines.get(link.peer)
        if not prevails(dialler, before.dialler if before else None):
            assert before is not None
            before.link.probe()
            return False
        line = _Line(link, dialler, remote, time.time_ns())
        self._lines[link.peer] = line
        log.info("%s: connected, %s dialled (%s)", link.peer, dialler, remote)
        link.probe()  # tells a dialler that it was let in
        reason = ""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.run)
                if before is not None:
                    before.scope.cancel()
                    await before.ended.wait()
                reason = await self._run(line)
                nursery.cancel_scope.cancel()
        finally:
            line.ended.set()
            if self._lines.get(link.peer) is line:
                del self._lines[link.peer]
                log.info("%s", reason or f"{link.peer}: the connection is over")
                self._lost[link.peer] = PeerState(since_ns=time.time_ns(), remote=remote, error=reason)
        return True

    async def _run(self, line: _Line) -> str:
        """Run what the owner runs on a link; return why it is over."""
        reason = f"{line.link.peer}: the connection is over"
        try:
            with line.scope:
                await self._on_link(line.link.peer, line.link)
        except Exception as error:
            reason = _reason(error, line.link.peer)
        if line.scope.cancelled_caught:  # the peer has the better connection, too: nobody listens to this one
            await line.link.aclose()
        else:
            await line.link.goodbye(reason)
        return reason


def _reason(error: Exception, peer: str) -> str:
    """Return the first thing that went wrong; what no `CsfsError` explains is a bug, which costs the link, not the daemon."""
    first: BaseException = error
    while isinstance(first, BaseExceptionGroup):
        known = first.subgroup(CsfsError)
        first = (known or first).exceptions[0]
    if not isinstance(first, CsfsError):
        log.error("unexpected error on the link to %s", peer, exc_info=error)
        return f"{peer}: a bug in csfs: {first!r}"
    return str(first)


async def turn_away(stream: trio.abc.Stream, remote: str, reason: str, pace: Pace = PACE) -> None:
    """Tell a dialler why it is not let in, and close."""
    link = Link(stream, remote, pace=pace)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        await link.goodbye(reason)
        nursery.cancel_scope.cancel()
