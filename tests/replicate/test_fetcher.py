"""Fetching a content: what goes wrong with one of its ranges is told, and ends nothing else."""

import os
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from csfs.core.changes import Extent
from csfs.core.groups import Rules
from csfs.core.objects import Kind, Meta
from csfs.core.paths import RelPath
from csfs.core.records import Content
from csfs.core.rows import Plan, Step
from csfs.core.tables import HASH_SIZE, PAGE_HASHES
from csfs.errors import UnreachableError
from csfs.index.index import Index
from csfs.replicate.assembling import PORTION_PAGES
from csfs.replicate.fetcher import REQUESTS_IN_FLIGHT_MAX, Fetcher
from csfs.replicate.volume import Volume
from csfs.store.blocks import read_blocks, rehash
from csfs.store.hashing import BLOCK_SIZE, FILE_SIZE_MAX, hash_bytes, page_count, page_hash, summary_root, whole_table
from csfs.store.owners import FixedAccounts, Owners
from csfs.store.segments import Segment
from csfs.wire.messages import BLOCKS_PER_REQUEST_MAX
from scripts.benchmarks.measuring import fresh_filesystem
from tests.replicate.alone import close_roots, root_at
from tests.replicate.test_exchange import rules_of

DATA = os.urandom(40 * BLOCK_SIZE)
TABLE = whole_table(len(DATA), hash_bytes(DATA)[1])
BOTH = rules_of("alpha", "alpha", "beta")


class Peer:
    """A peer that has the content, and fails at one block."""

    def __init__(self, failure: Exception | None) -> None:
        self._failure = failure
        self.asked: list[int] = []
        self.given = set[int]()
        """Blocks that it has sent."""
        self.under_way = self.under_way_most = 0
        self.lacking = -1
        """The first block of a range that it has no more; it is quick to say so, and takes its time for the others."""

    async def summary(self, volume: str, content_hash: bytes, count: int) -> bytes | None:
        return TABLE.summary

    async def pages(self, volume: str, content_hash: bytes, numbers: Sequence[int]) -> Sequence[bytes] | None:
        self.asked += numbers
        return [TABLE.pages[number] for number in numbers]

    async def segments(
        self, volume: str, content_hash: bytes, first: int, count: int, average: int
    ) -> Sequence[Segment] | None:
        raise AssertionError("nothing that could have any of it is here")

    async def extents(self, volume: str, content_hash: bytes, extents: Sequence[Extent]) -> Sequence[bytes] | None:
        raise AssertionError("nothing that could have any of it is here")

    async def blocks(self, volume: str, content_hash: bytes, first: int, count: int) -> Sequence[bytes] | None:
        assert count <= BLOCKS_PER_REQUEST_MAX
        self.under_way += 1
        self.under_way_most = max(self.under_way_most, self.under_way)
        # Whoever else asks does so before this one has its answer.
        await trio.testing.wait_all_tasks_blocked()
        self.under_way -= 1
        if first == self.lacking:
            return None
        if self.lacking >= 0:
            await trio.sleep(0.05)
        if self._failure is not None and first <= 8 < first + count:
            raise self._failure
        self.given.update(range(first, first + count))
        return [DATA[at * BLOCK_SIZE : (at + 1) * BLOCK_SIZE] for at in range(first, first + count)]


def made_volume(directory: Path, rules: Rules = BOTH) -> Volume:
    """Return a volume with a root underneath."""
    owners = Owners(FixedAccounts({"root": 0}, {"root": 0}))
    index = Index(str(directory / "index.db"), member="alpha", boot=b"boot", founding=True)
    volume = Volume("files", index=index, rules=rules, member="alpha", owners=owners)
    (directory / "tree").mkdir()
    volume.root = root_at(directory / "tree", owners)
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


def want(volume: Volume, content: Content) -> None:
    """Have a content be what is to be shown."""
    with volume.index.transaction():
        volume.engine.settle(RelPath(b"f"), content, Meta(0o600, 0, 0), 1)


@pytest.mark.parametrize(
    "failure", [OSError(28, "No space left on device"), UnreachableError("gone"), trio.ClosedResourceError("unmounted")]
)
async def test_a_range_that_fails_makes_the_next_peer_be_asked(tmp_path: Path, failure: Exception) -> None:
    volume = made_volume(tmp_path)
    fetcher = Fetcher(volume)
    first, second = Peer(failure), Peer(None)
    fetcher.requesters = {"beta": first}
    assert not await fetcher.fetch(plan())
    assert first.given
    fetcher.requesters = {"gamma": second}
    assert await fetcher.fetch(plan())
    # What did not fit has given back all its room.
    left = set(range(40)) if isinstance(failure, OSError) else set(range(40)) - first.given
    assert second.given == left, "what had arrived is not asked for again"
    assert volume.root is not None
    assert volume.root.stage.partials.lacking_blocks(plan().content.hash, TABLE, (0, 40), range(40)) == set()


async def test_a_full_disk_is_a_problem_of_the_path_while_that_is_to_show_the_content(tmp_path: Path) -> None:
    volume = made_volume(tmp_path)
    fetcher = Fetcher(volume)
    fetcher.requesters = {"beta": Peer(OSError(28, "No space left on device"))}
    assert not await fetcher.fetch(plan())
    assert not volume.problems, "it was removed meanwhile"
    want(volume, plan().content)
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
        with trio.fail_after(30):
            assert not await fetcher.fetch(msgspec.structs.replace(plan(), content=lie))


class Claimant:
    """A peer that says of a content that it has 16 TiB, no block of which is zeros, and makes its table up as it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self._pages = [os.urandom(HASH_SIZE) * PAGE_HASHES for _ in range(8)]
        count = page_count(FILE_SIZE_MAX)
        self._summary = b"".join(map(page_hash, self._pages)) * (count // 8)
        self.content = Content(Kind.FILE, FILE_SIZE_MAX, summary_root(FILE_SIZE_MAX, self._summary), 1)

    async def summary(self, volume: str, content_hash: bytes, count: int) -> bytes | None:
        return self._summary

    async def pages(self, volume: str, content_hash: bytes, numbers: Sequence[int]) -> Sequence[bytes] | None:
        self.asked += len(numbers)
        return [self._pages[number % 8] for number in numbers]

    async def blocks(self, volume: str, content_hash: bytes, first: int, count: int) -> Sequence[bytes] | None:
        raise AssertionError("there is no room for any of them")


async def test_a_table_that_says_more_than_there_is_room_for_does_not_pile_up(tmp_path: Path) -> None:
    with fresh_filesystem(256, kind="ext4") as disk:
        volume = made_volume(disk)
        fetcher, peer = Fetcher(volume), Claimant()
        fetcher.requesters = {"beta": peer}
        want(volume, peer.content)
        tracemalloc.start()
        try:
            with trio.fail_after(120):  # which tracing makes slow
                assert not await fetcher.fetch(msgspec.structs.replace(plan(), content=peer.content))
            # Its summary has 16 MiB, which are cut into hashes once.
            assert tracemalloc.get_traced_memory()[1] < 160 << 20
        finally:
            tracemalloc.stop()
        assert "No space left" in volume.problems[RelPath(b"f")].reason
        assert peer.asked <= PORTION_PAGES
        assert volume.root is not None
        volume.index.close()
        close_roots()


class Holed(Peer):
    """A peer that has a file of a terabyte with a little in it."""

    def __init__(self, path: Path) -> None:
        super().__init__(None)
        self._file = path.open("rb")
        self.close = self._file.close
        self.size = os.fstat(self._file.fileno()).st_size
        self.root, table = rehash(self._file.fileno(), self.size)
        assert table is not None
        self.table = table
        self.sent = 0

    async def summary(self, volume: str, content_hash: bytes, count: int) -> bytes | None:
        return self.table.summary

    async def pages(self, volume: str, content_hash: bytes, numbers: Sequence[int]) -> Sequence[bytes] | None:
        self.asked += numbers
        return [self.table.pages[number] for number in numbers]

    async def blocks(self, volume: str, content_hash: bytes, first: int, count: int) -> Sequence[bytes] | None:
        self.sent += count
        return read_blocks(self._file.fileno(), first, count)


async def test_of_a_terabyte_of_holes_what_is_in_it_is_fetched_alone_and_again_after_a_cut(tmp_path: Path) -> None:
    with fresh_filesystem(64, kind="ext4") as disk:
        with (disk / "theirs").open("wb") as file:
            file.truncate(1 << 40)
            for at in (0, 1 << 35, (1 << 40) - 3):
                os.pwrite(file.fileno(), b"end", at)
        volume, peer = made_volume(disk), Holed(disk / "theirs")
        fetcher = Fetcher(volume)
        fetcher.requesters = {"beta": peer}
        wanted = msgspec.structs.replace(plan(), content=Content(Kind.FILE, peer.size, peer.root, 1))
        assert volume.root is not None
        with trio.fail_after(10):
            assert await fetcher.fetch(wanted)
            assert peer.sent == len(peer.asked) == 3
            built = volume.root.stage.partials
            with built.opened(peer.root) as descriptor:
                assert os.fstat(descriptor).st_blocks * 512 < 1 << 20
                os.pwrite(descriptor, b"damaged", 5 << 30)
            assert await fetcher.fetch(wanted), (
                "what is begun already is looked at, and what does not belong there goes"
            )
            assert peer.sent == 4
            with built.opened(peer.root) as descriptor:
                assert rehash(descriptor, peer.size)[0] == peer.root
        rows = list(volume.index._database.execute("SELECT count(*), sum(count) FROM tables"))
        assert rows == [(5, 32_768)], "what is the same throughout is said once"
        peer.close()
        volume.index.close()
        close_roots()


async def test_few_parts_of_one_content_are_asked_for_at_once(tmp_path: Path) -> None:
    fetcher, peer = Fetcher(made_volume(tmp_path)), Peer(None)
    fetcher.requesters = {"beta": peer}
    assert await fetcher.fetch(plan())
    assert 1 < peer.under_way_most <= REQUESTS_IN_FLIGHT_MAX
