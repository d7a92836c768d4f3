"""A mount process that dies, and the next one, as the daemon sees them: in which order whatever comes."""

import errno
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import RelPath
from csfs.core.records import Move
from csfs.daemon.waiting import wait_applied
from csfs.journal.journal import SKIP, Journal, JournalReader
from csfs.store.hashing import BLOCK_SIZE
from csfs.store.stage import Stage
from csfs.wire.control import ControlMessage, Rows
from tests.daemon.handing import Held, held

pytestmark = pytest.mark.slow
FIRST, SECOND = 4_000_011, 4_000_012
"""Mount processes; no number is so large."""
SIZE = 3 * BLOCK_SIZE


def overwrite(path: Path, offset: int, data: bytes) -> tuple[int, int]:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    return offset, len(data)


async def killed_with_something_untold(one: Held) -> None:
    """The first mount process dies when a program has written to a block, and nobody was told."""
    await one.handed_over(FIRST)
    mount = await one.began(FIRST, 0)
    await one.compared()
    assert one.recorded(b"f") == one.there(b"f")
    overwrite(one.tree / "f", 7, b"untold")
    await mount.end()
    await one.until(lambda: not one.mounted.mounted)


async def test_what_the_next_mount_tells_of_before_it_was_handed_over_is_read_whole(tmp_path: Path) -> None:
    async with held(tmp_path, [("f", os.urandom(SIZE))]) as one:
        await killed_with_something_untold(one)
        second = await one.began(SECOND, SKIP)
        await second.wrote(b"f", overwrite(one.tree / "f", 2 * BLOCK_SIZE, b"told"))
        await one.until(lambda: one.worker.observer.digested == SKIP + 1)
        assert one.recorded(b"f") == one.there(b"f"), "no program ever wrote what is recorded"
        await one.handed_over(SECOND)
        await one.compared()
        assert one.recorded(b"f") == one.there(b"f")


async def test_who_waits_while_the_next_mount_is_not_all_there_waits_for_what_nobody_told(tmp_path: Path) -> None:
    async with held(tmp_path, [("f", os.urandom(SIZE))]) as one, trio.open_nursery() as nursery:
        await killed_with_something_untold(one)
        second = await one.began(SECOND, SKIP)
        await second.welcomed.wait()
        is_known, waited = list[bool](), trio.Event()

        async def wait() -> None:
            await wait_applied(one.mounted, [], False, lambda peer: False)
            is_known.append(one.recorded(b"f") == one.there(b"f"))
            waited.set()

        nursery.start_soon(wait)
        await trio.sleep(0.1)
        await one.handed_over(SECOND)
        with trio.fail_after(10):
            await waited.wait()
        assert is_known == [True]


async def test_who_waits_when_the_daemon_has_just_begun_waits_for_the_mount_that_is_there(tmp_path: Path) -> None:
    async with held(tmp_path, [("f", b"written while no daemon ran")]) as one, trio.open_nursery() as nursery:
        is_known, waited = list[bool](), trio.Event()

        async def wait() -> None:
            await wait_applied(one.mounted, [], False, lambda peer: False)
            is_known.append(one.volume.index.rows.row(RelPath(b"f")) is not None)
            waited.set()

        nursery.start_soon(wait)
        await trio.sleep(0.2)
        await one.handed_over(FIRST)
        await trio.sleep(0.2)
        await one.began(FIRST, 0)
        with trio.fail_after(10):
            await waited.wait()
        assert is_known == [True]


async def test_who_waits_for_a_mount_that_comes_back_waits_for_what_it_noted_meanwhile(tmp_path: Path) -> None:
    async with held(tmp_path, [("f", b"before")]) as one, trio.open_nursery() as nursery:
        await one.handed_over(FIRST)
        mount = await one.began(FIRST, 0)
        await one.compared()
        await mount.end()
        await one.until(lambda: not one.mounted.mounted)
        (one.tree / "f").write_bytes(b"written meanwhile")
        journal = Journal(one.journal, lambda: 1)
        journal.append(Change(sequence=0, kind=ChangeKind.CONTENT, path=RelPath(b"f")))
        journal.close()
        is_known, waited = list[bool](), trio.Event()

        async def wait() -> None:
            await wait_applied(one.mounted, [], False, lambda peer: False)
            is_known.append(one.recorded(b"f") == one.there(b"f"))
            waited.set()

        nursery.start_soon(wait)
        await trio.sleep(0.1)
        await one.began(FIRST, 1, clean=True)
        with trio.fail_after(10):
            await waited.wait()
        assert is_known == [True]


async def test_a_directory_that_cannot_be_taken_over_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(stage: Stage) -> list[object]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Stage, "leftovers", failing)
    async with held(tmp_path, [("f", b"f")]) as one:
        await one.handed_over(FIRST)
        await one.until(lambda: bool(one.volume.stopped))
        assert one.volume.root is None, "its descriptor is closed, and may be another file's by now"


@dataclass
class Reading:
    """The first time that rows of a journal are read, which waits until it may go on; a second one does not wait for it."""

    has_begun: threading.Event = field(default_factory=threading.Event)
    may_go_on: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    read, first = JournalReader.rows, Reading()

    def slowly_at_first(reader: JournalReader, after: int, last: int, limit: int) -> list[Change]:
        if not first.has_begun.is_set():
            first.has_begun.set()
            assert first.may_go_on.wait(10)
        return read(reader, after, last, limit)

    monkeypatch.setattr(JournalReader, "rows", slowly_at_first)
    return first


async def began_after_a_power_cut(one: Held) -> None:
    """The first mount process says that power was cut, when all was whole, and something is in the journal."""
    with one.volume.index.transaction():
        one.volume.index.ledger.set_whole(b"the boot before")
    journal = Journal(one.journal, lambda: 1)
    journal.append(Change(sequence=0, kind=ChangeKind.CONTENT, path=RelPath(b"f")))
    journal.close()
    await one.began(FIRST, 1, cut=True)


async def test_nothing_is_compared_after_a_power_cut_before_the_journal_was_heard(
    tmp_path: Path, reading: Reading
) -> None:
    async with held(tmp_path, [("f", b"whole")]) as one:
        await began_after_a_power_cut(one)
        await one.handed_over(FIRST)
        await one.until(lambda: one.volume.root is not None)
        assert await trio.to_thread.run_sync(reading.has_begun.wait, 10)
        await trio.sleep(0.1)
        assert not one.mounted.mounted
        reading.may_go_on.set()
        await one.until(lambda: one.mounted.mounted)
        assert one.volume.evidence is not None
        await one.compared()


async def test_what_an_earlier_mount_would_have_proved_is_not_held_against_what_is_written_later(
    tmp_path: Path, reading: Reading
) -> None:
    async with held(tmp_path, [("f", b"whole")]) as one:
        await began_after_a_power_cut(one)
        assert await trio.to_thread.run_sync(reading.has_begun.wait, 10)
        second = await one.began(SECOND, 1, cut=True)
        await second.welcomed.wait()
        await one.handed_over(SECOND)
        await one.compared()
        assert one.volume.evidence is None
        reading.may_go_on.set()
        await trio.sleep(0.1)
        assert one.volume.evidence is None


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_rename_before_a_power_cut_counts_if_the_file_is_where_it_went(tmp_path: Path, is_there: bool) -> None:
    async with held(tmp_path, [("f", b"whole")]) as one:
        await one.handed_over(FIRST)
        first = await one.began(FIRST, 0)
        await one.compared()
        await first.end()
        await one.until(lambda: not one.mounted.mounted)
        (one.tree / "f").rename(one.tree / "g")
        if not is_there:
            (one.tree / "g").unlink()
        journal = Journal(one.journal, lambda: 1)
        journal.append(Change(sequence=0, kind=ChangeKind.RENAME, path=RelPath(b"f"), target=RelPath(b"g")))
        journal.close()
        with one.volume.index.transaction():
            one.volume.index.ledger.set_whole(b"the boot before")
        await one.began(SECOND, 1, cut=True)
        await one.until(lambda: one.volume.evidence is not None)
        await one.handed_over(SECOND)
        await one.until(lambda: one.mounted.mounted and one.worker.is_compared and one.worker.observer.idle)
        row = one.volume.index.rows.row(RelPath(b"f"))
        assert row is not None
        assert row.applied.observation is None
        assert row.live is not is_there
        assert list(one.volume.index.suspects.left()) == ([] if is_there else [b"f"])


@pytest.mark.parametrize("is_written", [True, False])
async def test_what_was_moved_while_nobody_listened_is_compared_when_it_is_told_where_it_went(
    tmp_path: Path, reading: Reading, is_written: bool
) -> None:
    """The row is in the journal, or yet to be written there, and is told live."""
    moved = Change(sequence=1, kind=ChangeKind.RENAME, path=RelPath(b"f"), target=RelPath(b"g"))
    async with held(tmp_path, [("f", b"moved")]) as one:
        await one.handed_over(FIRST)
        first = await one.began(FIRST, 0)
        await one.compared()
        await first.end()
        await one.until(lambda: not one.mounted.mounted)
        before = one.volume.index.rows.row(RelPath(b"f"))
        assert before is not None
        (one.tree / "f").rename(one.tree / "g")
        journal = Journal(one.journal, lambda: 1)
        journal.append(moved if is_written else Change(sequence=0, kind=ChangeKind.META, path=RelPath(b"f")))
        journal.close()
        await one.handed_over(SECOND)
        second = await one.began(SECOND, 1, clean=True)
        if not is_written:
            second.last = 2
            await second.say(Rows((msgspec.structs.replace(moved, sequence=2),)))
        assert await trio.to_thread.run_sync(reading.has_begun.wait, 10)
        await trio.sleep(0.2)
        reading.may_go_on.set()
        await one.compared()
        row = one.volume.index.rows.row(RelPath(b"f"))
        assert row is not None
        birth = before.applied.lineage.birth
        assert [move for entry in row.record.content.entries for move in entry.moves] == [Move(birth, RelPath(b"g"))]


async def test_the_late_end_of_a_mount_answers_nothing_that_the_next_was_asked(tmp_path: Path) -> None:
    async with held(tmp_path, [("f", b"f")]) as one, trio.open_nursery() as nursery:
        await one.handed_over(FIRST)
        first = await one.began(FIRST, 0)
        await one.compared()
        second = await one.began(SECOND, SKIP)
        await second.welcomed.wait()
        await one.handed_over(SECOND)
        await one.until(lambda: one.mounted._clone_pid == SECOND)
        await one.compared()
        say, may_answer, answered, answers = second.say, trio.Event(), trio.Event(), list[int | None]()

        async def say_late(message: ControlMessage, *descriptors: int) -> None:
            await may_answer.wait()
            await say(message, *descriptors)

        async def ask() -> None:
            answers.append(await one.mounted.flush())
            answered.set()

        second.say = say_late  # type: ignore[method-assign]
        nursery.start_soon(ask)
        await trio.sleep(0.05)
        await first.end()
        await trio.sleep(0.05)
        assert answers == []
        may_answer.set()
        with trio.fail_after(10):
            await answered.wait()
        assert answers == [SKIP]


async def test_who_lets_go_of_a_mount_that_is_gone_does_not_let_go_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, may_go_on = os.close, threading.Event()
    async with held(tmp_path, [("f", b"f")]) as one:
        await one.handed_over(FIRST)
        mount = await one.began(FIRST, 0)
        await one.compared()
        await mount.end()
        slow = one.mounted._clone

        def slowly(descriptor: int) -> None:
            if descriptor == slow:
                assert may_go_on.wait(10)
            closed(descriptor)

        monkeypatch.setattr(os, "close", slowly)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.mounted._let_go, FIRST)
            await trio.testing.wait_all_tasks_blocked()
            await one.handed_over(SECOND)
            await one.began(SECOND, SKIP)
            await trio.sleep(0.1)
            may_go_on.set()
            await one.compared()
        assert one.mounted.mounted
        await one.mounted._let_go(FIRST)
        assert one.mounted.mounted
