"""The mount's end of the control socket: says hello, sends rows as they happen, takes commits. For ever, whatever the daemon does."""

import contextlib
import logging
import os
import socket
import struct
import time
from collections.abc import Callable
from functools import partial

import trio

from csfs.core.changes import Change
from csfs.core.versions import Scope
from csfs.errors import RemoteProtocolError
from csfs.mount.capture import Capture
from csfs.mount.gate import Gate
from csfs.mount.outbox import Outbox
from csfs.mount.recent import Recent
from csfs.mount.refresh import Refresher
from csfs.mount.rules import CurrentRules
from csfs.mount.waiting import Waiting
from csfs.wire.codec import CONTROL_FRAME_SIZE_MAX, FrameCodec
from csfs.wire.control import (
    CommitResult,
    CommitResults,
    Commits,
    ControlMessage,
    Digested,
    Flush,
    Flushed,
    JournalTrouble,
    Leases,
    MountHello,
    MountWelcome,
    Refresh,
    Refreshed,
    Secured,
)

log = logging.getLogger(__name__)

RETRY_DELAY_S_MIN = 0.1
RETRY_DELAY_S_MAX = 2.0
BUSY_INTERVAL_S = 0.010
"""Rows after the first go together, at most this often: each wake-up of the daemon costs more than a row."""
BURST_COUNT, BURST_INTERVAL_S = 32, 0.025
"""While so many come in the meantime, less often."""
LAZY_DELAY_S_MAX = 1.0
"""A created file that nobody closes is told of after this."""
COMMITS_PER_STEP = 16
"""Handlers get their turn after so many commits (about a millisecond)."""
RECEIVE_SIZE = 256 * 1024


class Link:
    """The connection to the daemon, or the attempt to have one."""

    def __init__(
        self,
        volume: str,
        control_socket: str,
        capture: Capture,
        gate: Gate,
        recent: Recent,
        rules: CurrentRules,
        refresher: Refresher,
        follow_rules: Callable[[], None],
        waiting: Waiting,
        leases: dict[Scope, float],
    ) -> None:
        """`follow_rules` is called in the loop when `rules` were loaded anew."""
        self._volume = volume
        self._path = control_socket
        self._capture = capture
        self._journal = capture.journal
        self._gate = gate
        self._recent = recent
        self._rules = rules
        self._refresher = refresher
        self._follow_rules = follow_rules
        self._waiting = waiting
        self._leases = leases
        self._outbox = Outbox()
        self._wake = trio.Event()
        self._lazy = trio.Event()
        self._hurry = trio.Event()
        self._connected = False
        self._codec = FrameCodec[ControlMessage](ControlMessage, "daemon", CONTROL_FRAME_SIZE_MAX)
        self._socket = -1
        self._rest = b""
        """Bytes of a message that the socket did not take at once."""
        self._writing = False
        self._sent_at = 0.0
        self._reads_on: Callable[[], None] = _nothing
        capture.listen(self._row)
        capture.noting.told = self._tell_trouble

    @property
    def descriptor(self) -> int:
        """The socket of the connection, -1 while there is none."""
        return self._socket

    def _row(self, change: Change, lazy: bool, inode: int) -> None:
        self._recent.note_change(change, inode)
        if self._connected:
            self._outbox.add_row(change)
            if lazy:
                if not self._lazy.is_set():
                    self._lazy.set()
            elif self._wake.is_set():
                pass  # it goes with those that wait already
            elif time.monotonic() - self._sent_at < BUSY_INTERVAL_S:
                self._wake.set()
            else:
                self._send_now()

    def send(self, message: ControlMessage) -> None:
        """Say something to the daemon, if it is there."""
        if self._connected:
            self._outbox.add(message)
            self._send_now()

    def _send_now(self) -> None:
        """Send what waits in this very step; what the socket does not take is left to the task that sends."""
        if self._socket < 0 or self._rest or self._writing:
            self._wake.set()
            self._hurry.set()
            return
        data = b"".join(self._codec.encoded(message) for message in self._outbox.taken())
        self._sent_at = time.monotonic()
        try:
            taken = os.write(self._socket, data) if data else 0
        except BlockingIOError:
            taken = 0
        except OSError:
            return  # the connection is gone, as the task that receives is about to find
        self._rest = data[taken:]
        if self._rest:
            self._wake.set()
            self._hurry.set()

    async def run(self) -> None:
        """Keep a connection to the daemon. Never returns, never raises but when cancelled."""
        delay_s = RETRY_DELAY_S_MIN
        while True:
            try:
                stream = await trio.open_unix_socket(self._path)
            except (OSError, RuntimeError):
                await trio.sleep(delay_s)
                delay_s = min(delay_s * 2, RETRY_DELAY_S_MAX)
                continue
            delay_s = RETRY_DELAY_S_MIN
            try:
                async with stream:
                    await self._converse(stream)
            except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError, RemoteProtocolError) as errors:
                log.info("the daemon's connection ended: %s", errors.exceptions[0])
            except* Exception:
                log.exception("unexpected error on the control socket")
            finally:
                self._connected = False
                self._socket = -1
                self._gate.disconnected()
            await trio.sleep(delay_s)

    async def _converse(self, stream: trio.SocketStream) -> None:
        peer = _peer_pid(stream.socket)
        self._codec = codec = FrameCodec[ControlMessage](ControlMessage, "daemon", CONTROL_FRAME_SIZE_MAX)
        self._outbox.clear()
        self._rest = b""
        self._writing = False
        # What the hello counts must be in the file, where the daemon reads it; what is not there yet goes live, as what comes after.
        unwritten = self._journal.unwritten
        last = unwritten[0].sequence - 1 if unwritten else self._journal.last
        journal = self._journal
        counted = (journal.id, journal.first, last, journal.clean, journal.cut)
        hello = MountHello(self._volume, os.getpid(), *counted, self._waiting.is_possible)
        for change in unwritten:
            self._outbox.add_row(change)
        self._tell_trouble(self._journal.trouble)
        for question in self._waiting.open_questions():
            self._outbox.add(question)
        self._wake.set()
        self._connected = True
        await stream.send_all(codec.encoded(hello))
        self._socket = stream.socket.fileno()
        self._reads_on = partial(self._read_on, stream.socket, codec, peer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sending, stream, codec)
            nursery.start_soon(self._waking_for_lazy)
            await self._receiving(stream, codec, peer)
            nursery.cancel_scope.cancel()

    async def _sending(self, stream: trio.SocketStream, codec: FrameCodec[ControlMessage]) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            self._lazy = trio.Event()
            self._writing = True
            rest, self._rest = self._rest, b""
            if rest:
                await stream.send_all(rest)
            is_burst = self._outbox.row_count >= BURST_COUNT
            for message in self._outbox.taken():
                await stream.send_all(codec.encoded(message))
            self._writing = False
            self._sent_at = time.monotonic()
            # Rows may wait for company; somebody waits for an answer.
            with trio.move_on_after(BURST_INTERVAL_S if is_burst else BUSY_INTERVAL_S):
                await self._hurry.wait()
            self._hurry = trio.Event()

    async def _waking_for_lazy(self) -> None:
        while True:
            await self._lazy.wait()
            await trio.sleep(LAZY_DELAY_S_MAX)
            self._wake.set()
            self._lazy = trio.Event()

    async def _receiving(self, stream: trio.SocketStream, codec: FrameCodec[ControlMessage], peer: int) -> None:
        while data := await stream.receive_some(RECEIVE_SIZE):
            codec.receive(data)
            while (message := codec.next_message()) is not None:
                await self._received(message, peer)

    def _read_on(self, connection: trio.socket.SocketType, codec: FrameCodec[ControlMessage], peer: int) -> None:
        """Take in what is here and waits for its turn: a system call was faster than its announcement."""
        with socket.socket(fileno=os.dup(connection.fileno())) as waiting, contextlib.suppress(OSError):
            while data := waiting.recv(RECEIVE_SIZE, socket.MSG_DONTWAIT):
                codec.receive(data)
        while (message := codec.next_message()) is not None:
            if isinstance(message, MountWelcome):
                trio.lowlevel.spawn_system_task(self._received, message, peer)
            else:
                self._received_now(message)

    async def _received(self, message: ControlMessage, peer: int) -> None:
        match message:
            case Commits(commits) if len(commits) >= COMMITS_PER_STEP:
                results = list[CommitResult]()
                for first in range(0, len(commits), COMMITS_PER_STEP):
                    await trio.lowlevel.checkpoint()
                    results += self._gate.take(*commits[first : first + COMMITS_PER_STEP])
                self.send(CommitResults(tuple(results)))
            case MountWelcome(digested, threads):
                await trio.to_thread.run_sync(self._rules.reload)
                self._follow_rules()
                self._digested(digested)
                self._gate.connected(_threads_of(peer, threads), self._report, self._reads_on)
            case _:
                self._received_now(message)

    def _received_now(self, message: ControlMessage) -> None:
        match message:
            case Commits(commits):
                self.send(CommitResults(tuple(self._gate.take(*commits))))
            case Digested(sequence):
                self._digested(sequence)
            case Flush(token, written):
                if written:
                    self._capture.tell_all()
                self.send(Flushed(token, self._journal.last))
            case Refresh():
                self._refresh(message)
            case Secured(token):
                self._waiting.secured(token)
            case Leases(until_s):
                self._leases.clear()
                self._leases.update(until_s)
            case _:
                raise RemoteProtocolError(f"daemon: {type(message).__name__} is not for a mount")

    def _tell_trouble(self, reason: str) -> None:
        if self._connected:
            self.send(JournalTrouble(reason))
        elif reason:
            self._outbox.add(JournalTrouble(reason))

    def _refresh(self, message: Refresh) -> None:
        loop, renamed = trio.lowlevel.current_trio_token(), list[int]()

        def done() -> None:
            with contextlib.suppress(trio.RunFinishedError):
                loop.run_sync_soon(lambda: self.send(Refreshed(message.token, tuple(renamed))))

        renamed += self._refresher.take(message.stale, done)

    def _digested(self, sequence: int) -> None:
        self._journal.digested(sequence)
        self._recent.digested(sequence)
        self._capture.noting.prune_soon()

    def _report(self, result: CommitResult) -> None:
        self.send(CommitResults((result,)))


def _nothing() -> None:
    """There is no connection to read on."""


def _peer_pid(connection: trio.socket.SocketType) -> int:
    """Return the process at the other end.

    Raises:
        RemoteProtocolError: it is not root's.
    """
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", credentials)
    if uid != 0:
        raise RemoteProtocolError(f"daemon: the control socket is served by user {uid}, not by root")
    return int(pid)


def _threads_of(pid: int, threads: tuple[int, ...]) -> tuple[int, ...]:
    """Return those of `threads` that belong to the process: nobody may have others let into the reserved directory."""
    return tuple(thread for thread in threads if os.path.exists(f"/proc/{pid}/task/{thread}"))
