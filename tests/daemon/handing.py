"""A daemon's side of one volume's mount, told by what a mount's parent and a mount process say on real sockets."""

import array
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from csfs.core.changes import Change, ChangeKind, Extent
from csfs.core.paths import RelPath
from csfs.daemon.connection import ControlConnection
from csfs.daemon.mounts import MountedVolume
from csfs.index.index import Index
from csfs.replicate.volume import Volume
from csfs.replicate.watcher import Watcher
from csfs.replicate.worker import VolumeWorker
from csfs.store.hashing import hash_bytes
from csfs.store.owners import Owners
from csfs.wire.codec import CONTROL_FRAME_SIZE_MAX, FrameCodec
from csfs.wire.control import (
    ControlMessage,
    Flush,
    Flushed,
    MountHello,
    MountWelcome,
    ParentHello,
    Refresh,
    Refreshed,
    Rows,
)
from tests.replicate.alone import rules_of

JOURNAL = b"a journal's number"
PARENT_PID = 4_000_001
"""Processes that there are not: no number is so large."""


class End:
    """One process's end of a connection to the daemon. `last` is the number of its last row."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._codec = FrameCodec[ControlMessage](ControlMessage, "daemon", CONTROL_FRAME_SIZE_MAX)
        self.last = 0
        self.welcomed = trio.Event()

    async def say(self, message: ControlMessage, *descriptors: int) -> None:
        """Send a message, and descriptors, which stay the caller's, along with it."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        await self._stream.socket.sendmsg([self._codec.encoded(message)], rights)

    async def listen(self) -> None:
        """Answer what a mount process answers, until the daemon hangs up."""
        async with self._stream:
            with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                await self._answer()

    async def _answer(self) -> None:
        while data := await self._stream.receive_some(65536):
            self._codec.receive(data)
            while (message := self._codec.next_message()) is not None:
                match message:
                    case Flush(token):
                        await self.say(Flushed(token, self.last))
                    case Refresh(token):
                        await self.say(Refreshed(token, ()))
                    case MountWelcome():
                        self.welcomed.set()

    async def wrote(self, path: bytes, *extents: Extent) -> None:
        """Tell that a program has written to a file."""
        self.last += 1
        change = Change(sequence=self.last, kind=ChangeKind.CONTENT, path=RelPath(path), extents=extents)
        await self.say(Rows((change,)))

    async def end(self) -> None:
        """The process is killed."""
        await self._stream.aclose()


class Held:
    """The volume, its workers at work, and the directory underneath."""

    def __init__(self, directory: Path, nursery: trio.Nursery, watched: bool) -> None:
        self.tree = directory / "tree"
        self.tree.mkdir()
        index = Index(str(directory / "index.db"), member="alpha", boot=b"boot", founding=True)
        self.worker = VolumeWorker(Volume("v", index=index, rules=rules_of("v"), member="alpha", owners=Owners()))
        self.worker.underneath.configure(watch=watched, interval_s=0)
        self.volume = self.worker.volume
        self.journal = str(directory / "journal.db")
        self.watcher = Watcher()
        self.mounted = MountedVolume(self.worker, self.journal, self.watcher)
        self._nursery = nursery
        self.parent: End | None = None

    async def _connected(self, serve: Callable[[ControlConnection], object]) -> End:
        ours, theirs = trio.socket.socketpair(socket.AF_UNIX)

        async def served() -> None:
            connection = ControlConnection(trio.SocketStream(ours))
            try:
                await serve(connection)  # type: ignore[misc]
            finally:
                with trio.CancelScope(shield=True):
                    await connection.aclose()

        self._nursery.start_soon(served)
        end = End(trio.SocketStream(theirs))
        self._nursery.start_soon(end.listen)
        return end

    async def handed_over(self, mount_pid: int) -> None:
        """The mount's parent hands over the mount of a process."""
        if self.parent is None:
            self.parent = await self._connected(self._serve_parent)
        hello = ParentHello("v", os.fsencode(self.tree), PARENT_PID, mount_pid, 1)
        descriptors = [os.open(self.tree, os.O_RDONLY | os.O_DIRECTORY) for _ in range(2)]
        await self.parent.say(hello, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)

    async def _serve_parent(self, connection: ControlConnection) -> None:
        hello = await connection.receive()
        assert isinstance(hello, ParentHello)
        await self.mounted.serve_parent(hello, connection)

    async def began(self, pid: int, last: int, *, cut: bool = False, clean: bool = False) -> End:
        """A mount process says hello; `clean`: rows tell of all that was done since the one before."""

        async def serve(connection: ControlConnection) -> None:
            hello = await connection.receive()
            assert isinstance(hello, MountHello)
            await self.mounted.serve_mount(hello, connection)

        end = await self._connected(serve)
        end.last = last
        await end.say(MountHello("v", pid, JOURNAL, 1, last, clean=clean, cut=cut))
        return end

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when something holds of the volume."""
        with trio.fail_after(10):
            await self.volume.progress.wait_until(condition)

    async def compared(self) -> None:
        """Return when all is mounted, compared, and looked at, and nothing is left to do."""
        worker = self.worker
        await self.until(lambda: self.volume.may_apply and worker.is_compared and worker.observer.idle)
        await self.until(lambda: worker.directories.idle and worker.applier.idle)

    def recorded(self, path: bytes) -> bytes:
        """Return the hash of what the index says is at a path."""
        row = self.volume.index.rows.row(RelPath(path))
        assert row is not None
        assert row.applied.observation is not None
        return row.applied.observation.hash

    def there(self, path: bytes) -> bytes:
        """Return the hash of what is at a path."""
        return hash_bytes((self.tree / os.fsdecode(path)).read_bytes())[0]


@asynccontextmanager
async def held(
    directory: Path, files: Sequence[tuple[str, bytes]] = (), *, watched: bool = False
) -> AsyncIterator[Held]:
    """Give a volume that has these files, and that nobody has mounted yet; `watched`: for changes underneath."""
    async with trio.open_nursery() as nursery:
        one = Held(directory, nursery, watched)
        for name, data in files:
            (one.tree / name).write_bytes(data)
        nursery.start_soon(one.worker.run)
        nursery.start_soon(one.watcher.run)
        yield one
        nursery.cancel_scope.cancel()
    await one.mounted._let_go_now()
    one.worker.close()
