"""Records merge by a join: order, grouping and repetition do not matter."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csfs.core.records import NOTHING_KNOWN, records_joined
from csfs.core.versions import covers, includes
from tests.core import histories
from tests.core.histories import Step


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(histories.steps)
def test_join_ignores_order_grouping_and_repetition(history: list[Step]) -> None:
    a, b, c, _ = histories.records(history)
    assert records_joined(a, b) == records_joined(b, a)
    assert records_joined(a, records_joined(b, c)) == records_joined(records_joined(a, b), c)
    assert records_joined(a, a) == a
    assert records_joined(a, NOTHING_KNOWN) == a


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(histories.steps, st.permutations(range(histories.MEMBERS)))
def test_members_that_heard_all_know_the_same_whatever_the_order(history: list[Step], order: list[int]) -> None:
    known = histories.records(history)
    straight = shuffled = NOTHING_KNOWN
    for member in range(histories.MEMBERS):
        straight = records_joined(straight, known[member])
        shuffled = records_joined(shuffled, known[order[member]])
    assert straight == shuffled


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(histories.steps)
def test_a_join_has_seen_what_either_side_has_and_every_entry_of_its_own(history: list[Step]) -> None:
    a, b, _, _ = histories.records(history)
    joined = records_joined(a, b)
    for half, ours, theirs in ((joined.content, a.content, b.content), (joined.meta, a.meta, b.meta)):
        assert includes(half.seen, ours.seen)
        assert includes(half.seen, theirs.seen)
        assert all(covers(half.seen, entry.dot) for entry in half.entries)
        incarnations = [entry.dot.incarnation for entry in half.entries]
        assert len(set(incarnations)) == len(incarnations), "entries of one incarnation follow each other"


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(histories.steps)
def test_an_entry_is_lost_only_to_a_side_that_has_seen_it(history: list[Step]) -> None:
    a, b, _, _ = histories.records(history)
    both = records_joined(a, b)
    for half, one, other in ((both.content, a.content, b.content), (both.meta, a.meta, b.meta)):
        joined = {entry.dot for entry in half.entries}
        for ours, theirs in ((one, other), (other, one)):
            others = {entry.dot for entry in theirs.entries}
            for entry in ours.entries:
                is_superseded = covers(theirs.seen, entry.dot) and entry.dot not in others
                assert (entry.dot in joined) == (not is_superseded)
