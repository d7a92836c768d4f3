"""Mounts as the daemon sees them: a parent that hands over descriptors, and a mount process that tells rows and commits."""

import logging
import os

import trio

from csfs.daemon import probing
from csfs.daemon.after_power_cut import gathered_evidence
from csfs.daemon.connection import ControlConnection
from csfs.daemon.refusing import said_of
from csfs.daemon.securing import Securing
from csfs.errors import CorruptDatabaseError, CsfsError
from csfs.journal.journal import JournalReader
from csfs.mount import bypass
from csfs.mount.bypass import Passing
from csfs.replicate import ageing, braking, doubts
from csfs.replicate.commit_thread import CommitThread
from csfs.replicate.gate import Gate
from csfs.replicate.underneath import SETTLE_S
from csfs.replicate.watcher import Watcher
from csfs.replicate.worker import VolumeWorker
from csfs.store.boot import boot_id
from csfs.wire.control import (
    Behind,
    CommitResults,
    Digested,
    Flush,
    Flushed,
    JournalTrouble,
    LetGo,
    MountHello,
    MountWelcome,
    ParentHello,
    ParentWelcome,
    Refreshed,
    Rows,
    Secure,
    Unmounted,
)

log = logging.getLogger(__name__)

ROWS_READ_MAX = 5_000
DIGESTED_EVERY_S = 1.0
LET_GO_S_MAX = 5.0
ORPHAN_LOOK_S = 1.0
PASSING_FRESH_S = 30.0
FAILURE_SHOWN_S = 300.0
HEARD_S_MAX = 2 * SETTLE_S
"""Somebody may go on writing for ever: what was seen before has been looked at by then."""
UNKNOWN_LAYOUT = "this libfuse is not of a layout that csfs knows"


class MountedVolume:
    """What the daemon holds of one volume's mount: descriptors from the parent, the connection of the mount process.

    Either may come first, and either may die and come back without the other.
    """

    def __init__(self, worker: VolumeWorker, journal_file: str, watcher: Watcher) -> None:
        self.worker = worker
        worker.observer.hear_mount = self.hear_mount
        worker.underneath.flush = self.flush
        self._watcher = watcher
        self._own = {os.getpid()}
        self._passing: list[Passing] = []
        self._passing_at = -float("inf")
        self.path = b""
        self._journal_file = journal_file
        self._thread = CommitThread(f"commit {worker.volume.name}")
        self._clone = -1
        self._clone_pid = 0
        """The mount process that the clone is of."""
        self._gate: Gate | None = None
        self._hello: MountHello | None = None
        self._connection: ControlConnection | None = None
        self._latest: ControlConnection | None = None
        """That of the mount process that began last, which may not be as far as to have rows taken in."""
        self._flushes: dict[int, tuple[ControlConnection, trio.Event]] = {}
        """By token, which mount process is to answer."""
        self._flushed: dict[int, int] = {}
        self._next_flush = 1
        self._handing_over = trio.Lock()
        """Held while the mount is taken over, or let go: either takes its time."""
        self.journal_trouble = ""
        """Why the mount cannot write its journal, empty if it can."""
        self.is_behind = False
        """Whether the volume cannot follow the configuration for want of room."""
        self._parents = 0
        self.securing = Securing(worker)

    # ------------------------------------------------------------------------------------------------------ the parent

    async def serve_parent(self, hello: ParentHello, connection: ControlConnection) -> None:
        """Hold what a mount's parent hands over, as long as it says; its death changes nothing."""
        self._parents += 1
        self.worker.volume.progress.notify()
        try:
            await self._take_over(hello, connection)
            await self._listen_to_parent(hello, connection)
        finally:
            self._parents -= 1
            self.worker.volume.progress.notify()
        # It was killed, and the mount serves on: nobody else is going to tell when the host unmounts it.
        while self._clone >= 0 and not self._parents:
            await trio.sleep(ORPHAN_LOOK_S)
            pid = self._clone_pid
            if (
                self._clone >= 0
                and not self._parents
                and not await trio.to_thread.run_sync(probing.is_mounted, self.path)
            ):
                log.info("%s: unmounted, and its parent is gone", hello.volume)
                await self._let_go(pid)

    async def _listen_to_parent(self, hello: ParentHello, connection: ControlConnection) -> None:
        while (message := await connection.receive()) is not None:
            match message:
                case ParentHello():
                    hello = message
                    await self._take_over(hello, connection)
                case Unmounted():
                    await self._let_go(hello.mount_pid)
                    if self._clone < 0:
                        self.worker.volume.stopped = ""  # the next mount may be of another directory
                    await connection.send(LetGo(message.volume))
                case _:
                    log.warning("%s: a mount's parent said %s", self.worker.volume.name, type(message).__name__)

    async def _take_over(self, hello: ParentHello, connection: ControlConnection) -> None:
        if len(connection.descriptors) < 2:
            log.error("%s: the mount's parent handed over no descriptors", hello.volume)
            return
        clone, root = connection.descriptors.popleft(), connection.descriptors.popleft()
        async with self._handing_over:
            await self._let_go_now()
            try:
                await self.worker.attach_root(root)
            except (OSError, CsfsError) as error:
                os.close(root)
                os.close(clone)
                self.worker.volume.stopped = f"the directory underneath cannot be used: {said_of(error)}"
                log.error("%s: %s", hello.volume, self.worker.volume.stopped)
                self.worker.volume.progress.notify()
                return
            await self._watch(hello)  # before anything is compared: what happens from then on is told
            self._clone, self._clone_pid, self.path = clone, hello.mount_pid, hello.path
        log.info("%s: mounted on %s by process %d", hello.volume, os.fsdecode(hello.path), hello.mount_pid)
        self._attach_gate()
        await connection.send(ParentWelcome())

    async def _watch(self, hello: ParentHello) -> None:
        """Watch what happens underneath."""
        volume, underneath = self.worker.volume, self.worker.underneath
        underneath.watch_begins()
        self._passing_at = -float("inf")
        self._own = {os.getpid(), hello.parent_pid, hello.mount_pid}
        if volume.root is None or not underneath.is_watch_wanted:
            return
        underneath.unwatched = await self._watcher.attach(
            underneath, volume.root.descriptor, parent_pid=hello.parent_pid, mount_pid=hello.mount_pid
        )
        if underneath.unwatched:
            log.warning(
                "%s: changes under the mount are found by comparing alone: %s", hello.volume, underneath.unwatched
            )

    async def passing(self) -> list[Passing]:
        """Return who passes the mount by, as it was a little while ago at most."""
        if self.mounted and trio.current_time() - self._passing_at > PASSING_FRESH_S:
            self._passing_at = trio.current_time()
            self._passing = await trio.to_thread.run_sync(bypass.passing, os.fsdecode(self.path), self._own)
        return self._passing if self.mounted else []

    async def hear_watch(self) -> None:
        """Return when all that the watch has seen so far underneath is to be looked at, or was; at once where nothing is watched."""
        volume, underneath = self.worker.volume, self.worker.underneath
        await self._watcher.catch_up()
        with trio.move_on_after(HEARD_S_MAX):
            await volume.progress.wait_until(lambda: underneath.idle or not self.mounted or bool(volume.stopped))

    async def _let_go(self, pid: int) -> None:
        """Hold nothing of the mount of that process any more: another one may have been handed over meanwhile."""
        async with self._handing_over:
            if self._clone_pid == pid:
                await self._let_go_now()

    async def _let_go_now(self) -> None:
        """Hold nothing of the mount any more, once no commit uses it."""
        await self._watcher.detach(self.worker.underneath)
        if self._gate is not None and self._connection is not None:
            with trio.move_on_after(LET_GO_S_MAX):
                await self._gate.finish()
        await self._drop_gate()
        if self._clone >= 0:
            clone, self._clone, self._clone_pid = self._clone, -1, 0
            # The last reference ends the mount, which may take a while to say goodbye.
            await trio.to_thread.run_sync(os.close, clone)
        await self.worker.detach_root()

    # ------------------------------------------------------------------------------------------------------- the mount

    async def serve_mount(self, hello: MountHello, connection: ControlConnection) -> None:
        """Digest a mount's rows and commit through it, as long as it is connected."""
        volume = self.worker.volume
        # The end of a mount process before this one may not have been heard of yet.
        self._hello = self._connection = None
        self._latest = connection
        await self._drop_gate()
        digested = volume.index.ledger.digested(hello.journal)
        clean = hello.clean and hello.first <= digested + 1 and digested <= hello.last
        self.worker.mount_began(mount=probing.life_of(hello.pid), clean=clean)
        if hello.cut and volume.index.ledger.whole not in (b"", boot_id()):
            evidence = await gathered_evidence(volume.name, hello.journal, self._journal_file, digested, hello.last)
            if self._latest is not connection:
                return  # another mount process has begun meanwhile, and what its journal proves may have been used by now
            volume.evidence = evidence
        elif not clean:
            digested = hello.last
        digested = min(digested, hello.last)
        self.worker.observer.start_journal(hello.journal, digested)
        # Not before: nothing is compared that is to be judged by evidence.
        self._hello, self._connection = hello, connection
        try:
            await connection.send(self._welcome(digested))
            self._attach_gate()
            await self._read_journal(digested, hello.last)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell_digested, connection)
                nursery.start_soon(self.securing.keep_leases, connection.send)
                await self._receive(connection, nursery)
                nursery.cancel_scope.cancel()
        finally:
            if self._connection is connection:
                self._hello = self._connection = None
                self.journal_trouble = ""
                await self._drop_gate()
            for asked, event in self._flushes.values():
                if asked is connection:
                    event.set()

    async def _drop_gate(self) -> None:
        """Commit nothing any more, once the commit under way has ended."""
        gate, self._gate = self._gate, None
        if gate is not None:
            self.worker.detach_gate(gate)
            with trio.move_on_after(LET_GO_S_MAX) as scope:
                scope.shield = True
                await gate.release()

    def _attach_gate(self) -> None:
        """Commits need both the clone and the mount process."""
        if self._clone < 0 or self._connection is None or self._hello is None or self._gate is not None:
            return
        if self._clone_pid != self._hello.pid:
            return  # the clone is of the mount process before this one, and its parent is about to hand over another
        self._gate = Gate(self._connection.send, self._clone, self._thread)
        self._gate.asks_first = self.worker.volume.rules.wait
        self.worker.attach_gate(self._gate)

    async def _receive(self, connection: ControlConnection, nursery: trio.Nursery) -> None:
        while (message := await connection.receive()) is not None:
            match message:
                case Rows(changes=changes):
                    self.worker.observer.take(changes)
                case Behind(last=last):
                    await self._read_journal(self.worker.observer.last, last)
                case JournalTrouble(reason=reason):
                    if reason:
                        log.error("%s: %s", self.worker.volume.name, reason)
                    self.journal_trouble = reason
                case CommitResults() | Refreshed():
                    if self._gate is not None:
                        self._gate.receive(message)
                case Secure():
                    nursery.start_soon(self.securing.answer, message, connection.send)
                case Flushed(token=token, sequence=sequence):
                    if token in self._flushes:  # else who asked does not wait any more
                        self._flushed[token] = sequence
                        self._flushes[token][1].set()
                case _:
                    log.warning("%s: the mount said %s", self.worker.volume.name, type(message).__name__)

    async def _read_journal(self, after: int, last: int) -> None:
        """Take in rows that were not told live."""
        if after >= last:
            return
        try:
            reader = JournalReader(self._journal_file)
        except CorruptDatabaseError as error:
            log.error("%s", error)
            self.worker.compare_all()
            return
        try:
            while after < last:
                changes = await trio.to_thread.run_sync(reader.rows, after, last, ROWS_READ_MAX)
                if not changes:
                    # Rows that the mount counts but the file has not were lost with a mount that was killed.
                    self.worker.compare_all()
                    return
                self.worker.observer.take(changes)
                after = changes[-1].sequence
        finally:
            reader.close()

    async def _tell_digested(self, connection: ControlConnection) -> None:
        told, observer, volume = 0, self.worker.observer, self.worker.volume
        while True:
            await volume.progress.wait_until(lambda: observer.digested > told)  # noqa: B023 - read while it waits
            await trio.sleep(DIGESTED_EVERY_S)
            digested = observer.digested
            try:
                # The mount lets its rows go: from here on the index alone proves what they did, through a power cut, too.
                await trio.to_thread.run_sync(volume.index.sync, abandon_on_cancel=True)
            except OSError as error:
                log.warning("%s: the index cannot be synced: %s", volume.name, error)
                continue
            told = digested
            await connection.send(Digested(told))

    async def flush(self) -> int | None:
        """Have every change so far told; return the last sequence, None if no mount is connected."""
        if self._connection is not None and self._clone >= 0:
            # close(2) does not wait until the mount has heard of it; requests are answered in order.
            await trio.to_thread.run_sync(probing.ask, self._clone)
        return await self._ask_mount(written=True)

    async def hear_mount(self) -> None:
        """Return when all rows so far are taken in; none is made for what is being written, as each has all of a new file sent."""
        await self._ask_mount(written=False)

    async def _ask_mount(self, *, written: bool) -> int | None:
        connection = self._connection
        if connection is None:
            return None
        token, self._next_flush = self._next_flush, self._next_flush + 1
        event = trio.Event()
        self._flushes[token] = connection, event
        try:
            await connection.send(Flush(token, written))
            await event.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return None
        finally:
            del self._flushes[token]
        return self._flushed.pop(token, None)

    @property
    def is_coming_back(self) -> bool:
        """Whether a mount process is gone that its parent is about to replace, or a new one is not all here yet.

        What the one before had not told is found by comparing then.
        """
        return self._parents > 0 and not (self.mounted or self.worker.volume.stopped)

    def _welcome(self, digested: int) -> MountWelcome:
        return MountWelcome(digested, (self._thread.thread_id,))

    async def tell_changed(self) -> None:
        """Have the mount, if one is connected, read anew what it is to note."""
        self.securing.rules_changed.notify()
        if self._gate is not None:
            self._gate.asks_first = self.worker.volume.rules.wait
        if self._connection is not None:
            try:
                await self._connection.send(self._welcome(self.worker.observer.digested))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # it reads it when it connects again

    @property
    def alarms(self) -> list[str]:
        """What is wrong with the volume as a whole, a sentence each."""
        path = os.fsdecode(self.path)
        orphaned = f"{path} has lost the process that would mount it again; csfs umount {path}, then csfs mount {path}"
        is_orphan = self._clone >= 0 and not self._parents and self._connection is not None
        cannot_wait = self.worker.volume.rules.wait and self._hello is not None and not self._hello.can_wait
        failed_at, failure = self.worker.failure
        has_failed = trio.current_time() - failed_at < FAILURE_SHOWN_S
        alarms = (
            self.journal_trouble,
            self.worker.volume.index.trouble,
            "the volume does not follow the configuration yet, for want of room; that is tried again"
            if self.is_behind
            else "",
            f"a part of the work fails, and is tried again: {failure}; the daemon's log says more"
            if has_failed
            else "",
            orphaned if is_orphan else "",
            self.securing.alarm,
            f"programs on {path} do not wait for other members: {UNKNOWN_LAYOUT}" if cannot_wait else "",
        )
        braked = [braking.alarm(one) for one in self.worker.volume.index.braked.summary()]
        told = (*alarms, doubts.alarm(self.worker.volume), *ageing.alarms(self.worker.volume))
        return [*(alarm for alarm in told if alarm), *braked, *self.worker.volume.memory.alarms]

    @property
    def mounted(self) -> bool:
        """Whether a mount process is connected and the parent handed over its descriptors."""
        return self.worker.volume.mounted
