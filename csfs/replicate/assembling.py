"""Contents of several blocks put together from what is on this host's disk already, before anything is asked of a peer.

In this order: what has all of it, the old version of the same path, what was kept of it, and whatever has pages of its table in
common. A large content is put together portion by portion, so that neither its table nor what is known of its blocks is ever in
memory as a whole.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

import msgspec

from csfs.core.objects import Kind
from csfs.core.paths import RelPath, joined, name_of, parent_of
from csfs.core.records import Content
from csfs.core.rows import Plan
from csfs.core.tables import PAGE_HASHES, BlockTable
from csfs.errors import CsfsError
from csfs.replicate.volume import Root, Volume
from csfs.store.blocks import BlockRange, block_matches, data_ranges
from csfs.store.hashing import BLOCK_SIZE, ZERO_HASH, block_count, page_count
from csfs.store.overwriting import BLOCKS_ONLY
from csfs.store.stage import FromKept, FromTree

KEPT_MAX = 16
SHARING_MAX = 4
PORTION_PAGES = 256
"""Pages of a table that are at hand at once: 2 MiB, of 8 GiB of a content."""


class Portion(msgspec.Struct, frozen=True):
    """A part of a content: its blocks, and the pages of the table that say of any of them that they are not zeros."""

    within: BlockRange
    pages: tuple[int, ...]

    @property
    def page_range(self) -> tuple[int, int]:
        """All its pages, those of zeros among them: the first, and the one after the last."""
        return self.within[0] // PAGE_HASHES, -(-self.within[1] // PAGE_HASHES)

    def size(self, content_size: int) -> int:
        """Return the bytes of the portion."""
        return min(content_size, self.within[1] * BLOCK_SIZE) - self.within[0] * BLOCK_SIZE


def portions(table: BlockTable) -> list[Portion]:
    """Return a content in portions, ascending, which have all its blocks."""
    telling = table.telling()
    cuts = [tuple(telling[at : at + PORTION_PAGES]) for at in range(0, len(telling), PORTION_PAGES)] or [()]
    firsts = [0, *(pages[0] * PAGE_HASHES for pages in cuts[1:]), block_count(table.size)]
    return [Portion((firsts[at], firsts[at + 1]), pages) for at, pages in enumerate(cuts)]


def telling_blocks(table: BlockTable, portion: Portion) -> dict[int, bytes]:
    """Return the blocks of a portion that are not zeros, with their hashes."""
    numbers = (n for page in portion.pages for n in range(page * PAGE_HASHES, (page + 1) * PAGE_HASHES))
    return {n: digest for n in numbers if (digest := table.hash_of(n)) and digest != ZERO_HASH}


class Holder(msgspec.Struct, frozen=True):
    """A file that is to have a content with this table, or some of its blocks."""

    file: FromTree | FromKept
    table: BlockTable


def is_here(volume: Volume, content: Content) -> bool:
    """Return whether some file here is to have all of a content."""
    index = volume.index
    return bool(index.rows.paths_with_hash(content.hash) or index.ledger.kept_with_hash(content.hash))


def holders(volume: Volume, plan: Plan, table: BlockTable, portion: Portion) -> list[Holder]:
    """Return files that may have blocks of a portion of what is to be installed, the likeliest first.

    Of a file of several portions that has blocks elsewhere than they are wanted, only those nearby are found.
    """
    index = volume.index
    found: list[Holder] = []

    def add(file: FromTree | FromKept, content_hash: bytes, size: int) -> None:
        pages = None if page_count(size) <= PORTION_PAGES else [n for n in portion.pages if n < page_count(size)]
        known = index.tables.part(content_hash, size, pages)
        if known is not None:
            found.append(Holder(file, known))

    whole = plan.content
    for path in index.rows.paths_with_hash(whole.hash)[:SHARING_MAX]:
        add(FromTree(path), whole.hash, whole.size)
    for name, _ in index.ledger.kept_with_hash(whole.hash)[:SHARING_MAX]:
        add(FromKept(name), whole.hash, whole.size)
    if plan.base is not None and plan.base.size > BLOCK_SIZE:
        add(FromTree(plan.path), plan.base.hash, plan.base.size)
    for path in _namesakes(plan.path) if plan.base is None else ():
        row = index.rows.row(path)
        like = row.applied.observation if row is not None else None
        if like is not None and like.kind is Kind.FILE and like.size > BLOCK_SIZE:
            add(FromTree(path), like.hash, like.size)
    for version in index.ledger.kept(plan.path)[:KEPT_MAX]:
        shown = version.applied.observation
        is_stored = version.size > 0 or version.name.endswith(BLOCKS_ONLY)
        if is_stored and shown is not None and shown.size > BLOCK_SIZE:
            add(FromKept(version.name), version.hash, shown.size)
    for content_hash in index.tables.sharing_pages(map(table.page_hash, portion.pages), SHARING_MAX):
        for path in index.rows.paths_with_hash(content_hash)[:1]:
            row = index.rows.row(path)
            if path != plan.path and row is not None and row.applied.observation is not None:
                add(FromTree(path), content_hash, row.applied.observation.size)
    return found


def _namesakes(path: RelPath) -> list[RelPath]:
    """Return the files that a new one is likely to replace: of `dump.sql.new`, `.dump.sql.Xy12` and `dump.sql~` it is `dump.sql`."""
    directory, name = parent_of(path), name_of(path)
    names = [name.rpartition(b".")[0], name.removesuffix(b"~")]
    names += [one.removeprefix(b".") for one in names]
    return [joined(directory, one) for one in dict.fromkeys(names) if one not in (b"", name)]


def lacking_blocks(
    root: Root, content: Content, table: BlockTable, portion: Portion, places: Sequence[Holder], *, resumed: bool
) -> set[int]:
    """Return the blocks of a portion of a partial content that are not on this host; what is, is verified. For a thread.

    What an earlier try left is verified by reading it. Blocks that are in other files are copied from there, and read again: those
    may have changed since they were hashed. Blocks of zeros stay holes.

    Raises:
        OSError: ENOSPC and the like.
    """
    partials = root.stage.partials
    wanted = telling_blocks(table, portion)
    if resumed:
        lacking = partials.lacking_blocks(content.hash, table, portion.within, wanted)
        wanted = {number: table.hash_of(number) for number in lacking}
    if not root.stage.can_clone:  # else what is here takes no room
        partials.check_room(BLOCK_SIZE * len(wanted))
    for holder in places:
        if not wanted:
            break
        try:
            with opened(root, holder) as source:
                pairs = list(_pairs(source, holder, wanted))
                partials.copy_blocks(content.hash, source, pairs)
        except (OSError, CsfsError):
            continue
        with partials.opened(content.hash) as descriptor:
            here = [n for _, n in pairs if block_matches(descriptor, content.size, n, wanted[n])]
        for number in here:
            del wanted[number]
    return set(wanted)


def opened(root: Root, holder: Holder) -> AbstractContextManager[int]:
    """Hold the file open for reading."""
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
    table, count = holder.table, block_count(holder.table.size)
    for page in sorted(table.pages):
        within = page * PAGE_HASHES, min(count, (page + 1) * PAGE_HASHES)
        for number in _numbers(data_ranges(source, table.size, within)):
            for target in at.get(table.hash_of(number), ()):
                if target not in done:
                    done.add(target)
                    yield number, target


def _numbers(ranges: Iterable[BlockRange]) -> Iterator[int]:
    for first, last in ranges:
        yield from range(first, last)
