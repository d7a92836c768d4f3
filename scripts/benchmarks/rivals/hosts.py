"""Two hosts on one machine: a network namespace and a control group each, which count bytes and CPU time whoever spends them."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.networks import Network

CGROUPS = Path("/sys/fs/cgroup")
ENTER = 'echo $$ >"$0" && exec "$@"'
"""What puts a program, and all that it starts, into a control group."""


class ControlGroup:
    """Processes whose CPU time is counted together, also of those that have ended."""

    def __init__(self, name: str) -> None:
        self._is_old = (CGROUPS / "cpuacct").is_dir()
        self._directory = (CGROUPS / "cpuacct" if self._is_old else CGROUPS) / name

    def make(self) -> None:
        """Make the group."""
        self._directory.mkdir(exist_ok=True)

    def remove(self) -> None:
        """Remove the group, whose processes have to have ended."""
        with contextlib.suppress(OSError):
            self._directory.rmdir()

    @property
    def procs(self) -> Path:
        """The file that lists the group's processes."""
        return self._directory / "cgroup.procs"

    def pids(self) -> list[int]:
        """Return the processes that live."""
        return [int(line) for line in self.procs.read_text().split()]

    def cpu_s(self) -> float:
        """Return the CPU seconds that the group has used."""
        if self._is_old:
            return int((self._directory / "cpuacct.usage").read_text()) / 1e9
        usage = (self._directory / "cpu.stat").read_text().split()
        return int(usage[usage.index("usage_usec") + 1]) / 1e6


@dataclass
class Host:
    """One of the two. `tree` is where its programs work, `underneath` where the files are on disk."""

    name: str
    address: str
    directory: Path
    group: ControlGroup
    enter_network: tuple[str, ...]
    peer: str = ""
    """The other one's address."""
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def tree(self) -> Path:
        """The directory that is to be the same on both."""
        return self.directory / "tree"

    @property
    def prefix(self) -> tuple[str, ...]:
        """What starts a program on this host."""
        return (*self.enter_network, "sh", "-c", ENTER, str(self.group.procs))

    def start(self, *line: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a service of this host."""
        with (self.directory / "log").open("ab") as log:
            started = subprocess.Popen(
                [*self.prefix, *line],
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started.append(started)
        return started

    def run(self, *line: str, check: bool = True, **environment: str) -> str:
        """Run a command on this host and return what it prints.

        Raises:
            SystemExit: it fails; what it printed is in the message.
        """
        done = subprocess.run(
            [*self.prefix, *line],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check and done.returncode:
            raise SystemExit(f"{self.name}: {' '.join(line)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def end(self) -> None:
        """End all processes of this host."""
        for _ in range(50):
            pids = self.group.pids()
            if not pids:
                break
            for pid in pids:
                with contextlib.suppress(OSError):
                    os.kill(pid, 9)
            for started in self.started:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    started.wait(0.1)
        self.started.clear()

    def memory_mib(self) -> float:
        """Return the proportional share of memory (PSS) of all processes of this host, in MiB."""
        return sum(_pss_kib(pid) for pid in self.group.pids()) / 1024

    def read_bytes(self) -> int:
        """Return how many bytes the living processes of this host have asked the kernel for, sockets included."""
        return sum(_read_by(pid) for pid in self.group.pids())


class Pair:
    """The two hosts and the cable between them."""

    def __init__(self, base: Path, cable: Network, name: str) -> None:
        self._cable = cable
        self._name = name
        self.source, self.target = (
            Host(host, address, base / host, ControlGroup(f"{name}-{host}"), prefix)
            for host, address, prefix in zip(("alpha", "beta"), cable.addresses, cable.prefixes, strict=True)
        )
        self.source.peer, self.target.peer = self.target.address, self.source.address

    @contextlib.contextmanager
    def standing(self) -> Iterator[None]:
        """Make both hosts; end what runs on them at the end."""
        for host in self.both:
            host.group.make()
            host.tree.mkdir(parents=True)
        try:
            yield
        finally:
            for host in self.both:
                host.end()
                host.group.remove()

    @property
    def both(self) -> tuple[Host, Host]:
        """Source and target."""
        return self.source, self.target

    def cpu_s(self) -> float:
        """Return the CPU seconds of both hosts."""
        return sum(host.group.cpu_s() for host in self.both)

    def wire_bytes(self) -> int:
        """Return the bytes that went over the cable, both ways, as its counters have it: headers of all layers included."""
        line = [*self.source.enter_network, "ip", "-j", "-s", "link", "show", "type", "veth"]
        (cable,) = json.loads(subprocess.run(line, check=True, capture_output=True).stdout)
        both_ways = cable["stats64"]
        return int(both_ways["rx"]["bytes"]) + int(both_ways["tx"]["bytes"])

    def cut(self) -> None:
        """Nothing arrives any more."""
        self._cable.cut(1)

    def heal(self) -> None:
        """The cable is whole again."""
        self._cable.heal(1)


def _pss_kib(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def _read_by(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/io").read_text().split()[1])
    return 0
