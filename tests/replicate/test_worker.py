import math
import os
import threading
import time
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from csfs.core.objects import Content, Kind, Meta
from csfs.core.paths import RelPath
from csfs.core.records import ContentEntry, Half
from csfs.core.versions import Dot, Hlc, Incarnation
from csfs.errors import UnwritableError
from csfs.index.index import Index
from csfs.index.ledger import Cause, KeptVersion
from csfs.replicate.arriving import is_applied
from csfs.replicate.commit_thread import CommitThread
from csfs.replicate.gate import Gate
from csfs.replicate.retention import awaited_contents
from csfs.replicate.volume import Arrival, Volume
from csfs.replicate.worker import CHECKPOINT_S, UNKNOWN, VolumeWorker
from csfs.store.hashing import BLOCK_SIZE, hash_bytes, whole_table
from csfs.store.owners import Owners
from csfs.store.stage import Leftover
from tests.replicate.alone import rules_of


def opened(directory: Path) -> tuple[Index, VolumeWorker]:
    """Return an index and a worker of a volume of one member."""
    index = Index(str(directory / "index.db"), member="alpha", boot=b"boot", founding=True)
    return index, VolumeWorker(Volume("files", index=index, rules=rules_of("files"), member="alpha", owners=Owners()))


async def nothing_sent(message: object) -> None:
    """The mount hears what it is told; here it has nothing to say."""


async def test_a_volume_whose_gate_comes_before_its_root_is_compared(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"content")
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"boot", founding=True)
    volume = Volume("files", index=index, rules=rules_of("files"), member="alpha", owners=Owners())
    worker = VolumeWorker(volume)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.testing.wait_all_tasks_blocked()
        clone = os.open(tmp_path / "tree", os.O_RDONLY)
        thread = CommitThread("commits")
        gate = Gate(nothing_sent, clone, thread)
        worker.mount_began(mount=b"mount", clean=False)
        worker.attach_gate(gate)
        await trio.testing.wait_all_tasks_blocked()
        assert worker.is_compared, "nothing can be compared before there is a root"
        await worker.attach_root(os.open(tmp_path / "tree", os.O_RDONLY))
        assert not worker.is_compared
        with trio.fail_after(5):
            await volume.progress.wait_until(lambda: worker.is_compared)
        assert index.rows.row(RelPath(b"file")) is not None
        assert volume.mounted
        nursery.cancel_scope.cancel()
    await gate.release()
    thread.stop()
    os.close(clone)
    await worker.detach_root()
    index.close()


async def test_an_index_that_could_not_be_written_is_tried_again_and_the_tree_compared(tmp_path: Path) -> None:
    index, worker = opened(tmp_path)
    connection = index._database.connection
    connection.pragma("max_page_count", connection.pragma("page_count"))
    with pytest.raises(UnwritableError), index.transaction():
        index.ledger.hold([RelPath(b"%d" % number * 50) for number in range(5_000)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        connection.pragma("max_page_count", 1 << 30)
        with trio.fail_after(10):
            await worker.volume.comparison.wait_until(lambda: not index.trouble)
        assert worker.observer.compare_wanted
        nursery.cancel_scope.cancel()
    index.close()


def test_what_was_left_in_the_stage_and_is_met_again_by_the_next_mount_is_not_discarded(tmp_path: Path) -> None:
    index, worker = opened(tmp_path)
    discarded: list[bytes] = []
    worker.sources.discard_later = discarded.append
    left = Leftover(b"1.1", Kind.FILE, bytes(32), 5)
    for _ in range(2):
        worker.sources.adopt([left, Leftover(b"1.2", Kind.SYMLINK, b"", 0)])
    assert discarded == [b"1.2", b"1.2"]
    worker.sources.adopt([Leftover(b"1.3", Kind.FILE, bytes(32), 5)])
    assert discarded == [b"1.2", b"1.2", b"1.3"]
    assert worker.sources.unused() == [left]
    index.close()


async def test_a_volume_whose_storage_hangs_takes_no_threads_from_others(tmp_path: Path) -> None:
    index, worker = opened(tmp_path)
    (tmp_path / "tree").mkdir()
    await worker.attach_root(os.open(tmp_path / "tree", os.O_RDONLY))
    ending = threading.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(60):
            nursery.start_soon(worker.volume.with_root, lambda _: ending.wait(20))
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(10):
            assert await trio.to_thread.run_sync(lambda: "at once") == "at once"
        assert not ending.is_set()
        ending.set()
    await worker.detach_root()
    index.close()


async def test_a_kept_version_that_is_yet_to_be_shown_again_stays_also_on_a_full_disk(tmp_path: Path) -> None:
    index, worker = opened(tmp_path)
    f = RelPath(b"f")
    wanted = Content(Kind.FILE, 5, b"wanted" + bytes(26))
    with index.transaction():
        for name, content_hash in ((b"1", wanted.hash), (b"2", bytes(32)), (b"3", b"")):
            index.ledger.add_kept(KeptVersion(name, f, 1, 5, content_hash, False, UNKNOWN, Cause.REPLACED, "beta"))
    assert sorted(await worker.retention.surplus(0)) == [b"1", b"2", b"3"]
    with index.transaction():
        worker.volume.engine.settle(f, wanted, Meta(0o600, 0, 0), 1)
    assert sorted(await worker.retention.surplus(0)) == [b"2", b"3"], "nobody else may have it"
    index.close()


@pytest.mark.parametrize(("age_days", "is_settled", "goes"), [(29, True, False), (31, False, False), (31, True, True)])
@pytest.mark.parametrize("content_hash", [b"lost" + bytes(28), b""], ids=["file", "symlink"])
async def test_what_lost_a_conflict_goes_thirty_days_later_once_that_is_settled(
    tmp_path: Path, content_hash: bytes, age_days: int, *, is_settled: bool, goes: bool
) -> None:
    index, worker = opened(tmp_path)
    f, kept_ns = RelPath(b"f"), time.time_ns() - age_days * 86_400 * 10**9
    with index.transaction():
        worker.volume.engine.settle(f, Content(Kind.FILE, 5, b"live" + bytes(28)), Meta(0o600, 0, 0), 1)
        row = index.rows.row(f)
        assert row is not None
        if not is_settled:
            kind = Kind.FILE if content_hash else Kind.SYMLINK
            loser = ContentEntry(Dot(Incarnation(7), 1), Hlc(1), Content(kind, 5, content_hash))
            both = Half((*row.record.content.entries, loser), {**row.record.content.seen, Incarnation(7): 1})
            record = msgspec.structs.replace(row.record, content=both)
            index.rows.put(f, msgspec.structs.replace(row, record=record, pending=False))
        version = KeptVersion(b"1", f, kept_ns, 5, content_hash, True, UNKNOWN, Cause.CONFLICT, "beta")
        index.ledger.add_kept(version)
    assert await worker.retention.surplus(0) == ([b"1"] if goes else [])
    index.close()


async def test_of_versions_of_a_path_with_one_content_the_last_has_the_object(tmp_path: Path) -> None:
    index, worker = opened(tmp_path)
    (tmp_path / "tree").mkdir()
    await worker.attach_root(os.open(tmp_path / "tree", os.O_RDONLY))
    store, f, now_ns = tmp_path / "tree" / ".csfs" / "kept", RelPath(b"f"), time.time_ns()
    with index.transaction():
        for turn, data in enumerate((b"off", b"on", b"off", b"on", b"off")):
            name = b"%d" % turn
            (store / os.fsdecode(name)).write_bytes(data)
            kept = KeptVersion(name, f, now_ns + turn, len(data), hash_bytes(data)[0], False, UNKNOWN, Cause.REPLACED)
            index.ledger.add_kept(kept)
    await worker.retention.share()
    assert sorted(os.listdir(store)) == ["3", "4"]
    assert [one.size for one in index.ledger.kept()] == [3, 2, 0, 0, 0], "the history has all of them"
    await worker.retention.share()
    assert sorted(os.listdir(store)) == ["3", "4"]
    await worker.detach_root()
    index.close()


async def test_the_table_of_a_content_that_is_awaited_is_not_forgotten(tmp_path: Path) -> None:
    index, worker = opened(tmp_path)
    data = os.urandom(2 * BLOCK_SIZE)
    content_hash, hashes = hash_bytes(data)
    with index.transaction():
        index.tables.add(content_hash, whole_table(len(data), hashes))
        worker.volume.engine.settle(RelPath(b"f"), Content(Kind.FILE, len(data), content_hash), Meta(0o600, 0, 0), 1)
        index.tables.prune(await awaited_contents(index))
        assert index.tables.hashes(content_hash, 0, 2) == hashes
        index.tables.prune()
        assert index.tables.hashes(content_hash, 0, 2) == b""
    index.close()


def test_what_waits_for_many_paths_looks_at_one_of_them_until_it_is_applied(tmp_path: Path) -> None:
    index, worker = opened(tmp_path)
    paths = [RelPath(b"%d" % number) for number in range(1_000)]
    pending, looks = set(paths), 0

    def is_settled(path: RelPath) -> bool:
        nonlocal looks
        looks += 1
        return path not in pending

    worker.volume.is_settled = is_settled  # type: ignore[method-assign]
    arrival = Arrival(1, set(paths))
    for path in paths:
        assert not is_applied(worker, arrival)
        pending.discard(path)
    assert is_applied(worker, arrival)
    assert looks < 50 * len(paths), "every look at one path costs a query: all at each time would be half a million"
    index.close()


class Steps(trio.abc.Instrument):
    """Counts the steps that tasks make."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


async def test_an_index_that_nobody_writes_wakes_nobody(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    index, worker = opened(tmp_path)
    steps = Steps()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker._keep_index)
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(3600)
        trio.lowlevel.remove_instrument(steps)
        assert steps.count < 10
        while not index.wants_checkpoint:
            with index.transaction():
                index.ledger.hold([RelPath(os.urandom(2000)) for _ in range(500)])
        await trio.sleep(CHECKPOINT_S)
        # A thread is at it now, for as long as the disk takes: no clock is to pass a minute meanwhile.
        autojump_clock.autojump_threshold, autojump_clock.rate = math.inf, 1.0
        with trio.fail_after(60):
            await worker.volume.progress.wait_until(lambda: not index.wants_checkpoint)
        nursery.cancel_scope.cancel()
    index.close()
