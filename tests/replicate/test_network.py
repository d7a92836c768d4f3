import datetime
import logging
import socket
import ssl

import pytest
import trio
import trio.testing

from csfs.config.addresses import Address
from csfs.errors import ConfigError, UnreachableError
from csfs.replicate import listener
from csfs.replicate.link import Link, Pace
from csfs.replicate.listener import Strangers
from csfs.replicate.network import PeerNetwork
from csfs.replicate.redial import retry_delay_s
from csfs.replicate.switchboard import Switchboard, prevails
from csfs.trust import contexts
from csfs.trust.certificates import Credentials
from csfs.trust.identities import Identity, Revoked
from csfs.wire.messages import Heartbeat
from tests.replicate.certified import NOW, Cluster

HERE = [Address("127.0.0.1", 0)]
TCP_RTO_MAX_MS = 44
"""tcp(7); the least is 1000, and Linux goes up to 120,000 by itself."""
PACE = Pace(heartbeat_s=0.2, silence_s_max=2, goodbye_s_max=0.2, dial_s_max=1, handshake_s_max=0.2, retry_s_first=0.02)


class Member:
    """A running network, and what its owner saw."""

    def __init__(self, credentials: Credentials, peers, pace=PACE, **more) -> None:
        self.name = credentials.identity.member
        self.problems: list[listener.LinkProblem] = []
        self.links: list[Link] = []
        self.running = 0
        self.most_running = 0
        self.scope = trio.CancelScope()
        self.network = PeerNetwork(
            credentials, HERE, peers, self._on_link, report=self.problems.append, pace=pace, **more
        )
        self.address = HERE[0]

    async def start(self, nursery) -> "Member":
        self.address = (await nursery.start(self._run))[0]
        return self

    async def _run(self, task_status) -> None:
        with self.scope:
            await self.network.run(task_status=task_status)

    async def _on_link(self, peer: str, link: Link) -> None:
        self.links.append(link)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            while True:
                assert isinstance(await link.receive(), Heartbeat)
        finally:
            self.running -= 1

    async def until(self, condition) -> None:
        with trio.fail_after(5):
            while not condition():
                await trio.testing.wait_all_tasks_blocked(0.002)

    async def linked(self, peer: str) -> None:
        await self.until(lambda: self.network.peers_state()[peer].connected and self.running == 1)

    def state(self, peer: str):
        return self.network.peers_state()[peer]


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


async def test_what_is_lost_on_a_link_is_sent_again_within_a_second(nursery, cluster):
    with socket.socket() as probe:
        try:
            probe.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, 1_000)
        except OSError:
            pytest.skip("this kernel doubles the time with each loss, whatever it is told")
    elm = await Member(cluster.member("elm"), {"ash": []}).start(nursery)
    ash = await Member(cluster.member("ash"), {"elm": [elm.address]}).start(nursery)
    await ash.linked("elm")
    await elm.linked("ash")
    for member in (ash, elm):
        (link,) = member.links
        assert link._stream.transport_stream.getsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS) == 1_000
    elm.scope.cancel()
    ash.scope.cancel()


async def test_a_member_dials_its_peer_and_both_know(nursery, cluster):
    elm = await Member(cluster.member("elm"), {"ash": []}).start(nursery)
    ash = await Member(cluster.member("ash"), {"elm": [elm.address]}).start(nursery)
    await ash.linked("elm")
    await elm.linked("ash")
    assert ash.state("elm").remote == str(elm.address)
    assert ash.state("elm").since_ns > 0
    await elm.until(lambda: elm.state("ash").bytes_received > 0)
    nursery.cancel_scope.cancel()


async def test_two_that_dial_each_other_keep_one_link(nursery, cluster):
    elm = await Member(cluster.member("elm"), {"ash": []}).start(nursery)
    ash = await Member(cluster.member("ash"), {"elm": []}).start(nursery)
    for _ in range(5):  # both at the same instant
        elm.network.update_peers({"ash": [ash.address]})
        ash.network.update_peers({"elm": [elm.address]})
        await ash.linked("elm")
        await elm.linked("ash")
        ash.network.update_peers({})
        await ash.until(lambda: ash.running == 0)
        elm.network.update_peers({})
        await elm.until(lambda: elm.running == 0)
    assert ash.most_running == elm.most_running == 1
    nursery.cancel_scope.cancel()


def test_the_smaller_name_prevails_and_the_newer_of_its_own():
    assert prevails("ash", None)
    assert prevails("ash", "elm")
    assert prevails("ash", "ash")
    assert not prevails("elm", "ash")


async def test_of_two_connections_both_sides_keep_the_same(nursery, cluster):
    ends = [trio.testing.memory_stream_pair() for _ in range(2)]
    boards = {}
    seen: dict[str, list[Link]] = {"ash": [], "elm": []}
    for ours in ("ash", "elm"):

        async def on_link(peer, link, ours=ours):
            seen[ours].append(link)
            await trio.sleep_forever()

        boards[ours] = Switchboard(on_link, PACE)
    for dialler, (left, right) in zip(("elm", "ash"), ends, strict=True):
        for ours, stream in (("ash", left), ("elm", right)):
            peer = "elm" if ours == "ash" else "ash"
            nursery.start_soon(boards[ours].connect, Link(stream, peer, pace=PACE), dialler, dialler)
        await trio.testing.wait_all_tasks_blocked()
    assert boards["ash"].state_of("elm").remote == boards["elm"].state_of("ash").remote == "ash"
    again = Link(trio.testing.memory_stream_pair()[0], "elm", pace=PACE)
    assert not await boards["ash"].connect(again, "elm", "elm")
    nursery.cancel_scope.cancel()


async def test_a_lost_link_comes_back_by_itself(nursery, cluster):
    elm = await Member(cluster.member("elm"), {"ash": []}).start(nursery)
    ash = await Member(cluster.member("ash"), {"elm": [elm.address]}).start(nursery)
    for count in range(1, 4):
        await ash.until(lambda count=count: len(ash.links) == count)
        await ash.linked("elm")
        await elm.linked("ash")
        await elm.links[-1].aclose()
        await elm.until(lambda count=count: len(ash.links) > count)
    nursery.cancel_scope.cancel()


async def test_a_member_that_is_gone_is_shown_with_the_reason(nursery, cluster):
    elm = await Member(cluster.member("elm"), {"ash": []}).start(nursery)
    ash = await Member(cluster.member("ash"), {"elm": [elm.address]}).start(nursery)
    await ash.linked("elm")
    elm.scope.cancel()
    await ash.until(lambda: not ash.state("elm").connected)
    await ash.until(lambda: "refused" in ash.state("elm").error)
    assert str(elm.address) in ash.state("elm").error
    nursery.cancel_scope.cancel()


async def refused(nursery, ash: Member, elm_credentials: Credentials, caplog) -> tuple[Member, str, str]:
    """Let elm dial ash; return elm, what elm's status says, and ash's line in the log."""
    caplog.set_level(logging.WARNING)
    await ash.start(nursery)
    elm = await Member(elm_credentials, {"ash": [ash.address]}).start(nursery)
    await elm.until(lambda: bool(elm.state("ash").error))
    await ash.until(lambda: bool(ash.problems))
    assert not ash.links
    assert not elm.links
    assert all(record.exc_info is None for record in caplog.records)
    lines = [record.getMessage() for record in caplog.records]
    assert all("127.0.0.1" in line for line in lines)
    assert str(ash.problems[0].reason) in lines[0]
    error = elm.state("ash").error
    nursery.cancel_scope.cancel()
    return elm, error, lines[0]


async def test_a_member_of_another_cluster_is_refused_in_one_line(nursery, cluster, tmp_path, caplog):
    foreign = Cluster(tmp_path / "foreign")
    credentials = Credentials(Identity("web", "elm", 1), foreign.keys("elm", authority_of=cluster))
    _, error, line = await refused(nursery, Member(cluster.member("ash"), {"elm": []}), credentials, caplog)
    assert "not of this cluster" in line
    assert "not of its cluster" in error


async def test_an_expired_certificate_is_refused_with_its_cure(nursery, cluster, caplog):
    keys = cluster.keys("elm", made=NOW - datetime.timedelta(days=8_000))
    credentials = Credentials(Identity("web", "elm", 1), keys)
    _, error, line = await refused(nursery, Member(cluster.member("ash"), {"elm": []}), credentials, caplog)
    assert "has expired" in line
    assert "csfs member remove" in error


async def test_a_member_that_is_none_any_more_is_told_so(nursery, cluster, caplog):
    _, error, line = await refused(nursery, Member(cluster.member("ash"), {}), cluster.member("elm"), caplog)
    assert "elm is not among the members" in line
    assert "elm is not among the members" in error


async def test_a_revoked_certificate_is_refused(nursery, cluster, caplog):
    elm = cluster.member("elm")
    ash = Member(cluster.member("ash"), {"elm": []}, revoked=Revoked(serials={elm.identity.serial}))
    _, error, line = await refused(nursery, ash, elm, caplog)
    assert "revoked" in line
    assert "revoked" in error


async def test_a_clone_of_this_member_is_refused(nursery, cluster, caplog):
    ash = cluster.member("ash")
    clone = Member(ash, {"elm": []})
    other = Credentials(Identity("web", "elm", 1), ash.keys)
    _, error, _ = await refused(nursery, clone, other, caplog)
    assert "cloned" in error


async def test_who_answers_at_a_peers_address_has_to_be_that_peer(nursery, cluster):
    oak = await Member(cluster.member("oak"), {"ash": []}).start(nursery)
    ash = await Member(cluster.member("ash"), {"elm": [oak.address], "oak": []}).start(nursery)
    await ash.until(lambda: bool(ash.state("elm").error))
    assert "oak answers there, not elm" in ash.state("elm").error
    assert not ash.links
    nursery.cancel_scope.cancel()


async def test_revoking_ends_a_link_that_is_up(nursery, cluster):
    credentials = cluster.member("elm")
    elm = await Member(credentials, {"ash": []}).start(nursery)
    ash = await Member(cluster.member("ash"), {"elm": [elm.address]}).start(nursery)
    await ash.linked("elm")
    ash.network.update_peers({"elm": [elm.address]}, Revoked(serials={credentials.identity.serial}))
    await ash.until(lambda: ash.running == 0 and "revoked" in ash.state("elm").error)
    await elm.until(lambda: "revoked" in elm.state("ash").error)
    nursery.cancel_scope.cancel()


async def test_an_address_that_works_is_found_among_others(nursery, cluster):
    elm = await Member(cluster.member("elm"), {"ash": []}).start(nursery)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = Address("127.0.0.1", closed.getsockname()[1])
        ash = await Member(cluster.member("ash"), {"elm": [nobody, elm.address]}).start(nursery)
        await ash.linked("elm")
        assert ash.state("elm").remote == str(elm.address)
        nursery.cancel_scope.cancel()


async def test_a_peer_whose_address_becomes_known_is_dialled_at_once(nursery, cluster):
    elm = await Member(cluster.member("elm"), {"ash": []}).start(nursery)
    ash = await Member(cluster.member("ash"), {"elm": []}, pace=Pace(retry_s_first=1_000)).start(nursery)
    ash.network.update_peers({"elm": [elm.address]})
    await ash.linked("elm")
    nursery.cancel_scope.cancel()


async def test_who_never_answers_is_given_up(nursery, cluster):
    silent = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with silent:
        address = Address(*silent.socket.getsockname())
        ash = await Member(cluster.member("ash"), {"elm": [address]}, pace=Pace(dial_s_max=0.1)).start(nursery)
        await ash.until(lambda: bool(ash.state("elm").error))
        assert f"no answer from {address} in 0.1 s" in ash.state("elm").error
        nursery.cancel_scope.cancel()


async def test_who_never_says_who_it_is_is_sent_away(nursery, cluster):
    ash = await Member(cluster.member("ash"), {"elm": []}).start(nursery)
    stranger = await trio.open_tcp_stream("127.0.0.1", ash.address.port)
    async with stranger:
        with trio.fail_after(5):
            assert await stranger.receive_some() == b""
    await ash.until(lambda: bool(ash.problems))
    assert "in time" in ash.problems[0].reason
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", bytes(300), b"\x16\x03\x01\xff\xff"])
async def test_who_speaks_no_tls_is_sent_away_without_a_traceback(nursery, cluster, garbage, caplog):
    ash = await Member(cluster.member("ash"), {"elm": []}).start(nursery)
    async with await trio.open_tcp_stream("127.0.0.1", ash.address.port) as stranger:
        await stranger.send_all(garbage)
        with trio.fail_after(5):
            await ash.until(lambda: bool(ash.problems))
    assert all(record.exc_info is None for record in caplog.records)
    nursery.cancel_scope.cancel()


async def test_a_host_without_a_certificate_gets_no_further_than_the_door(nursery, cluster):
    ash = await Member(cluster.member("ash"), {"elm": []}).start(nursery)
    stream = trio.SSLStream(
        await trio.open_tcp_stream("127.0.0.1", ash.address.port), contexts.joining_context(), https_compatible=True
    )
    link = Link(stream, "ash", pace=PACE)
    nursery.start_soon(link.run)
    await link.send(Heartbeat(0))
    with pytest.raises(UnreachableError):
        await link.receive()
    assert not ash.links
    nursery.cancel_scope.cancel()


async def test_when_strangers_are_too_many_the_oldest_has_to_go():
    strangers = Strangers(2)
    gone: list[int] = []

    async def wait(number: int) -> None:
        with strangers.one_more(60):
            await trio.sleep_forever()
        gone.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(wait, number)
            await trio.testing.wait_all_tasks_blocked()
        assert gone == [0, 1]
        nursery.cancel_scope.cancel()


async def test_a_port_that_is_taken_is_named_with_who_holds_it():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(ConfigError, match=rf"cannot listen on {address}: .*\(\d+\) listens there already"):
            await listener.open_listeners([Address("127.0.0.1", 0), address])


async def test_an_address_that_no_interface_has_is_named():
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1:30866: no interface"):
        await listener.open_listeners([Address("192.0.2.1")])


async def test_what_is_no_host_name_is_named(nursery, cluster):
    nowhere = Address("a" * 70 + ".example")
    with pytest.raises(ConfigError, match=r"a\.example:30866"):
        await listener.open_listeners([nowhere])
    ash = await Member(cluster.member("ash"), {"elm": [nowhere]}).start(nursery)
    await ash.until(lambda: "a.example:30866" in ash.state("elm").error)
    nursery.cancel_scope.cancel()


async def test_everywhere_means_both_families():
    listeners = await listener.open_listeners([Address("*", 0)])
    families = {opened.socket.family for opened in listeners}
    for opened in listeners:
        await opened.aclose()
    assert socket.AF_INET in families


async def test_a_bug_on_a_link_costs_the_link_alone(nursery, cluster, caplog):
    async def broken(peer: str, link: Link) -> None:
        raise ZeroDivisionError("oops")

    elm = await Member(cluster.member("elm"), {"ash": []}).start(nursery)
    network = PeerNetwork(cluster.member("ash"), HERE, {"elm": [elm.address]}, broken, pace=PACE)
    await nursery.start(network.run)
    await elm.until(lambda: "a bug in csfs" in network.peers_state()["elm"].error)
    assert "ZeroDivisionError" in caplog.text
    nursery.cancel_scope.cancel()


def test_retries_are_quick_after_a_loss_and_patient_later():
    assert retry_delay_s(0, 0, 0) == 0.05
    assert retry_delay_s(3, 0, 0.999) == pytest.approx(0.8, rel=0.01)
    assert max(retry_delay_s(n, 59, 0.999) for n in range(100)) <= 1
    assert max(retry_delay_s(n, 3600, 0.999) for n in range(100)) <= 30
    assert retry_delay_s(100, 3600, 0) == 15


def test_tls_is_1_3_and_nothing_else(cluster):
    for context in (contexts.listening_context(cluster.member("ash")), contexts.joining_context()):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3
