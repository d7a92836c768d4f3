"""Who only receives from now on shows what the others have, and keeps what it made before and had told nobody of (R9)."""

from collections.abc import Mapping

import pytest

from csfs.core.digests import digest_of
from csfs.core.groups import Group
from csfs.core.paths import ROOT, RelPath
from csfs.core.versions import Incarnation, Scope
from csfs.engine.live import DIRECTORY, PRIVATE_META
from csfs.engine.ports import Row, Step
from csfs.engine.volume import VolumeEngine
from scripts.simulation.rules import OneGroup
from scripts.simulation.tree import hash_of
from tests.engine.members import NOW_NS, SCOPE, Side, directory, follow_rules, found, sides
from tests.engine.test_links import linked, sees_together

F, G, D = (RelPath(name) for name in (b"f", b"g", b"d"))
AFTER = Scope(b"scope-02")


def before() -> list[Side]:
    """Return two members that show the same."""
    alpha, beta = members = sides("alpha", "beta")
    alpha.sees(ROOT, directory())
    alpha.sees(F, found(b"one"))
    alpha.sees(D, directory(mtime_ns=3))
    beta.hears(alpha)
    for path, shown in ((F, found(b"one")), (D, directory(mtime_ns=3))):
        beta.shows(path, shown)
    return members


def turn(*members: Side) -> None:
    """Have the second member only receive."""
    for side in members:
        rules = OneGroup(Group(("alpha", "beta"), frozenset({"beta"}), ("younger",), AFTER))
        side.engine = VolumeEngine(side.index, rules, side.name, side.engine._incarnation, side.engine._authors)
        side.heard.clear()
        follow_rules(side.engine)


def obey(side: Side, scope: Scope, *receive_only: str) -> None:
    """Have one of three members follow other rules than before."""
    before = side.engine.knowledge().keys()
    rules = OneGroup(Group(("alpha", "beta", "gamma"), frozenset(receive_only), ("younger",), scope))
    side.engine = VolumeEngine(side.index, rules, side.name, side.engine._incarnation, side.engine._authors)
    side.heard.clear()
    follow_rules(side.engine, before=before)


def told_of(path: RelPath, rows: Mapping[RelPath, Row]) -> int:
    """Return what a walk is told of a path."""
    return digest_of(path, rows[path].record) if path in rows else 0


def meet(alpha: Side, beta: Side) -> None:
    """Have the second hear all that the first knows, and look for what makes them differ."""
    beta.engine.greeted("alpha", Incarnation(1))
    beta.hears(alpha)
    beta.engine.stands("alpha", alpha.engine.standings(), alpha.engine.digests())
    if beta.engine.differing("alpha", alpha.engine.standings(), alpha.engine.digests()) == [AFTER]:
        ours, theirs = beta.index.rows(), alpha.index.rows()
        paths = [path for path in sorted(ours.keys() | theirs.keys()) if told_of(path, ours) != told_of(path, theirs)]
        paths += beta.engine.unvouched("alpha", AFTER)
        healed = beta.engine.healed("alpha", AFTER, paths, alpha.engine.records(AFTER, paths), NOW_NS)
        assert not healed.lost
        beta.engine.walked("alpha", AFTER)
    assert alpha.engine.digests() == beta.engine.digests()


def test_an_edit_that_nobody_has_heard_of_is_kept_and_the_others_version_shown() -> None:
    alpha, beta = before()
    beta.sees(F, found(b"unsent", mtime_ns=9))
    turn(alpha, beta)
    meet(alpha, beta)
    plan = beta.plans(F)
    assert plan is not None
    assert (plan.step, plan.content.hash, plan.keep) == (Step.INSTALL, hash_of(b"one"), True)


def edited_under_an_old_name() -> list[Side]:
    """Return three members: an edit of the second's has followed the first one's edit and rename, and is not shown there yet."""
    alpha, beta, gamma = members = sides("alpha", "beta", "gamma")
    alpha.sees(F, found(b"one"))
    for other in (beta, gamma):
        other.hears(alpha)
        other.shows(F, found(b"one"))
    alpha.sees(G, found(b"two", mtime_ns=5), moved_from=F)
    alpha.sees(F, None, moved_to=G)
    for other in (beta, gamma):
        other.hears(alpha)
    beta.sees(F, found(b"unsent", mtime_ns=9, inode=2))
    beta.engine.follow((F,), NOW_NS)
    known = beta.engine.live(G)
    assert known is not None
    assert known.content.hash == hash_of(b"unsent")
    return members


def is_kept_under_its_old_name(alpha: Side, beta: Side) -> bool:
    """Return whether the edit is kept where the second shows it still, once it has let go of what nobody has heard of."""
    meet(alpha, beta)
    assert beta.row(G).record == alpha.row(G).record
    plan = beta.plans(F)
    assert plan is not None
    assert plan.step is Step.REMOVE
    return plan.keep and not plan.succeeded


def test_an_edit_that_nobody_has_heard_of_is_kept_under_its_old_name_where_it_has_followed_a_move() -> None:
    members = alpha, beta, _ = edited_under_an_old_name()
    for side in members:
        obey(side, AFTER, "beta")
    assert is_kept_under_its_old_name(alpha, beta)


def test_an_edit_is_kept_under_its_old_name_where_what_was_made_of_it_goes() -> None:
    members = alpha, beta, gamma = edited_under_an_old_name()
    gamma.hears(beta)
    gamma.shows(G, found(b"unsent", mtime_ns=9, inode=3))
    gamma.sees(G, found(b"made of it", mtime_ns=11, inode=3))
    beta.hears(gamma)
    assert [entry.value.hash for entry in beta.row(G).record.content.entries][-1:] == [hash_of(b"made of it")]
    for side in members:
        obey(side, AFTER, "beta", "gamma")
    assert is_kept_under_its_old_name(alpha, beta)


def test_a_file_that_nobody_has_heard_of_goes_and_is_kept() -> None:
    alpha, beta = before()
    beta.sees(b"new", found(b"unsent"))
    turn(alpha, beta)
    meet(alpha, beta)
    plan = beta.plans(b"new")
    assert plan is not None
    assert (plan.step, plan.keep) == (Step.REMOVE, True)


def test_a_removal_that_nobody_has_heard_of_is_undone() -> None:
    alpha, beta = before()
    beta.sees(F, None)
    turn(alpha, beta)
    meet(alpha, beta)
    plan = beta.plans(F)
    assert plan is not None
    assert (plan.step, plan.content.hash) == (Step.INSTALL, hash_of(b"one"))


def test_attributes_and_a_time_that_nobody_has_heard_of_are_as_the_others_have_them() -> None:
    alpha, beta = before()
    beta.sees(F, found(b"one", mode=0o600))
    beta.engine.touched(D, 9, NOW_NS)
    assert beta.row(D).record.time is not None
    turn(alpha, beta)
    meet(alpha, beta)
    plans = beta.plans(F), beta.plans(D)
    assert all(plan is not None and plan.step is Step.ATTRIBUTES for plan in plans)
    assert plans[0] is not None
    assert plans[0].meta is not None
    assert (plans[0].meta.mode, plans[1] and plans[1].mtime_ns) == (0o644, 3)


def test_a_removal_that_nobody_has_heard_of_says_nothing_of_a_directory_in_a_files_place() -> None:
    alpha, beta = before()
    alpha.sees(b"d/in", found(b"inside"))
    beta.hears(alpha)
    beta.shows(b"d/in", found(b"inside"))
    for path in (b"d/in", D):
        beta.sees(path, None)
    alpha.sees(D, found(b"file", mtime_ns=7))
    turn(alpha, beta)
    meet(alpha, beta)
    lives = alpha.engine.live(D), beta.engine.live(D)
    assert lives[0] is not None
    assert lives[1] is not None
    assert (
        (lives[0].content.kind, lives[0].meta)
        == (lives[1].content.kind, lives[1].meta)
        == (DIRECTORY.kind, PRIVATE_META)
    )


def living_on() -> list[Side]:
    """Return two members that show a directory which the first has removed, and which lives by a file of the second in it."""
    alpha, beta = before()
    alpha.sees(D, None)
    beta.sees(b"d/in", found(b"inside"))
    alpha.hears(beta)
    beta.hears(alpha)
    alpha.shows(D, directory(mtime_ns=3))
    assert beta.plans(D) is None
    return [alpha, beta]


@pytest.mark.parametrize(("mode", "time"), [(0o700, 3), (0o755, 9)])
def test_attributes_and_a_time_go_from_a_directory_that_lives_by_what_is_in_it(mode: int, time: int) -> None:
    alpha, beta = living_on()
    assert beta.sees(D, directory(mode=mode, mtime_ns=time))
    turn(alpha, beta)
    meet(alpha, beta)
    assert beta.row(D).record == alpha.row(D).record
    plan = beta.plans(D)
    assert plan is not None
    assert (plan.step, plan.mtime_ns, plan.meta and plan.meta.mode) == (Step.ATTRIBUTES, 3, 0o755)


def test_a_removal_says_nothing_of_a_directory_that_lives_by_what_is_in_it() -> None:
    alpha, beta, gamma = members = sides("alpha", "beta", "gamma")
    alpha.sees(D, directory(mtime_ns=3))
    for other in (beta, gamma):
        other.hears(alpha)
        other.shows(D, directory(mtime_ns=3))
    alpha.sees(D, None)
    gamma.sees(b"d/in", found(b"inside"))
    alpha.hears(gamma)
    beta.sees(D, directory(mtime_ns=3, mode=0o700))
    beta.sees(D, None)
    for side in members:
        obey(side, AFTER, "beta")
    meet(alpha, beta)
    assert beta.row(D).record == alpha.row(D).record
    plan = beta.plans(D)
    assert plan is not None
    assert (plan.step, plan.meta and plan.meta.mode) == (Step.INSTALL, 0o755)


def test_a_removal_beside_something_live_says_nothing_once_that_is_removed_too() -> None:
    alpha, beta = before()
    alpha.sees(b"d/in", found(b"inside"))
    for mode in range(0o700, 0o706):
        beta.sees(D, directory(mode=mode, mtime_ns=3))
    beta.sees(D, None)
    alpha.sees(D, found(b"in its place"))
    turn(alpha, beta)
    meet(alpha, beta)
    assert beta.row(D).live
    alpha.sees(D, None)
    meet(alpha, beta)
    assert not alpha.row(D).live
    assert beta.row(D).record.content.entries == alpha.row(D).record.content.entries
    assert beta.engine.live(D) == alpha.engine.live(D)


def test_what_the_others_have_heard_of_a_directory_that_lives_by_what_is_in_it_stays_and_is_compared_once() -> None:
    alpha, beta = living_on()
    beta.sees(D, directory(mode=0o700, mtime_ns=3))
    alpha.hears(beta)
    turn(alpha, beta)
    meet(alpha, beta)
    assert beta.row(D).record == alpha.row(D).record
    assert beta.row(D).applied.meta_dot == beta.row(D).record.meta.entries[-1].dot
    stands = alpha.engine.standings(), alpha.engine.digests()
    assert beta.engine.differing("alpha", *stands) == []
    beta.engine.greeted("alpha", Incarnation(1))
    assert beta.engine.differing("alpha", *stands) == [], "it may say more"
    beta.engine.stands("alpha", *stands)
    assert beta.engine.differing("alpha", *stands) == [AFTER], "it may have lost something meanwhile"
    assert alpha.engine.unvouched("beta", AFTER) == {}, "it is listened to"


def test_what_the_others_have_heard_of_stays() -> None:
    alpha, beta = before()
    beta.sees(F, found(b"sent", mtime_ns=9))
    beta.engine.touched(D, 9, NOW_NS)
    alpha.hears(beta)
    turn(alpha, beta)
    meet(alpha, beta)
    assert (beta.plans(F), beta.plans(D)) == (None, None)
    assert beta.row(F).record == alpha.row(F).record
    assert beta.row(D).record.time == alpha.row(D).record.time


def test_what_somebody_else_had_heard_comes_back_with_him() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    alpha.sees(F, found(b"one"))
    for other in (beta, gamma):
        other.hears(alpha)
        other.shows(F, found(b"one"))
    beta.sees(F, found(b"told to gamma", mtime_ns=9))
    gamma.hears(beta)
    for side in (alpha, beta, gamma):
        obey(side, AFTER, "beta")
    meet(alpha, beta)
    assert beta.plans(F) is not None
    alpha.hears(gamma)
    for other in (gamma, alpha):
        beta.heard.clear()
        beta.hears(other)
    assert beta.row(F).record == gamma.row(F).record == alpha.row(F).record
    assert beta.plans(F) is None, "it is shown still, and nobody's change"


def test_what_it_let_go_of_is_told_anew_when_the_rules_are_again_what_they_were() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    alpha.sees(F, found(b"one"))
    for other in (beta, gamma):
        other.hears(alpha)
        other.shows(F, found(b"one"))
    beta.sees(F, found(b"told to gamma", mtime_ns=9))
    gamma.hears(beta)
    # The second never hears that the rules were others in between.
    for side in (alpha, gamma):
        obey(side, AFTER, "gamma")
    meet(alpha, gamma)
    assert gamma.row(F).record == alpha.row(F).record
    obey(gamma, SCOPE)
    assert gamma.engine.knowledge() == {SCOPE: {}}
    gamma.hears(beta)
    assert gamma.row(F).record == beta.row(F).record
    assert gamma.engine.knowledge() == beta.engine.knowledge()


def test_the_other_names_of_what_nobody_has_heard_of_have_the_others_attributes_too() -> None:
    alpha, beta = sides("alpha", "beta")
    for side in (alpha, beta):
        side.sees(ROOT, directory())
    beta.sees(b"first", found(b"first", inode=2))
    beta.sees(F, found(b"unsent", mode=0o600, inode=3))
    alpha.sees(F, found(b"one", mtime_ns=5))
    sees_together(alpha, linked(b"one", mtime_ns=5), b"g", b"f")
    turn(alpha, beta)
    beta.hears(alpha)
    plan = beta.plans(b"g")
    assert plan is not None
    assert plan.meta is not None
    assert plan.meta.mode == 0o600, "as is known of the file's other name"
    beta.shows(b"g", found(b"one", mtime_ns=5, mode=0o600, inode=4))
    assert not beta.row(b"g").pending
    meet(alpha, beta)
    assert beta.row(b"g").pending
    plan = beta.plans(b"g")
    assert plan is not None
    assert plan.meta is not None
    assert (plan.step, plan.meta.mode) == (Step.ATTRIBUTES, 0o644)
