"""Large files: what travels and what is read follows what was written, nobody sees a half, and what is overwritten comes back."""

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.store.redo import LOGS
from scripts.benchmarks.large import appended, bytes_read, fill, patch, visible
from scripts.benchmarks.measuring import fresh_filesystem, wire_bytes
from scripts.support.members import VOLUME, Member, two_members, until
from tests.cluster.conftest import expect_calm_logs

MIB = 1024 * 1024
SIZE = 24 * MIB
WIRE_MAX = 8_000
READ_MAX = 400_000

Pair = tuple[Member, Member]


@pytest.fixture(scope="module", params=["ext4", "xfs", "btrfs"])
def members(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two members on a file system that can have files share blocks, or cannot."""
    if shutil.which(f"mkfs.{request.param}") is None:
        pytest.skip(f"no mkfs.{request.param} here")
    with fresh_filesystem(4096, kind=request.param) as place, two_members(place / "members") as pair:
        yield pair
        expect_calm_logs(*pair)


def made(pair: Pair, name: str) -> tuple[Path, Path]:
    """Have a large file on both; return it as either has it."""
    alpha, beta = pair
    fill(alpha.tree / name, SIZE, hash(name))
    alpha.wait()
    return alpha.tree / name, beta.tree / name


def expect_same(pair: Pair, ours: Path, theirs: Path) -> None:
    for member in pair:
        member.wait()
    assert ours.read_bytes() == theirs.read_bytes()
    assert ours.stat().st_mtime_ns == theirs.stat().st_mtime_ns


def is_shared(pair: Pair) -> bool:
    """Return whether these members replace files by copies that share blocks."""
    found = subprocess.run(["stat", "-f", "-c", "%T", pair[0].directory], capture_output=True, text=True, check=True)
    return found.stdout.strip() in ("xfs", "btrfs")


def test_four_kib_cost_some_kilobytes_and_a_few_blocks(members: Pair) -> None:
    ours, theirs = made(members, "overwritten")
    wires, reads = [], []
    for offset in (5 * MIB + 4096, 9 * MIB, 11 * MIB, SIZE - 4096):
        before, data = theirs.stat().st_ino, os.urandom(4096)
        wire, read = wire_bytes(members[0]), bytes_read(*members)
        patch(ours, offset, data)
        visible(theirs, offset, data)
        members[0].wait()
        wires.append(wire_bytes(members[0]) - wire)
        reads.append(bytes_read(*members) - read)
        assert (theirs.stat().st_ino != before) == is_shared(members), "replaced where blocks can be shared"
    # The file is new: one of these may have met a second look at all of it.
    assert sorted(wires)[-2] < WIRE_MAX
    assert sorted(reads)[-2] < READ_MAX
    expect_same(members, ours, theirs)


def test_appending_and_truncating_send_the_end_alone(members: Pair) -> None:
    ours, theirs = made(members, "log")
    wire = wire_bytes(members[0])
    for _ in range(3):
        data = os.urandom(1000)
        size = ours.stat().st_size
        appended(ours, data)
        visible(theirs, size, data)
        members[0].wait()
    os.truncate(ours, SIZE - 100_000)
    members[0].wait()
    os.truncate(ours, SIZE)
    members[0].wait()
    assert wire_bytes(members[0]) - wire < 5 * WIRE_MAX
    expect_same(members, ours, theirs)


def test_who_has_a_file_open_goes_on_seeing_what_it_was(members: Pair) -> None:
    ours, theirs = made(members, "open")
    before = theirs.read_bytes()
    with theirs.open("rb", buffering=0) as reader:
        assert reader.read(10) == before[:10]
        patch(ours, 10, b"x" * 8192)
        visible(theirs, 10, b"x" * 8192)
        reader.seek(0)
        assert reader.read() == before
    expect_same(members, ours, theirs)


def test_nobody_reads_a_mixture(members: Pair) -> None:
    ours, theirs = made(members, "mixture")
    marks = [0, 3 * MIB, 11 * MIB, SIZE - 8]
    number, ends, mixed = 0, threading.Event(), list[list[bytes]]()

    def read() -> None:
        while not ends.is_set():
            with theirs.open("rb", buffering=0) as file:
                found = []
                for mark in marks:
                    file.seek(mark)
                    found.append(file.read(8))
            if number and len(set(found)) > 1 and min(found) >= b"%08d" % 1:
                mixed.append(found)

    def write() -> None:
        with ours.open("r+b", buffering=0) as file:
            for mark in marks:
                file.seek(mark)
                file.write(b"%08d" % number)

    number = 1
    write()
    members[0].wait()
    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(2, 30):  # noqa: B007 - what the writer writes
            write()
            members[0].wait()
    finally:
        ends.set()
        reader.join()
    assert not mixed
    expect_same(members, ours, theirs)


def test_what_was_overwritten_is_restored_from_its_blocks(members: Pair) -> None:
    _, beta = members
    ours, theirs = made(members, "restored")
    contents = [theirs.read_bytes()]
    for number in range(3):
        patch(ours, number * 5 * MIB, b"%d" % number * 5000)
        members[0].wait()
        contents.append(theirs.read_bytes())
    versions = json.loads(beta.csfs("history", "--json", str(theirs)).stdout)["versions"]
    kept = [version for version in versions if version["kept_ns"] and version["size"] == SIZE]
    assert len(kept) == 3
    names = {path.name: path for path in (beta.underneath / ".csfs/kept").iterdir() if path.name.endswith(".blocks")}
    with contextlib.closing(sqlite3.connect(f"file:{beta.home.index(VOLUME)}?mode=ro", uri=True)) as index:
        counted = dict(index.execute("SELECT name, stored FROM kept WHERE path = CAST('restored' AS BLOB) AND stored"))
    assert len(counted) == (0 if is_shared(members) else 3)
    for name, stored in counted.items():
        assert 0 < names[os.fsdecode(name)].stat().st_blocks * 512 <= stored + 4096
    members[0].stop_daemon()
    try:
        beta.csfs("restore", f"{theirs}@{kept[-1]['version']}")
        assert theirs.read_bytes() == contents[0]
        beta.csfs("restore", f"{theirs}@{kept[-2]['version']}")
        assert theirs.read_bytes() == contents[1]
    finally:
        members[0].start_daemon()
    until(lambda: members[0].peer()["connected"], "connected again")
    expect_same(members, ours, theirs)


def test_a_copy_of_which_little_is_changed_takes_the_rest_from_here(members: Pair) -> None:
    alpha = members[0]
    ours, theirs = made(members, "original")
    wire = wire_bytes(alpha)
    data = bytearray(ours.read_bytes())
    data[7 * MIB : 7 * MIB + 3] = b"new"
    # What is looked at before it has its name is another file, and travels.
    os.kill(alpha.daemon_pid, signal.SIGSTOP)
    try:
        (alpha.tree / "edited.tmp").write_bytes(data)
        (alpha.tree / "edited.tmp").rename(ours)  # as an editor saves
    finally:
        os.kill(alpha.daemon_pid, signal.SIGCONT)
    alpha.wait()
    assert wire_bytes(alpha) - wire < MIB
    expect_same(members, ours, theirs)


def test_a_copy_shares_its_blocks_where_it_can_and_a_rename_copies_nothing(members: Pair) -> None:
    alpha, beta = members
    ours, theirs = made(members, "source")
    os.sync()
    wire, before, inode = wire_bytes(alpha), room_taken(beta), theirs.stat().st_ino
    shutil.copyfile(ours, alpha.tree / "copy")
    alpha.wait()
    os.sync()
    taken = room_taken(beta) - before - SIZE  # what alpha's copy takes, on the same disk
    ours.rename(alpha.tree / "under another name")
    alpha.wait()
    assert wire_bytes(alpha) - wire < 4 * WIRE_MAX
    assert (taken < SIZE // 4) == is_shared(members)
    assert (beta.tree / "under another name").stat().st_ino == inode
    for name in ("copy", "under another name"):
        expect_same(members, alpha.tree / name, beta.tree / name)


def room_taken(member: Member) -> int:
    """Return how many bytes of the disk are taken."""
    space = os.statvfs(member.underneath)
    return (space.f_blocks - space.f_bfree) * space.f_frsize


def test_kills_while_large_files_are_overwritten_lose_and_mix_nothing(members: Pair) -> None:
    alpha, beta = members
    ours, theirs = made(members, "killed")
    dice = random.Random(3)
    for number in range(6):
        with ours.open("r+b", buffering=0) as file:
            for _ in range(5):
                file.seek(dice.randrange(SIZE))
                file.write(dice.randbytes(dice.randrange(1, 9000)))
        if number % 3 == 0:
            beta.kill_mount()
        elif number % 3 == 1:
            beta.kill_daemon()
            beta.start_daemon()
        else:
            alpha.kill_mount()
    for member in members:
        until(lambda m=member: m.volume()["state"] == "replicating", "replicates")  # type: ignore[misc]
        until(lambda m=member: m.peer()["connected"], "connected")  # type: ignore[misc]
    expect_same(members, ours, theirs)
    stage = beta.underneath / ".csfs/stage"
    until(lambda: not [name for name in os.listdir(stage) if os.fsencode(name).startswith(LOGS)], "no log is left")
