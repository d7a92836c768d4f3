"""The index's block tables, page by page: versions of one large content that differ in a block have all other pages in common."""

from collections.abc import Container, Iterable

from csfs.core.tables import HASH_SIZE, PAGE_HASHES, ZERO_PAGE, ZERO_PAGE_HASH, BlockTable
from csfs.index.database import Database


class Tables:
    """Block tables by root hash. Those of contents of one block at most are not here: the root is the block's hash."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def summary(self, content_hash: bytes) -> bytes:
        """Return the hashes of the pages of a content's table, concatenated; empty if it is not known."""
        query = "SELECT page, count FROM tables WHERE hash = ? ORDER BY number"
        return b"".join(page * count for page, count in self._database.execute(query, (content_hash,)))

    def page(self, page_hash: bytes) -> bytes:
        """Return a page by its hash; empty if it is not known."""
        found = self._database.execute("SELECT hashes FROM pages WHERE hash = ?", (page_hash,)).fetchone()
        return found[0] if found else b""

    def part(self, content_hash: bytes, size: int, numbers: Iterable[int] | None = None) -> BlockTable | None:
        """Return the table of a content of `size` bytes with these pages at hand (None: all), as far as it has them; None if it is
        not known.
        """
        summary = self.summary(content_hash)
        if not summary:
            return None
        table = BlockTable(size, summary, {})
        for number in table.telling() if numbers is None else numbers:
            page = b"" if table.page_hash(number) == ZERO_PAGE_HASH else self.page(table.page_hash(number))
            if page:
                table.pages[number] = page
        return table

    def hashes(self, content_hash: bytes, first: int, count: int) -> bytes:
        """Return the hashes of `count` blocks from `first` on, concatenated; fewer at the end, none if they are not known."""
        query = (
            "SELECT number, count, hashes FROM tables JOIN pages ON pages.hash = page "
            "WHERE tables.hash = ? AND number <= ? AND number + count > ? ORDER BY number"
        )
        first_page, last_page = first // PAGE_HASHES, (first + count - 1) // PAGE_HASHES
        found = b"".join(
            hashes * (min(last_page + 1, number + same) - max(first_page, number))
            for number, same, hashes in self._database.execute(query, (content_hash, last_page, first_page))
        )
        return found[first % PAGE_HASHES * HASH_SIZE :][: count * HASH_SIZE]

    def add(self, content_hash: bytes, table: BlockTable) -> bool:
        """Remember a table, of which the pages that are not at hand are here from another content; return whether they are."""
        self.add_part(content_hash, table, 0, table.page_count)
        query = "SELECT sum(count) FROM tables JOIN pages ON pages.hash = page WHERE tables.hash = ?"
        ((count,),) = self._database.execute(query, (content_hash,))
        if count != table.page_count:
            self._database.write("DELETE FROM tables WHERE hash = ?", (content_hash,))
        return bool(count == table.page_count)

    def add_part(self, content_hash: bytes, table: BlockTable, first: int, last: int) -> None:
        """Remember the pages of a table from `first` to before `last`, which begin and end beside a page of anything but zeros, and
        those that are at hand.
        """
        runs = list(table.runs(first, last))
        pages = [(table.page_hash(number), page) for number, page in table.pages.items()]
        if any(digest == ZERO_PAGE_HASH for _, _, digest in runs):
            pages.append((ZERO_PAGE_HASH, ZERO_PAGE))
        self._database.write_many("INSERT OR IGNORE INTO pages VALUES (?, ?)", pages)
        self._database.write_many(
            "INSERT OR IGNORE INTO tables VALUES (?, ?, ?, ?)",
            [(content_hash, number, digest, count) for number, count, digest in runs],
        )

    def sharing_pages(self, page_hashes: Iterable[bytes], limit: int) -> list[bytes]:
        """Return contents whose tables have some of these pages, those with the most first."""
        counts: dict[bytes, int] = {}
        for digest in page_hashes:
            query = "SELECT hash FROM tables WHERE page = ? LIMIT ?"
            for (content_hash,) in self._database.execute(query, (digest, limit)):
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
