"""Contents that merges may need: found by hash, let go one by one, and never more than a limit allows."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from csfs.core.objects import Applied, Kind, Observation, Stamp
from csfs.core.paths import ROOT, RelPath
from csfs.core.records import NOTHING_KNOWN
from csfs.core.rows import Row
from csfs.core.versions import Scope
from csfs.index.index import Index

A, B, C = (RelPath(name) for name in (b"a", b"b", b"c"))
SHOWN = Observation(stamp=Stamp(1, 3, 1, 1), kind=Kind.FILE, mode=0o600, uid=0, gid=0, size=3, hash=b"one")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"boot", founding=True)
    yield index
    index.close()


def test_a_content_is_found_by_hash_until_no_path_holds_it(index: Index) -> None:
    bases = index.bases
    with index.transaction():
        bases.hold(A, b"one", b"1")
        bases.hold(B, b"one", b"1")
        bases.hold(A, b"two", b"")
    assert bases.content(b"one") == b"1"
    assert bases.content(b"two") is None, "a note that there is nothing to merge"
    assert (bases.held(A), sorted(bases.paths(b"one"))) == ({b"one", b"two"}, [A, B])
    with index.transaction():
        bases.release(A, b"one")
        assert bases.content(b"one") == b"1"
        bases.release(B, b"one")
    assert bases.content(b"one") is None


def test_beyond_the_limit_the_oldest_go(index: Index) -> None:
    bases = index.bases
    bases.size_max = 10
    with index.transaction():
        for path in (A, B, C):
            assert bases.is_full == (path == C)
            bases.hold(path, b"hash of " + path, b"12345")
        bases.trim()
        assert [bool(bases.held(path)) for path in (A, B, C)] == [False, True, True]
        bases.hold(B, b"hash of b", b"12345")  # held anew: the youngest now
        bases.hold(A, b"hash of a", b"12345")
        bases.trim()
        assert [bool(bases.held(path)) for path in (A, B, C)] == [True, True, False]
        bases.trim()
        assert [bool(bases.held(path)) for path in (A, B, C)] == [True, True, False]
    assert bases.is_full


def test_what_is_shown_and_not_held_is_listed(index: Index) -> None:
    row = Row(
        record=NOTHING_KNOWN, applied=Applied(observation=SHOWN), scope=Scope(b"12345678"), live=True, pending=False
    )
    directory = msgspec.structs.replace(SHOWN, kind=Kind.DIRECTORY, hash=b"")
    with index.transaction():
        for path in (A, B):
            index.rows.put(path, row)
        index.rows.put(C, msgspec.structs.replace(row, applied=Applied(observation=directory)))
    assert index.bases.missing(ROOT, 10) == [A, B]
    assert index.bases.missing(A, 10) == [B]
    with index.transaction():
        index.bases.hold(B, b"another", b"x")
        index.bases.hold(A, b"one", b"1")
    assert index.bases.missing(ROOT, 10) == [B]
