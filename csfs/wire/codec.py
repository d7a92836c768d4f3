"""Frames: a four-byte big-endian length, then one msgpack message."""

from typing import Generic, TypeVar

import msgspec

from csfs.errors import RemoteProtocolError

T = TypeVar("T")

LENGTH_SIZE = 4
CONTROL_FRAME_SIZE_MAX = 64 * 1024 * 1024


class FrameCodec(Generic[T]):
    """Encodes messages of one union to frames and decodes a stream of bytes back to messages, checking each by its schema.

    `source` names the other side in errors. One codec serves one direction of one connection.
    """

    def __init__(self, messages: object, source: str, size_max: int) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(messages)
        self._encoder = msgspec.msgpack.Encoder()
        self._source = source
        self._size_max = size_max
        self._received = bytearray()

    def encoded(self, message: T) -> bytes:
        """Return the frame of `message`."""
        body = self._encoder.encode(message)
        assert len(body) <= self._size_max, f"{type(message).__name__} of {len(body)} bytes"
        return len(body).to_bytes(LENGTH_SIZE, "big") + body

    def receive(self, data: bytes) -> None:
        """Take in bytes as they arrive."""
        self._received += data

    def next_message(self) -> T | None:
        """Return the next complete message, or None when more bytes are needed.

        Raises:
            RemoteProtocolError: a frame is too large, or not a message.
        """
        if len(self._received) < LENGTH_SIZE:
            return None
        size = int.from_bytes(self._received[:LENGTH_SIZE], "big")
        if size > self._size_max:
            raise RemoteProtocolError(
                f"{self._source}: frame of {size} bytes, limit {self._size_max}; same csfs version on both sides?"
            )
        end = LENGTH_SIZE + size
        if len(self._received) < end:
            return None
        try:
            # From where it is: contents are large, and each copy of them counts.
            with memoryview(self._received) as received, received[LENGTH_SIZE:end] as body:
                message = self._decoder.decode(body)
        except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
            raise RemoteProtocolError(f"{self._source}: not a message csfs knows ({error})") from error
        del self._received[:end]
        return message
