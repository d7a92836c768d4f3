import ssl
import time

import pytest
import trio
import trio.testing

from csfs.core.versions import Scope
from csfs.errors import LocalProtocolError, RemoteProtocolError, UnreachableError
from csfs.replicate.link import WAITING_SIZE_MAX, Link, Pace
from csfs.trust import contexts
from csfs.wire import messages
from csfs.wire.conversation import Conversation, Role
from csfs.wire.messages import Blocks, GetBlocks, Goodbye, Heartbeat, Hello, Join, Joined, PeerMessage, Records, Stored
from csfs.wire.packets import HEADER_SIZE, Channel
from tests.replicate.certified import Cluster

PACE = Pace(goodbye_s_max=0.2)


def hello(member: str) -> Hello:
    return Hello(messages.PROTOCOL, "1", "web", member, 0, 0, b"", {}, ())


def pair(nursery, pace=PACE, left=None, right=None):
    """Return two links joined back to back, running, of ash and elm."""
    if left is None:
        left, right = trio.testing.memory_stream_pair()
    links = Link(left, "elm", pace=pace), Link(right, "ash", pace=pace)
    for link in links:
        nursery.start_soon(link.run)
    return links


async def greeted(nursery, pace=PACE, left=None, right=None):
    ash, elm = pair(nursery, pace, left, right)
    await ash.send(hello("ash"))
    await elm.send(hello("elm"))
    assert await ash.receive() == hello("elm")
    assert await elm.receive() == hello("ash")
    return ash, elm


async def test_messages_arrive_in_order_whatever_their_number(nursery):
    ash, elm = await greeted(nursery)
    sent = [Records("etc", Scope(b"s"), position, ()) for position in range(500)]
    await ash.send_many(sent)
    assert [await elm.receive() for _ in sent] == sent


async def test_batches_of_several_tasks_do_not_mix(nursery):
    ash, elm = await greeted(nursery)
    for volume in ("a", "b", "c"):
        nursery.start_soon(ash.send_many, [Stored(volume, position, {}) for position in range(100)])
    received = [await elm.receive() for _ in range(300)]
    for volume in ("a", "b", "c"):
        assert [m.position for m in received if m.volume == volume] == list(range(100))


async def test_a_small_message_overtakes_contents(nursery):
    ash, elm = await greeted(nursery)
    contents = Blocks(1, 0, (bytes(range(256)) * 4096,))
    await ash.send(contents)
    await ash.send(Stored("etc", 1, {}))
    assert isinstance(await elm.receive(), Stored)
    assert await elm.receive() == contents


async def test_a_sender_waits_when_too_much_is_queued(nursery, autojump_clock):
    left, right = trio.testing.lockstep_stream_pair()
    ash = Link(left, "elm", pace=PACE)
    nursery.start_soon(ash.run)
    await ash.send(hello("ash"))
    sent = 0
    with trio.move_on_after(1):
        while True:
            await ash.send(Blocks(sent, 0, (bytes(1024 * 1024),)))
            sent += 1
    assert sent <= WAITING_SIZE_MAX[Channel.BULK] // 1024 // 1024
    elm = Link(right, "ash", pace=PACE)
    assert await elm.receive() == hello("ash")
    for request in range(sent):
        message = await elm.receive()
        assert isinstance(message, Blocks)
        assert message.request == request


async def test_a_cancelled_sender_does_not_break_the_link(nursery):
    ash, elm = await greeted(nursery)
    with trio.CancelScope() as scope:
        scope.cancel()
        await ash.send(Stored("etc", 1, {}))
    await ash.send(Stored("etc", 2, {}))
    assert await elm.receive() == Stored("etc", 1, {})
    assert await elm.receive() == Stored("etc", 2, {})


async def test_an_idle_link_stays_up_by_heartbeats(nursery, autojump_clock):
    ash, elm = await greeted(nursery)
    nursery.start_soon(receive_forever, elm)
    with trio.move_on_after(120):
        while True:
            assert isinstance(await ash.receive(), Heartbeat)
    assert ash.bytes_received < 2_000


async def test_a_heartbeat_is_answered_at_once_so_that_both_share_a_wake(nursery, autojump_clock):
    ash, elm = await greeted(nursery)
    began = trio.current_time()
    heard: dict[str, list[int]] = {"ash": [], "elm": []}

    async def note_heartbeats(link: Link) -> None:
        while True:
            if isinstance(await link.receive(), Heartbeat):
                heard[link.peer].append(round(trio.current_time() - began))

    nursery.start_soon(note_heartbeats, ash)
    nursery.start_soon(note_heartbeats, elm)
    await trio.sleep(1)
    await elm.send(Stored("etc", 1, {}))  # from here on its turn is a second after the other's
    await trio.sleep(30)
    assert heard["ash"] == [5, 10, 15, 20, 25, 30]
    assert heard["elm"] == heard["ash"]


async def receive_forever(link: Link) -> None:
    while True:
        await link.receive()


async def test_who_asks_to_join_waits_without_a_word_for_an_inviter_that_takes_its_time(nursery, autojump_clock):
    ours, theirs = trio.testing.memory_stream_pair()
    guest = Link(ours, "elm", Conversation("elm", Role.GUEST, Role.INVITER))
    inviter = Link(theirs, "ash", Conversation("ash", Role.INVITER, Role.GUEST))
    for link in (guest, inviter):
        nursery.start_soon(link.run)
    await guest.send(Join(messages.PROTOCOL, "ash", "", b"", (), {}))
    assert isinstance(await inviter.receive(), Join)
    with trio.move_on_after(12):
        await guest.receive()
    await inviter.send(Joined(b"", b"", "settings"))
    assert await guest.receive() == Joined(b"", b"", "settings")


async def test_a_peer_that_went_silent_is_taken_for_dead(nursery, autojump_clock):
    ours, _theirs = trio.testing.memory_stream_pair()
    link = Link(ours, "elm", pace=Pace(heartbeat_s=5, silence_s_max=15))
    nursery.start_soon(link.run)
    began = trio.current_time()
    with pytest.raises(UnreachableError, match="silent for 15 s"):
        await link.receive()
    assert 15 <= trio.current_time() - began <= 20


async def test_silence_counts_only_while_we_listen(nursery, autojump_clock):
    ash, elm = await greeted(nursery)
    await trio.sleep(60)
    await elm.send(Stored("etc", 1, {}))
    while isinstance(message := await ash.receive(), Heartbeat):
        pass
    assert message == Stored("etc", 1, {})


async def test_goodbye_tells_the_peer_why(nursery):
    ash, elm = await greeted(nursery)
    await ash.goodbye("csfs is stopping\x1b[2J")
    with pytest.raises(UnreachableError, match=r"csfs is stopping\?\[2J"):
        await elm.receive()
    with pytest.raises(UnreachableError, match="we closed"):
        await ash.send(Heartbeat(0))


async def test_whoever_has_something_to_say_after_the_goodbye_finds_the_link_lost(nursery):
    ash, _ = await greeted(nursery)
    await ash.send(Goodbye("the configuration changed"))
    with pytest.raises(UnreachableError, match="closed the connection"):
        await ash.send(Stored("etc", 1, {}))


async def test_a_message_out_of_turn_ends_the_link_and_the_peer_hears_why(nursery):
    ash, elm = pair(nursery)
    with pytest.raises(LocalProtocolError, match="Stored to elm"):
        await ash.send(Stored("etc", 1, {}))
    await ash.send(hello("oak"))
    with pytest.raises(RemoteProtocolError, match="calls itself oak"):
        await elm.receive()
    with pytest.raises(UnreachableError, match="calls itself oak"):
        await ash.receive()


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, bytes(64)])
async def test_garbage_ends_the_link(nursery, garbage):
    ours, theirs = trio.testing.memory_stream_pair()
    link = Link(ours, "elm", pace=PACE)
    nursery.start_soon(link.run)
    await theirs.send_all(garbage)
    with pytest.raises(RemoteProtocolError, match=r"elm: .*same csfs version"):
        await link.receive()


async def test_an_oversized_frame_ends_the_link(nursery):
    ours, theirs = trio.testing.memory_stream_pair()
    link = Link(ours, "elm", pace=PACE)
    nursery.start_soon(link.run)
    frame = (messages.FRAME_SIZE_MAX + 1).to_bytes(4, "big")
    await theirs.send_all(len(frame).to_bytes(HEADER_SIZE, "big") + frame)
    with pytest.raises(RemoteProtocolError, match="limit 4194304"):
        await link.receive()


async def test_a_peer_that_closes_without_a_word_is_noticed(nursery):
    ours, theirs = trio.testing.memory_stream_pair()
    link = Link(ours, "elm", pace=PACE)
    nursery.start_soon(link.run)
    await theirs.aclose()
    with pytest.raises(UnreachableError, match="without a word"):
        await link.receive()


async def test_a_link_that_is_cancelled_says_so(nursery):
    left, right = trio.testing.memory_stream_pair()
    ash, elm = Link(left, "elm", pace=PACE), Link(right, "ash", pace=PACE)
    nursery.start_soon(elm.run)
    async with trio.open_nursery() as inner:
        inner.start_soon(ash.run)
        await trio.testing.wait_all_tasks_blocked()
        inner.cancel_scope.cancel()
    with pytest.raises(UnreachableError, match="stopping"):
        await elm.receive()


async def secure_pair(tmp_path):
    cluster = Cluster(tmp_path)
    server = contexts.listening_context(cluster.member("elm"))
    client = contexts.dialling_context(cluster.member("ash"))
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        dialled = await trio.testing.open_stream_to_socket_listener(listeners[0])
        accepted = await listeners[0].accept()
        await listeners[0].aclose()
        left = trio.SSLStream(dialled, client, https_compatible=True)
        right = trio.SSLStream(accepted, server, server_side=True, https_compatible=True)
        nursery.start_soon(left.do_handshake)
        nursery.start_soon(right.do_handshake)
    return left, right


async def echo(link: Link) -> None:
    try:
        while True:
            message: PeerMessage = await link.receive()
            if not isinstance(message, Heartbeat):
                await link.send(message)
    except UnreachableError:
        pass


async def test_a_round_trip_over_tls_costs_well_under_a_millisecond(nursery, tmp_path):
    left, right = await secure_pair(tmp_path)
    ash, elm = await greeted(nursery, left=left, right=right)
    nursery.start_soon(echo, elm)
    request = GetBlocks("etc", 1, bytes(32), 0, 1)
    fastest = float("inf")
    for _ in range(300):
        began = time.perf_counter()
        await ash.send(request)
        assert await ash.receive() == request
        fastest = min(fastest, time.perf_counter() - began)
    assert fastest < 0.001  # about 0.2 ms on an idle core
    print(f"fastest {fastest * 1e6:.0f} us")
    await ash.goodbye("done")


async def test_a_peer_that_vanishes_in_the_middle_is_noticed(nursery, tmp_path):
    left, right = await secure_pair(tmp_path)
    ash, elm = await greeted(nursery, left=left, right=right)
    nursery.start_soon(echo, elm)
    right.transport_stream.socket.close()
    with pytest.raises(UnreachableError, match="elm: "):
        await ash.receive()
    assert isinstance(left.context, ssl.SSLContext)


async def test_a_peer_that_stops_answering_on_an_open_connection_is_taken_for_dead(nursery, tmp_path):
    left, right = await secure_pair(tmp_path)
    link = Link(left, "elm", pace=Pace(heartbeat_s=0.02, silence_s_max=0.1, goodbye_s_max=0.1))
    nursery.start_soon(link.run)
    with pytest.raises(UnreachableError, match=r"silent for 0\.1 s"):
        await link.receive()
    await trio.aclose_forcefully(right)
