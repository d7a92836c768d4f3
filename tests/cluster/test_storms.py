"""Everything that programs do, at both members at once."""

from typing import NamedTuple

import pytest

from scripts.support.members import Member, until
from tests.cluster.storms import Storm, expect_equal, storm

HEARTBEATS_SIZE_MAX = 220
"""Of the few heartbeats that fit between the first and the last look, 28 bytes each, and of a last word on how a member stands, 95."""
ACKNOWLEDGEMENTS_SIZE_MAX = 20_000


class Traces(NamedTuple):
    """What a change leaves at a member."""

    sent: int
    received: int
    journal: int

    @staticmethod
    def of(member: Member) -> "Traces":
        peer = member.peer()
        return Traces(peer["bytes_sent"], peer["bytes_received"], member.journal_last())


@pytest.mark.parametrize("seed", [1, 2])
def test_after_storms_at_both_members_the_trees_are_equal(etc_pair: tuple[Member, Member], seed: int) -> None:
    reports = storm(*etc_pair, seed, 700)
    expect_equal(*etc_pair, reports)


def test_after_a_storm_nothing_but_heartbeats_is_sent(etc_pair: tuple[Member, Member]) -> None:
    for member in etc_pair:
        member.wait()
    before = [Traces.of(member) for member in etc_pair]
    for member, traces in zip(etc_pair, before, strict=True):
        until(lambda m=member, t=traces: Traces.of(m).sent > t.sent, "a heartbeat is sent", 30)  # type: ignore[misc]
    for member, traces in zip(etc_pair, before, strict=True):
        now = Traces.of(member)
        assert now.sent - traces.sent <= HEARTBEATS_SIZE_MAX
        assert now.received - traces.received <= HEARTBEATS_SIZE_MAX
        assert now.journal == traces.journal


def test_of_what_arrives_nothing_is_journalled_or_made_anew_or_sent_back(etc_pair: tuple[Member, Member]) -> None:
    alpha, beta = etc_pair
    for member in etc_pair:
        member.wait()
    before, made = Traces.of(beta), beta.versions_made()
    one_side = Storm(alpha, 0, 3, 300)
    one_side.begin()
    expect_equal(alpha, beta, [one_side.finished()])
    now = Traces.of(beta)
    assert now.journal == before.journal
    assert beta.versions_made() == made
    assert now.sent - before.sent <= ACKNOWLEDGEMENTS_SIZE_MAX
