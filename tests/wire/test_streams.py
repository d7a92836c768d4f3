import itertools
import random
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csfs.core.objects import Kind, Meta
from csfs.core.records import Half, MetaEntry
from csfs.core.versions import Dot, Hlc, Incarnation
from csfs.errors import RemoteProtocolError
from csfs.wire.codec import FrameCodec
from csfs.wire.messages import FRAME_SIZE_MAX, UPDATES_MAX, Blocks, Join, PeerMessage, Records, Update
from csfs.wire.packets import Channel, PacketWriter
from csfs.wire.streams import BULK, MessageReader, MessageWriter
from tests.wire.examples import EXAMPLES, SCOPE


def written(messages) -> bytes:
    writer = MessageWriter("elm")
    for message in messages:
        writer.put(message)
    return b"".join(iter(writer.next_write, b""))


def read(pieces, reader=None) -> list[PeerMessage]:
    reader = reader or MessageReader("ash")
    messages = []
    for piece in pieces:
        reader.receive(piece)
        messages += iter(reader.next_message, None)
    return messages


def test_there_is_an_example_of_every_message():
    assert {type(example) for example in EXAMPLES} == set(typing.get_args(PeerMessage))


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_arrives_whole_byte_by_byte_and_with_the_next_behind_it(message):
    data = written([message])
    assert read([data]) == [message]
    assert read([data[i : i + 1] for i in range(len(data))]) == [message]
    assert read([written([message, message])]) == [message, message]
    assert read([data[:-1]]) == []


@given(st.lists(st.sampled_from(EXAMPLES), max_size=20), st.lists(st.integers(1, 5_000), max_size=30))
def test_messages_arrive_however_they_are_cut_and_words_in_their_order(messages, cuts):
    data = written(messages)
    pieces, position = [], 0
    for cut in cuts:
        pieces.append(data[position : position + cut])
        position += cut
    received = read([*pieces, data[position:]])
    assert [m for m in received if not isinstance(m, BULK)] == [m for m in messages if not isinstance(m, BULK)]
    assert sorted(map(repr, received)) == sorted(map(repr, messages))


def test_small_contents_go_before_large_ones_which_get_half_of_the_way():
    writer = MessageWriter("elm")
    block = bytes(range(256)) * 512
    for number in range(4):
        writer.put(Blocks(number, 0, (block,) * 8))
    begun = writer.next_write()
    for number in range(100, 140):
        writer.put(Blocks(number, 0, (block,)))
    received = [m.request for m in read([begun, *iter(writer.next_write, b"")])]
    assert received[0] == 0, "what has begun is ended"
    assert received[1:9] == list(range(100, 108))
    large = [at for at, number in enumerate(received) if number < 4]
    assert all(later - earlier <= 10 for earlier, later in itertools.pairwise(large)), "none waits for ever"
    assert sorted(received) == [0, 1, 2, 3, *range(100, 140)]


@pytest.mark.parametrize("incarnations", [3, 100, 1_000, 4_000])
def test_what_a_group_knows_costs_a_few_bytes_when_it_is_said_again(incarnations):
    dice, writer = random.Random(1), MessageWriter("elm")
    known = {Incarnation(dice.getrandbits(62)): dice.randrange(1, 100_000) for _ in range(incarnations)}
    life, sizes = next(iter(known)), []
    for number in range(20):
        known = known | {life: 200_000 + number}
        entry = MetaEntry(Dot(life, known[life]), Hlc(10**18 + number), Meta(0o640, 0, 0, "root", "root"), Kind.FILE)
        writer.put(Records("etc", SCOPE, number, (Update(b"file-%d" % number, None, Half((entry,), known)),), known))
        sizes.append(sum(map(len, iter(writer.next_write, b""))))
    assert max(sizes[1:]) < 120


def test_contents_that_do_not_compress_travel_as_they_are_and_what_is_said_with_them_does_not():
    noise, updates = random.Random(1).randbytes(30_000), tuple(Update(b"the same path" * 100) for _ in range(100))
    writer = MessageWriter("elm")
    writer.put(Records("etc", SCOPE, 1, updates, None, (), b"", (noise,)))
    data = b"".join(iter(writer.next_write, b""))
    assert noise in data
    assert len(data) < len(noise) + 2_000


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_random_bytes_raise_a_remote_error_or_nothing(data):
    try:
        read([data])
    except RemoteProtocolError:
        pass


@settings(max_examples=300)
@given(st.data())
def test_damaged_messages_raise_a_remote_error_or_are_other_messages(data):
    stream = bytearray(written([data.draw(st.sampled_from(EXAMPLES)) for _ in range(3)]))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, min(len(stream), 400) - 1))] = data.draw(st.integers(0, 255))
    try:
        read([bytes(stream)])
    except RemoteProtocolError:
        pass


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_a_frame_of_random_bytes_raises_a_remote_error_or_is_a_message(body):
    codec: FrameCodec[PeerMessage] = FrameCodec(PeerMessage, "elm", FRAME_SIZE_MAX)
    codec.receive(len(body).to_bytes(4, "big") + body)
    try:
        codec.next_message()
    except RemoteProtocolError:
        pass


def test_a_deeply_nested_body_is_refused():
    packets = PacketWriter()
    body = b"\x91" * 60_000
    frame = len(body).to_bytes(4, "big") + body
    with pytest.raises(RemoteProtocolError, match="not a message"):
        read([packets.packet(Channel.PROMPT, frame)])


def test_more_updates_than_one_message_may_hold_are_refused():
    updates = (Update(b""),) * UPDATES_MAX
    assert read([written([Records("etc", SCOPE, 1, updates)])])
    with pytest.raises(RemoteProtocolError, match="length <= 2000"):
        read([written([Records("etc", SCOPE, 1, (*updates, Update(b"")))])])


def test_a_guest_may_send_little_and_nothing_but_its_request():
    reader = MessageReader("guest", Join, 1_000)
    with pytest.raises(RemoteProtocolError, match="limit 1000"):
        read([written([EXAMPLES[-3].__class__(1, "beta", "0" * 2_000, b"", (), {})])], reader)
    for example in EXAMPLES:
        if not isinstance(example, Join):
            with pytest.raises(RemoteProtocolError):
                read([written([example])], MessageReader("guest", Join, 1_000))


def test_a_write_takes_a_piece_of_each_channel():
    writer = MessageWriter("elm")
    contents = Blocks(1, 0, (bytes(range(256)) * 4_000,))
    writer.put(contents)
    reader = MessageReader("ash")
    reader.receive(writer.next_write())
    writer.put(EXAMPLES[0])
    reader.receive(writer.next_write())
    assert reader.next_message() == EXAMPLES[0]
    reader.receive(b"".join(iter(writer.next_write, b"")))
    assert reader.next_message() == contents


def test_what_is_said_again_costs_little():
    once, often = len(written(EXAMPLES[1:2])), len(written(EXAMPLES[1:2] * 100))
    assert often < once * 10


def test_records_are_compressed_beside_contents_that_do_not_compress():
    dice = random.Random(1)
    updates = tuple(Update(b"a/directory/of/many/files/%05d" % number) for number in range(200))
    contents = tuple(dice.randbytes(5_000) for _ in range(200))
    writer, reader = MessageWriter("elm"), MessageReader("ash")
    sent = 0
    messages = [Records("etc", SCOPE, number, updates, contents=contents) for number in range(3)]
    for message in messages:
        writer.put(message)
    while data := writer.next_write():
        sent += len(data)
        reader.receive(data)
    assert writer.waiting(Channel.PROMPT) == 0
    assert [reader.next_message() for _ in messages] == messages
    assert sent - 3 * 200 * 5_000 < 3 * 200 * 10, "a path takes 35 bytes by itself, and a content's length some more"
