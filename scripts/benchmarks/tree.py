"""Five thousand small files created in a mount, their modes changed, and all removed: time, bytes on the wire, CPU."""

import argparse
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from scripts.benchmarks.measuring import cpu_s, fresh_filesystem, memory_mib, wire_bytes
from scripts.support.members import Member, two_members
from tests.trees import differences

FILES_PER_DIRECTORY = 100


def create(tree: Path, count: int) -> int:
    """Write `count` files of 0.5 to 16 KiB, and return their bytes."""
    dice = random.Random(7)
    total = 0
    for number in range(count):
        directory = tree / f"d{number // FILES_PER_DIRECTORY:03}"
        if number % FILES_PER_DIRECTORY == 0:
            directory.mkdir()
        data = dice.randbytes(dice.randrange(512, 8656))
        with open(directory / f"f{number:05}", "wb", buffering=0) as file:
            file.write(data)
        total += len(data)
    return total


def measured(name: str, alpha: Member, beta: Member, work: Callable[[], object], count: int) -> None:
    """Do `work` at alpha, wait until beta is equal, and print what it cost."""
    bytes_before, cpu_before = wire_bytes(alpha), cpu_s(alpha, beta)
    begin = time.perf_counter()
    work()
    written = time.perf_counter() - begin
    alpha.wait(300)
    equal = time.perf_counter() - begin
    sent, used = wire_bytes(alpha) - bytes_before, cpu_s(alpha, beta) - cpu_before
    found = differences(str(alpha.directory / "tree"), str(beta.directory / "tree"), ignore={"/.csfs"})
    if found:
        raise SystemExit(f"{name}: the trees differ: {found[:5]}")
    print(f"{name:<10}{written:>10.2f}{equal:>10.2f}{sent:>12}{sent / count:>10.1f}{used:>8.2f}", flush=True)


def main() -> None:
    """Measure the tree's life."""
    parser = argparse.ArgumentParser(prog="scripts/bench tree", description=__doc__)
    parser.add_argument("--files", type=int, default=5000)
    options = parser.parse_args()
    count = options.files
    with fresh_filesystem() as place, two_members(place / "members") as (alpha, beta):
        top = alpha.tree / "work"
        top.mkdir()
        alpha.wait()
        paths: list[str] = []
        native = alpha.directory / "native"
        native.mkdir()
        begin = time.perf_counter()
        total = create(native, count)
        print(f"{count} files, {total} bytes; written outside of csfs in {time.perf_counter() - begin:.2f} s")
        print(f"{'':<10}{'writer s':>10}{'equal s':>10}{'wire bytes':>12}{'a file':>10}{'CPU s':>8}")
        measured("create", alpha, beta, lambda: create(top, count), count)
        paths = [os.path.join(where, name) for where, _, names in os.walk(top) for name in names]
        measured("chmod", alpha, beta, lambda: [os.chmod(path, 0o640) for path in paths], count)
        measured("chown", alpha, beta, lambda: [os.chown(path, 1, 1) for path in paths], count)
        measured("touch", alpha, beta, lambda: [os.utime(path) for path in paths], count)
        measured("rename", alpha, beta, lambda: os.rename(top / "d000", top / "moved"), count)
        measured("delete", alpha, beta, lambda: shutil.rmtree(top), count)
        print(f"memory of one member: {memory_mib(alpha):.0f} and {memory_mib(beta):.0f} MiB (PSS)")
        before = cpu_s(alpha, beta), wire_bytes(alpha)
        time.sleep(10)
        print(f"idle, 10 s: {cpu_s(alpha, beta) - before[0]:.2f} s CPU, {wire_bytes(alpha) - before[1]} bytes")


if __name__ == "__main__":
    main()
