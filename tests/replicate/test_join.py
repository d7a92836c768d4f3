import datetime
from dataclasses import replace

import pytest
import trio
import trio.testing

from csfs.config.addresses import Address
from csfs.errors import ConfigError, NotPermittedError, RemoteProtocolError, UnreachableError
from csfs.replicate.join import Inviter, join, serve
from csfs.replicate.link import Link, Pace
from csfs.replicate.network import PeerNetwork
from csfs.trust import authority, certificates, issued
from csfs.trust.invitations import Invitations, token_from
from csfs.wire.conversation import Conversation, Role
from csfs.wire.messages import PROTOCOL, Goodbye, Join, Joined

NOW = datetime.datetime.now(datetime.UTC)
HOUR = datetime.timedelta(hours=1)
PACE = Pace(goodbye_s_max=0.2, dial_s_max=1, join_s_max=2)


class Host:
    """A cluster of one, which invites."""

    def __init__(self, directory) -> None:
        self.keys = directory / "alpha"
        self.credentials = certificates.found_cluster(self.keys, "web", "alpha", NOW)
        self.members = {"alpha": ()}
        self.admitted: list[tuple] = []
        self.events: list[str] = []
        self.invitations = Invitations(self.keys)
        self.authority = certificates.load_authority(self.keys)
        self.network = PeerNetwork(
            self.credentials, [Address("127.0.0.1", 0)], {}, self._on_link, inviter=self.inviter, pace=PACE
        )

    def inviter(self, now=lambda: NOW) -> Inviter:
        return Inviter(self.authority, self.invitations, self.members.__contains__, self._admit, now, self._answered)

    def _answered(self) -> None:
        self.events.append("the inviter follows")

    def invite(self, member: str) -> str:
        point = authority.public_point(self.authority.key.public_key())
        return self.invitations.invite(member, point, HOUR, NOW).text()

    def _admit(self, member, addresses, paths) -> str:
        self.members[member] = addresses
        self.admitted.append((member, addresses, dict(paths)))
        return "cluster = 'web'"

    async def _on_link(self, peer, link) -> None:
        raise AssertionError("nobody is a peer here")

    async def start(self, nursery) -> Address:
        return (await nursery.start(self.network.run))[0]


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


async def test_one_token_makes_a_member(nursery, host, tmp_path):
    address = await host.start(nursery)
    result = await join(
        address, host.invite("beta"), [Address("10.0.0.2")], {"etc": "/srv/etc"}, tmp_path / "beta", PACE
    )
    assert result.settings == "cluster = 'web'"
    assert result.credentials.identity.member == "beta"
    assert result.credentials.identity.cluster == "web"
    assert host.admitted == [("beta", ("10.0.0.2:30866",), {"etc": "/srv/etc"})]
    assert issued.serials_of(host.keys, "beta") == [result.credentials.identity.serial]
    with pytest.raises(NotPermittedError, match="cannot make members"):
        certificates.load_authority(tmp_path / "beta")
    nursery.cancel_scope.cancel()


async def test_a_guest_has_its_answer_before_the_inviter_gets_busy_with_the_new_configuration(nursery, host):
    ours, theirs = trio.testing.memory_stream_pair()
    guest = Link(ours, "alpha", Conversation("alpha", Role.GUEST, Role.INVITER), PACE)
    inviter = Link(theirs, "beta", Conversation("beta", Role.INVITER, Role.GUEST), PACE)
    nursery.start_soon(guest.run)
    secret = token_from(host.invite("beta")).secret.hex()
    key = certificates.pending_key(host.keys.parent / "beta")
    await guest.send(Join(PROTOCOL, "beta", secret, authority.request_of(key, "beta"), (), {}))
    async with trio.open_nursery() as serving:
        serving.start_soon(serve, inviter, host.inviter())
        assert isinstance(await guest.receive(), Joined)
        await trio.testing.wait_all_tasks_blocked()
        host.events.append("the guest has it")
        await guest.aclose()
    assert host.events == ["the guest has it", "the inviter follows"]


async def test_a_token_is_good_for_one_host(nursery, host, tmp_path):
    address = await host.start(nursery)
    token = host.invite("beta")
    await join(address, token, [], {}, tmp_path / "beta", PACE)
    with pytest.raises(NotPermittedError, match="used already; run `csfs invite beta` again"):
        await join(address, token, [], {}, tmp_path / "other", PACE)
    assert not (tmp_path / "other" / certificates.MEMBER_CERTIFICATE).exists()
    nursery.cancel_scope.cancel()


async def test_the_same_host_may_ask_again_when_the_answer_was_lost(nursery, host, tmp_path):
    address = await host.start(nursery)
    token = host.invite("beta")
    keys = tmp_path / "beta"
    await join(address, token, [], {}, keys, PACE)
    (keys / certificates.MEMBER_CERTIFICATE).unlink()
    again = await join(address, token, [], {}, keys, PACE)
    assert again.credentials.identity.member == "beta"
    nursery.cancel_scope.cancel()


async def test_a_member_does_not_join_twice(nursery, host, tmp_path):
    address = await host.start(nursery)
    await join(address, host.invite("beta"), [], {}, tmp_path / "beta", PACE)
    with pytest.raises(ConfigError, match="is a member already"):
        await join(address, host.invite("gamma"), [], {}, tmp_path / "beta", PACE)
    nursery.cancel_scope.cancel()


async def test_a_name_that_is_taken_is_refused_however_often_it_is_tried(nursery, host, tmp_path):
    address = await host.start(nursery)
    token = host.invite("alpha")
    for _ in range(2):
        with pytest.raises(NotPermittedError, match="alpha is a member already; `csfs member remove alpha`"):
            await join(address, token, [], {}, tmp_path / "new", PACE)
    assert not host.admitted
    nursery.cancel_scope.cancel()


async def test_an_expired_token_is_refused(nursery, host, tmp_path):
    host.network._inviter = lambda: host.inviter(now=lambda: NOW + 2 * HOUR)
    address = await host.start(nursery)
    with pytest.raises(NotPermittedError, match="wrong, expired or replaced"):
        await join(address, host.invite("beta"), [], {}, tmp_path / "beta", PACE)
    nursery.cancel_scope.cancel()


async def test_a_token_that_was_never_given_out_is_refused(nursery, host, tmp_path):
    address = await host.start(nursery)
    host.invite("beta")
    point = authority.public_point(host.authority.key.public_key())
    forged = Invitations(tmp_path / "elsewhere").invite("beta", point, HOUR, NOW).text()
    with pytest.raises(NotPermittedError, match="wrong, expired or replaced"):
        await join(address, forged, [], {}, tmp_path / "beta", PACE)
    assert not host.admitted
    nursery.cancel_scope.cancel()


async def test_the_secret_is_not_said_to_somebody_of_another_cluster(nursery, host, tmp_path):
    impostor = Host(tmp_path / "impostor")
    heard = []
    impostor.network._inviter = lambda: heard.append("asked")
    address = await impostor.start(nursery)
    with pytest.raises(UnreachableError, match="not made by this cluster; the token names another"):
        await join(address, host.invite("beta"), [], {}, tmp_path / "beta", PACE)
    nursery.cancel_scope.cancel()
    assert not impostor.admitted


async def test_a_member_without_the_authority_says_where_to_go(nursery, host, tmp_path):
    host.network._inviter = lambda: None
    address = await host.start(nursery)
    with pytest.raises(NotPermittedError, match="join at the member where `csfs invite` ran"):
        await join(address, host.invite("beta"), [], {}, tmp_path / "beta", PACE)
    nursery.cancel_scope.cancel()


async def test_what_the_configuration_refuses_reaches_the_new_host(nursery, host, tmp_path):
    def refuse(*_):
        raise ConfigError("volume etc: two members with one path")

    host.network._inviter = lambda: replace(host.inviter(), admit=refuse)
    address = await host.start(nursery)
    with pytest.raises(NotPermittedError, match="two members with one path"):
        await join(address, host.invite("beta"), [], {}, tmp_path / "beta", PACE)
    nursery.cancel_scope.cancel()


async def test_an_inviter_that_does_not_answer_is_unreachable(host, tmp_path):
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = Address(*listeners[0].socket.getsockname())
    with pytest.raises(UnreachableError, match=r"no connection in 0\.1 s"):
        await join(address, host.invite("beta"), [], {}, tmp_path / "beta", replace(PACE, dial_s_max=0.1))
    await listeners[0].aclose()
    with pytest.raises(UnreachableError, match="refused"):
        await join(address, host.invite("beta"), [], {}, tmp_path / "beta", PACE)


async def test_half_a_token_is_noticed_before_anything_is_sent(tmp_path, host):
    with pytest.raises(ConfigError, match="not a whole token"):
        await join(Address("192.0.2.1"), host.invite("beta")[:-3], [], {}, tmp_path / "beta", PACE)


def request(**more) -> Join:
    key = authority.new_key()
    fields = {
        "protocol": PROTOCOL,
        "member": "beta",
        "secret": "00" * 32,
        "request": authority.request_of(key, "beta"),
        "addresses": (),
        "paths": {},
    }
    return Join(**{**fields, **more})


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"protocol": PROTOCOL + 1}, "install the same csfs version"),
        ({"request": b"nonsense"}, "cannot be read"),
        ({"request": bytes(20_000)}, "limit 16384"),
        ({"addresses": ("a",) * 100}, "more than 32 addresses"),
        ({"secret": "not hex"}, "wrong, expired or replaced"),
        ({"member": "../../etc"}, "wrong, expired or replaced"),
    ],
)
async def test_a_request_that_cannot_be_met_is_refused_with_the_reason(nursery, host, more, reason):
    left, right = trio.testing.memory_stream_pair()
    guest = Link(left, "inviter", Conversation("inviter", Role.GUEST, Role.INVITER), PACE)
    inviting = Link(right, "guest", Conversation("guest", Role.INVITER, Role.GUEST), PACE, Join)
    nursery.start_soon(guest.run)
    await guest.send(request(**more))
    with pytest.raises(NotPermittedError, match=reason):
        await serve(inviting, host.inviter())
    with pytest.raises(UnreachableError, match=reason):
        await guest.receive()


async def test_a_guest_may_say_nothing_but_its_request(nursery, host):
    left, right = trio.testing.memory_stream_pair()
    stranger = Link(left, "inviter", Conversation("inviter", Role.INVITER, Role.INVITER), PACE)
    nursery.start_soon(stranger.run)
    inviting = Link(right, "guest", Conversation("guest", Role.INVITER, Role.GUEST), PACE, Join)
    await stranger.send(Goodbye("no"))
    with pytest.raises(RemoteProtocolError, match="not a message csfs knows"):
        await serve(inviting, host.inviter())


async def test_a_certificate_for_another_name_is_not_accepted(nursery, host, tmp_path):
    key = authority.new_key()
    other = host.authority.sign(authority.request_of(key, "gamma"), "gamma", NOW)

    class Cheat:
        def sign(self, *_):
            return other

        certificate = host.authority.certificate

    host.network._inviter = lambda: replace(host.inviter(), authority=Cheat())
    address = await host.start(nursery)
    with pytest.raises(RemoteProtocolError, match="certificate of gamma instead of beta"):
        await join(address, host.invite("beta"), [], {}, tmp_path / "beta", PACE)
    nursery.cancel_scope.cancel()
