"""Extents never lose a byte that was written, and stay few."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from csfs.mount.extents import EXTENTS_MAX, Extents, merged

WRITES = st.lists(st.tuples(st.integers(0, 500), st.integers(1, 50)), max_size=40)


def bytes_of(extents: tuple[tuple[int, int], ...] | list[tuple[int, int]]) -> set[int]:
    return {position for offset, length in extents for position in range(offset, offset + length)}


@given(WRITES)
def test_what_is_told_is_what_was_written_merged_and_ascending(writes: list[tuple[int, int]]) -> None:
    extents = Extents()
    for offset, length in writes:
        extents.add(offset, length)
    told = extents.taken()
    assert bytes_of(told) == bytes_of(writes)
    assert all(first[0] + first[1] < second[0] for first, second in pairwise(told))
    assert not extents


@given(WRITES, st.integers(0, 100))
def test_merging_with_a_gap_covers_all_that_was_written(writes: list[tuple[int, int]], gap: int) -> None:
    assert bytes_of(merged(writes, gap)) >= bytes_of(writes)


def test_a_file_written_from_front_to_back_is_one_extent() -> None:
    extents = Extents()
    for offset in range(0, 100_000, 1000):
        extents.add(offset, 1000)
    assert extents.taken() == ((0, 100_000),)


def test_scattered_writes_stay_few() -> None:
    extents = Extents()
    count = 3 * EXTENTS_MAX
    for number in range(count):
        extents.add(number * 1_000_000, 10)
    told = extents.taken()
    assert len(told) <= EXTENTS_MAX
    assert told[0][0] == 0
    assert told[-1][0] + told[-1][1] == (count - 1) * 1_000_000 + 10
