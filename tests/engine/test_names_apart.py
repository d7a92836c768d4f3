"""Names of one inode that were installed as files of their own are linked once another one shows the version that they have (R17)."""

from csfs.core.paths import ROOT
from csfs.engine.ports import Step
from scripts.simulation.tree import hash_of
from tests.engine.members import NOW_NS, SCOPE, Side, directory, found, sides
from tests.engine.test_links import A, B, C, linked, sees_together
from tests.engine.test_receiving_from_now_on import meet, turn
from tests.engine.test_wholes import follows, has, moves, shows_all, told


def is_to_be_linked(side: Side) -> bool:
    """Return whether `b` waits to be linked to `a`."""
    plan = side.plans(b"b") if side.row(b"b").pending else None
    return plan is not None and (plan.step, plan.link) == (Step.INSTALL, A)


def test_a_name_is_linked_to_what_stood_in_for_another_version_once_that_is_let_go_of() -> None:
    alpha, beta = sides("alpha", "beta")
    for side in (alpha, beta):
        side.sees(ROOT, directory())
    sees_together(alpha, linked(b"1"), b"a", b"b")
    beta.sees(A, found(b"unsent", mtime_ns=9))
    beta.sees(A, found(b"unsent", mtime_ns=10))
    turn(alpha, beta)
    beta.sees(A, found(b"later", mtime_ns=11))
    beta.engine.greeted("alpha", alpha.engine._incarnation)
    beta.hears(alpha)
    plan = beta.engine.plan(A, {hash_of(b"unsent")})
    assert plan is not None
    assert plan.content.hash == hash_of(b"1")
    beta.engine.applied(plan, found(b"1", inode=7))
    plan = beta.plans(b"b")
    assert plan is not None
    assert plan.link is None, "it is no name of what is best at `a`"
    beta.engine.applied(plan, found(b"1", inode=8))
    meet(alpha, beta)
    assert not beta.row(b"b").pending
    plan = beta.engine.plan(A, undressed=True)
    assert plan is not None
    assert plan.step is Step.ATTRIBUTES
    assert B in beta.engine.applied(plan, found(b"1", inode=7))
    assert is_to_be_linked(beta)


def test_a_name_is_linked_to_what_somebody_made_just_as_it_was_to_come() -> None:
    alpha, beta = sides("alpha", "beta")
    sees_together(alpha, linked(b"1"), b"a", b"b")
    beta.hears(alpha)
    beta.shows(b"b", found(b"1", inode=8))
    beta.sees(A, found(b"1", inode=9))
    assert B in beta.engine.woken()
    assert is_to_be_linked(beta)


def test_a_name_is_linked_to_what_came_there_with_its_directory_though_the_name_was_told_first() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    has(alpha, {b"d": directory(3, inode=1), b"d/a": found(b"one", inode=2)})
    for other in (beta, gamma):
        other.hears(alpha)
        shows_all(other)
    moves(alpha)
    move = told(alpha, beta)
    assert beta.engine.agrees("alpha", SCOPE, move, NOW_NS)
    assert follows(gamma, alpha)
    sees_together(gamma, linked(b"one", inode=101), b"e/a", b"b")
    beta.hears(gamma)  # while the rename is under way
    beta.shows(b"b", found(b"one", inode=9))
    shown = beta.row(b"d").applied.observation
    assert shown is not None
    beta.engine.moved_whole(SCOPE, move, shown, "alpha", merging=False)
    assert B in beta.engine.woken()
    plan = beta.plans(b"b")
    assert plan is not None
    assert (plan.step, plan.link) == (Step.INSTALL, b"e/a")


def test_names_decide_anew_once_one_of_them_is_another_file_though_not_all_have_the_same_to_decide_on() -> None:
    alpha, beta = sides("alpha", "beta", policy=("left",))
    sees_together(alpha, linked(b"1", links=3), A, B, C)
    beta.hears(alpha)
    for path, links in ((A, 1), (B, 2), (C, 3)):
        beta.shows(path, linked(b"1", inode=7, links=links))
    beta.sees(C, found(b"other", mode=0o744, inode=8))
    sees_together(alpha, linked(b"2", links=3, mtime_ns=5), A, B, C)
    alpha.hears(beta)
    assert [alpha.plans(path) for path in (A, B, C)] == [None, None, None]
    alpha.sees(A, found(b"saved", mtime_ns=9, inode=2))
    assert {B, C} <= set(alpha.engine.woken())
    for path in (B, C):
        assert alpha.row(path).pending
        plan = alpha.plans(path)
        assert plan is not None
        assert plan.meta is not None
        assert (plan.step, plan.meta.mode) == (Step.ATTRIBUTES, 0o744), "what the first name said counts no more"
