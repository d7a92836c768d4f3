"""What is about to be committed, in the index: it is found after a stop, and after a rollback it is what it was before."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from csfs.core.objects import Content, Kind
from csfs.core.paths import RelPath
from csfs.core.rows import Plan, Step
from csfs.errors import CorruptDatabaseError
from csfs.index import schema
from csfs.index.index import Index


def opened(directory: Path) -> Index:
    return Index(str(directory / "index.db"), member="alpha", boot=b"boot", founding=True)


def plan(path: bytes) -> Plan:
    return Plan(
        path=RelPath(path),
        step=Step.REMOVE,
        expected=None,
        base=None,
        content=Content(Kind.ABSENT),
        meta=None,
        mtime_ns=None,
        keep=False,
        content_dot=None,
        content_seen={},
        meta_dot=None,
        meta_seen={},
    )


def left(index: Index) -> list[bytes]:
    return sorted(plan.path for plan in index.ledger.intents())


def reopened(index: Index, directory: Path) -> Index:
    index.close()
    return opened(directory)


def test_of_a_batch_that_a_stop_cuts_short_what_was_not_recorded_is_left(tmp_path: Path) -> None:
    index = opened(tmp_path)
    with index.transaction():
        index.ledger.add_intents([plan(b"a"), plan(b"b"), plan(b"c")])
    index = reopened(index, tmp_path)
    assert left(index) == [b"a", b"b", b"c"]
    with index.transaction():
        index.ledger.drop_intents([RelPath(b"b"), RelPath(b"never")])
    index = reopened(index, tmp_path)
    assert index.ledger.intents() == [plan(b"a"), plan(b"c")]
    with index.transaction():
        index.ledger.add_intents([plan(b"d")])
        index.ledger.drop_intents([RelPath(b"a"), RelPath(b"c")])
    index = reopened(index, tmp_path)
    assert left(index) == [b"d"]
    with index.transaction():
        index.ledger.drop_intents([RelPath(b"d")])
    index = reopened(index, tmp_path)
    assert left(index) == []
    index.close()


def test_intents_are_as_they_were_after_a_transaction_that_failed(tmp_path: Path) -> None:
    index = opened(tmp_path)
    with index.transaction():
        index.ledger.add_intents([plan(b"a")])
    with contextlib.suppress(RuntimeError), index.transaction():
        index.ledger.drop_intents([RelPath(b"a")])
        index.ledger.add_intents([plan(b"b")])
        raise RuntimeError
    assert left(index) == [b"a"]
    index = reopened(index, tmp_path)
    assert left(index) == [b"a"]
    index.close()


def make_old(directory: Path) -> None:
    """Leave an index in which each intent was a row of its own."""
    opened(directory).close()
    with sqlite3.connect(directory / "index.db") as old:
        old.executescript(
            "DROP TABLE intents; CREATE TABLE intents (path BLOB PRIMARY KEY, plan BLOB NOT NULL) WITHOUT ROWID;"
            "INSERT INTO intents VALUES (x'61', x'80');"
            "DROP INDEX rows_strangers; ALTER TABLE rows DROP COLUMN strangers; PRAGMA user_version = 10"
        )
    old.close()


def test_an_index_that_has_a_row_for_each_intent_is_brought_forward(tmp_path: Path) -> None:
    make_old(tmp_path)
    index = opened(tmp_path)
    assert left(index) == []
    with index.transaction():
        index.ledger.add_intents([plan(b"a")])
    index = reopened(index, tmp_path)
    assert left(index) == [b"a"]
    index.close()


def test_a_stop_while_an_index_is_brought_forward_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(schema, "TABLES", "SELECT * FROM nowhere; " + schema.TABLES)
        with pytest.raises(CorruptDatabaseError, match="nowhere"):
            opened(tmp_path)
    index = opened(tmp_path)
    assert left(index) == []
    index.close()
