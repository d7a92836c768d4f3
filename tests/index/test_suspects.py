"""What a power cut may have left is suspect until it is a version's, and that outlives the daemon."""

from pathlib import Path

import pytest

from csfs.core.objects import Applied, Kind, Observation, Stamp
from csfs.core.paths import RelPath
from csfs.core.records import NOTHING_KNOWN
from csfs.core.rows import Row
from csfs.core.versions import Dot, Incarnation, Scope
from csfs.index.index import Index

F = RelPath(b"f")
DOT = Dot(Incarnation(1), 1)
FILE = Observation(stamp=Stamp(1, 0, 1, 1), kind=Kind.FILE, mode=0o600, uid=0, gid=0)
DIRECTORY = Observation(stamp=Stamp(1, 0, 1, 1), kind=Kind.DIRECTORY, mode=0o700, uid=0, gid=0)


def opened(directory: Path) -> Index:
    return Index(str(directory / "index.db"), member="beta", boot=b"boot", founding=True)


def row(applied: Applied, *, pending: bool = False) -> Row:
    return Row(record=NOTHING_KNOWN, applied=applied, scope=Scope(b"s"), live=False, pending=pending)


@pytest.mark.parametrize(
    ("applied", "pending", "is_suspect"),
    [
        (Applied(observation=FILE), False, True),
        (Applied(observation=FILE), True, True),
        (Applied(observation=FILE, content_dot=DOT), False, False),
        (Applied(observation=FILE, content_dot=DOT), True, True),
        (Applied(observation=FILE, content_dot=DOT, meta_dot=DOT), True, False),
        (Applied(observation=None), True, True),
        (Applied(observation=None), False, False),
        (Applied(observation=DIRECTORY), False, False),
        (Applied(observation=DIRECTORY), True, True),
    ],
)
def test_what_stands_for_no_version_is_suspect(
    tmp_path: Path, applied: Applied, pending: bool, is_suspect: bool
) -> None:
    index = opened(tmp_path)
    with index.transaction():
        index.rows.put(F, row(applied, pending=pending))
        assert F not in index.suspects
        index.suspects.put(F, 7)
    index.close()
    again = opened(tmp_path)
    assert (F in again.suspects) == is_suspect
    assert again.suspects.left() == ({F: 7} if is_suspect else {})
    with again.transaction():
        again.suspects.drop(F)
    assert again.suspects.left() == {}
    again.close()
