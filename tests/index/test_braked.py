"""What the brake holds back outlives the daemon, and is past once something supersedes it."""

from pathlib import Path

import pytest

from csfs.core.objects import Applied
from csfs.core.paths import ROOT, RelPath
from csfs.core.records import NOTHING_KNOWN
from csfs.core.rows import Loss, Row, Waiting
from csfs.core.versions import Dot, Incarnation, Scope
from csfs.index.braked import Braked
from csfs.index.index import Index

LOSS = Loss("alpha", True, Dot(Incarnation(7), 3))


def opened(directory: Path) -> Index:
    return Index(str(directory / "index.db"), member="beta", boot=b"boot", founding=True)


def row(*, pending: bool) -> Row:
    return Row(record=NOTHING_KNOWN, applied=Applied(observation=None), scope=Scope(b"s"), live=False, pending=pending)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    made = opened(tmp_path)
    with made.transaction():
        for number, path in enumerate((b"d", b"d/a", b"d/b", b"e")):
            made.rows.put(RelPath(path), row(pending=True))
            made.braked.put(Waiting(RelPath(path), Loss("alpha", path != b"d/b", LOSS.dot), 100 + number))
    return made


def test_what_waits_is_remembered(index: Index, tmp_path: Path) -> None:
    index.close()
    again = opened(tmp_path)
    assert again.braked.at(RelPath(b"d/a")) == Waiting(RelPath(b"d/a"), LOSS, 101)
    assert again.braked.is_braked("alpha")
    assert not again.braked.is_braked("beta")
    assert again.braked.summary() == [Braked("alpha", 3, 1, 100)]
    again.close()


def test_what_waits_is_listed_by_directory(index: Index) -> None:
    assert [waiting.path for waiting in index.braked.below(RelPath(b"d"))] == [b"d", b"d/a", b"d/b"]
    assert len(index.braked.below(ROOT)) == 4
    index.close()


def test_what_is_shown_meanwhile_waits_no_more(index: Index) -> None:
    with index.transaction():
        for path in (b"d", b"d/a", b"d/b"):
            index.rows.put(RelPath(path), row(pending=False))
    assert index.braked.summary() == [Braked("alpha", 1, 0, 103)]
    with index.transaction():
        index.braked.drop(RelPath(b"e"))
    assert not index.braked.is_braked("alpha")
    index.close()


def test_what_was_let_through_waits_for_nobody(index: Index) -> None:
    with index.transaction():
        for waiting in index.braked.below(ROOT):
            index.braked.approve(waiting)
    assert index.braked.summary() == []
    found = index.braked.at(RelPath(b"e"))
    assert found is not None
    assert found.approved
    index.close()
