"""How far a volume is with what it has to show, here and at its peers: what is left, how fast it gets less, how long that takes."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from csfs.core.rows import Amount
from csfs.index.pending import NOTHING
from csfs.replicate.signals import Signal
from csfs.wire.messages import PeerMessage, Remaining

SAMPLE_S = 1.0
WINDOW_S = 10.0
"""How far back the rate goes by."""


class Meter:
    """Measures one round: from when there is something left until there is nothing. The clock is the caller's."""

    def __init__(self) -> None:
        self._readings: deque[tuple[float, Amount]] = deque()
        self._left = NOTHING
        self._before = NOTHING

    def note(self, now_s: float, left: Amount, done: Amount) -> None:
        """Take a reading: what is left, and what was done so far, ever."""
        if not self._left.paths:
            # What was done since the last reading belongs to the round that begins.
            last = self._readings[-1] if self._readings else (now_s, done)
            self._readings = deque([last])
            self._before = last[1]
        self._left = left
        self._readings.append((now_s, done))
        while len(self._readings) > 2 and now_s - self._readings[0][0] > WINDOW_S:
            self._readings.popleft()

    def shown(self) -> dict[str, Any] | None:
        """Return the round in plain values, None where there is none; rates and time are None while they are not known."""
        if not self._left.paths:
            return None
        (first_s, first), (last_s, last) = self._readings[0], self._readings[-1]
        total = last.less(self._before).plus(self._left)
        seconds = last_s - first_s
        rate = last.less(first)
        per_s = (max(0, rate.paths) / seconds, max(0, rate.size) / seconds) if seconds > 0 else None
        return {
            "paths": total.paths,
            "bytes": total.size,
            "paths_left": self._left.paths,
            "bytes_left": self._left.size,
            "paths_per_s": per_s[0] if per_s else None,
            "bytes_per_s": per_s[1] if per_s else None,
            "seconds_left": _seconds_left(self._left, per_s) if per_s else None,
        }


def _seconds_left(left: Amount, per_s: tuple[float, float]) -> float | None:
    """Return the longer of what the paths and what the bytes take; None if one of them stands still."""
    needed = [(amount, rate) for amount, rate in zip(left, per_s, strict=True) if amount]
    if any(not rate for _, rate in needed):
        return None
    return max(amount / rate for amount, rate in needed)


class Progress:
    """Measures one volume here, and tells peers. `reading` returns what is left, and what was done so far."""

    def __init__(self, volume: str, changed: Signal, reading: Callable[[], tuple[Amount, Amount]]) -> None:
        self.meter = Meter()
        self._volume = volume
        self._changed = changed
        self._reading = reading

    async def run(self) -> None:
        """Measure for ever."""
        while True:
            await self._changed.wait_until(self._is_left)
            while self._is_left():
                self.meter.note(trio.current_time(), *self._reading())
                await trio.sleep(SAMPLE_S)
            self.meter.note(trio.current_time(), *self._reading())

    def _is_left(self) -> bool:
        return self._reading()[0].paths > 0

    async def tell(self, send: Callable[[PeerMessage], Awaitable[None]]) -> None:
        """Tell a peer every second what is left here, as long as that changes, for ever; what is done sooner is not told."""
        told = NOTHING
        while True:
            await self._changed.wait_until(lambda told=told: self._reading()[0] != told)  # type: ignore[misc]
            await trio.sleep(SAMPLE_S)
            left, done = self._reading()
            if left != told:
                told = left
                await send(Remaining(self._volume, left, done))
