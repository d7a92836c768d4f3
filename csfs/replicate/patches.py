"""Patches in memory, by the content that each makes: told to peers together with the record, and applied where they arrive."""

from collections import OrderedDict

from csfs.core.patches import Patch

PATCHES_SIZE_MAX = 8 * 1024 * 1024
CHAIN_MAX = 32
"""Patches that make one content of another together: who is further behind asks for blocks."""


class Patches:
    """The most recent patches, bounded in the bytes that they take."""

    def __init__(self, size_max: int = PATCHES_SIZE_MAX) -> None:
        self._size_max = size_max
        self._size = 0
        self._by_hash: OrderedDict[bytes, Patch] = OrderedDict()

    def put(self, patch: Patch) -> None:
        """Hold a patch; the last one to the same content counts."""
        self.drop(patch.hash)
        self._by_hash[patch.hash] = patch
        self._size += patch.weight
        while self._size > self._size_max:
            _, dropped = self._by_hash.popitem(last=False)
            self._size -= dropped.weight

    def get(self, content_hash: bytes) -> Patch | None:
        """Return the patch to a content."""
        return self._by_hash.get(content_hash)

    def drop(self, content_hash: bytes) -> None:
        """Forget the patch to a content: it did not lead there."""
        patch = self._by_hash.pop(content_hash, None)
        if patch is not None:
            self._size -= patch.weight

    def chain(self, base: bytes, target: bytes) -> tuple[Patch, ...]:
        """Return the patches that make `target` of `base`, in order; none if they are not all here."""
        chain: list[Patch] = []
        content_hash = target
        while content_hash != base:
            patch = self._by_hash.get(content_hash)
            if patch is None or len(chain) >= CHAIN_MAX:
                return ()
            chain.append(patch)
            content_hash = patch.base
        return tuple(reversed(chain))
