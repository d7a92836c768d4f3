"""What each operation costs through the mount: beside the native directory and bindfs, in one run, in turns.

Times are medians. Across cores, the caller keeps one core and each file system's process another; pinned, they share one. The
journal is on and the daemon runs, as in production. Beside each operation that has an aim stands whether it is met.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from csfs.mount import mountinfo
from scripts.benchmarks.measuring import fresh_filesystem, percentile
from scripts.benchmarks.mount_aims import Row, heading
from scripts.benchmarks.mount_operations import OPERATIONS, Scene, prepared
from scripts.benchmarks.mount_programs import DBENCH_CLIENTS, PROGRAMS, dbench
from scripts.support.members import Member, free_port, until

Samples = dict[str, dict[str, list[float]]]
"""Seconds by operation and subject."""


class Subject:
    """A directory to measure in, and the process that serves it (0: the kernel alone)."""

    def __init__(self, name: str, directory: Path, pid: int = 0) -> None:
        self.name = name
        self.directory = directory
        self._pid = pid

    def pin(self, core: int, is_urgent: bool) -> None:
        """Keep the serving process on one core, all threads of it."""
        if self._pid:
            for thread in os.listdir(f"/proc/{self._pid}/task"):
                _keep(int(thread), core, is_urgent)


def _keep(thread: int, core: int, is_urgent: bool) -> None:
    os.sched_setaffinity(thread, {core})
    policy, priority = (os.SCHED_FIFO, 1) if is_urgent else (os.SCHED_OTHER, 0)
    os.sched_setscheduler(thread, policy, os.sched_param(priority))


def _place(found: list[Subject], caller: int, server: int, is_urgent: bool) -> None:
    _keep(0, caller, is_urgent)
    for subject in found:
        subject.pin(server, is_urgent)


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


WORK: dict[str, Callable[[Scene], list[float]]] = OPERATIONS | PROGRAMS


def measured(found: list[Subject], rounds: int, count: int, chosen: list[str]) -> Samples:
    """Return the samples of all operations: each round does all of them, each subject in turn, another one first each time."""
    samples: Samples = {name: {subject.name: [] for subject in found} for name in chosen}
    for number in range(rounds):
        turn = number % len(found)
        scenes = {subject.name: prepared(subject.directory / f"round-{number}", count) for subject in found}
        for name in chosen:
            for subject in found[turn:] + found[:turn]:
                samples[name][subject.name] += WORK[name](scenes[subject.name])
        for scene in scenes.values():
            shutil.rmtree(scene.directory)
    return samples


def rows_of(samples: Samples) -> list[Row]:
    """Return the medians of all samples."""
    return [
        Row(operation, {name: percentile(seconds, 0.5) for name, seconds in by_subject.items()})
        for operation, by_subject in samples.items()
    ]


def show(title: str, rows: list[Row], names: list[str]) -> None:
    """Print the tables of one layout."""
    print(f"\n{title}: medians, and how fast csfs is beside the others (1.00: as fast)")
    for unit, unit_s, which in (("microseconds", 1e-6, OPERATIONS), ("milliseconds", 1e-3, PROGRAMS)):
        of_unit = [row for row in rows if row.operation in which]
        if of_unit:
            print(heading(names, unit))
            print("\n".join(row.as_text(unit_s) for row in of_unit))
    sys.stdout.flush()


def throughputs(found: list[Subject], duration_s: int) -> dict[str, float]:
    """Return what dbench makes of each subject, in MB/s; nothing where it is not installed or not asked for."""
    if not duration_s or shutil.which("dbench") is None:
        return {}
    return {subject.name: dbench(subject.directory / "dbench", duration_s) for subject in found}


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="scripts/bench mount", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=200, help="files of each round")
    parser.add_argument("--only", action="append", default=[], choices=WORK, help="measure this alone (again)")
    parser.add_argument("--layout", choices=("across", "pinned", "both"), default="both")
    parser.add_argument("--dbench", type=int, default=5, metavar="SECONDS", help="0: leave dbench out")
    parser.add_argument(
        "--urgent", action="store_true", help="real-time priority for all, where the machine is not idle"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser.parse_args(arguments)


def with_bindfs() -> bool:
    """Return whether bindfs is there to compare with; say so if not."""
    if shutil.which("bindfs") is not None:
        return True
    print("bindfs is not installed, its column is left out (apt-get install bindfs)", file=sys.stderr)
    return False


def machine() -> dict[str, object]:
    """Return what figures depend on."""
    model = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), ":"
    )
    return {"processor": model.partition(":")[2].strip(), "cores": os.cpu_count(), "kernel": os.uname().release}


def main(arguments: list[str] | None = None) -> None:
    """Measure every operation, across cores and on one."""
    options = options_of(arguments)
    cores = sorted(os.sched_getaffinity(0))
    layouts = {"across cores": (cores[0], cores[-1]), "pinned to one core": (cores[-1], cores[-1])}
    result: dict[str, object] = {"time": time.time(), "machine": machine()}
    with fresh_filesystem() as place, subjects(place, with_bindfs()) as found:
        names = [subject.name for subject in found]
        for title, (caller, server) in layouts.items():
            if options.layout not in ("both", title.split()[0]):
                continue
            _place(found, caller, server, options.urgent)
            rows = rows_of(measured(found, options.rounds, options.count, options.only or list(WORK)))
            _place(found, caller, server, False)  # dbench waits for disks, whose kernel threads are not urgent
            speeds = {} if options.only else throughputs(found, options.dbench)
            result[title] = {"rows": [row.as_json() for row in rows], "dbench MB/s": speeds}
            if not options.json:
                show(title, rows, names)
                if speeds:
                    figures = ", ".join(f"{name} {speed:.0f}" for name, speed in speeds.items())
                    print(f"dbench, {DBENCH_CLIENTS} clients, MB/s: {figures}", flush=True)
    if options.json:
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
