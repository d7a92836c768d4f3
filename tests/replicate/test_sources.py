"""What is not where a content was to be copied from is looked for elsewhere; what does not fit is another matter."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
import pytest
import trio

from csfs.core.objects import Content, Kind, Meta
from csfs.core.paths import RelPath
from csfs.core.rows import Plan, Step
from csfs.errors import CsfsError
from csfs.replicate.fetcher import Fetcher
from csfs.replicate.sources import LARGE_FETCHES_MAX, SMALL_FETCHES_MAX, Sources, is_at_fault, wanting
from csfs.store.hashing import BLOCK_SIZE, block_hash
from csfs.store.owners import Owners
from csfs.store.stage import FromBytes, FromTree, Stage
from csfs.store.tree import Tree
from tests.replicate.test_fetcher import made_volume

DATA = b"content"
CONTENT = Content(kind=Kind.FILE, size=len(DATA), hash=block_hash(DATA))


def as_a_directory(path: Path) -> None:
    path.mkdir()


def as_a_loop(path: Path) -> None:
    path.symlink_to(path.name)


def as_a_fifo(path: Path) -> None:
    os.mkfifo(path)


def as_other_bytes(path: Path) -> None:
    path.write_bytes(b"CONTENT")


def as_nothing(path: Path) -> None:
    """Nobody is there."""


def below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_bytes(DATA)


@pytest.mark.parametrize(
    "become", [as_a_directory, as_a_loop, as_a_fifo, as_other_bytes, as_nothing, below_a_file], ids=lambda f: f.__name__
)
def test_a_source_that_became_something_else_is_at_fault(tmp_path: Path, become: Callable[[Path], None]) -> None:
    (tmp_path / "d").mkdir()
    become(tmp_path / "d" / "source")
    tree = Tree(os.open(tmp_path, os.O_RDONLY), Owners())
    stage = Stage(tree)
    source = FromTree(RelPath(b"d/source"))
    with pytest.raises((OSError, CsfsError)) as raised:
        stage.build(b"1.1", CONTENT, Meta(mode=0o600, uid=0, gid=0, owner="root", group="root"), 1, source)
    assert is_at_fault(source, raised.value)
    stage.close()
    os.close(tree.root)


def test_a_disk_without_room_is_not_the_sources_fault() -> None:
    assert not is_at_fault(FromTree(RelPath(b"source")), OSError(errno.ENOSPC, "full"))
    assert not is_at_fault(FromBytes(DATA), OSError(errno.EROFS, "read-only"))


class Hanging:
    """A fetcher whose large contents never arrive, and whose small ones take a moment."""

    def __init__(self) -> None:
        self.requesters: dict[str, object] = {}
        self.arrived: dict[bytes, int] = {}
        self.large = self.small = self.small_at_once = 0

    async def fetch(self, wanted: Plan) -> bool:
        if wanted.content.size > BLOCK_SIZE:
            self.large += 1
            await trio.sleep_forever()
        self.small += 1
        self.small_at_once = max(self.small_at_once, self.small)
        await trio.sleep(0.01)
        self.small -= 1
        return True


async def test_small_contents_do_not_wait_for_large_ones_and_few_are_asked_for_at_once(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    volume = made_volume(tmp_path)
    volume.nursery = nursery
    fetcher = Hanging()
    sources = Sources(volume, cast(Fetcher, fetcher), lambda name: None)
    for number in range(3 * LARGE_FETCHES_MAX):
        content = Content(Kind.FILE, 5 * BLOCK_SIZE, b"%032d" % number)
        sources.fetch(wanting(RelPath(b"large %d" % number), content, None))
    tasks = len(nursery.child_tasks)
    for number in range(1_000):
        content = Content(Kind.FILE, BLOCK_SIZE, b"small %026d" % number)
        sources.fetch(wanting(RelPath(b"small %d" % number), content, None))
    assert len(nursery.child_tasks) - tasks == SMALL_FETCHES_MAX, "what waits is no task"
    with trio.fail_after(20):
        await volume.progress.wait_until(lambda: len(sources.fetching) == 3 * LARGE_FETCHES_MAX)
    assert (fetcher.large, fetcher.small_at_once) == (LARGE_FETCHES_MAX, SMALL_FETCHES_MAX)
    assert len(volume.to_apply) == 1_000
    nursery.cancel_scope.cancel()


class Lacking(Hanging):
    """A fetcher that finds nobody who has a content, and then asks for ever."""

    async def fetch(self, wanted: Plan) -> bool:
        if self.large:
            await trio.sleep_forever()
        self.large += 1
        return False


async def test_a_removal_does_not_wait_for_what_nobody_has(tmp_path: Path, nursery: trio.Nursery) -> None:
    volume = made_volume(tmp_path)
    volume.nursery = nursery
    sources = Sources(volume, cast(Fetcher, Lacking()), lambda name: None)
    (tmp_path / "tree/source").write_bytes(DATA)
    assert volume.root is not None
    base = volume.root.tree.observe(RelPath(b"source"))
    wanted = wanting(RelPath(b"target"), CONTENT, None)
    removal = msgspec.structs.replace(wanting(RelPath(b"source"), Content(Kind.ABSENT), None, base), step=Step.REMOVE)
    sources.fetch(wanted)
    assert sources.is_copied_from(removal)
    with trio.fail_after(5):
        await volume.progress.wait_until(lambda: not sources.fetching)
    assert volume.to_apply == {b"source", b"target"}
    sources.fetch(wanted)
    assert not sources.is_copied_from(removal)
    nursery.cancel_scope.cancel()
