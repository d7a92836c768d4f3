"""Waking the workers: a condition that several tasks may wait for, set from any step of the loop."""

from collections.abc import Callable

import trio


class Signal:
    """Wakes every waiter at each `notify`. Between testing a condition and `wait` there must be no other await."""

    def __init__(self) -> None:
        self._event: trio.Event | None = None

    def notify(self) -> None:
        """Wake everyone who waits now."""
        event, self._event = self._event, None
        if event is not None:
            event.set()

    async def wait(self) -> None:
        """Wait for the next `notify`."""
        await self.next().wait()

    def next(self) -> trio.Event:
        """Return what the next `notify` sets."""
        if self._event is None:
            self._event = trio.Event()
        return self._event

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; it is tested at each `notify`."""
        while not condition():
            await self.wait()


async def wait_any(*signals: Signal) -> None:
    """Wait for the next `notify` of any of these."""
    await wait_first(*[signal.next() for signal in signals])


async def wait_first(*events: trio.Event) -> None:
    """Wait for whichever of these comes first."""
    async with trio.open_nursery() as nursery:

        async def wait(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        for event in events:
            nursery.start_soon(wait, event)
