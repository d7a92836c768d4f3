"""What a program does to an edit under its old name, before it is shown at the new one, counts as done before it followed (R15)."""

import pytest

from csfs.core.objects import Observation
from csfs.core.paths import RelPath
from csfs.core.versions import Incarnation
from csfs.engine.ports import Step
from csfs.engine.volume import VolumeEngine
from scripts.simulation.tree import hash_of
from tests.engine.members import NOW_NS, Side, directory, found
from tests.engine.test_following import A, B, C, edits, is_at, renames, together
from tests.engine.test_links import linked

ONE, EDITED = hash_of(b"one"), hash_of(b"edited")


def followed(*names: str, policy: tuple[str, ...] = ("younger",)) -> list[Side]:
    """Return members of which the second has edited what the first has renamed, and taken it along, and shows it at `a` still."""
    members = together(*(names or ("alpha", "beta")), policy=policy)
    alpha, beta, *_ = members
    edits(beta, A)
    renames(alpha, A, B)
    beta.hears(alpha)
    assert is_at(beta, B, b"edited")
    return members


def removes(side: Side, path: RelPath, moved_to: RelPath | None = None) -> None:
    """Take away what is at a path, and look."""
    side.sees(path, None, moved_to=moved_to)
    side.engine.follow((path,), NOW_NS, side.is_unseen)


def hashes(side: Side, path: RelPath) -> set[bytes]:
    """Return the contents that stand at a path."""
    return {entry.value.hash for entry in side.row(path).record.content.entries}


def test_what_was_edited_and_removed_under_the_old_name_leaves_the_new_one_as_the_mover_made_it() -> None:
    alpha, beta = followed()
    removes(beta, A)
    assert B in beta.engine.woken()
    assert (hashes(beta, B), is_at(beta, A, None)) == ({ONE}, True)
    alpha.hears(beta)
    assert (hashes(alpha, B), alpha.plans(B), is_at(alpha, A, None)) == ({ONE}, None, True)
    plan = beta.plans(B)
    assert plan is not None
    assert (plan.step, plan.content.hash) == (Step.INSTALL, ONE)


def test_an_edit_that_is_replaced_by_another_name_of_what_its_file_was_is_taken_back_too() -> None:
    alpha, beta = together("alpha", "beta")
    two = linked(b"one", inode=1)
    beta.sees(A, two, names=(C,))
    beta.sees(C, two, names=(A,), linked_from=A)
    edits(beta, A, inode=2)
    renames(alpha, A, B)
    beta.hears(alpha)
    assert is_at(beta, B, b"edited")
    beta.sees(A, two, names=(C,), linked_from=C)
    beta.sees(C, two, names=(A,))
    assert hashes(beta, B) == {ONE}


def test_who_had_heard_of_the_edit_already_goes_back_with_all_others() -> None:
    alpha, beta = followed()
    alpha.hears(beta)
    assert is_at(alpha, B, b"edited")
    removes(beta, A)
    alpha.hears(beta)
    assert hashes(alpha, B) == {ONE}


@pytest.mark.parametrize("edited", [(), (b"again",), (b"again", b"and again")])
def test_who_shows_what_an_edit_replaced_where_it_followed_keeps_it_as_it_may_stand_again(
    edited: tuple[bytes, ...],
) -> None:
    alpha, beta = followed()
    for data in edited:
        edits(beta, A, data)
    alpha.hears(beta)
    last = edited[-1] if edited else b"edited"
    plan = alpha.plans(B)
    assert plan is not None
    assert (plan.content.hash, plan.keep) == (hash_of(last), True)
    alpha.engine.applied(plan, found(last, mtime_ns=5, inode=2))
    removes(beta, A)
    alpha.hears(beta)
    plan = alpha.plans(B)
    assert plan is not None
    assert (plan.content.hash, plan.keep) == (ONE, False), (
        "nobody has anything else of it, and the edit is gone for its author"
    )
    alpha.engine.applied(plan, found(b"one", inode=3))
    gone = alpha.row(B).record.content.entries[0].overruled
    assert alpha.row(B).applied.lineage.origin not in gone, "what stands again is not decided against"


def test_what_is_shown_at_the_new_name_stays_whatever_becomes_of_the_old_one() -> None:
    alpha, beta = followed()
    beta.shows(B, found(b"edited", mtime_ns=5, inode=3))
    removes(beta, A)
    alpha.hears(beta)
    assert is_at(alpha, B, b"edited")


def test_another_file_in_the_place_of_the_edit_takes_it_back_as_well() -> None:
    alpha, beta = followed()
    beta.sees(A, None)
    beta.sees(A, found(b"new", inode=8, mtime_ns=9))
    beta.engine.follow((A,), NOW_NS, beta.is_unseen)
    alpha.hears(beta)
    assert (hashes(alpha, B), is_at(alpha, A, b"new")) == ({ONE}, True)


def test_an_edit_that_is_renamed_by_its_own_member_is_where_that_one_put_it() -> None:
    alpha, beta = followed()
    beta.sees(C, found(b"edited", mtime_ns=5), moved_from=A)
    removes(beta, A, moved_to=C)
    alpha.hears(beta)
    assert (hashes(alpha, B), is_at(alpha, C, b"edited")) == ({ONE}, True)
    beta.sees(C, None)
    alpha.hears(beta)
    assert (hashes(alpha, B), is_at(alpha, C, None)) == ({ONE}, True)


def test_what_is_written_once_more_under_the_old_name_follows_and_is_taken_back_with_the_rest() -> None:
    alpha, beta = followed()
    for number in range(12):
        edits(beta, A, b"edited %d" % number)
        assert is_at(beta, B, b"edited %d" % number)
    removes(beta, A)
    alpha.hears(beta)
    assert hashes(alpha, B) == {ONE}


def test_what_was_written_once_more_and_could_not_follow_yet_is_taken_back_too() -> None:
    alpha, beta = followed()
    beta.unseen.add(B)
    edits(beta, A, b"again")
    assert is_at(beta, A, b"again")
    removes(beta, A)
    beta.unseen.clear()
    alpha.hears(beta)
    assert hashes(alpha, B) == {ONE}


def test_an_edit_that_went_on_with_the_file_is_taken_back_where_it_went() -> None:
    alpha, beta, gamma = together("alpha", "beta", "gamma")
    edits(beta, A)
    renames(alpha, A, B)
    gamma.hears(alpha)
    gamma.shows(B, found(b"one", inode=2))
    gamma.shows(A, None)
    beta.hears(alpha)
    renames(gamma, B, C, inode=2)
    beta.hears(gamma)
    assert is_at(beta, C, b"edited")
    removes(beta, A)
    for other in (gamma, alpha):
        other.hears(beta)
        assert (is_at(other, A, None), is_at(other, B, None), hashes(other, C)) == (True, True, {ONE})


def test_what_the_mover_made_of_the_file_stands_without_what_it_was_made_from() -> None:
    alpha, beta = followed()
    alpha.sees(B, found(b"moved on", mtime_ns=9))
    beta.hears(alpha)
    assert hashes(beta, B) == {EDITED, hash_of(b"moved on")}
    removes(beta, A)
    alpha.hears(beta)
    assert is_at(alpha, B, b"moved on")
    assert not list(alpha.engine.conflicts([B]))


def test_what_another_file_was_in_conflict_with_is_in_conflict_with_it_again() -> None:
    alpha, beta, gamma = together("alpha", "beta", "gamma")
    edits(beta, A)
    renames(alpha, A, B)
    gamma.sees(B, found(b"other", inode=9))
    beta.hears(alpha)
    beta.hears(gamma)
    removes(beta, A)
    for other in (alpha, gamma):
        other.hears(beta)
        assert hashes(other, B) == {ONE, hash_of(b"other")}


def test_an_attribute_does_not_take_an_edit_back() -> None:
    alpha, beta = followed()
    beta.sees(A, found(b"edited", mtime_ns=5, mode=0o600))
    beta.engine.follow((A,), NOW_NS, beta.is_unseen)
    alpha.hears(beta)
    assert is_at(alpha, B, b"edited")


def test_where_each_shows_its_own_the_mover_shows_his() -> None:
    alpha, beta = followed(policy=("none", "younger"))
    removes(beta, A)
    alpha.hears(beta)
    assert hashes(alpha, B) == {ONE}
    assert alpha.plans(B) is None


def test_what_stands_again_goes_on_by_a_move_that_had_not_heard_of_the_edit() -> None:
    alpha, beta, gamma = followed("alpha", "beta", "gamma")
    gamma.hears(alpha)
    gamma.shows(B, found(b"one", inode=2))
    gamma.shows(A, None)
    renames(gamma, B, C, inode=2)
    removes(beta, A)
    beta.hears(gamma)
    made = beta.counter()
    for _ in range(2):
        for side, other in ((gamma, beta), (alpha, beta), (beta, gamma), (beta, alpha)):
            side.hears(other)
    for side in (alpha, beta, gamma):
        assert (is_at(side, B, None), hashes(side, C)) == (True, {ONE})
    assert beta.counter() == made


def test_an_edit_of_another_file_stays_where_it_has_followed_to() -> None:
    alpha, beta = together("alpha", "beta")
    alpha.sees(C, found(b"second", inode=2))
    beta.hears(alpha)
    beta.shows(C, found(b"second", inode=2))
    edits(beta, A)
    edits(beta, C, b"second edited", inode=2)
    renames(alpha, A, B)
    renames(alpha, B, RelPath(b"d"))
    renames(alpha, C, B, data=b"second", inode=2)
    beta.hears(alpha)
    assert (is_at(beta, B, b"second edited"), is_at(beta, RelPath(b"d"), b"edited")) == (True, True)
    removes(beta, A)
    alpha.hears(beta)
    assert (hashes(alpha, B), hashes(alpha, RelPath(b"d"))) == ({hash_of(b"second edited")}, {ONE})


@pytest.mark.parametrize("put", [None, directory()])
@pytest.mark.parametrize("heard_before", [True, False])
def test_what_the_mover_took_away_does_not_stand_again(put: Observation | None, heard_before: bool) -> None:
    alpha, beta = followed()
    alpha.sees(B, put)
    if heard_before:
        beta.hears(alpha)
    removes(beta, A)
    if not heard_before:
        assert hashes(beta, B) == {ONE}, "as far as it knows"
        beta.hears(alpha)
        assert B in beta.engine.woken()
    alpha.hears(beta)
    for side in (alpha, beta):
        assert ONE not in hashes(side, B)
        assert is_at(side, A, None)
        assert (put is not None) is side.row(B).live
    assert alpha.row(B).record.content == beta.row(B).record.content
    assert alpha.plans(B) is None


def test_what_stands_again_and_is_shown_is_not_given_up() -> None:
    alpha, beta = followed()
    alpha.sees(B, None)
    removes(beta, A)
    beta.shows(B, found(b"one", inode=5))
    beta.hears(alpha)
    assert ONE in hashes(beta, B), "he who took it away had not heard of it, and it is here"


def test_what_stands_again_stands_again_if_the_old_name_is_changed_once_more() -> None:
    alpha, beta = followed()
    removes(beta, A)
    before = beta.row(B)
    beta.sees(A, found(b"new", inode=9, mtime_ns=9))
    removes(beta, A)
    assert beta.row(B).record == before.record
    alpha.hears(beta)
    assert hashes(alpha, B) == {ONE}


@pytest.mark.parametrize("heard_before", [True, False])
def test_what_the_mover_put_another_file_over_does_not_stand_again(heard_before: bool) -> None:
    alpha, beta = together("alpha", "beta")
    alpha.sees(C, found(b"second", inode=2))
    edits(beta, A)
    renames(alpha, A, B)
    beta.hears(alpha)
    renames(alpha, C, B, b"second", inode=2)
    if heard_before:
        beta.hears(alpha)
    removes(beta, A)
    for _ in range(2):
        beta.hears(alpha)
        alpha.hears(beta)
    for side in (alpha, beta):
        assert (ONE in hashes(side, B), is_at(side, B, b"second")) == (False, True)


def test_what_another_member_than_the_mover_took_away_does_not_stand_again() -> None:
    alpha, beta, gamma = followed("alpha", "beta", "gamma")
    gamma.hears(alpha)
    gamma.shows(B, found(b"one", inode=2))
    gamma.shows(A, None)
    removes(beta, A)
    gamma.sees(B, None)
    for _ in range(2):
        for side, other in ((beta, gamma), (alpha, beta), (alpha, gamma), (gamma, beta)):
            side.hears(other)
    for side in (alpha, beta, gamma):
        assert is_at(side, B, None)


def test_what_stands_again_beside_another_file_that_came_meanwhile_stays() -> None:
    _, beta, gamma = followed("alpha", "beta", "gamma")
    gamma.sees(B, found(b"other", inode=9))
    removes(beta, A)
    beta.hears(gamma)
    assert hashes(beta, B) == {ONE, hash_of(b"other")}


def restarted(side: Side) -> None:
    """Have a member go on as another incarnation, with the same index."""
    engine = side.engine
    engine._authors[Incarnation(9)] = side.name  # type: ignore[index]
    side.engine = VolumeEngine(side.index, engine._rules, side.name, Incarnation(9), engine._authors)


@pytest.mark.parametrize("policy", [("younger",), ("older",), ("none", "younger")])
@pytest.mark.parametrize("is_gone", [False, True])
def test_what_is_made_at_the_new_name_after_a_restart_stays_when_the_edit_is_taken_back(
    policy: tuple[str, ...], is_gone: bool
) -> None:
    alpha, beta = followed(policy=policy)
    if is_gone:
        alpha.sees(B, None)
    restarted(beta)
    beta.sees(B, found(b"new", inode=8, mtime_ns=9))
    assert hashes(beta, B) == {EDITED, hash_of(b"new")}
    if is_gone:
        beta.hears(alpha)
    removes(beta, A)
    for _ in range(2):
        alpha.hears(beta)
        beta.hears(alpha)
    for side in (alpha, beta):
        assert (hashes(side, B), is_at(side, A, None)) == ({hash_of(b"new")}, True)
    assert beta.plans(B) is None, "it is shown"
    beta.sees(B, found(b"newer", inode=8, mtime_ns=11))
    alpha.hears(beta)
    assert is_at(alpha, B, b"newer")


def test_what_is_made_at_the_new_name_after_a_restart_stands_beside_what_the_mover_made_of_the_file() -> None:
    alpha, beta = followed()
    alpha.sees(B, found(b"moved on", mtime_ns=12))
    restarted(beta)
    beta.sees(B, found(b"new", inode=8, mtime_ns=9))
    beta.hears(alpha)
    removes(beta, A)
    alpha.hears(beta)
    for side in (alpha, beta):
        assert hashes(side, B) == {hash_of(b"moved on"), hash_of(b"new")}
    plan = beta.plans(B)
    assert plan is not None
    assert plan.keep, "what loses a conflict is kept"


def test_what_is_linked_at_the_new_name_after_a_restart_stays_a_name_of_the_same_file() -> None:
    alpha, beta = followed()
    restarted(beta)
    beta.sees(B, found(b"new", inode=8, mtime_ns=9, links=2), names=(C,))
    beta.sees(C, found(b"new", inode=8, mtime_ns=9, links=2), names=(B,))
    removes(beta, A)
    alpha.hears(beta)
    assert alpha.row(B).write == alpha.row(C).write
    assert (is_at(alpha, B, b"new"), is_at(alpha, C, b"new")) == (True, True)


def test_an_older_version_that_is_removed_under_an_earlier_name_takes_no_edit_back() -> None:
    alpha, beta = together("alpha", "beta")
    d = RelPath(b"d")
    renames(alpha, A, B)
    beta.hears(alpha)
    beta.shows(B, found(b"one", inode=2))
    edits(beta, B, inode=2)
    renames(alpha, B, d)
    beta.hears(alpha)
    assert is_at(beta, d, b"edited")
    removes(beta, A)
    assert hashes(beta, d) == {EDITED}, "what was at `a` still is not the edit, which is shown at `b`"
    alpha.hears(beta)
    assert is_at(alpha, d, b"edited")
    removes(beta, B)
    alpha.hears(beta)
    assert hashes(alpha, d) == {ONE}
