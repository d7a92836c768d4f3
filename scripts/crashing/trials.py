"""One scenario, killed before each of its steps in turn, and what must hold afterwards."""

import contextlib
import itertools
import os
import queue
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from csfs.store.hashing import BLOCK_SIZE, hash_bytes
from scripts.crashing import remains
from scripts.crashing.members import DAEMON, MOUNT, ROLES, Pair
from scripts.crashing.scenarios import ABSENT, IN_PLACE, SCENARIOS, Scene, Seen
from scripts.support.members import Member
from tests.trees import differences

BALLAST_SIZE = 4 << 20
"""What lies there and is touched by nobody: whoever reads it again after a kill reads everything again."""
UNKILLED_MAX = 2
"""A scenario is done after so many runs in a row that ended before their step came: what goes together differs from run to run."""
OF_MOUNTS = ("creates", "edits", "overwrites", "gives", "renames", "links", "removes", "installs", "disputes")
"""What a mount process has steps of its own in: rows, and each kind of commit."""
PATIENCE_S = 2.0
"""What is right so much later was said to be settled too early."""
IN_FLIGHT_SIZE = 6 * BLOCK_SIZE


@dataclass(frozen=True)
class Trial:
    """Which process of alpha is killed, in what, and who acts: alpha, or beta."""

    scenario: str
    role: int
    actor: str

    def __str__(self) -> str:
        return f"{self.scenario}-by-{self.actor}-{ROLES[self.role]}"


Told = Callable[["Trial", "Verdict"], None]


@dataclass(frozen=True)
class Verdict:
    """What came of one run: before which step the process was killed (empty: before none), and what does not hold.

    `remains`: what both members know, if something does not.
    """

    step: int
    label: str
    complaints: tuple[str, ...]
    remains: str = ""

    def __str__(self) -> str:
        return f"killed before step {self.step}, {self.label}: {'; '.join(self.complaints)}\n{self.remains}".rstrip()


class Judge:
    """Runs trials on one pair of members, one after the other, each in a directory of its own."""

    def __init__(self, pair: Pair, again: int = 0) -> None:
        """`again`: a daemon that takes a killed one's place is killed, too, before its step of that number."""
        self._pair = pair
        self._again = again
        self._numbers = itertools.count(1)

    def verdicts(self, trial: Trial, first: int = 1) -> Iterator[Verdict]:
        """Yield what came of each step in turn, from `first` on, until no step is left."""
        unkilled = 0
        for step in itertools.count(first):
            try:
                verdict = self.judged(trial, step)
            except AssertionError as error:
                # What follows would be judged by what is still under way here.
                yield Verdict(step, self._pair.armed.label, (str(error),))
                return
            yield verdict
            unkilled = 0 if verdict.label else unkilled + 1
            if unkilled == UNKILLED_MAX:
                return

    def judged(self, trial: Trial, step: int) -> Verdict:
        """Run a scenario once, with one kill."""
        pair = self._pair
        actor = next(member for member in pair.members if member.name == trial.actor)
        pair.set_in_place(wanted=trial.scenario in IN_PLACE)
        scene = Scene(pair, f"{trial}-{next(self._numbers)}", actor)
        scene.here.mkdir()
        course = SCENARIOS[trial.scenario](scene)
        next(course)
        pair.settle()
        made = {member.name: member.versions_made() for member in pair.members}
        pair.arm(trial.role, step, self._again)
        try:
            seen = _finished(course)
            pair.settle()
            pair.settle_for_good()
        finally:
            label = pair.armed.label
            pair.disarm()
        complaints = list(self._complaints(scene, seen, made))
        if complaints:
            time.sleep(PATIENCE_S)
            complaints += [] if any(self._complaints(scene, seen, made)) else ["right a moment later"]
        known = remains.of_scene(pair, scene.name) if complaints else ""
        shutil.rmtree(scene.here)
        return Verdict(step, label, tuple(complaints), known)

    def _complaints(self, scene: Scene, seen: Seen, made: dict[str, int]) -> Iterator[str]:
        pair = self._pair
        for ours, theirs in ((pair.alpha.tree, pair.beta.tree), (pair.alpha.underneath, pair.beta.underneath)):
            # What the kernel has in its caches is to be what is there.
            yield from differences(f"{ours}/.", f"{theirs}/.")
        yield from _unseen(scene.here, seen)
        for member in pair.members:
            volume = member.volume()
            yield from (f"{member.name}: {problem}" for problem in volume["problems"])
            if member.commits_under_way():
                yield f"{member.name} still waits for the outcome of a commit"
            if member is scene.other and not scene.both and member.versions_made() != made[member.name]:
                yield f"{member.name} has made {member.versions_made() - made[member.name]} versions of what it was sent"
            yield from self._costs(member, scene)
        kept = {path.read_bytes() for member in pair.members for path in _kept(member)}
        yield from (f"{data[:40]!r} is kept nowhere" for data in scene.displaced if data not in kept)
        told = {digest for member in pair.members for digest in _in_histories(member, scene)}
        lost = (data for data in scene.displaced if hash_bytes(data)[0].hex() not in told)
        yield from (f"{data[:40]!r} is in no history" for data in lost)

    def _costs(self, member: Member, scene: Scene) -> Iterator[str]:
        """Complain of what was read or fetched more often than it has to be."""
        counters = self._pair.slot(member).counters
        if counters.hashed >= BALLAST_SIZE:
            yield f"{member.name} read {counters.hashed} bytes to hash them, of a scene of {scene.size}"
        if counters.written > scene.size:
            yield f"{member.name} stored {counters.written} bytes of blocks, of contents of {scene.size} bytes"
        if counters.received > scene.size + IN_FLIGHT_SIZE:
            yield f"{member.name} was sent {counters.received} bytes of contents, of {scene.size}"


def _finished(course: Iterator[None]) -> Seen:
    try:
        next(course)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("a scenario yields once")


def _unseen(directory: Path, seen: Seen) -> Iterator[str]:
    for name, wanted in seen.items():
        path = directory / name
        if wanted == ABSENT:
            if os.path.lexists(path):
                yield f"{name} is there again"
        elif wanted is None:
            if not path.is_dir():
                yield f"{name} is no directory"
        elif not path.is_file() or path.read_bytes() != wanted:
            yield f"{name} has another content, or none"


def _kept(member: Member) -> Iterator[Path]:
    return (path for path in (member.underneath / ".csfs" / "kept").iterdir() if path.is_file())


def _in_histories(member: Member, scene: Scene) -> Iterator[str]:
    """Return the hashes of what a member can bring back."""
    versions = member.ask("history", path=os.fsencode(member.tree / scene.name))["versions"]
    return (version["hash"] for version in versions if version["kept_ns"] and version["here"])


@contextlib.contextmanager
def judge(base: Path, again: int = 0) -> Iterator[Judge]:
    """Give a judge with a pair of members of its own."""
    pair = Pair(base)
    try:
        pair.alpha.tree.mkdir(parents=True)
        (pair.alpha.tree / "ballast").write_bytes(os.urandom(BALLAST_SIZE))
        pair.begin()
        yield Judge(pair, again)
    finally:
        pair.end()


def run(trials: Sequence[Trial], base: Path, lanes: int, told: Told, again: int = 0) -> None:
    """Run trials on several pairs of members at once; `told` hears of each verdict, in any of several threads."""
    waiting: queue.SimpleQueue[Trial] = queue.SimpleQueue()
    for trial in trials:
        waiting.put(trial)

    def work(lane: int) -> None:
        with judge(base / f"{lane}", again) as judging, contextlib.suppress(queue.Empty):
            while True:
                trial = waiting.get_nowait()
                for verdict in judging.verdicts(trial):
                    told(trial, verdict)

    with ThreadPoolExecutor(lanes) as pool:
        list(pool.map(work, range(lanes)))


def all_trials(chosen: Callable[[Trial], bool] = lambda trial: True) -> list[Trial]:
    """Return every trial."""
    names = {DAEMON: tuple(SCENARIOS), MOUNT: OF_MOUNTS}
    trials = (Trial(name, role, actor) for role in names for name in names[role] for actor in ("alpha", "beta"))
    return [trial for trial in trials if chosen(trial)]
