"""Who made a change: the caller's user, thread and program, as the kernel names them."""

import time
from collections import OrderedDict
from typing import NamedTuple, Protocol

from csfs.core.paths import shown

PROGRAMS_KNOWN_MAX = 1_024
PROGRAM_FRESH_S = 1.0
"""A thread id may belong to another program a second later: exec, or a new process."""


class Caller(Protocol):
    """Who makes a request, as the kernel says; `pid` is a thread's."""

    @property
    def uid(self) -> int: ...
    @property
    def gid(self) -> int: ...
    @property
    def pid(self) -> int: ...
    @property
    def umask(self) -> int: ...


class Writer(NamedTuple):
    """A thread on this host; `program` is its name for people, empty when it was gone already."""

    uid: int
    pid: int
    program: str


class Programs:
    """Names of programs by thread id, read from /proc at most once a second each."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[Writer, float]] = OrderedDict()

    def writer(self, uid: int, pid: int) -> Writer:
        """Return who the kernel says made a request."""
        now = time.monotonic()
        known = self._known.get(pid)
        if known is not None and now - known[1] < PROGRAM_FRESH_S:
            writer = known[0]
            return writer if writer.uid == uid else Writer(uid, pid, writer.program)
        writer = Writer(uid, pid, _program(pid))
        self._known[pid] = (writer, now)
        self._known.move_to_end(pid)
        if len(self._known) > PROGRAMS_KNOWN_MAX:
            self._known.popitem(last=False)
        return writer


def _program(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return shown(file.read().rstrip(b"\n"))
    except OSError:
        return ""
