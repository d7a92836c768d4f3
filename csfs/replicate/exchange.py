"""One connected peer: greets it, sends it what it lacks, takes in what it sends, asks it for contents and answers it.

Per volume, records go in our update order; the peer's cursor says where to go on after a break. What is sent is what the
peer does not know yet, the newest version of each path alone.
"""

import logging
import time
from collections.abc import Mapping

import trio

from csfs.core.patches import Patch
from csfs.core.versions import Scope, Vector, joined
from csfs.engine.ports import Outgoing
from csfs.errors import RemoteProtocolError, UnreachableError
from csfs.replicate.arriving import acknowledge, ask_ahead
from csfs.replicate.asking import Asking
from csfs.replicate.directory_moves import hear_move, tell_move
from csfs.replicate.inline import inline_contents, inline_patches
from csfs.replicate.memory import outlived
from csfs.replicate.portions import portions
from csfs.replicate.ports import Greeting, LinkPort
from csfs.replicate.serving import Serving
from csfs.replicate.standing import PeerStanding, check_greeting, hold_token, likeness, shows
from csfs.replicate.volume import Arrival, Exchange, Volume
from csfs.replicate.vouching import Vouchers
from csfs.replicate.worker import VolumeWorker
from csfs.store.hashing import block_hash
from csfs.wire.messages import (
    INLINE_BATCH_SIZE_MAX,
    UPDATES_MAX,
    Answer,
    AppliedUpTo,
    Followed,
    GetBlocks,
    Goodbye,
    Heartbeat,
    Hello,
    Mend,
    Moved,
    Question,
    Records,
    Refusals,
    Remaining,
    Settings,
    Stands,
    Stored,
    Unavailable,
    VolumeHello,
    Vouch,
    Vouched,
)
from csfs.wire.segments import GetExtents, GetSegments

log = logging.getLogger(__name__)

MIDSTREAM_S_MAX = 1.0
ANSWERS_MAX = 64
"""Questions of one peer under way; a member asks for some fifty at most."""
READING_MAX = 4
"""Parts of large contents that are read, and wait to be taken by the link, for one peer at a time: a MiB each."""
FORWARD_S = 0.2
"""How long a peer may take to hear from others, and to say so, before it is told what others made."""


class PeerSession:
    """The conversation with one peer over one link."""

    def __init__(self, peer: str, link: LinkPort, workers: Mapping[str, VolumeWorker], greeting: Greeting) -> None:
        self._peer = peer
        self._link = link
        self._workers = workers
        self._greeting = greeting
        self._theirs: dict[str, VolumeHello] = {}
        self._told: dict[str, dict[Scope, Vector]] = {}
        """By volume, what our greeting said that we know."""
        self._standings: dict[str, PeerStanding] = {}
        self._asking = Asking(link.send)
        self._answering = 0
        self._reading = trio.Semaphore(READING_MAX)
        self._vouchers = Vouchers(peer, link.send)

    # ------------------------------------------------------------------------------------------------------- greeting

    async def run(self) -> None:
        """Converse until the link breaks.

        Raises:
            RemoteProtocolError: the peer is not of this cluster, speaks another protocol, or broke ours.
            trio.BrokenResourceError, trio.ClosedResourceError: the link is gone.
        """
        try:
            await self._converse()
        finally:
            self._part()

    async def _converse(self) -> None:
        await self._link.send(self._hello())
        while isinstance(message := await self._link.receive(), Heartbeat):
            pass  # a link is probed before anybody speaks on it
        if not isinstance(message, Hello):
            raise RemoteProtocolError(f"peer {self._peer}: said {type(message).__name__} before Hello")
        check_greeting(self._peer, message)
        self._note_clock(message.time_ns)
        if any([self._is_ahead(theirs) for theirs in message.volumes]):  # each of them has to be looked at
            raise UnreachableError(f"peer {self._peer}: heard from a later life of this member, which greets anew")
        shared = self._meet(message)
        self._has_met()
        async with trio.open_nursery() as nursery:
            for worker in shared:
                nursery.start_soon(self._send_records, worker)
                nursery.start_soon(acknowledge, worker, self._peer, self._link.send)
                nursery.start_soon(worker.volume.tell_refusals, self._peer, self._link.send)
                nursery.start_soon(worker.progress.tell, self._link.send)
                standing = self._standings[worker.volume.name]
                nursery.start_soon(standing.say)
                nursery.start_soon(standing.follow)
            if (newer := self._greeting.settings_for(message)) is not None:
                await self._link.send(newer)
            await self._receive(nursery)

    def _hello(self) -> Hello:
        volumes, incarnations = [], {}
        for name, worker in self._workers.items():
            volume = worker.volume
            cursor_index, cursor = volume.index.ledger.cursor_to_tell(self._peer)
            self._told[name] = volume.engine.greeting(self._peer)
            incarnations.update({int(i): member for i, member in volume.authors.items()})
            volumes.append(
                VolumeHello(
                    name,
                    volume.index.ledger.index_id,
                    self._told[name],
                    cursor_index,
                    cursor,
                    volume.index.ledger.pulling,
                    volume.index.rows.tokens(self._peer).held,
                    volume.index.incarnation,
                )
            )
        return self._greeting.hello(tuple(volumes), incarnations)

    def _note_clock(self, time_ns: int) -> None:
        self._greeting.skew(self._peer, time_ns - time.time_ns())

    def _is_ahead(self, theirs: VolumeHello) -> bool:
        worker = self._workers.get(theirs.name)
        return worker is not None and shows(worker.volume, self._peer, theirs.token)

    def _meet(self, hello: Hello) -> list[VolumeWorker]:
        """Set up an exchange for each volume that both have."""
        shared, is_alike = [], likeness(self._greeting.goes_by, hello.settings_digest)
        for theirs in hello.volumes:
            worker = self._workers.get(theirs.name)
            if worker is None:
                continue
            volume = worker.volume
            self._theirs[theirs.name] = theirs
            known = len(volume.index.ledger.authors())
            with volume.index.transaction():
                volume.index.ledger.add_authors(hello.incarnations)
                volume.authors.update(volume.index.ledger.authors())
                # Those at hand may be of a greeting that could not be written.
                if len(volume.index.ledger.authors()) > known:
                    volume.engine.reconsider(volume.index.rows.contested())
            volume.engine.greeted(self._peer, theirs.incarnation, joins=theirs.pulling)
            # What waited for the object's new name when this member stopped, or for word whose version it is.
            with volume.index.transaction():
                contested = volume.index.rows.contested()
                followed = volume.engine.follow(contested, time.time_ns(), worker.observer.is_unseen)
            if followed:
                volume.changed.notify()
            resumed = theirs.cursor_index == volume.index.ledger.index_id
            exchange = Exchange(
                self._peer,
                sent=theirs.cursor_position if resumed else 0,
                # Who pulls has to hear a mark again, even if it knows all that there is.
                knowledge={} if theirs.pulling else dict(theirs.knowledge),
                told=self._told[theirs.name],
                last_records=theirs.cursor_position if resumed else 0,
                stored=theirs.cursor_position if resumed else 0,
            )
            # What it sent before this link, and is not applied yet, is to be reported like what it sends now.
            index_id, position = volume.index.ledger.cursor(self._peer)
            if index_id == theirs.index_id:
                exchange.arrived.append(Arrival(position, set(volume.index.rows.pending())))
            exchange.asking = self._asking
            volume.exchanges[self._peer] = exchange
            unseen = worker.observer.is_unseen
            standing = PeerStanding(volume, exchange, self._asking, self._link.send, self._note_clock, is_alike, unseen)
            self._standings[volume.name] = volume.memory.standings[self._peer] = standing
            worker.fetcher.requesters[self._peer] = self._asking
            volume.apply_soon(volume.index.rows.pending())
            # What could not be merged before, for want of a content or of an author, perhaps can now.
            volume.merge_soon(volume.index.rows.contested() if volume.merges else ())
            shared.append(worker)
        return shared

    def _part(self) -> None:
        for worker in self._workers.values():
            worker.volume.engine.parted(self._peer)
            worker.volume.exchanges.pop(self._peer, None)
            worker.volume.memory.standings.pop(self._peer, None)
            worker.fetcher.requesters.pop(self._peer, None)
        self._has_met()
        self._asking.close()

    def _has_met(self) -> None:
        """Nobody has to wait until the two have told each other what they have."""
        self._link.is_meeting = False
        for worker in self._workers.values():
            worker.volume.progress.notify()

    # --------------------------------------------------------------------------------------------------------- sending

    async def _send_records(self, worker: VolumeWorker) -> None:
        volume = worker.volume
        exchange, engine, patient, telling = volume.exchanges[self._peer], volume.engine, True, False
        while True:
            await trio.lowlevel.checkpoint()  # where it knows all that is looked at, nothing else here is one
            # What it is in the middle of telling us must not be told back; if both are, neither waits for the other.
            if exchange.midstream and not telling:
                with trio.move_on_after(MIDSTREAM_S_MAX):
                    await volume.settled.wait_until(lambda: not exchange.midstream)
            while volume.engine is engine and engine.withholds(self._peer):
                await volume.changed.wait()
            if volume.engine is not engine:
                return  # other rules, or another life: what the peer was told before counts for nothing, and it is greeted anew
            outgoing = self._outgoing(volume, exchange)
            if patient and volume.engine.is_hearsay(outgoing):
                # Whoever made it is likely to tell it himself: it is forwarded if it is not known after a while.
                with trio.move_on_after(FORWARD_S):
                    while volume.engine.is_hearsay(self._outgoing(volume, exchange)):
                        await volume.changed.wait()
                patient = False
                continue
            telling = outgoing.move is not None or not outgoing.done
            if outgoing.move is not None:
                await tell_move(volume, exchange, outgoing, self._standings[volume.name])
                continue
            knowledge = exchange.knowledge.get(outgoing.scope, {})
            if outgoing.mark is not None:
                self._now_knows(exchange, outgoing.scope, outgoing.mark)
            if outgoing.updates:
                exchange.last_records = outgoing.position
                exchange.waiting_since_ns = exchange.waiting_since_ns or time.time_ns()
            exchange.sent = max(exchange.sent, outgoing.position)
            if outgoing.updates or outgoing.mark is not None:
                exchange.sending = True
                found = inline_patches(volume.patches, outgoing.updates, knowledge)
                await self._send(worker, exchange, outgoing, found)
                exchange.sending = False
            volume.progress.notify()
            if outgoing.done and volume.index.rows.position() <= exchange.sent:
                patient = True
                await volume.changed.wait()

    def _outgoing(self, volume: Volume, exchange: Exchange) -> Outgoing:
        return volume.engine.outgoing(exchange.sent, exchange.knowledge, UPDATES_MAX, self._peer, exchange.apart)

    async def _send(
        self, worker: VolumeWorker, exchange: Exchange, outgoing: Outgoing, patches: tuple[Patch, ...]
    ) -> None:
        """Send one batch; its updates are of one moment, whatever happens while its contents are read."""
        volume = worker.volume
        # Who joins, perhaps with an equal tree of its own, asks for what it lacks until it has applied something.
        joins = self._theirs[volume.name].pulling and not exchange.applied
        # So does everybody while contents may not leave as fast as they come: what is asked for waits behind what is not content.
        size_max = 0 if joins or self._link.is_held_back else INLINE_BATCH_SIZE_MAX
        *early, last = portions(outgoing.updates)
        for updates in early:
            # Where it could go on after a break is where this batch began.
            await self._link.send(Records(volume.name, outgoing.scope, 0, updates))
        contents = await inline_contents(volume, outgoing.updates, size_max, exchange.travelled)
        standing = self._standings[volume.name]
        scope, position, mark, token = outgoing.scope, outgoing.position, outgoing.mark, standing.take_token()
        await self._link.send(Records(volume.name, scope, position, last, mark, patches, token, contents))
        standing.prepare_token()

    def _now_knows(self, exchange: Exchange, scope: Scope, mark: Vector) -> None:
        """Note what it knows: what it says, and what it is told; after a break it says anew what it has stored."""
        exchange.knowledge[scope] = joined(exchange.knowledge.get(scope, {}), mark)

    # ------------------------------------------------------------------------------------------------------- receiving

    async def _receive(self, nursery: trio.Nursery) -> None:
        while True:
            message = await self._link.receive()
            match message:
                case Records():
                    await self._received_records(message)
                case Stored() | AppliedUpTo():
                    self._received_ack(message)
                case Remaining(volume=name, left=left, done=done):
                    self._worker(name).volume.exchanges[self._peer].meter.note(trio.current_time(), left, done)
                case Stands() | Mend():
                    self._worker(message.volume)
                    self._standings[message.volume].hear(message)
                case _ if isinstance(message, Question | Moved):
                    nursery.start_soon(self._answer, message)
                case _ if isinstance(message, Answer | Unavailable | Vouched | Followed):
                    self._asking.answered(message)
                case Refusals(volume=name, refusals=refusals):
                    self._worker(name).volume.exchanges[self._peer].refusals = refusals
                case Vouch():
                    nursery.start_soon(self._vouchers.answer, self._worker(message.volume), message)
                case Settings():
                    await self._greeting.settings_received(self._peer, message)
                case Goodbye(reason=reason):
                    log.info("peer %s: %s", self._peer, reason)
                    return
                case Heartbeat():
                    self._note_clock(message.time_ns)
                case _:
                    raise RemoteProtocolError(f"peer {self._peer}: said {type(message).__name__} after Hello")

    async def _answer(self, question: Question | Moved) -> None:
        if self._answering >= ANSWERS_MAX:
            raise RemoteProtocolError(f"peer {self._peer}: asks for more than {ANSWERS_MAX} answers at once")
        self._answering += 1
        worker = self._worker(question.volume)
        serving, index_id = Serving(worker, self._peer), self._theirs[question.volume].index_id
        try:
            if isinstance(question, Moved):
                await hear_move(worker, self._peer, index_id, question, self._link.send)
            elif isinstance(question, GetSegments | GetExtents) or (
                isinstance(question, GetBlocks) and question.count > 1
            ):
                # What a slow peer has not taken yet must not fill our memory.
                async with self._reading:
                    await serving.answer(question, self._link.send)
            else:
                await serving.answer(question, self._link.send)
        finally:
            self._answering -= 1

    def _worker(self, name: str) -> VolumeWorker:
        worker = self._workers.get(name)
        if worker is None or name not in self._theirs:
            raise RemoteProtocolError(f"peer {self._peer}: speaks of volume {name!r}, which we do not share")
        return worker

    async def _received_records(self, message: Records) -> None:
        worker = self._worker(message.volume)
        volume, theirs = worker.volume, self._theirs[message.volume]
        exchange = volume.exchanges[self._peer]
        for data in message.contents:
            volume.contents.put(block_hash(data), data)
        for patch in message.patches:
            if not patch.is_sound:
                raise RemoteProtocolError(f"peer {self._peer}: sent a patch that fits no content")
            volume.patches.put(patch)
        position = volume.index.rows.position()
        with volume.index.transaction():
            ask_ahead(volume, message.updates)
            mark = None if message.scope in exchange.refused else message.mark
            received = volume.engine.receive(self._peer, message.scope, message.updates, mark, time.time_ns())
            followed = volume.engine.follow(received.touched, time.time_ns(), worker.observer.is_unseen)
            touched = {*received.touched, *followed}
            if received.refused:
                exchange.refused.add(message.scope)
            # What was refused, by rules that are about to change perhaps, is to be sent again on the next link.
            hold_token(volume, self._peer, message.token)
            if message.position and not exchange.refused:
                volume.index.ledger.set_cursor(self._peer, theirs.index_id, message.position)
        if received.is_ahead:
            outlived(volume, self._peer)
            return
        self._standings[message.volume].note_refused(received)
        exchange.midstream = message.mark is None
        if message.mark is not None:
            self._now_knows(exchange, message.scope, message.mark)
            if message.scope not in exchange.refused:
                volume.heard(message.scope, self._peer, joins=theirs.pulling)
        exchange.arrives(message.position or exchange.received, touched)
        volume.take_in(touched)
        if volume.index.rows.position() != position:
            volume.changed.notify()
        exchange.received = message.position or exchange.received
        volume.progress.notify()
        volume.settled.notify()

    def _received_ack(self, message: Stored | AppliedUpTo) -> None:
        volume = self._worker(message.volume).volume
        exchange = volume.exchanges[self._peer]
        if isinstance(message, Stored):
            exchange.stored = max(exchange.stored, message.position)
            # Who pulls has to hear a mark of each of us.
            if not self._theirs[message.volume].pulling:
                for scope in message.knowledge.keys() & volume.scopes(self._peer):
                    self._now_knows(exchange, scope, message.knowledge[scope])
                volume.changed.notify()
        else:
            exchange.applied = max(exchange.applied, message.position)
            exchange.problems = message.problems
            if exchange.applied >= exchange.last_records:
                exchange.waiting_since_ns = 0
        volume.progress.notify()
