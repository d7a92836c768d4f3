"""The mount process: passes one directory through FUSE until it is unmounted. No task's exception ends it."""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable

import pyfuse3
import trio

from csfs.core.versions import Scope
from csfs.journal.journal import Journal, open_or_replace
from csfs.mount import checks, logs, loop, memory, mountinfo, pulse, submounts, syscalls
from csfs.mount.capture import Capture
from csfs.mount.extension import Extension
from csfs.mount.gate import Gate
from csfs.mount.inodes import Inodes
from csfs.mount.intake import Intake
from csfs.mount.keeping import Keeping
from csfs.mount.lifting import Lifting
from csfs.mount.link import Link
from csfs.mount.operations.passthrough import Handlers, PassThrough
from csfs.mount.options import for_libfuse
from csfs.mount.read_only import ReadOnly
from csfs.mount.recent import Recent
from csfs.mount.rules import CurrentRules, LoadRules
from csfs.mount.settings import MountSettings
from csfs.mount.waiting import Waiting
from csfs.store import heap, redo
from csfs.store.beneath import open_in_pieces
from csfs.store.boot import boot_id
from csfs.wire import control

log = logging.getLogger(__name__)

SETTLE_S = 1.0
"""What was written to a file that stays open is told within this time, and not in the first half of it; a great deal, later."""
TASKS_MAX = 1_000
"""Each request that waits (an fsync) holds one, and while all do, nothing else is answered. A task takes about 12 KiB."""


class Mount:
    """Everything of one mount process."""

    def __init__(self, settings: MountSettings, root: int, rules: CurrentRules, ready: Callable[[], None]) -> None:
        self.settings = settings
        self.journal: Journal = open_or_replace(settings.journal, time.time_ns, boot_id())
        self._rules = rules
        self._leases: dict[Scope, float] = {}
        self._is_listening = False
        self.inodes = Inodes(root, submounts.names_below(settings.path))
        self.capture = Capture(self.journal, self.inodes, rules)
        # Rows from before this start are not in memory: no commit passes that was decided without them.
        self.recent = Recent(self.journal.last)
        self.gate = Gate(self.inodes, self.capture, self.recent, lambda path: self.waiting.holds(path))
        self.handlers = Handlers(self.inodes, self.capture, self.gate)
        self.operations = PassThrough(self.handlers, ready)
        self.waiting = Waiting(
            self.inodes, lambda: self.journal.last, lambda said: self.link.send(said), self._count_waiting
        )
        self.intake = Intake(self.handlers, self.waiting)
        self.extension = Extension(self.handlers, self.intake)
        self.reader = loop.Reader(self.intake, lambda: self.link.descriptor)
        self.link = Link(
            settings.volume,
            settings.control_socket,
            self.capture,
            self.gate,
            self.recent,
            rules,
            self.handlers.refresher,
            self.follow_rules,
            self.waiting,
            self._leases,
        )

    def _count_waiting(self, more: int) -> None:
        self.handlers.waiting += more

    def follow_rules(self) -> None:
        """Do from now on as the rules say that were loaded last."""
        rules = self._rules.loaded
        is_wanted = rules is not None and ReadOnly.is_wanted(rules)
        self.handlers.read_only = (
            ReadOnly(rules, self.inodes, self._leases) if rules is not None and is_wanted else None
        )
        keeps = rules is not None and rules.keep_local
        self.handlers.keeping = Keeping(rules, self.inodes, self.capture) if rules is not None and keeps else None
        waits = self.waiting.follow(rules)
        if waits and not self._is_listening:
            self._is_listening = True
            self.capture.listen(self.waiting.note)
        self.intake.follow(waits)

    async def run(self, beats: int) -> None:
        """Serve until the file system is unmounted, or SIGTERM."""
        async with trio.open_nursery() as nursery:
            finishing = self.gate.overwriting.run
            for task in (self.link.run, self.capture.noting.run, self.waiting.run, self._tell_lasting, finishing):
                nursery.start_soon(_kept_running, task)
            nursery.start_soon(self._signals)
            nursery.start_soon(_beating, beats)
            await pyfuse3.main(max_tasks=TASKS_MAX)
            nursery.cancel_scope.cancel()

    async def _tell_lasting(self) -> None:
        """Tell of files that stay open for writing."""
        while True:
            await self.capture.wait_dirty()
            await trio.sleep(SETTLE_S / 2)
            self.capture.tell_lasting()

    async def _signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGUSR1) as signals:
            async for number in signals:
                if number == signal.SIGUSR1:
                    log.info("%s", self.inodes.described())
                else:
                    self.reader.end()

    def close(self) -> None:
        """Tell the journal what is left to tell, and close it clean."""
        self.handlers.close_all()
        self.inodes.close()
        self.journal.close()


async def _beating(descriptor: int) -> None:
    """Show that the loop turns, for ever."""
    while True:
        pulse.beat(descriptor, time.monotonic())
        await trio.sleep(pulse.BEAT_S)


async def _kept_running(task: Callable[[], object]) -> None:
    """Run a task that never ends; start it again when it fails, for nothing of it may end the mount."""
    while True:
        try:
            await task()  # type: ignore[misc]
        except Exception:
            log.exception("unexpected error in %s", getattr(task, "__name__", task))
        await trio.sleep(SETTLE_S)


def serve(
    settings: MountSettings, options: frozenset[str], root: int, load_rules: LoadRules, ready: int, beats: int
) -> None:
    """Mount and serve; returns when unmounted. Writes a byte to the descriptor `ready` and closes it once it serves, and
    beats on the descriptor `beats` as long as its loop turns.

    Raises:
        RuntimeError: the kernel refused to mount; libfuse has said why on standard error.
        Exception: the journal cannot be used.
    """
    os.chdir("/")
    heap.keep_together()
    memory.raise_descriptors()
    memory.spare(memory.MOUNT)
    os.umask(0o077)  # the journal names files, and who writes them
    rules = CurrentRules(load_rules)
    _recover(root, rules)
    checks.clear_dead(settings.path)  # which the parent has left there if there was something to recover
    mount = Mount(settings, root, rules, lambda: _tell_ready(ready))
    os.umask(0)  # the kernel has applied the caller's
    mount.reader.install()
    mount.extension.install()
    mount.follow_rules()
    pyfuse3.init(mount.operations, settings.path, options_of(settings.volume, options))
    _leave_namespace(settings.path)
    heap.give_back()  # before it is locked: what was needed to begin
    try:
        memory.stay()
        listener = logs.begin()
        try:
            trio.run(mount.run, beats)
        finally:
            listener.stop()
    finally:
        with contextlib.suppress(Exception):
            pyfuse3.close(unmount=False)  # in this namespace nothing is mounted there
        mount.close()


def _recover(root: int, rules: CurrentRules) -> None:
    """Finish what a killed mount was overwriting, and put on the flags that it had lifted, before anybody can look."""
    lifting = Lifting(root, rules)
    lifting.recover(log.warning)
    try:
        stage = open_in_pieces(root, control.STAGE, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return  # nothing was ever replicated here
    try:
        redo.recover(root, stage, log.warning, opened=lifting.opened)
    finally:
        os.close(stage)


def options_of(volume: str, options: frozenset[str]) -> set[str]:
    """Return the options to mount with: those that a system directory needs, and what the administrator adds."""
    needed = {"allow_other", "default_permissions", "dev", "suid", f"fsname=csfs:{volume}", "subtype=csfs"}
    return needed | {for_libfuse(option) for option in options}


def _tell_ready(descriptor: int) -> None:
    os.write(descriptor, b"\0")
    os.close(descriptor)


def _leave_namespace(path: str) -> None:
    """Go where the mount is not: a path that this process opens by mistake then reaches the bare directory, not itself.

    Slave, never private: what the host unmounts must not stay pinned here. Where the host's own mounts are private (a container)
    nothing tells us of an unmount, so other volumes of csfs go at once: their processes end when nobody holds their mount.
    """
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.set_propagation(b"/", syscalls.MS_SLAVE | syscalls.MS_REC)
        syscalls.umount(os.fsencode(path), syscalls.MNT_DETACH)
        for mount in mountinfo.current():
            if mount.type == mountinfo.TYPE:
                syscalls.umount(os.fsencode(mount.path), syscalls.MNT_DETACH)
    except OSError as error:
        log.warning("no mount namespace of its own (%s): a path opened by mistake would hang the mount", error)
