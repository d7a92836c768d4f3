"""What it costs that what programs destroy is kept (`keep_local`): each operation in a group that wants it, and in one that does not.

Both are directories of one mounted volume whose daemon runs, measured in turns.
"""

import argparse
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from scripts.benchmarks.measuring import fresh_filesystem, percentile
from scripts.benchmarks.mount_operations import OPERATIONS, prepared
from scripts.support.members import VOLUME, Member, free_port, until

MEASURED = ("create + 4 KiB", "rewrite 4 KiB", "write 4 KiB", "unlink")
PLAIN, KEPT = "plain", "kept"
GROUPS = f"""
[[volumes.{VOLUME}.groups]]
include = ["/{KEPT}"]
keep_local = true
[[volumes.{VOLUME}.groups]]
"""


@contextlib.contextmanager
def keeping_member(place: Path) -> Iterator[Member]:
    """Give a mounted member that keeps what is destroyed in one of two directories."""
    member = Member(place, "alpha", free_port())
    member.directory.mkdir(parents=True)
    try:
        member.found()
        with member.home.settings_file.open("a") as file:
            file.write(GROUPS)
        member.mount()
        until(lambda: member.volume()["state"] == "replicating", "the volume replicates")
        yield member
    finally:
        member.stop()


def measured(tree: Path, rounds: int, count: int) -> dict[str, dict[str, list[float]]]:
    """Return seconds by operation and directory, of both in turns."""
    found: dict[str, dict[str, list[float]]] = {name: {PLAIN: [], KEPT: []} for name in MEASURED}
    for where in (PLAIN, KEPT):
        (tree / where).mkdir()
    for number in range(rounds):
        scenes = {where: prepared(tree / where / f"round-{number}", count) for where in (PLAIN, KEPT)}
        for name, figures in found.items():
            for where in (PLAIN, KEPT) if number % 2 else (KEPT, PLAIN):
                figures[where] += OPERATIONS[name](scenes[where])
        for scene in scenes.values():
            shutil.rmtree(scene.directory)
    return found


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="scripts/bench keep", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--count", type=int, default=200, help="files of each round")
    parser.add_argument("--filesystem", choices=("ext4", "xfs"), default="ext4")
    options = parser.parse_args()
    with fresh_filesystem(kind=options.filesystem) as place, keeping_member(place) as member:
        print(f"{'median microseconds':<24}{'without':>10}{'kept':>10}{'times':>10}")
        for name, figures in measured(member.tree, options.rounds, options.count).items():
            without, kept = (percentile(figures[where], 0.5) * 1e6 for where in (PLAIN, KEPT))
            print(f"{name:<24}{without:>10.1f}{kept:>10.1f}{kept / without:>10.2f}", flush=True)


if __name__ == "__main__":
    main()
