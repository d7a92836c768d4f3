"""Set hashes in the index: always those of what is there, whatever was changed, dropped or taken back."""

import contextlib
import sqlite3
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csfs.core import digests
from csfs.core.objects import Content, Kind
from csfs.core.paths import ROOT, RelPath
from csfs.core.records import ContentEntry, Half, Record
from csfs.core.rows import Doubt, Row, Standing
from csfs.core.tokens import Owed, Tokens
from csfs.core.versions import Dot, Hlc, Incarnation, Scope
from csfs.engine.live import NOTHING_APPLIED
from csfs.index.index import Index

SCOPES = (Scope(b"scope-01"), Scope(b"scope-02"))
LIFE = Incarnation(7)


def live_row(counter: int, scope: Scope = SCOPES[0], *, kind: Kind = Kind.SYMLINK, doubt: Doubt = Doubt.NONE) -> Row:
    """Return the row of something that one dot made."""
    entry = ContentEntry(Dot(LIFE, counter), Hlc(counter), Content(kind, target=b"to"))
    record = Record(Half((entry,), {LIFE: counter}))
    live = kind is not Kind.ABSENT
    return Row(record=record, applied=NOTHING_APPLIED, scope=scope, live=live, pending=False, doubt=doubt)


def opened(directory: Path) -> Index:
    return Index(str(directory / "index.db"), member="alpha", boot=b"boot", founding=True)


changes = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(("live", "gone", "drop", "fail")), st.sampled_from(SCOPES)),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(changes, st.booleans())
def test_the_set_hash_is_that_of_the_rows(done: list[tuple[int, str, Scope]], flushed: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        index, model = opened(Path(directory)), dict[RelPath, Row]()
        for counter, (number, what, scope) in enumerate(done, 1):
            path = RelPath(b"%d" % number)
            with contextlib.suppress(ZeroDivisionError), index.transaction():
                if what == "drop":
                    index.rows.drop(path)
                    model.pop(path, None)
                    continue
                row = live_row(counter, scope, kind=Kind.ABSENT if what == "gone" else Kind.SYMLINK)
                index.rows.put(path, row)
                if flushed:
                    index.rows.digest(scope)
                if what == "fail":
                    raise ZeroDivisionError
                model[path] = row
        for scope in SCOPES:
            rows = [(path, row) for path, row in model.items() if row.scope == scope]
            assert index.rows.digest(scope) == digests.together(digests.digest_of(p, row.record) for p, row in rows)
        index.close()
        index = opened(Path(directory))
        before = [index.rows.digest(scope) for scope in SCOPES]
        with index.shown() as counted:
            assert not counted.miscounted()
        assert [index.rows.digest(scope) for scope in SCOPES] == before
        index.close()


def test_an_index_whose_digests_were_made_in_another_way_is_brought_forward(tmp_path: Path) -> None:
    index, paths = opened(tmp_path), [RelPath(b"%d" % number) for number in range(4)]
    with index.transaction():
        for counter, path in enumerate(paths, 1):
            index.rows.put(path, live_row(counter, SCOPES[counter % 2]))
    before = [index.rows.digest(scope) for scope in SCOPES]
    index.close()
    with sqlite3.connect(tmp_path / "index.db") as old:
        old.execute("UPDATE rows SET digest = randomblob(32) WHERE digest IS NOT NULL")
        old.execute("UPDATE rows SET row = x'c1' WHERE path = ?", (paths[0],))
        old.execute("UPDATE digests SET digest = randomblob(32)")
        old.execute("PRAGMA user_version = 12")
    old.close()
    index = opened(tmp_path)
    with index.shown() as counted:
        assert counted.checked(ROOT).wrong == [paths[0]]
        assert not counted.miscounted()
    assert index.rows.digest(SCOPES[0]) == before[0]
    assert index.rows.digest(SCOPES[1]) != before[1]
    index.close()


def test_what_a_peer_said_and_was_given_is_there_after_a_restart_and_not_after_a_failure(tmp_path: Path) -> None:
    index = opened(tmp_path)
    standing, tokens = {SCOPES[0]: Standing({LIFE: 3}, {LIFE: 2})}, Tokens(b"held", b"confirmed", (b"given",), Owed.NOW)
    with index.transaction():
        index.rows.set_standings("beta", standing)
        index.rows.set_tokens("beta", tokens)
    with contextlib.suppress(ZeroDivisionError), index.transaction():
        index.rows.set_standings("beta", {})
        raise ZeroDivisionError
    index.close()
    index = opened(tmp_path)
    assert (index.rows.standings("beta"), index.rows.tokens("beta")) == (standing, tokens)
    assert index.rows.tokens("gamma") == Tokens()
    index.close()


def test_knowledge_that_was_lost_is_lost_after_a_restart_too(tmp_path: Path) -> None:
    index = opened(tmp_path)
    with index.transaction():
        index.rows.set_knowledge(SCOPES[0], {LIFE: 5, Incarnation(8): 1})
    with index.transaction():
        index.rows.set_knowledge(SCOPES[0], {Incarnation(8): 1})
    index.close()
    index = opened(tmp_path)
    assert index.rows.knowledge(SCOPES[0]) == {8: 1}
    index.close()


def test_a_row_put_again_says_what_it_says_whether_its_record_is_the_same_or_not(tmp_path: Path) -> None:
    index = opened(tmp_path)
    path, first = RelPath(b"a"), live_row(1)
    shown = msgspec.structs.replace(first, pending=not first.pending)
    with index.transaction():
        index.rows.put(path, first)
    for second in (
        shown,
        msgspec.structs.replace(shown, record=live_row(2).record),
        msgspec.structs.replace(shown, live=False),
    ):
        for third in (shown, second, msgspec.structs.replace(second, pending=not second.pending)):
            with index.transaction():
                index.rows.put(path, first)
            with index.transaction():
                index.rows.put(path, second)
                index.rows.put(path, third)
            assert index.rows.digest(SCOPES[0]) == digests.digest_of(path, third.record)
            assert (index.rows.pending() == [path]) == third.pending
            assert index.rows.live_count() == third.live
            with index.shown() as reader:
                assert (reader.miscounted(), reader.checked(RelPath(b"")).wrong) == ({}, [])
    index.close()
    index = opened(tmp_path)
    assert index.rows.row(path) == third
    index.close()


def test_tombstones_and_what_is_in_doubt_are_found(tmp_path: Path) -> None:
    index = opened(tmp_path)
    with index.transaction():
        index.rows.put(RelPath(b"a"), live_row(1))
        index.rows.put(RelPath(b"b"), live_row(2, kind=Kind.ABSENT))
        index.rows.put(RelPath(b"c"), live_row(3, kind=Kind.ABSENT, doubt=Doubt.CONTENT))
        index.rows.put(RelPath(b"d"), live_row(4, doubt=Doubt.LAST))
        assert [path for path, _ in index.rows.removed(RelPath(b""), 10)] == [b"b", b"c"]
        assert [path for path, _ in index.rows.removed(RelPath(b"b"), 10)] == [b"c"]
        assert index.rows.doubtful() == [b"c"]
        assert index.rows.unsettled(10) == []
    index.close()


def test_rows_that_were_taken_away_or_changed_underneath_are_found(tmp_path: Path) -> None:
    index = opened(tmp_path)
    rows = {RelPath(b"%d" % number): live_row(number) for number in range(1, 5)}
    with index.transaction():
        for path, row in rows.items():
            index.rows.put(path, row)
    with index.shown() as shown:
        assert (shown.miscounted(), shown.checked(RelPath(b"")).wrong) == ({}, [])
    index.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "index.db")) as changed:
        changed.execute("DELETE FROM rows WHERE path = CAST('1' AS BLOB)")
        other = msgspec.msgpack.encode(live_row(9))
        changed.execute("UPDATE rows SET row = ? WHERE path = CAST('2' AS BLOB)", (other,))
        changed.execute("UPDATE rows SET row = x'c1' WHERE path = CAST('3' AS BLOB)")
        changed.commit()
    index = opened(tmp_path)
    with index.shown() as shown:
        differences, wrong = shown.miscounted(), shown.checked(RelPath(b"")).wrong
    assert wrong == [b"2", b"3"]
    with index.transaction():
        index.rows.correct_digests(differences)
        for path in wrong:
            index.rows.put_as_it_is(path)
    left = {RelPath(b"2"): live_row(9), RelPath(b"4"): rows[RelPath(b"4")]}
    assert index.rows.digest(SCOPES[0]) == digests.together(digests.digest_of(p, row.record) for p, row in left.items())
    with index.shown() as shown:
        assert (shown.miscounted(), shown.checked(RelPath(b"")).wrong) == ({}, [])
    index.close()


@pytest.mark.parametrize("change", ["pending = 0", "live = 0", "stamp = zeroblob(32)"])
@pytest.mark.parametrize("path", [b"", b"a"])
def test_a_column_that_does_not_say_what_its_row_says_is_found_and_put_right(
    tmp_path: Path, change: str, path: bytes
) -> None:
    index, row = opened(tmp_path), msgspec.structs.replace(live_row(1), pending=True)
    with index.transaction():
        index.rows.put(RelPath(path), row)
    index.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "index.db")) as changed:
        changed.execute(f"UPDATE rows SET {change} WHERE path = ?", (path,))
        changed.commit()
    index = opened(tmp_path)
    with index.shown() as shown:
        checked = shown.checked(ROOT)
    assert (checked.wrong, checked.right) == ([path], [])
    with index.transaction():
        index.rows.put_as_it_is(RelPath(path))
    assert index.rows.pending() == [path]
    assert index.rows.live_count() == 1
    with index.shown() as shown:
        checked = shown.checked(ROOT)
    assert (checked.wrong, checked.right, checked.going_on) == ([], [(path, row)], None)
    index.close()


def test_rows_are_gone_through_in_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("csfs.index.shown.CHECKED_MAX", 2)
    index, paths = opened(tmp_path), [RelPath(path) for path in (b"", b"a", b"a/b", b"b", b"c")]
    with index.transaction():
        for number, path in enumerate(paths):
            index.rows.put(path, live_row(number + 1))
    found, going_on = list[RelPath](), RelPath(b"")
    with index.shown() as shown:
        while True:
            checked = shown.checked(going_on)
            found += [path for path, _ in checked.right]
            if checked.going_on is None:
                break
            going_on = checked.going_on
    assert found == paths
    index.close()
