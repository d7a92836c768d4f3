"""A great many small files: memory of the processes, what the kernel makes the mount remember, and comparing all of them.

One member alone. Memory is PSS of now and, for the daemon, the most it ever had; a file's share is of what the files added.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.benchmarks.measuring import TICKS_PER_S, fresh_filesystem, percentile
from scripts.support.members import VOLUME, Member, free_port, until

FILES_PER_DIRECTORY = 100
DIRECTORIES_PER_DIRECTORY = 100
PATIENCE_S = 7200.0
PROBE_S = 0.02


def path_of(number: int) -> str:
    """Return where a file lies: in directories of a hundred in directories of a hundred."""
    directory = number // FILES_PER_DIRECTORY
    return f"part-{directory // DIRECTORIES_PER_DIRECTORY:03}/directory-{directory:05}/file-{number:07}"


def make(tree: Path, count: int) -> None:
    """Make `count` files of some bytes each."""
    for number in range(count):
        path = tree / path_of(number)
        if number % FILES_PER_DIRECTORY == 0:
            path.parent.mkdir(parents=True)
        written = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(written, b"%d\n" % number)
        os.close(written)
    os.sync()


def kib(pid: int, name: str, file: str = "smaps_rollup") -> int:
    """Return one figure of a process in KiB."""
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise ValueError(f"no {name} in /proc/{pid}/{file}")


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of one process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def nodes_known(member: Member) -> str:
    """Return what the mount says that it remembers."""
    log = member.home.mount_log(VOLUME)
    before = log.read_text().count("inodes known")
    os.kill(member.mount_pid, signal.SIGUSR1)
    until(lambda: log.read_text().count("inodes known") > before, "the mount tells what it remembers")
    found = re.findall(r"(\d+ inodes known.*)", log.read_text())
    return str(found[-1])


def show_memory(title: str, member: Member) -> None:
    """Print what each process of the member takes."""
    print(f"{title}:")
    for name, pid in (("mount", member.mount_pid), ("parent", member.parent_pid), ("daemon", member.daemon_pid)):
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        figures = " ".join(f"{key} {kib(pid, key) / 1024:7.1f}" for key in ("Pss", "Rss"))
        print(f"  {name:<8}{figures}  peak {kib(pid, 'VmHWM', 'status') / 1024:7.1f} MiB  {descriptors:>4} descriptors")
    print(f"  {'':<8}{nodes_known(member)}", flush=True)


@contextmanager
def timed(title: str, count: int, *pids: int) -> Iterator[None]:
    """Print how long a block took, and the CPU time of these processes in it."""
    begin, before = time.perf_counter(), [cpu_s(pid) for pid in pids]
    yield
    taken = time.perf_counter() - begin
    used = ", ".join(f"{cpu_s(pid) - start:.1f}" for pid, start in zip(pids, before, strict=True))
    print(f"{title}: {taken:.1f} s, {count / taken:,.0f} files/s" + (f", CPU {used} s" if used else ""), flush=True)


def walk(tree: Path) -> None:
    """Look at every file, as find does."""
    subprocess.run(["find", str(tree), "-size", "+1M"], check=True, stdout=subprocess.DEVNULL)


def drop_caches() -> None:
    """Have the kernel let go of the inodes that nobody uses."""
    Path("/proc/sys/vm/drop_caches").write_text("2\n")


def index_bytes(member: Member) -> int:
    """Return the size of the index with its log."""
    index = member.home.index(VOLUME)
    return sum(path.stat().st_size for path in index.parent.glob(f"{index.name}*"))


class Probes:
    """Seconds that operations took while something else went on."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}

    def time(self, name: str, act: Callable[[], object]) -> None:
        """Do one operation and remember how long it took."""
        begin = time.perf_counter()
        act()
        self.taken.setdefault(name, []).append(time.perf_counter() - begin)

    def show(self) -> None:
        """Print medians and worst cases."""
        for name, values in self.taken.items():
            shares = " ".join(f"p{share * 100:.0f} {percentile(values, share) * 1000:.2f}" for share in (0.5, 0.99))
            print(f"  {name:<16}{len(values):>6} times, ms: {shares} max {max(values) * 1000:.2f}")


def compare_anew(title: str, member: Member, count: int) -> None:
    """Have mount and daemon die, and work in the mount while the daemon compares."""
    member.kill_daemon()
    member.kill_mount()
    member.start_daemon()
    begin, probes, dice = time.perf_counter(), Probes(), random.Random(5)
    until(lambda: member.volume()["state"] == "comparing", "the comparison has begun")
    number = 0
    while member_state(member, probes) == "comparing":
        for _ in range(20):
            number += 1
            known, new = member.tree / path_of(dice.randrange(count)), member.tree / f"new-{number}"
            probes.time("stat", known.stat)
            probes.time("create, unlink", lambda path=new: made_and_removed(path))
            time.sleep(PROBE_S)
    print(
        f"compared after an unclean stop, {title}: {time.perf_counter() - begin:.1f} s until it replicates", flush=True
    )
    print(f"  the daemon: {compared(member)}; CPU {cpu_s(member.daemon_pid):.1f} s with its start")
    print("meanwhile, beside the benchmark's own pauses:")
    probes.show()


def member_state(member: Member, probes: Probes) -> str:
    """Return the volume's state, and time how long the daemon's loop took to tell it."""
    state: list[str] = []
    probes.time("csfs status", lambda: state.append(member.volume()["state"]))
    return state[0]


def made_and_removed(path: Path) -> None:
    """Make a file and remove it."""
    path.touch()
    path.unlink()


def compared(member: Member) -> str:
    """Return what the daemon's log says of its last comparison."""
    return str(re.findall(r"(compared .*)", member.home.daemon_log.read_text())[-1])


def main() -> None:
    """Make the files, index them, walk them, forget them, compare them."""
    parser = argparse.ArgumentParser(prog="scripts/bench million", description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    options = parser.parse_args()
    count = options.files
    mib = 1024 + count // 100  # a block and an inode each, and the index
    with fresh_filesystem(mib, bytes_per_inode=8192) as place:
        member = Member(place, "alpha", free_port())
        member.directory.mkdir(parents=True)
        try:
            measure(member, count)
        finally:
            member.stop()


def measure(member: Member, count: int) -> None:
    """Print everything, in the order of the member's life."""
    with timed("files made underneath", count):
        make(member.tree, count)
    member.found()
    with timed("first mount, until all is indexed", count):
        member.mount()
        member.wait(PATIENCE_S)
    print(f"  CPU of the daemon {cpu_s(member.daemon_pid):.1f} s; index {index_bytes(member) / count:.0f} bytes a file")
    show_memory("indexed, nothing walked", member)
    for title in ("walked through the mount", "walked again, from the kernel's cache"):
        with timed(title, count, member.mount_pid):
            walk(member.tree)
    show_memory("all known to the kernel", member)
    with timed("forgotten by the kernel", count, member.mount_pid):
        drop_caches()
        until(lambda: int(nodes_known(member).split()[0]) < count // 10 + 1000, "the mount forgets, too", 120)
    show_memory("forgotten", member)
    compare_anew("inodes read from disk", member, count)
    show_memory("compared", member)
    compare_anew("inodes in memory", member, count)


if __name__ == "__main__":
    main()
