"""Lets more changes come while there are many: a round of looks, and all that follows from it at every member, costs as much as some
twenty paths, however few it is about.
"""

import trio

BURST_COUNT = 16
"""So many paths in one round are a burst. Who changes fewer may wait for somebody to see it."""
GATHER_S = 0.05


class Gathering:
    """Says when the next round may begin."""

    def __init__(self) -> None:
        self._next_s = -float("inf")

    def began(self, count: int) -> None:
        """A round about so many paths begins."""
        if count >= BURST_COUNT:
            self._next_s = trio.current_time() + GATHER_S

    async def wait(self) -> None:
        """Wait until the next round may begin: at once, unless the one before was of a burst, and began a moment ago."""
        if self._next_s > trio.current_time():
            await trio.sleep_until(self._next_s)
