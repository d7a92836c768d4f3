"""What the simulator lets members open to others: what was done in a life that was lost is for its member what another member does."""

import pytest

from csfs.core.paths import RelPath
from scripts.simulation.cluster import Cluster
from scripts.simulation.dice import Dice
from scripts.simulation.host import Host
from scripts.simulation.plan import Plan, Setup
from scripts.simulation.saving import restore, saved

PATH = RelPath(b"a")


def host() -> Host:
    """Return a member that has written a file for all, and then closed it."""
    cluster = Cluster(Plan(0, Setup(2, ("younger",)), ()))
    cluster.begin()
    host = cluster.hosts[0]
    host.programs.paths = [PATH]
    does(host, "write", "secret")
    return host


def does(host: Host, *operations: str) -> None:
    for operation in operations:
        host.programs.step(operation, Dice(1), 1_000_000)


def allowed(host: Host) -> int:
    """Write a secret; return what group and others may do with it."""
    does(host, "secret")
    return host.ledger.allowed(host.tree.nodes[PATH].data, PATH)


@pytest.mark.parametrize(("opens", "is_set_back", "bits"), [(False, True, 0), (True, False, 0), (True, True, 0o044)])
def test_what_was_opened_in_a_life_that_is_lost_may_be_open(opens: bool, is_set_back: bool, bits: int) -> None:
    member = host()
    backup = saved(member)
    if opens:
        does(member, "save")
    if is_set_back:
        restore(member, backup, booting=True)
    assert allowed(member) == bits


def test_a_clone_that_is_back_remembers_what_it_opened_itself() -> None:
    member = host()
    clone = saved(member)
    does(member, "save")
    first = saved(member)
    restore(member, clone, booting=False)
    does(member, "write")
    restore(member, first, booting=False)
    assert allowed(member) == 0
