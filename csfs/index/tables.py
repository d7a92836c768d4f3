"""The index's block tables, page by page: versions of one large content that differ in a block have all other pages in common."""

from collections.abc import Container, Iterable

from csfs.core.tables import HASH_SIZE, PAGE_HASHES, BlockTable
from csfs.index.database import Database


class Tables:
    """Block tables by root hash. Those of contents of one block at most are not here: the root is the block's hash."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def summary(self, content_hash: bytes) -> bytes:
        """Return the hashes of the pages of a content's table, concatenated; empty if it is not known."""
        query = "SELECT page FROM tables WHERE hash = ? ORDER BY number"
        return b"".join(page for (page,) in self._database.execute(query, (content_hash,)))

    def page(self, page_hash: bytes) -> bytes:
        """Return a page by its hash; empty if it is not known."""
        found = self._database.execute("SELECT hashes FROM pages WHERE hash = ?", (page_hash,)).fetchone()
        return found[0] if found else b""

    def part(self, content_hash: bytes, size: int, numbers: Iterable[int]) -> BlockTable | None:
        """Return the table of a content of `size` bytes with these pages at hand, as far as it has them; None if it is not known."""
        summary = self.summary(content_hash)
        if not summary:
            return None
        table = BlockTable(size, summary, {})
        for number in numbers:
            page = self.page(table.page_hash(number))
            if page:
                table.pages[number] = page
        return table

    def whole(self, content_hash: bytes) -> bytes:
        """Return the hashes of all blocks of a content, concatenated; empty if they are not known."""
        query = "SELECT hashes FROM tables JOIN pages ON pages.hash = page WHERE tables.hash = ? ORDER BY number"
        return b"".join(hashes for (hashes,) in self._database.execute(query, (content_hash,)))

    def hashes(self, content_hash: bytes, first: int, count: int) -> bytes:
        """Return the hashes of `count` blocks from `first` on, concatenated; fewer at the end, none if they are not known."""
        query = (
            "SELECT hashes FROM tables JOIN pages ON pages.hash = page "
            "WHERE tables.hash = ? AND number BETWEEN ? AND ? ORDER BY number"
        )
        bounds = first // PAGE_HASHES, (first + count - 1) // PAGE_HASHES
        found = b"".join(hashes for (hashes,) in self._database.execute(query, (content_hash, *bounds)))
        return found[first % PAGE_HASHES * HASH_SIZE :][: count * HASH_SIZE]

    def block_count(self, content_hash: bytes) -> int:
        """Return how many blocks a content has; 0 if its table is not known."""
        query = (
            "SELECT coalesce(sum(length(hashes)), 0) FROM tables JOIN pages ON pages.hash = page WHERE tables.hash = ?"
        )
        ((size,),) = self._database.execute(query, (content_hash,))
        return int(size) // HASH_SIZE

    def add(self, content_hash: bytes, table: BlockTable) -> bool:
        """Remember a table, of which the pages that are not at hand are here from another content; return whether they are."""
        self._database.write_many(
            "INSERT OR IGNORE INTO pages VALUES (?, ?)",
            [(table.page_hash(number), page) for number, page in table.pages.items()],
        )
        self._database.write_many(
            "INSERT OR IGNORE INTO tables VALUES (?, ?, ?)",
            [(content_hash, number, table.page_hash(number)) for number in range(table.page_count)],
        )
        query = "SELECT count(*) FROM tables JOIN pages ON pages.hash = page WHERE tables.hash = ?"
        ((count,),) = self._database.execute(query, (content_hash,))
        if count != table.page_count:
            self._database.write("DELETE FROM tables WHERE hash = ?", (content_hash,))
        return bool(count == table.page_count)

    def sharing_pages(self, summary: bytes, limit: int) -> list[bytes]:
        """Return contents whose tables have a page of this summary in common, those with the most pages first."""
        counts: dict[bytes, int] = {}
        for at in range(0, len(summary), HASH_SIZE):
            query = "SELECT hash FROM tables WHERE page = ? LIMIT ?"
            for (content_hash,) in self._database.execute(query, (summary[at : at + HASH_SIZE], limit)):
                counts[content_hash] = counts.get(content_hash, 0) + 1
        return sorted(counts, key=lambda content_hash: -counts[content_hash])[:limit]

    def prune(self, awaited: Container[bytes] = ()) -> None:
        """Forget tables of contents that no path shows, no kept version holds, and that are not `awaited`."""
        query = (
            "SELECT DISTINCT hash FROM tables WHERE NOT EXISTS (SELECT 1 FROM rows WHERE rows.hash = tables.hash) "
            "AND NOT EXISTS (SELECT 1 FROM kept WHERE kept.hash = tables.hash)"
        )
        unused = [(found,) for (found,) in self._database.execute(query) if found not in awaited]
        self._database.write_many("DELETE FROM tables WHERE hash = ?", unused)
        self._database.write("DELETE FROM pages WHERE NOT EXISTS (SELECT 1 FROM tables WHERE tables.page = pages.hash)")
