"""Kept versions in the index: listed by path and by time, under retention, and also in an index of an older csfs."""

import sqlite3
from pathlib import Path

import pytest

from csfs.core.objects import Applied, Kind, Observation, Stamp
from csfs.core.paths import ROOT, RelPath
from csfs.errors import CorruptDatabaseError
from csfs.index import schema
from csfs.index.index import Index
from csfs.index.ledger import Cause, KeptVersion

SHOWN = Applied(observation=Observation(stamp=Stamp(1, 5, 1, 1), kind=Kind.FILE, mode=0o600, uid=0, gid=0, size=5))
NOTHING = Applied(observation=None)


def opened(directory: Path) -> Index:
    return Index(str(directory / "index.db"), member="alpha", boot=b"boot", founding=True)


def version(path: bytes, kept_ns: int, applied: Applied = SHOWN, cause: Cause = Cause.REPLACED) -> KeptVersion:
    return KeptVersion(b"%x" % kept_ns, RelPath(path), kept_ns, 5, b"hash", False, applied, cause, "beta")


def add(index: Index, *versions: KeptVersion) -> None:
    with index.transaction():
        for one in versions:
            index.ledger.add_kept(one)


def test_versions_of_a_directory_are_its_own_and_those_below_and_of_nobody_else(tmp_path: Path) -> None:
    index = opened(tmp_path)
    add(index, version(b"d", 1), version(b"d/a", 2), version(b"d-e", 3), version(b"d/a/b", 4), version(b"d0", 5))
    assert [one.path for one in index.ledger.kept_below(RelPath(b"d"), 10)] == [b"d/a/b", b"d/a", b"d"]
    assert [one.path for one in index.ledger.kept_below(RelPath(b"d"), 1)] == [b"d/a/b"]
    assert len(index.ledger.kept_below(ROOT, 10)) == 5
    index.close()


def test_since_a_time_the_first_that_was_displaced_counts(tmp_path: Path) -> None:
    index = opened(tmp_path)
    add(index, *(version(b"d/a", at) for at in (1, 5, 9)), version(b"d/b", 4), version(b"e", 7))
    found = index.ledger.kept_since(RelPath(b"d"), 4)
    assert [(one.path, one.kept_ns) for one in found] == [(b"d/a", 5)]
    assert [one.kept_ns for one in index.ledger.kept_since(ROOT, 0)] == [1, 4, 7]
    index.close()


def test_retention_counts_by_path_by_age_by_bytes_and_in_all(tmp_path: Path) -> None:
    index = opened(tmp_path)
    add(index, *(version(b"a", at) for at in (1, 2, 3)), *(version(b"b", at) for at in (4, 5)))
    add(index, version(b"c", 0)._replace(loser=True))
    assert (index.ledger.kept_count, index.ledger.kept_added) == (6, 6)
    everything = {"count_max": 9, "bytes_max": 99, "before_ns": 0, "rows_max": 9}
    for limit, names in (
        ({}, []),
        ({"count_max": 2}, [b"1"]),
        ({"before_ns": 3}, [b"1", b"2"]),
        ({"bytes_max": 20}, [b"1"]),
        ({"rows_max": 4}, [b"1"]),
    ):
        assert sorted(index.ledger.surplus(**(everything | limit))) == names, limit
    with index.transaction():
        index.ledger.drop_kept(b"1")
    index.close()
    assert opened(tmp_path).ledger.kept_count == 5


def test_a_content_that_a_path_had_again_is_there_twice(tmp_path: Path) -> None:
    index = opened(tmp_path)
    others = version(b"a", 3)._replace(hash=b"other"), version(b"b", 4), version(b"a", 5)._replace(size=0, stored=9)
    loser, link = version(b"a", 6)._replace(loser=True), version(b"a", 7)._replace(hash=b"")
    add(index, version(b"a", 1), version(b"a", 2), version(b"a", 8), *others, loser, link, link._replace(name=b"9"))
    assert index.ledger.doubled() == {b"1": b"8", b"2": b"8"}
    with index.transaction():
        index.ledger.drop_object(b"1")
    assert index.ledger.doubled() == {b"2": b"8"}
    assert [(one.size, one.hash) for one in index.ledger.kept() if one.name == b"1"] == [(0, b"hash")]
    index.close()


def test_blocks_that_alone_are_kept_count_for_what_they_take(tmp_path: Path) -> None:
    index = opened(tmp_path)
    add(index, *(version(b"a", at)._replace(size=0, stored=100) for at in (1, 2, 3)), version(b"b", 4))
    assert index.ledger.kept_bytes() == 305
    assert [one.stored for one in index.ledger.kept()] == [0, 100, 100, 100]
    surplus = index.ledger.surplus(count_max=9, bytes_max=250, before_ns=0, rows_max=9)
    assert sorted(surplus) == [b"1"]
    index.close()


def test_a_version_says_why_it_went_and_whether_it_was_anything(tmp_path: Path) -> None:
    index = opened(tmp_path)
    absence = version(b"f", 2, NOTHING, Cause.RESTORED)
    left = version(ROOT, 3, NOTHING, Cause.FOUND)
    add(index, version(b"f", 1), absence, left)
    assert [(one.cause, one.member, one.is_absence) for one in index.ledger.kept()] == [
        (Cause.FOUND, "beta", False),
        (Cause.RESTORED, "beta", True),
        (Cause.REPLACED, "beta", False),
    ]
    assert len({one.id for one in index.ledger.kept()}) == 3
    index.close()


def test_what_has_no_object_in_the_store_is_no_source_of_its_content(tmp_path: Path) -> None:
    index = opened(tmp_path)
    add(index, version(b"f", 1), version(b"f", 2)._replace(size=0))
    assert index.ledger.kept_with_hash(b"hash") == [(b"1", b"f")]
    index.close()


def test_an_index_of_an_older_format_is_refused_with_the_cure(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with sqlite3.connect(tmp_path / "index.db") as old:
        old.execute("PRAGMA user_version = 2")
    old.close()
    with pytest.raises(CorruptDatabaseError, match="move it away, then csfs config reload"):
        opened(tmp_path)


def test_an_index_of_a_newer_format_is_refused_with_the_cure(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with sqlite3.connect(tmp_path / "index.db") as newer:
        newer.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    newer.close()
    with pytest.raises(CorruptDatabaseError, match="install the newer csfs"):
        opened(tmp_path)
