"""Contents of several blocks put together from what is on this host's disk already, before anything is asked of a peer.

In this order: the old version of the same path, what was kept of it, and whatever has pages of its table in common.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

import msgspec

from csfs.core.records import Content
from csfs.core.rows import Plan
from csfs.core.tables import HASH_SIZE, BlockTable
from csfs.errors import CsfsError
from csfs.replicate.volume import Root, Volume
from csfs.store.blocks import block_matches, data_ranges
from csfs.store.hashing import BLOCK_SIZE, ZERO_HASH, block_count
from csfs.store.overwriting import BLOCKS_ONLY
from csfs.store.stage import FromKept, FromTree

KEPT_MAX = 16
SHARING_MAX = 4


class Holder(msgspec.Struct, frozen=True):
    """A file that is to have a content of `size` bytes with these block hashes, or some of its blocks."""

    file: FromTree | FromKept
    size: int
    hashes: bytes


def holders(volume: Volume, plan: Plan, table: BlockTable) -> list[Holder]:
    """Return files that may have blocks of what is to be installed, the likeliest first."""
    index = volume.index
    found: list[Holder] = []
    if plan.base is not None and plan.base.size > BLOCK_SIZE:
        found.append(Holder(FromTree(plan.path), plan.base.size, index.tables.whole(plan.base.hash)))
    for version in index.ledger.kept(plan.path)[:KEPT_MAX]:
        shown = version.applied.observation
        is_stored = version.size > 0 or version.name.endswith(BLOCKS_ONLY)
        if is_stored and shown is not None and shown.size > BLOCK_SIZE:
            found.append(Holder(FromKept(version.name), shown.size, index.tables.whole(version.hash)))
    for content_hash in index.tables.sharing_pages(table.summary, SHARING_MAX):
        for path in index.rows.paths_with_hash(content_hash)[:1]:
            row = index.rows.row(path)
            if path != plan.path and row is not None and row.applied.observation is not None:
                size = row.applied.observation.size
                found.append(Holder(FromTree(path), size, index.tables.whole(content_hash)))
    return found


def begun(root: Root, content: Content, table: bytes, places: Sequence[Holder]) -> set[int]:
    """Begin a partial content, or go on with one; return the blocks that are here, each verified. For a thread.

    What an earlier try left is verified by reading it. Blocks that are in other files are copied from there, and read again: those
    may have changed since they were hashed.

    Raises:
        OSError: ENOSPC and the like.
    """
    partials = root.stage.partials
    wanted = {number: table[number * HASH_SIZE :][:HASH_SIZE] for number in range(block_count(content.size))}
    if partials.begin(content.hash, content.size):
        present = partials.present_blocks(content.hash, table)
    else:  # a block of zeros stays a hole
        present = {number for number, digest in wanted.items() if digest == ZERO_HASH}
    for number in present:
        del wanted[number]
    partials.check_room(BLOCK_SIZE * sum(digest != ZERO_HASH for digest in wanted.values()))
    for holder in places:
        if not wanted:
            break
        try:
            with _opened(root, holder) as source:
                pairs = list(_pairs(source, holder, wanted))
                partials.copy_blocks(content.hash, source, pairs)
        except (OSError, CsfsError):
            continue
        with partials.opened(content.hash) as descriptor:
            here = [n for _, n in pairs if block_matches(descriptor, content.size, n, wanted[n])]
        for number in here:
            del wanted[number]
        present.update(here)
    return present


def _opened(root: Root, holder: Holder) -> AbstractContextManager[int]:
    match holder.file:
        case FromTree(path):
            return root.tree.open_file(path)
        case FromKept(name):
            return root.stage.kept.open_file(name)


def _pairs(source: int, holder: Holder, wanted: dict[int, bytes]) -> Iterator[tuple[int, int]]:
    """Yield (block there, block wanted) for what the file has by its table, and not as a hole."""
    at: dict[bytes, list[int]] = {}
    for number, digest in wanted.items():
        at.setdefault(digest, []).append(number)
    done: set[int] = set()
    for number in _numbers(data_ranges(source, holder.size, (0, len(holder.hashes) // HASH_SIZE))):
        for target in at.get(holder.hashes[number * HASH_SIZE :][:HASH_SIZE], ()):
            if target not in done:
                done.add(target)
                yield number, target


def _numbers(ranges: Iterable[tuple[int, int]]) -> Iterator[int]:
    for first, last in ranges:
        yield from range(first, last)
