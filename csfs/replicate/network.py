"""The network of one member: listens, dials, and hands each link to its owner for as long as it lives."""

import random
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import trio

from csfs.config.addresses import Address
from csfs.errors import CsfsError, NotPermittedError, RemoteProtocolError, UnreachableError
from csfs.replicate import dial, join, listener
from csfs.replicate.dial import SecureStream
from csfs.replicate.join import Inviter
from csfs.replicate.link import PACE, Link, Pace
from csfs.replicate.listener import LinkProblem, Listener
from csfs.replicate.redial import Caller
from csfs.replicate.switchboard import OnLink, PeerState, Switchboard, turn_away
from csfs.trust import contexts
from csfs.trust.certificates import Credentials
from csfs.trust.identities import Identity, Revoked, identity_of_peer
from csfs.wire.messages import Heartbeat

NOBODY = Revoked()


class PeerNetwork:
    """All links of one member.

    `on_link` (peer, link) runs once per peer at a time, as long as its link lives; when it returns or raises, the link is closed
    and dialled again. `report` hears of whoever was turned away. `inviter` is asked when a host wants to join.
    """

    def __init__(
        self,
        credentials: Credentials,
        listen: Sequence[Address],
        peers: Mapping[str, Sequence[Address]],
        on_link: OnLink,
        *,
        report: Callable[[LinkProblem], None] = lambda problem: None,
        inviter: Callable[[], Inviter | None] = lambda: None,
        revoked: Revoked = NOBODY,
        pace: Pace = PACE,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._listen = tuple(listen)
        self._peers = dict(peers)
        self._inviter = inviter
        self._revoked = revoked
        self._pace = pace
        self._jitter = jitter
        self._switchboard = Switchboard(on_link, pace)
        self._listener = Listener(self, report, pace)
        self._callers: dict[str, Caller] = {}
        self._serials: dict[str, int] = {}
        self._nursery: trio.Nursery | None = None
        self.update_credentials(credentials)

    async def run(
        self,
        relayed: trio.SocketListener | None = None,
        task_status: trio.TaskStatus[list[Address]] = trio.TASK_STATUS_IGNORED,
    ) -> NoReturn:
        """Listen and dial until cancelled; started with the addresses it listens on. `relayed` is where peers arrive that come by ssh.

        Raises:
            ConfigError: an address cannot be listened on.
        """
        listeners = await listener.open_listeners(self._listen)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._listener.serve, listeners + ([relayed] if relayed is not None else []))
            self.update_peers(self._peers)
            task_status.started([_address_of(opened) for opened in listeners])
            await trio.sleep_forever()
        raise AssertionError("only a cancellation ends the nursery")

    def update_credentials(self, credentials: Credentials) -> None:
        """Show these certificates from now on; links that are up stay up."""
        self._credentials = credentials
        self._listening_context = contexts.listening_context(credentials)
        self._dialling_context = contexts.dialling_context(credentials)

    def update_peers(self, peers: Mapping[str, Sequence[Address]], revoked: Revoked | None = None) -> None:
        """Keep links to `peers` (name to addresses; none: it dials us) and to nobody else."""
        ours = self._credentials.identity.member
        self._peers = {peer: tuple(addresses) for peer, addresses in peers.items() if peer != ours}
        self._revoked = self._revoked if revoked is None else revoked
        if self._nursery is None:
            return  # `run` comes back here
        for peer in set(self._callers) - set(self._peers):
            self._nursery.start_soon(self._leave, peer, self._callers.pop(peer))
        for peer, addresses in self._peers.items():
            if peer in self._callers:
                self._callers[peer].change(addresses)
            else:
                caller = Caller(ours, peer, addresses, self._switchboard, self._dial, self._jitter, self._pace)
                self._callers[peer] = caller
                self._nursery.start_soon(caller.keep)
            if self._serials.get(peer) in self._revoked.serials or peer in self._revoked.members:
                self._nursery.start_soon(self._switchboard.hang_up, peer, "your certificate was revoked")

    async def restart_links(self, reason: str) -> None:
        """End every link, to be made anew at once: what two members tell each other first has changed."""
        async with trio.open_nursery() as nursery:
            for peer in self._peers:
                nursery.start_soon(self._switchboard.hang_up, peer, reason)

    def peers_state(self) -> dict[str, PeerState]:
        """Return how the link to each peer is, by name."""
        return {peer: self._switchboard.state_of(peer) for peer in sorted(self._peers)}

    def is_meeting(self, peer: str) -> bool:
        """Return whether there is a link to `peer` on which the two have yet to tell each other what they have."""
        return self._switchboard.is_meeting(peer)

    def listening_context(self) -> ssl.SSLContext:
        """Return the TLS context for whoever connects; see `listener.Reception`."""
        return self._listening_context

    async def arrived(self, stream: SecureStream, remote: str) -> None:
        """Take in a member that dialled us; see `listener.Reception`."""
        try:
            identity = self._identified(stream)
        except NotPermittedError as error:
            await turn_away(stream, remote, str(error), self._pace)
            raise
        link = Link(stream, identity.member, pace=self._pace)
        self._serials[identity.member] = identity.serial
        if not await self._switchboard.connect(link, identity.member, remote):
            await turn_away(stream, remote, "there is a connection already", self._pace)

    async def join(self, link: Link) -> None:
        """Answer a host that has no certificate yet; see `listener.Reception`."""
        try:
            inviter = self._inviter()
        except CsfsError:
            inviter = None  # what is wrong with our authority is not for strangers to read
        await join.serve(link, inviter)

    def _identified(self, stream: SecureStream) -> Identity:
        certificate = stream.getpeercert()
        assert isinstance(certificate, dict), "the context verified it"
        identity = identity_of_peer(certificate, self._revoked, self._credentials.identity.cluster)
        if identity.member == self._credentials.identity.member:
            raise NotPermittedError(f"it calls itself {identity.member}, which is this member; was the host cloned?")
        if identity.member not in self._peers:
            raise NotPermittedError(f"{identity.member} is not among the members here; `csfs member list` shows them")
        return identity

    async def _dial(self, peer: str, addresses: Sequence[Address]) -> tuple[Link, str]:
        async def check(stream: SecureStream) -> None:
            try:
                identity = self._identified(stream)
                if identity.member != peer:
                    raise NotPermittedError(f"{identity.member} answers there, not {peer}; correct the address")
            except NotPermittedError as error:
                await turn_away(stream, peer, str(error), self._pace)
                raise UnreachableError(str(error)) from error
            self._serials[peer] = identity.serial

        with trio.move_on_after(self._pace.dial_s_max):
            try:
                address, stream = await dial.secured_first(addresses, self._dialling_context, check)
            except UnreachableError as error:
                raise UnreachableError(f"{peer}: {error}") from error
            return await self._let_in(Link(stream, peer, pace=self._pace)), str(address)
        tried = ", ".join(str(address) for address in addresses)
        raise UnreachableError(f"{peer}: no answer from {tried} in {self._pace.dial_s_max:g} s; is the port open?")

    async def _let_in(self, link: Link) -> Link:
        """Return `link` once the peer has accepted our certificate: with TLS 1.3 a handshake ends before we know."""
        try:
            first = await link.receive()
            if not isinstance(first, Heartbeat):
                raise RemoteProtocolError(f"{link.peer}: {type(first).__name__} before it let us in")
        except BaseException:
            await link.aclose()
            raise
        return link

    async def _leave(self, peer: str, caller: Caller) -> None:
        await self._switchboard.hang_up(peer, "you are not a member any more")
        caller.scope.cancel()
        self._switchboard.forget(peer)


def _address_of(opened: trio.SocketListener) -> Address:
    host, port = opened.socket.getsockname()[:2]
    return Address(host, port)
