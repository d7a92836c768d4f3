"""Short bytes by number, for a million of them: a dict of objects would cost several times what they say.

Numbers that lie close together, as those of inodes made together do, share one object of sixteen: first the size of each, then their
bytes one after the other. Looking one up or changing it copies a few hundred bytes.
"""

_BITS = 4
_COUNT = 1 << _BITS
_EMPTY = bytes(_COUNT)
_SIZE_MAX = 255


class Pages:
    """A mapping from numbers to bytes that are not empty."""

    def __init__(self) -> None:
        self._pages: dict[int, bytes] = {}
        self._large: dict[int, bytes] = {}
        """Those that are too long for a page."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def pop(self, number: int) -> bytes | None:
        """Take out what is kept for `number`, None if nothing is."""
        page = self._pages.get(number >> _BITS)
        slot = number & (_COUNT - 1)
        if page is None or not page[slot]:
            large = self._large.pop(number, None)
            self._count -= large is not None
            return large
        start = _COUNT + sum(page[:slot])
        end = start + page[slot]
        self._count -= 1
        if len(page) - _COUNT == end - start:
            del self._pages[number >> _BITS]
        else:
            self._pages[number >> _BITS] = page[:slot] + b"\0" + page[slot + 1 : start] + page[end:]
        return page[start:end]

    def put(self, number: int, value: bytes) -> None:
        """Keep `value` for `number`, of which nothing is kept so far."""
        self._count += 1
        if len(value) > _SIZE_MAX:
            self._large[number] = value
            return
        page = self._pages.get(number >> _BITS, _EMPTY)
        slot = number & (_COUNT - 1)
        start = _COUNT + sum(page[:slot])
        size = bytes((len(value),))
        self._pages[number >> _BITS] = page[:slot] + size + page[slot + 1 : start] + value + page[start:]
