"""Block tables: the hashes of the blocks of a content that has several, in pages, of which those that matter are at hand."""

from collections.abc import Iterator

import msgspec

HASH_SIZE = 32
PAGE_HASHES = 256
"""Hashes in one page of a table. The last page may have fewer."""
PAGE_SIZE = PAGE_HASHES * HASH_SIZE


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

    def hash_of(self, block: int) -> bytes:
        """Return the hash of a block, empty if its page is not at hand."""
        page = self.pages.get(block // PAGE_HASHES, b"")
        at = block % PAGE_HASHES * HASH_SIZE
        return page[at : at + HASH_SIZE]

    def whole(self) -> bytes:
        """Return all hashes, concatenated; all pages must be at hand."""
        return b"".join(self.pages[number] for number in range(self.page_count))


def pages_of(table: bytes | bytearray) -> Iterator[bytes]:
    """Yield the pages of all hashes of a content."""
    for at in range(0, len(table), PAGE_SIZE):
        yield bytes(table[at : at + PAGE_SIZE])
