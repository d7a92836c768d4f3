"""Which links the simulator holds a member that was set back to: none in the place of what its lost life has told (R8, R17)."""

import pytest

from csfs.core.paths import RelPath
from scripts.simulation.cluster import Cluster
from scripts.simulation.dice import Dice
from scripts.simulation.equality import check_together
from scripts.simulation.plan import Act, Action, Plan, Setup

A, B, C = (RelPath(name) for name in (b"a", b"b", b"c"))


def set_back(*, is_looked_at: bool = False, is_known_to_be_stored: bool = False, is_told: bool = True) -> Cluster:
    """Return two members of which the first is set back to after it wrote B, and has linked A there since, and C to A."""
    cluster = Cluster(Plan(0, Setup(2, ("older",)), ()))
    cluster.begin()
    alpha = cluster.hosts[0]
    alpha.programs.write(B)
    if is_looked_at:
        alpha.digest(cluster.now(alpha))
    if is_known_to_be_stored:
        cluster.heal()
    cluster._save(Action(Act.SAVE, 0, 0, 0, 0), alpha, Dice(0))
    if is_told:
        cluster.heal()
    cluster._restore(Action(Act.RESTORE, 0, 0, 0, 0), alpha, Dice(0))
    alpha.programs.write(A)
    alpha.programs.hard_link(A, B)
    alpha.programs.hard_link(A, C)
    return cluster


@pytest.mark.parametrize("is_looked_at", [False, True])
def test_a_link_over_what_a_lost_life_has_told_may_lose_to_that(*, is_looked_at: bool) -> None:
    run = set_back(is_looked_at=is_looked_at)
    assert set(run.ledger.together) == {(A, C)}
    run.heal()
    for host in run.hosts:
        assert host.tree.nodes[B] is not host.tree.nodes[A], "what was told is older, and stands beside the link"
    check_together(run, set())


def test_a_link_over_what_nobody_has_heard_of_stays() -> None:
    run = set_back(is_told=False)
    assert set(run.ledger.together) == {(A, B), (A, C)}
    run.heal()
    check_together(run, set())


def test_a_link_over_what_others_are_known_to_have_stays() -> None:
    run = set_back(is_looked_at=True, is_known_to_be_stored=True)
    assert set(run.ledger.together) == {(A, B), (A, C)}
    run.heal()
    check_together(run, set())


@pytest.mark.parametrize("is_linked_since", [False, True])
@pytest.mark.parametrize("is_written_since", [False, True])
def test_what_others_write_through_a_link_of_theirs_may_lose_to_what_is_made_anew(
    *, is_linked_since: bool, is_written_since: bool
) -> None:
    run = linked_elsewhere(is_linked_since=is_linked_since, is_written_since=is_written_since)
    assert not run.ledger.are_together(B, A)
    run.heal()
    for host in run.hosts:
        assert host.tree.nodes[B] is not host.tree.nodes[A], "what is made anew is older, and a file of its own"
    check_together(run, set())


@pytest.mark.parametrize("is_linked_since", [False, True])
def test_a_link_of_others_through_which_nobody_wrote_stays(*, is_linked_since: bool) -> None:
    run = linked_elsewhere(is_linked_since=is_linked_since, is_written_since=None)
    assert run.ledger.are_together(B, A)
    run.heal()
    check_together(run, set())


def linked_elsewhere(*, is_linked_since: bool, is_written_since: bool | None) -> Cluster:
    """Return two members of which the first boots with a backup of B that it had not looked at, and the other one links A to B.

    That one writes to both, too, unless `is_written_since` is None. `since`: when the first was set back, else before.
    """
    cluster = Cluster(Plan(0, Setup(2, ("older",)), ()))
    cluster.begin()
    alpha, beta = cluster.hosts
    alpha.programs.write(B)
    cluster._save(Action(Act.SAVE, 0, 0, 0, 0), alpha, Dice(0))
    cluster.heal()
    for is_since in (False, True):
        if is_since:
            cluster._restore(Action(Act.RESTORE, 0, 0, 0, 0), alpha, Dice(0))
        if is_linked_since is is_since:
            beta.programs.hard_link(B, A)
        if is_written_since is is_since:
            beta.programs.write(B)
    return cluster
