"""What a round of looks was about when it failed is looked at again, or found by comparing: nothing waits for it for ever."""

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
import trio

from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import RelPath
from csfs.errors import UnwritableError
from csfs.replicate.looking import ATTRIBUTES, Reason
from csfs.replicate.looking_again import looked_again
from csfs.replicate.since import Since
from tests.replicate.test_linking import two

OLD, NEW, GONE = RelPath(b"d/old"), RelPath(b"d/new"), RelPath(b"d/gone")


FULL = UnwritableError("the disk is full")


def failing_once(monkeypatch: pytest.MonkeyPatch, where: object, name: str, error: Exception) -> None:
    """Have the next round of looks fail where it calls that."""
    works = getattr(where, name)

    def fail(*_: Any) -> Any:
        monkeypatch.setattr(where, name, works)
        raise error

    monkeypatch.setattr(where, name, fail)


async def test_no_row_waits_for_ever_for_what_was_to_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(tmp_path) as (alpha, _):
        await alpha.quiet()
        alpha.worker.observer.start_journal(b"journal", 0)
        failing_once(monkeypatch, alpha.volume.left_out, "counted", RuntimeError("a bug"))
        alpha.worker.observer.take([Change(sequence=1, kind=ChangeKind.CREATE, path=GONE)])
        await alpha.quiet()
        assert alpha.worker.observer.digested == 1


async def test_what_was_renamed_while_the_disk_was_full_is_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(tmp_path) as (alpha, _):
        (alpha.tree / "d/old").write_bytes(b"content")
        alpha.tell("d/old")
        await alpha.quiet()
        os.rename(alpha.tree / "d/old", alpha.tree / "d/new")
        failing_once(monkeypatch, alpha.volume.engine, "follow", FULL)
        change = Change(sequence=0, kind=ChangeKind.RENAME, path=OLD, target=NEW)
        alpha.worker.observer.take_unjournalled([change])
        with trio.fail_after(5):
            await alpha.volume.progress.wait_until(lambda: alpha.volume.index.rows.row(NEW) is not None)
        await alpha.quiet()
        row = alpha.volume.index.rows.row(OLD)
        assert row is not None
        (gone,) = row.record.content.entries
        assert [move.target for move in gone.moves] == [NEW]


def test_rows_wait_until_what_they_tell_is_looked_at_again() -> None:
    since, looks = Since(), dict[RelPath, Reason]()
    for sequence, path in enumerate((OLD, NEW, GONE), 1):
        since.note(path, sequence)
    with (
        contextlib.suppress(UnwritableError),
        looked_again([(OLD, ATTRIBUTES), (GONE, ATTRIBUTES)], looks.__setitem__, since),
    ):
        for path in (OLD, GONE):
            since.drop(path)  # as if it had been recorded
        raise FULL
    assert ([since.of(path) for path in (OLD, NEW, GONE)], since.oldest) == ([1, 2, 3], 1)
    assert looks == {OLD: ATTRIBUTES, GONE: ATTRIBUTES}
