"""What is measured: pieces of work at the source, and how long until the target has all of it."""

import contextlib
import os
import random
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scripts.benchmarks.latency import visible_after
from scripts.benchmarks.measuring import percentile
from scripts.benchmarks.rivals.contenders import Contender
from scripts.benchmarks.rivals.hosts import Pair
from scripts.benchmarks.tree import create

MIB = 1024 * 1024
EQUAL_S_MAX = 180.0
POLL_S = 0.002
QUIET_S = 1.0
SINGLE_WRITES = 200
SMALL_FILES = 5_000
LARGE_SIZE = 256 * MIB
RENAMED_FILES = 1_000
IDLE_FILES = 20_000
IDLE_S = 60.0
CHANGES_AWAY = 1_000
ENDED = "(ended)"
"""In the place of a work: what ended the run of a contender."""
OWN = (".csfs", ".glusterfs", ".stfolder")
"""Beginnings of names that contenders make for themselves."""
Entry = tuple[int, int, int, int]
"""Size (of files), mode, owner and group of something."""


@dataclass
class Figures:
    """What one piece of work took; None for what was not measured. Times in seconds."""

    work: str
    writer: float | None = None
    equal: float | None = None
    """From the beginning of the work until the target had all of it."""
    wire: int | None = None
    cpu: float | None = None
    memory_mib: float | None = None
    """Of both hosts: how far it went above what it was before the work; for `idle`, what one host takes."""
    read: int | None = None
    """Bytes that processes which lived on read, less what came over the cable."""
    p50_ms: float | None = None
    p99_ms: float | None = None
    problem: str = ""


@dataclass
class Run:
    """One contender at work."""

    contender: Contender
    pair: Pair
    scale: float = 1.0
    """A share of all that is written and waited for, for a look at whether everything works."""
    results: list[Figures] = field(default_factory=list)

    def count(self, number: int) -> int:
        """Return `number`, scaled."""
        return max(2, int(number * self.scale))


def snapshot(top: Path, *, owners: bool = True) -> dict[str, Entry]:
    """Return everything below a directory by its path; without `owners` all belongs to root."""
    found: dict[str, Entry] = {}
    pending = [""]
    while pending:
        below = pending.pop()
        with contextlib.suppress(FileNotFoundError), os.scandir(top / below) as entries:
            for entry in entries:
                path = f"{below}{entry.name}"
                if path.startswith(OWN):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    found[path] = _entry(entry.stat(follow_symlinks=False), owners=owners)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{path}/")
    return found


def _entry(status: os.stat_result, *, owners: bool) -> Entry:
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    return size, status.st_mode, status.st_uid if owners else 0, status.st_gid if owners else 0


def _entry_at(path: Path, *, owners: bool) -> Entry | None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return _entry(path.lstat(), owners=owners)
    return None


def wait_equal(run: Run) -> float:
    """Return how many seconds pass until the target has what the source has.

    While one path differs, no other is looked at: to go over all of them again and again takes time that the contenders need.

    Raises:
        TimeoutError: it does not come to that; the message has a difference.
    """
    source, target = run.contender.stored
    begin = time.perf_counter()
    owners = run.contender.keeps_owners
    wanted = snapshot(source, owners=owners)
    while True:
        found = snapshot(target, owners=owners)
        if found == wanted:
            return time.perf_counter() - begin
        differing = {path for path, _ in wanted.items() ^ found.items()}
        # One that is likely to be among the last: a directory goes after what is in it.
        path = min(found.keys() - wanted.keys(), default=None) or max(differing)
        while _entry_at(target / path, owners=owners) != wanted.get(path):
            if time.perf_counter() - begin > EQUAL_S_MAX:
                raise TimeoutError(f"{len(differing)} paths differ: {path}: {wanted.get(path)}, {found.get(path)}")
            time.sleep(POLL_S)


def check_contents(run: Run) -> None:
    """Compare all bytes once it is quiet.

    Raises:
        ValueError: a file holds something else at the target.
    """
    source, target = run.contender.stored
    for path, (size, *_) in snapshot(source).items():
        if size and (source / path).read_bytes() != (target / path).read_bytes():
            raise ValueError(f"{path} holds something else at the target")


@contextlib.contextmanager
def memory_watched(pair: Pair) -> Iterator[Callable[[], float]]:
    """Give what says how far both hosts' memory went above what it is now, in MiB."""
    before = [host.memory_mib() for host in pair.both]
    most, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            now = [host.memory_mib() - at for host, at in zip(pair.both, before, strict=True)]
            most[0] = max(most[0], *now)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: most[0]
    finally:
        ended.set()
        thread.join()


def measured(run: Run, name: str, work: Callable[[], object], *, memory: bool = False) -> None:
    """Do `work`, wait until the target is equal, and note what it took."""
    pair = run.pair
    time.sleep(QUIET_S)
    figures = Figures(name)
    run.results.append(figures)
    with contextlib.ExitStack() as stack:
        peak = stack.enter_context(memory_watched(pair)) if memory else None
        wire, cpu, read = pair.wire_bytes(), pair.cpu_s(), _read_by(pair)
        begin = time.perf_counter()
        work()
        figures.writer = time.perf_counter() - begin
        try:
            wait_equal(run)
            figures.equal = time.perf_counter() - begin
        except TimeoutError as error:
            figures.problem = str(error)
        time.sleep(QUIET_S / 2)
        figures.wire = pair.wire_bytes() - wire
        figures.cpu = pair.cpu_s() - cpu
        figures.read = max(0, _read_by(pair) - read - figures.wire)
        figures.memory_mib = peak() if peak is not None else None


def _read_by(pair: Pair) -> int:
    return sum(host.read_bytes() for host in pair.both)


# --------------------------------------------------------------------------------------------------------------- the works


def single_writes(run: Run) -> None:
    """Small files, one after the other: from close to being visible."""
    dice, writers, delays = random.Random(1), [], []
    figures = Figures("single write")
    run.results.append(figures)
    source, target = run.contender.writes, run.contender.shows
    try:
        for number in range(run.count(SINGLE_WRITES)):
            took, delay = visible_after(source, target, f"single-{number % 20}", dice.randbytes(1000))
            writers.append(took)
            delays.append(delay * 1000)
            time.sleep(0.02 + dice.random() * 0.02)
    except SystemExit as error:
        figures.problem = str(error)
    if delays:
        figures.writer = percentile(writers, 0.5)
        figures.p50_ms, figures.p99_ms = percentile(delays, 0.5), percentile(delays, 0.99)


def small_files(run: Run) -> None:
    """Thousands of small files."""
    top = run.contender.writes / "small"
    top.mkdir()
    measured(run, "small files", lambda: create(top, run.count(SMALL_FILES)))


def attributes(run: Run) -> None:
    """chmod and chown of all of them."""
    paths = [Path(where, name) for where, _, names in os.walk(run.contender.writes / "small") for name in names]

    def change() -> None:
        for path in paths:
            os.chmod(path, 0o640)
            os.chown(path, 1, 1)

    measured(run, "chmod, chown", change)


def large_file(run: Run) -> None:
    """One large file of random bytes, and then 4 KiB in its middle."""
    data = random.Random(2).randbytes(MIB)
    path = run.contender.writes / "large"
    blocks = run.count(LARGE_SIZE // MIB)

    def write() -> None:
        with path.open("wb", buffering=0) as file:
            for number in range(blocks):
                file.write(number.to_bytes(8, "little") + data[8:])

    measured(run, "256 MiB", write, memory=True)
    stored = run.contender.stored[1] / "large"
    middle, patch = blocks // 2 * MIB + 4096, random.Random(3).randbytes(4096)

    def overwrite() -> None:
        with path.open("r+b", buffering=0) as file:
            file.seek(middle)
            file.write(patch)
        closed = time.perf_counter()
        while _piece(stored, middle) != patch:
            if time.perf_counter() - closed > EQUAL_S_MAX:
                raise TimeoutError("4 KiB never arrived")
            time.sleep(POLL_S / 2)

    measured(run, "4 KiB in it", overwrite)


def _piece(path: Path, offset: int) -> bytes:
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), 4096, offset)
    return b""


def renamed(run: Run) -> None:
    """A directory of many files and a large one, renamed."""
    tree = run.contender.writes
    directory = tree / "renamed"
    directory.mkdir()
    for number in range(run.count(RENAMED_FILES)):
        (directory / f"file-{number}").write_bytes(b"%d\n" % number * 100)
    os.rename(tree / "large", directory / "large")
    with contextlib.suppress(TimeoutError):
        wait_equal(run)
    measured(run, "rename of a directory", lambda: os.rename(directory, tree / "under-another-name"))


def removed(run: Run) -> None:
    """All small files, removed."""
    measured(run, "delete", lambda: shutil.rmtree(run.contender.writes / "small"))


def away(run: Run) -> None:
    """The cable is cut, things change, and it is whole again: the time counts from then on."""
    tree, pair = run.contender.writes, run.pair
    (tree / "away").mkdir()
    with contextlib.suppress(TimeoutError):
        wait_equal(run)
    pair.cut()
    for number in range(run.count(CHANGES_AWAY)):
        (tree / "away" / f"file-{number}").write_bytes(b"changed while nobody heard of it %d\n" % number)
    time.sleep(QUIET_S)
    measured(run, "away and back", pair.heal)


def idle(run: Run) -> None:
    """Nothing happens in a tree of many files."""
    top = run.contender.writes / "idle"
    top.mkdir()
    create(top, run.count(IDLE_FILES))
    with contextlib.suppress(TimeoutError):
        wait_equal(run)
    time.sleep(5 * QUIET_S)
    cpu, wire = run.pair.cpu_s(), run.pair.wire_bytes()
    time.sleep(IDLE_S * run.scale)
    memory = max(host.memory_mib() for host in run.pair.both)
    run.results.append(
        Figures("idle", cpu=run.pair.cpu_s() - cpu, wire=run.pair.wire_bytes() - wire, memory_mib=memory)
    )


ALL: dict[str, Callable[[Run], None]] = {
    "single": single_writes,
    "small": small_files,
    "attributes": attributes,
    "delete": removed,
    "large": large_file,
    "rename": renamed,
    "away": away,
    "idle": idle,
}
"""In this order: some work on what an earlier one made (`attributes` and `delete` on `small`, `rename` on `large`)."""
