"""Keeps what others bring about, path by path, from filling the log: so many lines a minute, the last says that there are more."""

import time

LINES_MAX = 10
PER_S = 60.0
MORE = "; more within this minute: csfs status"


class Sparing:
    """Counts the lines of one kind of trouble."""

    def __init__(self) -> None:
        self._lines = 0
        self._since_s = -PER_S

    def ending(self, now_s: float | None = None) -> str | None:
        """Return what a line is to end with, None if it is not to be written. `now_s` is of a clock that never goes back."""
        now_s = time.monotonic() if now_s is None else now_s
        if now_s - self._since_s >= PER_S:
            self._since_s, self._lines = now_s, 0
        self._lines += 1
        if self._lines > LINES_MAX:
            return None
        return MORE if self._lines == LINES_MAX else ""
