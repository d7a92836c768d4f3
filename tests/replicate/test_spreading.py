"""What was moved or made in a directory just before that was moved itself is found where it is."""

import os
from pathlib import Path

import msgspec
import pytest
import trio

from csfs.config.commands import LOCAL, ActionSettings
from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import RelPath
from csfs.engine.live import meta_of
from csfs.replicate import spreading
from csfs.store.hashing import block_hash
from tests.replicate.test_linking import Member, expect_equal, settle, two
from tests.replicate.test_reading import hash_known


def _renamed(source: str, target: str) -> Change:
    paths = RelPath(source.encode()), RelPath(target.encode())
    return Change(sequence=0, kind=ChangeKind.RENAME, path=paths[0], target=paths[1])


async def _sown(alpha: Member, beta: Member) -> None:
    """Have a directory with a file in it known to both."""
    (alpha.tree / "d/old").mkdir()
    (alpha.tree / "d/old/x").write_bytes(b"old")
    alpha.tell("d", "d/old", "d/old/x")
    await settle(alpha, beta)


def _births(member: Member, path: str) -> list[object]:
    row = member.volume.index.rows.row(RelPath(path.encode()))
    assert row is not None
    return [entry.birth for entry in row.record.content.entries]


async def test_what_was_made_where_something_was_moved_away_in_a_directory_is_found_where_that_was_moved(
    tmp_path: Path,
) -> None:
    async with two(tmp_path) as (alpha, beta):
        await _sown(alpha, beta)
        births = _births(alpha, "d/old/x")
        os.rename(alpha.tree / "d/old/x", alpha.tree / "d/old/y")
        (alpha.tree / "d/old/x").write_bytes(b"new")
        os.rename(alpha.tree / "d/old", alpha.tree / "d/new")
        created = Change(sequence=0, kind=ChangeKind.CREATE, path=RelPath(b"d/old/x"))
        alpha.worker.observer.take_unjournalled([_renamed("d/old/x", "d/old/y"), created, _renamed("d/old", "d/new")])
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert hash_known(alpha, "d/new/x") == block_hash(b"new")
        assert _births(alpha, "d/new/y") == births, "it is the same file"
        assert _births(alpha, "d/new/x") != births, "it is another one"


async def test_what_was_given_back_the_name_that_it_had_before_has_both_where_its_directory_was_moved(
    tmp_path: Path,
) -> None:
    async with two(tmp_path) as (alpha, beta):
        await _sown(alpha, beta)
        os.rename(alpha.tree / "d/old/x", alpha.tree / "d/old/y")
        os.link(alpha.tree / "d/old/y", alpha.tree / "d/old/x")
        os.rename(alpha.tree / "d/old", alpha.tree / "d/new")
        linked = Change(sequence=0, kind=ChangeKind.LINK, path=RelPath(b"d/old/y"), target=RelPath(b"d/old/x"))
        alpha.worker.observer.take_unjournalled([_renamed("d/old/x", "d/old/y"), linked, _renamed("d/old", "d/new")])
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert (beta.tree / "d/new/x").samefile(beta.tree / "d/new/y")


async def test_what_was_written_just_before_its_directory_was_moved_is_read_whatever_its_stamp_says(
    tmp_path: Path,
) -> None:
    async with two(tmp_path) as (alpha, beta):
        await _sown(alpha, beta)
        (alpha.tree / "d/old/x").write_bytes(b"new")
        root, volume = alpha.volume.root, alpha.volume
        os.rename(alpha.tree / "d/old", alpha.tree / "d/new")
        assert root is not None
        found = root.tree.observe(RelPath(b"d/new/x"))
        assert found is not None
        with volume.index.transaction():  # as if it had been written while the clock stood still
            volume.engine.observe(RelPath(b"d/old/x"), msgspec.structs.replace(found, hash=block_hash(b"old")), 1)
        written = Change(sequence=0, kind=ChangeKind.CONTENT, path=RelPath(b"d/old/x"), extents=((0, 3),))
        alpha.worker.observer.take_unjournalled([written, _renamed("d/old", "d/new")])
        await settle(alpha, beta)
        assert hash_known(alpha, "d/new/x") == block_hash(b"new")
        expect_equal(alpha, beta)


def _show_as_of_another(member: Member, path: str, owner: str) -> None:
    """Have what is shown at a path stand for a file of somebody who is not known here."""
    rows, at = member.volume.index.rows, RelPath(path.encode())
    row = rows.row(at)
    assert row is not None
    assert row.applied.observation is not None
    meta = msgspec.structs.replace(meta_of(row.applied.observation), owner=owner)
    with member.volume.index.transaction():
        rows.put(at, msgspec.structs.replace(row, applied=msgspec.structs.replace(row.applied, meta=meta)))


def _owners(member: Member, path: str) -> list[str]:
    row = member.volume.index.rows.row(RelPath(path.encode()))
    assert row is not None
    return [entry.value.owner for entry in row.record.meta.entries]


@pytest.mark.parametrize("moved", ["link", "its directory"])
async def test_a_new_name_that_is_moved_before_anybody_looked_belongs_to_whom_the_file_does(
    tmp_path: Path, moved: str
) -> None:
    async with two(tmp_path) as (alpha, beta):
        await _sown(alpha, beta)
        _show_as_of_another(alpha, "d/old/x", "cid")
        source, target, new = ("e/new", "a", "a") if moved == "link" else ("e", "a", "a/new")
        (alpha.tree / "e").mkdir()
        os.link(alpha.tree / "d/old/x", alpha.tree / "e/new")
        os.rename(alpha.tree / source, alpha.tree / target)
        os.rename(alpha.tree / "d/old/x", alpha.tree / "d/old/f")
        created = Change(sequence=0, kind=ChangeKind.CREATE, path=RelPath(b"e"))
        linked = Change(sequence=0, kind=ChangeKind.LINK, path=RelPath(b"d/old/x"), target=RelPath(b"e/new"))
        alpha.worker.observer.take_unjournalled(
            [created, linked, _renamed(source, target), _renamed("d/old/x", "d/old/f")]
        )
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert (_owners(alpha, new), _owners(alpha, "d/old/f")) == (["cid"], ["cid"])


async def test_what_is_linked_or_moved_out_of_a_directory_just_moved_belongs_to_whom_it_did(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        await _sown(alpha, beta)
        _show_as_of_another(alpha, "d/old/x", "cid")
        os.rename(alpha.tree / "d/old", alpha.tree / "e")
        os.link(alpha.tree / "e/x", alpha.tree / "a")
        os.rename(alpha.tree / "e/x", alpha.tree / "f")
        linked = Change(sequence=0, kind=ChangeKind.LINK, path=RelPath(b"e/x"), target=RelPath(b"a"))
        alpha.worker.observer.take_unjournalled([_renamed("d/old", "e"), linked, _renamed("e/x", "f")])
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert (_owners(alpha, "a"), _owners(alpha, "f")) == (["cid"], ["cid"])


async def test_what_is_to_be_run_for_what_was_moved_is_noted_with_the_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill right after it keeps no action from running."""
    monkeypatch.setattr(spreading, "HEAD_START_S", 1.0)
    async with two(tmp_path) as (alpha, beta):
        await _sown(alpha, beta)
        await settle(alpha, beta)
        alpha.worker.actions.configure([ActionSettings(("/**/x",), ("true",), LOCAL, settle="1h")], "/d")
        os.rename(alpha.tree / "d/old", alpha.tree / "d/new")
        alpha.worker.observer.take_unjournalled([_renamed("d/old", "d/new")])
        index, noted = alpha.volume.index, set[RelPath]()
        with trio.fail_after(10):
            while (row := index.rows.row(RelPath(b"d/new/x"))) is None or row.applied.observation is None:  # noqa: ASYNC110
                await trio.sleep(0.001)
        for key in index.due.actions():
            noted |= index.due.known(key)
        assert noted == {b"d/old/x", b"d/new/x"}
