"""Large files on two members: new, overwritten in part, appended to, shifted. Time, bytes on the wire, bytes read, memory."""

import argparse
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

from scripts.benchmarks.measuring import fresh_filesystem, memory_mib, wire_bytes
from scripts.support.members import Member, two_members

MIB = 1024 * 1024
SAMPLE_S = 0.05
VISIBLE_S_MAX = 120.0
SETTLE_S = 1.5


def bytes_read(*members: Member) -> int:
    """Return the bytes that the daemons have asked the kernel for so far, sockets included."""
    total = 0
    for member in members:
        for line in Path(f"/proc/{member.daemon_pid}/io").read_text().splitlines():
            if line.startswith("rchar:"):
                total += int(line.split()[1])
    return total


class Peak:
    """The most memory (PSS) that one member takes while a block runs, in MiB."""

    def __init__(self, *members: Member) -> None:
        self._members = members
        self.mib = {member.name: 0.0 for member in members}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        while not self._ends.wait(SAMPLE_S):
            for member in self._members:
                self.mib[member.name] = max(self.mib[member.name], memory_mib(member))

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ends.set()
        self._thread.join()


def fill(path: Path, size: int, seed: int) -> None:
    """Write a file of random bytes, a MiB at a time."""
    dice = random.Random(seed)
    with path.open("wb", buffering=0) as file:
        for _ in range(size // MIB):
            file.write(dice.randbytes(MIB))


def patch(path: Path, offset: int, data: bytes) -> None:
    """Overwrite a part of a file."""
    with path.open("r+b", buffering=0) as file:
        file.seek(offset)
        file.write(data)


def visible(path: Path, offset: int, data: bytes) -> float:
    """Wait until `data` can be read at `offset`; return the seconds it took. A stat asks the kernel until something changes."""
    begin = time.perf_counter()
    before = None
    while True:
        status = os.stat(path)
        identity = status.st_ino, status.st_mtime_ns, status.st_size
        if identity != before:
            before = identity
            with path.open("rb", buffering=0) as file:
                file.seek(offset)
                if file.read(len(data)) == data:
                    return time.perf_counter() - begin
        if time.perf_counter() - begin > VISIBLE_S_MAX:
            raise SystemExit(f"{path}: not visible within {VISIBLE_S_MAX} s")
        time.sleep(50e-6)


class Bench:
    """Does one thing at alpha, waits for it at beta, and prints what it cost."""

    def __init__(self, alpha: Member, beta: Member) -> None:
        self.alpha = alpha
        self.beta = beta
        print(f"{'':<34}{'visible ms':>12}{'equal ms':>10}{'wire bytes':>12}{'read bytes':>12}", flush=True)

    def one(self, name: str, work: Callable[[], None], seen: Callable[[], float] | None = None) -> float:
        """Measure `work`; `seen` waits until beta shows it. Returns the seconds until all was applied."""
        alpha, beta = self.alpha, self.beta
        alpha.wait()
        beta.wait()
        time.sleep(SETTLE_S)
        wire, read = wire_bytes(alpha), bytes_read(alpha, beta)
        begin = time.perf_counter()
        work()
        delay = seen() if seen is not None else 0.0
        alpha.wait(300)
        equal = time.perf_counter() - begin
        wire, read = wire_bytes(alpha) - wire, bytes_read(alpha, beta) - read
        shown = f"{delay * 1000:>12.1f}" if seen is not None else f"{'':>12}"
        print(f"{name:<34}{shown}{equal * 1000:>10.0f}{wire:>12}{read:>12}", flush=True)
        return equal

    def check(self, name: str) -> None:
        """End with an error if the two have not the same bytes."""
        with (self.alpha.tree / name).open("rb") as ours, (self.beta.tree / name).open("rb") as theirs:
            while data := ours.read(MIB):
                if theirs.read(MIB) != data:
                    raise SystemExit(f"{name} differs")
            if theirs.read(1):
                raise SystemExit(f"{name} differs in size")


def main() -> None:
    """Measure large files."""
    parser = argparse.ArgumentParser(prog="scripts/bench large", description=__doc__)
    parser.add_argument("--mib", type=int, default=256, help="size of the large file")
    parser.add_argument(
        "--filesystem", choices=("ext4", "xfs"), default="ext4", help="xfs can share blocks between files"
    )
    options = parser.parse_args()
    size = options.mib * MIB
    dice = random.Random(1)
    place = fresh_filesystem(8 * options.mib + 2048, kind=options.filesystem)
    with place as directory, two_members(directory / "members") as (alpha, beta):
        bench = Bench(alpha, beta)
        large, log = "large", "log"
        idle = {member.name: memory_mib(member) for member in (alpha, beta)}
        with Peak(alpha, beta) as peak:
            bench.one(f"new, {options.mib} MiB", lambda: fill(alpha.tree / large, size, 1))
        bench.check(large)
        for number in range(5):
            offset, data = dice.randrange(size // 4096) * 4096, dice.randbytes(4096)
            bench.one(
                f"4 KiB overwritten, {number + 1}",
                lambda offset=offset, data=data: patch(alpha.tree / large, offset, data),  # type: ignore[misc]
                lambda offset=offset, data=data: visible(beta.tree / large, offset, data),  # type: ignore[misc]
            )
        offsets = [dice.randrange(size // 4096) * 4096 for _ in range(40)]
        bench.one("40 x 4 KiB, one handle", lambda: scattered(alpha.tree / large, offsets))
        bench.check(large)
        fill(alpha.tree / log, 64 * MIB, 2)
        data = dice.randbytes(4096)
        bench.one(
            "4 KiB appended to 64 MiB",
            lambda: appended(alpha.tree / log, data),
            lambda: visible(beta.tree / log, 64 * MIB, data),
        )
        bench.one("64 MiB, 100 bytes put in front", lambda: shifted(alpha.tree / log))
        bench.one("touch of 64 MiB", lambda: os.utime(alpha.tree / log))
        bench.check(log)
        for member in (alpha, beta):
            print(f"memory of {member.name}: {idle[member.name]:.0f} MiB idle, {peak.mib[member.name]:.0f} at most")


def scattered(path: Path, offsets: list[int]) -> None:
    """Overwrite many parts of a file, as a database does."""
    with path.open("r+b", buffering=0) as file:
        for offset in offsets:
            file.seek(offset)
            file.write(os.urandom(4096))


def appended(path: Path, data: bytes) -> None:
    """Append to a file."""
    with path.open("ab", buffering=0) as file:
        file.write(data)


def shifted(path: Path) -> None:
    """Write a file anew with a little put in front of what it had."""
    new = path.with_name(path.name + ".new")
    new.write_bytes(os.urandom(100) + path.read_bytes())
    new.rename(path)


if __name__ == "__main__":
    main()
