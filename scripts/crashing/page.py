"""What a process under trial and its judge share: a page of memory that outlives the process."""

import mmap
import os
import signal
import struct
import threading
from pathlib import Path
from typing import NamedTuple

SLOT_SIZE = 1024
SLOTS = 4
_counters = struct.Struct("<qqqqqq")
_LABEL_AT = 64
_LABEL_SIZE_MAX = 256


class Counters(NamedTuple):
    """`left`: steps until the process kills itself, 0 for never. `passed`: steps since it was armed. `killed`: how often it did.

    `hashed`, `written`, `received`: bytes of files that were read to be hashed, of blocks that were stored, and of contents that
    came over links.
    """

    left: int = 0
    passed: int = 0
    hashed: int = 0
    written: int = 0
    received: int = 0
    killed: int = 0


class Slot:
    """One process's part of the page. Several threads of one process may count; its successor goes on where it stopped."""

    def __init__(self, page: mmap.mmap, number: int) -> None:
        self._page = page
        self._at = number * SLOT_SIZE
        self._lock = threading.Lock()

    @property
    def counters(self) -> Counters:
        """What is counted so far."""
        return Counters(*_counters.unpack_from(self._page, self._at))

    @property
    def label(self) -> str:
        """The step before which the process was killed, empty if it was not."""
        at = self._at + _LABEL_AT
        return self._page[at : at + _LABEL_SIZE_MAX].rstrip(b"\0").decode()

    def arm(self, left: int) -> None:
        """Count anew, and have the process killed before its step number `left`; 0: never."""
        self._set(Counters(left))
        self._write_label("")

    def aim(self, left: int) -> None:
        """Have the process killed before its step number `left` from now on, 0: never; what was counted stays."""
        self._set(self.counters._replace(left=left))

    def count(self, **more: int) -> None:
        """Add to counters."""
        with self._lock:
            counters = self.counters
            self._set(counters._replace(**{name: getattr(counters, name) + number for name, number in more.items()}))

    def step(self, label: str) -> None:
        """A side effect is about to happen: the process may end here, as by SIGKILL from outside."""
        with self._lock:
            counters = self.counters
            if counters.left <= 0:
                return
            is_last = counters.left == 1
            more = counters._replace(
                left=counters.left - 1, passed=counters.passed + 1, killed=counters.killed + is_last
            )
            self._set(more)
            if is_last:
                self._write_label(label)
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()

    def _set(self, counters: Counters) -> None:
        _counters.pack_into(self._page, self._at, *counters)

    def _write_label(self, label: str) -> None:
        at = self._at + _LABEL_AT
        self._page[at : at + _LABEL_SIZE_MAX] = label.encode()[:_LABEL_SIZE_MAX].ljust(_LABEL_SIZE_MAX, b"\0")


def slots(path: Path) -> list[Slot]:
    """Return the slots of the page in a file, which is made if there is none."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(descriptor, SLOTS * SLOT_SIZE)
    page = mmap.mmap(descriptor, SLOTS * SLOT_SIZE)
    os.close(descriptor)
    return [Slot(page, number) for number in range(SLOTS)]
