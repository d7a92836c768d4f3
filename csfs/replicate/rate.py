"""How fast contents may leave on one link: a token bucket, in which a second's worth of bytes fits.

Whatever is sent takes from it, but nothing waits for it but contents: it may owe.
"""

BURST_S = 1.0


class Bucket:
    """Bytes that may be sent now. The rate is in bytes per second, None, as at first, for any; the clock is the caller's."""

    def __init__(self) -> None:
        self._rate: int | None = None
        self._filled_s = 0.0
        self._size = 0.0

    def set_rate(self, rate: int | None, now_s: float) -> None:
        """Go by another rate from now on; what was owed at the old one is forgotten."""
        if rate != self._rate:
            self._rate, self._filled_s, self._size = rate, now_s, (rate or 0) * BURST_S

    def take(self, size: int, now_s: float) -> None:
        """So many bytes are being sent."""
        if self._rate is not None:
            self._fill(self._rate, now_s)
            self._size -= size

    def wait_s(self, now_s: float) -> float:
        """Return how long contents have to wait; 0: one more piece of them may be sent."""
        if self._rate is None:
            return 0.0
        self._fill(self._rate, now_s)
        return max(0.0, -self._size / self._rate)

    def _fill(self, rate: int, now_s: float) -> None:
        self._size = min(rate * BURST_S, self._size + (now_s - self._filled_s) * rate)
        self._filled_s = now_s
