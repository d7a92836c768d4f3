"""What becomes of what a restored member has in doubt: a removal, a move, an edit that followed one, what had been decided against,
what others hear (R8)."""

import pytest

from csfs.core.groups import Group
from csfs.core.paths import RelPath
from csfs.core.rows import Standing
from csfs.core.tokens import Owed, Verdict, given
from csfs.core.versions import Incarnation, Scope
from csfs.engine.overlooking import NOTHING_OVERLOOKED
from csfs.engine.ports import Step
from csfs.engine.volume import VolumeEngine
from scripts.simulation.rules import OneGroup
from tests.engine.members import NOW_NS, SCOPE, Side, directory, follow_rules, found, sides
from tests.engine.test_following import A, B, edits, is_at, renames, together
from tests.engine.test_links import linked, sees_together
from tests.engine.test_quarantine import KEY, backup, caught_up, hears_anew, in_quarantine, restarted


@pytest.mark.parametrize("settings", [0, 1])
def test_what_is_changed_before_others_were_heard_names_what_had_been_decided_against(settings: int) -> None:
    alpha, beta = sides("alpha", "beta", policy=("left",))
    alpha.sees(b"f", found(b"alpha's"))
    beta.sees(b"f", found(b"beta's", inode=2))
    for one, other in ((alpha, beta), (beta, alpha)):
        one.hears(other)
    assert alpha.plans(b"f") is None
    alpha.engine.stands("beta", beta.engine.standings())
    index = backup(alpha)
    restarted(alpha, index).sees(b"f", found(b"after the restore", mtime_ns=2))
    lost = in_quarantine(alpha, index)
    for setting in range(settings):
        lost.sees(b"f", found(b"after the restore", mtime_ns=2, mode=0o600 + setting))
    lost.sees(b"f", found(b"before others were heard", mtime_ns=3, mode=0o600))
    caught_up(lost, beta)
    hears_anew(beta, lost)
    plan = beta.plans(b"f")
    assert plan is not None
    assert (plan.content.hash, plan.keep) == (found(b"before others were heard").hash, True)


def test_a_removal_in_doubt_is_made_anew_and_what_it_had_removed_is_no_loss_of_the_index() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"of before"))
    beta.hears(alpha)
    beta.shows(b"f", found(b"of before"))
    alpha.engine.stands("beta", beta.engine.standings())
    alpha.sees(b"f", None)
    lost, path = in_quarantine(alpha, backup(alpha)), RelPath(b"f")
    known, updates = beta.index.knowledge(SCOPE), beta.engine.records(SCOPE, [path])
    healed = lost.engine.healed("beta", SCOPE, [path], updates, NOW_NS, known_there=known)
    assert (healed.received.touched, healed.lost) == ((path,), ())
    caught_up(lost, beta)
    hears_anew(beta, lost)
    assert (lost.row(b"f").live, beta.row(b"f").live) == (False, False)


@pytest.mark.parametrize("is_recorded", [True, False])
def test_an_edit_of_what_was_moved_in_doubt_lives_under_the_old_name_beside_what_was_moved(is_recorded: bool) -> None:
    alpha, beta = together("alpha", "beta")
    alpha.engine.stands("beta", beta.engine.standings())
    edits(beta, A)
    if is_recorded:
        renames(alpha, A, B)
    lost = in_quarantine(alpha, backup(alpha))
    if not is_recorded:  # nobody remembers which rename was still to be looked at: everything is compared
        lost.sees(A, None)
        lost.sees(B, found(b"one"))
    caught_up(lost, beta)
    hears_anew(beta, lost)
    lost.hears(beta)
    for side in (lost, beta):
        assert is_at(side, A, b"edited")
        assert is_at(side, B, b"one")


def test_an_edit_does_not_follow_a_move_of_what_was_found_anew_by_an_index_of_before() -> None:
    alpha, beta = sides("alpha", "beta")
    before = backup(alpha)
    alpha.sees(A, found(b"one"))
    beta.hears(alpha)
    beta.sees(A, found(b"one"))
    edits(beta, A)
    again = restarted(alpha, before, 98)
    again.sees(A, found(b"one"))
    renames(again, A, B)
    lost = in_quarantine(again, backup(again))
    caught_up(lost, beta)
    hears_anew(beta, lost)
    lost.hears(beta)
    for side in (lost, beta):
        assert is_at(side, A, b"edited")
        assert is_at(side, B, b"one")


def test_an_edit_follows_once_more_at_each_peer_that_knows_of_a_lost_life_and_no_more_then() -> None:
    alpha, beta, gamma, delta = together("alpha", "beta", "gamma", "delta")
    alpha.engine.stands("beta", beta.engine.standings())
    index = backup(alpha)
    tokens = {peer: given(index.tokens(peer), peer, KEY, b"1" * 8)[1] for peer in ("beta", "gamma")}
    edits(alpha, A)
    renames(beta, A, B)
    for side in (gamma, delta):
        side.hears(alpha)
        side.hears(beta)
    lost = another_life(restarted(alpha, index), "gamma", tokens["gamma"], 98)
    caught_up(lost, gamma)
    assert lives_at(lost, B) == {98}
    lost.shows(A, None)
    lost.shows(B, found(b"edited"))
    gamma.hears(lost)
    lost = another_life(lost, "beta", tokens["beta"], 99)
    assert lives_at(lost, B) == set(), "nobody said yet that he has stored it"
    caught_up(lost, delta)
    lost.engine.follow((A, B), NOW_NS)
    assert lives_at(lost, B) == {99}
    for peer, token in tokens.items():
        assert lost.engine.shown(peer, KEY, token) is Verdict.GOOD
    for side in (beta, gamma, delta):
        hears_anew(side, lost)
    for side in (lost, beta, gamma, delta):
        side.heard.clear()
        side.hears(gamma if side is not gamma else lost)
        assert lives_at(side, B) == {98, 99}
        assert (is_at(side, A, None), is_at(side, B, b"edited")) == (True, True)
    counter = lost.counter()
    lost.engine.follow((A, B), NOW_NS)
    assert lost.counter() == counter


def test_who_only_receives_hears_nothing_stale() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma", receive_only=("gamma",))
    lost = with_something_stale(alpha, beta)
    hears_anew(gamma, lost)
    assert gamma.index.row(RelPath(b"f")) is None, "nobody would ever tell it that this is gone"
    caught_up(lost, beta)
    assert not lost.row(b"f").live
    lost.sees(b"g", found(b"after it", inode=2))
    gamma.hears(lost)
    assert gamma.row(b"g").live
    assert gamma.index.row(RelPath(b"f")) is None


def test_who_only_receives_is_told_as_ever_where_nobody_else_may_change_anything() -> None:
    alpha, beta = sides("alpha", "beta", receive_only=("beta",))
    alpha.sees(b"f", found(b"mine"))
    lost = in_quarantine(alpha, backup(alpha))
    lost.sees(b"g", found(b"after the restore", inode=2))
    hears_anew(beta, lost)
    assert beta.row(b"g").live


def test_who_follows_other_rules_ends_no_quarantine() -> None:
    alpha, beta = sides("alpha", "beta")
    lost = with_something_stale(alpha, beta)
    under_rules(beta, Scope(b"scope-02"))
    assert not lost.engine.may_catch_up_with("beta", beta.engine.standings()), "it says nothing of what it knows"
    under_rules(beta, SCOPE)
    caught_up(lost, beta)
    assert not lost.row(b"f").live


def test_who_follows_other_rules_is_not_waited_for() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    lost = with_something_stale(alpha, beta)
    lost.hears(gamma)
    lost.engine.stands("beta", beta.engine.standings())
    assert not lost.engine.caught_up("gamma", ["gamma", "beta"])
    lost.engine.stands("beta", {Scope(b"scope-02"): Standing()})
    assert lost.engine.caught_up("gamma", ["gamma", "beta"])
    assert lost.index.tokens("beta").owed is Owed.LATER


def under_rules(side: Side, scope: Scope) -> None:
    """Have a member follow other rules, or the same ones again, which `scope` tells apart."""
    rules = OneGroup(Group(("alpha", "beta"), frozenset(), ("younger",), scope))
    side.engine = VolumeEngine(side.index, rules, side.name, side.engine._incarnation, side.engine._authors)
    side.heard.clear()
    follow_rules(side.engine)


def with_something_stale(alpha: Side, beta: Side) -> Side:
    """Return alpha in quarantine, restored from before beta removed a file, which everybody has forgotten."""
    beta.sees(b"f", found(b"removed since"))
    alpha.hears(beta)
    alpha.shows(b"f", found(b"removed since"))
    index = backup(alpha)
    beta.sees(b"f", None)
    beta.index.drop(RelPath(b"f"))
    return in_quarantine(alpha, index)


def another_life(side: Side, peer: str, token: bytes, incarnation: int) -> Side:
    """Return a member that was shown a token which it does not remember, in its next life."""
    assert side.engine.shown(peer, KEY, token) is Verdict.AHEAD
    side.engine.distrust()
    return restarted(side, side.index, incarnation)


def lives_at(side: Side, path: RelPath) -> set[int]:
    """Return the lives beyond the first ones that made what is known at a path."""
    return {entry.dot.incarnation for entry in side.row(path).record.content.entries} - {Incarnation(1), Incarnation(2)}


def test_what_is_in_doubt_decides_no_more_on_the_attributes_of_its_other_names() -> None:
    alpha, beta = sides("alpha", "beta")
    beta.sees(b"a", found(b"one", mtime_ns=5))
    sees_together(beta, linked(b"one", mtime_ns=5), b"b", b"a")
    alpha.sees(b"a", found(b"other", mode=0o600, inode=3))
    alpha.hears(beta)
    alpha.shows(b"a", found(b"one", mtime_ns=5, mode=0o600, inode=4))
    alpha.shows(b"b", linked(b"one", mtime_ns=5, mode=0o600, inode=4))
    assert not alpha.row(b"b").pending
    lost = in_quarantine(alpha, backup(alpha))
    assert lost.row(b"b").pending
    assert lost.row(b"a").write == beta.row(b"a").write


def test_what_was_forgotten_beside_what_is_in_doubt_decides_no_more_on_the_attributes_of_its_other_names() -> None:
    alpha, beta = sides("alpha", "beta")
    beta.sees(b"a", found(b"before"))
    alpha.hears(beta)
    alpha.shows(b"a", found(b"before"))
    alpha.sees(b"a", None)
    beta.sees(b"a", found(b"one", mtime_ns=5))
    sees_together(beta, linked(b"one", mtime_ns=5), b"b", b"a")
    beta.sees(b"a", linked(b"one", mtime_ns=5, mode=0o600))
    alpha.hears(beta)
    alpha.shows(b"b", found(b"one", mtime_ns=5, mode=0o600, inode=4))
    assert alpha.plans(b"b") is None
    assert not alpha.row(b"b").pending
    beta.sees(b"a", None)
    beta.index.drop(A)
    lost = in_quarantine(alpha, backup(alpha))
    caught_up(lost, beta)
    assert lost.engine.take_up((A, B)) == NOTHING_OVERLOOKED
    plan = lost.plans(b"b")
    assert plan is not None
    assert plan.meta is not None
    assert (plan.step, plan.meta.mode) == (Step.ATTRIBUTES, 0o644)


def test_a_directory_that_lived_by_what_was_forgotten_beside_what_is_in_doubt_goes_at_who_makes_nothing_anew() -> None:
    alpha, beta = sides("alpha", "beta")
    beta.sees(b"d", directory(2))
    beta.sees(b"d/f", found(b"1"))
    alpha.hears(beta)
    alpha.shows(b"d", directory(2))
    alpha.shows(b"d/f", found(b"1"))
    alpha.sees(b"d/f", None)
    beta.sees(b"d", None)
    beta.sees(b"d/f", found(b"2"))
    alpha.hears(beta)
    assert alpha.plans(b"d") is None
    assert not alpha.row(b"d").pending, "it lives by what is still to be shown"
    beta.sees(b"d/f", None)
    beta.index.drop(RelPath(b"d/f"))
    lost = in_quarantine(alpha, backup(alpha))
    receives = OneGroup(Group(("alpha", "beta"), frozenset({"alpha"}), ("younger",), SCOPE))
    lost.engine = VolumeEngine(lost.index, receives, "alpha", lost.engine._incarnation, lost.engine._authors)
    caught_up(lost, beta)
    assert not lost.row(b"d/f").live
    assert lost.engine.take_up([RelPath(b"d")]) == NOTHING_OVERLOOKED
    plan = lost.plans(b"d")
    assert plan is not None
    assert plan.step is Step.REMOVE


def test_who_has_made_as_much_since_it_was_restored_knows_what_it_has_not_made_where_it_made_something() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    copy = backup(alpha)
    alpha.sees(b"b", found(b"before"))
    alpha.sees(b"a", found(b"in the life that is lost", mtime_ns=2))
    gamma.sees(b"a", found(b"gamma's", mtime_ns=3))
    beta.hears(alpha)
    gamma.hears(beta)
    restored = restarted(alpha, copy)
    restored.sees(b"a", found(b"after the restore"))
    restored.sees(b"c", found(b"as well"))
    assert restored.counter() == alpha.counter()
    before = restored.row(b"a").record
    assert restored.hears(gamma).is_ahead
    assert restored.row(b"a").record == before
    restored.engine.outlived("gamma")
    again = restarted(restored, copy, 99)
    caught_up(again, gamma)
    plan = again.plans(b"a")
    assert plan is not None
    assert (plan.content.hash, plan.keep) == (found(b"gamma's").hash, True)
    assert len(again.row(b"a").record.content.entries) == 3, "none has seen the others"


def test_what_all_have_forgotten_was_made_here_though_what_others_made_there_since_has_not_seen_it() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    before = backup(beta)
    alpha.sees(b"a", found(b"removed and forgotten"))
    gamma.hears(alpha)
    stale = gamma.engine.records(SCOPE, [A])
    alpha.index.drop(A)
    restored = restarted(beta, before)
    restored.sees(b"a", found(b"made anew"))
    alpha.hears(restored)
    received = alpha.engine.receive("gamma", SCOPE, stale, None, NOW_NS)
    assert (received.refused, received.is_ahead) == ((), False)
