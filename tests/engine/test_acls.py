"""Rights by ACLs at a member that does not know everybody who is named."""

import msgspec
import pytest

from csfs.core.acls import ACCESS_ACL, USER, Entry, packed
from csfs.core.objects import Observation
from csfs.core.paths import RelPath
from csfs.core.policies import is_meta_conflict
from csfs.core.rows import Plan, Step
from csfs.engine.plans import is_carried_out
from tests.engine.members import NOW_NS, Side, found, sides

F = b"f"
PATH = RelPath(F)


def acl(*entries: Entry, mask: int = 6) -> tuple[tuple[bytes, bytes], ...]:
    nobody = 0xFFFFFFFF
    base = (Entry(0x01, 6, nobody), Entry(0x04, 4, nobody), Entry(0x10, mask, nobody), Entry(0x20, 4, nobody))
    return ((ACCESS_ACL, packed((*base, *entries))),)


def user(name: str, number: int, permissions: int = 6) -> Entry:
    return Entry(USER, permissions, number, name)


BOTH = acl(user("bob", 1005), user("carol", 1006))
CAROL = acl(user("carol", 1005))


def shared(**fields: object) -> tuple[Side, Side]:
    """Two members with a file; at the second one nobody is called bob, and carol has his number."""
    alpha, beta = sides("alpha", "beta")
    alpha.sees(F, found(b"one", xattrs=BOTH, **fields))
    beta.hears(alpha)
    beta.shows(F, found(b"one", xattrs=CAROL, **fields))
    assert beta.plans(F) is None
    return alpha, beta


def xattrs_of(side: Side) -> tuple[tuple[bytes, bytes], ...]:
    (entry,) = side.row(F).record.meta.entries
    return entry.value.xattrs


def attributes(beta: Side) -> Plan:
    plan = beta.engine.plan(PATH, undressed=True)
    assert plan is not None
    assert plan.step is Step.ATTRIBUTES
    return plan


def test_a_list_that_leaves_somebody_out_stands_for_the_whole_one() -> None:
    alpha, beta = shared()
    assert not beta.sees(F, found(b"one", xattrs=CAROL))
    beta.sees(F, found(b"two", xattrs=CAROL))
    alpha.hears(beta)
    assert xattrs_of(alpha) == BOTH
    plan = alpha.plans(F)
    assert plan is not None
    assert plan.meta is not None
    assert plan.meta.xattrs == BOTH


def test_a_chmod_there_changes_the_mask_and_nobody_loses_his_right() -> None:
    alpha, beta = shared()
    beta.sees(F, found(b"one", mode=0o604, xattrs=acl(user("carol", 1005), mask=0)))
    alpha.hears(beta)
    assert xattrs_of(alpha) == acl(user("bob", 1005), user("carol", 1006), mask=0)


def test_a_right_that_is_taken_away_there_is_taken_away() -> None:
    alpha, beta = shared()
    beta.sees(F, found(b"one", xattrs=acl()))
    alpha.hears(beta)
    assert xattrs_of(alpha) == acl(user("bob", 1005))


def test_where_all_lists_go_everybody_loses_his_rights() -> None:
    alpha, beta = shared()
    beta.sees(F, found(b"one"))
    alpha.hears(beta)
    assert xattrs_of(alpha) == ()


def test_another_name_for_the_same_number_is_no_change() -> None:
    alpha, beta = shared()
    assert not beta.sees(F, found(b"one", xattrs=acl(user("carla", 1005))))
    assert not beta.sees(F, found(b"one", xattrs=acl(Entry(USER, 6, 1005))))
    assert not alpha.sees(F, found(b"one", xattrs=acl(Entry(USER, 6, 1005), Entry(USER, 6, 1006))))


def test_members_that_give_the_same_names_rights_say_the_same() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(F, found(b"one", xattrs=BOTH))
    beta.sees(F, found(b"one", xattrs=acl(user("bob", 7), user("carol", 8))))
    beta.hears(alpha)
    assert len(beta.row(F).record.meta.entries) == 2
    assert not is_meta_conflict(beta.row(F).record.meta.entries)


def test_what_a_kill_left_unrecorded_is_no_change_of_this_member() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(F, found(b"one", xattrs=BOTH))
    beta.hears(alpha)
    plan = beta.plans(F)
    assert plan is not None
    assert is_carried_out(plan, found(b"one", xattrs=CAROL))
    assert is_carried_out(plan, found(b"one", xattrs=acl()))
    assert not is_carried_out(plan, found(b"one", xattrs=acl(user("dave", 1007))))
    assert not is_carried_out(plan, found(b"one", xattrs=acl(user("carol", 1005, 7))))
    assert not is_carried_out(plan, found(b"one", xattrs=acl(user("carol", 1005), mask=7)))


def test_attributes_that_were_being_set_are_completed_whoever_is_unknown() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(F, found(b"one"))
    beta.hears(alpha)
    beta.shows(F, found(b"one"))
    alpha.sees(F, found(b"one", mtime_ns=9, xattrs=BOTH))
    beta.hears(alpha)
    plan = beta.plans(F)
    assert plan is not None
    assert beta.engine.interrupted(plan, found(b"one", xattrs=CAROL))
    assert not beta.sees(F, found(b"one", xattrs=CAROL))
    assert attributes(beta).meta == plan.meta


def test_who_comes_to_be_known_is_shown_and_nothing_is_made() -> None:
    alpha, beta = shared()
    known: Observation = found(b"one", xattrs=acl(user("bob", 2000), user("carol", 1005)))
    beta.engine.applied(attributes(beta), known)
    assert beta.row(F).applied.meta is None
    assert not beta.sees(F, known)
    assert beta.counter() == 0
    assert beta.plans(F) is None
    alpha.hears(beta)
    assert xattrs_of(beta) == xattrs_of(alpha) == BOTH


def test_nothing_is_dressed_that_is_not_there() -> None:
    alpha, beta = shared()
    alpha.sees(F, None)
    beta.hears(alpha)
    plan = beta.engine.plan(PATH, undressed=True)
    assert plan is not None
    assert plan.step is Step.REMOVE
    beta.engine.applied(plan, None)
    assert beta.engine.plan(PATH, undressed=True) is None


def test_a_file_that_is_renamed_there_keeps_whom_it_leaves_out() -> None:
    alpha, beta = shared()
    here = msgspec.structs.replace(found(b"one", xattrs=CAROL), links=1)
    beta.engine.observe(PATH, None, NOW_NS, moved_to=RelPath(b"g"))
    beta.engine.observe(RelPath(b"g"), here, NOW_NS, moved_from=PATH)
    alpha.hears(beta)
    (entry,) = alpha.row(b"g").record.meta.entries
    assert entry.value.xattrs == BOTH


def test_a_mask_that_a_mode_set_before_a_kill_has_moved_is_nobody_s_change() -> None:
    alpha, beta = shared(mode=0o664)
    alpha.sees(F, found(b"one", mode=0o644, xattrs=acl(user("bob", 1005), mask=4)))
    beta.hears(alpha)
    plan = beta.plans(F)
    assert plan is not None
    assert plan.step is Step.ATTRIBUTES
    half_set = found(b"one", mode=0o644, xattrs=acl(user("carol", 1005), mask=4))
    assert beta.engine.interrupted(plan, half_set)
    assert not beta.sees(F, half_set), "carol is to lose her right"
    assert attributes(beta).meta == plan.meta


def test_a_mask_that_somebody_moved_after_a_kill_is_his_change() -> None:
    alpha, beta = shared(mode=0o664)
    alpha.sees(F, found(b"one", mode=0o664, xattrs=acl(user("bob", 1005))))
    beta.hears(alpha)
    plan = beta.plans(F)
    assert plan is not None
    assert plan.step is Step.ATTRIBUTES
    changed = found(b"one", mode=0o604, xattrs=acl(user("carol", 1005), mask=0))
    beta.engine.interrupted(plan, changed)
    assert beta.sees(F, changed)


@pytest.mark.parametrize("is_moved", [False, True])
@pytest.mark.parametrize("is_looked_at", [False, True])
def test_whom_a_host_has_no_name_for_at_the_moment_keeps_the_one_that_he_had(
    is_looked_at: bool, is_moved: bool
) -> None:
    (alpha,) = sides("alpha")
    alpha.sees(F, found(b"one", uid=1005, owner="bob", xattrs=acl(user("bob", 1005), user("carol", 1006))))
    nameless = (Entry(USER, 6, 1005), Entry(USER, 6, 1006))
    if is_looked_at:
        assert not alpha.sees(F, found(b"one", uid=1005, owner="", xattrs=acl(*nameless)))
    path = b"g" if is_moved else F
    changed = found(b"one", uid=1005, owner="", mode=0o604, xattrs=acl(*nameless, mask=0))
    alpha.sees(path, changed, moved_from=PATH if is_moved else None)
    (entry,) = alpha.row(path).record.meta.entries
    assert entry.value.owner == "bob"
    assert entry.value.xattrs == acl(user("bob", 1005), user("carol", 1006), mask=0)


def test_whose_account_goes_before_anybody_looks_is_his_number() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(F, found(b"one"))
    alpha.sees(F, found(b"one", xattrs=acl(Entry(USER, 6, 1005))))
    (entry,) = alpha.row(F).record.meta.entries
    assert entry.value.xattrs == acl(Entry(USER, 6, 1005))


def test_who_is_left_out_of_what_a_receiver_has_replaced_gets_no_rights_to_what_came_there() -> None:
    alpha, beta = sides("alpha", "beta", receive_only=("beta",))
    bobs, carols = acl(user("bob", 1005)), acl(user("carol", 1006))
    alpha.sees(F, found(b"one", xattrs=bobs))
    alpha.sees(b"g", found(b"two", xattrs=carols))
    beta.hears(alpha)
    beta.shows(F, found(b"one", xattrs=acl(), inode=5))
    two = found(b"two", xattrs=carols, inode=6)
    beta.shows(b"g", two)
    beta.sees(F, two, moved_from=RelPath(b"g"))
    meta = beta.row(F).applied.meta
    assert meta is None or meta.xattrs == carols
    assert beta.row(F).applied.meta_dot is None
    assert beta.plans(F) is not None, "what alpha has there comes back"
