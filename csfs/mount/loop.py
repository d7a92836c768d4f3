"""The mount's loop, in the place of what pyfuse3's session loop takes from trio: it looks for the next request before it sleeps.

Waking a sleeping process costs several times what a request does. A program that has just got its answer usually asks again at
once, so after a request the loop looks for another one for a little while and sleeps only then. Handlers that wait (fsync) let other
tasks run as ever, and every millisecond all tasks get their turn.

pyfuse3 takes its trio from a module attribute, which is how its own asyncio support replaces it.
"""

import select
import time
from collections.abc import Callable
from types import SimpleNamespace, TracebackType

import pyfuse3
import trio

from csfs.mount import syscalls
from csfs.mount.intake import Intake

SPIN_S = 100e-6
SAME_CORE_PATIENCE_MS = 10
"""A caller on this very core gets it at once: sched_yield would let everybody else have it first, for a whole slice (Linux 6.18).
No shorter than the kernel's tick: an alarm before the next one is set in hardware each time, 14 µs on a virtual machine."""
TURN_S = 1e-3
"""Other tasks wait no longer than this (and the request at hand) while requests come without a pause."""
CORE_INTERVAL_S = 5e-3
"""To look where a caller runs costs as much as a request."""


class EagerLock:
    """A lock that costs nothing while nobody waits, and whose last holder may take it again before those who wait."""

    def __init__(self) -> None:
        self._locked = False
        self._waiting = trio.lowlevel.ParkingLot()

    async def __aenter__(self) -> None:
        while self._locked:
            await self._waiting.park()
        self._locked = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._locked = False
        self._waiting.unpark()


class Reader:
    """Waits for requests of one FUSE connection, and has those answered that are not libfuse's."""

    def __init__(self, intake: Intake, others: Callable[[], int]) -> None:
        """`others` gives a descriptor whose news end the loop's patience as well, -1 for none at the moment."""
        self._intake = intake
        self._others = others
        self._other = -1
        self._poll: select.poll | None = None
        self._turn_ends_s = 0.0
        self._patience_ms = 0
        self._look_at_core_s = 0.0
        self._is_quiet = False
        """Whether no request came for as long as the loop has patience."""
        self._ends = False

    def end(self) -> None:
        """End pyfuse3's loop, also while requests keep coming."""
        self._ends = True
        pyfuse3.terminate()

    async def wait_readable(self, descriptor: int) -> None:
        """Return when there is a request for libfuse, or when the session ends; others are answered meanwhile."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLIN)
        while not self._ends:
            if time.perf_counter() >= self._turn_ends_s:
                await trio.lowlevel.checkpoint()
                self._begin_turn()
            if self._looked(descriptor):
                return
            if self._is_quiet or time.perf_counter() < self._turn_ends_s:
                await trio.lowlevel.wait_readable(descriptor)
                self._begin_turn()

    def _begin_turn(self) -> None:
        """Other tasks had their turn. Look where the last caller runs: to spin on its very core would keep it from asking."""
        now_s = time.perf_counter()
        self._turn_ends_s = now_s + TURN_S
        if (other := self._others()) != self._other:
            self._listen_to(other)
        if now_s > self._look_at_core_s and (caller := self._intake.caller):
            self._look_at_core_s = now_s + CORE_INTERVAL_S
            self._patience_ms = SAME_CORE_PATIENCE_MS if syscalls.core_of(caller) == syscalls.own_core() else 0

    def _listen_to(self, other: int) -> None:
        assert self._poll is not None
        if self._other >= 0:
            self._poll.unregister(self._other)
        if other >= 0:
            self._poll.register(other, select.POLLIN)
        self._other = other

    def _looked(self, descriptor: int) -> bool:
        """Answer requests until there has been none for a while, or the turn is over; True at one that is for libfuse."""
        assert self._poll is not None
        poll, serve_one, clock = self._poll.poll, self._intake.serve_one, time.perf_counter
        patience_ms, spin_s = (0, 0.0) if self._intake.has_waiting else (self._patience_ms, SPIN_S)
        turn_ends_s = self._turn_ends_s
        self._is_quiet = False
        spin_ends_s = clock() + spin_s
        while True:
            found = poll(patience_ms)
            if not found:
                if patience_ms or clock() > spin_ends_s:
                    self._is_quiet = True
                    return False
            elif found[0][0] != descriptor:
                return False  # news for another task, and no request
            elif serve_one(descriptor):
                now_s = clock()
                if now_s > turn_ends_s:
                    return False
                spin_ends_s = now_s + spin_s
            else:
                return True

    def install(self) -> None:
        """Have pyfuse3 use this instead of trio."""
        stand_in = SimpleNamespace(
            Lock=EagerLock,
            ClosedResourceError=trio.ClosedResourceError,
            open_nursery=trio.open_nursery,
            from_thread=trio.from_thread,
            lowlevel=SimpleNamespace(
                current_task=trio.lowlevel.current_task,
                current_trio_token=trio.lowlevel.current_trio_token,
                notify_closing=trio.lowlevel.notify_closing,
                wait_readable=self.wait_readable,
            ),
        )
        setattr(pyfuse3, "trio", stand_in)  # noqa: B010 - its type hints leave the attribute out
