"""A member that joins waits for who may know more than it does, and for nobody else."""

from csfs.core.groups import Group
from csfs.core.versions import Scope
from csfs.engine.hearing import Hearing

ONE, OTHER = Scope(b"one"), Scope(b"other")


def group(scope: Scope, *members: str, receive_only: tuple[str, ...] = ()) -> Group:
    return Group(members, frozenset(receive_only), ("younger",), scope)


def test_one_who_does_not_join_is_enough_for_a_group() -> None:
    groups = [group(ONE, "alpha", "beta", "gamma")]
    hearing = Hearing()
    assert not hearing.is_complete(groups, "gamma")
    hearing.told(ONE, "beta", joins=True)
    assert not hearing.is_complete(groups, "gamma"), "alpha may know what beta does not"
    hearing.told(ONE, "alpha", joins=False)
    assert hearing.is_complete(groups, "gamma")


def test_who_all_join_do_not_wait_for_each_other() -> None:
    groups = [group(ONE, "beta", "gamma", "delta"), group(OTHER, "alpha", "beta", "gamma", "delta")]
    hearing = Hearing()
    hearing.told(OTHER, "alpha", joins=False)
    hearing.told(ONE, "gamma", joins=True)
    assert not hearing.is_complete(groups, "beta"), "delta may be no new member, and has said nothing yet"
    hearing.told(ONE, "delta", joins=True)
    assert hearing.is_complete(groups, "beta")


def test_nobody_waits_in_a_group_of_his_own_or_of_which_he_is_none() -> None:
    groups = [group(ONE, "beta", "gamma", receive_only=("gamma",)), group(OTHER, "alpha", "gamma")]
    assert Hearing().is_complete(groups, "beta")
    assert not Hearing().is_complete(groups, "gamma")
