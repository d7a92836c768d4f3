"""Which rows the mount tells of what programs do."""

import fcntl
import mmap
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import RelPath
from csfs.core.treatment import USUAL, Treatment
from csfs.journal.journal import JournalReader, open_or_replace
from csfs.mount.capture import FLOOD_SIZE, NAMES_TOLD_MAX, Capture, OpenFile
from csfs.mount.inodes import ROOT_INODE, Inodes
from csfs.mount.writers import Writer
from csfs.store.syscalls import RENAME_EXCHANGE, renameat2
from csfs.wire.control import Flush, Flushed
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted, run_as_user

pytestmark = pytest.mark.mount
Served = tuple[Mounted, FakeDaemon]
CONTENT, META, CREATE = ChangeKind.CONTENT, ChangeKind.META, ChangeKind.CREATE


class Everything:
    """Rules by which everything is kept the same."""

    def is_synced(self, path: RelPath) -> bool:
        return True

    def treatment_of(self, path: RelPath) -> Treatment:
        return USUAL


def test_a_new_file_is_told_as_created_and_written_by_whom(served: Served) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(b"12345")
    created, written = daemon.flushed()
    assert (created.kind, created.path, created.writing) == (CREATE, b"file", True)
    assert (written.kind, written.extents, written.writing) == (CONTENT, ((0, 5),), False)
    assert written.uid == 0
    assert written.program == Path("/proc/thread-self/comm").read_text().strip()


def test_extents_are_merged_and_a_hole_counts_as_written(served: Served) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(b"x" * 100_000)
    daemon.flushed()
    with open(volume.path / "file", "r+b", buffering=0) as file:
        for offset in (5_000, 0, 1, 5_001):
            os.pwrite(file.fileno(), b"y", offset)
    assert daemon.flushed()[-1].extents == ((0, 2), (5_000, 2))
    with open(volume.path / "file", "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"y", 200_000)
    assert daemon.flushed()[-1].extents == ((99_999, 100_002),)


def test_truncating_by_name_by_handle_and_by_open_is_told(served: Served) -> None:
    volume, daemon = served
    file = volume.path / "file"
    file.write_bytes(b"x" * 1000)
    daemon.flushed()
    os.truncate(file, 10)
    assert [(row.kind, row.extents, row.writing) for row in daemon.flushed()] == [(CONTENT, ((9, 991),), False)]
    with open(file, "r+b") as opened:
        opened.truncate(20)
    assert daemon.flushed()[-1].extents == ((9, 11),)
    os.close(os.open(file, os.O_WRONLY | os.O_TRUNC))
    assert [(row.kind, row.writing) for row in daemon.flushed()] == [(CONTENT, False)]
    assert file.stat().st_size == 0


def test_a_file_that_stays_open_is_told_while_it_is_written(served: Served) -> None:
    volume, daemon = served
    with open(volume.path / "log", "ab", buffering=0) as file:
        file.write(b"one")
        assert [(row.kind, row.writing) for row in daemon.flushed()] == [(CREATE, True), (CONTENT, True)]
        file.write(b"two")
    assert [(row.extents, row.writing) for row in daemon.flushed()] == [(((3, 3),), False)]


def test_who_asks_for_rows_alone_is_not_told_of_what_is_being_written(served: Served) -> None:
    volume, daemon = served
    with open(volume.path / "log", "ab", buffering=0) as file:
        file.write(b"one")
        daemon.send(Flush(7, written=False))
        assert daemon.expect(Flushed).token == 7
        assert [row.kind for row in daemon.rows] == [CREATE]
        assert [row.kind for row in daemon.flushed()] == [CREATE, CONTENT]


@contextmanager
def capturing(directory: Path) -> Iterator[tuple[Capture, OpenFile, list[tuple[int, int]]]]:
    """Give a capture, a file that is open for writing, and the extents that rows have told of."""
    journal = open_or_replace(str(directory / "journal.db"), lambda: 1)
    (directory / "root").mkdir()
    (directory / "root" / "file").touch()
    root = os.open(directory / "root", os.O_RDONLY | os.O_DIRECTORY)
    inodes = Inodes(root)
    capture = Capture(journal, inodes, Everything())
    told: list[tuple[int, int]] = []
    capture.listen(lambda change, *rest: told.extend(change.extents))
    node, _ = inodes.found(inodes.node(ROOT_INODE), b"file")
    yield capture, capture.opened(node, 1, 0, True), told
    inodes.close()
    os.close(root)
    journal.close()


def test_what_is_written_in_one_go_is_not_told_before_its_end(tmp_path: Path) -> None:
    with capturing(tmp_path) as (capture, file, told):
        for offset in range(3):
            capture.wrote(file, offset, 1, Writer(0, 0, ""))
            capture.tell_lasting()
            assert told == ([] if offset == 0 else [(0, 2)])
        capture.closed(file, 1, True, False)
        assert told == [(0, 2), (2, 1)]


async def test_who_tells_of_files_that_stay_open_wakes_when_one_is_written_to(tmp_path: Path) -> None:
    with capturing(tmp_path) as (capture, file, told):
        woken: list[int] = []

        async def wake_each_time() -> None:
            while True:
                await capture.wait_dirty()
                capture.tell_lasting()
                woken.append(len(told))
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wake_each_time)
            await trio.testing.wait_all_tasks_blocked()
            assert not woken, "nothing is written, and nobody wakes"
            for number in range(3):
                capture.wrote(file, number, 1, Writer(0, 0, ""))
                await trio.testing.wait_all_tasks_blocked()
                assert woken[-1] == len(told) == number + 1
            nursery.cancel_scope.cancel()


def test_of_a_great_deal_rows_are_few(tmp_path: Path) -> None:
    with capturing(tmp_path) as (capture, file, told):
        for number in range(100):
            capture.wrote(file, number * FLOOD_SIZE, FLOOD_SIZE, Writer(0, 0, ""))
            capture.tell_lasting()
        ends = [(offset + length) // FLOOD_SIZE for offset, length in told]
        assert ends == [2, 4, 8, 16, 32, 54, 76, 98], "twice as much each time, and in the end after so many calls"
        capture.tell_lasting()
        capture.tell_lasting()
        for number in range(5):  # little is told of as ever
            capture.wrote(file, number, 1, Writer(0, 0, ""))
            capture.tell_lasting()
        capture.closed(file, 1, True, False)
        assert sum(length for _, length in told) >= 100 * FLOOD_SIZE


def test_what_an_fsync_has_put_on_the_disk_is_told_last_and_once(served: Served) -> None:
    volume, daemon = served
    path = volume.path / "file"
    with open(path, "wb", buffering=0) as file:
        file.write(b"synced")
        os.fsync(file.fileno())
        os.fsync(file.fileno())
    status = path.stat()
    rows = daemon.flushed()
    assert [row.kind for row in rows] == [CREATE, CONTENT, ChangeKind.SYNCED, CONTENT, ChangeKind.SYNCED]
    proof = rows[-1].synced
    assert proof is not None
    assert (proof.size, proof.mtime_ns) == (6, status.st_mtime_ns)
    assert rows[2].synced == proof
    with open(path, "r+b", buffering=0) as file:
        file.write(b"torn?!")
    assert [row.kind for row in daemon.flushed()] == [CONTENT], "that is on no disk for sure"


def test_a_mapping_written_after_close_is_told(served: Served) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(b"x" * 8192)
    daemon.flushed()
    with open(volume.path / "file", "r+b") as file:
        mapped = mmap.mmap(file.fileno(), 8192)
    mapped[5000] = ord("y")
    mapped.flush()
    mapped.close()
    rows = daemon.flushed()
    assert {row.kind for row in rows} - {ChangeKind.SYNCED} == {CONTENT}
    assert any(offset <= 5000 < offset + length for row in rows for offset, length in row.extents)


def test_names_are_told(served: Served) -> None:
    volume, daemon = served
    path = volume.path
    (path / "d").mkdir()
    (path / "s").symlink_to("nowhere")
    os.mkfifo(path / "f")
    (path / "f").rename(path / "d" / "g")
    os.link(path / "d" / "g", path / "h")
    (path / "h").unlink()
    (path / "d").rename(path / "e")
    (path / "e" / "g").unlink()
    (path / "e").rmdir()
    assert daemon.told() == [
        (CREATE, b"d", None),
        (CREATE, b"s", None),
        (CREATE, b"f", None),
        (ChangeKind.RENAME, b"f", b"d/g"),
        (ChangeKind.LINK, b"d/g", b"h"),
        (ChangeKind.REMOVE, b"h", None),
        (META, b"d/g", None),
        (ChangeKind.RENAME, b"d", b"e"),
        (ChangeKind.REMOVE, b"e/g", None),
        (ChangeKind.REMOVE, b"e", None),
    ]


def test_attributes_are_told_but_not_access_times(served: Served) -> None:
    volume, daemon = served
    file = volume.path / "file"
    file.touch()
    daemon.flushed()
    file.chmod(0o600)
    os.chown(file, 1, 2)
    os.setxattr(file, b"user.a", b"b")
    os.removexattr(file, b"user.a")
    os.utime(file, ns=(1, 2))
    assert [row.kind for row in daemon.flushed()] == [META] * 5
    subprocess.run(["touch", "-a", file], check=True)
    assert daemon.flushed() == []


def test_writing_to_a_setuid_file_as_a_user_is_told_as_meta_too(served: Served) -> None:
    volume, daemon = served
    file = volume.path / "file"
    file.write_bytes(b"x")
    file.chmod(0o4777)
    daemon.flushed()
    run_as_user("echo y >> file", volume.path)
    assert file.stat().st_mode & 0o7777 == 0o777
    assert META in {row.kind for row in daemon.flushed()}


def test_of_what_is_not_synced_only_the_directory_hears(served: Served) -> None:
    volume, daemon = served
    unsynced = volume.path / "unsynced"
    unsynced.write_bytes(b"x")
    assert daemon.told() == [(ChangeKind.REMOVE, b"unsynced", None)]
    unsynced.chmod(0o600)
    unsynced.write_bytes(b"y")
    assert daemon.flushed() == []
    unsynced.unlink()
    assert daemon.told() == [(ChangeKind.REMOVE, b"unsynced", None)]
    (volume.path / "unsynced-d").mkdir()
    daemon.flushed()
    (volume.path / "unsynced-d/file").write_bytes(b"x")  # in a directory that nobody keeps the same
    assert daemon.flushed() == []


def test_what_becomes_synced_or_ceases_to_be_comes_and_goes(served: Served) -> None:
    volume, daemon = served
    passed = (ChangeKind.REMOVE, b"unsynced", None)
    (volume.path / "unsynced").write_bytes(b"x")
    daemon.flushed()
    (volume.path / "unsynced").rename(volume.path / "file")
    assert daemon.told() == [(CREATE, b"file", None), passed]
    (volume.path / "file").rename(volume.path / "unsynced")
    assert daemon.told() == [(ChangeKind.REMOVE, b"file", None), passed]
    (volume.path / "unsynced-d").mkdir()
    daemon.flushed()
    (volume.path / "unsynced-d").rename(volume.path / "d")
    created = [(CREATE, b"d", None), (ChangeKind.COMPARE, b"d", None)]
    assert daemon.told() == [*created, (ChangeKind.REMOVE, b"unsynced-d", None)]


def test_an_exchange_is_one_row(served: Served) -> None:
    volume, daemon = served
    (volume.path / "a").write_bytes(b"1")
    (volume.path / "b").mkdir()
    daemon.flushed()
    renameat2(-100, os.fsencode(volume.path / "a"), -100, os.fsencode(volume.path / "b"), RENAME_EXCHANGE)
    assert daemon.told() == [(ChangeKind.EXCHANGE, b"a", b"b")]
    (volume.path / "b").write_bytes(b"2")
    assert daemon.flushed()[-1].path == b"b"


def test_each_name_of_a_hard_linked_file_is_told_of(served: Served) -> None:
    volume, daemon = served
    (volume.path / "a").write_bytes(b"x")
    os.link(volume.path / "a", volume.path / "b")
    os.link(volume.path / "a", volume.path / "unsynced")
    daemon.flushed()
    (volume.path / "b").chmod(0o600)
    assert sorted(daemon.told()) == [(META, b"a", None), (META, b"b", None)]
    with open(volume.path / "unsynced", "ab") as file:
        file.write(b"y")
    rows = daemon.flushed()
    assert {(row.kind, row.path) for row in rows} == {(ChangeKind.CONTENT, b"a"), (ChangeKind.CONTENT, b"b")}
    assert len({row.extents for row in rows}) == 1


def test_of_a_file_with_a_great_many_names_few_are_told_of(served: Served) -> None:
    volume, daemon = served
    (volume.path / "a").write_bytes(b"x")
    for number in range(300):
        os.link(volume.path / "a", volume.path / f"name{number}")
    linked = daemon.flushed()
    assert [row.kind for row in linked].count(ChangeKind.LINK) == 300
    (volume.path / "name7").chmod(0o600)
    assert [row.kind for row in daemon.flushed()] == [META] * NAMES_TOLD_MAX
    with open(volume.path / "name200", "ab") as file:
        file.write(b"y")
    assert [row.kind for row in daemon.flushed()] == [CONTENT] * NAMES_TOLD_MAX
    (volume.path / "name100").unlink()
    assert [row.kind for row in daemon.flushed()] == [ChangeKind.REMOVE, *[META] * NAMES_TOLD_MAX]


def test_the_other_names_of_a_file_that_loses_one_are_looked_at_again(served: Served) -> None:
    volume, daemon = served
    for name in ("b", "c"):
        (volume.path / name).write_bytes(b"x")
    os.link(volume.path / "b", volume.path / "a")
    os.link(volume.path / "a", volume.path / "second")
    daemon.flushed()
    (volume.path / "second").unlink()
    assert {(row.kind, row.path) for row in daemon.flushed()} == {
        (ChangeKind.REMOVE, b"second"),
        (META, b"a"),
        (META, b"b"),
    }
    (volume.path / "c").replace(volume.path / "a")
    rows = {(row.kind, row.path) for row in daemon.flushed()}
    assert rows == {(META, b"b"), (ChangeKind.RENAME, b"c")}


def test_an_unlinked_file_is_written_to_without_rows(served: Served) -> None:
    volume, daemon = served
    with open(volume.path / "file", "w+b", buffering=0) as file:
        (volume.path / "file").unlink()
        daemon.flushed()
        file.write(b"x")
        assert os.fstat(file.fileno()).st_nlink == 0
        assert os.pread(file.fileno(), 1, 0) == b"x"
    assert daemon.flushed() == []


def test_a_file_renamed_while_it_is_written_is_told_under_its_new_name(served: Served) -> None:
    volume, daemon = served
    with open(volume.path / "old", "wb", buffering=0) as file:
        daemon.flushed()
        file.write(b"x")
        (volume.path / "old").rename(volume.path / "new")
    assert [(row.kind, row.path) for row in daemon.flushed()] == [(ChangeKind.RENAME, b"old"), (CONTENT, b"new")]


def test_fsync_makes_the_row_durable_before_it_returns(mounted: Mounted) -> None:
    with open(mounted.path / "file", "wb", buffering=0) as file:
        file.write(b"x")
        os.fsync(file.fileno())
        reader = JournalReader(mounted.settings.journal)
        kinds = [row.kind for row in reader.rows(0, 100, 100)]
        reader.close()
    assert kinds == [CREATE, CONTENT, ChangeKind.SYNCED]


def test_rows_made_without_a_daemon_are_in_the_journal_or_told_after_the_hello(mounted: Mounted) -> None:
    (mounted.path / "file").write_bytes(b"x")
    daemon = FakeDaemon(mounted.settings.control_socket, has_digested=False)
    hello = daemon.wait_connected()
    reader = JournalReader(mounted.settings.journal)
    rows: list[Change] = [*reader.rows(0, hello.last, 10), *daemon.flushed()]
    reader.close()
    daemon.close()
    assert [(row.sequence, row.kind) for row in rows] == [(1, CREATE), (2, CONTENT)]
    assert (hello.first, hello.journal, hello.clean) == (1, reader.id, True)


def test_a_locked_file_stays_locked_for_others(mounted: Mounted) -> None:
    with open(mounted.path / "file", "w") as first, open(mounted.path / "file") as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
