"""The daemon's end of the control socket, for tests: the real codec, real descriptors, one real commit thread."""

import array
import contextlib
import os
import queue
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from csfs.core.changes import Change, ChangeKind
from csfs.core.objects import Stamp
from csfs.core.paths import RelPath
from csfs.store.attributes import stamp_of
from csfs.wire.codec import CONTROL_FRAME_SIZE_MAX, FrameCodec
from csfs.wire.control import (
    KEPT,
    STAGE,
    Action,
    Behind,
    Commit,
    CommitResult,
    CommitResults,
    Commits,
    ControlMessage,
    Digested,
    Flush,
    Flushed,
    LetGo,
    MountHello,
    MountWelcome,
    ParentHello,
    ParentWelcome,
    Rows,
    Unmounted,
)

WAIT_S = 10.0
T = TypeVar("T")
M = TypeVar("M")


class FakeDaemon:
    """Accepts a parent and a mount, collects what they say, announces commits and makes them."""

    def __init__(self, path: str, *, has_digested: bool = True) -> None:
        self._has_digested = has_digested
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(path)
        self._server.listen()
        self._path = path
        self.parent_hellos: queue.Queue[ParentHello] = queue.Queue()
        self.mount_hellos: queue.Queue[MountHello] = queue.Queue()
        self.messages: queue.Queue[ControlMessage] = queue.Queue()
        self.rows: list[Change] = []
        self.clone = self.root = -1
        self.digested = 0
        self._connections: list[socket.socket] = []
        self._mount: socket.socket | None = None
        self._codec = self._new_codec()
        self._next_id = 0
        self.commit_thread = ThreadPoolExecutor(1)
        self.commit_thread_id = self.commit_thread.submit(threading.get_native_id).result()
        self._threads = [threading.Thread(target=self._accepting)]
        self._threads[0].start()

    def _new_codec(self) -> FrameCodec[ControlMessage]:
        return FrameCodec(ControlMessage, "mount", CONTROL_FRAME_SIZE_MAX)

    def _accepting(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serving, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serving(self, connection: socket.socket) -> None:
        codec = self._new_codec()
        try:
            while True:
                data, ancillary, _, _ = connection.recvmsg(1 << 20, socket.CMSG_SPACE(8))
                if not data:
                    return
                descriptors = array.array("i")
                for _, _, raw in ancillary:
                    descriptors.frombytes(raw)
                codec.receive(data)
                while (message := codec.next_message()) is not None:
                    self._take(message, connection, list(descriptors))
        except OSError:
            return

    def _take(self, message: ControlMessage, connection: socket.socket, descriptors: list[int]) -> None:
        match message:
            case ParentHello():
                self.let_go()
                self.clone, self.root = descriptors
                connection.sendall(self._codec.encoded(ParentWelcome()))
                self.parent_hellos.put(message)
            case Unmounted(volume):
                self.let_go()
                connection.sendall(self._codec.encoded(LetGo(volume)))
            case MountHello():
                self._mount = connection
                self.digested = message.last
                self.send(MountWelcome(message.last if self._has_digested else 0, (self.commit_thread_id,)))
                self.mount_hellos.put(message)
            case Rows(changes):
                self.rows.extend(changes)
            case _:
                self.messages.put(message)

    # --------------------------------------------------------------------------------------------------- for the tests

    def send(self, message: ControlMessage) -> None:
        assert self._mount is not None
        self._mount.sendall(self._codec.encoded(message))

    def send_raw(self, data: bytes) -> None:
        assert self._mount is not None
        self._mount.sendall(data)

    def drop_mount(self) -> None:
        """Hang up on the mount, which will connect again."""
        assert self._mount is not None
        self._mount.shutdown(socket.SHUT_RDWR)

    def expect(self, kind: type[M]) -> M:
        """Return the next message, which must be of this kind."""
        message = self.messages.get(timeout=WAIT_S)
        assert isinstance(message, kind), message
        return message

    def wait_connected(self) -> MountHello:
        self.parent_hellos.get(timeout=WAIT_S)
        return self.mount_hellos.get(timeout=WAIT_S)

    def flushed(self) -> list[Change]:
        """Return the rows since the last call, all that was done before it included, and take them as digested."""
        # close(2) does not wait for the mount, but a request made after it does: the kernel keeps their order.
        os.fstatvfs(self.clone)
        self.send(Flush(1))
        while not isinstance(message := self.messages.get(timeout=WAIT_S), Flushed):
            assert isinstance(message, Behind)
        rows, self.rows = self.rows, []
        if rows:
            assert [row.sequence for row in rows] == list(range(self.digested + 1, message.sequence + 1))
        self.digested = message.sequence
        return rows

    def told(self) -> list[tuple[ChangeKind, bytes, bytes | None]]:
        return [(row.kind, row.path, row.target) for row in self.flushed()]

    def prepare(self) -> None:
        """Make the reserved directory, underneath."""
        for name in (b".csfs", STAGE, KEPT):
            os.mkdir(name, 0o700, dir_fd=self.root)

    def stage(self, name: bytes, content: bytes, mode: int = 0o644) -> bytes:
        """Stage a file and return its name."""
        descriptor = os.open(STAGE + b"/" + name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode, dir_fd=self.root)
        os.write(descriptor, content)
        os.close(descriptor)
        return name

    def stamp(self, path: bytes) -> Stamp | None:
        """Return the stamp that a path shows underneath."""
        try:
            return stamp_of(os.stat(path, dir_fd=self.root, follow_symlinks=False))
        except FileNotFoundError:
            return None

    def read(self, path: bytes) -> bytes:
        """Return a file's content underneath."""
        with open(os.open(path, os.O_RDONLY, dir_fd=self.root), "rb") as file:
            return file.read()

    def announce(self, path: bytes, expected: Stamp | None, action: Action) -> CommitResult:
        """Announce one commit and return the mount's answer."""
        self._next_id += 1
        self.send(Commits((Commit(self._next_id, self.digested, RelPath(path), expected, action),)))
        return self.result()

    def result(self) -> CommitResult:
        results = self.expect(CommitResults).results
        assert [result.id for result in results] == [self._next_id]
        return results[0]

    def through(self, call: Callable[[], T]) -> T:
        """Make a system call from the commit thread."""
        return self.commit_thread.submit(call).result(timeout=WAIT_S)

    def look(self, path: bytes) -> None:
        """Have the commit thread look through the mount at what may be there."""

        def look() -> None:
            with contextlib.suppress(FileNotFoundError):
                os.stat(path, dir_fd=self.clone, follow_symlinks=False)

        self.through(look)

    def install_through(self, staged: bytes, path: bytes) -> None:
        self.through(lambda: self.install_through_here(staged, path))

    def install_through_here(self, staged: bytes, path: bytes) -> None:
        os.rename(STAGE + b"/" + staged, path, src_dir_fd=self.clone, dst_dir_fd=self.clone)

    def digest(self) -> None:
        self.send(Digested(self.digested))

    def let_go(self) -> None:
        for descriptor in (self.clone, self.root):
            if descriptor >= 0:
                os.close(descriptor)
        self.clone = self.root = -1

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()
        for thread in self._threads:
            thread.join(WAIT_S)
        self.let_go()
        self.commit_thread.shutdown()
        Path(self._path).unlink()
