"""`scripts/crash`: kills a member's daemon, or mount process, before every single step of what it does, and judges each time."""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from scripts.crashing.members import ROLES
from scripts.crashing.scenarios import SCENARIOS
from scripts.crashing.trials import Trial, Verdict, all_trials, run


def main() -> int:
    """Run what the command line asks for; 0: nothing to complain of, 1: something."""
    options = parsed()
    roles = [ROLES.index(name) for name in options.role or ROLES]
    names = options.scenarios or list(SCENARIOS)
    trials = all_trials(lambda trial: trial.scenario in names and trial.role in roles)
    runs, bad, begun = Counter[str](), 0, time.monotonic()

    def told(trial: Trial, verdict: Verdict) -> None:
        nonlocal bad
        runs[ROLES[trial.role]] += 1
        bad += bool(verdict.complaints)
        if verdict.complaints or options.verbose:
            print(f"{trial}: {verdict}", flush=True)

    base = Path(tempfile.mkdtemp(prefix="csfs-crash-", dir="/var/tmp"))
    try:
        run(trials, base, options.lanes, told, options.again)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    took_s = time.monotonic() - begun
    print(f"{sum(runs.values())} runs of {len(trials)} trials ({dict(runs)}) in {took_s:.0f} s: {bad} to complain of")
    return 1 if bad else 0


def parsed() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="scripts/crash", description=__doc__)
    parser.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; all if none is given"
    )
    parser.add_argument("--role", action="append", choices=ROLES, help="what is killed (default: one after the other)")
    parser.add_argument("--lanes", type=int, default=2, metavar="N", help="pairs of members at once (%(default)s)")
    parser.add_argument(
        "--again", type=int, default=0, metavar="K", help="kill the daemon that comes up then, too, before its step K"
    )
    parser.add_argument("--verbose", "-v", action="store_true", help="say what came of each run")
    options = parser.parse_args()
    if unknown := set(options.scenarios) - SCENARIOS.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
