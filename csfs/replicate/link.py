"""A link: messages to and from one peer over one stream.

Messages are queued and written by one task, so that writes never interleave and a cancelled sender never leaves half a message on
the wire; contents wait behind everything else. Another task sends heartbeats and notices a peer that went silent.
"""

import contextlib
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

import trio

from csfs.errors import CsfsError, RemoteProtocolError, UnreachableError
from csfs.replicate.rate import Bucket
from csfs.trust.refusals import reason_of
from csfs.wire.conversation import Conversation, State
from csfs.wire.messages import FRAME_SIZE_MAX, Goodbye, Heartbeat, PeerMessage
from csfs.wire.packets import Channel
from csfs.wire.streams import MessageReader, MessageWriter

RECEIVE_SIZE = 64 * 1024
WAITING_SIZE_MAX = {Channel.PROMPT: 2 * 1024 * 1024, Channel.BULK: 4 * 1024 * 1024}
"""Who sends waits while more than this waits to be written: a slow peer must not fill our memory."""
REASON_SIZE_MAX = 300
LAST_WORDS_SIZE_MAX = 4 * 1024
"""With more than this waiting, a link that ends does not try to say why."""
BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things may take, in seconds."""

    heartbeat_s: float = 5.0
    """After so long without a message we say that we are there."""
    silence_s_max: float = 15.0
    """After so long without a byte while we listen, the peer is taken for dead."""
    goodbye_s_max: float = 1.0
    dial_s_max: float = 10.0
    """For a connection, a handshake, and the peer's first word."""
    handshake_s_max: float = 10.0
    """For a dialler to show who it is."""
    join_s_max: float = 30.0
    retry_s_first: float = 0.1
    retry_s_soon_max: float = 1.0
    """Longest pause between two dials in the first `soon_s` after a loss."""
    retry_s_max: float = 30.0
    soon_s: float = 60.0
    settled_s: float = 10.0
    """A link that lived shorter than this counts as a failed dial."""


PACE = Pace()


class Link:
    """Messages to and from `peer`. `run` must be running for anything to be sent; one task at a time may receive.

    `bytes_sent` and `bytes_received` count what travelled inside TLS. `parting_words` is why the peer said goodbye, if it did.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        peer: str,
        conversation: Conversation | None = None,
        pace: Pace = PACE,
        messages: object = PeerMessage,
        frame_size_max: int = FRAME_SIZE_MAX,
    ) -> None:
        self.peer = peer
        self.bytes_sent = 0
        self.bytes_received = 0
        self.parting_words = ""
        self.is_meeting = True
        """Whether the two have yet to tell each other what they have."""
        self._stream = stream
        self._conversation = conversation or Conversation(peer)
        self._pace = pace
        self._reader = MessageReader(peer, messages, frame_size_max)
        self._writer = MessageWriter(peer)
        self._bucket = Bucket()
        self._failure: CsfsError | None = None
        self._ended = trio.Event()
        self._writing = False
        self._idle_writer = trio.lowlevel.ParkingLot()
        self._senders = trio.lowlevel.ParkingLot()
        self._spoke_at = self._heard_at = trio.current_time()
        self._listening = False
        self._watching = trio.CancelScope()
        """Whose deadline is when there is something to say, or to be done about a silence."""

    async def send(self, message: PeerMessage) -> None:
        """Queue `message`; waits only while too much is queued already, and is a checkpoint only then.

        Raises:
            UnreachableError, RemoteProtocolError: the link is lost.
            LocalProtocolError: it may not be said now.
        """
        await self.send_many((message,))

    async def send_many(self, messages: Iterable[PeerMessage]) -> None:
        """Queue `messages`, which keep their order on each channel and leave together as far as they fit; see `send`."""
        for message in messages:
            self._put(message)
            self._idle_writer.unpark()
            while self._is_crowded():
                await self._senders.park()
        self._raise_failure()

    def send_nowait(self, message: PeerMessage) -> None:
        """Queue `message` however much is queued already: for short answers to what was received.

        Raises: as `send`.
        """
        self._put(message)
        self._idle_writer.unpark()

    async def receive(self) -> PeerMessage:
        """Return the next message, heartbeats included; is a checkpoint only when it has to wait.

        Raises:
            UnreachableError: the peer said goodbye, went silent, or the connection broke.
            RemoteProtocolError: the peer broke the protocol.
        """
        while True:
            message = self._next_message()
            if message is not None:
                return message
            self._raise_failure()
            await self._receive_more()

    async def run(self) -> None:
        """Write what is queued and watch the time until the link ends. Never raises: `send` and `receive` do."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_queued)
                nursery.start_soon(self._watch)
                await self._ended.wait()
                nursery.cancel_scope.cancel()
        finally:
            if self._failure is None and self._conversation.may_say(Goodbye):
                self._put(Goodbye("csfs is stopping there"))
            with trio.CancelScope(shield=True):
                await self._say_last_words()
            await self.aclose()

    async def goodbye(self, reason: str) -> None:
        """Tell the peer why we leave, if it listens, and end the link."""
        with trio.move_on_after(self._pace.goodbye_s_max):
            try:
                await self.send(Goodbye(reason))
                while not self._ended.is_set() and (self._writing or self._waiting_size()):
                    await self._senders.park()
            except CsfsError:
                pass  # it has left already
        self._end(UnreachableError(f"{self.peer}: we closed the connection: {reason}"))
        await self.aclose()

    async def aclose(self) -> None:
        """End the link at once; what is queued is lost."""
        self._end(UnreachableError(f"{self.peer}: the connection was closed"))
        await trio.aclose_forcefully(self._stream)

    @property
    def is_held_back(self) -> bool:
        """Whether contents that are sent now would wait, because they may not leave that fast."""
        return bool(self._bucket.wait_s(trio.current_time()))

    def set_rate(self, rate: int | None) -> None:
        """Send contents at most that fast from now on, in bytes per second; None: as fast as they go."""
        self._bucket.set_rate(rate, trio.current_time())
        self._idle_writer.unpark()

    def probe(self) -> None:
        """Send a heartbeat now: a host that restarted answers a connection it knows nothing of by ending it."""
        is_silent = not self._writing and not self._writer.waiting(Channel.PROMPT)
        if self._failure is None and is_silent and self._conversation.may_say(Heartbeat):
            self._put(Heartbeat(time.time_ns()))
            self._idle_writer.unpark()

    def _put(self, message: PeerMessage) -> None:
        self._raise_failure()
        if self._conversation.our_state is State.CLOSED:
            # Whoever asks something just then has no part in it.
            raise UnreachableError(f"peer {self.peer}: we have closed the connection")
        self._conversation.say(message)
        self._writer.put(message)

    def _is_crowded(self) -> bool:
        return self._failure is None and any(self._writer.waiting(c) > most for c, most in WAITING_SIZE_MAX.items())

    def _waiting_size(self) -> int:
        return sum(self._writer.waiting(channel) for channel in Channel)

    def _next_message(self) -> PeerMessage | None:
        try:
            message = self._reader.next_message()
            if message is None:
                return None
            self._conversation.hear(message)
        except RemoteProtocolError as error:
            self._complain(error)
            raise
        if isinstance(message, Goodbye):
            self.parting_words = readable(message.reason)
            self._end(UnreachableError(f"{self.peer}: {self.parting_words}"))
            self._raise_failure()
        return message

    async def _receive_more(self) -> None:
        self._heard_at = trio.current_time()  # from here on it is the peer that keeps us waiting, not we it
        self._listening = True
        try:
            data = await self._stream.receive_some(RECEIVE_SIZE)
        except BROKEN as error:
            self._end(UnreachableError(f"{self.peer}: the connection broke: {reason_of(error)}"))
            self._raise_failure()
        else:
            if not data:
                self._end(UnreachableError(f"{self.peer}: the peer closed the connection without a word"))
                self._raise_failure()
            self.bytes_received += len(data)
            self._reader.receive(bytes(data))
            self._answer_heartbeat()
        finally:
            self._listening = False

    def _answer_heartbeat(self) -> None:
        """Show that we are there, too, if it will soon be time for that: two wakes then are one, and the peer goes first again."""
        now = trio.current_time()
        if now - self._spoke_at > self._pace.heartbeat_s / 2:
            self.probe()
            self._watching.deadline = now + 1.5 * self._pace.heartbeat_s

    async def _write_queued(self) -> None:
        try:
            while True:
                wait_s = self._bucket.wait_s(trio.current_time())
                data = self._writer.next_write(bulk=not wait_s)
                if not data:
                    with trio.move_on_after(wait_s if self._writer.waiting(Channel.BULK) else math.inf):
                        await self._idle_writer.park()
                    continue
                self._writing = True
                self._bucket.take(len(data), trio.current_time())
                await self._stream.send_all(data)
                self._writing = False
                self._spoke_at = trio.current_time()
                self.bytes_sent += len(data)
                self._senders.unpark_all()
        except BROKEN as error:
            # What the peer sent before it closed, a reason perhaps, is still to be read: reading ends the link.
            self._writing = False
            await self._end_unless_told(UnreachableError(f"{self.peer}: the connection broke: {reason_of(error)}"))

    async def _end_unless_told(self, failure: UnreachableError) -> None:
        with trio.move_on_after(self._pace.goodbye_s_max):
            await self._ended.wait()
        self._end(failure)

    async def _watch(self) -> None:
        while True:
            now = trio.current_time()
            if self._listening and now - self._heard_at >= self._pace.silence_s_max:
                self._end(UnreachableError(f"{self.peer}: silent for {self._pace.silence_s_max:g} s, taken for dead"))
                return
            speak_at = self._spoke_at + self._pace.heartbeat_s
            if speak_at <= now:
                self.probe()
                speak_at = now + self._pace.heartbeat_s
            silent_at = self._heard_at + self._pace.silence_s_max if self._listening else speak_at
            with trio.CancelScope(deadline=min(speak_at, silent_at)) as self._watching:
                await trio.sleep_forever()

    def _complain(self, error: RemoteProtocolError) -> None:
        """End the link because of what the peer said, and let it know."""
        if self._failure is None and self._conversation.may_say(Goodbye):
            self._put(Goodbye(str(error)[:REASON_SIZE_MAX]))
        self._end(error)

    async def _say_last_words(self) -> None:
        if not self._writing and 0 < self._waiting_size() <= LAST_WORDS_SIZE_MAX:
            with trio.move_on_after(self._pace.goodbye_s_max), contextlib.suppress(*BROKEN):
                await self._stream.send_all(self._writer.next_write())

    def _end(self, failure: CsfsError) -> None:
        """Note why the link is over; the first reason stands."""
        if self._failure is None:
            self._failure = failure
            self._ended.set()
            self._senders.unpark_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise type(self._failure)(*self._failure.args)


def readable(text: str) -> str:
    """Return what a peer wrote so that it can stand in a log line: one line, not long, nothing that moves the cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)[:REASON_SIZE_MAX]
