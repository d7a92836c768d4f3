"""What is done to the members while they work: everything that kills, cuts and fills, drawn with a seed."""

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable

from scripts.soaking.hosts import Host
from scripts.support.members import kill, until
from tests.cluster.networks import Network

DOWN_S_MAX = 8.0
CUT_S_MAX = 25.0
FULL_S_MAX = 15.0
STOPPED_S_MAX = 6.0
UMOUNT_S_MAX = 10.0

Harm = tuple[str, Callable[[], None]]


class Harms:
    """Harm to do. `spare`: names of processes that must live on, so that their growth can be seen."""

    def __init__(self, hosts: tuple[Host, Host], network: Network, dice: random.Random) -> None:
        self._hosts = hosts
        self._network = network
        self._dice = dice
        self._ending = threading.Event()
        self.spare: frozenset[str] = frozenset()
        self.done: dict[str, int] = {}

    def wait(self, seconds: float) -> bool:
        """Wait that long, or until `end`; return whether to go on."""
        return not self._ending.wait(seconds)

    def end(self) -> None:
        """Stop waiting: harm under way is made good soon."""
        self._ending.set()

    def kill(self) -> str:
        """Kill something with SIGKILL and, a little later, do what systemd would; return what it was."""
        choices = [(host, parts) for host in self._hosts for parts in KILLS if not self._is_spared(host, parts)]
        host, parts = self._dice.choice(choices)
        return self._done(
            f"kill -9 {'+'.join(parts)} of {host.name}", f"kill {'+'.join(parts)}", self._killing(host, parts)
        )

    def disturb(self) -> str:
        """Do something else that happens to hosts; return what it was."""
        host = self._dice.choice(self._hosts)
        disturbances: list[tuple[str, Callable[[Host], None]]] = [
            ("cable cut", self._cut),
            ("cable cut", self._cut),
            ("tree's disk full", self._full_tree),
            ("state's disk full", self._full_state),
            ("umount, mount", self._remounted),
            ("daemon stopped, started", self._restarted),
            ("daemon hangs", self._hanging),
        ]
        name, disturb = self._dice.choice(
            [
                (name, one)
                for name, one in disturbances
                if not (self.spare and one in (self._remounted, self._restarted))
            ]
        )
        return self._done(f"{name} at {host.name}", name, lambda: disturb(host))

    def _done(self, text: str, name: str, harm: Callable[[], None]) -> str:
        self.done[name] = self.done.get(name, 0) + 1
        harm()
        return text

    def _is_spared(self, host: Host, parts: tuple[str, ...]) -> bool:
        return any(f"{part} of {host.name}" in self.spare for part in parts)

    def _killing(self, host: Host, parts: tuple[str, ...]) -> Callable[[], None]:
        def killing() -> None:
            pids = host.pids()
            for part in parts:
                if part in pids:
                    with contextlib.suppress(OSError):
                        kill(pids[part], signal.SIGKILL)
            if "daemon" in parts or "parent" in parts:
                self.wait(self._dice.uniform(0, DOWN_S_MAX if "mount" not in parts else 1.0))
            host.bring_back()

        return killing

    def _cut(self, host: Host) -> None:
        self._network.cut()
        self.wait(self._dice.uniform(1, CUT_S_MAX))
        self._network.heal()

    def _full_tree(self, host: Host) -> None:
        self._full(host, "tree")

    def _full_state(self, host: Host) -> None:
        self._full(host, "state")

    def _full(self, host: Host, what: str) -> None:
        host.fill(what)
        self.wait(self._dice.uniform(2, FULL_S_MAX))
        host.make_room()

    def _remounted(self, host: Host) -> None:
        """Unmount as soon as nobody has a file open, and mount again; leave it mounted if that does not happen.

        Not lazily: who had a file open then writes through the old mount, beside those on the plain directory.
        """
        deadline = time.monotonic() + UMOUNT_S_MAX
        while subprocess.run(["umount", host.member.tree], capture_output=True, check=False).returncode:
            if time.monotonic() > deadline or not self.wait(0.01):
                return
        until(lambda: not host.is_running("parent"), f"the parent of {host.name} has ended", 60)
        self.wait(self._dice.uniform(0, 2))
        host.member.mount()

    def _restarted(self, host: Host) -> None:
        host.member.stop_daemon()
        self.wait(self._dice.uniform(0, DOWN_S_MAX))
        host.member.start_daemon()

    def _hanging(self, host: Host) -> None:
        pid = host.pids().get("daemon")
        if pid is not None:
            os.kill(pid, signal.SIGSTOP)
            self.wait(self._dice.uniform(1, STOPPED_S_MAX))
            os.kill(pid, signal.SIGCONT)


KILLS = (
    ("mount",),
    ("mount",),
    ("daemon",),
    ("daemon",),
    ("parent",),
    ("daemon", "mount"),
    ("parent", "daemon", "mount"),
)
"""What is killed together; the last is all of a host."""
