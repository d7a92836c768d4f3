"""What the simulator lets members open to others: what was done in a life that was lost is for its member what another member does."""

import pytest

from csfs.core.paths import RelPath
from scripts.simulation.cluster import Cluster
from scripts.simulation.dice import Dice
from scripts.simulation.granting import check_owners
from scripts.simulation.host import Host
from scripts.simulation.persons import NEWCOMER, take_account
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


@pytest.mark.parametrize("is_seen", [True, False])
def test_a_right_lost_before_an_account_goes_is_lost_if_anybody_has_looked(is_seen: bool) -> None:
    cluster = Cluster(Plan(0, Setup(2, ("younger",)), ()))
    cluster.begin()
    first, second = cluster.hosts
    first.programs.paths = [PATH]
    does(first, "write")
    number, name = NEWCOMER
    first.tree.grant(first.tree.nodes[PATH], first.tree.number_of(name, number), 4)
    cluster.heal()
    node = second.tree.nodes[PATH]
    assert node.rights_meant == {name: 4}
    second.tree.names[number] = second.tree.names_ever[number] = name
    for _ in range(2):  # rights that he has are taken away
        second.tree.grant(node, number, 4)
        second.tree.changed(node)
        second.programs.look(PATH)
        if is_seen:
            second.digest(cluster.now(second))
    assert node.rights_meant == {}
    take_account(second, number)
    assert node.unsure != is_seen
    cluster.heal()
    assert [bool(host.tree.nodes[PATH].rights_meant) for host in cluster.hosts] == [not is_seen, False]
    check_owners(cluster)
