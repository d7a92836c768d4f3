"""Sparse files between members: what is in them travels, their holes do not, and stay holes."""

import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.benchmarks.large import bytes_read
from scripts.benchmarks.measuring import fresh_filesystem, memory_mib, wire_bytes
from scripts.support.members import Member, two_members
from tests.cluster.conftest import expect_calm_logs

MIB, TIB = 1 << 20, 1 << 40
SECONDS_MAX = 20.0
"""On a machine that does a good deal else: it takes about one."""
WIRE_MAX = 64 * 1024
ROOM_MAX = 2 * MIB

Pair = tuple[Member, Member]


@pytest.fixture(scope="module", params=["ext4", "xfs", "btrfs"])
def members(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two members on a file system whose files may have terabytes."""
    if shutil.which(f"mkfs.{request.param}") is None:
        pytest.skip(f"no mkfs.{request.param} here")
    with fresh_filesystem(1024, kind=request.param) as place, two_members(place / "members") as pair:
        yield pair
        expect_calm_logs(*pair)


def data_of(path: Path) -> dict[int, bytes]:
    """Return what a sparse file has beside holes and zeros, by its place in pieces of 4 KiB."""
    found = {}
    with path.open("rb", buffering=0) as file:
        descriptor, end, size = file.fileno(), 0, os.fstat(file.fileno()).st_size
        while end < size:
            try:
                first = os.lseek(descriptor, end, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(descriptor, first, os.SEEK_HOLE)
            for at in range(first // 4096 * 4096, end, 4096):
                data = os.pread(descriptor, 4096, at)
                if data.strip(b"\0"):
                    found[at] = data
    return found


def expect_same(pair: Pair, name: str) -> None:
    """Both show the same bytes, and neither takes room for the holes."""
    alpha, beta = pair
    alpha.wait()
    ours, theirs = alpha.underneath / name, beta.underneath / name
    assert ours.stat().st_size == theirs.stat().st_size
    assert data_of(ours) == data_of(theirs)
    assert theirs.stat().st_blocks * 512 < ours.stat().st_blocks * 512 + ROOM_MAX


def test_a_terabyte_that_holds_a_megabyte_costs_a_megabyte(members: Pair) -> None:
    alpha, beta = members
    wire, read, memory, began = wire_bytes(alpha), bytes_read(*members), memory_mib(beta), time.monotonic()
    dice = random.Random(1)
    with (alpha.tree / "large").open("wb", buffering=0) as file:
        file.truncate(TIB)
        for _ in range(16):
            os.pwrite(file.fileno(), dice.randbytes(MIB // 16), dice.randrange(TIB // MIB) * MIB)
    alpha.wait()
    assert time.monotonic() - began < SECONDS_MAX
    assert wire_bytes(alpha) - wire < MIB + 4 * WIRE_MAX
    assert bytes_read(*members) - read < 32 * MIB
    assert memory_mib(beta) - memory < 64
    expect_same(members, "large")
    for offset, data in ((5 * MIB, b"x" * 4096), (TIB - 10, b"the end"), (TIB // 2, b"y" * 100)):
        wire, began = wire_bytes(alpha), time.monotonic()
        with (alpha.tree / "large").open("r+b", buffering=0) as file:
            os.pwrite(file.fileno(), data, offset)
        alpha.wait()
        assert time.monotonic() - began < SECONDS_MAX
        assert wire_bytes(alpha) - wire < WIRE_MAX
        expect_same(members, "large")
    (alpha.tree / "large").unlink()
    alpha.wait()


def test_a_file_grows_by_a_hole_and_gets_holes(members: Pair) -> None:
    alpha, _ = members
    path = alpha.tree / "grows"
    path.write_bytes(os.urandom(3 * MIB))
    alpha.wait()
    wire = wire_bytes(alpha)
    with path.open("r+b", buffering=0) as file:
        file.truncate(100 << 30)
        os.pwrite(file.fileno(), b"end", (100 << 30) - 3)
    expect_same(members, "grows")
    subprocess.run(["fallocate", "--punch-hole", "-o", str(MIB // 2), "-l", str(2 * MIB), str(path)], check=True)
    expect_same(members, "grows")
    os.truncate(path, MIB)
    expect_same(members, "grows")
    assert wire_bytes(alpha) - wire < 4 * WIRE_MAX


def test_a_sparse_file_that_is_replaced_comes_back_sparse(members: Pair) -> None:
    alpha, beta = members
    path = alpha.tree / "replaced"
    with path.open("wb", buffering=0) as file:
        file.truncate(TIB)
        os.pwrite(file.fileno(), b"first", TIB // 3)
    alpha.wait()
    (alpha.tree / "new").write_text("another")
    (alpha.tree / "new").rename(path)
    alpha.wait()
    began = time.monotonic()
    beta.csfs("restore", f"{beta.tree / 'replaced'}@{_version(beta, 'replaced')}", check=True)
    assert time.monotonic() - began < SECONDS_MAX
    beta.wait()
    assert path.stat().st_size == TIB
    expect_same(members, "replaced")


def _version(member: Member, name: str) -> str:
    """Return the version of a path that is a terabyte."""
    found = json.loads(member.csfs("history", "--json", str(member.tree / name)).stdout)
    return next(str(version["version"]) for version in found["versions"] if version["size"] == TIB)


def test_a_file_that_is_larger_than_any_may_be_is_a_problem_and_holds_up_nothing(members: Pair) -> None:
    alpha, beta = members
    try:
        with (alpha.tree / "huge").open("wb") as file:
            file.truncate(17 << 40)
    except OSError:
        pytest.skip("this file system has no such files")
    (alpha.tree / "after").write_text("after it")
    alpha.wait()
    assert (beta.tree / "after").read_text() == "after it"
    problems = alpha.volume()["problems"]
    assert any("16 TiB" in problem["reason"] for problem in problems)
    (alpha.tree / "huge").unlink()
    alpha.wait()
