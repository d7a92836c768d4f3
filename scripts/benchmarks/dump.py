"""A database's dump that is written anew with a little put in between, again and again: bytes on the wire and time, beside rsync."""

import argparse
import random
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from scripts.benchmarks.measuring import cpu_s, fresh_filesystem, wire_bytes
from scripts.support.members import Member, two_members

MIB = 1024 * 1024
WORDS = (
    "lorem",
    "ipsum",
    "dolor",
    "sit",
    "amet",
    "consectetur",
    "adipiscing",
    "elit",
    "tempor",
    "incididunt",
    "labore",
    "magna",
)


def row(dice: random.Random, number: int) -> str:
    """Return one line of a dump, as an INSERT is written."""
    words = " ".join(dice.choices(WORDS, k=dice.randrange(4, 24)))
    mail = f"{dice.choice(WORDS)}.{dice.getrandbits(40):x}@example.net"
    stamp = (
        f"2026-{dice.randrange(1, 13):02}-{dice.randrange(1, 29):02} {dice.randrange(24):02}:{dice.randrange(60):02}:07"
    )
    return f"INSERT INTO posts VALUES ({number},{dice.randrange(5000)},'{mail}','{stamp}','{words}',{dice.random():.6f});\n"


def dump(size: int, seed: int) -> list[str]:
    """Return the lines of a dump of about `size` bytes."""
    return list(_rows(size, random.Random(seed)))


def _rows(size: int, dice: random.Random) -> Iterator[str]:
    number = 0
    while size > 0:
        number += 1
        line = row(dice, number)
        size -= len(line)
        yield line


def with_insertions(lines: list[str], count: int, seed: int) -> list[str]:
    """Return the lines with `count` new ones spread among them."""
    dice = random.Random(seed)
    new, at = list(lines), sorted(dice.sample(range(len(lines)), count), reverse=True)
    for place in at:
        new.insert(place, row(dice, 10_000_000 + place))
    return new


def rsynced(old: Path, new: Path, *options: str) -> tuple[int, float]:
    """Return the bytes that rsync's two ends tell each other to make `old` what `new` is, and the seconds it takes."""
    begin = time.perf_counter()
    command = ["rsync", "--no-whole-file", "--stats", *options, str(new), str(old)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.replace(",", "")
    taken = time.perf_counter() - begin
    return sum(int(n) for n in re.findall(r"Total bytes (?:sent|received): (\d+)", said)), taken


def replicated(alpha: Member, beta: Member, name: str, data: bytes) -> tuple[int, float, float]:
    """Have alpha write a file as a whole; return the bytes on the wire, the seconds until beta has it, and the CPU of both."""
    for member in (alpha, beta):
        member.wait()
    time.sleep(1)
    wire, used, begin = wire_bytes(alpha), cpu_s(alpha, beta), time.perf_counter()
    (alpha.tree / name).write_bytes(data)
    alpha.wait(120)
    taken = time.perf_counter() - begin
    if (beta.tree / name).read_bytes() != data:
        raise SystemExit(f"{name} differs")
    return wire_bytes(alpha) - wire, taken, cpu_s(alpha, beta) - used


def main() -> None:
    """Measure insertions into one dump, few and many."""
    parser = argparse.ArgumentParser(prog="scripts/bench dump", description=__doc__)
    parser.add_argument("--mib", type=int, default=64, help="size of the dump")
    options = parser.parse_args()
    lines = dump(options.mib * MIB, 1)
    old = "".join(lines).encode()
    with fresh_filesystem(12 * options.mib + 1024) as place, two_members(place / "members") as (alpha, beta):
        first, second = place / "old.sql", place / "new.sql"
        print(f"{'':<26}{'csfs wire':>12}{'s':>7}{'CPU s':>7}{'rsync wire':>12}{'s':>7}{'rsync -z':>12}{'s':>7}")
        wire, taken, used = replicated(alpha, beta, "dump.sql", old)
        print(f"{'new, ' + str(options.mib) + ' MiB':<26}{wire:>12}{taken:>7.2f}{used:>7.2f}", flush=True)
        for count in (10, 100, 1_000, 5_000):
            replicated(alpha, beta, "dump.sql", old)
            data = "".join(with_insertions(lines, count, count)).encode()
            wire, taken, used = replicated(alpha, beta, "dump.sql", data)
            print(f"{str(count) + ' lines put in':<26}{wire:>12}{taken:>7.2f}{used:>7.2f}", end="")
            second.write_bytes(data)
            for compressed in ((), ("-z",)):
                first.write_bytes(old)
                wire, taken = rsynced(first, second, *compressed)
                print(f"{wire:>12}{taken:>7.2f}", end="")
            print(flush=True)


if __name__ == "__main__":
    main()
