"""Random choices that depend on one number alone: cheaper than `random.Random`, and as repeatable."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_MASK = (1 << 64) - 1


class Dice:
    """A linear congruential generator (Knuth's MMIX); its upper bits are what counts."""

    def __init__(self, seed: int) -> None:
        self._state = (seed * 0x9E3779B97F4A7C15 + 1) & _MASK

    def below(self, limit: int) -> int:
        """Return a number from 0 on, below `limit`."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) & _MASK
        return (self._state >> 33) % limit

    def one_in(self, count: int) -> bool:
        """Return true once in `count` times."""
        return self.below(count) == 0

    def choice(self, items: Sequence[T]) -> T:
        """Return one of `items`."""
        return items[self.below(len(items))]
