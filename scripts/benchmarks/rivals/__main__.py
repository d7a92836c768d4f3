"""`scripts/bench rivals`: csfs beside csync2, lsyncd, Unison, Syncthing and GlusterFS, each on a fresh file system, in one run."""

import argparse
import dataclasses
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from scripts.benchmarks.measuring import fresh_filesystem
from scripts.benchmarks.rivals import table, works
from scripts.benchmarks.rivals.contenders import ALL, Contender
from scripts.benchmarks.rivals.hosts import Pair
from scripts.benchmarks.rivals.works import Figures, Run
from tests.cluster.networks import network

PACKAGES = "apt-get install csync2 lsyncd rsync openssh-server unison inotify-tools syncthing glusterfs-server"
COLUMNS = ("writer", "equal", "wire", "cpu", "memory_mib", "read", "p50_ms", "p99_ms")
TITLES = ("writer s", "equal s", "wire", "CPU s", "MiB", "read", "p50 ms", "p99 ms")


def run_one(kind: type[Contender], names: list[str], scale: float) -> list[Figures]:
    """Return what one contender takes for the works named."""
    with fresh_filesystem() as place, network() as cable:
        pair = Pair(place, cable, f"rivals{os.getpid()}")
        contender = kind()
        run = Run(contender, pair, scale)
        with pair.standing():
            try:
                contender.begin(pair)
                for name in names:
                    works.ALL[name](run)
                works.check_contents(run)
            except (OSError, ValueError, SystemExit, AssertionError) as error:
                run.results.append(Figures(works.ENDED, problem=f"{type(error).__name__}: {error}"[:300]))
                for host in pair.both:
                    shutil.copy(
                        host.directory / "log", Path(tempfile.gettempdir(), f"rivals-{kind.__name__}-{host.name}.log")
                    )
            finally:
                contender.end()
    return run.results


def show(name: str, figures: list[Figures]) -> None:
    """Print the rows of one contender, as Markdown."""
    for one in figures:
        cells = [_cell(getattr(one, column)) for column in COLUMNS]
        print(f"| {one.work} | {name} | {' | '.join(cells)} |" + (f" {one.problem}" if one.problem else ""), flush=True)


def _cell(value: float | int | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="scripts/bench rivals", description=__doc__)
    parser.add_argument(
        "--only", action="append", default=[], help="a contender, by a part of its name; again for more"
    )
    parser.add_argument(
        "--work", action="append", default=[], choices=list(works.ALL), help="a piece of work; again for more"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="a share of the work, to see whether everything runs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = [name for name in works.ALL if not options.work or name in options.work]
    found: dict[str, list[Figures]] = {}
    if not options.json:
        print(f"| work | | {' | '.join(TITLES)} |\n|{' --- |' * (len(TITLES) + 2)}")
    for kind in ALL:
        if options.only and not any(part.lower() in kind.name.lower() for part in options.only):
            continue
        missing = [command for command in kind.needs if shutil.which(command) is None]
        if missing:
            print(f"{kind.name} is left out: no {', '.join(missing)} here; {PACKAGES}", file=sys.stderr)
            continue
        found[kind.name] = run_one(kind, names, options.scale)
        if not options.json:
            show(kind.name, found[kind.name])
    if options.json:
        print(json.dumps({name: [dataclasses.asdict(one) for one in each] for name, each in found.items()}, indent=2))
    else:
        print("", *table.lines(found), sep="\n")


if __name__ == "__main__":
    main()
