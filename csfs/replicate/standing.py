"""What two members tell each other of how they stand, and what each makes of it: tokens, quarantine, walks (R8, R12, R13)."""

import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable

import msgspec
import trio

from csfs.core.paths import RelPath, shown
from csfs.core.tokens import NONCE_SIZE, TOKEN_SIZE, Verdict, confirmed, given
from csfs.engine.ports import Received
from csfs.engine.validation import RefusedError
from csfs.errors import RemoteProtocolError, UnwritableError
from csfs.replicate.asking import Asking
from csfs.replicate.memory import outlived
from csfs.replicate.volume import Exchange, Volume
from csfs.replicate.walking import Walking
from csfs.wire.messages import PROTOCOL, Hello, Mend, PeerMessage, Stands

log = logging.getLogger(__name__)

STANDS_S = 1.0
"""A member says how it stands at most so often."""
TOKEN_S = 0.2
"""Tokens that go with records are made at most so often: each is a transaction."""
RETRY_S = 2.0
REFUSED_MAX = 10_000
"""Of more problems, what a peer says and is refused makes no further one: it may say anything, for ever."""
MINTED_MAX = 500
"""Paths minted anew between two transactions."""


def shows(volume: Volume, peer: str, token: bytes) -> bool:
    """A peer shows the last token that it has of us, at a greeting; return whether this member does not remember it.

    It is another incarnation then, and has to greet all its peers anew.
    """
    index, engine = volume.index, volume.engine
    with index.transaction():
        verdict = engine.shown(peer, index.token_key, token)
        if verdict is Verdict.AHEAD:
            engine.distrust()
            index.relearn(volume.member)
    if verdict is Verdict.BEHIND:
        log.warning("%s: peer %s was restored from an older copy, or cloned", volume.name, peer)
    if verdict is Verdict.AHEAD:
        volume.memory_lost(peer)
    return verdict is Verdict.AHEAD


class PeerStanding:
    """One volume and one connected peer."""

    def __init__(
        self,
        volume: Volume,
        exchange: Exchange,
        asking: Asking,
        send: Callable[[PeerMessage], Awaitable[None]],
        note_clock: Callable[[int], None],
        is_alike: Callable[[], bool],
        is_unseen: Callable[[RelPath], bool],
    ) -> None:
        """`is_alike` says whether the peer goes by the same configuration, `is_unseen` whether a path is yet to be looked at here."""
        self._volume = volume
        self._exchange = exchange
        self._send = send
        self._note_clock = note_clock
        self._is_alike = is_alike
        self._is_unseen = is_unseen
        self._is_apart = False  # and that was said
        self.peer = exchange.peer
        self.asking = asking
        self.walking = Walking(volume, self.peer, asking, send, self.give_token, is_unseen)
        self._said: Stands | None = None
        self._token = b""
        """To go with the next records: durable here before it leaves."""
        self._token_at = -float("inf")
        self.prepare_token()
        self._walked: Stands | None = None

    # ------------------------------------------------------------------------------------------------------------ tokens

    def give_token(self) -> bytes:
        """Return a fresh token for the peer, durable here; none while the index cannot be written."""
        # The peer remembers the one that it gets last: an earlier one after this would look as if the peer had been set back.
        self._token = b""
        index = self._volume.index
        with contextlib.suppress(UnwritableError), index.transaction():
            nonce = secrets.token_bytes(NONCE_SIZE)
            tokens, token = given(index.rows.tokens(self.peer), self.peer, index.token_key, nonce)
            index.rows.set_tokens(self.peer, tokens)
            return token
        return b""

    def take_token(self) -> bytes:
        """Return a token to go with records that leave now, if one is at hand."""
        token, self._token = self._token, b""
        return token

    def prepare_token(self) -> None:
        """Have a token at hand for the next records."""
        if not self._token and trio.current_time() - self._token_at >= TOKEN_S:
            self._token, self._token_at = self.give_token(), trio.current_time()

    # ------------------------------------------------------------------------------------------------------------ saying

    async def say(self) -> None:
        """Say how this member stands whenever that is news, for ever: only after all that it had to say before (R12)."""
        volume, exchange = self._volume, self._exchange
        while True:
            has_said_all = not exchange.sending and exchange.sent >= volume.index.rows.position() and volume.is_sorted
            # While something was said, more may have come: nobody would wake us for it.
            if not (has_said_all and await self._say_once()):
                await volume.progress.wait()
            await trio.sleep(STANDS_S)

    async def _say_once(self) -> bool:
        """Say how this member stands; return whether that was news."""
        volume, engine = self._volume, self._volume.engine
        with volume.index.transaction():
            standings, hashes = engine.standings(), engine.digests()
        if any(exchange.midstream for exchange in volume.exchanges.values()):
            hashes = {scope: b"" for scope in hashes}  # more may be here than the knowledge says
        stands = Stands(volume.name, standings, hashes, 0, engine.is_in_quarantine)
        if self._said == stands:
            return False
        self._said = stands
        if not all(map(engine.speaks_in, standings)):
            self._walked = None  # so much may have been pending before that it had not found all that it is to compare
            volume.memory.said.notify()
        token, held = self.give_token(), volume.index.rows.tokens(self.peer).held
        await self._send(msgspec.structs.replace(stands, time_ns=time.time_ns(), token=token, held=held))
        return True

    # ----------------------------------------------------------------------------------------------------------- hearing

    def hear(self, message: Stands | Mend) -> None:
        """The peer says how it stands, or tells what it has where we differ.

        Raises:
            RemoteProtocolError: it cannot stand like that.
        """
        volume, rows = self._volume, self._volume.index.rows
        if isinstance(message, Mend):
            self._hear_mend(message)
            return
        self._note_clock(message.time_ns)
        try:
            with contextlib.suppress(UnwritableError), volume.index.transaction():
                volume.engine.stands(self.peer, message.standings, message.digests)
                rows.set_tokens(self.peer, confirmed(rows.tokens(self.peer), message.held))
                hold_token(volume, self.peer, message.token)
        except RefusedError as error:
            raise RemoteProtocolError(f"peer {self.peer}: stands at {error}") from error
        self._exchange.stands = message
        volume.memory.said.notify()
        volume.progress.notify()

    def _hear_mend(self, message: Mend) -> None:
        """The peer tells whole records of paths at which we differ."""
        volume = self._volume
        position = volume.index.rows.position()
        with volume.index.transaction():
            healed = volume.engine.healed(self.peer, message.scope, (), message.updates, time.time_ns())
            followed = volume.engine.follow(healed.received.touched, time.time_ns(), self._is_unseen)
            hold_token(volume, self.peer, message.token)
        if healed.received.is_ahead:
            outlived(volume, self.peer)
            return
        self.note_refused(healed.received)
        volume.mended(self.peer, healed.lost)
        volume.take_in((*healed.received.touched, *followed))
        if volume.index.rows.position() != position:
            volume.changed.notify()

    def note_refused(self, received: Received) -> None:
        """Report what the peer said and was not taken in."""
        volume = self._volume
        if received.is_foreign and not self._is_alike():
            if not self._is_apart:
                log.info(
                    "%s: peer %s goes by other rules: its records wait until both go by the same",
                    volume.name,
                    self.peer,
                )
            self._is_apart = True
            return
        for path, reason in received.refused:
            if (ending := volume.sparing.ending()) is not None:
                where = f"{shown(path)} refused" if path else "refused"
                log.warning("%s: peer %s: %s: %s%s", volume.name, self.peer, where, reason, ending)
            if path and len(volume.problems) < REFUSED_MAX:
                volume.set_problem(RelPath(path), f"refused from {self.peer}: {reason}")

    async def follow(self) -> None:
        """Do what follows from how the peer stands, for ever."""
        volume = self._volume
        while True:
            stands = self._exchange.stands if volume.is_sorted else None
            if stands is not None and volume.engine.is_in_quarantine:
                await self._catch_up(stands)
            elif stands is not None and stands is not self._walked:
                self._walked = stands
                await self._mend(stands)
            with trio.move_on_after(RETRY_S if volume.engine.is_in_quarantine else float("inf")):
                await volume.memory.said.wait()

    async def _mend(self, stands: Stands) -> None:
        volume = self._volume
        if any(exchange.midstream for exchange in volume.exchanges.values()):
            return
        for scope in volume.engine.differing(self.peer, stands.standings, stands.digests):
            # Who only receives from now on finds so what it had told nobody of; of anything else it is said what was lost.
            say = log.warning if volume.engine.speaks_in(scope) else log.info
            say("%s: %s knows the same and has something else; comparing", volume.name, self.peer)
            await self.walking.walk(scope)

    async def _catch_up(self, stands: Stands) -> None:
        """End the quarantine once this member knows all that the peer knows."""
        volume, engine = self._volume, self._volume.engine
        lost = {name: bool(one.stands and one.stands.quarantined) for name, one in volume.exchanges.items()}
        is_sound = bool(stands.digests) or (stands.quarantined and engine.have_all_lost(lost))
        if not is_sound or not engine.may_catch_up_with(self.peer, stands.standings):
            return
        for scope, standing in stands.standings.items():
            if engine.hears(self.peer, scope) and not await self.walking.walk(scope, standing.known):
                return
        with volume.index.transaction():
            # Who is in quarantine itself waits for the others: two that lost their power at once would wait for each other.
            sound = [name for name, one in volume.exchanges.items() if not (one.stands and one.stands.quarantined)]
            ended = engine.caught_up(self.peer, sound)
        if ended:
            await self._mint_anew()
            volume.memory_found()

    async def _mint_anew(self) -> None:
        volume = self._volume
        while paths := volume.index.rows.doubtful()[:MINTED_MAX]:
            with volume.index.transaction():
                for path in paths:
                    volume.engine.mint_anew(path, time.time_ns())
            volume.records_changed()
            await trio.lowlevel.checkpoint()


def hold_token(volume: Volume, peer: str, token: bytes) -> None:
    """Remember the last token that a peer gave; in the transaction that stores what came with it."""
    if len(token) == TOKEN_SIZE:
        rows = volume.index.rows
        rows.set_tokens(peer, msgspec.structs.replace(rows.tokens(peer), held=token))


def likeness(goes_by: Callable[[bytes], bool], settings_digest: bytes) -> Callable[[], bool]:
    """Return what says whether a peer goes by our configuration, and did when it greeted us: else either may tell of its own rules."""
    greeted_alike = goes_by(settings_digest)
    return lambda: greeted_alike and goes_by(settings_digest)


def check_greeting(peer: str, hello: Hello) -> None:
    """Make sure that whoever greets is `peer`, and speaks as this member does.

    Raises:
        RemoteProtocolError: it does not.
    """
    if hello.protocol != PROTOCOL:
        raise RemoteProtocolError(
            f"peer {peer}: csfs {hello.version} speaks protocol {hello.protocol}, we speak {PROTOCOL}; "
            "install the same csfs on both"
        )
    if hello.member != peer:
        raise RemoteProtocolError(f"peer {peer}: calls itself {hello.member!r}, its certificate does not")
