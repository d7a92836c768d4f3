"""Time from close() on one member to the new content being visible on the other."""

import argparse
import os
import random
import statistics
import time
from pathlib import Path

from scripts.benchmarks.measuring import fresh_filesystem, percentile
from scripts.support.members import two_members

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
    while _identity(path) == before or path.read_bytes() != content:
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


def main() -> None:
    """Measure new files, and new content of files that are there."""
    parser = argparse.ArgumentParser(prog="scripts/bench latency", description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="writes of each kind")
    parser.add_argument("--size", type=int, default=1000, help="bytes of each file")
    options = parser.parse_args()
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
