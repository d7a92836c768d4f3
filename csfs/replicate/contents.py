"""Contents by hash in memory: what was just read here or has just arrived, so that small files are read once."""

from array import array
from collections import OrderedDict

CONTENTS_SIZE_MAX = 16 * 1024 * 1024
ENTRY_SIZE = 250
"""What an entry takes beside its bytes, about."""


class Contents:
    """The most recent contents, bounded in the bytes that they take; what falls out is read from disk, or asked for, again."""

    def __init__(self, size_max: int = CONTENTS_SIZE_MAX) -> None:
        self._size_max = size_max
        self.size = 0
        """What is held takes about so many bytes."""
        self.put_count = 0
        """How often something was put, ever."""
        self._by_hash: OrderedDict[bytes, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_hash)

    def put(self, content_hash: bytes, data: bytes) -> None:
        """Hold `data`, which must have that hash."""
        if content_hash in self._by_hash or len(data) > self._size_max:
            return
        self._by_hash[content_hash] = data
        self.put_count += 1
        self.size += len(data) + ENTRY_SIZE
        while self.size > self._size_max:
            _, dropped = self._by_hash.popitem(last=False)
            self.size -= len(dropped) + ENTRY_SIZE

    def get(self, content_hash: bytes) -> bytes | None:
        """Return the content if it is still held."""
        return self._by_hash.get(content_hash)

    def drop(self, content_hash: bytes) -> None:
        """Let go of a content that was used."""
        data = self._by_hash.pop(content_hash, None)
        if data is not None:
            self.size -= len(data) + ENTRY_SIZE

    def clear(self) -> None:
        """Let go of all."""
        self._by_hash.clear()
        self.size = 0


class Hashes:
    """Hashes of contents that peers are likely to have under another name: they need not travel.

    Each has one place, which the next one with the same place takes over: that is how the older ones are forgotten. A table of
    numbers takes a tenth of what as many objects would.
    """

    def __init__(self, count_max: int = 16_384) -> None:
        self._count_max = count_max
        self._places = array("Q")

    def __contains__(self, content_hash: bytes) -> bool:
        number = _number(content_hash)
        return bool(self._places) and self._places[number % self._count_max] == number

    def add(self, content_hash: bytes) -> None:
        """Remember a hash."""
        if not self._places:
            self._places = array("Q", bytes(self._places.itemsize * self._count_max))
        number = _number(content_hash)
        self._places[number % self._count_max] = number


def _number(content_hash: bytes) -> int:
    """Return what a hash is known by: chance makes no two alike, and who makes two alike has a content travel a little later."""
    return int.from_bytes(content_hash[:8], "little")
