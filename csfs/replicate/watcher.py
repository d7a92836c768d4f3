"""Watches the file systems underneath all mounted volumes: what others than csfs do there is told to the volume it concerns.

The mount does all that programs do to a volume, so nearly every event is csfs's own; those are dropped unread. Of the rest, most
concern no volume: where a directory lies is found out once, and one with much going on is no longer told of by the kernel.
Events are left to gather for a moment: nobody has to be woken for each, and the kernel merges what is done to one thing in a row.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import RESERVED, ROOT, RelPath, joined, shown
from csfs.errors import CsfsError
from csfs.replicate.findings import Culprit
from csfs.replicate.signals import Signal
from csfs.store import fanotify
from csfs.store.beneath import is_beneath, open_beneath
from csfs.store.fanotify import Event, Group, Place

log = logging.getLogger(__name__)

GATHER_S = 0.25
BUSY_GATHER_S = 0.02
BUSY_COUNT = 4_000
"""After so many events at once the next look comes sooner: the kernel's queue holds 16,384 (fs.fanotify.max_queued_events)."""
READS_MAX = 200
RESTART_S = 1.0
PLACES_KNOWN_MAX = 8_192
NAMES_KNOWN_MAX = 1_024
IGNORE_COUNT = 32
"""A directory outside of all volumes with so many events is ignored from then on."""


@dataclass(frozen=True, slots=True)
class Noticed:
    """Something that somebody did beneath a volume. `change` says it as a mount would.

    `is_directory`: to a directory; `entered`: with it, things that nobody told of may have come.
    """

    change: Change
    culprit: Culprit
    is_directory: bool
    entered: bool = False


class Watched(Protocol):
    """A volume that wants to know."""

    def noticed(self, found: list[Noticed]) -> None: ...

    def missed(self) -> None:
        """Something may have happened that nobody can tell."""


@dataclass(slots=True)
class _Root:
    volume: Watched
    descriptor: int
    filesystem: bytes
    parent_pid: int
    mount_pid: int


_Found = tuple[_Root, RelPath] | None
"""Where a directory lies: in which volume, or in none."""
_UNKNOWN = ROOT


class Watcher:
    """One for the whole daemon: several volumes on one file system cost no more than one."""

    def __init__(self) -> None:
        self._group: Group | None = None
        self._roots: list[_Root] = []
        self._own: set[int] = {os.getpid()}
        self._leaving: set[int] = set()
        """Processes of csfs that have ended, while events of theirs may still be in the queue."""
        self._places: dict[tuple[bytes, bytes], _Found] = {}
        self._counts: dict[tuple[bytes, bytes], int] = {}
        self._ignored: set[tuple[bytes, bytes]] = set()
        self._names: dict[int, str] = {}
        """What processes were called that had not ended yet."""
        self._lost: list[_Root] = []
        """Where something happened that the thread which resolves events has no path of."""
        self._turn = trio.Lock()
        self._started = Signal()
        self.seen = 0
        """Events so far, those of csfs included."""
        self.looked = 0
        """Events of others beneath a volume."""

    # --------------------------------------------------------------------------------------------------------- volumes

    async def attach(self, volume: Watched, root: int, *, parent_pid: int, mount_pid: int) -> str:
        """Watch what happens beneath `root`, the directory underneath; return why that cannot be done, empty if it can.

        The processes of its mount are csfs's own.
        """
        async with self._turn:
            try:
                if self._group is None:
                    self._group = Group()
                self._group.watch(root)
            except OSError as error:
                self._close_unused()
                return fanotify.reason_of(error)
            self._roots.append(_Root(volume, os.dup(root), fanotify.filesystem_of(root), parent_pid, mount_pid))
            self._own.add(mount_pid)
            self._leaving.discard(mount_pid)
            self._forget_places()
            self._started.notify()
        return ""

    async def detach(self, volume: Watched) -> None:
        """Watch a volume no longer."""
        async with self._turn:
            for root in [root for root in self._roots if root.volume is volume]:
                self._roots.remove(root)
                if self._group is not None and not any(other.filesystem == root.filesystem for other in self._roots):
                    self._group.unwatch(root.descriptor)
                os.close(root.descriptor)
                self._leaving.add(root.mount_pid)
            self._forget_places()
            self._close_unused()

    def _close_unused(self) -> None:
        if self._group is not None and not self._roots:
            group, self._group = self._group, None
            # Who waits for events has to hear that there are no more.
            trio.lowlevel.notify_closing(group.descriptor)
            group.close()

    def _forget_places(self) -> None:
        """Where directories lie is to be found out anew."""
        self._places.clear()
        self._counts.clear()
        self._ignored.clear()
        if self._group is not None:
            self._group.forget_ignored()

    # ------------------------------------------------------------------------------------------------------------- events

    async def run(self) -> None:
        """Tell volumes what happens, for ever."""
        while True:
            try:
                await self._watch()
            except Exception:
                log.exception("unexpected error watching what happens underneath; volumes are compared")
                self._missed()
                await trio.sleep(RESTART_S)

    async def _watch(self) -> None:
        while True:
            await self._started.wait_until(lambda: self._group is not None)
            assert self._group is not None
            try:
                await trio.lowlevel.wait_readable(self._group.descriptor)
            except trio.ClosedResourceError:
                continue
            # The first at once, while whoever did it can still be asked for its name.
            async with self._turn:
                count = await self._round()
            await trio.sleep(BUSY_GATHER_S if count >= BUSY_COUNT else GATHER_S)

    async def catch_up(self) -> None:
        """Tell of what has happened so far, without waiting for more to gather."""
        async with self._turn:
            await self._round()

    def _missed(self) -> None:
        for root in self._roots:
            root.volume.missed()

    async def _round(self) -> int:
        """Take in what has gathered; return how many events that were."""
        events: dict[Event, None] = {}
        count, leaving = 0, set(self._leaving)
        for _ in range(READS_MAX):
            batch = self._group.read(self._own) if self._group is not None else None
            if batch is None:
                self._leaving -= leaving
                self._own -= leaving
                break
            count += batch.total
            if batch.moved:
                self._places.clear()
            if batch.overflow:
                log.warning("more happened underneath than the kernel could tell: volumes are compared")
                self._missed()
            events.update((event, None) for event in batch.events if not self._is_outside(event))
            await trio.lowlevel.checkpoint()
        self.seen += count
        if events:
            for root, found in await trio.to_thread.run_sync(self._resolved, list(events)):
                self.looked += len(found)
                root.volume.noticed(found)
            lost, self._lost = self._lost, []
            for root in lost:
                log.warning("something happened deep beneath a volume, the kernel does not say where: it is compared")
                root.volume.missed()
        return count

    def _is_outside(self, event: Event) -> bool:
        """Return whether an event is known to concern no volume and is of no other use, without asking anybody."""
        for place in (event.place, event.target):
            if place is None:
                continue
            key = event.filesystem, place.directory
            if self._places.get(key, _UNKNOWN) is not None or self._is_too_busy(key):
                return False
        return True

    def _is_too_busy(self, key: tuple[bytes, bytes]) -> bool:
        """Count an event in a directory outside of all volumes; return whether the kernel is yet to be asked to ignore it."""
        count = self._counts[key] = self._counts.get(key, 0) + 1
        return count >= IGNORE_COUNT and key not in self._ignored

    # -------------------------------------------------------------------------------------------- for a thread, in turns

    def _resolved(self, events: list[Event]) -> list[tuple[_Root, list[Noticed]]]:
        """Return what events mean to which volume."""
        found: dict[int, tuple[_Root, list[Noticed]]] = {}
        culprits: dict[int, Culprit | None] = {}
        for event in events:
            if event.pid not in culprits:
                culprits[event.pid] = self._culprit(event.pid)
            culprit = culprits[event.pid]
            if culprit is None:
                continue
            for root, noticed in self._meaning(event, culprit):
                found.setdefault(id(root), (root, []))[1].append(noticed)
        return list(found.values())

    def _culprit(self, pid: int) -> Culprit | None:
        """Return who a process is; None for a mount process that started just now, of which nobody has told."""
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                name, _, rest = file.read().partition(b"(")[2].rpartition(b")")
            parent = int(rest.split()[1])
        except (OSError, ValueError, IndexError):
            return Culprit(pid, self._names.get(pid, ""))
        if any(parent == root.parent_pid for root in self._roots):
            self._own.add(pid)
            return None
        if len(self._names) >= NAMES_KNOWN_MAX:
            self._names.clear()
        self._names[pid] = shown(name)
        return Culprit(pid, self._names[pid])

    def _meaning(self, event: Event, culprit: Culprit) -> list[tuple[_Root, Noticed]]:
        is_directory = bool(event.mask & fanotify.ON_DIRECTORY)
        source = self._path(event.filesystem, event.place)
        if event.target is not None:
            target = self._path(event.filesystem, event.target)
            if is_directory and target is not None and source is None:
                # It may have been ignored while it was outside, and everything in it.
                self._forget_places()
            if source is not None and target is not None and source[0] is target[0]:
                change = _change(ChangeKind.RENAME, source[1], culprit, target[1])
                return [(source[0], Noticed(change, culprit, is_directory))]
            told = [(source, ChangeKind.REMOVE), (target, ChangeKind.CREATE)]
        elif event.mask & fanotify.NAMES:
            told = [(source, ChangeKind.CREATE)]
        elif event.mask & (fanotify.MODIFY | fanotify.CLOSE_WRITE):
            told = [(source, ChangeKind.CONTENT)]
        else:
            told = [(source, ChangeKind.META)]
        entered = is_directory and (event.target is not None or bool(event.mask & fanotify.MOVED_TO))
        return [
            (place[0], Noticed(_change(kind, place[1], culprit), culprit, is_directory, entered))
            for place, kind in told
            if place is not None
        ]

    def _path(self, filesystem: bytes, place: Place) -> _Found:
        """Return the path of a name in its volume; None if it is in none, or in the reserved directory."""
        key = filesystem, place.directory
        if key not in self._places:
            if len(self._places) >= PLACES_KNOWN_MAX:
                self._forget_places()
            self._places[key] = self._place_of(filesystem, place.directory)
        directory = self._places[key]
        if directory is None:
            if self._is_too_busy(key):
                self._ignored.add(key)
                self._with_open(filesystem, place.directory, self._ignore)
            return None
        root, path = directory
        if place.name != b".":
            path = joined(path, place.name)
        if path == RESERVED or path.startswith(RESERVED + b"/"):
            return None
        return root, path

    def _ignore(self, directory: int) -> None:
        if self._group is not None:
            self._group.ignore(directory)

    def _with_open(self, filesystem: bytes, handle: bytes, act: Callable[[int], None]) -> None:
        """Have `act` do something with the directory of a handle, if it is still there."""
        root = next((root for root in self._roots if root.filesystem == filesystem), None)
        if root is None:
            return
        try:
            descriptor = fanotify.open_by_handle(root.descriptor, handle)
        except OSError:
            return  # gone: what was in it is gone, too, as its own directory's event says
        try:
            act(descriptor)
        finally:
            os.close(descriptor)

    def _place_of(self, filesystem: bytes, handle: bytes) -> _Found:
        """Return where a directory lies."""
        found: list[_Found] = []
        self._with_open(filesystem, handle, lambda descriptor: found.append(self._below_a_root(filesystem, descriptor)))
        return found[0] if found else None

    def _below_a_root(self, filesystem: bytes, directory: int) -> _Found:
        try:
            name = os.readlink(b"/proc/self/fd/%d" % directory)
        except OSError:  # a path longer than the kernel tells
            self._lost += [
                root
                for root in self._roots
                if root.filesystem == filesystem and root not in self._lost and is_beneath(root.descriptor, directory)
            ]
            return None
        for root in self._roots:
            if root.filesystem != filesystem:
                continue
            top = os.readlink(b"/proc/self/fd/%d" % root.descriptor).rstrip(b"/")
            if name != top and not name.startswith(top + b"/"):
                continue
            path = RelPath(name[len(top) + 1 :])
            try:
                # The kernel's text may be of another mount's place, or old: what counts is what is there.
                there = open_beneath(root.descriptor, path, os.O_PATH)
            except (OSError, CsfsError) as error:
                log.debug("%r: not beneath the volume: %s", name, error)
                continue
            try:
                if os.path.sameopenfile(there, directory):
                    return root, path
            finally:
                os.close(there)
        return None


def _change(kind: ChangeKind, path: RelPath, culprit: Culprit, target: RelPath | None = None) -> Change:
    return Change(sequence=0, kind=kind, path=path, target=target, pid=culprit.pid, program=culprit.program)
