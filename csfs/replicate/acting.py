"""Actions: commands of the configuration that are run after something has changed, to reload a service, say.

Once for all paths that changed together, when none of them has for a while; one after the other, as they are written. What is to be
run is noted in the transaction that records the change: after a kill it is run, at the risk of being run twice.
"""

import hashlib
import logging
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import trio

from csfs.config.commands import APPLIED, CHANGED, CONFLICT, LOCAL, ActionSettings
from csfs.core.groups import compiled_any
from csfs.core.paths import RelPath, shown
from csfs.replicate import running
from csfs.replicate.signals import Signal, wait_first
from csfs.replicate.volume import Volume

log = logging.getLogger(__name__)

SETTLES_MAX: Final = 10
"""Where something changes all the time, it is run once in so many times of what it waits for."""
BEGUN_MAX: Final = 2
"""Who ends the daemon, by its own command, is not run again and again for one change."""
SAID_MAX: Final = 400
"""Characters of what a command said that are shown."""
CONFLICTS_S: Final = 1.0
CONFLICTS_SHARE: Final = 20
"""Conflicts are looked for in no more than one part in so many of the time."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A command that failed when it was run last, for so many paths."""

    settings: ActionSettings
    reason: str
    failed_ns: int
    paths: int


@dataclass(slots=True)
class _Action:
    settings: ActionSettings
    covers: re.Pattern[bytes]
    key: bytes
    first: float = 0.0
    latest: float = 0.0

    @property
    def is_waiting(self) -> bool:
        return self.latest > 0

    @property
    def due(self) -> float:
        """When it is to be run, by trio's clock."""
        settle_s = self.settings.settle_s
        return min(self.latest + settle_s, self.first + SETTLES_MAX * settle_s)

    def note(self, now: float) -> None:
        self.first = self.first or now
        self.latest = now


class Actions:
    """Runs one volume's actions."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._actions: tuple[_Action, ...] = ()
        self._directory = b""
        self._wanted, self._configured = Signal(), Signal()
        self._ended: dict[bytes, int] = {}
        """What was run, up to which number, and could not be recorded."""
        self._changed = False
        """Whether what is noted may be for commands that are no longer there."""
        self._failures: dict[bytes, Failure] = {}
        volume.happenings.noticed = self._noticed

    def configure(self, actions: Sequence[ActionSettings], directory: str) -> None:
        """Run these from now on, as far as they are for this member; `directory` is where the volume is mounted, empty for nowhere."""
        mine = [one for one in actions if directory and (not one.members or self._volume.member in one.members)]
        before = {action.key: action for action in self._actions}
        self._actions = tuple(_Action(one, compiled_any(one.paths), _key(one)) for one in mine)
        self._directory = os.fsencode(directory)
        keys = {action.key for action in self._actions}
        self._failures = {key: failure for key, failure in self._failures.items() if key in keys}
        self._changed = True
        for action in self._actions:
            if action.key in before:
                action.first, action.latest = before[action.key].first, before[action.key].latest
        self._take_up()
        self._configured.notify()
        self._wanted.notify()

    def _take_up(self) -> None:
        """Have run what is noted and nobody waits with: an earlier run, or attempt, left it."""
        left, now = self._volume.index.due.actions(), trio.current_time()
        for action in self._actions:
            if action.key in left and not action.is_waiting:
                action.note(now)

    @property
    def failures(self) -> list[Failure]:
        """Return the commands that failed when they were run last."""
        keys = dict.fromkeys(action.key for action in self._actions)
        return [self._failures[key] for key in keys if key in self._failures]

    def _noticed(self, path: RelPath, local: bool) -> None:
        """Something has changed at a path, by a program of this host or not. In the transaction that records it."""
        for action in self._actions:
            is_for = action.settings.on in ((CHANGED, LOCAL) if local else (CHANGED, APPLIED))
            if is_for and action.covers.fullmatch(path):
                self._note(action, path)

    def _note(self, action: _Action, path: RelPath) -> None:
        self._volume.index.due.add(action.key, path)
        action.note(trio.current_time())
        self._wanted.notify()

    # ---------------------------------------------------------------------------------------------------------- running

    async def run(self) -> None:
        """Run what is due, for ever."""
        self._take_up()
        while True:
            wanted = self._wanted.next()
            self._record()
            action = min((one for one in self._actions if one.is_waiting), key=lambda one: one.due, default=None)
            if action is None:
                await wanted.wait()
                continue
            with trio.move_on_at(action.due) as patience:
                await wanted.wait()
            now = trio.current_time()
            # Something more may have changed in the moment in which it was due, or the configuration.
            due = (
                [one for one in self._actions if one.is_waiting and one.due <= now] if patience.cancelled_caught else []
            )
            if due:
                await self._run(due[0])

    def _record(self) -> None:
        """Record what was run, so that it is not run for the same once more, and forget what nobody will run."""
        if not self._ended and not self._changed:
            return
        due, keys = self._volume.index.due, {action.key for action in self._actions}
        remembering = {action.key for action in self._actions if action.settings.on == CONFLICT}
        with self._volume.index.transaction():
            for key, number in self._ended.items():
                due.done(key, number, remembered=key in remembering)
            if self._changed:
                due.keep(keys)
        self._ended.clear()
        self._changed = False

    async def _run(self, action: _Action) -> None:
        volume, settings = self._volume, action.settings
        with volume.index.transaction():
            given_up = volume.index.due.give_up(action.key, BEGUN_MAX, remembered=settings.on == CONFLICT)
            number, paths = volume.index.due.begin(action.key)
        action.first = action.latest = 0.0
        if given_up:
            self._note_end(settings, given_up, f"begun {BEGUN_MAX} times without an end, given up")
        if paths:
            reason = await self._failed(settings, paths)
            self._ended[action.key] = number
            self._note_end(settings, paths, reason)
            self._record()

    def _note_end(self, settings: ActionSettings, paths: Sequence[RelPath], reason: str) -> None:
        """Say how a command ended; `reason`: why it failed, empty if it did not."""
        name, words, key = self._volume.name, " ".join(settings.command), _key(settings)
        if reason:
            log.warning("%s: action %s failed for %s: %s", name, words, _some(paths), reason)
            self._failures[key] = Failure(settings, reason, time.time_ns(), len(paths))
        else:
            log.info("%s: action %s run for %s", name, words, _some(paths))
            self._failures.pop(key, None)

    async def _failed(self, settings: ActionSettings, paths: Sequence[RelPath]) -> str:
        """Run a command; return why it failed, empty if it did not."""
        program = running.found(settings.command[0])
        if program is None:
            return "it is not installed"
        told = b"".join(b"%b/%b\0" % (self._directory, path) if path else self._directory + b"\0" for path in paths)
        environment = {**running.ENVIRONMENT, "CSFS_VOLUME": self._volume.name, "CSFS_OCCASION": settings.on}
        command = [program, *settings.command[1:]]
        try:
            code, said = await running.ran(
                command, settings.timeout_s, told=told, environment=environment, may_leave=True
            )
        except OSError as error:
            return f"it cannot be started: {error.strerror}"
        if code == 0:
            return ""
        ended = f"took longer than {settings.timeout}" if code is None else f"exit {code}"
        lines = " ".join(shown(said).replace("\\x0a", " ").split())
        return f"{ended}: {lines}"[:SAID_MAX].rstrip(": ")

    # -------------------------------------------------------------------------------------------------------- conflicts

    async def watch_conflicts(self) -> None:
        """Notice conflicts that somebody has to know of, for ever."""
        volume = self._volume
        while True:
            configured, written = self._configured.next(), volume.written.next()
            actions = [action for action in self._actions if action.settings.on == CONFLICT]
            if not actions:
                await configured.wait()
                continue
            begun = trio.current_time()
            paths = {conflict.path for conflict in volume.engine.conflicts(volume.index.rows.contested())}
            for action in actions:
                self._compare(action, {path for path in paths if action.covers.fullmatch(path)})
            await trio.sleep(max(CONFLICTS_S, CONFLICTS_SHARE * (trio.current_time() - begun)))
            await wait_first(configured, written)

    def _compare(self, action: _Action, paths: set[RelPath]) -> None:
        known = self._volume.index.due.known(action.key)
        if known != paths:
            with self._volume.index.transaction():
                self._volume.index.due.forget(action.key, known - paths)
                for path in paths - known:
                    self._note(action, path)


def _key(settings: ActionSettings) -> bytes:
    """Return what names an action: what it does, for what."""
    said = msgspec.msgpack.encode((settings.paths, settings.command, settings.on))
    return hashlib.blake2b(said, digest_size=8).digest()


def _some(paths: Sequence[RelPath]) -> str:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return shown(paths[0]) + more
