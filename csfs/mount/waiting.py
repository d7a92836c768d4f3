"""Programs that wait until enough members have what they changed: their calls are carried out, and answered later (R26).

No task waits for them, and nothing in the mount does: an answer is put aside, and written when the daemon says that it may be, or when
the time of the group is over. In the kernel, though, a call that is not answered locks what it changes, and the directories
of that; so does fsync the file. `holds` tells the gate, so that no commit is sent after it.
"""

import errno
import heapq
import itertools
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import trio

from csfs.core.changes import Change, ChangeKind
from csfs.core.groups import Rules
from csfs.core.paths import RelPath, parent_of
from csfs.core.synchrony import Synchrony
from csfs.mount import protocol as p
from csfs.mount.inodes import Inodes, Node
from csfs.wire.control import ControlMessage, Secure

log = logging.getLogger(__name__)

OVERDUE_MAX = 1_000
"""Changes whose programs went on, and that the daemon still watches."""
_MOVES: Final = (ChangeKind.RENAME, ChangeKind.EXCHANGE, ChangeKind.COMPARE)


@dataclass(frozen=True, slots=True)
class Parked:
    """An answer that waits. `late` is what is answered when time is over; `locked` what others cannot change meanwhile."""

    reply: bytes
    late: bytes
    asked: Secure
    locked: frozenset[RelPath]


class Waiting:
    """All answers of one mount that wait. `send` says something to the daemon, if it is there; `count` is told how many more wait."""

    def __init__(
        self,
        inodes: Inodes,
        last: Callable[[], int],
        send: Callable[[ControlMessage], None],
        count: Callable[[int], None],
    ) -> None:
        self._inodes = inodes
        self._last = last
        self._send = send
        self._count = count
        self.descriptor = -1
        """Where the kernel is answered."""
        self.is_possible = False
        """Whether requests are read where answers can be put aside."""
        self._rules: Rules | None = None
        self._due: dict[RelPath, Synchrony] = {}
        self._moved = False
        self._parked: dict[int, Parked] = {}
        self._overdue: dict[int, Secure] = {}
        self._uniques: dict[int, int] = {}
        """By the kernel's number of a request, the token that it waits for."""
        self._deadlines: list[tuple[float, int]] = []
        self._tokens = itertools.count(1)
        self._hurry = trio.Event()

    def follow(self, rules: Rules | None) -> bool:
        """Go by these rules; return whether anything is waited for."""
        waits = rules is not None and any(rules.member in g.members and g.synchrony.waits for g in rules.groups)
        self._rules = rules if waits else None
        return waits

    # ------------------------------------------------------------------------------------------------- what a call changes

    def begin(self) -> None:
        """A call begins: what rows told before was not its doing."""
        self._due.clear()
        self._moved = False

    def note(self, change: Change, lazy: bool = False, inode: int = 0) -> None:
        """A row was told."""
        if self._rules is not None and change.kind is not ChangeKind.KEPT:  # what destroys it has a row of its own
            self._owe(change.path)
            if change.target is not None:
                self._owe(change.target)
            self._moved |= change.kind in _MOVES

    def owe(self, node: Node) -> None:
        """The call at hand is to wait for all that was written to the object before."""
        for path in self._inodes.paths_of(node):
            self._owe(path)

    def _owe(self, path: RelPath) -> None:
        if self._rules is not None and (synchrony := self._rules.synchrony_of(path)).waits:
            self._due[path] = synchrony

    def covers(self, node: Node) -> bool:
        """Return whether closing the object has to wait."""
        rules = self._rules
        if rules is None or node.hidden or node.foreign:
            return False
        return any(rules.synchrony_of(path).waits for path in self._inodes.paths_of(node))

    # -------------------------------------------------------------------------------------------------------- who waits

    def parked(self, unique: int, reply: bytes, *, of_content: bool, locks: bool = True) -> bytes | None:
        """Return the reply if nothing is waited for; else put it aside and return None.

        `of_content`: to close and fsync, which change no directory, and can still be answered by EIO. `locks`: all but close hold what
        they are about.
        """
        if not self._due:
            return reply
        token = next(self._tokens)
        asked = Secure(token, self._last(), tuple(self._due), self._moved, False)
        fails = of_content and any(synchrony.fails for synchrony in self._due.values())
        timeout_s = min(synchrony.timeout_s for synchrony in self._due.values())
        late = p.failed(unique, errno.EIO) if fails else reply
        locked = frozenset(asked.paths if locks else ()).union(() if of_content else map(parent_of, asked.paths))
        self._parked[token] = Parked(reply, late, asked, locked)
        self._uniques[unique] = token
        heapq.heappush(self._deadlines, (trio.current_time() + timeout_s, token))
        if self._deadlines[0][1] == token:
            self._hurry.set()
        self._count(1)
        self.begin()
        self._send(asked)
        return None

    def is_parked(self, unique: int) -> bool:
        """Return whether a request waits here: who would interrupt it has to wait as well, for it has been carried out."""
        return unique in self._uniques

    def holds(self, path: RelPath) -> bool:
        """Return whether a call that waits keeps others from changing what `path` stands for, in the kernel."""
        needed = path, parent_of(path)
        # A rename between directories holds all of the file system's.
        return any(
            one.locked and (one.asked.moved or not one.locked.isdisjoint(needed)) for one in self._parked.values()
        )

    def secured(self, token: int) -> None:
        """Enough members have what was asked for."""
        self._overdue.pop(token, None)
        parked = self._taken(token)
        if parked is not None:
            self.answer(parked.reply)

    def answer(self, reply: bytes | memoryview) -> None:
        """Tell the kernel."""
        try:
            os.write(self.descriptor, reply)
        except OSError as error:
            # ENOENT: nobody waits for it any more, which only the end of the mount brings about
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                log.error("the kernel did not take an answer: %s", error)

    def open_questions(self) -> list[Secure]:
        """Return what the daemon is to be asked, on a new connection."""
        return [parked.asked for parked in self._parked.values()] + list(self._overdue.values())

    async def run(self) -> None:
        """Answer those who have waited long enough, for ever."""
        while True:
            self._hurry = trio.Event()
            due_s = self._deadlines[0][0] if self._deadlines else float("inf")
            with trio.move_on_at(due_s):
                await self._hurry.wait()
            while self._deadlines and self._deadlines[0][0] <= trio.current_time():
                self._expire(heapq.heappop(self._deadlines)[1])

    def _expire(self, token: int) -> None:
        parked = self._taken(token)
        if parked is None:
            return
        if len(self._overdue) >= OVERDUE_MAX:
            self._overdue.pop(next(iter(self._overdue)))
        asked = parked.asked
        self._overdue[token] = Secure(token, asked.sequence, asked.paths, asked.moved, True)
        self.answer(parked.late)

    def _taken(self, token: int) -> Parked | None:
        parked = self._parked.pop(token, None)
        if parked is not None:
            self._uniques.pop(p.unique_of(parked.reply), None)
            self._count(-1)
        return parked
