"""A content put together of what an older version has elsewhere: little is asked for, and nothing is believed that is not verified."""

import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from csfs.core.changes import Extent
from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.records import Content
from csfs.errors import UnreachableError
from csfs.replicate import segmenting
from csfs.replicate.fetcher import Fetcher
from csfs.replicate.volume import Volume
from csfs.store.hashing import BLOCK_SIZE, block_count, hash_bytes, whole_table
from csfs.store.segments import Segment, cut
from tests.replicate.test_fetcher import made_volume, plan

OLD = random.Random(1).randbytes(80 * BLOCK_SIZE + 5)


def with_insertions(data: bytes, count: int) -> bytes:
    """Return `data` with a little put in at `count` places, the first right at the beginning."""
    new = bytearray(data)
    for number in reversed(range(count)):
        at = number * len(data) // count
        new[at:at] = b"something new, number %d" % number
    return bytes(new)


class Peer:
    """A peer that has one content, and counts what it is asked for."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.table = whole_table(len(data), hash_bytes(data)[1])
        self.cut_sizes = 0
        self.parts_sizes = 0
        self.blocks_asked = 0
        self.lies = False
        self.failure: Exception | None = None

    async def summary(self, volume: str, content_hash: bytes, count: int) -> bytes | None:
        return self.table.summary

    async def pages(self, volume: str, content_hash: bytes, numbers: Sequence[int]) -> Sequence[bytes] | None:
        return [self.table.pages[number] for number in numbers]

    async def blocks(self, volume: str, content_hash: bytes, first: int, count: int) -> Sequence[bytes] | None:
        self.blocks_asked += count
        return [self._data[at * BLOCK_SIZE : (at + 1) * BLOCK_SIZE] for at in range(first, first + count)]

    async def segments(
        self, volume: str, content_hash: bytes, first: int, count: int, average: int
    ) -> Sequence[Segment] | None:
        data = self._data[first * BLOCK_SIZE :][: count * BLOCK_SIZE]
        self.cut_sizes += len(data)
        found = cut(data, average)
        return [(size, found[0][1]) for size, _ in found] if self.lies else found

    async def extents(self, volume: str, content_hash: bytes, extents: Sequence[Extent]) -> Sequence[bytes] | None:
        if self.failure is not None and self.parts_sizes:
            raise self.failure
        assert len(extents) <= segmenting.EXTENTS_PER_REQUEST_MAX
        assert sum(size for _, size in extents) <= segmenting.EXTENTS_SIZE_MAX
        parts = [self._data[offset : offset + size] for offset, size in extents]
        self.parts_sizes += sum(map(len, parts))
        return [bytes(len(part)) for part in parts] if self.lies else parts


def prepared(directory: Path, data: bytes, name: bytes = b"f") -> tuple[Volume, Fetcher, Peer, object]:
    """Return what it takes to fetch `data` to the path `f`, where the old version is live under `name`."""
    volume = made_volume(directory)
    assert volume.root is not None
    (directory / "tree" / name.decode()).write_bytes(OLD)
    look = volume.root.tree.look(RelPath(name), content_changed=True)
    assert look is not None
    with volume.index.transaction():
        volume.index.tables.add(hash_bytes(OLD)[0], whole_table(len(OLD), hash_bytes(OLD)[1]))
        volume.engine.observe(RelPath(name), look.observation, 1)
    fetcher, peer = Fetcher(volume), Peer(data)
    fetcher.requesters = {"beta": peer}
    base = look.observation if name == b"f" else None
    content = Content(Kind.FILE, len(data), hash_bytes(data)[0], 1)
    return volume, fetcher, peer, msgspec.structs.replace(plan(), content=content, base=base)


def arrived(volume: Volume, data: bytes) -> bytes:
    """Return what is in the partial file."""
    assert volume.root is not None
    with (
        volume.root.stage.partials.opened(hash_bytes(data)[0]) as descriptor,
        open(f"/proc/self/fd/{descriptor}", "rb") as file,
    ):
        return file.read()


@pytest.mark.parametrize("name", [b"f", b".f.x8Yz", b"f~"])
async def test_of_a_dump_written_anew_what_is_new_travels(tmp_path: Path, name: bytes) -> None:
    data = with_insertions(OLD, 20)
    volume, fetcher, peer, wanted = prepared(tmp_path, data, b"f")
    if name != b"f":
        wanted = msgspec.structs.replace(wanted, path=RelPath(name), base=None)
    assert await fetcher.fetch(wanted)
    assert arrived(volume, data) == data
    assert peer.blocks_asked == 0
    assert peer.parts_sizes < 300_000
    assert peer.parts_sizes == fetcher.bytes_fetched
    assert fetcher.arrived[hash_bytes(data)[0]] == len(data)


async def test_of_something_else_the_first_part_alone_is_cut(tmp_path: Path) -> None:
    data = random.Random(9).randbytes(len(OLD))
    volume, fetcher, peer, wanted = prepared(tmp_path, data)
    assert await fetcher.fetch(wanted)
    assert arrived(volume, data) == data
    assert peer.cut_sizes <= segmenting.BLOCKS_CUT_MAX * BLOCK_SIZE
    assert peer.parts_sizes == 0
    assert peer.blocks_asked == block_count(len(data))


async def test_of_what_changed_in_place_blocks_are_asked_for(tmp_path: Path) -> None:
    data = bytearray(OLD)
    for number in range(15):
        data[number * 5 * BLOCK_SIZE] ^= 1
    volume, fetcher, peer, wanted = prepared(tmp_path, bytes(data))
    assert await fetcher.fetch(wanted)
    assert arrived(volume, bytes(data)) == data
    assert (peer.cut_sizes, peer.blocks_asked) == (0, 15)


async def test_a_peer_that_lies_of_segments_costs_blocks_and_nothing_else(tmp_path: Path) -> None:
    data = with_insertions(OLD, 20)
    volume, fetcher, peer, wanted = prepared(tmp_path, data)
    peer.lies = True
    assert await fetcher.fetch(wanted)
    assert arrived(volume, data) == data
    assert peer.blocks_asked == block_count(len(data))


async def test_a_link_that_is_lost_leaves_what_was_put_together(tmp_path: Path) -> None:
    data = with_insertions(OLD, 20)
    volume, fetcher, peer, wanted = prepared(tmp_path, data)
    peer.failure = UnreachableError("gone")
    assert not await fetcher.fetch(wanted)
    before, peer.failure = peer.parts_sizes, None
    assert await fetcher.fetch(wanted)
    assert arrived(volume, data) == data
    assert peer.blocks_asked == 0
    assert peer.parts_sizes - before < 300_000
    assert peer.cut_sizes <= len(data) + segmenting.BLOCKS_CUT_MAX * BLOCK_SIZE, (
        "what was there is not asked about again"
    )


async def test_a_file_that_is_gone_is_as_good_as_none(tmp_path: Path) -> None:
    data = with_insertions(OLD, 20)
    volume, fetcher, peer, wanted = prepared(tmp_path, data)
    (tmp_path / "tree" / "f").unlink()
    assert await fetcher.fetch(wanted)
    assert arrived(volume, data) == data
    assert peer.blocks_asked == block_count(len(data))
