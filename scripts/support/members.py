"""Real members on one machine: each has a home of its own, a daemon, and a mount over a directory of its own."""

import contextlib
import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from csfs.cli import client
from csfs.config.home import VARIABLE, Home, chosen
from csfs.errors import CsfsError
from csfs.mount import mountinfo

VOLUME = "files"


class Member:
    """One member. `tree` is the directory that is kept the same; `port` where its daemon listens."""

    def __init__(self, base: Path, name: str, port: int, prefix: tuple[str, ...] = (), host: str = "127.0.0.1") -> None:
        self.name = name
        self.address = f"{host}:{port}"
        self.directory = base / name
        self.tree = self.directory / "tree"
        self.home: Home = chosen(str(self.directory / "home"))
        self._prefix = prefix
        self._underneath = -1

    def csfs(self, *arguments: str, check: bool = True, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a csfs command as this member."""
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=timeout_s, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{self.name}: csfs {' '.join(arguments)}: exit {done.returncode}: {done.stderr}")
        return done

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a csfs command as this member."""
        return [*self._prefix, sys.executable, "-m", "csfs.cli.main", "--home", str(self.home.root), *arguments]

    def ask(self, command: str, timeout_s: float = 60.0, **arguments: object) -> Any:
        """Ask this member's daemon what the command line would ask, without starting a process."""
        return client.ask(self.home, command, dict(arguments), timeout_s=timeout_s)

    def found(self, *options: str) -> None:
        """Make a cluster of one, with the tree as its volume; `options` are those of `csfs volume add`."""
        self._prepare()
        self.csfs("init", "--member", self.name, "--listen", self.address)
        self.csfs("volume", "add", VOLUME, str(self.tree), *options)

    def join(self, other: "Member", *options: str) -> None:
        """Become a member of the cluster of `other`."""
        self._prepare()
        token = other.csfs("invite", self.name).stdout.strip()
        listening = ("--listen", self.address, "--path", f"{VOLUME}={self.tree}")
        self.csfs("join", other.address, token, *listening, *options)

    def _prepare(self) -> None:
        self.tree.mkdir(parents=True, exist_ok=True)
        if self._underneath < 0:
            self._underneath = os.open(self.tree, os.O_PATH | os.O_DIRECTORY)

    @property
    def underneath(self) -> Path:
        """The directory underneath, also while it is mounted over."""
        return Path(f"/proc/self/fd/{self._underneath}")

    def mount(self) -> None:
        """Mount the tree; starts the daemon if none runs."""
        self.csfs("mount", str(self.tree))

    def umount(self, *options: str) -> None:
        """Unmount the tree."""
        self.csfs("umount", *options, str(self.tree))

    def wait(self, timeout_s: float = 60.0, peers: Sequence[str] = ()) -> None:
        """Return when every connected member, or these `peers`, connected or not, have applied all that was written here before."""
        self.ask("wait", timeout_s + 5, path=None, peers=list(peers), timeout=timeout_s)

    def status(self) -> dict[str, Any]:
        """Return what `csfs status --json` tells."""
        return dict(self.ask("status", path=None))

    def volume(self) -> dict[str, Any]:
        """Return the status of the one volume."""
        return dict(self.status()["volumes"][0])

    def peer(self) -> dict[str, Any]:
        """Return the status of the one peer."""
        return dict(self.status()["peers"][0])

    @property
    def daemon_pid(self) -> int:
        """The daemon's process id."""
        return int(self.home.daemon_pid.read_text())

    @property
    def parent_pid(self) -> int:
        """The process id of the mount's parent."""
        return int(self.home.mount_pid(VOLUME).read_text().split()[0])

    @property
    def mount_pid(self) -> int:
        """The process id of the mount process."""
        return int(self.home.mount_pid(VOLUME).read_text().split()[1])

    @property
    def is_mounted(self) -> bool:
        """Whether csfs is mounted over the tree."""
        mount = mountinfo.top_at(mountinfo.current(), str(self.tree))
        return mount is not None and mount.type == mountinfo.TYPE

    def start_daemon(self) -> None:
        """Start the daemon unless it runs."""
        start = "from csfs.cli import starting; from csfs.config import home; starting.ensure_daemon(home.chosen())"
        environment = os.environ | {VARIABLE: str(self.home.root)}
        subprocess.run([*self._prefix, sys.executable, "-c", start], env=environment, check=True, timeout=60)

    def stop_daemon(self) -> None:
        """End the daemon as systemd does, and wait for its end."""
        kill(self.daemon_pid, signal.SIGTERM)

    def kill_daemon(self) -> None:
        """Kill the daemon with SIGKILL and wait for its end."""
        kill(self.daemon_pid, signal.SIGKILL)

    def kill_mount(self) -> None:
        """Kill the mount process with SIGKILL, and wait until its parent has mounted again."""
        before = self.mount_pid
        kill(before, signal.SIGKILL)
        until(lambda: self.mount_pid != before and self.is_mounted, f"{self.name} is mounted again")

    def kill_parent(self) -> None:
        """Kill the mount's parent with SIGKILL and wait for its end."""
        kill(self.parent_pid, signal.SIGKILL)

    def journal_last(self) -> int:
        """Return the number of the last change in the journal."""
        with contextlib.closing(sqlite3.connect(f"file:{self.home.journal(VOLUME)}?mode=ro", uri=True)) as journal:
            return int(journal.execute("SELECT coalesce(max(sequence), 0) FROM changes").fetchone()[0])

    def versions_made(self) -> int:
        """Return how many versions this member has made, of all paths."""
        with contextlib.closing(sqlite3.connect(f"file:{self.home.index(VOLUME)}?mode=ro", uri=True)) as index:
            return int(index.execute("SELECT value FROM facts WHERE key = 'counter'").fetchone()[0])

    def commits_under_way(self) -> bool:
        """Return whether the mount was told of commits whose outcome is not recorded."""
        with contextlib.closing(sqlite3.connect(f"file:{self.home.index(VOLUME)}?mode=ro", uri=True)) as index:
            return bool(index.execute("SELECT count(*) FROM intents").fetchone()[0])

    def logs(self) -> str:
        """Return what daemon and mount have logged so far."""
        found = [log for log in (self.home.daemon_log, self.home.mount_log(VOLUME)) if log.exists()]
        return "".join(log.read_text(errors="replace") for log in found)

    def stop(self) -> None:
        """End everything that runs, whatever state it is in."""
        with contextlib.suppress(Exception):
            self.csfs("umount", "--lazy", str(self.tree), check=False, timeout_s=20)
        with contextlib.suppress(OSError, ValueError):
            kill(self.daemon_pid, signal.SIGTERM)
        with contextlib.suppress(OSError, ValueError):
            kill(self.parent_pid, signal.SIGKILL)
        subprocess.run(["umount", "-l", str(self.tree)], capture_output=True, check=False)
        if self._underneath >= 0:
            os.close(self._underneath)
            self._underneath = -1


def kill(pid: int, number: signal.Signals, timeout_s: float = 20.0) -> None:
    """Send a signal and wait until the process has ended."""
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, number)
        select.select([descriptor], [], [], timeout_s)
    finally:
        os.close(descriptor)


def free_port() -> int:
    """Return a port that nobody uses, and that nobody is given until this process ends, whoever else asks for one on this machine."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    # Whoever names the port, and says the same, as listeners do, may listen there: this socket never does.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port = int(held.getsockname()[1])
    held.detach()
    return port


def until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Return when `condition` holds; it may raise while what it asks is not there."""
    deadline = time.monotonic() + timeout_s
    last: object = None
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except (CsfsError, OSError, ValueError, IndexError, KeyError) as error:
            last = error
        time.sleep(0.005)
    raise AssertionError(f"not within {timeout_s} s: {what} ({last})")


@contextlib.contextmanager
def two_members(
    base: Path,
    source: Path | None = None,
    *,
    mounted: bool = True,
    names: tuple[str, str] = ("alpha", "beta"),
    options: tuple[str, ...] = (),
    braked: bool = False,
    group: str = "",
) -> Iterator[tuple[Member, Member]]:
    """Give two members that replicate copies of `source` (or an empty directory); end both at the end."""
    first, second = (Member(base, name, free_port()) for name in names)
    try:
        with cluster_of(first, second, source, mounted=mounted, options=options, braked=braked, group=group):
            yield first, second
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextlib.contextmanager
def cluster_of(
    first: Member,
    second: Member,
    source: Path | None = None,
    *,
    mounted: bool = True,
    clear: bool = True,
    options: tuple[str, ...] = (),
    braked: bool = False,
    group: str = "",
) -> Iterator[None]:
    """Make a cluster of two members with copies of `source`; end both, and with `clear` remove what was theirs, at the end.

    `options` are those of `csfs volume add`; `braked`: the volume has the brake that volumes have; `group` are lines of its group.
    """
    try:
        for member in (first, second):
            member.directory.mkdir(parents=True, exist_ok=True)
            if source is not None:
                subprocess.run(["cp", "-a", str(source), str(member.tree)], check=True)
        first.found(*options)
        if not braked:
            without_brake(first)
        if group:
            with first.home.settings_file.open("a") as settings:
                settings.write(f"\n[[volumes.{VOLUME}.groups]]\n{group}\n")
        second.join(first)
        if mounted:
            first.mount()
            second.mount()
            replicating(first, second)
        yield
    finally:
        for member in (first, second):
            member.stop()
            if clear:
                shutil.rmtree(member.directory, ignore_errors=True)


def without_brake(founder: Member) -> None:
    """Have whatever is removed at once be removed everywhere: nobody is there to approve of it. To be called before others join."""
    settings = founder.home.settings_file
    settings.write_text(settings.read_text().replace(f"[volumes.{VOLUME}]", f'[volumes.{VOLUME}]\nbrake = "off"', 1))


def replicating(*members: Member, timeout_s: float = 120.0) -> None:
    """Return when all members replicate, and have told each other all that they know."""
    for member in members:
        until(lambda m=member: m.volume()["state"] == "replicating", f"{member.name} replicates", timeout_s)  # type: ignore[misc]
        until(lambda m=member: m.peer()["connected"], f"{member.name} is connected")  # type: ignore[misc]
    for _ in range(2):
        all_have_applied(*members, timeout_s=timeout_s)


def all_have_applied(*members: Member, timeout_s: float = 60.0) -> None:
    """Return when each has applied what was written at the others before, also where a link is yet to be made."""
    for member in members:
        member.wait(timeout_s, [other.name for other in members if other is not member])
