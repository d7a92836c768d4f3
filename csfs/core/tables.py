"""Block tables: the hashes of the blocks of a content that has several, in pages, of which those that matter are at hand.

A page that says of all its blocks that they are zeros is the same in every table: it is never held, nor told, nor asked for. So the
table of a hole of terabytes is its summary, in which one hash is repeated.
"""

from collections.abc import Iterator
from typing import Final

import msgspec
from blake3 import blake3

HASH_SIZE = 32
PAGE_HASHES = 256
"""Hashes in one page of a table. The last page may have fewer."""
PAGE_SIZE = PAGE_HASHES * HASH_SIZE
BLOCK_SIZE = 131_072
SEGMENT_DIGEST_SIZE = 8
"""Bytes of a hash that name a segment; see `store.segments`."""
_PAGE_CONTEXT = "csfs 2026 table page v1"


def page_hash(page: bytes | bytearray) -> bytes:
    """Return the hash of one page of a table."""
    return blake3(page, derive_key_context=_PAGE_CONTEXT).digest()


ZERO_HASH: Final = blake3(bytes(BLOCK_SIZE)).digest()
"""The hash of a whole block of zeros."""
ZERO_PAGE: Final = ZERO_HASH * PAGE_HASHES
ZERO_PAGE_HASH: Final = page_hash(ZERO_PAGE)


class BlockTable(msgspec.Struct, frozen=True):
    """The table of a content of `size` bytes. `summary` has the hashes of all its pages; `pages` those at hand, by number."""

    size: int
    summary: bytes
    pages: dict[int, bytes]

    @property
    def page_count(self) -> int:
        """How many pages there are."""
        return len(self.summary) // HASH_SIZE

    def page_hash(self, number: int) -> bytes:
        """Return the hash of a page."""
        return self.summary[number * HASH_SIZE : (number + 1) * HASH_SIZE]

    def page(self, number: int) -> bytes:
        """Return the hashes of a page's blocks, empty if it is not at hand."""
        return self.pages.get(number) or (ZERO_PAGE if self.page_hash(number) == ZERO_PAGE_HASH else b"")

    def hash_of(self, block: int) -> bytes:
        """Return the hash of a block, empty if its page is not at hand."""
        at = block % PAGE_HASHES * HASH_SIZE
        return self.page(block // PAGE_HASHES)[at : at + HASH_SIZE]

    def telling(self) -> list[int]:
        """Return the numbers of the pages that have anything but blocks of zeros, ascending."""
        return [number for number in range(self.page_count) if self.page_hash(number) != ZERO_PAGE_HASH]

    def runs(self, first: int, last: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield (number, count, hash) of the pages from `first` to before `last`: those of zeros that follow each other together."""
        begun = first
        for number in range(first, last):
            digest = self.page_hash(number)
            if digest == ZERO_PAGE_HASH:
                continue
            if begun < number:
                yield begun, number - begun, ZERO_PAGE_HASH
            yield number, 1, digest
            begun = number + 1
        if begun < last:
            yield begun, last - begun, ZERO_PAGE_HASH

    def whole(self) -> bytes:
        """Return all hashes, concatenated; all pages must be at hand."""
        return b"".join(map(self.page, range(self.page_count)))


def pages_of(table: bytes | bytearray) -> Iterator[bytes]:
    """Yield the pages of all hashes of a content."""
    for at in range(0, len(table), PAGE_SIZE):
        yield bytes(table[at : at + PAGE_SIZE])
