"""Names of contents, and that hashing again what changed gives what hashing everything gives."""

import os
import tempfile
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from csfs.core.tables import PAGE_HASHES, BlockTable
from csfs.errors import UnstableError
from csfs.store import blocks, hashing
from csfs.store.hashing import BLOCK_SIZE, whole_table

sizes = st.one_of(
    st.integers(0, 5 * BLOCK_SIZE),
    st.integers(0, 5).flatmap(lambda n: st.integers(-1, 1).map(lambda d: max(0, n * BLOCK_SIZE + d))),
)


PAGE = BLOCK_SIZE * PAGE_HASHES
"""Bytes that one page of a table stands for."""


def content_of(size: int, seed: int) -> bytes:
    """Return bytes that look random, with a run of zeros in some."""
    data = bytearray(blake3(seed.to_bytes(8, "little")).digest(length=size))
    if seed % 3 == 0:
        data[: size // 2] = bytes(size // 2)
    return bytes(data)


def test_a_content_of_one_block_is_named_by_its_plain_hash() -> None:
    assert hashing.hash_bytes(b"abc") == (blake3(b"abc").digest(), b"")
    assert hashing.hash_bytes(bytes(BLOCK_SIZE)) == (hashing.ZERO_HASH, b"")


def test_a_longer_content_is_named_by_size_and_table_in_a_domain_of_its_own() -> None:
    root, table = hashing.hash_bytes(bytes(BLOCK_SIZE + 1))
    assert table == hashing.ZERO_HASH + blake3(b"\0").digest()
    page = blake3(table, derive_key_context="csfs 2026 table page v1").digest()
    hasher = blake3(derive_key_context="csfs 2026 content root v2")
    assert root == hasher.update((BLOCK_SIZE + 1).to_bytes(8, "little") + page).digest()
    assert root != blake3((BLOCK_SIZE + 1).to_bytes(8, "little") + page).digest()


@pytest.mark.parametrize(("size", "table"), [(10, bytes(32)), (BLOCK_SIZE * 2, bytes(32)), (BLOCK_SIZE + 1, bytes(65))])
def test_a_table_that_does_not_fit_the_size_is_refused(size: int, table: bytes) -> None:
    with pytest.raises(ValueError):
        hashing.table_root(size, table)


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(0, 50))
def test_a_file_hashes_as_its_bytes_do(size: int, seed: int) -> None:
    data = content_of(size, seed)
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        assert blocks.hash_file(file.fileno(), size) == hashing.hash_bytes(data)
        assert blocks.verify(file.fileno(), size, hashing.hash_bytes(data)[0])


@settings(max_examples=60, deadline=None)
@given(sizes, st.lists(st.tuples(sizes, st.integers(1, 2 * BLOCK_SIZE)), max_size=3), sizes, st.integers(0, 9))
def test_hashing_the_touched_blocks_again_equals_hashing_all(
    size: int, writes: list[tuple[int, int]], end: int, seed: int
) -> None:
    with tempfile.TemporaryFile() as file:
        descriptor = file.fileno()
        os.pwrite(descriptor, content_of(size, seed), 0)
        _, table = blocks.rehash(descriptor, size)
        for number, (offset, length) in enumerate(writes):
            os.pwrite(descriptor, content_of(length, seed + number + 1), offset)
        written_size = os.fstat(descriptor).st_size
        os.ftruncate(descriptor, end)
        # A truncation takes away everything behind it, also where the file grows again later.
        extents = [*writes, (min(end, written_size), abs(end - written_size))]
        if table is not None:  # of what is not touched nothing but the summary is at hand
            touched = blocks.touched_pages(size, size, extents)
            pages = {number: page for number, page in table.pages.items() if number in touched}
            table = BlockTable(size, table.summary, pages)
        again, partly = blocks.rehash(descriptor, end, table, extents)
        root, whole = blocks.rehash(descriptor, end)
        assert again == root
        if whole is not None:
            assert partly is not None
            assert partly.summary == whole.summary
            assert partly.pages.items() <= whole.pages.items()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3 * PAGE),
    st.lists(st.tuples(st.integers(0, 3 * PAGE), st.binary(min_size=1, max_size=9)), max_size=4),
    st.integers(1, 3 * PAGE),
)
def test_pages_of_a_table_that_nothing_touched_need_not_be_at_hand(
    size: int, writes: list[tuple[int, bytes]], end: int
) -> None:
    with tempfile.TemporaryFile() as file:
        descriptor = file.fileno()
        os.ftruncate(descriptor, size)
        for number in range(0, size, PAGE // 2):
            os.pwrite(descriptor, b"%d" % number, number)
        size = os.fstat(descriptor).st_size
        _, table = blocks.rehash(descriptor, size)
        extents = [(offset, len(data)) for offset, data in writes]
        for offset, data in writes:
            os.pwrite(descriptor, data, offset)
        written_size = os.fstat(descriptor).st_size
        os.ftruncate(descriptor, end)
        extents.append((min(end, written_size), abs(end - written_size)))
        if table is not None:
            touched = sorted(blocks.touched_pages(size, size, extents))
            table = BlockTable(size, table.summary, {n: table.pages[n] for n in touched[1:] if n in table.pages})
        assert blocks.rehash(descriptor, end, table, extents)[0] == blocks.rehash(descriptor, end)[0]


def test_hashing_again_reads_the_touched_blocks_alone() -> None:
    with tempfile.TemporaryFile() as file:
        descriptor = file.fileno()
        os.pwrite(descriptor, content_of(20 * BLOCK_SIZE, 1), 0)
        _, table = blocks.rehash(descriptor, 20 * BLOCK_SIZE)
        os.pwrite(descriptor, b"changed, and no extent tells it", 3 * BLOCK_SIZE)
        os.pwrite(descriptor, b"changed", 7 * BLOCK_SIZE)
        _, again = blocks.rehash(descriptor, 20 * BLOCK_SIZE, table, [(7 * BLOCK_SIZE, 7)])
        assert table is not None
        assert again is not None
        assert {number for number in range(20) if again.hash_of(number) != table.hash_of(number)} == {7}


def test_a_hole_of_gigabytes_is_not_read() -> None:
    size = 1 << 34
    with tempfile.TemporaryFile() as file:
        os.ftruncate(file.fileno(), size)
        os.pwrite(file.fileno(), b"x", size // 2)
        root, table = blocks.hash_file(file.fileno(), size)
        assert table.count(hashing.ZERO_HASH) == hashing.block_count(size) - 1
        assert root == hashing.table_root(size, table)


def test_a_file_that_became_shorter_is_unstable() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"short")
        file.flush()
        with pytest.raises(UnstableError):
            blocks.hash_file(file.fileno(), 6)
        with pytest.raises(UnstableError):
            blocks.hash_file(file.fileno(), BLOCK_SIZE * 3)
        assert not blocks.verify(file.fileno(), 6, bytes(32))
        file.truncate(0)
        with pytest.raises(UnstableError):
            blocks.hash_file(file.fileno(), BLOCK_SIZE * 3)


def test_blocks_are_read_up_to_the_end() -> None:
    with tempfile.TemporaryFile() as file:
        data = content_of(2 * BLOCK_SIZE + 5, 1)
        file.write(data)
        file.flush()
        assert b"".join(blocks.read_blocks(file.fileno(), 0, 9)) == data
        assert [len(block) for block in blocks.read_blocks(file.fileno(), 1, 9)] == [BLOCK_SIZE, 5]
        assert blocks.read_blocks(file.fileno(), 3, 1) == []


@pytest.mark.parametrize("table", [None, whole_table(100 * BLOCK_SIZE, bytes(3200))], ids=["anew", "again"])
def test_of_a_file_that_is_not_what_it_was_the_rest_is_not_read(tmp_path: Path, table: BlockTable | None) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1) * 100 * BLOCK_SIZE)
    looks = 0

    def is_current() -> bool:
        nonlocal looks
        looks += 1
        return looks < 3

    with path.open("rb") as file, pytest.raises(UnstableError):
        blocks.rehash(file.fileno(), 100 * BLOCK_SIZE, table, [(0, 100 * BLOCK_SIZE)], is_current)
    assert looks == 3
