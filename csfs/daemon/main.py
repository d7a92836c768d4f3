"""The daemon: builds its rooms, runs them in one nursery, and listens on the control socket."""

import contextlib
import errno
import fcntl
import gc
import logging
import os
import signal
import socket
import stat
import sys
from pathlib import Path

import trio

from csfs.config import render
from csfs.config.home import Home
from csfs.daemon import cluster as clusters
from csfs.daemon.cluster import Cluster
from csfs.daemon.commands import Commands
from csfs.daemon.connection import ControlConnection
from csfs.daemon.refusing import refused
from csfs.daemon.unusable import Unusable
from csfs.daemon.volumes import Volumes
from csfs.errors import ConfigError, CsfsError, FoundError, RemoteProtocolError, UnwritableError
from csfs.mount import memory
from csfs.replicate.exchange import PeerSession
from csfs.replicate.link import Link
from csfs.replicate.listener import LinkProblem
from csfs.replicate.network import PeerNetwork
from csfs.replicate.watcher import Watcher
from csfs.store import heap
from csfs.wire.control import MountHello, ParentHello, Progress, Request

log = logging.getLogger(__name__)

PROGRESS_S = 0.5
RETRY_S = 10.0
"""Until a volume is tried again that could not follow the configuration for want of room."""
_PEER_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class Daemon:
    """One member's daemon."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._cluster: Cluster = clusters.load(home, self._settings_changed)
        self._first = self._cluster.host
        self._unusable = Unusable()
        self._watcher = Watcher()
        self._volumes = Volumes(home, self._cluster, self._watcher, self._unusable, self._greet_anew)
        self._network = PeerNetwork(
            self._cluster.credentials,
            self._cluster.host.listen,
            self._cluster.peers,
            self._on_link,
            report=self._report,
            inviter=self._cluster.inviter,
            revoked=self._cluster.revoked,
        )
        self._commands = Commands(self._cluster, self._volumes.mounts, self._unusable, self._network, self._reload)
        self._links: dict[str, Link] = {}
        self._nursery: trio.Nursery | None = None
        self._reload_wanted = trio.Event()
        self._is_retrying = False
        self._reloading = trio.Lock()

    async def run(self) -> None:
        """Run until stopped.

        Raises:
            CsfsError: it cannot start; nothing is left running.
        """
        listener, relayed = (_listener_at(path) for path in (self._home.control_socket, self._home.peer_socket))
        if not self._cluster.credentials.is_valid_now:
            log.warning("this host's clock is wrong, or its certificate too old: no peer takes it until that is mended")
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._volumes.begin(nursery)
                await nursery.start(self._network.run, relayed)
                nursery.start_soon(self._serve_control, listener)
                nursery.start_soon(self._reload_when_wanted)
                nursery.start_soon(self._watcher.run)
                await self._wait_signal()
                nursery.cancel_scope.cancel()
        finally:
            listener.socket.close()
            relayed.socket.close()
            for path in (self._home.control_socket, self._home.peer_socket):
                path.unlink(missing_ok=True)
            self._volumes.close()

    async def _wait_signal(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            log.info("member %s of cluster %s", self._cluster.member, self._cluster.settings.cluster)
            async for number in signals:
                if number != signal.SIGHUP:
                    return
                self._settings_changed()

    # ---------------------------------------------------------------------------------------------------- configuration

    def _greet_anew(self) -> None:
        """This member has become another incarnation, which its peers have to hear first of all."""
        assert self._nursery is not None
        self._nursery.start_soon(self._network.restart_links, "this member was restored or cloned")

    def _settings_changed(self) -> None:
        self._reload_wanted.set()

    async def _reload_when_wanted(self) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted = trio.Event()
            try:
                for notice in await self._reload():
                    log.warning("%s", notice)
            except UnwritableError:
                pass  # said already, and tried again
            except CsfsError as error:
                log.error("the configuration stays as it was: %s", error)

    async def _reload(self) -> list[str]:
        """Read the configuration again and do as it says; return what of it does not count as one may think.

        Raises:
            ConfigError: it cannot be used; all stays as it was.
            UnwritableError: one volume cannot be worked on as it says, for want of room; that is tried again, and all others do.
        """
        async with self._reloading:  # a command and a signal may come together
            return await self._reload_alone()

    async def _reload_alone(self) -> list[str]:
        before = self._cluster.settings
        self._cluster.reload()
        settings = self._cluster.settings
        logging.getLogger().setLevel(self._cluster.host.log_level.upper())
        self._unusable.keep_only({volume.name for volume in settings.volumes})
        waiting = self._volumes.waiting
        unwritable = await self._volumes.follow_settings()
        for peer, link in self._links.items():
            link.set_rate(self._cluster.host.send_rate(peer))
        self._network.update_peers(self._cluster.peers, self._cluster.revoked)
        # What two members share may not be what it was, and settings are told in a greeting: they greet each other anew.
        if render.digest(settings) != render.digest(before):
            await self._network.restart_links("the configuration changed")
        elif waiting - self._volumes.waiting:
            await self._network.restart_links("a volume that stood still, or could not follow, can be worked on")
        if unwritable:
            self._reload_later()
            raise unwritable[0]
        return self._cluster.notices(before, self._first)

    def _reload_later(self) -> None:
        """Try again in a while, once however many attempts have failed by then."""
        if not self._is_retrying:
            assert self._nursery is not None
            self._is_retrying = True
            self._nursery.start_soon(self._reload_again)

    async def _reload_again(self) -> None:
        await trio.sleep(RETRY_S)
        self._is_retrying = False
        self._settings_changed()

    # ---------------------------------------------------------------------------------------------------------- network

    async def _on_link(self, peer: str, link: Link) -> None:
        workers = {name: w for name, w in self._volumes.workers.items() if w.volume.scopes(peer)}
        log.info("connected to %s", peer)
        self._links[peer] = link
        link.set_rate(self._cluster.host.send_rate(peer))
        try:
            await PeerSession(peer, link, workers, self._cluster).run()
        finally:
            del self._links[peer]
            log.info("disconnected from %s", peer)

    def _report(self, problem: LinkProblem) -> None:
        log.debug("refused %s: %s", problem.remote, problem.reason)

    # --------------------------------------------------------------------------------------------------- control socket

    async def _serve_control(self, listener: trio.SocketListener) -> None:
        async with trio.open_nursery() as nursery:
            await trio.serve_listeners(self._serve_connection, [listener], handler_nursery=nursery)

    async def _serve_connection(self, stream: trio.SocketStream) -> None:
        """Serve one connection; whatever happens on it ends nothing but it."""
        connection = ControlConnection(stream)
        try:
            await self._converse(connection)
        except* _PEER_GONE:
            pass
        except* (RemoteProtocolError, UnwritableError) as group:
            log.warning("%s", _first_error(group))
        except* Exception:
            log.exception("unexpected error on the %s", connection.source)
        finally:
            with trio.CancelScope(shield=True):
                await connection.aclose()

    async def _answer(self, connection: ControlConnection, request: Request) -> None:
        """Answer one request; of what there is to show on the way, the last word is said every now and then."""
        latest: list[object] = []

        async def report() -> None:
            while True:
                await trio.sleep(PROGRESS_S)
                if latest:
                    with trio.CancelScope(shield=True):  # half a message would be the end of the conversation
                        await connection.send(Progress(latest.pop()))
                    latest.clear()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(report)
            reply = refused(request, connection.uid) or await self._commands.answer(request, latest.append)
            nursery.cancel_scope.cancel()
        await connection.send(reply)

    async def _converse(self, connection: ControlConnection) -> None:
        first = await connection.receive()
        match first:
            case Request():
                await self._answer(connection, first)
            case ParentHello() | MountHello() if connection.uid == 0:
                mounted = self._volumes.mounts.get(first.volume)
                if mounted is None:
                    if first.volume not in self._unusable:
                        log.warning("%s: a mount of a volume that is not in the configuration", first.volume)
                    await self._unusable.hold(first.volume, connection)
                elif isinstance(first, ParentHello):
                    await mounted.serve_parent(first, connection)
                else:
                    await mounted.serve_mount(first, connection)
            case None:
                pass
            case _:
                raise RemoteProtocolError(f"{connection.source}: began with {type(first).__name__}")


def _listener_at(path: Path) -> trio.SocketListener:
    """Return a socket that root alone can reach; the caller holds the daemon's lock, so what is there is left over."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigError(f"{path} is not a socket; move it away")
        path.unlink()
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        before = os.umask(0o177)
        try:
            opened.bind(str(path))
        finally:
            os.umask(before)
        opened.listen(64)
    except OSError as error:
        opened.close()
        raise ConfigError(f"{path}: {error.strerror}") from error
    return trio.SocketListener(trio.socket.from_stdlib_socket(opened))


def _lock(home: Home) -> int:
    """Return a descriptor that holds the lock of the one daemon of this home, whose process id is in the file."""
    descriptor = os.open(home.daemon_pid, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 32).decode().strip()
        os.close(descriptor)
        if error.errno in (errno.EAGAIN, errno.EWOULDBLOCK):
            raise FoundError(f"a daemon runs already (process {holder})") from None
        raise
    os.ftruncate(descriptor, 0)
    os.write(descriptor, b"%d\n" % os.getpid())
    return descriptor


def _first_error(group: BaseExceptionGroup[CsfsError]) -> CsfsError:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, CsfsError)
    return first


def run(home: Home) -> None:
    """Run the daemon in the foreground until SIGTERM or SIGINT; SIGHUP reads the configuration again.

    Raises:
        CsfsError: it cannot start, or had to stop; one line says why.
    """
    home.made()
    lock = _lock(home)
    try:
        heap.keep_together()
        memory.raise_descriptors()
        memory.spare(memory.DAEMON)
        daemon = Daemon(home)
        logging.raiseExceptions = False  # a log on a full disk loses lines, and nothing else comes of it
        level = daemon._cluster.host.log_level.upper()
        logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        heap.give_back()  # what was needed to begin
        # What was made at the start stays: collections later need not look at it, nor run after every few messages.
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        trio.run(daemon.run)
    except BaseExceptionGroup as group:
        known = group.subgroup(CsfsError)
        if known is None:
            raise
        raise _first_error(known) from group
    finally:
        os.close(lock)
