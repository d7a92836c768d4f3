"""Everything that programs do, at both members at once."""

import pytest

from scripts.support.members import Member
from tests.cluster.storms import expect_equal, storm


@pytest.mark.parametrize("seed", [1, 2])
def test_after_storms_at_both_members_the_trees_are_equal(etc_pair: tuple[Member, Member], seed: int) -> None:
    reports = storm(*etc_pair, seed, 1_200)
    expect_equal(*etc_pair, reports)
