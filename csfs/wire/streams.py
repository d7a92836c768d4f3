"""A connection's two directions as pure state: messages in, bytes out, and back.

Small messages travel on the prompt channel, in order, contents on the bulk channel; a write takes a piece of both, so that neither
waits for more than one piece of the other. Of contents small ones go before large ones that have not begun, as
long as these get half of the way.
"""

from collections import deque
from typing import Final

from csfs.wire.codec import FrameCodec
from csfs.wire.messages import FRAME_SIZE_MAX, Blocks, Pages, PeerMessage, Records, Summary
from csfs.wire.packets import PAYLOAD_SIZE_MAX, SAMPLED_SIZE_MIN, Channel, PacketReader, PacketWriter
from csfs.wire.segments import Extents, Segments

BULK: Final = (Blocks, Segments, Extents, Summary, Pages)
"""Messages of the bulk channel."""
SMALL_SIZE_MAX = 136 * 1024
"""Frames of contents of one block are no larger."""


class _Frames:
    """Frames that wait to be written, taken as a stream of bytes, in order. `size` is what is left of them, in bytes."""

    def __init__(self) -> None:
        self.size = 0
        self.is_content = True
        """Whether what was taken last is contents."""
        self._frames: deque[bytes] = deque()
        self._begun = b""
        self._taken = 0  # bytes of the frame that is begun
        self._is_apart = False  # whether it is not taken together with what follows

    def put(self, frame: bytes) -> None:
        self._frames.append(frame)
        self.size += len(frame)

    def take(self, size_max: int) -> bytes:
        """Return the next bytes, at most `size_max`."""
        pieces: list[bytes] = []
        room = min(size_max, self.size)
        self.size -= room
        while room:
            if self._taken == len(self._begun):
                if self._is_apart and pieces:
                    self.size += room
                    break
                self._begun, self._taken = self._next(), 0
            piece = self._begun[self._taken : self._taken + room]
            pieces.append(piece)
            room -= len(piece)
            self._taken += len(piece)
        return b"".join(pieces)

    def _next(self) -> bytes:
        return self._frames.popleft()


class _Parted(_Frames):
    """Frames that may end in contents, which are taken apart: whether these compress says nothing of the rest."""

    def __init__(self) -> None:
        super().__init__()
        self._apart: deque[tuple[bool, bool]] = deque()
        """Of each part, whether it is taken apart, and whether it is contents."""

    def put_parted(self, frame: bytes, contents_size: int) -> None:
        """Add a frame that ends in about so many bytes of contents."""
        is_apart = contents_size >= SAMPLED_SIZE_MIN  # less is compressed without a question
        parts = (frame[:-contents_size], frame[-contents_size:]) if is_apart else (frame,)
        for number, part in enumerate(parts):
            self.put(part)
            self._apart.append((is_apart, number > 0))

    def _next(self) -> bytes:
        self._is_apart, self.is_content = self._apart.popleft()
        return super()._next()


class _Contents(_Frames):
    """Frames of contents: small ones first, and a large one after as many bytes of those."""

    def __init__(self) -> None:
        super().__init__()
        self._small: deque[bytes] = deque()
        self._small_size = 0  # of small frames since the last large one

    def put(self, frame: bytes) -> None:
        if len(frame) > SMALL_SIZE_MAX:
            super().put(frame)
        else:
            self._small.append(frame)
            self.size += len(frame)

    def _next(self) -> bytes:
        if self._frames and (not self._small or self._small_size >= len(self._frames[0])):
            self._small_size = 0
            return super()._next()
        frame = self._small.popleft()
        self._small_size += len(frame)
        return frame


class MessageWriter:
    """Messages on their way out."""

    def __init__(self, peer: str) -> None:
        self._codec: FrameCodec[PeerMessage] = FrameCodec(PeerMessage, peer, FRAME_SIZE_MAX)
        self._packets = PacketWriter()
        self._prompt, self._contents = _Parted(), _Contents()
        self._waiting = {Channel.PROMPT: self._prompt, Channel.BULK: self._contents}

    def put(self, message: PeerMessage) -> Channel:
        """Queue `message`; returns the channel that it will travel on."""
        frame = self._codec.encoded(message)
        if isinstance(message, BULK):
            self._contents.put(frame)
            return Channel.BULK
        contents = message.contents if isinstance(message, Records) else ()
        self._prompt.put_parted(frame, sum(map(len, contents)))
        return Channel.PROMPT

    def waiting(self, channel: Channel) -> int:
        """Return how many bytes wait to be written on `channel`."""
        return self._waiting[channel].size

    def next_write(self, *, bulk: bool = True) -> bytes:
        """Return the bytes to write next, empty when nothing waits: a piece of each channel, or, without `bulk`, of the prompt one."""
        packets = b""
        for channel, waiting in self._waiting.items():
            if waiting.size and (bulk or channel is Channel.PROMPT):
                data = waiting.take(PAYLOAD_SIZE_MAX)
                packets += self._packets.packet(channel, data, is_content=waiting.is_content)
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
