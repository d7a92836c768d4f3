"""What is believed after a power cut, while the tree is still being compared."""

import os
import time
from pathlib import Path

import pytest
import trio

from csfs.core.changes import Change, ChangeKind
from csfs.core.objects import Kind
from csfs.core.paths import ROOT, RelPath
from csfs.engine.evidence import Evidence
from csfs.replicate.compare import compare
from csfs.replicate.directories import Directories
from csfs.replicate.observer import Observer
from tests.replicate.test_exchange import rules_of
from tests.replicate.test_fetcher import made_volume

FILE = RelPath(b"f")


async def test_what_is_removed_after_it_was_recorded_goes_whatever_was_renamed_there_before(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    tree, volume = tmp_path / "tree", made_volume(tmp_path)
    volume.nursery = nursery
    observer = Observer(volume, Directories(volume))
    nursery.start_soon(observer.run)

    async def told(kind: ChangeKind) -> None:
        observer.take_unjournalled([Change(sequence=0, kind=kind, path=FILE)])
        with trio.fail_after(5):
            await volume.progress.wait_until(lambda: observer.looks == 0)

    (tree / "f").write_bytes(b"old")
    await told(ChangeKind.CREATE)
    (tree / "f").rename(tree / "g")
    (tree / "f").write_bytes(b"another")
    volume.evidence = Evidence(time.time_ns() - 1_000_000_000)  # times on a disk are coarser
    volume.evidence.take(Change(sequence=0, kind=ChangeKind.RENAME, path=FILE, target=RelPath(b"g")))
    await told(ChangeKind.CREATE)
    (tree / "f").unlink()
    await told(ChangeKind.REMOVE)
    row = volume.index.rows.row(FILE)
    assert row is not None
    assert (row.live, row.pending) == (False, False)


@pytest.mark.parametrize("is_torn", [True, False])
async def test_what_was_renamed_is_gone_from_its_old_name_only_if_it_is_whole_at_the_new_one(
    tmp_path: Path, nursery: trio.Nursery, is_torn: bool
) -> None:
    tree, volume, target = tmp_path / "tree", made_volume(tmp_path), RelPath(b"g")
    volume.nursery = nursery
    observer = Observer(volume, Directories(volume))
    nursery.start_soon(observer.run)

    async def told(change: Change) -> None:
        observer.take_unjournalled([change])
        with trio.fail_after(5):
            await volume.progress.wait_until(lambda: observer.looks == 0)

    (tree / "f").write_bytes(b"old")
    await told(Change(sequence=0, kind=ChangeKind.CREATE, path=FILE))
    (tree / "f").rename(tree / "g")
    if is_torn:
        os.truncate(tree / "g", 1)
    volume.evidence = Evidence(time.time_ns() + 3_600 * 1_000_000_000)
    await told(Change(sequence=0, kind=ChangeKind.RENAME, path=FILE, target=target))
    before, after = volume.index.rows.row(FILE), volume.index.rows.row(target)
    assert before is not None
    assert after is not None
    assert (before.live, before.pending, after.live) == (is_torn, is_torn, not is_torn)
    assert set(volume.index.suspects.left()) == ({FILE, target} if is_torn else set())


@pytest.mark.parametrize("other", [FILE, RelPath(b"z")])
@pytest.mark.parametrize("is_directory", [True, False])
async def test_what_was_exchanged_for_what_is_torn_where_it_went_stands_beside_it(
    tmp_path: Path, nursery: trio.Nursery, other: RelPath, is_directory: bool
) -> None:
    """Whichever of the two is looked at first: a directory that is gone comes last."""
    tree, volume, path = tmp_path / "tree", made_volume(tmp_path), RelPath(b"m")
    volume.nursery = nursery
    observer = Observer(volume, Directories(volume))
    nursery.start_soon(observer.run)

    async def told(*changes: Change) -> None:
        observer.take_unjournalled(changes)
        with trio.fail_after(5):
            await volume.progress.wait_until(lambda: observer.looks == 0)

    here, there = tree / "m", tree / os.fsdecode(other)
    here.write_bytes(b"old")
    there.mkdir() if is_directory else there.write_bytes(b"another")
    (there / "in").write_bytes(b"inside") if is_directory else None
    names = (path, other, *([RelPath(other + b"/in")] if is_directory else []))
    await told(*(Change(sequence=0, kind=ChangeKind.CREATE, path=name) for name in names))
    with volume.index.transaction():
        volume.index.renew("alpha")
    volume.memory_lost("beta")  # as on another boot: it is another incarnation
    here.rename(tree / "by")
    there.rename(here)
    (tree / "by").write_bytes(b"\0\0\0")
    (tree / "by").rename(there)
    volume.evidence = Evidence(time.time_ns() + 3_600 * 1_000_000_000)
    await told(Change(sequence=0, kind=ChangeKind.EXCHANGE, path=path, target=other))
    row = volume.index.rows.row(path)
    assert row is not None
    assert [entry.value.size for entry in row.record.content.entries if entry.value.kind is Kind.FILE].count(3) == 1
    assert len(row.record.content.entries) == 2
    assert volume.engine.is_torn(other)
    assert other in volume.index.suspects.left()


@pytest.mark.parametrize("is_put", [True, False])
async def test_what_was_renamed_is_gone_whatever_is_damaged_in_its_place_unless_a_row_says_that_something_was_put_there(
    tmp_path: Path, nursery: trio.Nursery, is_put: bool
) -> None:
    tree, volume, target = tmp_path / "tree", made_volume(tmp_path), RelPath(b"g")
    volume.nursery = nursery
    observer = Observer(volume, Directories(volume))
    nursery.start_soon(observer.run)

    async def told(*changes: Change) -> None:
        observer.take_unjournalled(changes)
        with trio.fail_after(5):
            await volume.progress.wait_until(lambda: observer.looks == 0)

    create = Change(sequence=0, kind=ChangeKind.CREATE, path=FILE)
    (tree / "f").write_bytes(b"old")
    await told(create)
    (tree / "f").rename(tree / "g")
    (tree / "f").write_bytes(b"torn")
    volume.evidence = Evidence(time.time_ns() + 3_600 * 1_000_000_000)
    rename = Change(sequence=0, kind=ChangeKind.RENAME, path=FILE, target=target, time_ns=1)
    put = Change(sequence=0, kind=ChangeKind.CREATE, path=FILE, time_ns=1)
    await told(rename, *([put] if is_put else []))
    before, after = volume.index.rows.row(FILE), volume.index.rows.row(target)
    assert before is not None
    assert after is not None
    assert (before.live, before.pending, after.live) == (is_put, True, True)
    moves = {move.target for entry in before.record.content.entries for move in entry.moves}
    assert moves == (set() if is_put else {target}), "an edit of a peer follows it"
    assert set(volume.index.suspects.left()) == {FILE}
    await told(create)
    again = volume.index.rows.row(FILE)
    assert again is not None
    assert again.record == before.record, "another look finds nothing new"


@pytest.mark.parametrize("is_cut", [True, False])
async def test_what_was_followed_once_is_looked_at_after_a_power_cut_and_its_damage_has_replaced_nothing(
    tmp_path: Path, nursery: trio.Nursery, is_cut: bool
) -> None:
    tree, volume = tmp_path / "tree", made_volume(tmp_path)
    observer = Observer(volume, Directories(volume))
    volume.comparing = True
    (tree / "f").write_bytes(b"whole")
    nursery.start_soon(observer.run)
    with trio.fail_after(5):
        await compare(volume, observer, ROOT)
    before = volume.index.rows.row(FILE)
    volume.set_rules(rules_of("alpha", "beta", "gamma"))
    assert not volume.is_followed(FILE)
    (tree / "f").write_bytes(b"")
    (tree / "never followed").write_bytes(b"")
    volume.evidence = Evidence(time.time_ns() + 1_000_000_000) if is_cut else None
    with trio.fail_after(5):
        await compare(volume, observer, ROOT)
    after = volume.index.rows.row(FILE)
    assert before is not None
    assert after is not None
    assert after.record == before.record
    assert after.applied.observation == (None if is_cut else before.applied.observation)
    assert bool(after.applied.content_seen) == (not is_cut)
    assert volume.index.rows.row(RelPath(b"never followed")) is None
    assert not volume.index.suspects.left()
