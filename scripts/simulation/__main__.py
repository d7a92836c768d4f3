"""`scripts/simulate`: runs seeds until they are done or the time is over; shortens the first that fails."""

import argparse
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import msgspec

from scripts.simulation import effects, scale
from scripts.simulation.faults import FAULTS, FOUND_WITHIN, planted
from scripts.simulation.plan import NAMES, OFF, Act, Plan
from scripts.simulation.planning import made
from scripts.simulation.running import Failure, failure_of
from scripts.simulation.shrinking import Shrinker

STEPS = 200
MEMBERS = 6
EVERY_S = 10


def main() -> int:
    """Run what the command line asks for; 0: nothing failed, 1: something did."""
    options = parsed()
    if options.scale:
        scale.report(options.members or scale.MEMBERS, options.paths, options.changes)
        return 0
    options.members = options.members or MEMBERS
    if options.stats:
        effects.report(range(options.first, options.first + options.seeds), options.members, options.steps)
        return 0
    if options.plant is not None and options.replay is None:
        return planted_all(options) if options.plant == "all" else planted_one(options)
    if options.replay is not None:
        with planted(options.plant) if options.plant in FAULTS else nullcontext():
            return replayed(options.replay)
    if options.seed is not None:
        return explained(made(options.seed, options.members, options.steps), options.shrink)
    return simulated(options)


def parsed() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, metavar="N", help="how many runs (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, metavar="X", help="the first seed (default: %(default)s)")
    parser.add_argument(
        "--members",
        type=int,
        metavar="M",
        help=f"2 to M members each (default: {MEMBERS}; M with --scale: {scale.MEMBERS})",
    )
    parser.add_argument(
        "--steps", type=int, default=STEPS, metavar="K", help="things that happen in each (%(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=float("inf"), metavar="S", help="begin no run after so long")
    parser.add_argument("--seed", type=int, metavar="X", help="one run alone")
    parser.add_argument("--shrink", type=float, default=60, metavar="S", help="seconds to shorten what fails (60)")
    parser.add_argument(
        "--plant", choices=["all", *FAULTS], metavar="NAME", help="break a rule, and see it found; or `all`"
    )
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run a plan that was written down; `-`: its text")
    parser.add_argument("--go-on", action="store_true", help="count what fails instead of stopping at the first")
    parser.add_argument(
        "--stats", action="store_true", help="say what happens in the runs, and what of it comes to anything"
    )
    parser.add_argument("--scale", action="store_true", help="say what changes cost many members with many paths")
    parser.add_argument("--paths", type=int, default=20_000, metavar="P", help="of --scale (default: %(default)s)")
    parser.add_argument("--changes", type=int, default=50, metavar="C", help="of --scale (default: %(default)s)")
    options = parser.parse_args()
    members_max = scale.MEMBERS_MAX if options.scale else len(NAMES)
    if not 2 <= (options.members or MEMBERS) <= members_max or options.seeds < 1 or options.steps < 1:
        parser.error(f"--members is 2 to {members_max}, --seeds and --steps at least 1")
    if options.paths < 1 or options.changes < 1:
        parser.error("--paths and --changes are at least 1")
    return options


def simulated(options: argparse.Namespace) -> int:
    """Run many seeds."""
    begun = said = time.monotonic()
    failed: list[int] = []
    acts: dict[Act, int] = {}
    count = 0
    for seed in range(options.first, options.first + options.seeds):
        if time.monotonic() - begun > options.seconds:
            break
        plan = made(seed, options.members, options.steps)
        failure = failure_of(plan)
        count += 1
        for act in plan.acts():
            acts[act] = acts.get(act, 0) + 1
        if failure is not None:
            failed.append(seed)
            print(f"seed {seed}: {failure.kind}: {failure.complaint[:300]}", flush=True)
            if not options.go_on:
                shorten(plan, failure, options.shrink)
                break
        if time.monotonic() - said > EVERY_S:
            said = time.monotonic()
            print(f"{count} runs, {count / (said - begun):.0f}/s", flush=True)
    took_s = time.monotonic() - begun
    print(
        f"{count} runs of {options.steps} steps, 2 to {options.members} members, in {took_s:.1f} s: {count / took_s:.0f}/s"
    )
    print(
        "runs with: " + ", ".join(f"{act.value} {number}" for act, number in sorted(acts.items(), key=lambda i: -i[1]))
    )
    for what, why in OFF.items():
        print(f"not simulated: {what}: {why}")
    print(f"{len(failed)} failed{': ' + ' '.join(map(str, failed[:50])) if failed else ''}")
    return 1 if failed else 0


def planted_all(options: argparse.Namespace) -> int:
    """Plant one fault after the other; say after how many runs each was found."""
    missed = 0
    for name, fault in FAULTS.items():
        with planted(name):
            count, failure = found_after(options, FOUND_WITHIN)
        missed += failure is None
        verdict = f"found in run {count}: {failure.complaint[:120]}" if failure else f"NOT FOUND in {count} runs"
        print(f"{name} ({fault.says}): {verdict}", flush=True)
    return 1 if missed else 0


def planted_one(options: argparse.Namespace) -> int:
    """Plant one fault, and shorten what finds it."""
    with planted(options.plant):
        count, failure = found_after(options, FOUND_WITHIN)
        print(f"{options.plant} ({FAULTS[options.plant].says}): run {count}")
        if failure is not None:
            shorten(made(options.first + count - 1, options.members, options.steps), failure, options.shrink)
    return 0 if failure is not None else 1


def found_after(options: argparse.Namespace, seeds: int) -> tuple[int, Failure | None]:
    """Return how many runs it took until one failed, and of what."""
    for count in range(1, seeds + 1):
        failure = failure_of(made(options.first + count - 1, options.members, options.steps))
        if failure is not None:
            return count, failure
    return seeds, None


def explained(plan: Plan, shrink_s: float) -> int:
    """Run one plan; shorten it if it fails."""
    failure = failure_of(plan)
    if failure is None:
        print(f"seed {plan.seed}: nothing failed")
        return 0
    print(f"seed {plan.seed}: {failure.kind}: {failure.complaint}")
    shorten(plan, failure, shrink_s)
    return 1


def shorten(plan: Plan, failure: Failure, seconds: float) -> None:
    """Print the shortest plan found that fails in the same way, and write it where `--replay` finds it."""
    if seconds <= 0:
        return

    def fails(other: Plan) -> bool:
        found = failure_of(other)
        return found is not None and found.kind == failure.kind

    shortest = Shrinker(fails, seconds).shortest(plan)
    found = failure_of(shortest)
    assert found is not None
    print(f"shortest of {len(plan.actions)}: {len(shortest.actions)} steps, {shortest.setup}")
    for action in shortest.actions:
        print(f"  {action}")
    print(f"{found.kind}: {found.complaint}\n{found.where}", end="")
    path = Path(f"/tmp/simulate-{plan.seed}.json")
    path.write_bytes(msgspec.json.encode(shortest))
    print(f"again: scripts/simulate --replay {path}")


def replayed(path: Path) -> int:
    """Run a plan from a file, and say each step."""
    text = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    failure = failure_of(msgspec.json.decode(text, type=Plan), print)
    print(f"{failure.kind}: {failure.complaint}\n{failure.where}" if failure else "nothing failed")
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
