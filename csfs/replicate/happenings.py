"""What changed lately, for `csfs log`: by programs here, and by what peers sent. In memory, as long as the daemon runs.

All but the latest is packed into a few large blocks. As small objects it would take several times as much, and lie scattered over all
memory that was needed for the work: none of that could be given back.
"""

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from csfs.core.changes import Change
from csfs.core.objects import Kind, Observation
from csfs.core.paths import RelPath, is_below
from csfs.core.rows import Plan, Step
from csfs.core.versions import Incarnation
from csfs.engine.live import content_of, holds, is_same_meta, meta_of
from csfs.replicate.signals import Signal

COUNT_MAX = 10_000
"""Happenings of one volume that are remembered, or up to a block more; paths whose writers are."""
BLOCK_COUNT = 500

_numbers = itertools.count(1)
"""Of all volumes, so that what happened in several has an order."""


class Writer(NamedTuple):
    """Who did it, as far as a mount has told: an empty `program` says that nobody knows."""

    uid: int = 0
    program: str = ""


NOBODY = Writer()


class Happening(NamedTuple):
    """One change of one path, as it was taken into account here. `writer` is one of this host."""

    number: int
    time_ns: int
    path: RelPath
    what: str
    member: str
    writer: Writer


_unpacked = msgspec.msgpack.Decoder(list[Happening]).decode


class Happenings:
    """What happened in one volume."""

    def __init__(self, member: str) -> None:
        self._member = member
        self._latest: list[Happening] = []
        self._earlier: deque[tuple[int, int, bytes]] = deque()
        """Blocks, each with the number of the last in it, and how many it has."""
        self._packed_count = 0
        self._writers: dict[RelPath, Writer] = {}
        self.more = Signal()
        self.noticed: Callable[[RelPath, bool], None] = _nobody
        """Hears of each change, in the transaction that records it, and whether a program of this host made it."""

    def told(self, change: Change) -> None:
        """A mount has told who did something; what it came to is not known before somebody has looked."""
        if len(self._writers) >= COUNT_MAX:
            self._writers.clear()
        for path in (change.path, change.target):
            if path is not None:
                self._writers[path] = Writer(change.uid, change.program)

    def looked_at_all(self) -> None:
        """All that was told is looked at: who is still named has changed nothing that is not known by now."""
        self._writers.clear()

    def pack(self) -> None:
        """Pack what is remembered as objects, and forget the oldest block that is one too many."""
        if self._latest:
            self._earlier.append((self._latest[-1].number, len(self._latest), msgspec.msgpack.encode(self._latest)))
            self._packed_count += len(self._latest)
            self._latest.clear()
        while self._earlier and self._packed_count - self._earlier[0][1] >= COUNT_MAX:
            self._packed_count -= self._earlier.popleft()[1]

    def made_here(self, path: RelPath, before: Observation | None, after: Observation | None) -> None:
        """A look has found that a program of this host changed something."""
        self._add(path, before, after, self._member, self._writers.pop(path, NOBODY), local=True)

    def came(self, plan: Plan, after: Observation | None, authors: Mapping[Incarnation, str]) -> None:
        """A plan was carried out: somebody's change, mostly a peer's."""
        dots = [plan.content_dot, plan.meta_dot]
        if plan.step is Step.ATTRIBUTES:
            dots.reverse()
        member = next((authors.get(dot.incarnation, "") for dot in dots if dot is not None), "")
        self._add(plan.path, plan.base, after, member, NOBODY)

    def moved(self, path: RelPath, target: RelPath, observation: Observation | None, member: str) -> None:
        """What was at a path went along with a directory that a peer has moved."""
        self._add(target, None, observation, member, NOBODY)
        self._add(path, observation, None, member, NOBODY)

    def _add(
        self,
        path: RelPath,
        before: Observation | None,
        after: Observation | None,
        member: str,
        writer: Writer,
        *,
        local: bool = False,
    ) -> None:
        what = _what(before, after)
        if what:
            self.noticed(path, local)
            self._latest.append(Happening(next(_numbers), time.time_ns(), path, what, member, writer))
            if len(self._latest) >= BLOCK_COUNT:
                self.pack()
            self.more.notify()

    def since(self, number: int, below: RelPath) -> Iterator[Happening]:
        """Yield what happened after that one at and below a path, the latest first."""
        for happening in self._latest_first(number):
            if happening.number <= number:
                return
            if happening.path == below or is_below(happening.path, below):
                yield happening

    def _latest_first(self, number: int) -> Iterator[Happening]:
        """Yield all after that one, the latest first, and perhaps some before it."""
        yield from reversed(self._latest)
        for last, _, block in reversed(self._earlier):
            if last <= number:
                return
            yield from reversed(_unpacked(block))


def _nobody(_path: RelPath, _local: bool) -> None:
    """Nobody wants to hear of changes."""


def _what(before: Observation | None, after: Observation | None) -> str:
    """Return what happened in one word; a directory's time alone moves with what is in it, and is nothing."""
    if before is None:
        return "made" if after is not None else ""
    if after is None:
        return "removed"
    if not holds(before, content_of(after)):
        return "written" if before.kind is after.kind else "replaced"
    if not is_same_meta(meta_of(before), meta_of(after)):
        return "attributes"
    return "touched" if after.kind is not Kind.DIRECTORY and before.mtime_ns != after.mtime_ns else ""
