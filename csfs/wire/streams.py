"""A connection's two directions as pure state: messages in, bytes out, and back.

Small messages travel on the prompt channel, contents on the bulk channel; each keeps its order, and a write takes a piece of both,
so that neither waits for more than one piece of the other.
"""

from typing import Final

from csfs.wire.codec import FrameCodec
from csfs.wire.messages import FRAME_SIZE_MAX, Blocks, PeerMessage, Table
from csfs.wire.packets import PAYLOAD_SIZE_MAX, Channel, PacketReader, PacketWriter

BULK: Final = (Blocks, Table)
"""Messages of the bulk channel."""


class MessageWriter:
    """Messages on their way out."""

    def __init__(self, peer: str) -> None:
        self._codec: FrameCodec[PeerMessage] = FrameCodec(PeerMessage, peer, FRAME_SIZE_MAX)
        self._packets = PacketWriter()
        self._waiting = {Channel.PROMPT: bytearray(), Channel.BULK: bytearray()}

    def put(self, message: PeerMessage) -> Channel:
        """Queue `message`; returns the channel that it will travel on."""
        channel = Channel.BULK if isinstance(message, BULK) else Channel.PROMPT
        self._waiting[channel] += self._codec.encoded(message)
        return channel

    def waiting(self, channel: Channel) -> int:
        """Return how many bytes wait to be written on `channel`."""
        return len(self._waiting[channel])

    def next_write(self) -> bytes:
        """Return the bytes to write next, empty when nothing waits: a piece of each channel, the prompt one first."""
        packets = b""
        for channel, waiting in self._waiting.items():
            if waiting:
                with memoryview(waiting) as view:
                    data = bytes(view[:PAYLOAD_SIZE_MAX])
                del waiting[: len(data)]
                packets += self._packets.packet(channel, data)
        return packets


class MessageReader:
    """Messages on their way in. `messages` is the union that may come, each of at most `frame_size_max` bytes."""

    def __init__(self, peer: str, messages: object = PeerMessage, frame_size_max: int = FRAME_SIZE_MAX) -> None:
        self._packets = PacketReader(peer)
        self._codecs: dict[Channel, FrameCodec[PeerMessage]] = {
            channel: FrameCodec(messages, peer, frame_size_max) for channel in Channel
        }
        self._open = Channel.PROMPT

    def receive(self, data: bytes) -> None:
        """Take in bytes as they arrive."""
        self._packets.receive(data)

    def next_message(self) -> PeerMessage | None:
        """Return the next complete message, or None when more bytes are needed.

        Raises:
            RemoteProtocolError: what came is not what csfs sends, or more than it may.
        """
        while True:
            message = self._codecs[self._open].next_message()
            if message is not None:
                return message
            packet = self._packets.next_packet()
            if packet is None:
                return None
            self._open = packet.channel
            self._codecs[packet.channel].receive(packet.data)
