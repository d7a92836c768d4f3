"""What the simulator lets users destroy where nobody listens to them: the last copy of what its author has lost (R8, R9)."""

from dataclasses import replace

import pytest

from csfs.core.paths import RelPath
from scripts.simulation.cluster import Cluster
from scripts.simulation.dice import Dice
from scripts.simulation.plan import Act, Action, Plan, Setup

PATH = RelPath(b"a")


def cluster(*, is_set_back: bool = True) -> Cluster:
    """Return three members that have what the first wrote, unless it `is_set_back` to before that."""
    cluster = Cluster(Plan(0, Setup(3, ("younger",)), ()))
    cluster.begin()
    alpha = cluster.hosts[0]
    cluster._save(Action(Act.SAVE, 0, 0, 0, 0), alpha, Dice(0))
    alpha.programs.write(PATH)
    cluster.heal()
    if is_set_back:
        cluster._restore(Action(Act.RESTORE, 0, 0, 0, 0), alpha, Dice(0))
    return cluster


def receives(cluster: Cluster, *numbers: int) -> None:
    """Have these members follow rules by which they only receive, which the others have not heard of."""
    names = tuple(cluster.hosts[number].name for number in numbers)
    for number in numbers:
        host = cluster.hosts[number]
        host.adopt(replace(cluster.shape, receive_only=names).compiled(host.name))


def is_replaced(cluster: Cluster) -> bool:
    """Return whether the first content that was written need not be anywhere any more."""
    return next(iter(cluster.ledger.written)) in cluster.ledger.replaced


def test_the_last_copy_may_be_destroyed_where_nobody_listens() -> None:
    run = cluster()
    receives(run, 1, 2)
    run.hosts[1].programs.write(PATH)
    assert not is_replaced(run)
    run.hosts[2].programs.write(PATH)
    assert is_replaced(run)


@pytest.mark.parametrize("receiving", [(1,), (1, 2)])
def test_what_its_author_or_who_is_listened_to_ought_to_have_may_not_be_lost(receiving: tuple[int, ...]) -> None:
    run = cluster(is_set_back=receiving == (1,))
    receives(run, *receiving)
    for other in (0, 2):
        run.hosts[other].tree.nodes.pop(PATH, None)  # a bug
    run.hosts[1].programs.write(PATH)
    assert not is_replaced(run)
