"""Packets: what a connection carries. Two channels share it, compressed as one stream, in pieces of at most 64 KiB.

A packet is a four-byte big-endian header and its payload. The header's top bit says compressed, the next one which channel,
the low 24 bits the payload's size. All compressed packets of one direction form one zstd stream, flushed at the end of each, so
that what peers say over and over costs a few bytes; what does not compress travels as it is and is no part of that stream.

Pieces are small so that a short message never waits for more than one of them, and no packet can expand to more than
`PAYLOAD_SIZE_MAX` in memory. Left out: hiding how well contents compress. Whoever sees the traffic's sizes and can have
csfs send chosen bytes may learn whether they resemble what was sent before.
"""

import enum
from typing import IO, NamedTuple, cast

import zstandard

from csfs.errors import RemoteProtocolError

HEADER_SIZE = 4
PAYLOAD_SIZE_MAX = 64 * 1024
OVERHEAD_MAX = 1024
"""What compression may add to a payload that it cannot shrink."""
COMPRESSED_SIZE_MIN = 48
"""Smaller payloads (heartbeats, acks) are not worth two calls of the compressor."""
SAMPLED_SIZE_MIN = 16 * 1024
SAMPLE_SIZE = 2 * 1024
SAMPLE_RATIO = 0.95
LEVEL = 1
WINDOW_SIZE_MAX = 1024 * 1024

_COMPRESSED = 1 << 31
_BULK = 1 << 30
_SIZE = (1 << 24) - 1


class Channel(enum.Enum):
    """Which of the two byte streams a packet continues."""

    PROMPT = "prompt"
    BULK = "bulk"


class Packet(NamedTuple):
    """A piece of one channel's byte stream."""

    channel: Channel
    data: bytes


class PacketWriter:
    """Makes packets of one direction of one connection."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=LEVEL).compressobj()
        self._sampler = zstandard.ZstdCompressor(level=LEVEL)

    def packet(self, channel: Channel, data: bytes, *, is_content: bool = True) -> bytes:
        """Return `data`, of at most `PAYLOAD_SIZE_MAX` bytes, as a packet. Packets must be sent in the order they are made.

        What `is_content` may be anything, that has been compressed already perhaps. All else is said over and over, and compresses for
        that alone: the vectors of a group that has had a thousand incarnations look like noise by themselves.
        """
        assert 0 < len(data) <= PAYLOAD_SIZE_MAX, f"{len(data)} bytes"
        header = _BULK if channel is Channel.BULK else 0
        if len(data) >= COMPRESSED_SIZE_MIN and not (is_content and self._seems_to_be_noise(data)):
            header |= _COMPRESSED
            data = self._compressor.compress(data) + self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        return (header | len(data)).to_bytes(HEADER_SIZE, "big") + data

    def _seems_to_be_noise(self, data: bytes) -> bool:
        """Return whether `data` seems not to compress; a large payload is judged by a sample from its middle, no other is."""
        if len(data) < SAMPLED_SIZE_MIN:
            return False
        middle = len(data) // 2
        sample = data[middle : middle + SAMPLE_SIZE]
        return len(self._sampler.compress(sample)) >= SAMPLE_RATIO * len(sample)


class PacketReader:
    """Reads packets of one direction of one connection. `source` names the other side in errors."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._received = bytearray()
        self._expanded = _Expanded(source)
        self._expander = zstandard.ZstdDecompressor(max_window_size=WINDOW_SIZE_MAX).stream_writer(
            cast(IO[bytes], self._expanded), write_size=PAYLOAD_SIZE_MAX
        )

    def receive(self, data: bytes) -> None:
        """Take in bytes as they arrive."""
        self._received += data

    def next_packet(self) -> Packet | None:
        """Return the next packet, or None when more bytes are needed.

        Raises:
            RemoteProtocolError: a packet is too large, expands too far, or is not one.
        """
        if len(self._received) < HEADER_SIZE:
            return None
        header = int.from_bytes(self._received[:HEADER_SIZE], "big")
        size = header & _SIZE
        if not 0 < size <= PAYLOAD_SIZE_MAX + OVERHEAD_MAX or header & ~(_COMPRESSED | _BULK | _SIZE):
            raise RemoteProtocolError(f"{self._source}: not a packet of csfs; same csfs version on both sides?")
        end = HEADER_SIZE + size
        if len(self._received) < end:
            return None
        with memoryview(self._received) as received:
            data = bytes(received[HEADER_SIZE:end])
        del self._received[:end]
        return Packet(Channel.BULK if header & _BULK else Channel.PROMPT, self._opened(header, data))

    def _opened(self, header: int, data: bytes) -> bytes:
        if not header & _COMPRESSED:
            return data
        try:
            self._expander.write(data)
        except zstandard.ZstdError as error:
            raise RemoteProtocolError(f"{self._source}: a packet cannot be expanded ({error})") from error
        return self._expanded.taken()


class _Expanded:
    """Where the expander writes; it stops the expander as soon as there is too much."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        if len(self._data) > PAYLOAD_SIZE_MAX:
            raise RemoteProtocolError(f"{self._source}: a packet expands to more than {PAYLOAD_SIZE_MAX} bytes")
        return len(data)

    def taken(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data
