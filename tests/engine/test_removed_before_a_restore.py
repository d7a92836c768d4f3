"""What the simulator lets come back that was removed and forgotten: what all who may change it were set back to (R11, R12)."""

import pytest

from csfs.core.paths import RelPath
from scripts.simulation.cluster import Cluster
from scripts.simulation.dice import Dice
from scripts.simulation.faults import planted
from scripts.simulation.knowing import check_forgotten
from scripts.simulation.plan import Act, Action, Plan, Setup

A = RelPath(b"a")
HEALS_MAX = 3
"""Within so many all have forgotten a removal."""


def set_back(*numbers: int) -> Cluster:
    """Return two members, and a third that only receives: all forgot that A was removed, and some were set back to before."""
    cluster = Cluster(Plan(0, Setup(3, ("older",), "c"), ()))
    cluster.begin()
    alpha, beta, _ = cluster.hosts
    alpha.programs.write(A)
    cluster.heal()
    for host in (alpha, beta):
        cluster._save(Action(Act.SAVE, host.number, 0, 0, 0), host, Dice(0))
    alpha.programs.remove(A)
    for _ in range(HEALS_MAX):
        cluster.heal()
    assert all(host.index.row(A) is None for host in cluster.hosts)
    for number in numbers:
        cluster._restore(Action(Act.RESTORE, number, 0, 0, 0), cluster.hosts[number], Dice(0))
    cluster.heal()
    return cluster


def test_what_all_who_may_change_it_were_set_back_to_is_what_there_is() -> None:
    run = set_back(0, 1)
    assert all(A in host.tree.nodes for host in run.hosts), "nobody who is listened to knows that it was removed"
    check_forgotten(run)


def test_what_another_one_who_may_change_it_has_forgotten_goes_again() -> None:
    run = set_back(1)
    assert not any(A in host.tree.nodes for host in run.hosts)
    check_forgotten(run)


def test_it_is_found_where_that_stays() -> None:
    with planted("stale-stays"):
        run = set_back(1)
        with pytest.raises(AssertionError, match="is back at"):
            check_forgotten(run)
