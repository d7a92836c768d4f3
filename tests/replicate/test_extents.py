"""Of a large file the blocks that rows name are read again, and nothing else; what no row told is found by comparing."""

import os
from pathlib import Path

import pytest
import trio

from csfs.core.changes import Change, ChangeKind, Extent
from csfs.core.paths import ROOT, RelPath
from csfs.core.rows import Row
from csfs.replicate.compare import compare
from csfs.replicate.directories import Directories
from csfs.replicate.looking import ATTRIBUTES, EXTENTS_MAX, NO_REASON, Reason
from csfs.replicate.observer import Observer
from csfs.replicate.volume import Volume
from csfs.store import blocks
from csfs.store.hashing import BLOCK_SIZE, hash_bytes
from tests.replicate.test_fetcher import made_volume

FILE = RelPath(b"f")
SIZE = 300 * BLOCK_SIZE


class Place:
    """A volume with a large file, whose rows are numbered here."""

    def __init__(self, volume: Volume, path: Path) -> None:
        self.volume = volume
        self.path = path
        self.observer = Observer(volume, Directories(volume))
        self._sequence = 0

    async def told(
        self, kind: ChangeKind, *extents: Extent, path: RelPath = FILE, target: RelPath | None = None
    ) -> Row:
        """Have a row looked at, and return what is recorded then."""
        self._sequence += 1
        self.observer.take([Change(sequence=self._sequence, kind=kind, path=path, extents=extents, target=target)])
        await self.settled()
        return self.row(target or path)

    async def settled(self) -> None:
        with trio.fail_after(5):
            await self.volume.progress.wait_until(lambda: self.observer.looks == 0 and self.observer.idle)

    def row(self, path: RelPath = FILE) -> Row:
        row = self.volume.index.rows.row(path)
        assert row is not None
        return row

    def write(self, offset: int, data: bytes) -> Extent:
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(data)
        return offset, len(data)

    def hash_now(self, path: RelPath = FILE) -> bytes:
        return hash_bytes((self.path.parent / os.fsdecode(path)).read_bytes())[0]


def hash_of(row: Row) -> bytes:
    assert row.applied.observation is not None
    return row.applied.observation.hash


@pytest.fixture
async def place(tmp_path: Path, nursery: trio.Nursery) -> Place:
    volume = made_volume(tmp_path)
    volume.nursery = nursery
    path = tmp_path / "tree" / "f"
    path.write_bytes(os.urandom(SIZE))
    made = Place(volume, path)
    nursery.start_soon(made.observer.run)
    await made.told(ChangeKind.CREATE)
    return made


@pytest.fixture
def reads(place: Place, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes were read of files, each time."""
    sizes: list[int] = []
    read_exactly = blocks.read_exactly

    def watched(descriptor: int, offset: int, size: int) -> bytes:
        sizes.append(size)
        return read_exactly(descriptor, offset, size)

    monkeypatch.setattr(blocks, "read_exactly", watched)
    return sizes


async def test_what_a_row_names_is_read_and_what_was_written_is_held(place: Place, reads: list[int]) -> None:
    before = hash_of(place.row())
    extent = place.write(7 * BLOCK_SIZE + 5, b"written")
    row = await place.told(ChangeKind.CONTENT, extent)
    assert hash_of(row) == place.hash_now()
    assert sum(reads) == BLOCK_SIZE + 7, "the block, and the bytes"
    patch = place.volume.patches.get(hash_of(row))
    assert patch is not None
    assert (patch.base, patch.pieces, patch.size) == (before, ((extent[0], b"written"),), SIZE)
    assert patch.base_dot != row.applied.content_dot
    tables = place.volume.index.tables
    assert tables.hashes(hash_of(row), 0, 1 << 20) == hash_bytes(place.path.read_bytes())[1]


async def test_truncating_and_growing_are_read_at_the_ends(place: Place, reads: list[int]) -> None:
    os.truncate(place.path, SIZE - BLOCK_SIZE // 2)
    row = await place.told(ChangeKind.CONTENT, (SIZE - BLOCK_SIZE // 2 - 1, BLOCK_SIZE // 2 + 1))
    assert hash_of(row) == place.hash_now()
    with place.path.open("ab") as file:
        file.write(os.urandom(3 * BLOCK_SIZE))
    row = await place.told(ChangeKind.CONTENT, (SIZE - BLOCK_SIZE // 2, 3 * BLOCK_SIZE))
    assert hash_of(row) == place.hash_now()
    assert sum(reads) < 12 * BLOCK_SIZE


async def test_a_row_without_extents_has_everything_read(place: Place, reads: list[int]) -> None:
    place.write(7 * BLOCK_SIZE, b"written")
    place.write(0, b"untold")
    row = await place.told(ChangeKind.CONTENT)
    assert hash_of(row) == place.hash_now()
    assert sum(reads) == SIZE


async def test_two_rows_of_which_one_has_no_extents_have_everything_read(place: Place) -> None:
    extent = place.write(7 * BLOCK_SIZE, b"written")
    place.write(0, b"untold")
    place.observer.take([Change(sequence=8, kind=ChangeKind.CONTENT, path=FILE, extents=(extent,))])
    place.observer.take([Change(sequence=9, kind=ChangeKind.CONTENT, path=FILE)])
    await place.settled()
    assert hash_of(place.row()) == place.hash_now()


async def test_what_no_row_told_is_found_by_the_next_comparison(place: Place) -> None:
    place.write(100 * BLOCK_SIZE, b"its row is lost, or not told yet")
    extent = place.write(7 * BLOCK_SIZE, b"written")
    row = await place.told(ChangeKind.CONTENT, extent)
    assert hash_of(row) != place.hash_now(), "a part was read"
    await trio.sleep(0.03)  # the stamp is old by now: what makes it prove nothing is that a part was read
    row = await place.told(ChangeKind.META)
    assert row.applied.racy
    await compare(place.volume, place.observer, ROOT)
    assert hash_of(place.row()) == place.hash_now()
    assert not place.row().applied.racy


async def test_while_rows_may_be_missing_everything_is_read(place: Place) -> None:
    place.write(100 * BLOCK_SIZE, b"lost")
    extent = place.write(7 * BLOCK_SIZE, b"written")
    place.volume.uncompared = True
    row = await place.told(ChangeKind.CONTENT, extent)
    assert hash_of(row) == place.hash_now()


async def test_a_new_time_alone_has_nothing_read(place: Place, reads: list[int]) -> None:
    os.utime(place.path, ns=(1, 2))
    row = await place.told(ChangeKind.META)
    assert row.applied.observation is not None
    assert row.applied.observation.mtime_ns == 2
    assert not reads
    assert hash_of(row) == place.hash_now()


async def test_another_file_of_that_name_is_read_whole(place: Place) -> None:
    os.rename(place.path, place.path.with_name("old"))
    place.path.write_bytes(os.urandom(SIZE))
    row = await place.told(ChangeKind.CONTENT, (0, 5))
    assert hash_of(row) == place.hash_now()


async def test_extents_go_along_with_a_file_that_is_moved(place: Place, reads: list[int]) -> None:
    extent = place.write(7 * BLOCK_SIZE, b"written")
    os.rename(place.path, place.path.with_name("g"))
    moved = RelPath(b"g")
    place.observer.take(
        [
            Change(sequence=8, kind=ChangeKind.CONTENT, path=FILE, extents=(extent,)),
            Change(sequence=9, kind=ChangeKind.RENAME, path=FILE, target=moved),
        ]
    )
    await place.settled()
    assert hash_of(place.row(moved)) == place.hash_now(moved)
    assert sum(reads) <= 3 * BLOCK_SIZE


def test_reasons_that_tell_all_that_was_written_together_do() -> None:
    wrote = Reason(True, ((5, 5),))
    assert wrote.merged(Reason(True, ((10, 5),))).extents == ((5, 10),)
    assert wrote.merged(ATTRIBUTES) == wrote
    assert ATTRIBUTES.merged(wrote) == wrote
    for unknown in (NO_REASON, Reason(content=True), Reason(compared=True)):
        assert wrote.merged(unknown).extents is None
        assert unknown.merged(wrote).extents is None
    many = Reason(True, tuple((number * BLOCK_SIZE * 3, 1) for number in range(EXTENTS_MAX)))
    extents = many.merged(Reason(True, ((BLOCK_SIZE * 3 * EXTENTS_MAX + 7, 1),))).extents
    assert extents == ((0, BLOCK_SIZE * 3 * EXTENTS_MAX + 8),)
