"""Contents cut where their own bytes say (FastCDC), so that what was put in or taken out somewhere moves no end behind it.

A segment is named by the beginning of its hash: what is put together of segments is verified block by block, whatever they were
taken for.
"""

import os
from collections.abc import Iterator

from blake3 import blake3
from pyfastcdc import FastCDC

from csfs.core.tables import SEGMENT_DIGEST_SIZE

AVERAGE_MIN = 2 * 1024
AVERAGE_MAX = 64 * 1024
SEGMENTS_MAX = 65_536
"""What is held of one file: some 10 MiB."""
SEGMENTED_SIZE_MAX = SEGMENTS_MAX * AVERAGE_MAX
"""Larger contents are not cut: 4 GiB."""
_READ_SIZE = 4 * 1024 * 1024

Segment = tuple[int, bytes]
"""Its size, and the beginning of its hash."""


def average_of(size: int) -> int:
    """Return how large the segments of a content of `size` bytes are on average, a power of two; 0: it is not cut."""
    average = AVERAGE_MIN
    while average < AVERAGE_MAX and average * SEGMENTS_MAX // 2 < size:
        average *= 2
    return average if size <= SEGMENTED_SIZE_MAX else 0


def is_average(average: int) -> bool:
    """Return whether anybody would ask for segments of that size."""
    return AVERAGE_MIN <= average <= AVERAGE_MAX and average.bit_count() == 1


def cut(data: bytes, average: int) -> list[Segment]:
    """Return the segments of `data`, in order; the first begins and the last ends where `data` does."""
    return list(_cut(memoryview(data), average))


def _cut(data: memoryview, average: int) -> Iterator[Segment]:
    for found in FastCDC(average, min_size=average // 4, max_size=average * 4).cut_buf(data):
        part = data[found.offset : found.offset + found.length]
        yield found.length, blake3(part).digest(SEGMENT_DIGEST_SIZE)


def segments_of(descriptor: int, size: int, average: int) -> dict[Segment, int]:
    """Return where the segments of the first `size` bytes of a file are; for a thread: reads all of it, a little at a time."""
    found: dict[Segment, int] = {}
    offset = 0
    while data := os.pread(descriptor, min(_READ_SIZE, size - offset), offset):
        segments = cut(data, average)
        if offset + len(data) < size and len(segments) > 1:
            segments.pop()  # it may go on in what is read next
        for segment in segments:
            if len(found) < SEGMENTS_MAX * 2:
                found.setdefault(segment, offset)
            offset += segment[0]
    return found
