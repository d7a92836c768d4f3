"""Which of what a program here replaces is noted: what a person may want back, and not without end."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from csfs.core.objects import Applied, Kind, Observation, Stamp
from csfs.core.paths import RelPath
from csfs.core.rows import Plan, Step
from csfs.engine.live import ABSENT, content_of
from csfs.index.index import Index
from csfs.index.ledger import Cause
from csfs.replicate import keeping
from csfs.replicate.keeping import Keeping, note_local
from csfs.replicate.volume import Volume
from csfs.store.owners import Owners
from tests.replicate.alone import rules_of

F, G = RelPath(b"f"), RelPath(b"g")
FILE = Observation(stamp=Stamp(1, 3, 1, 1), kind=Kind.FILE, mode=0o644, uid=0, gid=0, mtime_ns=1, size=3, hash=b"one")
LINK = Observation(stamp=Stamp(2, 1, 1, 1), kind=Kind.SYMLINK, mode=0o777, uid=0, gid=0, target=b"x")


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"boot", founding=True)
    yield Volume("files", index=index, rules=rules_of("files"), member="alpha", owners=Owners())
    index.close()


def noted(volume: Volume, before: Observation, after: Observation | None) -> list[Cause]:
    """Note one change, and return why what is kept now went."""
    with volume.index.transaction():
        note_local(volume, F, Applied(observation=before), after)
    return [version.cause for version in volume.index.ledger.kept(F)]


def test_bytes_kinds_and_attributes_are_noted_and_times_are_not(volume: Volume) -> None:
    touched = msgspec.structs.replace(FILE, mtime_ns=9)
    assert noted(volume, FILE, touched) == []
    assert noted(volume, msgspec.structs.replace(FILE, size=0, hash=b""), FILE) == [], "it was being made"
    assert noted(volume, FILE, msgspec.structs.replace(FILE, hash=b"two")) == [Cause.REPLACED]
    assert noted(volume, FILE, msgspec.structs.replace(FILE, mode=0)) == [Cause.REPLACED] * 2
    assert noted(volume, LINK, FILE) == [Cause.REPLACED] * 3
    assert noted(volume, LINK, None)[0] is Cause.REMOVED
    assert {version.member for version in volume.index.ledger.kept(F)} == {"alpha"}


def test_of_a_great_many_the_rest_is_not_noted(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "NOTED_ROWS_MAX", 2)
    assert [len(noted(volume, FILE, None)) for _ in range(4)] == [1, 2, 2, 2]
    with volume.index.transaction():
        volume.index.ledger.drop_kept(volume.index.ledger.kept(F)[0].name)
    assert len(noted(volume, FILE, None)) == 2


@pytest.mark.parametrize(
    ("keep", "succeeded", "loser", "cause"),
    [
        (False, False, False, Cause.REPLACED),
        (True, False, True, Cause.CONFLICT),
        (True, True, False, Cause.REPLACED),
    ],
)
def test_a_loser_stays_and_what_the_next_version_was_made_from_is_under_retention(
    volume: Volume, *, keep: bool, succeeded: bool, loser: bool, cause: Cause
) -> None:
    with volume.index.transaction():
        volume.engine.observe(F, FILE, 1)
    row = volume.index.rows.row(F)
    assert row is not None
    plan = Plan(
        path=F,
        step=Step.INSTALL,
        expected=FILE.stamp,
        base=FILE,
        content=content_of(LINK),
        meta=None,
        mtime_ns=None,
        keep=keep,
        content_dot=row.applied.content_dot,
        content_seen={},
        meta_dot=None,
        meta_seen={},
        succeeded=succeeded,
    )
    with volume.index.transaction():
        Keeping(volume).note(plan, b"kept")
    (version,) = volume.index.ledger.kept(F)
    assert (version.loser, version.cause, version.size) == (loser, cause, FILE.size)


@pytest.mark.parametrize(
    ("inode", "age_s", "is_kept"), [(9, 1, True), (9, 3_600, False), (1, 1, False)], ids=["copied", "old", "linked"]
)
def test_a_copy_that_may_not_be_on_the_disk_yet_does_not_stand_for_what_goes(
    volume: Volume, inode: int, age_s: int, *, is_kept: bool
) -> None:
    """A file was moved by a peer, and copied here to its new name before the old one goes: a power cut may damage the copy."""
    stamp = Stamp(inode, 3, 1, time.time_ns() - age_s * 10**9)
    with volume.index.transaction():
        volume.engine.observe(F, FILE, 1)
        volume.engine.observe(G, msgspec.structs.replace(FILE, stamp=stamp), 1)
    plan = Plan(
        path=F,
        step=Step.REMOVE,
        expected=FILE.stamp,
        base=FILE,
        content=ABSENT,
        meta=None,
        mtime_ns=None,
        keep=False,
        content_dot=None,
        content_seen={},
        meta_dot=None,
        meta_seen={},
    )
    keeping = Keeping(volume)
    keeping.begin([plan])
    assert bool(keeping.name(plan, 1)) == is_kept
