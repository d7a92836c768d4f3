"""Joining: an invited host becomes a member with one token. `serve` is the inviter's side, `join` the new host's.

The new host checks the inviter first, by the authority's key in its token; only then does it say the secret. If the answer is lost
on the way, the same host may ask again with the same key: what the inviter does can be done twice.
"""

import datetime
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio
from cryptography import x509

from csfs.config.addresses import Address
from csfs.errors import CsfsError, NotPermittedError, RemoteProtocolError, UnreachableError
from csfs.replicate import dial
from csfs.replicate.link import PACE, Link, Pace
from csfs.trust import authority, certificates, contexts, issued
from csfs.trust.authority import Authority
from csfs.trust.certificates import Credentials
from csfs.trust.invitations import Invitations, Token, token_from
from csfs.wire.conversation import Conversation, Role
from csfs.wire.messages import PROTOCOL, Join, Joined

log = logging.getLogger(__name__)

ADDRESSES_MAX = 32
PATHS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Inviter:
    """What it takes to let a host in.

    `admit` (member, addresses, volume to path) puts the new member into the configuration and returns its text; it must accept
    the same call again, and raise a `CsfsError` that says why when it cannot. `is_member` tells whether a name is taken. `answered` is
    called when the guest has its answer, or is gone: to follow the new configuration may keep this member busy for a while.
    """

    authority: Authority
    invitations: Invitations
    is_member: Callable[[str], bool]
    admit: Callable[[str, tuple[str, ...], Mapping[str, str]], str]
    now: Callable[[], datetime.datetime]
    answered: Callable[[], None]


@dataclass(frozen=True, slots=True)
class JoinedResult:
    """What a join brought: who this host is now, and the cluster's configuration as text."""

    credentials: Credentials
    settings: str


async def serve(link: Link, inviter: Inviter | None) -> None:
    """Answer one host that asks to become a member; None: this member cannot let anybody in.

    Raises:
        NotPermittedError: it was refused; it was told why.
        UnreachableError, RemoteProtocolError: the link ended before it was answered.
    """
    request = await link.receive()
    assert isinstance(request, Join), "the conversation lets a guest say nothing else"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        refusal: CsfsError | None = None
        try:
            answer = _admitted(request, inviter)
        except CsfsError as error:
            refusal = error
            await link.goodbye(str(error))
        else:
            assert inviter is not None, "nobody else lets a host in"
            try:
                await _answered(link, answer)
            finally:
                inviter.answered()
        nursery.cancel_scope.cancel()
    if refusal is not None:
        raise NotPermittedError(f"asks to join as {request.member!r}: {refusal}") from refusal
    log.info("%s joined from %s", request.member, link.peer)


async def _answered(link: Link, answer: Joined) -> None:
    """Send the answer and wait until the guest has read it and closed: to close first might take the answer back."""
    try:
        await link.send(answer)
        await link.receive()
    except (UnreachableError, RemoteProtocolError):
        pass


def _admitted(request: Join, inviter: Inviter | None) -> Joined:
    """Return the answer to a host that may come in. Nothing is awaited: two hosts with one token cannot both come in."""
    if request.protocol != PROTOCOL:
        raise NotPermittedError(
            f"this member speaks protocol {PROTOCOL}, you {request.protocol}; install the same csfs version on both"
        )
    if inviter is None:
        raise NotPermittedError("this member cannot let hosts in: join at the member where `csfs invite` ran")
    if len(request.addresses) > ADDRESSES_MAX or len(request.paths) > PATHS_MAX:
        raise NotPermittedError(f"more than {ADDRESSES_MAX} addresses or {PATHS_MAX} paths")
    key = authority.key_of_request(request.request)
    try:
        secret = bytes.fromhex(request.secret)
    except ValueError:
        secret = b""
    point = authority.public_point(key)
    again = inviter.invitations.check(request.member, secret, point, inviter.now())
    if inviter.is_member(request.member) and not again:
        raise NotPermittedError(
            f"{request.member} is a member already; `csfs member remove {request.member}` first, or invite another name"
        )
    inviter.invitations.use(request.member, secret, point, inviter.now())
    settings = inviter.admit(request.member, request.addresses, request.paths)
    certificate = inviter.authority.sign(request.request, request.member, inviter.now())
    issued.note(inviter.invitations.keys, request.member, certificate)
    return Joined(certificate, authority.pem_of(inviter.authority.certificate), settings)


async def join(
    address: Address,
    token_text: str,
    addresses: Sequence[Address],
    paths: Mapping[str, str],
    keys: Path,
    pace: Pace = PACE,
) -> JoinedResult:
    """Make this host a member: `addresses` are where peers reach it, `paths` its own places of volumes.

    The key is in `keys` before anything is asked, the certificates when this returns.

    Raises:
        ConfigError: the token is not one, or this host is a member already.
        NotPermittedError: the inviter refused, and why.
        UnreachableError: the inviter cannot be reached, or is not of the cluster that the token names.
    """
    token = token_from(token_text)
    key = certificates.pending_key(keys)
    request = Join(
        protocol=PROTOCOL,
        member=token.member,
        secret=token.secret.hex(),
        request=authority.request_of(key, token.member),
        addresses=tuple(str(own) for own in addresses),
        paths=dict(paths),
    )
    with trio.move_on_after(pace.join_s_max):
        stream = await _inviter_at(address, token, pace)
        joined = await _answer(
            Link(stream, str(address), Conversation(str(address), Role.GUEST, Role.INVITER), pace), request
        )
        return _kept(joined, token, keys)
    raise UnreachableError(
        f"{address}: no answer in {pace.join_s_max:g} s; look at its log (`journalctl -u csfs-daemon`)"
    )


async def _inviter_at(address: Address, token: Token, pace: Pace) -> dial.SecureStream:
    """Return a connection to the inviter, sure that it is one of the token's cluster."""

    async def check(stream: dial.SecureStream) -> None:
        try:
            certificate = x509.load_der_x509_certificate(stream.getpeercert(binary_form=True))
            authority.verified_identity(certificate, token.authority_point, _now())
        except (ValueError, NotPermittedError) as error:
            await trio.aclose_forcefully(stream)
            raise UnreachableError(f"{error}; the token names another: is the address right?") from error

    with trio.move_on_after(pace.dial_s_max):
        return (await dial.secured_first([address], contexts.joining_context(), check))[1]
    raise UnreachableError(f"{address}: no connection in {pace.dial_s_max:g} s; is its port open in the firewall?")


async def _answer(link: Link, request: Join) -> Joined:
    refusal: CsfsError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        try:
            await link.send(request)
            answer = await link.receive()
        except (UnreachableError, RemoteProtocolError) as error:
            refusal = error
        nursery.cancel_scope.cancel()
    if refusal is not None:
        raise NotPermittedError(link.parting_words) if link.parting_words else refusal
    assert isinstance(answer, Joined), "the conversation lets an inviter say nothing else"
    return answer


def _kept(joined: Joined, token: Token, keys: Path) -> JoinedResult:
    """Check what the inviter gave us, keep it, and return it."""
    try:
        certificate = x509.load_pem_x509_certificate(joined.certificate)
        identity = authority.verified_identity(certificate, token.authority_point, _now())
    except (ValueError, NotPermittedError) as error:
        raise RemoteProtocolError(f"the inviter sent a certificate that cannot be used: {error}") from error
    if identity.member != token.member:
        raise RemoteProtocolError(f"the inviter sent the certificate of {identity.member} instead of {token.member}")
    certificates.save_membership(keys, joined.certificate, joined.authority)
    return JoinedResult(certificates.load_credentials(keys, _now()), joined.settings)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
