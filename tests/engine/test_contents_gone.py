"""Which contents the simulator takes for gone, so that members need not agree on what is shown in their place (R21)."""

import pytest

from csfs.core.paths import RelPath
from scripts.simulation.checks import contents_gone
from scripts.simulation.cluster import Cluster
from scripts.simulation.equality import check_equal
from scripts.simulation.plan import Plan, Setup
from scripts.simulation.rules import parted

PATH = RelPath(b"a")


def cluster(*, is_parted: bool) -> Cluster:
    """Return three members, the first of which has told of a content, replaced it, and may have left the group after that."""
    run = Cluster(Plan(0, Setup(3, ("younger",), private=True), ()))
    run.begin()
    alpha = run.hosts[0]
    alpha.programs.write(PATH)
    alpha.digest(run.now(alpha))
    alpha.programs.write(PATH)
    run.tell_all(run.links[0, 1])
    if is_parted:
        run.shape = parted(run.shape, alpha.name)
    run.heal()
    return run


def test_what_was_replaced_by_who_left_is_gone() -> None:
    run = cluster(is_parted=True)
    assert run.hosts[1].index.pending() == [PATH]
    assert contents_gone(run) == {PATH}


@pytest.mark.parametrize("is_replaced", [False, True])
def test_what_was_replaced_by_who_is_listened_to_or_not_at_all_is_not(is_replaced: bool) -> None:
    run = cluster(is_parted=True)
    if is_replaced:
        run.ledger.writers = dict.fromkeys(run.ledger.writers, run.hosts[1].name)
    else:
        run.ledger.replaced.clear()
    assert contents_gone(run) == set()


def test_who_stays_tells_what_took_its_place() -> None:
    run = cluster(is_parted=False)
    assert not contents_gone(run)
    assert not any(host.index.pending() for host in run.hosts)
    check_equal(run, set())
