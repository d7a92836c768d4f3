"""A member that joins with a tree like the others': how long it takes until both know that nothing differs, and what that sends."""

import argparse
import contextlib
import os
import random
import subprocess
import threading
import time
from pathlib import Path

from csfs.errors import CsfsError
from scripts.benchmarks.measuring import cpu_s, fresh_filesystem, wire_bytes
from scripts.support.members import Member, free_port, replicating

SIZE_MAX = 2_000
PER_DIRECTORY = 100
PATIENCE_S = 900.0
SAMPLE_S = 0.5


def make(tree: Path, count: int) -> int:
    """Make `count` files of random bytes in directories of a hundred; return how many bytes they have."""
    dice, total = random.Random(1), 0
    for number in range(count):
        directory = tree / f"directory-{number // PER_DIRECTORY:05}"
        if number % PER_DIRECTORY == 0:
            directory.mkdir(parents=True)
        data = dice.randbytes(dice.randrange(1, SIZE_MAX))
        (directory / f"file-{number:07}").write_bytes(data)
        total += len(data)
    return total


class Wire:
    """The bytes that pass between two members while a block runs, over all the connections that they make."""

    def __init__(self, member: Member) -> None:
        self.size = 0
        self._member = member
        self._last = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        while not self._ends.wait(SAMPLE_S):
            with contextlib.suppress(CsfsError):  # it is busy
                self.note()

    def note(self) -> None:
        """Take in what has passed since the last time."""
        if not self._member.status()["peers"]:
            return  # it is yet to join
        now = wire_bytes(self._member)
        self.size += now - self._last if now >= self._last else now
        self._last = now

    def __enter__(self) -> "Wire":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ends.set()
        self._thread.join()


def main() -> None:
    """Have a member with an equal tree join, and print what it cost."""
    parser = argparse.ArgumentParser(prog="scripts/bench equal", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    options = parser.parse_args()
    with fresh_filesystem(1024 + options.files // 25, bytes_per_inode=4096) as place:
        alpha, beta = (Member(place, name, free_port()) for name in ("alpha", "beta"))
        total = make(alpha.tree, options.files)
        beta.directory.mkdir()
        subprocess.run(["cp", "-a", str(alpha.tree), str(beta.tree)], check=True)
        try:
            measure(alpha, beta, options.files, total)
        finally:
            alpha.stop()
            beta.stop()


def measure(alpha: Member, beta: Member, count: int, total: int) -> None:
    """Print what indexing, and then agreeing, costs."""
    begin = time.perf_counter()
    alpha.found()
    alpha.mount()
    alpha.wait(PATIENCE_S)
    print(f"{count} files, {total} bytes: indexed at one member in {time.perf_counter() - begin:.1f} s", flush=True)
    os.sync()  # on one disk, the other one's first words would wait for all of this to be written
    begin, before = time.perf_counter(), cpu_s(alpha)
    with Wire(alpha) as wire:
        beta.join(alpha)
        beta.mount()
        replicating(alpha, beta, timeout_s=PATIENCE_S)
    wire.note()
    taken = time.perf_counter() - begin
    fetched = beta.volume()["bytes_fetched"] + alpha.volume()["bytes_fetched"]
    print(f"the other one agrees after {taken:.1f} s; CPU {cpu_s(alpha) - before:.1f} s and {cpu_s(beta):.1f} s")
    print(f"{wire.size} bytes on the wire, contents of {fetched} bytes among them")


if __name__ == "__main__":
    main()
