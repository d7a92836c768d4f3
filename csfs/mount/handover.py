"""The parent's end of the control socket: hands the mount to the daemon, asks for it back. Never blocks."""

import array
import logging
import os
import socket
from collections.abc import Callable

from csfs.errors import RemoteProtocolError
from csfs.wire.codec import CONTROL_FRAME_SIZE_MAX, FrameCodec
from csfs.wire.control import ControlMessage, LetGo, ParentHello, ParentWelcome, Unmounted

log = logging.getLogger(__name__)

RETRY_DELAY_S_MIN = 0.2
RETRY_DELAY_S_MAX = 2.0
RECEIVE_SIZE = 64 * 1024


class Handover:
    """The connection to the daemon, or the attempt to have one.

    `hello` makes the greeting and the two descriptors that go with it (which are closed once sent), or None while nothing is mounted.
    """

    def __init__(self, path: str, hello: Callable[[], tuple[ParentHello, tuple[int, int]] | None]) -> None:
        self._path = path
        self._hello = hello
        self._socket: socket.socket | None = None
        self._codec: FrameCodec[ControlMessage] = FrameCodec(ControlMessage, "daemon", CONTROL_FRAME_SIZE_MAX)
        self._retry_at = 0.0
        self._delay_s = RETRY_DELAY_S_MIN
        self.has_let_go = False

    @property
    def descriptor(self) -> int | None:
        """The socket, to be polled for reading."""
        return self._socket.fileno() if self._socket is not None else None

    def timeout_s(self, now: float) -> float | None:
        """Return how long to wait before the next attempt to connect; None while connected."""
        return None if self._socket is not None else max(0.0, self._retry_at - now)

    def connect_if_due(self, now: float) -> None:
        """Connect and greet, if there is no connection and it is time for another attempt."""
        if self._socket is not None or now < self._retry_at:
            return
        self._retry_at = now + self._delay_s
        self._delay_s = min(self._delay_s * 2, RETRY_DELAY_S_MAX)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            return
        self._socket = connection
        self._codec = FrameCodec(ControlMessage, "daemon", CONTROL_FRAME_SIZE_MAX)
        if self.greet():
            self._delay_s = RETRY_DELAY_S_MIN

    def greet(self) -> bool:
        """Hand over what is mounted now, if connected. Return whether that went out."""
        if self._socket is None:
            return False
        greeting = self._hello()
        if greeting is None:
            self.close()
            return False
        message, descriptors = greeting
        try:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
            self._socket.sendmsg([self._codec.encoded(message)], ancillary)
        except OSError as error:
            log.info("the daemon could not be greeted: %s", error)
            self.close()
            return False
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self.has_let_go = False
        return True

    def ask_to_let_go(self, volume: str) -> bool:
        """Tell the daemon that the host has unmounted; return whether there is a daemon to answer."""
        if self._socket is None:
            return False
        try:
            self._socket.send(self._codec.encoded(Unmounted(volume)))
        except OSError:
            self.close()
            return False
        return True

    def readable(self) -> None:
        """Take in what the daemon sent."""
        if self._socket is None:
            return
        try:
            data = self._socket.recv(RECEIVE_SIZE)
            if not data:
                raise ConnectionError("closed")
            self._codec.receive(data)
            while (message := self._codec.next_message()) is not None:
                if isinstance(message, LetGo):
                    self.has_let_go = True
                elif not isinstance(message, ParentWelcome):
                    raise RemoteProtocolError(f"daemon: {type(message).__name__} is not for a mount's parent")
        except BlockingIOError:
            return
        except (OSError, RemoteProtocolError) as error:
            log.info("the daemon's connection ended: %s", error)
            self.close()

    def close(self) -> None:
        """Hang up; a daemon that is gone holds nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
