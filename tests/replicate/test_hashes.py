"""Which contents need not travel: a table that forgets, and never takes one for another."""

import os

from csfs.replicate.contents import Hashes


def test_what_was_added_is_there_and_nothing_else() -> None:
    hashes = Hashes()
    first, second = os.urandom(32), os.urandom(32)
    assert first not in hashes
    hashes.add(first)
    hashes.add(first)
    assert first in hashes
    assert second not in hashes


def test_the_older_ones_are_forgotten_by_and_by() -> None:
    hashes = Hashes(count_max=1_000)
    added = [os.urandom(32) for _ in range(10_000)]
    for one in added:
        hashes.add(one)
        assert one in hashes
    known = [one in hashes for one in added]
    assert 900 <= sum(known) <= 1_000
    assert sum(known[-1_000:]) >= 550
    assert sum(known[:5_000]) <= 50
