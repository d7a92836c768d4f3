"""What it costs that others' changes of a file system are noticed: each operation with the watch and without it, in turns.

Through a mount, whose daemon does not watch while this does, and on the same file system beside it. `drained`: what the daemon
pays for each operation to throw its events away.
"""

import argparse
import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from csfs.store.fanotify import Group
from scripts.benchmarks.measuring import fresh_filesystem, percentile
from scripts.benchmarks.mount_operations import OPERATIONS, prepared
from scripts.support.members import Member, free_port, until

MEASURED = ("create + 4 KiB", "rewrite 4 KiB", "chmod", "rename", "write 4 KiB", "unlink")


@dataclass
class Figures:
    """Of one operation in one place: seconds without and with the watch, and what draining took."""

    without: list[float] = field(default_factory=list)
    with_watch: list[float] = field(default_factory=list)
    events: int = 0
    drained_s: float = 0.0

    def as_text(self, name: str) -> str:
        """Return one line of the table."""
        without, watched = (percentile(values, 0.5) * 1e6 for values in (self.without, self.with_watch))
        count = len(self.with_watch)
        return (
            f"{name:<34}{without:>10.1f}{watched:>10.1f}{(watched / without - 1) * 100:>+9.1f} %"
            f"{self.events / count:>10.2f}{self.drained_s / count * 1e6:>10.2f}"
        )


@contextlib.contextmanager
def unwatched_member(place: Path) -> Iterator[Member]:
    """Give a mounted member whose daemon does not watch."""
    member = Member(place, "alpha", free_port())
    member.directory.mkdir(parents=True)
    try:
        member.found()
        with member.home.settings_file.open("a") as file:
            file.write('watch = false\ncompare = "never"\n')
        member.mount()
        until(lambda: member.volume()["state"] == "replicating", "the volume replicates")
        yield member
    finally:
        member.stop()


def measured(group: Group, root: int, directory: Path, own: set[int], rounds: int, count: int) -> dict[str, Figures]:
    """Return the figures of all operations in one directory; with and without the watch in turns."""
    found = {name: Figures() for name in MEASURED}
    for number in range(rounds):
        scenes = {watch: prepared(directory / f"round-{number}-{watch}", count) for watch in (False, True)}
        for name, figures in found.items():
            for watch in (False, True) if number % 2 else (True, False):
                if not watch:
                    figures.without += OPERATIONS[name](scenes[watch])
                    continue
                group.watch(root)
                figures.with_watch += OPERATIONS[name](scenes[watch])
                begun = time.process_time()
                while (batch := group.read(own)) is not None:
                    figures.events += batch.total
                figures.drained_s += time.process_time() - begun
                group.unwatch(root)
        for scene in scenes.values():
            shutil.rmtree(scene.directory)
    return found


def main() -> None:
    """Measure in both places and print the table."""
    parser = argparse.ArgumentParser(prog="scripts/bench watch", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--count", type=int, default=200, help="files of each round")
    options = parser.parse_args()
    with fresh_filesystem() as place, unwatched_member(place) as member:
        beside = place / "beside" / "tree"
        beside.mkdir(parents=True)
        group, root = Group(), os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        own = {os.getpid(), member.mount_pid, member.daemon_pid}
        try:
            print(f"{'median microseconds':<34}{'without':>10}{'watched':>10}{'':>11}{'events':>10}{'drained':>10}")
            for title, directory in (("through the mount", member.tree), ("beside it", beside)):
                for name, figures in measured(group, root, directory, own, options.rounds, options.count).items():
                    print(figures.as_text(f"{name}, {title}"), flush=True)
        finally:
            os.close(root)
            group.close()


if __name__ == "__main__":
    main()
