"""An index over starts and boots: what peers may count on, and what they may not."""

import contextlib
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import apsw
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csfs.core.objects import Applied, Kind, Observation, Stamp
from csfs.core.paths import RelPath
from csfs.core.records import NOTHING_KNOWN, Content, ContentEntry, Half, Record
from csfs.core.rows import Amount, Row
from csfs.core.versions import Dot, Hlc, Incarnation, Scope
from csfs.errors import UnwritableError
from csfs.index import database
from csfs.index.index import Index


def opened(directory: Path, boot: bytes) -> tuple[bytes, int]:
    """Start once, and return the index's id and this member's incarnation."""
    index = Index(str(directory / "index.db"), member="alpha", boot=boot, founding=True)
    found = index.ledger.index_id, int(index.incarnation)
    index.close()
    return found


def test_a_restart_on_the_same_boot_goes_on_as_the_same_incarnation_of_the_same_index(tmp_path: Path) -> None:
    assert opened(tmp_path, b"one") == opened(tmp_path, b"one")


def test_a_new_boot_is_a_new_incarnation_and_no_cursor_counts_on_positions_that_were_lost(tmp_path: Path) -> None:
    before, after = opened(tmp_path, b"one"), opened(tmp_path, b"two")
    assert before[0] != after[0]
    assert before[1] != after[1]


def full(index: Index) -> None:
    """Let the file grow no further, which SQLite reports as it does a full disk."""
    connection = index._database.connection
    connection.pragma("max_page_count", connection.pragma("page_count"))


def with_room(index: Index) -> None:
    index._database.connection.pragma("max_page_count", 1 << 30)


def test_what_a_full_disk_refuses_has_not_happened_and_happens_once_there_is_room(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"one", founding=True)
    full(index)
    paths = [RelPath(b"%d" % number * 50) for number in range(5_000)]
    with pytest.raises(UnwritableError, match="room on its disk"), index.transaction():
        index.ledger.hold(paths)
    assert index.ledger.held() == []
    assert index.trouble
    with_room(index)
    with index.transaction():
        index.ledger.hold(paths)
    assert len(index.ledger.held()) == len(paths)
    assert not index.trouble
    index.close()


def grown(index: Index, numbers: Iterable[int]) -> None:
    """Write a row of some pages in a transaction each."""
    for number in numbers:
        with index.transaction():
            index.ledger.hold([RelPath(b"%d-" % number + b"x" * 20_000)])


def test_a_log_that_is_too_long_is_moved_by_whoever_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A thread that moves it does not come to an end where the disk is slow and somebody goes on writing.
    monkeypatch.setattr(database, "LOG_PAGES_MAX", 100)
    monkeypatch.setattr(database, "CHECKPOINT_PAGES", 50)
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"one", founding=True)
    log = tmp_path / "index.db-wal"
    grown(index, range(200))
    assert log.stat().st_size < 250 * 4096
    with index.shown() as reader:
        shown = reader._connection.execute("SELECT path FROM held")  # whoever reads keeps the log from being begun anew
        next(shown)
        grown(index, range(200, 260))
        assert log.stat().st_size > 250 * 4096
        shown.close()
    grown(index, range(260, 400))
    assert index._database.wal_pages < 250
    assert len(index.ledger.held()) == 400
    index.close()


def test_after_a_checkpoint_the_log_is_begun_anew(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"one", founding=True)
    number = 0
    while not index.wants_checkpoint:
        number += 1
        with index.transaction():
            index.ledger.hold([RelPath(b"%d %d" % (number, path) * 50) for path in range(500)])
    pages = index._database.wal_pages
    index.checkpoint()
    with index.transaction():
        index.ledger.hold([RelPath(b"one more")])
    assert index._database.wal_pages < pages // 10
    index.close()


def test_who_keeps_an_index_hears_when_it_was_written(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"one", founding=True)
    told: list[str] = []
    index.on_written(lambda: told.append(index.trouble))
    with index.transaction():
        index.ledger.held()
    assert told == [], "nothing was written"
    with index.transaction():
        index.ledger.hold([RelPath(b"path")])
    assert told == [""]
    pages = index._database.connection.pragma("page_count")
    index._database.connection.pragma("max_page_count", pages)
    with pytest.raises(UnwritableError), index.transaction():
        index.ledger.hold([RelPath(b"%d" % number * 50) for number in range(5_000)])
    assert len(told) == 2
    assert told[-1]
    index._database.connection.pragma("max_page_count", 1 << 30)
    index.close()


def put(index: Index, number: int, live: bool, pending: bool = False) -> None:
    """Set a row, in a transaction of the caller's; the content that it may show has that many bytes."""
    entry = ContentEntry(Dot(Incarnation(1), 1), Hlc(1), Content(Kind.FILE, number, b"h"))
    row = Row(
        record=Record(content=Half((entry,), {})),
        applied=Applied(observation=None),
        scope=Scope(b""),
        live=live,
        pending=pending,
    )
    index.rows.put(RelPath(b"%d" % number), row)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["live", "dead", "pending", "drop", "fail"])), max_size=20)
)
def test_live_paths_are_counted_as_they_come_and_go(changes: list[tuple[int, str]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        index = Index(f"{place}/index.db", member="alpha", boot=b"boot", founding=True)
        model = carried_out(index, changes)
        kinds = list(model.values())
        assert index.rows.counts() == (len(kinds) - kinds.count("dead"), kinds.count("pending"))
        left = Amount(kinds.count("pending"), sum(number for number, kind in model.items() if kind == "pending"))
        assert index.rows.amounts.left == left
        index.close()
        index = Index(f"{place}/index.db", member="alpha", boot=b"boot")
        assert index.rows.amounts.left == left, "also of an index that is opened again"
        index.close()


def carried_out(index: Index, changes: list[tuple[int, str]]) -> dict[int, str]:
    """Make each change in a transaction; return what is there then."""
    model: dict[int, str] = {}
    for number, kind in changes:
        with contextlib.suppress(ZeroDivisionError), index.transaction():
            if kind == "drop":
                index.rows.drop(RelPath(b"%d" % number))
                model.pop(number, None)
                continue
            put(index, number, kind != "dead", kind == "pending")
            if kind == "fail":
                index.rows.counts()  # what is put is in the table when it is taken back
                raise ZeroDivisionError
            model[number] = kind
    return model


def shown_file(file_hash: bytes) -> Row:
    """Return the row of a path that shows a file of that hash."""
    shown = Observation(stamp=Stamp(1, 2, 3, 4), kind=Kind.FILE, mode=0, uid=0, gid=0, hash=file_hash)
    applied = Applied(observation=shown)
    return Row(record=NOTHING_KNOWN, applied=applied, scope=Scope(b""), live=True, pending=False)


def test_a_content_is_found_where_it_is_shown_now(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"boot", founding=True)
    rows, paths = index.rows, [RelPath(b"%d" % number) for number in range(4)]
    with index.transaction():
        for path in paths:
            rows.put(path, shown_file(b"old"))
        assert sorted(rows.paths_with_hash(b"old")) == paths
    assert sorted(rows.paths_with_hash(b"old")) == paths
    with index.transaction():
        rows.put(paths[0], shown_file(b"new"))
        rows.put(paths[1], shown_file(b"new"))
        rows.put(paths[1], shown_file(b"old"))
        rows.drop(paths[2])
        assert rows.paths_with_hash(b"new") == [paths[0]]
        assert sorted(rows.paths_with_hash(b"old")) == [paths[1], paths[3]]
    assert sorted(rows.paths_with_hash(b"old")) == [paths[1], paths[3]]
    with contextlib.suppress(ZeroDivisionError), index.transaction():
        rows.put(paths[3], shown_file(b"new"))
        raise ZeroDivisionError
    assert rows.paths_with_hash(b"new") == [paths[0]]
    index.close()


def test_live_paths_of_an_index_that_did_not_count_them_are_counted_once(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"boot", founding=True)
    with index.transaction():
        for number in range(5):
            put(index, number, live=number > 1)
    index.close()
    with contextlib.closing(apsw.Connection(str(tmp_path / "index.db"))) as older:
        older.execute("DROP TRIGGER row_made; DROP TRIGGER row_dropped; DROP TRIGGER row_changed; DROP TABLE totals")
    for _ in range(2):
        index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"boot")
        assert index.rows.counts() == (3, 0)
        index.close()


def steps_of(index: Index, ask: Callable[[], object]) -> int:
    """Return how many hundreds of SQLite's steps a question takes."""
    count = 0

    def step() -> bool:
        nonlocal count
        count += 1
        return False

    connection = index._database.connection
    connection.set_progress_handler(step, 100)
    ask()
    connection.set_progress_handler(None)
    return count


def test_what_is_asked_at_each_change_costs_no_more_in_a_large_volume(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"one", founding=True)
    rows = index.rows
    with index.transaction():
        for number in range(10_000):
            entry = ContentEntry(Dot(Incarnation(1), number + 1), Hlc(1), Content(Kind.FILE, 1, b"%d" % number))
            record = Record(content=Half((entry,), {}))
            applied, live = Applied(observation=None), number % 2 == 0
            row = Row(
                record=record, applied=applied, scope=Scope(b""), live=live, pending=False, content_position=number + 1
            )
            rows.put(RelPath(b"%d" % number), row)
    for name, ask in {
        "what is to be sent": lambda: rows.updated_since(9_990, 100),
        "what is not settled": lambda: rows.unsettled(100),
        "what lives on": lambda: rows.living_on(100),
        "what is pending": rows.pending,
        "who has a content": lambda: rows.paths_with_hash(b"1"),
        "who has a write": lambda: rows.paths_written(Dot(Incarnation(1), 1)),
        "who has an inode": lambda: rows.paths_linked(7),
        "what is in doubt": rows.doubtful,
        "how much there is": rows.counts,
        "what is contested": rows.contested,
    }.items():
        assert steps_of(index, ask) < 10, name
    index.close()


def test_what_is_of_no_group_makes_no_directory_live(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"one", founding=True)
    shown = Applied(observation=Observation(stamp=Stamp(1, 1, 1, 1), kind=Kind.FILE, mode=0, uid=0, gid=0))
    for scope, counts in ((Scope(b""), False), (Scope(b"scope-01"), True)):
        row = Row(record=NOTHING_KNOWN, applied=shown, scope=scope, live=True, pending=False)
        with index.transaction():
            index.rows.put(RelPath(b"d/f"), row)
            assert (index.rows.has_live_below(RelPath(b"d")), index.rows.has_shown_below(RelPath(b"d"))) == (
                counts,
            ) * 2
        assert (index.rows.has_live_below(RelPath(b"d")), index.rows.has_shown_below(RelPath(b"d"))) == (counts,) * 2
    index.rows.revise(lambda path, row: msgspec.structs.replace(row, scope=Scope(b"")))
    assert not index.rows.has_live_below(RelPath(b"d")), "what the rules say now, not what is written"
    assert not index.rows.has_shown_below(RelPath(b"d"))
    index.close()


def test_whose_something_is_goes_by_the_rules_before_its_row_is_written_as_they_have_it(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"one", founding=True)
    shown = Applied(observation=Observation(stamp=Stamp(1, 1, 1, 1), kind=Kind.FILE, mode=0, uid=0, gid=0))
    nobodys, ours = Scope(b""), Scope(b"scope-01")
    for before, now in ((nobodys, ours), (ours, nobodys)):
        row = Row(record=NOTHING_KNOWN, applied=shown, scope=before, live=True, pending=False)
        with index.transaction():
            index.rows.put(RelPath(b"d/f"), row)
        index.rows.revise(lambda path, row, now=now: msgspec.structs.replace(row, scope=now))  # type: ignore[misc]
        for is_any_below in (index.rows.has_live_below, index.rows.has_shown_below):
            assert is_any_below(RelPath(b"d")) == (now == ours)
        index.rows.revise(None)
        assert index.rows.has_live_below(RelPath(b"d")) == (before == ours)
    index.close()
