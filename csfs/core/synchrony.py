"""When a call that changes something returns: at once, or when other members have what it changed (R26)."""

import enum
import re
from dataclasses import dataclass
from typing import Final

_DURABLE = re.compile(r"durable\(([1-9][0-9]{0,2})\)")


class Mode(enum.Enum):
    """What is waited for."""

    ASYNC = "async"
    RECEIVED = "received"
    """One other member has it, if only in memory."""
    DURABLE = "durable"
    """So many other members have it on their disks."""
    QUORUM = "quorum"
    """Most members of the group have it on their disks, this one among them; who cannot reach most of them must not write."""


@dataclass(frozen=True, slots=True)
class Synchrony:
    """What a group waits for. `others`: how many other members, for DURABLE. `fails`: where it takes too long, close and fsync fail."""

    mode: Mode = Mode.ASYNC
    others: int = 1
    timeout_s: float = 10.0
    fails: bool = False

    @property
    def waits(self) -> bool:
        """Whether calls wait for anything."""
        return self.mode is not Mode.ASYNC

    @property
    def is_durable(self) -> bool:
        """Whether it is to survive a power cut at the members that have it."""
        return self.mode in (Mode.DURABLE, Mode.QUORUM)

    def needed(self, members: int) -> int:
        """Return how many other members have to have it, in a group of so many members."""
        return members // 2 if self.mode is Mode.QUORUM else self.others


ASYNC: Final = Synchrony()


def parsed(text: str) -> tuple[Mode, int]:
    """Return the mode, and how many other members are to have it.

    Raises:
        ValueError: it is none; the message says what to write.
    """
    durable = _DURABLE.fullmatch(text)
    if durable is not None:
        return Mode.DURABLE, int(durable[1])
    for mode in (Mode.ASYNC, Mode.RECEIVED, Mode.QUORUM):
        if text == mode.value:
            return mode, 1
    raise ValueError(f'"{text}" is not known; there are: async, received, durable(N) with a number N, quorum')
