"""Dialling: from a peer's addresses to a TLS connection with exactly that peer."""

import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import trio

from csfs.config.addresses import Address
from csfs.errors import UnreachableError
from csfs.replicate import ssh as ssh_stream
from csfs.replicate.link import BROKEN
from csfs.trust.refusals import reason_of

STAGGER_S = 0.25
"""Pause before the next address is tried beside the ones under way; RFC 8305, section 5."""

RESEND_MS_MAX = 1_000
"""What was lost is sent again after this at most, the least that Linux lets us ask for. It doubles the time with each loss: once a
cable that was out is whole again, both members would wait for seconds."""
_TCP_RTO_MAX_MS = 44
"""tcp(7), since Linux 6.15; Python does not know it."""

SecureStream = trio.SSLStream[trio.abc.Stream]


async def connected(address: Address) -> trio.abc.Stream:
    """Return a connection to `address`, whichever of its IPv6 and IPv4 addresses answers first, or by ssh.

    Raises:
        UnreachableError: none does.
    """
    if address.by_ssh:
        return await ssh_stream.connected(address)
    try:
        return await trio.open_tcp_stream(address.host, address.port, happy_eyeballs_delay=STAGGER_S)
    except OSError as error:
        raise UnreachableError(f"{address}: {_reason(error)}") from error
    except UnicodeError as error:  # what no name server could be asked
        raise UnreachableError(f"{address}: not a host name; correct the address") from error


def _reason(error: OSError) -> str:
    """Return why; trio hides the reasons of several attempts in a group beneath one that says nothing."""
    cause: BaseException | None = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return reason_of(cause if isinstance(cause, OSError) else error)


async def connected_first(addresses: Sequence[Address]) -> tuple[Address, trio.abc.Stream]:
    """Return a connection to whichever of `addresses` answers first; each starts a little after the one before.

    Raises:
        UnreachableError: none does; it says why for each.
    """
    winner: list[tuple[Address, trio.abc.Stream]] = []
    failures: dict[Address, str] = {}

    async def attempt(address: Address, failed: trio.Event) -> None:
        try:
            stream = await connected(address)
        except UnreachableError as error:
            failures[address] = str(error)
            failed.set()
            return
        if winner:
            await trio.aclose_forcefully(stream)
            return
        winner.append((address, stream))
        nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(attempt, address, failed)
                with trio.move_on_after(STAGGER_S):
                    await failed.wait()
    except BaseException:
        for _, stream in winner:  # whoever asked does not wait any more
            await trio.aclose_forcefully(stream)
        raise
    if not winner:
        raise UnreachableError("; ".join(failures[address] for address in addresses if address in failures))
    return winner[0]


class _Wrapping:
    """A TLS context that remembers where the stream built on it keeps what is to be sent."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.outgoing = ssl.MemoryBIO()

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *, server_side: bool, server_hostname: str | None
    ) -> ssl.SSLObject:
        self.outgoing = outgoing
        return self._context.wrap_bio(incoming, outgoing, server_side=server_side, server_hostname=server_hostname)


async def secured(stream: trio.abc.Stream, context: ssl.SSLContext, *, dialled: bool) -> SecureStream:
    """Return `stream` with TLS done on it; closes it when that fails. `dialled`: the other side dialled us.

    Raises:
        UnreachableError: the other side does not speak TLS 1.3, or is not of the cluster that `context` trusts.
    """
    if isinstance(stream, trio.SocketStream):
        with contextlib.suppress(OSError):  # an older kernel has its own idea, and so has ssh
            stream.setsockopt(socket.IPPROTO_TCP, _TCP_RTO_MAX_MS, RESEND_MS_MAX)
    wrapping = _Wrapping(context)
    secure = trio.SSLStream(stream, cast(ssl.SSLContext, wrapping), server_side=dialled, https_compatible=True)
    try:
        await secure.do_handshake()
    except BROKEN as error:
        await _alert(stream, wrapping.outgoing.read())
        await trio.aclose_forcefully(stream)
        raise UnreachableError(reason_of(error)) from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secure


async def _alert(stream: trio.abc.Stream, alert: bytes) -> None:
    """Send what TLS has to say about a failed handshake, which `SSLStream` keeps to itself: the other side logs it as its reason."""
    if alert:
        try:
            await stream.send_all(alert)
        except BROKEN:
            pass


async def secured_first(
    addresses: Sequence[Address], context: ssl.SSLContext, check: Callable[[SecureStream], Awaitable[None]]
) -> tuple[Address, SecureStream]:
    """Return a TLS connection to the first of `addresses` where `check` does not object to who answers.

    `check` closes the stream and raises UnreachableError when it objects.

    Raises:
        UnreachableError: there is none; it says why for each.
    """
    left = list(addresses)
    failures: list[str] = []
    while left:
        try:
            address, stream = await connected_first(left)
        except UnreachableError as error:
            failures.append(str(error))
            break
        try:
            secure = await secured(stream, context, dialled=False)
            await check(secure)
        except UnreachableError as error:
            failures.append(f"{address}: {error}")
            continue
        finally:
            left.remove(address)
        return address, secure
    raise UnreachableError("; ".join(failures))
