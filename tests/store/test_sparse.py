"""Sparse files: a hole costs neither time nor memory nor room, however large it is."""

import os
import random
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.core.objects import Kind, Observation, Stamp
from csfs.core.patches import Patch
from csfs.core.paths import RelPath
from csfs.core.records import Content, Meta
from csfs.core.tables import PAGE_HASHES, ZERO_PAGE, BlockTable
from csfs.core.versions import Dot, Incarnation
from csfs.store import blocks
from csfs.store.hashing import BLOCK_SIZE, FILE_SIZE_MAX, hash_bytes, table_root
from csfs.store.observing import Before
from csfs.store.overwriting import can_overwrite
from csfs.store.patching import FromPatches
from csfs.store.stage import FromTree, Stage
from csfs.store.tree import Tree
from scripts.benchmarks.measuring import fresh_filesystem

MIB, TIB = 1 << 20, 1 << 40
PAGE = BLOCK_SIZE * PAGE_HASHES
SECONDS_MAX = 5.0
"""On a machine that does a good deal else; it takes some tens of milliseconds. To go through all of it takes an hour."""
MEMORY_MAX = 24 * MIB


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    """A file system whose files may have terabytes."""
    with fresh_filesystem(64, kind="ext4") as place:
        yield place


def made(path: Path, size: int = TIB, seed: int = 0) -> int:
    """Make a sparse file of 1 MiB of data in 16 places, and return it open."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.ftruncate(descriptor, size)
    dice = random.Random(seed)
    for _ in range(16):
        os.pwrite(descriptor, dice.randbytes(MIB // 16), dice.randrange(size // MIB) * MIB)
    return descriptor


def test_a_terabyte_of_holes_is_hashed_at_once_and_has_a_small_table(disk: Path) -> None:
    descriptor = made(disk / "large")
    tracemalloc.start()
    began = time.monotonic()
    root, table = blocks.rehash(descriptor, TIB)
    assert time.monotonic() - began < SECONDS_MAX
    assert tracemalloc.get_traced_memory()[1] < MEMORY_MAX
    tracemalloc.stop()
    assert table is not None
    assert len(table.pages) <= 16
    assert table.telling() == sorted(table.pages)
    os.pwrite(descriptor, b"x", TIB // 2)
    began = time.monotonic()
    again, table = blocks.rehash(descriptor, TIB, table, [(TIB // 2, 1)])
    assert time.monotonic() - began < SECONDS_MAX
    assert again == blocks.rehash(descriptor, TIB)[0] != root
    os.close(descriptor)
    os.unlink(disk / "large")


def test_a_file_that_becomes_sparse_by_growing_and_shrinks_again(disk: Path) -> None:
    descriptor = os.open(disk / "grows", os.O_RDWR | os.O_CREAT)
    os.pwrite(descriptor, os.urandom(3 * BLOCK_SIZE), 0)
    root, table = blocks.rehash(descriptor, 3 * BLOCK_SIZE)
    os.ftruncate(descriptor, TIB)
    grown, grown_table = blocks.rehash(descriptor, TIB, table, [(3 * BLOCK_SIZE, TIB)])
    assert grown == blocks.rehash(descriptor, TIB)[0]
    os.ftruncate(descriptor, 3 * BLOCK_SIZE)
    assert blocks.rehash(descriptor, 3 * BLOCK_SIZE, grown_table, [(3 * BLOCK_SIZE, TIB)])[0] == root
    os.close(descriptor)
    os.unlink(disk / "grows")


@pytest.mark.parametrize("seed", range(6))
def test_a_sparse_file_hashes_as_its_bytes_do(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    size = dice.choice([3 * PAGE, 3 * PAGE + 5, 2 * PAGE + BLOCK_SIZE - 1])
    descriptor = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    os.ftruncate(descriptor, size)
    _, table = blocks.rehash(descriptor, size)
    for _ in range(5):
        offset = dice.choice([0, PAGE - 1, PAGE, 2 * PAGE - 9, size - 3, dice.randrange(size)])
        os.pwrite(descriptor, dice.choice([b"x" * 10, bytes(10)]), offset)
        root, table = blocks.rehash(descriptor, max(size, os.fstat(descriptor).st_size), table, [(offset, 10)])
        size = os.fstat(descriptor).st_size
        hashes = b"".join(blocks.block_hash(os.pread(descriptor, BLOCK_SIZE, at)) for at in range(0, size, BLOCK_SIZE))
        assert root == table_root(size, hashes)
        assert ZERO_PAGE not in table.pages.values() if table else False
    os.close(descriptor)


def test_a_file_larger_than_any_may_be_is_refused_and_not_read(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb+") as file, pytest.raises(OSError, match="16 TiB"):
        blocks.rehash(file.fileno(), FILE_SIZE_MAX + 1)


def test_a_copy_of_a_terabyte_of_holes_is_as_sparse(disk: Path) -> None:
    (disk / "tree").mkdir()
    descriptor = made(disk / "tree/f")
    content = Content(Kind.FILE, TIB, blocks.rehash(descriptor, TIB)[0], 1)
    root = os.open(disk / "tree", os.O_RDONLY | os.O_DIRECTORY)
    stage = Stage(Tree(root))
    began = time.monotonic()
    stage.build(b"7.1", content, Meta(0o600, 0, 0), 1, FromTree(RelPath(b"f")))
    stage.keep_copy(RelPath(b"f"), b"kept", content)
    assert time.monotonic() - began < SECONDS_MAX
    for copy in ("stage/7.1", "kept/kept"):
        assert (disk / "tree/.csfs" / copy).stat().st_blocks <= os.fstat(descriptor).st_blocks + 64
    stage.close()
    os.close(root)
    os.close(descriptor)


def test_what_grew_by_a_hole_and_a_little_is_a_patch_of_the_little(disk: Path) -> None:
    (disk / "grown").mkdir()
    old = os.urandom(9 * BLOCK_SIZE)
    (disk / "grown/f").write_bytes(old)
    root = os.open(disk / "grown", os.O_RDONLY | os.O_DIRECTORY)
    stage = Stage(tree := Tree(root))
    base = tree.look_from(RelPath(b"f"), Before())
    assert base is not None
    # What a program did elsewhere, to the same bytes.
    (disk / "elsewhere").write_bytes(old)
    with (disk / "elsewhere").open("r+b") as file:
        file.truncate(TIB)
        os.pwrite(file.fileno(), b"little", TIB - 6)
        pieces = blocks.data_extents(file.fileno(), len(old), TIB, 100)
        assert pieces is not None
        assert sum(length for _, length in pieces) <= 64 * 1024
        wanted = blocks.rehash(file.fileno(), TIB)[0]
        written = tuple((at, os.pread(file.fileno(), length, at)) for at, length in pieces)
    patch = Patch(wanted, TIB, base.observation.hash, Dot(Incarnation(1), 1), written)
    assert patch.is_sound
    table = base.table
    assert isinstance(table, BlockTable)
    source = FromPatches(RelPath(b"f"), base.observation, table, (patch,))
    content = Content(Kind.FILE, TIB, wanted, 5)
    assert can_overwrite(content, source)
    began = time.monotonic()
    overwritten = stage.prepare_overwrite(b"7.2", b"kept.blocks", content, 5, source)
    built = stage.build(b"7.1", content, Meta(0o600, 0, 0), 5, source)
    assert time.monotonic() - began < SECONDS_MAX
    assert overwritten.table is not None
    assert built.table is not None
    assert overwritten.table.summary == built.table.summary
    with (disk / "grown/.csfs/stage/7.1").open("rb") as file:
        assert os.fstat(file.fileno()).st_blocks * 512 < MIB + len(old)
        assert os.pread(file.fileno(), 6, TIB - 6) == b"little"
    stage.close()
    os.close(root)


def test_what_is_cut_off_by_gigabytes_is_not_kept_block_by_block() -> None:
    large, rest = 4 << 30, hash_bytes(bytes(3 * BLOCK_SIZE))[0]
    base = Observation(
        stamp=Stamp(1, large, 1, 1), kind=Kind.FILE, mode=0o600, uid=0, gid=0, size=large, hash=b"a" * 32
    )
    patch = Patch(rest, 3 * BLOCK_SIZE, base.hash, Dot(Incarnation(1), 1), ())
    source = FromPatches(RelPath(b"f"), base, BlockTable(large, b"", {}), (patch,))
    assert not can_overwrite(Content(Kind.FILE, 3 * BLOCK_SIZE, rest, 1), source)
