"""Cutting contents where their own bytes say: what is put in moves no end behind it, and all of it is cut."""

import os
import random
from pathlib import Path

import pytest

from csfs.store import segments
from csfs.store.segments import AVERAGE_MAX, AVERAGE_MIN, SEGMENTED_SIZE_MAX, average_of, cut, is_average, segments_of

MIB = 1024 * 1024


def test_segments_make_the_whole() -> None:
    data = random.Random(1).randbytes(MIB)
    for average in (AVERAGE_MIN, AVERAGE_MAX):
        sizes = [size for size, _ in cut(data, average)]
        assert sum(sizes) == len(data)
        assert max(sizes) <= 4 * average
        assert min(sizes[:-1]) >= average // 4
    assert cut(b"", AVERAGE_MIN) == []
    assert [size for size, _ in cut(b"a", AVERAGE_MIN)] == [1]


def test_what_is_put_in_leaves_most_segments_as_they_were() -> None:
    data = random.Random(2).randbytes(4 * MIB)
    changed = bytearray(data)
    for at in range(3 * MIB, 0, -MIB // 4):
        changed[at:at] = b"something new"
    before, after = set(cut(data, AVERAGE_MIN)), cut(bytes(changed), AVERAGE_MIN)
    assert sum(size for size, name in after if (size, name) not in before) < 12 * 6 * AVERAGE_MIN


def test_segments_of_a_file_do_not_depend_on_how_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random.Random(3).randbytes(MIB)
    (tmp_path / "file").write_bytes(data + b"behind what counts")
    expected, at = {}, 0
    for segment in cut(data, AVERAGE_MIN):
        expected[segment] = at
        at += segment[0]
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    for size in (64 * 1024, 100_003, 16 * MIB):
        monkeypatch.setattr(segments, "_READ_SIZE", size)
        assert segments_of(descriptor, len(data), AVERAGE_MIN) == expected
    os.truncate(tmp_path / "file", MIB // 2)
    assert sum(size for size, _ in segments_of(descriptor, len(data), AVERAGE_MIN)) == MIB // 2
    os.close(descriptor)


def test_the_number_of_segments_is_bounded_whatever_the_size() -> None:
    averages = [average_of(size) for size in (1, MIB, 64 * MIB, 65 * MIB, 1024 * MIB, SEGMENTED_SIZE_MAX)]
    assert averages == [2048, 2048, 2048, 4096, 32768, 65536]
    assert all(map(is_average, averages))
    assert not any(map(is_average, (0, -2048, 1024, 3000, 2 * AVERAGE_MAX)))
    assert average_of(SEGMENTED_SIZE_MAX + 1) == 0
