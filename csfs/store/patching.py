"""A content made of the one that is live and of what was written to it: the rest is neither read nor verified again.

What the file held before is known by its stamp and its table: only blocks that a patch touches are hashed, and the root says whether
all of it is what was wanted.
"""

import os

import msgspec

from csfs.core.changes import Extent
from csfs.core.extents import merged
from csfs.core.objects import Observation
from csfs.core.patches import Patch
from csfs.core.paths import RelPath
from csfs.core.records import Content
from csfs.core.tables import BlockTable
from csfs.errors import ContentMismatchError
from csfs.store.attributes import stamp_of
from csfs.store.blocks import rehash
from csfs.store.copying import copy_content, write_sparse


class FromPatches(msgspec.Struct, frozen=True):
    """The content is that of the live file at `path` with `patches` applied in order.

    `base` is what the file showed last, `table` its table, of which the pages that patches touch are at hand; None of one block.
    """

    path: RelPath
    base: Observation
    table: BlockTable | None
    patches: tuple[Patch, ...]


def extents_of(base_size: int, patches: tuple[Patch, ...]) -> list[Extent]:
    """Return all that patches change of a content of `base_size` bytes, in order and merged; also what was cut off and is zeros now."""
    sizes = [base_size, *(patch.size for patch in patches)]
    extents = [(offset, len(data)) for patch in patches for offset, data in patch.pieces]
    if min(sizes) < max(sizes):
        extents.append((min(sizes), max(sizes) - min(sizes)))
    return merged(extents)


def patch_copy(existing: int, descriptor: int, content: Content, source: FromPatches) -> BlockTable | None:
    """Make the empty file `descriptor` a copy of `existing` (shared blocks where the file system can) and patch it; return its table.

    Raises:
        ContentMismatchError: the file is not what it was, or the patches do not make the content.
    """
    # Behind the least size there is nothing of the old content left.
    copy_content(existing, descriptor, min(source.base.size, *(patch.size for patch in source.patches)))
    for patch in source.patches:
        for offset, data in patch.pieces:
            write_sparse(descriptor, offset, data)
        os.ftruncate(descriptor, patch.size)
    root, table = rehash(descriptor, content.size, source.table, extents_of(source.base.size, source.patches))
    # Copies of a file that is being written can be torn: its stamp says whether it was.
    if root != content.hash or stamp_of(os.fstat(existing)) != source.base.stamp:
        raise ContentMismatchError(f"what was written does not make content {content.hash.hex()[:16]} of what is here")
    return table


def patched(data: bytes, patches: tuple[Patch, ...]) -> bytes:
    """Return a content with patches applied to it in order."""
    content = bytearray(data)
    for patch in patches:
        content += bytes(max(0, patch.size - len(content)))
        for offset, piece in patch.pieces:
            content[offset : offset + len(piece)] = piece
        del content[patch.size :]
    return bytes(content)
