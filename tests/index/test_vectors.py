"""Large vectors are written once: what is read is what was put, and a path costs no more however many incarnations have ended."""

import contextlib
import random
import sqlite3
import tempfile
import tracemalloc
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csfs.core.objects import Applied, Content, Kind, Meta, Observation, Stamp
from csfs.core.paths import ROOT, RelPath
from csfs.core.records import ContentEntry, Half, MetaEntry, Record
from csfs.core.rows import Plan, Row, Step
from csfs.core.versions import Dot, Hlc, Incarnation, Scope, Vector, with_dot
from csfs.index.index import Index
from csfs.index.ledger import KeptVersion
from csfs.index.vectors import LostVectorError

SCOPES = (Scope(b"scope-01"), Scope(b"scope-02"), Scope(b"scope-03"))
META = Meta(0o644, 0, 0, "root", "root")


def opened(directory: Path | str) -> Index:
    return Index(f"{directory}/index.db", member="alpha", boot=b"boot", founding=True)


def reopened(index: Index, directory: Path | str) -> Index:
    index.close()
    return opened(directory)


def lives(count: int, seed: int = 0) -> list[Incarnation]:
    """Return incarnations as they are drawn."""
    drawn = random.Random(seed)
    return [Incarnation(drawn.getrandbits(62) | 1) for _ in range(count)]


def row_of(content: Vector, meta: Vector, shown: Vector | None = None, scope: Scope = SCOPES[0]) -> Row:
    """Return the row of a file whose halves have seen this; `shown`: what the disk shows has."""
    dot = Dot(*next(iter(content.items()), (1, 1)))
    entry = ContentEntry(dot, Hlc(1), Content(Kind.FILE, 1, b"h" * 32), META)
    record = Record(Half((entry,), content), Half((MetaEntry(dot, Hlc(1), META, Kind.FILE, b"h" * 32),), meta))
    found = Observation(stamp=Stamp(1, 2, 3, 4), kind=Kind.FILE, mode=0o644, uid=0, gid=0, hash=b"h" * 32)
    seen = (content, meta) if shown is None else (shown, shown)
    applied = Applied(observation=found, content_dot=dot, content_seen=seen[0], meta_dot=dot, meta_seen=seen[1])
    return Row(record=record, applied=applied, scope=scope, live=True, pending=False)


def plan_of(path: RelPath, content: Vector, meta: Vector) -> Plan:
    return Plan(
        path=path,
        step=Step.REMOVE,
        expected=None,
        base=None,
        content=Content(Kind.ABSENT),
        meta=None,
        mtime_ns=None,
        keep=False,
        content_dot=None,
        content_seen=content,
        meta_dot=None,
        meta_seen=meta,
    )


def written_size(index: Index, table: str = "rows", column: str = "row") -> int:
    """Return what the rows of a table take, with the vectors that they refer to."""
    asked = (
        f"SELECT (SELECT sum(length({column})) FROM {table}) + (SELECT coalesce(sum(length(vector)), 0) FROM vectors)"
    )
    return int(index._database.execute(asked).fetchone()[0])


def vector_count(index: Index) -> int:
    return int(index._database.execute("SELECT count(*) FROM vectors").fetchone()[0])


# ------------------------------------------------------------------------------------------------ what is read is what was put


@st.composite
def vectors(draw: st.DrawFn) -> list[Vector]:
    """Vectors that come of each other, or have little to do with each other."""
    made: list[Vector] = [{}]
    for _ in range(draw(st.integers(1, 12))):
        vector = dict(draw(st.sampled_from(made)))
        start, count = draw(st.integers(0, 60)), draw(st.sampled_from((0, 1, 3, 9, 40)))
        vector.update({Incarnation(life): draw(st.integers(0, 3)) for life in range(start, start + count)})
        for life in draw(st.lists(st.sampled_from(sorted(vector) or [Incarnation(0)]), max_size=4)):
            vector.pop(life, None)
        made.append(vector)
    return made


steps = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(("put", "show", "drop", "fail", "flush", "reopen")), st.randoms()),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(vectors(), steps)
def test_what_is_read_is_what_was_put(made: list[Vector], done: list[tuple[int, str, random.Random]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        index, model = opened(directory), dict[RelPath, Row]()
        for number, what, dice in done:
            path = RelPath(b"%d" % number)
            if what == "reopen":
                index = reopened(index, directory)
                continue
            with contextlib.suppress(ZeroDivisionError), index.transaction():
                if what == "drop":
                    index.rows.drop(path)
                    model.pop(path, None)
                    continue
                row = row_of(dice.choice(made), dice.choice(made), dice.choice([*made, None]), dice.choice(SCOPES))
                if what == "show" and path in model:
                    row = msgspec.structs.replace(model[path], applied=row.applied)
                index.rows.put(path, row)
                if what in ("flush", "fail"):
                    index.rows.live_count()  # writes it
                if what == "fail":
                    raise ZeroDivisionError
                model[path] = row
        assert_has(index, model)
        index = reopened(index, directory)
        assert_has(index, model)
        index.close()


def assert_has(index: Index, model: Mapping[RelPath, Row]) -> None:
    index.rows.forget_cached()
    assert {path: index.rows.row(path) for path in model} == model
    assert dict(index.rows.rows_below(ROOT)) == model
    above: RelPath | None = ROOT
    with index.shown() as shown:
        while above is not None:
            above, wrong, _ = shown.checked(above)
            assert wrong == []


@settings(max_examples=15, deadline=None)
@given(vectors(), st.randoms())
def test_so_is_what_was_about_to_be_committed(made: list[Vector], dice: random.Random) -> None:
    with tempfile.TemporaryDirectory() as directory:
        index, plans = opened(directory), list[Plan]()
        for number in range(6):
            plans.append(plan_of(RelPath(b"%d" % number), dice.choice(made), dice.choice(made)))
            with index.transaction():
                index.ledger.add_intents(plans[-1:])
        for _ in range(2):
            assert index.ledger.intents() == plans
            index = reopened(index, directory)
        index.close()


def test_what_is_the_same_in_a_row_is_one_object_when_it_is_read(tmp_path: Path) -> None:
    index, known = opened(tmp_path), dict.fromkeys(lives(100), 7)
    with index.transaction():
        for number in range(3):
            index.rows.put(RelPath(b"%d" % number), row_of(dict(known), {**known, lives(1)[0]: number}))
    index.rows.forget_cached()
    row = index.rows.row(RelPath(b"2"))
    assert row is not None
    assert row.applied.content_seen is row.record.content.seen
    assert row.applied.meta_seen is row.record.meta.seen
    index.close()


def test_rows_of_an_index_in_which_each_had_its_vectors_are_read_and_put_anew(tmp_path: Path) -> None:
    index, known = opened(tmp_path), dict.fromkeys(lives(100), 7)
    rows = {RelPath(b"%d" % number): row_of(known, known) for number in range(9)}
    with index.transaction():
        for path, row in rows.items():
            index.rows.put(path, row)
    index.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "index.db")) as old:
        for path, row in rows.items():
            old.execute("UPDATE rows SET row = ? WHERE path = ?", (msgspec.msgpack.encode(row), path))
        old.executescript("DROP TABLE vectors; PRAGMA user_version = 14")
    index = opened(tmp_path)
    assert_has(index, rows)
    size = written_size(index)
    with index.transaction():
        for path, row in rows.items():
            index.rows.put(path, row)
    assert written_size(index) < size / 3
    assert_has(index, rows)
    index.close()


# ----------------------------------------------------------------------------------------------------------- what it takes


def new_files(index: Index, known: Vector, count: int, scope: Scope = SCOPES[0], batch: int = 500) -> None:
    """Put the rows of files that are made one after the other by the last incarnation of those known."""
    life = list(known)[-1]
    for first in range(0, count, batch):
        with index.transaction():
            for number in range(first, first + batch):
                content = with_dot(known, Dot(life, known[life] + 2 * number + 1))
                meta = with_dot(known, Dot(life, known[life] + 2 * number + 2))
                index.rows.put(RelPath(scope + b"%d-%d" % (len(known), number)), row_of(content, meta, scope=scope))


@pytest.mark.parametrize("incarnations", [3, 8, 100, 1_000])
def test_a_new_path_takes_no_more_however_many_incarnations_have_ended(tmp_path: Path, incarnations: int) -> None:
    index = opened(tmp_path)
    new_files(index, dict.fromkeys(lives(incarnations), 1), 2_000)
    assert written_size(index) / 2_000 < 500
    index.close()


def test_scopes_that_take_turns_share_nothing_and_cost_nothing(tmp_path: Path) -> None:
    index = opened(tmp_path)
    for number in range(3):
        for place, scope in enumerate(SCOPES):
            known = dict.fromkeys(lives(100, seed=place), 1)
            new_files(index, {**known, lives(1, seed=9)[0]: 1 + 10_000 * number}, 200, scope, batch=10)
    assert vector_count(index) == 3
    assert written_size(index) / 600 < 500 + 3 * 100 * 14 / 600
    index.close()


def test_as_years_go_by_there_are_few_vectors_and_every_row_says_what_it_said(tmp_path: Path) -> None:
    # Three members boot a hundred times each; every life changes some of what is there and adds to it.
    index, dice, model = opened(tmp_path), random.Random(1), dict[RelPath, Row]()
    known: Vector = {}
    for life in lives(300):
        with index.transaction():
            for counter in range(1, 8):
                known = with_dot(known, Dot(life, counter))
                old = counter > 2 and bool(model)
                path = dice.choice(sorted(model)) if old else RelPath(b"%d-%d" % (life, counter))
                seen = with_dot(model[path].record.content.seen, Dot(life, counter)) if old else known
                model[path] = row_of(seen, seen)
                index.rows.put(path, model[path])
    assert_has(index, model)
    assert vector_count(index) < 300 / 8
    in_full = sum(len(msgspec.msgpack.encode(row)) for row in model.values())
    assert written_size(index) < in_full / 6
    index.close()


def test_those_that_are_alive_make_no_new_vectors_however_often_they_change_something(tmp_path: Path) -> None:
    index, dice = opened(tmp_path), random.Random(2)
    ended, alive = lives(60, seed=1), lives(50, seed=2)
    known: Vector = dict.fromkeys([*ended, *alive], 1)
    for change in range(2_000):
        known = with_dot(known, Dot(dice.choice(alive), change + 2))
        with index.transaction():
            index.rows.put(RelPath(b"%d" % (change % 500)), row_of(known, known))
    assert vector_count(index) == 1
    index.close()


def test_what_one_path_alone_has_makes_no_vectors(tmp_path: Path) -> None:
    # Files of long ago, each changed by others of all the lives since.
    index, dice, since = opened(tmp_path), random.Random(3), lives(400)
    seen: list[Vector] = [{} for _ in range(40)]
    for life in since:
        with index.transaction():
            for number in dice.sample(range(40), 3):
                seen[number] = with_dot(seen[number], Dot(life, 1))
                index.rows.put(RelPath(b"%d" % number), row_of(seen[number], seen[number]))
    assert vector_count(index) < 5
    index.close()


def test_kept_versions_and_what_is_about_to_be_committed_cost_no_more_either(tmp_path: Path) -> None:
    index, known = opened(tmp_path), dict.fromkeys(lives(1_000), 7)
    applied = row_of(known, known).applied
    for number in range(100):
        path = RelPath(b"%d" % number)
        with index.transaction():
            index.ledger.add_kept(KeptVersion(b"%d" % number, path, number, 1, b"h", False, applied))
            index.ledger.add_intents([plan_of(path, known, known)])
    kept = index.ledger.kept()
    bare = msgspec.structs.replace(applied, content_seen={}, meta_seen={})
    assert [one.applied for one in kept] == [bare] * 100
    assert written_size(index, "kept", "applied") < 100 * 150 + 1_000 * 14
    assert written_size(index, "intents", "plans") < 100 * 400 + 2 * 1_000 * 14, "the first one, and the vector"
    index.close()


@pytest.mark.parametrize("incarnations", [100, 1_000, 4_000])
def test_rows_at_hand_take_no_more_memory_for_their_vectors(tmp_path: Path, incarnations: int) -> None:
    index, known = opened(tmp_path), dict.fromkeys(lives(incarnations), 1)
    new_files(index, known, 50, SCOPES[0], batch=25)
    tracemalloc.start()
    try:
        new_files(index, known, 6_000 if incarnations == 100 else 1_000)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 64 << 20
    assert index.rows.cached_size < 80 << 20
    index.close()


# ----------------------------------------------------------------------------------------------------------- what is lost


def broken(directory: Path, statements: Iterable[str]) -> Sequence[RelPath]:
    """Have two vectors, change the table underneath, and return the paths that are wrong now."""
    index = opened(directory)
    for place, scope in enumerate(SCOPES[:2]):
        new_files(index, dict.fromkeys(lives(100, seed=place), 1), 20, scope, batch=10)
    assert vector_count(index) == 2
    index.close()
    with contextlib.closing(sqlite3.connect(directory / "index.db")) as changed:
        for statement in statements:
            changed.execute(statement)
        changed.commit()
    index = opened(directory)
    with index.shown() as shown:
        wrong = shown.checked(ROOT).wrong
    index.close()
    return wrong


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM vectors WHERE number = 1",
        "UPDATE vectors SET vector = (SELECT vector FROM vectors WHERE number = 2) WHERE number = 1",
        "UPDATE vectors SET vector = x'c1' WHERE number = 1",
    ],
)
def test_rows_whose_vector_is_lost_are_found_and_forgotten_for_others_to_say(tmp_path: Path, damage: str) -> None:
    wrong = broken(tmp_path, [damage])
    # The first of them was put before anybody knew that it would be shared.
    assert sorted(wrong) == sorted(RelPath(SCOPES[0] + b"100-%d" % number) for number in range(1, 20))
    index = opened(tmp_path)
    with pytest.raises(LostVectorError):
        index.rows.row(wrong[0])
    with index.transaction():
        for path in wrong:
            index.rows.put_as_it_is(path)
    with index.shown() as shown:
        assert (shown.miscounted(), shown.checked(ROOT).wrong) == ({}, [])
    assert index.rows.live_count() == 21
    known = dict.fromkeys(lives(100), 1)
    new_files(index, known, 20, SCOPES[0], batch=10)  # told anew
    index = reopened(index, tmp_path)
    assert index.rows.row(wrong[0]) is not None
    index.close()
