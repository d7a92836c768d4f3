"""What each operation costs through the mount: beside the native directory and bindfs, in one run, in turns.

Times are medians. Across cores, the caller keeps one core and each file system's process another; pinned, they share one.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from csfs.mount import mountinfo
from scripts.benchmarks.measuring import fresh_filesystem, percentile
from scripts.benchmarks.mount_operations import OPERATIONS, prepared
from scripts.support.members import Member, free_port, until

Samples = dict[str, dict[str, list[float]]]
"""Seconds by operation and subject."""


class Subject:
    """A directory to measure in, and the process that serves it (0: the kernel alone)."""

    def __init__(self, name: str, directory: Path, pid: int = 0) -> None:
        self.name = name
        self.directory = directory
        self._pid = pid

    def pin(self, core: int) -> None:
        """Keep the serving process on one core, all threads of it."""
        if self._pid:
            for thread in os.listdir(f"/proc/{self._pid}/task"):
                os.sched_setaffinity(int(thread), {core})


@contextlib.contextmanager
def csfs_subject(place: Path) -> Iterator[Subject]:
    """Give a mount of one member, with its daemon running and its journal on."""
    member = Member(place, "alpha", free_port())
    member.directory.mkdir(parents=True)
    try:
        member.found()
        member.mount()
        until(lambda: member.volume()["state"] == "replicating", "the volume replicates")
        yield Subject("csfs", member.tree, member.mount_pid)
    finally:
        member.stop()


@contextlib.contextmanager
def bindfs_subject(place: Path) -> Iterator[Subject]:
    """Give a bindfs mount: the same job in C, without a journal."""
    source, mounted = place / "bindfs-source", place / "bindfs" / "tree"
    source.mkdir()
    mounted.mkdir(parents=True)
    process = subprocess.Popen(["bindfs", "-f", str(source), str(mounted)])
    try:
        until(lambda: mountinfo.top_at(mountinfo.current(), str(mounted)) is not None, "bindfs is mounted")
        yield Subject("bindfs", mounted, process.pid)
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=False)
        process.terminate()  # a mount namespace made meanwhile may hold a copy of the mount
        process.wait(20)


@contextlib.contextmanager
def subjects(place: Path, with_bindfs: bool) -> Iterator[list[Subject]]:
    """Give all that are compared, the native directory first."""
    native = place / "native" / "tree"  # paths of one length: a name more costs as much as a cached stat
    native.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        found = [Subject("native", native), stack.enter_context(csfs_subject(place))]
        if with_bindfs:
            found.append(stack.enter_context(bindfs_subject(place)))
        yield found


def measured(found: list[Subject], rounds: int, count: int, only: list[str]) -> Samples:
    """Return the samples of all operations: each round does all of them, each subject in turn, another one first each time."""
    chosen = {name: work for name, work in OPERATIONS.items() if not only or name in only}
    samples: Samples = {name: {subject.name: [] for subject in found} for name in chosen}
    for number in range(rounds):
        turn = number % len(found)
        scenes = {subject.name: prepared(subject.directory / f"round-{number}", count) for subject in found}
        for name, work in chosen.items():
            for subject in found[turn:] + found[:turn]:
                samples[name][subject.name] += work(scenes[subject.name])
        for scene in scenes.values():
            shutil.rmtree(scene.directory)
    return samples


def table(samples: Samples, names: list[str]) -> list[dict[str, float | str]]:
    """Return one row an operation: microseconds by subject, and how many times as fast as the others csfs is."""
    rows: list[dict[str, float | str]] = []
    for operation, by_subject in samples.items():
        medians = {name: percentile(by_subject[name], 0.5) * 1e6 for name in names}
        row: dict[str, float | str] = {"operation": operation, **medians}
        for other in names:
            if other != "csfs":
                row[f"speed against {other}"] = medians[other] / medians["csfs"]
        rows.append(row)
    return rows


def show(title: str, rows: list[dict[str, float | str]], names: list[str]) -> None:
    """Print one table."""
    others = [name for name in names if name != "csfs"]
    print(f"\n{title}: medians in microseconds, and how fast csfs is beside the others (1.00: as fast)")
    print(f"{'':<20}" + "".join(f"{name:>12}" for name in names) + "".join(f"{'x ' + name:>12}" for name in others))
    for row in rows:
        times = "".join(f"{row[name]:>12.1f}" for name in names)
        print(f"{row['operation']:<20}{times}" + "".join(f"{row[f'speed against {name}']:>12.2f}" for name in others))
    sys.stdout.flush()


def main() -> None:
    """Measure every operation, across cores and on one."""
    parser = argparse.ArgumentParser(prog="scripts/bench mount", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=200, help="files of each round")
    parser.add_argument(
        "--only", action="append", default=[], choices=OPERATIONS, help="measure this operation (again)"
    )
    parser.add_argument("--layout", choices=("across", "pinned", "both"), default="both")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    with_bindfs = shutil.which("bindfs") is not None
    if not with_bindfs:
        print("bindfs is not installed, its column is left out (apt-get install bindfs)", file=sys.stderr)
    cores = sorted(os.sched_getaffinity(0))
    layouts = {"across cores": (cores[0], cores[-1]), "pinned to one core": (cores[-1], cores[-1])}
    result: dict[str, object] = {"time": time.time()}
    with fresh_filesystem() as place, subjects(place, with_bindfs) as found:
        names = [subject.name for subject in found]
        for title, (caller, server) in layouts.items():
            if options.layout not in ("both", title.split()[0]):
                continue
            os.sched_setaffinity(0, {caller})
            for subject in found:
                subject.pin(server)
            rows = table(measured(found, options.rounds, options.count, options.only), names)
            result[title] = rows
            if not options.json:
                show(title, rows, names)
    if options.json:
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
