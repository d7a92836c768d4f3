"""A member's index in memory."""

from csfs.core.paths import RelPath
from csfs.core.rows import Row
from csfs.core.tokens import Tokens
from csfs.core.versions import Dot, Incarnation, Scope
from csfs.engine.following import Edit
from csfs.engine.memory import MemoryIndex


class Index(MemoryIndex):
    """An index that counts what is minted, taken back or not."""

    minted = 0

    def __init__(self) -> None:
        super().__init__()
        self.followed: list[tuple[Incarnation, Edit]] = []
        """Edits that followed moves, as far as that is durable, and in which life."""
        self.following: list[tuple[Incarnation, Edit]] = []
        self.minted_following = 0
        """Versions made by that, taken back or not."""

    def commit(self) -> None:
        """Make everything up to here durable."""
        super().commit()
        self.followed += self.following
        self.following = []

    def rollback(self) -> None:
        """Take back everything since the last commit."""
        super().rollback()
        self.following = []

    def contested(self) -> list[RelPath]:
        """Return every path of which one half has several entries."""
        rows = self.rows().items()
        return [p for p, row in rows if len(row.record.content.entries) > 1 or len(row.record.meta.entries) > 1]

    def keep_tokens(self, member: str, tokens: Tokens) -> None:
        """Remember the tokens of one peer, at once and for good."""
        self._tokens[member] = tokens

    def next_counter(self, scope: Scope) -> int:
        """Return the next counter of our incarnation."""
        self.minted += 1
        return super().next_counter(scope)

    def skip_counters(self, scope: Scope, count: int) -> None:
        """Hand out the next counters at once."""
        self.minted += count
        super().skip_counters(scope, count)


def dots_of(row: Row) -> set[Dot]:
    """Return the dots that a record holds."""
    record = row.record
    return {entry.dot for entry in record.content.entries} | {entry.dot for entry in record.meta.entries}
