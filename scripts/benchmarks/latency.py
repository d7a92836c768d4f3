"""Time from close() on one member to the new content being visible on the other; with --sync, time that close() itself takes."""

import argparse
import contextlib
import os
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from csfs.core import synchrony
from csfs.core.synchrony import Mode
from scripts.benchmarks.measuring import fresh_filesystem, percentile
from scripts.support.members import VOLUME, Member, free_port, two_members, until

VISIBLE_S_MAX = 10.0
POLL_S = 50e-6


def visible_after(source: Path, target: Path, name: str, content: bytes) -> tuple[float, float]:
    """Write a file and return (seconds the writer took, seconds from its close to the content at the other end).

    Whoever waits asks with stat, which the kernel answers from its cache until something changes, and reads then: opening the
    file again and again would keep the mount busy that is measured.
    """
    path = target / name
    before = _identity(path)
    begin = time.perf_counter()
    with open(source / name, "wb", buffering=0) as file:
        file.write(content)
    closed = time.perf_counter()
    while _identity(path) == before or _content(path) != content:
        if time.perf_counter() - closed > VISIBLE_S_MAX:
            raise SystemExit(f"{name} was not visible within {VISIBLE_S_MAX} s")
        time.sleep(POLL_S)
    return closed - begin, time.perf_counter() - closed


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # some take a file away before they put the new one there
        return None


@contextlib.contextmanager
def synchronous_member(place: Path, sync: str) -> Iterator[Member]:
    """Give one of as many members as it takes for programs to wait as `sync` says, all mounted."""
    mode, others = synchrony.parsed(sync)
    count = 3 if mode is Mode.QUORUM else 1 + others
    first, *rest = members = [Member(place, f"member{number}", free_port()) for number in range(count)]
    with contextlib.ExitStack() as ending:
        for member in members:
            member.directory.mkdir(parents=True)
            ending.callback(member.stop)
        first.found()
        for member in rest:
            member.join(first)
        text = first.home.settings_file.read_text()
        first.home.settings_file.write_text(f'{text}\n[[volumes.{VOLUME}.groups]]\nsync = "{sync}"\n')
        first.csfs("config", "reload")
        for member in members:
            if sync != "async":
                until(lambda m=member: sync in m.home.settings_file.read_text(), "all have the group")  # type: ignore[misc]
            member.mount()
            until(lambda m=member: m.volume()["state"] == "replicating", "all replicate")  # type: ignore[misc]
        until(lambda: (first.tree / "probe").touch() is None, "it may be written")  # type: ignore[func-returns-value]
        first.wait()
        yield first


def closing(place: Path, sync: str, count: int, size: int) -> None:
    """Print how long it takes to open and to close new files, and such as are there, one after the other."""
    dice = random.Random(1)
    with synchronous_member(place, sync) as member:
        for kind in ("new file", "overwritten"):
            opens, closes = list[float](), list[float]()
            for number in range(count):
                name = f"file-{number}" if kind == "new file" else f"file-{number % 20}"
                began = time.perf_counter()
                descriptor = os.open(member.tree / name, os.O_CREAT | os.O_WRONLY, 0o644)
                opened = time.perf_counter()
                os.write(descriptor, dice.randbytes(size))
                written = time.perf_counter()
                os.close(descriptor)
                closes.append((time.perf_counter() - written) * 1000)
                opens.append((opened - began) * 1000)
                time.sleep(0.01 + dice.random() * 0.02)
            figures = [percentile(of, share) for of in (opens, closes) for share in (0.5, 0.99)]
            print(f"{sync:<12}{kind:<14}" + "".join(f"{figure:>10.2f}" for figure in figures), flush=True)


def main() -> None:
    """Measure new files, and new content of files that are there."""
    parser = argparse.ArgumentParser(prog="scripts/bench latency", description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="writes of each kind")
    parser.add_argument("--size", type=int, default=1000, help="bytes of each file")
    waiting = "measure open and close in a group that waits so: async, received, durable(N), quorum (again)"
    parser.add_argument("--sync", action="append", default=[], metavar="MODE", help=waiting)
    options = parser.parse_args()
    if options.sync:
        print(f"{'ms':<12}{'':<14}{'open p50':>10}{'p99':>10}{'close p50':>10}{'p99':>10}")
        for number, sync in enumerate(options.sync):
            with fresh_filesystem() as place:
                closing(place / str(number), sync, options.count, options.size)
        return
    dice = random.Random(1)
    with fresh_filesystem() as place, two_members(place / "members") as (alpha, beta):
        print(f"{'ms':<14}{'writer p50':>11}{'p50':>8}{'p90':>8}{'p99':>8}{'max':>8}")
        for kind in ("new file", "overwritten"):
            writers, delays = [], []
            for number in range(options.count):
                source, target = (alpha, beta) if number % 2 else (beta, alpha)
                name = f"file-{number}" if kind == "new file" else f"file-{number % 20}"
                content = dice.randbytes(options.size)
                took, delay = visible_after(source.tree, target.tree, name, content)
                writers.append(took * 1000)
                delays.append(delay * 1000)
                time.sleep(0.01 + dice.random() * 0.02)
            figures = [
                statistics.median(writers),
                *(percentile(delays, share) for share in (0.5, 0.9, 0.99)),
                max(delays),
            ]
            print(f"{kind:<14}{figures[0]:>11.2f}" + "".join(f"{figure:>8.2f}" for figure in figures[1:]))


if __name__ == "__main__":
    main()
