import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import trio
import trio.testing

from csfs.core.changes import Change, ChangeKind
from csfs.core.objects import Applied, Content, Kind
from csfs.core.paths import ROOT, RelPath
from csfs.core.records import ContentEntry, Half, Record
from csfs.core.rows import Row
from csfs.core.versions import Dot, Hlc, Incarnation
from csfs.index.rows import CACHED_ROWS_MAX
from csfs.replicate.contents import CONTENTS_SIZE_MAX
from csfs.replicate.resting import QUIET_S, WORTH_ROWS, WORTH_SIZE, Resting
from csfs.replicate.volume import Volume
from csfs.store import heap
from tests.engine.members import found
from tests.replicate.test_worker import opened

ENTRY = ContentEntry(Dot(Incarnation(1), 1), Hlc(1), Content(Kind.FILE, 7, b"h"))


def record(volume: Volume, count: int, *, pending: bool) -> None:
    """Have rows in the index, and at hand."""
    scope = volume.rules.groups[0].scope
    known = Record(content=Half((ENTRY,), {}))
    row = Row(record=known, applied=Applied(observation=None), scope=scope, live=True, pending=pending)
    with volume.index.transaction():
        for number in range(count):
            volume.index.rows.put(RelPath(b"%d" % number), row)


async def until_at_rest(condition: Callable[[], bool] | None = None) -> None:
    """Let a minute pass; with a condition, until it holds: what a thread does takes none of this clock's time."""
    deadline = time.monotonic() + 30
    await trio.sleep(60)
    while condition is not None and not condition():
        assert time.monotonic() < deadline
        await trio.to_thread.run_sync(heap.give_back)  # which takes real time
        await trio.sleep(QUIET_S)


async def test_what_was_at_hand_is_let_go_after_a_great_deal_of_work(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    index, worker = opened(tmp_path)
    volume = worker.volume
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Resting(volume, lambda: True).run)
        await trio.testing.wait_all_tasks_blocked()
        volume.contents.put(b"hash", b"content")
        record(volume, 10, pending=False)
        await until_at_rest()
        assert volume.contents.get(b"hash"), "a little is kept at hand"
        assert index.rows.cached_size
        volume.contents.put(b"other", os.urandom(CONTENTS_SIZE_MAX // 2))
        for number in range(10):  # and nothing while work goes on
            record(volume, 10 + number, pending=False)
            await trio.sleep(QUIET_S * 0.9)
            assert volume.contents.get(b"other")
        await until_at_rest(lambda: volume.contents.get(b"other") is None)
        assert volume.contents.size == index.rows.cached_size == 0
        assert index.rows.row(RelPath(b"3")) is not None
        nursery.cancel_scope.cancel()
    index.close()


async def test_contents_that_are_yet_to_be_shown_stay(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    index, worker = opened(tmp_path)
    volume = worker.volume
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Resting(volume, lambda: True).run)
        await trio.testing.wait_all_tasks_blocked()
        volume.contents.put(b"hash", os.urandom(CONTENTS_SIZE_MAX // 2))
        record(volume, 500, pending=True)
        await until_at_rest(lambda: not index.rows.cached_size)
        assert volume.contents.get(b"hash"), "it may be here alone"
        record(volume, 500, pending=False)
        await until_at_rest(lambda: volume.contents.get(b"hash") is None)
        nursery.cancel_scope.cancel()
    index.close()


async def test_who_has_written_a_great_deal_rests_whatever_happens_to_be_at_hand(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    index, worker = opened(tmp_path)
    volume = worker.volume
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Resting(volume, lambda: True).run)
        await trio.testing.wait_all_tasks_blocked()
        record(volume, 2 * CACHED_ROWS_MAX + 10, pending=False)
        assert index.rows.cached_size < WORTH_SIZE, "what is at hand was let go while it was written"
        await until_at_rest(lambda: not index.rows.cached_size)
        record(volume, 10, pending=False)
        await until_at_rest()
        assert index.rows.cached_size, "a little is kept at hand again"
        nursery.cancel_scope.cancel()
    index.close()


async def test_who_was_told_of_is_remembered_until_all_is_looked_at(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    index, worker = opened(tmp_path)
    volume, path = worker.volume, RelPath(b"file")
    looked = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Resting(volume, lambda: looked).run)
        await trio.testing.wait_all_tasks_blocked()
        for program in ("vi", ""):
            volume.told(Change(sequence=1, kind=ChangeKind.CONTENT, path=path, uid=0, program="vi"))
            record(volume, WORTH_ROWS, pending=False)
            await until_at_rest(lambda: not index.rows.cached_size)
            volume.happenings.made_here(path, None, found(b"content"))
            (latest,) = itertools.islice(volume.happenings.since(0, ROOT), 1)
            assert latest.writer.program == program
            looked = True
        nursery.cancel_scope.cancel()
    index.close()
