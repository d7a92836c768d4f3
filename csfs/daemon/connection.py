"""One connection to the control socket: messages both ways, and descriptors that come along."""

import os
import socket
import struct
from collections import deque

import trio

from csfs.errors import RemoteProtocolError
from csfs.wire.codec import CONTROL_FRAME_SIZE_MAX, FrameCodec
from csfs.wire.control import ControlMessage

RECEIVE_SIZE = 256 * 1024
DESCRIPTORS_MAX = 2
_CREDENTIALS = struct.Struct("3i")


class ControlConnection:
    """Messages on one accepted socket. Received descriptors wait in `descriptors` and are ours to close."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._socket = stream.socket
        self._stream = stream
        credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self.pid, self.uid, _gid = _CREDENTIALS.unpack(credentials)
        self.source = f"control socket, process {self.pid}"
        self.descriptors: deque[int] = deque()
        self._codec: FrameCodec[ControlMessage] = FrameCodec(ControlMessage, self.source, CONTROL_FRAME_SIZE_MAX)
        self._sending = trio.Lock()

    async def send(self, message: ControlMessage) -> None:
        """Send one message.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: the other side is gone.
        """
        async with self._sending:
            await self._stream.send_all(self._codec.encoded(message))

    async def receive(self) -> ControlMessage | None:
        """Return the next message, None when the other side closed.

        Raises:
            RemoteProtocolError: what came is not a message.
        """
        while (message := self._codec.next_message()) is None:
            try:
                data, ancillary, _flags, _address = await self._socket.recvmsg(
                    RECEIVE_SIZE, socket.CMSG_SPACE(DESCRIPTORS_MAX * 4), socket.MSG_CMSG_CLOEXEC
                )
            except (OSError, trio.ClosedResourceError):
                return None
            self._take_descriptors(ancillary)
            if not data:
                return None
            self._codec.receive(data)
        return message

    def _take_descriptors(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                count = len(data) // 4
                self.descriptors.extend(struct.unpack(f"{count}i", data[: count * 4]))
        if len(self.descriptors) > DESCRIPTORS_MAX:
            raise RemoteProtocolError(f"{self.source}: more descriptors than any message has")

    def drop_descriptors(self) -> None:
        """Close every descriptor that nobody took."""
        while self.descriptors:
            os.close(self.descriptors.popleft())

    async def aclose(self) -> None:
        """Close the connection and every descriptor that nobody took."""
        self.drop_descriptors()
        await self._stream.aclose()
