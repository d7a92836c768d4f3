"""What is looked at, and what is believed of it: a look is older than a commit that came after it."""

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from csfs.config.settings import VolumeRules
from csfs.core.changes import Change, ChangeKind
from csfs.core.groups import GroupRule, Rules
from csfs.core.objects import Kind
from csfs.core.paths import ROOT, RelPath
from csfs.replicate.compare import compare
from csfs.replicate.directories import Directories
from csfs.replicate.looking import Reason
from csfs.replicate.observer import Observer
from csfs.replicate.volume import Volume
from csfs.store.hashing import BLOCK_SIZE, block_hash
from tests.replicate.test_fetcher import made_volume

FILE = RelPath(b"f")


@pytest.fixture
def volume(tmp_path: Path, nursery: trio.Nursery) -> Volume:
    """A volume with a root underneath, and `f` in it."""
    return volume_with_file(tmp_path, nursery)


def volume_with_file(tmp_path: Path, nursery: trio.Nursery) -> Volume:
    """Return a volume with a root underneath, and `f` in it."""
    made = made_volume(tmp_path)
    made.nursery = nursery
    (tmp_path / "tree" / "f").write_bytes(b"old")
    return made


def observer_of(volume: Volume) -> Observer:
    return Observer(volume, Directories(volume))


async def settled(observer: Observer, volume: Volume) -> None:
    with trio.fail_after(5):
        await volume.progress.wait_until(lambda: observer.looks == 0)


def inode_recorded(volume: Volume) -> int:
    """Return the inode that the index says is shown at `f`."""
    row = volume.index.rows.row(FILE)
    assert row is not None
    assert row.applied.observation is not None
    return row.applied.observation.stamp.inode


async def test_a_look_that_a_commit_has_overtaken_is_not_taken_for_an_edit(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery
) -> None:
    observer = observer_of(volume)
    observer.look(FILE)
    nursery.start_soon(observer.run)
    await settled(observer, volume)
    (tmp_path / "tree" / "big").write_bytes(os.urandom(400 * BLOCK_SIZE))
    observer.look(FILE)
    observer.look(RelPath(b"big"))
    await trio.testing.wait_all_tasks_blocked()
    # While the large file is read, a commit replaces `f` and is recorded.
    (tmp_path / "new").write_bytes(b"new")
    os.rename(tmp_path / "new", tmp_path / "tree" / "f")
    assert volume.root is not None
    found = volume.root.tree.observe(FILE)
    assert found is not None
    with volume.index.transaction():
        volume.engine.observe(FILE, found, 1)
    with trio.fail_after(5):
        await volume.progress.wait_until(lambda: volume.index.rows.row(RelPath(b"big")) is not None)
    await settled(observer, volume)
    assert inode_recorded(volume) == os.stat(tmp_path / "tree" / "f").st_ino
    row = volume.index.rows.row(FILE)
    assert row is not None
    assert [entry.value.hash for entry in row.record.content.entries] == [found.hash]


async def test_nothing_is_believed_of_a_path_to_which_something_is_being_committed(
    volume: Volume, nursery: trio.Nursery
) -> None:
    observer = observer_of(volume)
    volume.in_flight = {FILE}
    observer.look(FILE)
    nursery.start_soon(observer.run)
    await trio.testing.wait_all_tasks_blocked()
    assert volume.index.rows.row(FILE) is None
    volume.in_flight = set()
    volume.progress.notify()
    await settled(observer, volume)
    assert volume.index.rows.row(FILE) is not None


async def test_what_was_written_before_a_rename_is_read_under_the_new_name(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery
) -> None:
    observer, tree = observer_of(volume), tmp_path / "tree"
    observer.look(FILE)
    nursery.start_soon(observer.run)
    await settled(observer, volume)
    with trio.fail_after(5):
        await volume.progress.wait_until(lambda: volume.index.rows.row(FILE) is not None)
    before = (tree / "f").stat()
    (tree / "f").write_bytes(b"new")
    os.utime(tree / "f", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.rename(tree / "f", tree / "g")
    written = Change(sequence=1, kind=ChangeKind.CONTENT, path=FILE)
    observer.take([written, Change(sequence=2, kind=ChangeKind.RENAME, path=FILE, target=RelPath(b"g"))])
    with trio.fail_after(5):
        await volume.progress.wait_until(lambda: volume.index.rows.row(RelPath(b"g")) is not None)
    row = volume.index.rows.row(RelPath(b"g"))
    assert row is not None
    assert [entry.value.hash for entry in row.record.content.entries] == [block_hash(b"new")]


async def test_what_is_held_here_alone_stays_so_at_the_next_comparison(volume: Volume, nursery: trio.Nursery) -> None:
    observer = observer_of(volume)
    with volume.index.transaction():
        volume.index.ledger.hold([FILE])
    nursery.start_soon(observer.run)
    with trio.fail_after(5):
        await compare(volume, observer, ROOT)
    assert volume.index.rows.row(FILE) is None
    observer.look(FILE, Reason(content=True))
    await settled(observer, volume)
    assert volume.index.rows.row(FILE) is not None


DIRECTORY, CHILD = RelPath(b"d"), RelPath(b"d/x.bak")


async def _shown(volume: Volume, observer: Observer, tree: Path) -> None:
    """Have a directory with a file in it known."""
    (tree / "d").mkdir()
    (tree / "d/x.bak").write_bytes(b"x")
    observer.look(DIRECTORY)
    observer.look(CHILD)
    await settled(observer, volume)


def _is_shown(volume: Volume, path: RelPath) -> bool:
    row = volume.index.rows.row(path)
    return row is not None and row.applied.observation is not None


async def test_a_directory_that_is_gone_waits_for_what_is_being_committed_in_it(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery
) -> None:
    observer, tree = observer_of(volume), tmp_path / "tree"
    nursery.start_soon(observer.run)
    await _shown(volume, observer, tree)
    volume.in_flight = {CHILD}
    shutil.rmtree(tree / "d")
    observer.look(DIRECTORY, Reason(content=True))
    await trio.testing.wait_all_tasks_blocked()
    assert _is_shown(volume, DIRECTORY)
    volume.in_flight = set()
    volume.progress.notify()
    await settled(observer, volume)
    assert not _is_shown(volume, DIRECTORY)


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("e"), Path.mkdir, os.mkfifo])
async def test_what_was_in_a_directory_that_something_else_took_the_place_of_is_gone(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery, make: Callable[[Path], object]
) -> None:
    observer, tree = observer_of(volume), tmp_path / "tree"
    nursery.start_soon(observer.run)
    await _shown(volume, observer, tree)
    os.rename(tree / "d", tree / "e")
    make(tree / "d")
    observer.look(DIRECTORY, Reason(content=True))
    await settled(observer, volume)
    assert _is_shown(volume, DIRECTORY)
    is_directory = stat.S_ISDIR((tree / "d").lstat().st_mode)
    assert is_directory == _is_shown(volume, CHILD), "what is below another directory is told apart"


async def test_a_directory_that_is_gone_has_no_need_of_what_is_not_followed_any_more(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery
) -> None:
    observer, tree = observer_of(volume), tmp_path / "tree"
    nursery.start_soon(observer.run)
    await _shown(volume, observer, tree)
    everything = VolumeRules("files", (GroupRule(("alpha", "beta"), exclude=("*.bak",)),))
    volume.set_rules(Rules.compiled(everything, "alpha"))
    assert not volume.is_followed(CHILD)
    shutil.rmtree(tree / "d")
    observer.look(DIRECTORY, Reason(content=True))
    await settled(observer, volume)
    assert not _is_shown(volume, DIRECTORY)
    row = volume.index.rows.row(DIRECTORY)
    assert row is not None
    assert [entry.value.kind for entry in row.record.content.entries] == [Kind.ABSENT]


async def test_what_is_made_in_a_directory_that_was_to_stay_here_alone_takes_it_along(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery
) -> None:
    observer, directory, path = observer_of(volume), RelPath(b"d/e"), RelPath(b"d/e/new")
    (tmp_path / "tree/d/e").mkdir(parents=True)
    (tmp_path / "tree/d/e/old").write_bytes(b"stays here alone")
    for one in (RelPath(b"d"), directory, RelPath(b"d/e/old")):
        observer.look(one, Reason(joining=True))
    nursery.start_soon(observer.run)
    await settled(observer, volume)
    assert volume.index.rows.row(directory) is None
    (tmp_path / "tree/d/e/new").write_bytes(b"new")
    observer.take_unjournalled([Change(sequence=0, kind=ChangeKind.CREATE, path=path)])
    await settled(observer, volume)
    rows = [volume.index.rows.row(one) for one in (RelPath(b"d"), directory, path)]
    assert [row is not None and row.live for row in rows] == [True, True, True]
    assert volume.index.rows.row(RelPath(b"d/e/old")) is None
