"""Three network namespaces, each two of them joined by a cable of their own: it can be cut, and what crosses it is counted."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from itertools import combinations

CORNERS = range(3)
PREFIX_LENGTH = 24
Side = tuple[int, int]


class Triangle:
    """Three hosts. `prefixes` start a program at each, `addresses` are where each is called by the others, by any of its cables."""

    def __init__(self, name: str) -> None:
        self._names = tuple(f"{name}-{corner}" for corner in CORNERS)
        self.prefixes = tuple(("nsenter", f"--net=/run/netns/{one}") for one in self._names)
        self._cables: dict[Side, str] = {side: f"cable{number}" for number, side in enumerate(combinations(CORNERS, 2))}
        self.addresses = tuple(
            tuple(self._address(side, corner) for side in self._cables if corner in side) for corner in CORNERS
        )

    def _address(self, side: Side, corner: int) -> str:
        return f"198.51.{100 + list(self._cables).index(side)}.{corner + 1}"

    def build(self) -> None:
        """Make the namespaces and the cables."""
        for name in self._names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        for side, cable in self._cables.items():
            one, other = (self._names[corner] for corner in side)
            _ip("link", "add", cable, "netns", one, "type", "veth", "peer", "name", cable, "netns", other)
            for corner in side:
                address = f"{self._address(side, corner)}/{PREFIX_LENGTH}"
                _ip("-n", self._names[corner], "address", "add", address, "dev", cable)
                self._set(side, corner, "up")

    def remove(self) -> None:
        """Remove what `build` made, or got to make."""
        for name in self._names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)

    def cut(self, *sides: Side) -> None:
        """Nothing crosses these cables any more, and nobody is told."""
        for side in sides:
            self._set(side, side[0], "down")

    def heal(self, *sides: Side) -> None:
        """These cables are whole again."""
        for side in sides:
            self._set(side, side[0], "up")

    def crossed(self, side: Side) -> int:
        """Return the bytes that have crossed a cable, both ways."""
        line = ["ip", "-n", self._names[side[0]], "-s", "-j", "link", "show", self._cables[side]]
        done = subprocess.run(line, check=True, capture_output=True, text=True, timeout=20)
        (found,) = json.loads(done.stdout)
        return int(found["stats64"]["rx"]["bytes"]) + int(found["stats64"]["tx"]["bytes"])

    def _set(self, side: Side, corner: int, state: str) -> None:
        _ip("-n", self._names[corner], "link", "set", self._cables[side], state)


@contextlib.contextmanager
def triangle() -> Iterator[Triangle]:
    """Give a network of three."""
    made = Triangle(f"csfs{os.getpid()}t")
    try:
        made.build()
        yield made
    finally:
        made.remove()


def _ip(*arguments: str) -> None:
    subprocess.run(("ip", *arguments), check=True, capture_output=True, timeout=20)
