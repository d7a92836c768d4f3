"""Contents by hash in memory: what was just read here or has just arrived, so that small files are read once."""

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
    """The most recent hashes of contents that peers are likely to have under another name: they need not travel."""

    def __init__(self, count_max: int = 20_000) -> None:
        self._count_max = count_max
        self._hashes: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, content_hash: bytes) -> bool:
        return content_hash in self._hashes

    def add(self, content_hash: bytes) -> None:
        """Remember a hash, and forget the oldest."""
        self._hashes[content_hash] = None
        if len(self._hashes) > self._count_max:
            self._hashes.popitem(last=False)
