import random

import pytest
import zstandard

from csfs.errors import RemoteProtocolError
from csfs.wire.packets import (
    HEADER_SIZE,
    OVERHEAD_MAX,
    PAYLOAD_SIZE_MAX,
    Channel,
    Packet,
    PacketReader,
    PacketWriter,
)

NOISE = random.Random(1).randbytes(PAYLOAD_SIZE_MAX)
TEXT = b"the same line again and again\n" * 1_000
COMPRESSED = 1 << 31


def compressed(data: bytes, **parameters: int) -> bytes:
    """Return a packet with all of `data` in it, whatever its size."""
    made = zstandard.ZstdCompressionParameters.from_level(1, **parameters)
    compressor = zstandard.ZstdCompressor(compression_params=made).compressobj()
    payload = compressor.compress(data) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    return (COMPRESSED | len(payload)).to_bytes(HEADER_SIZE, "big") + payload


def test_packets_of_all_kinds_come_back_as_they_were():
    writer, reader = PacketWriter(), PacketReader("elm")
    packets = [
        Packet(Channel.PROMPT, TEXT),
        Packet(Channel.BULK, NOISE),
        Packet(Channel.PROMPT, b"x"),
        Packet(Channel.BULK, TEXT),
    ]
    for packet in packets * 3:
        reader.receive(writer.packet(*packet))
        assert reader.next_packet() == packet
    assert reader.next_packet() is None


def test_what_does_not_compress_travels_as_it_is():
    writer = PacketWriter()
    assert writer.packet(Channel.BULK, NOISE)[HEADER_SIZE:] == NOISE
    assert len(writer.packet(Channel.BULK, TEXT)) < len(TEXT) / 50


def test_noise_that_looks_compressible_still_fits():
    noise = bytearray(NOISE)
    noise[PAYLOAD_SIZE_MAX // 2 : PAYLOAD_SIZE_MAX // 2 + 4096] = bytes(4096)
    writer, reader = PacketWriter(), PacketReader("elm")
    reader.receive(writer.packet(Channel.BULK, bytes(noise)))
    assert reader.next_packet() == Packet(Channel.BULK, bytes(noise))


def test_a_packet_that_expands_too_far_is_stopped_early():
    bomb = compressed(bytes(100 * 1024 * 1024))
    assert len(bomb) < PAYLOAD_SIZE_MAX
    reader = PacketReader("elm")
    reader.receive(bomb)
    with pytest.raises(RemoteProtocolError, match="expands to more than 65536 bytes"):
        reader.next_packet()
    assert len(reader._expanded._data) <= 4 * PAYLOAD_SIZE_MAX


def test_a_window_that_takes_much_memory_is_refused():
    reader = PacketReader("elm")
    reader.receive(compressed(TEXT, window_log=27))
    with pytest.raises(RemoteProtocolError, match="cannot be expanded"):
        reader.next_packet()


@pytest.mark.parametrize(
    "header", [0, PAYLOAD_SIZE_MAX + OVERHEAD_MAX + 1, (1 << 24) - 1, (1 << 29) | 1, int.from_bytes(b"GET ", "big")]
)
def test_a_header_that_csfs_does_not_make_is_refused_before_the_payload_comes(header):
    reader = PacketReader("elm")
    reader.receive(header.to_bytes(HEADER_SIZE, "big"))
    with pytest.raises(RemoteProtocolError, match="not a packet of csfs"):
        reader.next_packet()
