import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from csfs.core.paths import ROOT, RelPath
from csfs.index.index import Index
from csfs.replicate.compare import compare
from csfs.replicate.directories import Directories
from csfs.replicate.observer import Observer
from csfs.replicate.volume import Root, Volume
from csfs.store.owners import Owners
from csfs.store.stage import Stage
from csfs.store.tree import Tree
from tests.replicate.alone import rules_of


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    """A volume of one member, mounted, with two directories."""
    for name in ("first", "second"):
        (tmp_path / "tree" / name).mkdir(parents=True)
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"boot", founding=True)
    volume = Volume("files", index=index, rules=rules_of("files"), member="alpha", owners=Owners())
    descriptor = os.open(tmp_path / "tree", os.O_RDONLY)
    tree = Tree(descriptor, treated=volume.treated)
    volume.root = Root(descriptor, tree, Stage(tree))
    yield volume
    volume.root.stage.close()
    os.close(descriptor)
    index.close()


async def test_a_directory_marked_while_others_are_settled_is_settled_too(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    directories = Directories(volume)
    looked = volume.with_root
    late = [RelPath(b"second")]

    async def overtaken(*arguments):
        found = await looked(*arguments)
        if late:
            directories.mark(late.pop(), local=True)
        return found

    monkeypatch.setattr(volume, "with_root", overtaken)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(directories.run)
        directories.mark(RelPath(b"first"), local=True)
        directories.hurry()
        with trio.fail_after(5):
            await volume.progress.wait_until(lambda: directories.idle)
        assert not late
        assert directories.settled == 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("disturbed", [True, False])
async def test_what_commits_of_a_daemon_that_was_killed_made_of_a_time_is_nobodys_wish(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery, disturbed: bool
) -> None:
    first = RelPath(b"first")
    volume.comparing = True

    async def compared() -> int:
        directories = Directories(volume)
        observer = Observer(volume, directories)
        async with trio.open_nursery() as running:
            running.start_soon(observer.run)
            with trio.fail_after(5):
                await compare(volume, observer, ROOT)
            running.cancel_scope.cancel()
        row = volume.index.rows.row(first)
        assert row is not None
        assert row.record.time is not None
        return row.record.time.mtime_ns

    before_ns = await compared()
    if disturbed:
        with volume.index.transaction():
            volume.index.ledger.disturb([first])
    os.utime(tmp_path / "tree" / "first", ns=(1, 2_000))
    assert await compared() == (before_ns if disturbed else 2_000)
    assert volume.is_pending(first) == disturbed, "what somebody wished for is put back"


async def test_a_directory_that_was_settled_is_disturbed_no_longer(volume: Volume) -> None:
    paths = [RelPath(b"first"), RelPath(b"second")]
    with volume.index.transaction():
        volume.index.ledger.disturb(paths)
    directories = Directories(volume)
    volume.disturbed = {paths[1]}
    assert not directories.idle
    async with trio.open_nursery() as nursery:
        nursery.start_soon(directories.run)
        directories.hurry()
        with trio.fail_after(5):
            await volume.progress.wait_until(lambda: directories.idle)
        nursery.cancel_scope.cancel()
    assert volume.index.ledger.disturbed() == [paths[1]], "commits are under way there again"


async def test_a_time_is_nobodys_wish_while_commits_alone_are_behind_it(volume: Volume) -> None:
    first, second = RelPath(b"first"), RelPath(b"second")
    directories = Directories(volume)
    volume.disturbed = {first}
    assert directories.is_disturbed(first), "commits are under way there"
    directories.mark(second, local=False)
    assert directories.is_disturbed(second)
    for directory in (first, second):
        directories.mark(directory, local=True)
        assert not directories.is_disturbed(directory), "a program has made or removed something there, too"
