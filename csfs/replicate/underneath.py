"""Changes made without the mount: by who held something from before, or came another way to the same file system.

The watch tells of them within moments; a comparison finds what it could not see, now and then, at no hurry, while everything goes
on. Either way they go the way of every change, and the mount has the kernel ask anew.
"""

import logging
from collections.abc import Awaitable, Callable

import trio

from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import ROOT, RelPath
from csfs.replicate.compare import compare
from csfs.replicate.findings import Finding
from csfs.replicate.gate import STALE_MAX
from csfs.replicate.observer import Observer
from csfs.replicate.signals import Signal
from csfs.replicate.volume import Volume
from csfs.replicate.watcher import Noticed

log = logging.getLogger(__name__)

COMPARE_S = 86_400.0
PACE = 0.25
"""A comparison that nobody waits for spends so much of its time reading directories."""
MISSED_COMPARE_S = 300.0
"""How often at most a volume is compared because there was more to tell than could be told."""
GIVEN_UP_S = 60.0
"""When a comparison that failed, or was in the middle when the volume was unmounted, is begun again."""
NOTICED_MAX = 100_000
SETTLE_S = 1.0
"""What goes on being written is looked at this often."""


class Underneath:
    """One volume's."""

    def __init__(self, volume: Volume, observer: Observer) -> None:
        self._volume = volume
        self._observer = observer
        self.flush: Callable[[], Awaitable[int | None]] = _no_mount
        self.interval_s = COMPARE_S
        """How long after a comparison of the whole volume the next one begins; 0: never."""
        self.is_watch_wanted = True
        self.unwatched = ""
        """Why the watch tells nothing although it is wanted; empty when it tells."""
        self.count = 0
        """How much the watch has told so far, true changes or not."""
        self._noticed: list[Noticed] = []
        self._wanted = Signal()
        self._lately: dict[RelPath, float] = {}
        self._waiting: set[tuple[ChangeKind, RelPath]] = set()
        """What goes on being written, and is looked at in a moment: once, however often that was told."""
        self._below: set[RelPath] = set()
        self._due = Signal()
        self._turn = trio.Lock()
        self._missed_due = -float("inf")
        """When a comparison for that reason begins, or began last."""

    def configure(self, *, watch: bool, interval_s: float) -> None:
        """Follow the volume's settings; whether it is watched counts from the next mount on."""
        self.is_watch_wanted, self.interval_s = watch, interval_s
        self._due.notify()

    def watch_begins(self) -> None:
        """What happened while nobody watched is found by comparing: now, unless the mount that begins has that done anyway."""
        self._volume.compared_at = -float("inf")
        self._due.notify()

    # -------------------------------------------------------------------------------------------------------- the watch

    def noticed(self, found: list[Noticed]) -> None:
        """Somebody did something beneath the volume."""
        self.count += len(found)
        if len(self._noticed) + len(found) > NOTICED_MAX:
            self._noticed.clear()
            self.missed()
            return
        self._noticed += found
        self._wanted.notify()

    def _again(self, found: list[Noticed]) -> None:
        self._waiting -= {(one.change.kind, one.change.path) for one in found}
        self._noticed += found
        self._wanted.notify()

    def missed(self) -> None:
        """Something happened that nobody can tell."""
        now = trio.current_time()
        if self._missed_due > now:
            return  # a comparison is to come anyway
        self._missed_due = max(now, self._missed_due + MISSED_COMPARE_S)
        self._volume.later(self._missed_due - now, lambda: self.compare_soon(ROOT))

    @property
    def idle(self) -> bool:
        """Whether everything that the watch has told is to be looked at, or was."""
        return not (self._noticed or self._waiting)

    async def take(self) -> None:
        """Have looked at what the watch tells, for ever."""
        volume = self._volume
        while True:
            await self._wanted.wait_until(lambda: bool(self._noticed))
            await volume.ready.wait_until(lambda: volume.root is not None and not volume.stopped)
            now = trio.current_time()
            self._lately = {path: at for path, at in self._lately.items() if now - at < SETTLE_S}
            noticed, self._noticed = self._noticed, []
            at_once: list[Noticed] = []
            later: list[Noticed] = []
            for one in noticed:
                key = one.change.kind, one.change.path
                if not (_may_wait(one.change) and one.change.path in self._lately):
                    at_once.append(one)
                elif key not in self._waiting:
                    self._waiting.add(key)
                    later.append(one)
            self._take(at_once, now)
            if later:
                volume.later(SETTLE_S, lambda later=later: self._again(later))  # type: ignore[misc]
            volume.progress.notify()

    def _take(self, noticed: list[Noticed], now: float) -> None:
        findings, rows = self._volume.findings, self._volume.index.rows
        changes: list[Change] = []
        for one in noticed:
            for path in (one.change.path, one.change.target):
                if path is None:
                    continue
                row = rows.row(path)
                before = row.applied.observation if row is not None else None
                findings.stale(path, before, named=not _may_wait(one.change))
                if self._volume.is_followed(path):
                    findings.suspect(path, one.culprit)
                    self._lately[path] = now
            changes += self._followed(one)
            if one.is_directory and not _may_wait(one.change):
                # What was in one that is gone is told by a handle that leads nowhere any more.
                for below in rows.shown_paths(one.change.path):
                    self._observer.look(below)
        self._observer.take_unjournalled(changes)

    def _followed(self, noticed: Noticed) -> list[Change]:
        """Return what the mount would have told of a change, and have compared what came with a directory."""
        change, is_followed = noticed.change, self._volume.is_followed
        if change.target is None:
            if noticed.entered:
                self.compare_soon(change.path)
            return [change] if is_followed(change.path) else []
        if is_followed(change.path) and is_followed(change.target):
            return [change]
        if is_followed(change.path):
            return [_of(change, ChangeKind.REMOVE, change.path)]
        if noticed.is_directory:
            self.compare_soon(change.target)
        return [_of(change, ChangeKind.CREATE, change.target)] if is_followed(change.target) else []

    # --------------------------------------------------------------------------------------------- telling the mount

    async def tell_mount(self) -> None:
        """Have the kernel ask anew about what was changed, for ever."""
        volume = self._volume
        while True:
            await volume.findings.wanted.wait_until(lambda: volume.findings.has_stale)
            await volume.ready.wait_until(lambda: volume.gate is not None)
            stale = volume.findings.taken_stale(STALE_MAX)
            if volume.gate is None:
                continue
            try:
                await volume.gate.refresh(stale)
            except trio.ClosedResourceError:
                continue  # the kernel has forgotten everything with it

    # ----------------------------------------------------------------------------------------------------- comparing

    def compare_soon(self, below: RelPath) -> None:
        """Have what is below a path compared, as soon as that can be, at no hurry."""
        self._below.add(below)
        self._due.notify()

    async def compare_at_times(self) -> None:
        """Compare when it is time, and when it is asked for, for ever."""
        volume = self._volume
        while True:
            await self._wait_due()
            await volume.ready.wait_until(lambda: volume.may_apply)
            if not (self._below or self._is_time()):
                continue  # the comparison that the mount asked for was one
            below, self._below = self._below or {ROOT}, set()
            try:
                for path in [ROOT] if ROOT in below else sorted(below):
                    await self.compare(path, PACE)
            except (OSError, trio.ClosedResourceError) as error:
                log.info("%s: comparison given up: %s", volume.name, error)
                self._below |= below
                await trio.sleep(GIVEN_UP_S)

    def _next_at(self) -> float:
        return self._volume.compared_at + self.interval_s if self.interval_s else float("inf")

    def _is_time(self) -> bool:
        return trio.current_time() >= self._next_at()

    async def _wait_due(self) -> None:
        while not (self._below or self._is_time()):
            with trio.move_on_at(self._next_at()):
                await self._due.wait()

    async def compare(self, below: RelPath, pace: float = 1.0) -> tuple[int, list[Finding]]:
        """Compare what is below a path; return how many paths there are, and what had been changed without the mount.

        Raises:
            trio.ClosedResourceError, OSError: the volume is not mounted (any more).
        """
        volume, observer = self._volume, self._observer
        async with self._turn:
            volume.findings.comparing = True
            try:
                count = await compare(volume, observer, below, pace=pace)
                if below == ROOT:
                    volume.compared_at = trio.current_time()
                # What a program has written through the mount meanwhile differs, too, until the mount has told of it.
                sequence = await self.flush()
                if sequence is not None:
                    await volume.progress.wait_until(lambda: observer.digested >= sequence and observer.idle)
                return count, volume.findings.confirmed()
            finally:
                volume.findings.comparing = False


def _may_wait(change: Change) -> bool:
    """Return whether a change leaves names as they are."""
    return change.kind in (ChangeKind.CONTENT, ChangeKind.META)


def _of(change: Change, kind: ChangeKind, path: RelPath) -> Change:
    return Change(sequence=0, kind=kind, path=path, pid=change.pid, program=change.program)


async def _no_mount() -> int | None:
    return None
