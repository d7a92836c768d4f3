"""The journal on a real disk, a full one, and after stops that were not clean."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import ROOT, RelPath
from csfs.errors import CorruptDatabaseError
from csfs.journal import journal as journal_module
from csfs.journal.journal import SKIP, Journal, JournalReader, open_or_replace


def row(path: bytes = b"file") -> Change:
    return Change(sequence=0, kind=ChangeKind.CONTENT, path=RelPath(path), extents=((0, 5),), program="vi", uid=3)


def opened(directory: Path, now_ns: int = 7) -> Journal:
    return Journal(str(directory / "journal.db"), lambda: now_ns)


def stored(directory: Path, after: int = 0, last: int = 1 << 62, limit: int = 1000) -> list[Change]:
    reader = JournalReader(str(directory / "journal.db"))
    try:
        return reader.rows(after, last, limit)
    finally:
        reader.close()


def test_rows_are_numbered_from_one_and_read_as_they_were_appended(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    appended = [journal.append(row(b"a")), journal.append(row(b"b"))]
    assert stored(tmp_path) == []
    assert journal.commit()
    assert stored(tmp_path) == appended
    assert [(change.sequence, change.time_ns) for change in appended] == [(1, 7), (2, 7)]
    assert stored(tmp_path, after=1) == appended[1:]
    assert stored(tmp_path, last=1) == appended[:1]
    assert stored(tmp_path, limit=1) == appended[:1]
    journal.close()


def test_a_clean_stop_is_known_and_numbering_goes_on(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(row())
    journal.close()
    again = opened(tmp_path)
    assert (again.clean, again.first, again.last, again.id) == (True, 1, 1, journal.id)
    assert again.append(row()).sequence == 2
    again.close()


def test_after_an_unclean_stop_everything_is_to_be_compared_and_no_number_comes_twice(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(row())
    journal.commit()
    journal.append(row())  # told to the daemon perhaps, but never written
    again = opened(tmp_path)
    assert not again.clean
    assert again.last == 1 + SKIP + 1
    assert stored(tmp_path)[-1].kind == ChangeKind.COMPARE
    assert stored(tmp_path)[-1].path == ROOT
    again.digested(again.last)
    assert again.clean
    again.close()
    third = opened(tmp_path)
    assert third.clean
    third.close()


def test_a_comparison_that_was_not_digested_is_asked_for_by_the_next_mount_too(tmp_path: Path) -> None:
    opened(tmp_path)
    again = opened(tmp_path)
    again.close()
    third = opened(tmp_path)
    assert not third.clean
    third.close()


def test_digested_rows_are_pruned_but_the_last(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for _ in range(journal_module.PRUNED_AT_ONCE_MAX + 10):
        journal.append(row())
    journal.commit()
    journal.digested(journal.last)
    assert journal.prune()
    assert not journal.prune()
    assert [change.sequence for change in stored(tmp_path)] == [journal.last]
    assert journal.first == journal.last
    journal.close()
    again = opened(tmp_path)
    assert again.append(row()).sequence == journal.last + 1
    again.close()


def test_sync_needs_no_transaction_and_leaves_the_rows_readable(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(row())
    journal.commit()
    journal.sync_file()
    journal.checkpoint()
    assert len(stored(tmp_path)) == 1
    journal.append(row())
    assert journal.commit()
    journal.sync_file()
    journal.close()


def test_a_long_log_asks_for_a_checkpoint_which_ends_that(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    path = b"x" * 200
    while not journal.wants_checkpoint:
        for _ in range(2_000):
            journal.append(row(path))
        journal.commit()
    journal.checkpoint()
    journal.append(row())
    journal.commit()
    assert not journal.wants_checkpoint
    journal.close()


@pytest.mark.parametrize("damage", [b"no database", b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_file_is_named_and_moved_aside(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(damage * 100)
    with pytest.raises(CorruptDatabaseError, match=str(path)):
        Journal(str(path), lambda: 7)
    with pytest.raises(CorruptDatabaseError, match=str(path)):
        JournalReader(str(path)).rows(0, 10, 10)
    journal = open_or_replace(str(path), lambda: 7)
    assert not journal.clean
    assert (tmp_path / "journal.db.damaged-7").read_bytes() == damage * 100
    assert [change.kind for change in stored(tmp_path)] == [ChangeKind.COMPARE]
    journal.close()


def test_a_journal_that_cannot_be_opened_is_replaced_by_one_in_memory(tmp_path: Path) -> None:
    journal = open_or_replace(str(tmp_path / "missing" / "journal.db"), lambda: 7)
    assert not journal.clean
    journal.append(row())
    assert journal.commit()
    journal.sync_file()
    journal.close()


def test_a_missing_journal_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CorruptDatabaseError):
        JournalReader(str(tmp_path / "journal.db"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.mount
def test_a_full_disk_loses_no_row_that_fits_in_memory(small_disk: Path) -> None:
    journal = opened(small_disk)
    fill(small_disk)
    appended = [journal.append(row(b"x" * 250)) for _ in range(1_000)]
    assert not journal.commit()
    (small_disk / "filler").unlink()
    journal.append(row())
    assert journal.commit()
    assert stored(small_disk, last=1000, limit=5000) == appended
    assert journal.clean
    journal.close()


@pytest.mark.mount
def test_rows_that_do_not_fit_in_memory_become_a_comparison(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "ROWS_BUFFERED_MAX", 1_000)
    journal = opened(small_disk)
    fill(small_disk)
    for _ in range(1_500):
        journal.append(row(b"x" * 250))
    assert not journal.commit()
    assert not journal.clean
    (small_disk / "filler").unlink()
    assert journal.commit()
    kinds = [change.kind for change in stored(small_disk)]
    assert kinds.count(ChangeKind.COMPARE) == 1
    assert journal.append(row()).sequence == journal.last
    journal.close()


def fill(disk: Path) -> None:
    """Leave no free block on the disk."""
    with open(disk / "filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass


def test_the_writer_goes_on_while_a_reader_holds_a_snapshot(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append(row())
    journal.commit()
    reader = apsw.Connection(str(tmp_path / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY)
    cursor = reader.execute("SELECT sequence FROM changes")
    next(cursor)
    journal.append(row())
    assert journal.commit()
    cursor.close()
    reader.close()
    journal.close()


def test_the_files_are_for_root_alone_when_the_umask_says_so(tmp_path: Path) -> None:
    before = os.umask(0o077)
    journal = opened(tmp_path)
    os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    journal.close()


def test_rows_that_are_being_written_are_neither_lost_nor_written_twice(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    appended = [journal.append(row(b"a"))]
    batch = journal.taken()
    assert batch is not None
    appended.append(journal.append(row(b"b")))
    assert (journal.first, journal.unwritten) == (1, appended)
    journal.settle(batch, "no room")
    assert journal.unwritten == appended
    assert journal.trouble == "no room"
    assert journal.commit()
    assert (journal.first, journal.unwritten, journal.trouble) == (1, [], "")
    assert stored(tmp_path) == appended
    journal.close()


def test_a_boot_that_ended_without_the_journal_being_closed_is_told_for_the_whole_of_the_next_one(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "journal.db")

    def opened_in(boot: bytes) -> Journal:
        return Journal(path, lambda: 7, boot=boot)

    first = opened_in(b"one")
    assert not first.cut, "a new one"
    assert not opened_in(b"one").cut, "killed, and started again in the same boot"
    assert opened_in(b"two").cut
    again = opened_in(b"two")
    assert again.cut, "the mount may have been killed since"
    again.close()
    assert opened_in(b"two").cut
    third = opened_in(b"three")
    assert third.cut
    third.close()
    assert not opened_in(b"four").cut, "shut down in order"


def test_a_journal_that_cannot_be_read_after_a_boot_proves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"not a journal" * 1_000)
    journal = open_or_replace(str(path), lambda: 7, b"boot")
    assert journal.cut
    journal.close()
