"""A member's index in memory."""

from csfs.core.versions import Scope
from csfs.engine.memory import MemoryIndex


class Index(MemoryIndex):
    """An index that counts what is minted, taken back or not."""

    minted = 0

    def next_counter(self, scope: Scope) -> int:
        """Return the next counter of our incarnation."""
        self.minted += 1
        return super().next_counter(scope)
