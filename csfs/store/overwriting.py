"""Preparing to overwrite a live file in place: what is to be written, what that displaces, and whether it makes what is wanted."""

import itertools
import os

import msgspec

from csfs.core.objects import Observation
from csfs.core.records import Content
from csfs.core.tables import BlockTable
from csfs.errors import ContentMismatchError
from csfs.store import redo
from csfs.store.attributes import stamp_of
from csfs.store.blocks import retabled, touched_blocks
from csfs.store.hashing import BLOCK_SIZE, block_hash
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
    touched = touched_blocks(base.size, content.size, extents_of(base.size, patches))
    written = sum(patch.weight for patch in patches)
    return not is_cut and written <= WRITTEN_SIZE_MAX and sum(last - first for first, last in touched) <= BLOCKS_MAX


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
    extents = extents_of(base.size, patches)
    old = {n: _read(existing, n) for n in _numbers(touched_blocks(base.size, base.size, extents))}
    image = Image(BLOCK_SIZE, base.size, lambda number: old.get(number) or _read(existing, number))
    steps = tuple(Written(patch.pieces, patch.size) for patch in patches)
    for step in steps:
        image.apply(step)
    touched = _numbers(touched_blocks(base.size, content.size, extents))
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
