"""Contents that arrive in blocks, over restarts."""

import os
from pathlib import Path

import pytest

from csfs.errors import ContentMismatchError
from csfs.store.hashing import BLOCK_SIZE, hash_bytes
from csfs.store.stage import Stage


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
    assert stage.partials.present_blocks(root, table) == set()


def test_a_content_of_one_block_arrives_too(stage: Stage) -> None:
    root, table = hash_bytes(b"small")
    stage.partials.begin(root, 5)
    assert stage.partials.present_blocks(root, table) == set()
    stage.partials.write_block(root, 0, b"small", root)
    assert stage.partials.present_blocks(root, table) == {0}


def test_what_was_never_begun_has_no_blocks(stage: Stage) -> None:
    assert stage.partials.present_blocks(bytes(32), bytes(64)) == set()
    stage.partials.discard(bytes(32))


def test_an_old_version_gives_the_blocks_that_are_the_same(stage: Stage, volume: Path) -> None:
    old = os.urandom(6 * BLOCK_SIZE + 10)
    new = old[:BLOCK_SIZE] + os.urandom(BLOCK_SIZE) + old[2 * BLOCK_SIZE : 5 * BLOCK_SIZE] + b"tail"
    (volume / "f").write_bytes(old)
    root, table = hash_bytes(new)
    with (volume / "f").open("rb") as file:
        stage.partials.seed(root, len(new), file.fileno())
    assert stage.partials.present_blocks(root, table) == {0, 2, 3, 4}
    assert (volume / "f").read_bytes() == old


def test_blocks_that_are_known_to_be_equal_are_copied_alone(stage: Stage, volume: Path) -> None:
    old = os.urandom(3 * BLOCK_SIZE)
    new = old[2 * BLOCK_SIZE :] + os.urandom(BLOCK_SIZE) + old[:BLOCK_SIZE]
    (volume / "f").write_bytes(old)
    root, table = hash_bytes(new)
    stage.partials.begin(root, len(new))
    with (volume / "f").open("rb") as file:
        stage.partials.copy_blocks(root, file.fileno(), [(2, 0), (0, 2)])
    assert stage.partials.present_blocks(root, table) == {0, 2}


def test_zeros_that_arrive_over_old_bytes_replace_them(stage: Stage, volume: Path) -> None:
    old, new = os.urandom(2 * BLOCK_SIZE), bytes(2 * BLOCK_SIZE)
    (volume / "f").write_bytes(old)
    root, table = hash_bytes(new)
    with (volume / "f").open("rb") as file:
        stage.partials.seed(root, len(new), file.fileno())
    assert stage.partials.present_blocks(root, table) == set()
    for index in range(2):
        stage.partials.write_block(root, index, bytes(BLOCK_SIZE), table[index * 32 : index * 32 + 32])
    assert stage.partials.present_blocks(root, table) == {0, 1}
    assert (volume / ".csfs" / "partial" / root.hex()).stat().st_blocks == 0
