"""Messages about parts of contents that are not blocks: how a content is cut where its bytes say, and any part of it."""

from typing import Annotated

import msgspec

from csfs.core.changes import Extent
from csfs.wire.control import Tagged

BLOCKS_CUT_MAX = 32
"""Blocks that are cut into segments in one go."""
SEGMENTS_PER_REQUEST_MAX = BLOCKS_CUT_MAX * 131_072 // 512
"""As many as the smallest segments make of them."""
EXTENTS_PER_REQUEST_MAX = 1_024
EXTENTS_SIZE_MAX = 1024 * 1024


class GetSegments(Tagged, frozen=True):
    """Ask how `count` blocks of a content from block `first` on are cut into segments of `average` bytes (`store.segments`)."""

    volume: str
    request: int
    hash: bytes
    first: int
    count: int
    average: int


class Segments(Tagged, frozen=True):
    """The sizes of the segments, and what names them, `SEGMENT_DIGEST_SIZE` bytes each, concatenated."""

    request: int
    sizes: Annotated[tuple[int, ...], msgspec.Meta(max_length=SEGMENTS_PER_REQUEST_MAX)]
    digests: bytes


class GetExtents(Tagged, frozen=True):
    """Ask for parts of a content, of at most `EXTENTS_SIZE_MAX` bytes together, in as many blocks as can be cut in one go."""

    volume: str
    request: int
    hash: bytes
    extents: Annotated[tuple[Extent, ...], msgspec.Meta(min_length=1, max_length=EXTENTS_PER_REQUEST_MAX)]


class Extents(Tagged, frozen=True):
    """The parts asked for, in that order."""

    request: int
    parts: tuple[bytes, ...]
