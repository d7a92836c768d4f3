"""`scripts/soak`: rounds of load and harm; after each everything is healed, becomes quiet, and is checked whole."""

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.soaking import load, verdict
from scripts.soaking.harm import Harms
from scripts.soaking.hosts import Host
from scripts.support.members import cluster_of, replicating
from scripts.support.share import OWN
from tests.cluster.networks import Network, network

PORT = 30866
ROUND_S = 300.0
MINUTE_S = 60.0
QUIET_S_MAX = 900.0
PATHS_MAX = 4_000
TOP = Path(__file__).parent.parent.parent


class Soak:
    """One run."""

    def __init__(self, base: Path, cable: Network, seed: int, every_s: float) -> None:
        self._base = base
        self._cable = cable
        self._dice = random.Random(seed)
        self._every_s = every_s
        self._begin = time.monotonic()
        self.hosts = (
            Host(base, "alpha", PORT, cable.prefixes[0], cable.addresses[0]),
            Host(base, "beta", PORT, cable.prefixes[1], cable.addresses[1]),
        )
        self.harms = Harms(self.hosts, cable, self._dice)
        self.samples: dict[str, list[verdict.Sample]] = {}
        self.programs_run = 0
        self.checked = 0
        self._archive = base / "archive.tar"

    def say(self, text: str) -> None:
        """Print a line with the time since the beginning, and keep it."""
        passed = int(time.monotonic() - self._begin)
        line = f"{passed // 60:3d}:{passed % 60:02d}  {text}"
        print(line, flush=True)
        with (self._base / "events").open("a") as events:
            events.write(line + "\n")

    def run(self, seconds: float) -> list[str]:
        """Soak; return what is wrong, an empty list for nothing."""
        self._prepare()
        first, second = (host.member for host in self.hosts)
        with cluster_of(first, second, clear=False):
            try:
                return self._rounds(seconds)
            except Exception:
                return self._failed(traceback.format_exc().splitlines())
            finally:
                self.harms.end()
                for host in self.hosts:
                    host.make_room()

    def _prepare(self) -> None:
        subprocess.run(["tar", "-cf", self._archive, "csfs", "docs", "etc"], cwd=TOP, check=True)
        for host in self.hosts:
            for number, top in enumerate((*OWN, "shared", "shared/below")):
                (host.member.tree / top).mkdir(parents=True)
                for name in ("a", "b", "c"):
                    (host.member.tree / top / name).write_text(f"{name} of {number}\n")

    def _rounds(self, seconds: float) -> list[str]:
        deadline, half = self._begin + seconds, self._begin + seconds / 2
        number = 0
        while number == 0 or time.monotonic() < deadline - MINUTE_S:
            now = time.monotonic()
            if now > half and number > 2 and not self.harms.spare:
                self.harms.spare = frozenset({"daemon of alpha", "mount of beta"})
                self.say("from now on alpha's daemon and beta's mount are spared, so that their growth can be seen")
                self.samples.clear()
            found = self._round(number, min(ROUND_S, max(deadline - now, MINUTE_S / 3)))
            if found:
                return self._failed(found)
            self._trim()
            number += 1
        return self._failed(found) if (found := self._grown()) else []

    def _grown(self) -> list[str]:
        return [line for name, taken in self.samples.items() for line in verdict.grown(name, taken)]

    def _failed(self, found: list[str]) -> list[str]:
        verdict.evidence(self.hosts, self._base / "evidence", found)
        return found

    def _round(self, number: int, seconds: float) -> list[str]:
        seeds = [self._dice.randrange(10**6) for _ in range(4)]
        storms = [load.storm(host, (side + number) % 2, seeds[side], seconds) for side, host in enumerate(self.hosts)]
        for storm in storms:
            storm.wait_ready()  # both look around before either begins
        for storm in storms:
            storm.say("go")
        programs = [load.programs(host, side, seeds[2 + side], self._archive) for side, host in enumerate(self.hosts)]
        try:
            self._harm(time.monotonic() + seconds, [*storms, *programs])
            reports: list[list[dict[str, Any]]] = [[], []]
            found = []
            for kind, workers in enumerate((storms, programs)):
                for worker in workers:
                    worker.say("end")
                    report, why = worker.finished()
                    found += [why] if why else []
                    reports[kind] += [report] if report is not None else [{}] if kind else []
        finally:
            for worker in (*storms, *programs):
                worker.kill()
        done = sum(sum(report["done"].values()) for report in reports[1] if report)
        self.programs_run += done
        self.say(f"round {number + 1}: {done} programs ended well; healing and waiting until all is quiet")
        return found or self._checked(*reports)

    def _harm(self, deadline: float, workers: list[load.Worker]) -> None:
        """Kill something at each beat, and between two beats now and then do something else."""
        beat = time.monotonic()
        while (beat := beat + self._every_s) < deadline:
            self.harms.wait(max(0.0, beat - self._every_s / 2 - time.monotonic()))
            if self._dice.random() < 0.7:
                self.say(self.harms.disturb())
            self.harms.wait(max(0.0, beat - time.monotonic()))
            self.say(self.harms.kill())
            for worker in workers:
                if not worker.is_running and time.monotonic() < deadline - 1:
                    self.say(f"{worker.name} has ended before its time")
        self.harms.wait(max(0.0, deadline - time.monotonic()))

    def _checked(self, storms: list[dict[str, Any]], programs: list[dict[str, Any]]) -> list[str]:
        try:
            for host in self.hosts:
                host.bring_back()
            begin = time.monotonic()
            replicating(*(host.member for host in self.hosts), timeout_s=QUIET_S_MAX)
            for host in (*self.hosts, *self.hosts):
                host.member.wait(QUIET_S_MAX)
        except Exception as error:
            return [f"not quiet: {error}"]
        took_s = time.monotonic() - begin
        found = verdict.wrong(self.hosts, storms, [report for report in programs if report])
        for host in self.hosts:
            found += [f"{host.name}: log: {line}" for line in verdict.unexpected(host.logs())]
            for name, sample in verdict.samples(host).items():
                self.samples.setdefault(name, []).append(sample)
        paths = [host.member.volume()["paths"] for host in self.hosts]
        self.checked += 1
        sizes = ", ".join(
            f"{name} {taken[-1].rss_kib >> 10} MiB {taken[-1].descriptors} fd" for name, taken in self.samples.items()
        )
        self.say(f"quiet after {took_s:.1f} s, {paths} paths, {len(found)} things wrong; {sizes}")
        return found

    def _trim(self) -> None:
        """Remove some of what the storms have left, at one member, so that the tree does not grow for ever.

        Returns when it is gone at the other, too: the storms of the next round look around at once.
        """
        tree = self.hosts[0].member.tree
        for place in (tree, *(tree / top for top in (*OWN, "shared", "shared/below"))):
            for name in sorted(os.listdir(place)):
                if name[:2] in ("s0", "s1") and self._dice.random() < 0.8:
                    path = place / name
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for host in (*self.hosts, *self.hosts):
            host.member.wait(QUIET_S_MAX)


@contextlib.contextmanager
def soaking(base: Path, seed: int, every_s: float) -> Iterator[Soak]:
    """Give a soak; end all that it has begun."""
    with network() as cable:
        soak = Soak(base, cable, seed, every_s)
        try:
            yield soak
        finally:
            for host in soak.hosts:
                host.end()


def main() -> int:
    """Soak; return 0 when everything held, 1 when something did not, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("minutes", type=float, nargs="?", default=60.0, help="for how long; 60")
    parser.add_argument("--seed", type=int, default=None, help="repeats what is done, though not exactly when")
    parser.add_argument("--every", type=float, default=60.0, metavar="SECONDS", help="between two kills; 60")
    parser.add_argument("--below", default="/var/tmp", help="where disks and logs are kept; /var/tmp")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("scripts/soak mounts and kills: run it as root", file=sys.stderr)
        return 5
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    base = Path(options.below) / f"csfs-soak-{os.getpid()}"
    base.mkdir(parents=True)
    begin = time.monotonic()
    found: list[str] = ["interrupted"]
    code = 130
    try:
        with soaking(base, seed, options.every) as soak:
            soak.say(
                f"{options.minutes:g} minutes, a kill every {options.every:g} s, seed {seed}; everything is below {base}"
            )
            found = soak.run(options.minutes * 60)
        code = 1 if found else 0
    except KeyboardInterrupt:
        pass
    for line in found[:40]:
        print(f"  {line}")
    kinds = ", ".join(f"{count} x {name}" for name, count in sorted(soak.harms.done.items()))
    passed = f"{(time.monotonic() - begin) / 60:.1f} min, seed {seed}, {soak.checked} checks, {soak.programs_run} programs, {kinds}"
    if code == 0:
        shutil.rmtree(base, ignore_errors=True)
        print(f"passed: {passed}")
    else:
        print(f"FAILED: {len(found)} things wrong; {passed}; see {base}/evidence, {base}/events")
        for name in ("tree.img", "state.img"):
            for image in base.glob(f"*/{name}"):
                image.unlink()
    return code


if __name__ == "__main__":
    sys.exit(main())
