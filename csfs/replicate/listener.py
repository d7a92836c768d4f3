"""Listening: who connects shows who it is, within a time, or is sent away with one line in the log."""

import errno
import logging
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn, Protocol

import trio

from csfs.config.addresses import Address
from csfs.errors import ConfigError, CsfsError, UnreachableError
from csfs.replicate.dial import SecureStream, secured
from csfs.replicate.link import PACE, Link, Pace, readable
from csfs.replicate.occupants import occupant_of
from csfs.wire.conversation import Conversation, Role
from csfs.wire.messages import Join

log = logging.getLogger(__name__)

STRANGERS_MAX = 64
"""Connections that have not shown yet who they are."""
JOIN_SIZE_MAX = 64 * 1024
"""What a host without a certificate may send in one message."""
COMPLAINT_INTERVAL_S = 60.0
COMPLAINTS_MAX = 256
BY_SSH = "ssh"
"""Where somebody comes from who is connected by `csfs relay`."""


@dataclass(frozen=True, slots=True)
class LinkProblem:
    """Somebody who could not be let in, for `csfs status`: where from, and why."""

    remote: str
    reason: str


class Reception(Protocol):
    """What the listener needs to know of the network that it lets people in to."""

    def listening_context(self) -> ssl.SSLContext: ...

    async def arrived(self, stream: SecureStream, remote: str) -> None:
        """Take in whoever has a certificate of this cluster; runs as long as the link lives.

        Raises:
            NotPermittedError: it is no member; it was told why.
        """
        ...

    async def join(self, link: Link) -> None:
        """Answer a host without a certificate."""
        ...


async def open_listeners(addresses: Sequence[Address]) -> list[trio.SocketListener]:
    """Return listeners on all `addresses`; none stay open if one cannot be.

    Raises:
        ConfigError: one cannot be listened on; it names which, why, and the cure.
    """
    listeners: list[trio.SocketListener] = []
    try:
        for address in addresses:
            host = None if address.host == "*" else address.host
            try:
                listeners += await trio.open_tcp_listeners(address.port, host=host)
            except OSError as error:
                _refuse(address, error)
            except UnicodeError as error:
                raise ConfigError(
                    f"cannot listen on {address}: not a host name; correct listen in member.toml"
                ) from error
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise
    return listeners


def _refuse(address: Address, error: OSError) -> NoReturn:
    match error.errno:
        case errno.EADDRINUSE:
            holder = occupant_of(address.port) or f"another program (`ss -ltnp sport = :{address.port}` shows which)"
            cure = f"{holder} listens there already; stop it, or set another port in member.toml (listen)"
        case errno.EADDRNOTAVAIL:
            cure = "no interface of this host has that address; `ip address` lists them; correct listen in member.toml"
        case errno.EACCES:
            cure = "not permitted; choose a port above 1023 (listen in member.toml), or run as root"
        case _:
            cure = f"{(error.strerror or str(error)).lower()}; correct listen in member.toml"
    raise ConfigError(f"cannot listen on {address}: {cure}") from error


class Strangers:
    """Bounds the connections that have not shown who they are: when there are too many, the oldest has to go."""

    def __init__(self, count_max: int = STRANGERS_MAX) -> None:
        self._count_max = count_max
        self._scopes: dict[trio.CancelScope, None] = {}

    @contextmanager
    def one_more(self, time_limit_s: float) -> Iterator[trio.CancelScope]:
        """Hold a place among the strangers, for a while at most."""
        if len(self._scopes) >= self._count_max:
            oldest = next(iter(self._scopes))
            del self._scopes[oldest]
            oldest.cancel()
        with trio.move_on_after(time_limit_s) as scope:
            self._scopes[scope] = None
            try:
                yield scope
            finally:
                self._scopes.pop(scope, None)


class Listener:
    """Lets members in, and invited hosts to the door."""

    def __init__(
        self,
        reception: Reception,
        report: Callable[[LinkProblem], None],
        pace: Pace = PACE,
        strangers: int = STRANGERS_MAX,
    ) -> None:
        self._reception = reception
        self._report = report
        self._pace = pace
        self._strangers = Strangers(strangers)
        self._complained: dict[tuple[str, str], float] = {}

    async def serve(self, listeners: list[trio.SocketListener]) -> None:
        """Answer whoever connects; runs until it is cancelled."""
        async with trio.open_nursery() as nursery:
            await trio.serve_listeners(self._answer, listeners, handler_nursery=nursery)

    async def _answer(self, socket: trio.SocketStream) -> None:
        try:
            name = socket.socket.getpeername()
        except OSError:
            await trio.aclose_forcefully(socket)  # it left before we came to look
            return
        host, remote = (name[0], str(Address(name[0], name[1]))) if name else (BY_SSH, BY_SSH)
        try:
            await self._let_in(socket, remote)
        except CsfsError as error:
            self._complain(host, remote, str(error))
        except Exception:  # a bug: it costs this connection, not the daemon
            log.exception("unexpected error answering %s", remote)
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(socket)

    async def _let_in(self, socket: trio.SocketStream, remote: str) -> None:
        with self._strangers.one_more(self._pace.handshake_s_max) as scope:
            stream = await secured(socket, self._reception.listening_context(), dialled=True)
        if scope.cancelled_caught:
            raise UnreachableError("it did not say who it is in time")
        if stream.getpeercert(binary_form=True) is None:
            await self._at_the_door(stream, remote)
            return
        await self._reception.arrived(stream, remote)

    async def _at_the_door(self, stream: trio.abc.Stream, remote: str) -> None:
        conversation = Conversation(remote, Role.INVITER, Role.GUEST)
        link = Link(stream, remote, conversation, self._pace, Join, JOIN_SIZE_MAX)
        with self._strangers.one_more(self._pace.join_s_max) as scope:
            await self._reception.join(link)
        if scope.cancelled_caught:
            raise UnreachableError("it has no certificate and did not ask to join in time")

    def _complain(self, host: str, remote: str, reason: str) -> None:
        """Say once why somebody was sent away; a host that tries again every second must not fill the log."""
        problem = LinkProblem(remote, readable(reason))
        self._report(problem)
        now = trio.current_time()
        if now - self._complained.get((host, reason), -COMPLAINT_INTERVAL_S) >= COMPLAINT_INTERVAL_S:
            if len(self._complained) >= COMPLAINTS_MAX:
                self._complained.clear()
            self._complained[host, reason] = now
            log.warning("refused a connection from %s: %s", problem.remote, problem.reason)
