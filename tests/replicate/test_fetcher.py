"""Fetching a content: what goes wrong with one of its ranges is told, and ends nothing else."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import trio

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.records import Content
from csfs.core.rows import Plan, Step
from csfs.core.tables import HASH_SIZE
from csfs.errors import UnreachableError
from csfs.index.index import Index
from csfs.replicate.fetcher import Fetcher
from csfs.replicate.volume import Root, Volume
from csfs.store.hashing import BLOCK_SIZE, hash_bytes, whole_table
from csfs.store.owners import FixedAccounts, Owners
from csfs.store.stage import Stage
from csfs.store.tree import Tree
from tests.replicate.test_exchange import rules_of

DATA = os.urandom(40 * BLOCK_SIZE)
TABLE = whole_table(len(DATA), hash_bytes(DATA)[1])


class Peer:
    """A peer that has the content, and fails at one block."""

    def __init__(self, failure: Exception | None) -> None:
        self._failure = failure
        self.asked: list[int] = []
        self.lacking = -1
        """The first block of a range that it has no more; it is quick to say so, and takes its time for the others."""

    async def summary(self, volume: str, content_hash: bytes, count: int) -> bytes | None:
        return TABLE.summary

    async def pages(self, volume: str, content_hash: bytes, numbers: Sequence[int]) -> Sequence[bytes] | None:
        self.asked += numbers
        return [TABLE.pages[number] for number in numbers]

    async def blocks(self, volume: str, content_hash: bytes, first: int, count: int) -> Sequence[bytes] | None:
        await trio.lowlevel.checkpoint()
        if first == self.lacking:
            return None
        if self.lacking >= 0:
            await trio.sleep(0.05)
        if self._failure is not None and first <= 8 < first + count:
            raise self._failure
        return [DATA[at * BLOCK_SIZE : (at + 1) * BLOCK_SIZE] for at in range(first, first + count)]


def made_volume(directory: Path) -> Volume:
    """Return a volume with a root underneath."""
    owners = Owners(FixedAccounts({"root": 0}, {"root": 0}))
    index = Index(str(directory / "index.db"), member="alpha", boot=b"boot", founding=True)
    volume = Volume("files", index=index, rules=rules_of("alpha", "alpha", "beta"), member="alpha", owners=owners)
    (directory / "tree").mkdir()
    descriptor = os.open(directory / "tree", os.O_RDONLY | os.O_DIRECTORY)
    tree = Tree(descriptor, owners)
    volume.root = Root(descriptor, tree, Stage(tree))
    return volume


def plan() -> Plan:
    """Return a plan that installs the content."""
    return Plan(
        path=RelPath(b"f"),
        step=Step.INSTALL,
        expected=None,
        base=None,
        content=Content(Kind.FILE, len(DATA), hash_bytes(DATA)[0], 1),
        meta=None,
        mtime_ns=1,
        keep=False,
        content_dot=None,
        content_seen={},
        meta_dot=None,
        meta_seen={},
    )


@pytest.mark.parametrize(
    "failure", [OSError(28, "No space left on device"), UnreachableError("gone"), trio.ClosedResourceError("unmounted")]
)
async def test_a_range_that_fails_makes_the_next_peer_be_asked(tmp_path: Path, failure: Exception) -> None:
    volume = made_volume(tmp_path)
    fetcher = Fetcher(volume)
    fetcher.requesters = {"beta": Peer(failure)}
    assert not await fetcher.fetch(plan())
    fetcher.requesters["gamma"] = Peer(None)
    assert await fetcher.fetch(plan())
    assert volume.root is not None
    table = hash_bytes(DATA)[1]
    present = volume.root.stage.partials.present_blocks(plan().content.hash, table)
    assert len(present) == len(table) // HASH_SIZE


async def test_a_full_disk_is_a_problem_of_the_path(tmp_path: Path) -> None:
    volume = made_volume(tmp_path)
    fetcher = Fetcher(volume)
    fetcher.requesters = {"beta": Peer(OSError(28, "No space left on device"))}
    assert not await fetcher.fetch(plan())
    assert "No space left" in volume.problems[RelPath(b"f")].reason
    assert volume.room_wanted == len(DATA)


async def test_what_does_not_fit_gives_back_what_it_took(tmp_path: Path) -> None:
    volume = made_volume(tmp_path)
    fetcher = Fetcher(volume)
    fetcher.requesters = {"beta": Peer(UnreachableError("gone"))}
    assert volume.root is not None
    assert not await fetcher.fetch(plan())
    assert volume.root.stage.partials.hashes() == [plan().content.hash]
    fetcher.requesters = {"beta": Peer(OSError(28, "No space left on device"))}
    assert not await fetcher.fetch(plan())
    assert volume.root.stage.partials.hashes() == []


async def test_a_range_that_the_peer_has_no_more_is_not_forgotten_over_others(tmp_path: Path) -> None:
    fetcher = Fetcher(made_volume(tmp_path))
    peer = Peer(None)
    peer.lacking = 8
    fetcher.requesters = {"beta": peer}
    assert not await fetcher.fetch(plan())
    peer.lacking = -1
    assert await fetcher.fetch(plan())


async def test_pages_of_a_table_that_are_here_are_not_asked_for(tmp_path: Path) -> None:
    volume = made_volume(tmp_path)
    fetcher = Fetcher(volume)
    peer = Peer(None)
    fetcher.requesters = {"beta": peer}
    assert await fetcher.fetch(plan())
    assert peer.asked == list(TABLE.pages)
    with volume.index.transaction():
        volume.index.tables.prune()  # nothing shows it yet
    assert not volume.index.tables.summary(plan().content.hash)


async def test_a_size_that_is_not_the_contents_is_believed_of_nobody(tmp_path: Path) -> None:
    volume = made_volume(tmp_path)
    fetcher = Fetcher(volume)
    fetcher.requesters = {"beta": Peer(None)}
    assert await fetcher.fetch(plan())
    for size in (len(DATA) + BLOCK_SIZE, len(DATA) + 300 * BLOCK_SIZE, 1 << 62):
        lie = msgspec.structs.replace(plan().content, size=size)
        with trio.fail_after(1):
            assert not await fetcher.fetch(msgspec.structs.replace(plan(), content=lie))
