"""What waits to be sent to the daemon: rows, in order, bounded; and answers, which go after the rows before them."""

from csfs.core.changes import Change
from csfs.wire.control import Behind, ControlMessage, Rows

ROWS_MAX = 50_000
"""A daemon that lags this far behind reads the rest from the journal."""
ROWS_PER_MESSAGE_MAX = 5_000


class Outbox:
    """Messages for one connection."""

    def __init__(self) -> None:
        self._messages: list[ControlMessage] = []
        self._rows: list[Change] = []
        self._dropped_last = 0
        self._last = 0

    def clear(self) -> None:
        self._messages.clear()
        self._rows.clear()
        self._dropped_last = 0

    @property
    def row_count(self) -> int:
        """How many rows came after the last message."""
        return len(self._rows)

    def add_row(self, change: Change) -> None:
        """Add a row; when there are too many, all of them are dropped and the daemon is told to read the journal."""
        if len(self._rows) >= ROWS_MAX:
            self._dropped_last = self._rows[-1].sequence
            self._rows.clear()
        self._rows.append(change)

    def add(self, message: ControlMessage) -> None:
        """Add another message; it will be sent after all rows so far."""
        self._seal()
        self._messages.append(message)

    def _seal(self) -> None:
        if self._dropped_last:
            self._messages.append(Behind(self._dropped_last))
            self._dropped_last = 0
        for first in range(0, len(self._rows), ROWS_PER_MESSAGE_MAX):
            self._messages.append(Rows(tuple(self._rows[first : first + ROWS_PER_MESSAGE_MAX])))
        self._rows.clear()

    def taken(self) -> list[ControlMessage]:
        """Return all messages, in order, and begin anew."""
        self._seal()
        messages, self._messages = self._messages, []
        return messages
