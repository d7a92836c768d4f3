"""A member that joins with a tree like the others': how long it takes until both know that nothing differs, and what that sends."""

import argparse
import random
import time
from pathlib import Path

from scripts.benchmarks.measuring import cpu_s, fresh_filesystem, wire_bytes
from scripts.support.members import Member, cluster_of, free_port, replicating, until

SIZE_MAX = 2_000
PER_DIRECTORY = 100
PATIENCE_S = 900.0


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


def main() -> None:
    """Have a member with an equal tree join, and print what it cost."""
    parser = argparse.ArgumentParser(prog="scripts/bench equal", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    options = parser.parse_args()
    with fresh_filesystem(1024 + options.files // 25, bytes_per_inode=4096) as place:
        total = make(place / "source", options.files)
        alpha, beta = (Member(place, name, free_port()) for name in ("alpha", "beta"))
        with cluster_of(alpha, beta, place / "source", mounted=False):
            begin = time.perf_counter()
            alpha.mount()
            until(lambda: alpha.volume()["state"] == "replicating", "alpha has its tree indexed", PATIENCE_S)
            print(
                f"{options.files} files, {total} bytes: indexed at one member in {time.perf_counter() - begin:.1f} s",
                flush=True,
            )
            begin, before = time.perf_counter(), cpu_s(alpha)
            beta.mount()
            replicating(alpha, beta, timeout_s=PATIENCE_S)
            taken = time.perf_counter() - begin
            fetched = beta.volume()["bytes_fetched"] + alpha.volume()["bytes_fetched"]
            print(
                f"the other one agrees after {taken:.1f} s; CPU {cpu_s(alpha) - before:.1f} s and {cpu_s(beta):.1f} s"
            )
            print(f"{wire_bytes(alpha)} bytes on the wire, {fetched} of them contents")


if __name__ == "__main__":
    main()
