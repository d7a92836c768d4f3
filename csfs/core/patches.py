"""Patches: what was written to a content, for whoever has the content that it was written to."""

import msgspec

from csfs.core.changes import Piece
from csfs.core.tables import HASH_SIZE
from csfs.core.versions import Dot

PATCH_SIZE_MAX = 256 * 1024
"""More than that is found block by block."""
PIECES_MAX = 4_096
_SIZE_MAX = 2**63 - 1
"""No file is larger."""


class Patch(msgspec.Struct, frozen=True, array_like=True):
    """Makes of the content `base` the one of `size` bytes that `hash` names: `pieces` ascending, without overlap.

    `base_dot` is the change that made `base` live: whoever knows it is likely to have it.
    """

    hash: bytes
    size: int
    base: bytes
    base_dot: Dot
    pieces: tuple[Piece, ...]

    @property
    def weight(self) -> int:
        """How many bytes it takes, about."""
        return 200 + sum(len(data) + 16 for _, data in self.pieces)

    @property
    def is_sound(self) -> bool:
        """Whether it can be applied at all: a peer may say anything."""
        if len(self.pieces) > PIECES_MAX or self.weight > 2 * PATCH_SIZE_MAX:
            return False
        if len(self.hash) != HASH_SIZE or len(self.base) != HASH_SIZE or self.size > _SIZE_MAX:
            return False
        end = 0
        for offset, data in self.pieces:
            if offset < end or not data:
                return False
            end = offset + len(data)
        return end <= self.size
