"""A large file that has to be hashed as a whole is read beside everything else, and what was read counts only if nothing changed."""

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import RelPath
from csfs.replicate import looking, observer, reading
from csfs.replicate.gate import Gate as Gateway
from csfs.replicate.looking import Reason
from csfs.replicate.volume import Root
from csfs.store.hashing import hash_bytes
from csfs.store.observing import Limits
from tests.replicate.test_linking import Member, two

DATA = os.urandom(1_000_000)


class Gate:
    """Holds up what is read beside the rounds. `count`: how many files were."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.count = 0


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    held, read = Gate(), reading._read

    def slow(root: Root, path: RelPath) -> reading.Read | None:
        held.count += 1
        found = read(root, path)
        held.open.wait(20)
        return found

    monkeypatch.setattr(reading, "_read", slow)
    monkeypatch.setattr(looking, "LIMITS", Limits(100, 100, 500_000))
    yield held
    held.open.set()


def hash_known(member: Member, path: str) -> bytes:
    row = member.volume.index.rows.row(RelPath(path.encode()))
    shown = row.applied.observation if row is not None else None
    return shown.hash if shown is not None else b""


async def known(member: Member, path: str, data: bytes) -> None:
    with trio.fail_after(10):
        await member.volume.progress.wait_until(lambda: hash_known(member, path) == hash_bytes(data)[0])


def write(member: Member, path: str, data: bytes) -> None:
    (member.tree / path).write_bytes(data)
    member.tell(path)


async def test_what_is_small_does_not_wait_for_what_is_large(tmp_path: Path, gate: Gate) -> None:
    async with two(tmp_path) as (alpha, _):
        write(alpha, "d/large", DATA)
        for number in range(3):
            await trio.sleep(0.05)
            write(alpha, f"d/small-{number}", b"%d" % number)
            await known(alpha, f"d/small-{number}", b"%d" % number)
        assert hash_known(alpha, "d/large") == b""
        assert not alpha.worker.observer.idle
        gate.open.set()
        await known(alpha, "d/large", DATA)
        await alpha.quiet()
        assert gate.count == 1


async def test_what_was_changed_after_it_was_read_is_read_again(tmp_path: Path, gate: Gate) -> None:
    async with two(tmp_path) as (alpha, _):
        write(alpha, "d/told", DATA)
        write(alpha, "d/untold", DATA)
        with trio.fail_after(5):
            while gate.count < 2:  # noqa: ASYNC110 - a thread says so
                await trio.sleep(0.01)
        await trio.sleep(0.05)
        for name in ("told", "untold"):
            with (alpha.tree / "d" / name).open("r+b") as file:
                file.write(b"changed " + name.encode())
        alpha.tell("d/told")
        gate.open.set()
        for name in ("told", "untold"):
            await known(alpha, f"d/{name}", (alpha.tree / "d" / name).read_bytes())
        assert gate.count == 4


async def test_a_name_is_given_up_when_what_it_stood_for_was_read_elsewhere(tmp_path: Path, gate: Gate) -> None:
    async with two(tmp_path) as (alpha, beta):
        gate.open.set()
        write(alpha, "d/old", DATA)
        await known(alpha, "d/old", DATA)
        gate.open.clear()
        changed = b"changed" + DATA[7:]
        (alpha.tree / "d/old").write_bytes(changed)
        os.rename(alpha.tree / "d/old", alpha.tree / "d/new")
        rows = (
            Change(sequence=0, kind=ChangeKind.CONTENT, path=RelPath(b"d/old")),
            Change(sequence=0, kind=ChangeKind.RENAME, path=RelPath(b"d/old"), target=RelPath(b"d/new")),
        )
        alpha.worker.observer.take_unjournalled(rows)
        write(alpha, "d/after", b"after")
        await known(alpha, "d/after", b"after")
        assert hash_known(alpha, "d/old") == hash_bytes(DATA)[0], "it is not gone before it is there"
        gate.open.set()
        await known(alpha, "d/new", changed)
        await alpha.quiet()
        assert hash_known(alpha, "d/old") == b""
        births = [alpha.volume.index.rows.row(RelPath(path)) for path in (b"d/old", b"d/new")]
        assert births[0] is not None
        assert births[1] is not None
        (gone,) = births[0].record.content.entries
        assert [move.target for move in gone.moves] == [b"d/new"], "it is the same file"
        await beta.quiet()


async def test_what_was_written_just_before_it_was_read_may_have_been_written_while_it_was(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "RACY_NS", 300_000_000)
    async with two(tmp_path) as (alpha, _):
        write(alpha, "d/large", DATA)
        await trio.sleep(0.4)
        gate.open.set()
        await known(alpha, "d/large", DATA)
        row = alpha.volume.index.rows.row(RelPath(b"d/large"))
        assert row is not None
        assert row.applied.racy


async def test_a_bug_in_reading_one_file_ends_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, failed = reading._read, list[RelPath]()

    def fail(root: Root, path: RelPath) -> reading.Read | None:
        if failed:
            return read(root, path)
        failed.append(path)
        raise RuntimeError("a bug")

    monkeypatch.setattr(reading, "_read", fail)
    monkeypatch.setattr(looking, "LIMITS", Limits(100, 100, 500_000))
    async with two(tmp_path) as (alpha, _):
        write(alpha, "d/large", DATA)
        with trio.fail_after(5):
            await alpha.volume.progress.wait_until(lambda: bool(alpha.volume.problems))
        (problem,) = alpha.volume.problems.values()
        assert "a bug" in str(problem)
        await known(alpha, "d/large", DATA)
        assert not alpha.volume.problems


async def test_who_is_unmounted_meanwhile_reads_it_again(tmp_path: Path, gate: Gate) -> None:
    async with two(tmp_path) as (alpha, _):
        write(alpha, "d/large", DATA)
        with trio.fail_after(5):
            while not gate.count:  # noqa: ASYNC110 - a thread says so
                await trio.sleep(0.01)
        gate.open.set()
        alpha.worker.detach_gate(alpha.gate)
        await alpha.worker.detach_root()
        alpha.gate = Gateway(alpha._announce, alpha.clone, alpha.thread)
        await alpha.attach()
        await known(alpha, "d/large", DATA)


async def test_a_directory_that_is_gone_waits_in_peace_for_what_is_read(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(tmp_path) as (alpha, beta):
        gate.open.set()
        (alpha.tree / "d/old").mkdir()
        alpha.tell("d/old")
        write(alpha, "d/old/large", DATA)
        await known(alpha, "d/old/large", DATA)
        gate.open.clear()
        looked, look_at = list[RelPath](), observer.look_at

        def counted(root: Root, batch: Sequence[tuple[RelPath, Reason]], *more: Any) -> Any:
            looked.extend(path for path, _ in batch)
            return look_at(root, batch, *more)

        monkeypatch.setattr(observer, "look_at", counted)
        changed = b"changed" + DATA[7:]
        (alpha.tree / "d/old/large").write_bytes(changed)
        os.rename(alpha.tree / "d/old", alpha.tree / "d/new")
        rows = (
            Change(sequence=0, kind=ChangeKind.CONTENT, path=RelPath(b"d/old/large")),
            Change(sequence=0, kind=ChangeKind.RENAME, path=RelPath(b"d/old"), target=RelPath(b"d/new")),
        )
        alpha.worker.observer.take_unjournalled(rows)
        with trio.fail_after(5):
            while not gate.count:  # noqa: ASYNC110 - a thread says so
                await trio.sleep(0.01)
        await trio.sleep(0.5)
        assert len(looked) < 20
        gate.open.set()
        await known(alpha, "d/new/large", changed)
        await alpha.quiet()
        assert hash_known(alpha, "d/old/large") == b""
        await beta.quiet()
