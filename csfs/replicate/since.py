"""The oldest row that wants each path looked at: the journal is digested up to the oldest of all."""

import heapq

from csfs.core.paths import RelPath


class Since:
    """Rows by path, in whatever order they come to be wanted for."""

    def __init__(self) -> None:
        self._rows: dict[RelPath, int] = {}
        self._ascending: list[tuple[int, RelPath]] = []
        """A heap of these, and of some that were dropped."""

    def note(self, path: RelPath, sequence: int) -> None:
        """A row wants a path looked at, perhaps after an older one that does."""
        if sequence < self._rows.get(path, sequence + 1):
            self._rows[path] = sequence
            heapq.heappush(self._ascending, (sequence, path))

    def drop(self, path: RelPath) -> None:
        """No row that was taken in wants a path looked at any more."""
        self._rows.pop(path, None)

    def clear(self) -> None:
        """No row wants anything any more."""
        self._rows.clear()
        self._ascending.clear()

    def of(self, path: RelPath) -> int | None:
        """Return the oldest row that wants a path looked at."""
        return self._rows.get(path)

    @property
    def oldest(self) -> int | None:
        """The oldest row of all, None if there is none."""
        while self._ascending:
            sequence, path = self._ascending[0]
            if self._rows.get(path) == sequence:
                return sequence
            heapq.heappop(self._ascending)
        return None
