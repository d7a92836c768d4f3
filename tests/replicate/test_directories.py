import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from csfs.core.paths import RelPath
from csfs.index.index import Index
from csfs.replicate.directories import Directories
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
    tree = Tree(descriptor, volume.owners)
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
