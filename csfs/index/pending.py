"""What is pending, counted as rows change: to count a hundred thousand of them takes too long to be asked every second."""

from csfs.core.objects import Kind
from csfs.core.rows import Amount, Row
from csfs.index.database import Database

NOTHING = Amount(0, 0)


class Pending:
    """How much is `left`, and how much was pending since the index was opened and is not any more (`done`)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.left = self.done = NOTHING
        self.load()

    def load(self) -> None:
        """Count the rows in the table."""
        query = "SELECT count(*), coalesce(sum(awaited), 0) FROM rows WHERE pending"
        self.left = Amount(*self._database.execute(query).fetchone())

    def changes(self, before: Amount, now: Amount) -> None:
        """A path has another row now; `before` is what is `awaited` by the one in the table, `now` by this one."""
        if now == before:
            return
        self.left = self.left.plus(now).less(before)
        if now.paths < before.paths:
            self.done = self.done.plus(before)


def awaited(row: Row | None) -> Amount:
    """Return what is pending at one path: the largest of the contents that it may show, and does not, counts."""
    if row is None or not row.pending:
        return NOTHING
    shown = row.applied.observation
    sizes = [
        entry.value.size
        for entry in row.record.content.entries
        if entry.value.kind is Kind.FILE and (shown is None or shown.hash != entry.value.hash)
    ]
    return Amount(1, max(sizes, default=0))
