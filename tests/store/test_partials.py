"""Contents that arrive in blocks, over restarts."""

import os
from pathlib import Path

import pytest

from csfs.errors import ContentMismatchError
from csfs.store.hashing import BLOCK_SIZE, ZERO_HASH, block_count, hash_bytes, whole_table
from csfs.store.stage import Stage


def lacking(stage: Stage, data: bytes) -> set[int]:
    """Return the blocks of a content of several that have not arrived."""
    root, hashes = hash_bytes(data)
    table, count = whole_table(len(data), hashes), block_count(len(data))
    telling = [number for number in range(count) if table.hash_of(number) != ZERO_HASH]
    return stage.partials.lacking_blocks(root, table, (0, count), telling)


def test_a_block_that_is_not_what_its_hash_says_is_not_written(stage: Stage) -> None:
    data = os.urandom(2 * BLOCK_SIZE)
    root, table = hash_bytes(data)
    stage.partials.begin(root, len(data))
    with pytest.raises(ContentMismatchError):
        stage.partials.write_block(root, 0, data[BLOCK_SIZE:], table[:32])
    short = data[:100]
    with pytest.raises(ContentMismatchError):
        stage.partials.write_block(root, 0, short, hash_bytes(short)[0])
    with pytest.raises(ContentMismatchError):
        stage.partials.write_block(root, 2, data[:BLOCK_SIZE], table[:32])
    assert lacking(stage, data) == {0, 1}


def test_blocks_that_are_known_to_be_equal_are_copied_alone(stage: Stage, volume: Path) -> None:
    old = os.urandom(3 * BLOCK_SIZE)
    new = old[2 * BLOCK_SIZE :] + os.urandom(BLOCK_SIZE) + old[:BLOCK_SIZE]
    (volume / "f").write_bytes(old)
    root, _ = hash_bytes(new)
    stage.partials.begin(root, len(new))
    with (volume / "f").open("rb") as file:
        stage.partials.copy_blocks(root, file.fileno(), [(2, 0), (0, 2)])
    assert lacking(stage, new) == {1}


def test_zeros_that_arrive_over_other_bytes_replace_them(stage: Stage, volume: Path) -> None:
    old, new = os.urandom(2 * BLOCK_SIZE), bytes(2 * BLOCK_SIZE)
    root, table = hash_bytes(new)
    stage.partials.begin(root, len(new))
    (volume / ".csfs" / "partial" / root.hex()).write_bytes(old)
    assert lacking(stage, new) == {0, 1}
    for index in range(2):
        stage.partials.write_block(root, index, bytes(BLOCK_SIZE), table[index * 32 : index * 32 + 32])
    assert lacking(stage, new) == set()
    assert stage.partials.size_here(root) == 0


def test_what_was_never_begun_takes_no_room(stage: Stage) -> None:
    assert stage.partials.size_here(bytes(32)) == 0
    stage.partials.discard(bytes(32))
