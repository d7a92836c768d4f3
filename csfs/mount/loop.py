"""A stand-in for the parts of trio that pyfuse3's session loop uses: it looks for the next request before it goes to sleep.

Waking a sleeping process costs several times what a request does. A program that has just got its answer usually asks again at
once, so after a request the loop polls for a little while and sleeps only then. Handlers that wait (fsync) let other tasks run as
ever, and every few requests a real checkpoint does.

pyfuse3 takes its trio from a module attribute, which is how its own asyncio support replaces it.
"""

import os
import select
import time
from types import SimpleNamespace, TracebackType

import pyfuse3
import trio

SPIN_S = 100e-6
REQUESTS_PER_CHECKPOINT = 32


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


class SpinningReader:
    """Waits for requests of one FUSE connection."""

    def __init__(self) -> None:
        self._poll: select.poll | None = None
        self._since_checkpoint = 0
        self._has_served = False

    async def wait_readable(self, descriptor: int) -> None:
        """Return when there is a request: at once, after a little polling, or after a sleep."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLIN)
        if self._has_served and self._since_checkpoint < REQUESTS_PER_CHECKPOINT and self._polled():
            self._since_checkpoint += 1
            return
        self._since_checkpoint = 0
        self._has_served = True
        await trio.lowlevel.wait_readable(descriptor)

    def _polled(self) -> bool:
        assert self._poll is not None
        deadline = time.perf_counter() + SPIN_S
        while True:
            if self._poll.poll(0):
                return True
            if time.perf_counter() > deadline:
                return False
            os.sched_yield()  # the program that is about to ask may be waiting for this very core


def install() -> None:
    """Have pyfuse3 use the stand-in."""
    reader = SpinningReader()
    stand_in = SimpleNamespace(
        Lock=EagerLock,
        ClosedResourceError=trio.ClosedResourceError,
        open_nursery=trio.open_nursery,
        from_thread=trio.from_thread,
        lowlevel=SimpleNamespace(
            current_task=trio.lowlevel.current_task,
            current_trio_token=trio.lowlevel.current_trio_token,
            notify_closing=trio.lowlevel.notify_closing,
            wait_readable=reader.wait_readable,
        ),
    )
    setattr(pyfuse3, "trio", stand_in)  # noqa: B010 - its type hints leave the attribute out
