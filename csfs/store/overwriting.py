"""Preparing to overwrite a live file in place: what is to be written, what that displaces, and whether it makes what is wanted."""

import itertools
import os

import msgspec

from csfs.core.objects import Observation
from csfs.core.patches import Patch
from csfs.core.records import Content
from csfs.core.tables import BlockTable
from csfs.errors import ContentMismatchError
from csfs.store import redo
from csfs.store.attributes import stamp_of
from csfs.store.blocks import BlockRange, retabled, touched_blocks
from csfs.store.hashing import BLOCK_SIZE, block_count, block_hash
from csfs.store.patching import FromPatches, extents_of
from csfs.store.redo import Image, Redo, Written, write_at
from csfs.store.reserved import remove, write_all
from csfs.store.unborn import Unborn

WRITTEN_SIZE_MAX = 1024 * 1024
"""What the mount writes in one step of its loop."""
BLOCKS_MAX = 128
"""Blocks that are displaced, and kept, in one go."""
BLOCKS_ONLY = b".blocks"
"""How the name of a kept version ends that has the displaced blocks alone: the others are holes. They are in what replaced it."""


def can_overwrite(content: Content, source: FromPatches) -> bool:
    """Return whether so little of a large file changes that it may be overwritten where it is."""
    base, patches = source.base, source.patches
    if min(base.size, content.size) <= BLOCK_SIZE or source.table is None or base.links > 1:
        return False
    sizes = [base.size, *(patch.size for patch in patches[:-1])]
    is_cut = any(later < earlier for earlier, later in itertools.pairwise(sizes))
    written = sum(patch.weight for patch in patches)
    if is_cut or written > WRITTEN_SIZE_MAX:
        return False
    displaced = touched_blocks(base.size, base.size, extents_of(base.size, patches))
    return max(map(_count, (displaced, _written_blocks(base.size, content.size, patches)))) <= BLOCKS_MAX


def _count(ranges: list[BlockRange]) -> int:
    return sum(last - first for first, last in ranges)


def _written_blocks(base_size: int, size: int, patches: tuple[Patch, ...]) -> list[BlockRange]:
    """Return the blocks that patches, none of which but the last cuts anything off, write, and those at the ends.

    The others behind the old end are zeros, and holes.
    """
    ends = [block_count(base_size) - 1, block_count(base_size), block_count(size) - 1] if base_size != size else []
    pieces = [(offset, len(data)) for patch in patches for offset, data in patch.pieces]
    return touched_blocks(size, size, [*pieces, *((number * BLOCK_SIZE, BLOCK_SIZE) for number in ends)])


def displaced_size(source: FromPatches) -> int:
    """Return how many bytes the blocks have that overwriting displaces."""
    touched = touched_blocks(source.base.size, source.base.size, extents_of(source.base.size, source.patches))
    return sum(last - first for first, last in touched) * BLOCK_SIZE


class Directories(msgspec.Struct, frozen=True):
    """Descriptors of the stage and of the kept store."""

    stage: int
    kept: int


def prepare(
    existing: int,
    directories: Directories,
    log: bytes,
    kept: bytes,
    content: Content,
    mtime_ns: int,
    source: FromPatches,
) -> tuple[Observation, BlockTable]:
    """Write the redo log `log` for the live file that `existing` has open for reading, and keep the blocks it displaces as `kept`.

    Returns what the file shows afterwards, but for its stamp, and its table as far as it changes. `kept` may be empty.

    Raises:
        ContentMismatchError: the file is not what it was, or the patches do not make the content.
        OSError: ENOSPC and the like; nothing is left.
    """
    base, patches = source.base, source.patches
    assert source.table is not None
    displaced_blocks = touched_blocks(base.size, base.size, extents_of(base.size, patches))
    old = {number: _read(existing, number) for number in _numbers(displaced_blocks)}
    image = Image(BLOCK_SIZE, base.size, lambda number: old.get(number) or _read(existing, number))
    steps = tuple(Written(patch.pieces, patch.size) for patch in patches)
    for step in steps:
        image.apply(step)
    touched = _numbers(_written_blocks(base.size, content.size, patches))
    hashes = {number: block_hash(image.block(number)) for number in touched}
    root, table = retabled(source.table, content.size, hashes)
    if root != content.hash or stamp_of(os.fstat(existing)) != base.stamp:
        raise ContentMismatchError(f"what was written does not make content {content.hash.hex()[:16]} of what is here")
    if kept:
        with Unborn(directories.kept, kept) as displaced:
            os.ftruncate(displaced.descriptor, base.size)
            for number, data in old.items():
                write_at(displaced.descriptor, number * BLOCK_SIZE, data)
            displaced.appear()
    blocks = tuple(hashes.items())
    boot, expected = redo.boot_id(), base.stamp
    try:
        write_log(directories.stage, log, Redo(source.path, boot, expected, steps, mtime_ns, BLOCK_SIZE, blocks))
    except BaseException:
        remove(directories.stage, redo.PREPARED + log)
        if kept:
            remove(directories.kept, kept)
        raise
    shown = msgspec.structs.replace(base, size=content.size, hash=content.hash, mtime_ns=mtime_ns)
    return shown, table


def write_log(stage: int, name: bytes, log: Redo) -> None:
    """Write a log under `redo.PREPARED` and `name`, durable on return."""
    with Unborn(stage, redo.PREPARED + name) as file:
        write_all(file.descriptor, msgspec.msgpack.encode(log))
        file.appear()
        # Of its name first, so that one flush of the disk does for both: half a log is none, and nothing begins before this returns.
        os.fsync(file.descriptor)
    os.fsync(stage)


def _numbers(ranges: list[tuple[int, int]]) -> list[int]:
    return [number for first, last in ranges for number in range(first, last)]


def _read(descriptor: int, number: int) -> bytes:
    return os.pread(descriptor, BLOCK_SIZE, number * BLOCK_SIZE)
