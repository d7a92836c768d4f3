"""Network namespaces joined by cables that can be cut: hosts that have nothing but each other."""

import contextlib
import os
import subprocess
from collections.abc import Iterator

PREFIX_LENGTH = 24
RATE = "16mbit"


class Network:
    """A network of two. `prefixes` start a program at either end, where `addresses` are its own."""

    addresses = ("192.0.2.1", "192.0.2.2")

    def __init__(self, name: str) -> None:
        self._names = (f"{name}-1", f"{name}-2")
        self._cables = (f"{name}a", f"{name}b")
        # Unlike `ip netns exec` this changes nothing but the network: mounts are everybody's.
        self.prefixes = tuple(("nsenter", f"--net=/run/netns/{one}") for one in self._names)

    def build(self) -> None:
        """Make both namespaces and the cable."""
        for name in self._names:
            _ip("netns", "add", name)
        peer = ("peer", "name", self._cables[1], "netns", self._names[1])
        _ip("link", "add", self._cables[0], "netns", self._names[0], "type", "veth", *peer)
        for end, (name, cable, address) in enumerate(zip(self._names, self._cables, self.addresses, strict=True)):
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "address", "add", f"{address}/{PREFIX_LENGTH}", "dev", cable)
            self._set(end, "up")

    def remove(self) -> None:
        """Remove what `build` made, or got to make."""
        for name in self._names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)

    def cut(self, end: int = 0) -> None:
        """Nothing arrives any more, and nobody is told."""
        self._set(end, "down")

    def heal(self, end: int = 0) -> None:
        """The cable is whole again."""
        self._set(end, "up")

    def slow_down(self) -> None:
        """What leaves the first end takes its time."""
        rate = ("tbf", "rate", RATE, "burst", "64kb", "latency", "1s")
        _run("tc", "-n", self._names[0], "qdisc", "add", "dev", self._cables[0], "root", *rate)

    def speed_up(self) -> None:
        """All is fast again."""
        _run("tc", "-n", self._names[0], "qdisc", "delete", "dev", self._cables[0], "root")

    def _set(self, end: int, state: str) -> None:
        _ip("-n", self._names[end], "link", "set", self._cables[end], state)


class Switch:
    """A network of several hosts, each with a cable to the switch between them. `prefixes` and `addresses` as of `Network`."""

    def __init__(self, name: str, count: int) -> None:
        self._middle = f"{name}-0"
        self._names = tuple(f"{name}-{number + 1}" for number in range(count))
        self.addresses = tuple(f"192.0.2.{number + 1}" for number in range(count))
        self.prefixes = tuple(("nsenter", f"--net=/run/netns/{one}") for one in self._names)

    def build(self) -> None:
        """Make all namespaces, the switch and the cables."""
        _ip("netns", "add", self._middle)
        _ip("-n", self._middle, "link", "add", "switch", "type", "bridge")
        _ip("-n", self._middle, "link", "set", "switch", "up")
        for number, (name, address) in enumerate(zip(self._names, self.addresses, strict=True)):
            port = f"port{number}"
            _ip("netns", "add", name)
            _ip("link", "add", "cable", "netns", name, "type", "veth", "peer", "name", port, "netns", self._middle)
            _ip("-n", self._middle, "link", "set", port, "master", "switch", "up")
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "address", "add", f"{address}/{PREFIX_LENGTH}", "dev", "cable")
            self.heal(number)

    def remove(self) -> None:
        """Remove what `build` made, or got to make."""
        for name in (*self._names, self._middle):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)

    def cut(self, number: int) -> None:
        """Nothing leaves or reaches this host any more, and nobody is told."""
        _ip("-n", self._names[number], "link", "set", "cable", "down")

    def heal(self, number: int) -> None:
        """Its cable is whole again."""
        _ip("-n", self._names[number], "link", "set", "cable", "up")


@contextlib.contextmanager
def switched(count: int) -> Iterator[Switch]:
    """Give a network of several."""
    made = Switch(f"csfs{os.getpid()}s", count)
    try:
        made.build()
        yield made
    finally:
        made.remove()


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Give a network of two."""
    made = Network(f"csfs{os.getpid()}")
    try:
        made.build()
        yield made
    finally:
        made.remove()


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*line: str) -> None:
    subprocess.run(line, check=True, capture_output=True, timeout=20)
