"""A directory that comes or goes by nothing but what is made or taken away below it is planned then, whoever did that (R16)."""

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.engine.live import ABSENT
from csfs.engine.overlooking import NOTHING_OVERLOOKED
from csfs.engine.ports import Step
from scripts.simulation.tree import hash_of
from tests.engine.members import NOW_NS, SCOPE, Side, directory, found, sides
from tests.engine.test_merging import BASE, edited
from tests.engine.test_wholes import SMALL, has, moves, shows_all, told

D, BELOW = RelPath(b"d"), RelPath(b"d/f")


def has_nothing_overlooked(side: Side) -> bool:
    """Return whether all that is to be shown here is shown, or is pending."""
    return side.engine.take_up(side.index.rows()) == NOTHING_OVERLOOKED


def merged_below_a_file() -> Side:
    """Return a member who put a file where a directory was, and has made a merge since of what he took away unseen in it."""
    alpha, beta = sides("alpha", "beta", policy=("merge", "younger"))
    alpha.sees(D, directory(inode=2))
    alpha.sees(BELOW, found(BASE, inode=3))
    beta.hears(alpha)
    beta.shows(D, directory(inode=2))
    beta.shows(BELOW, found(BASE, inode=3))
    alpha.sees(BELOW, found(edited(1), mtime_ns=10, inode=3))
    beta.sees(BELOW, found(edited(9), mtime_ns=20, inode=3))
    alpha.hears(beta)
    for data in (edited(1, 9), None):
        if data is None:
            alpha.sees(BELOW, None)
            alpha.sees(D, found(b"a file", inode=4))
            assert alpha.plans(D) is None
            assert has_nothing_overlooked(alpha)
        due = alpha.engine.merge_due(BELOW)
        assert due is not None
        result = edited(1, 9)
        assert alpha.engine.merge(due, hash_of(result), len(result), NOW_NS)
    return alpha


def test_a_merge_that_a_removal_overtook_has_its_directory_come_back_instead_of_a_file() -> None:
    alpha = merged_below_a_file()
    assert D in alpha.engine.woken()
    assert has_nothing_overlooked(alpha)
    plan = alpha.plans(D)
    assert plan is not None
    assert (plan.step, plan.room_for is not None and plan.room_for.kind) == (Step.REMOVE, Kind.DIRECTORY)


def test_a_directory_that_lives_by_what_a_person_takes_away_goes() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(D, directory(inode=2))
    beta.hears(alpha)
    beta.shows(D, directory(inode=2))
    beta.sees(BELOW, found(b"made meanwhile", inode=3))
    alpha.sees(D, None)
    beta.hears(alpha)
    assert beta.plans(D) is None
    touched = beta.engine.settle(BELOW, ABSENT, None, NOW_NS)
    assert D in touched
    assert has_nothing_overlooked(beta)
    beta.shows(BELOW, None)
    plan = beta.plans(D)
    assert plan is not None
    assert plan.step is Step.REMOVE


def test_a_directory_that_was_moved_whole_lives_on_for_what_became_known_in_it_meanwhile() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    has(alpha, SMALL)
    for side in (beta, gamma):
        side.hears(alpha)
        shows_all(side)
    moves(alpha)
    move = told(alpha, beta)
    gamma.sees(RelPath(b"d/a"), found(b"edited", inode=101, mtime_ns=9))
    shown = beta.row(D).applied.observation
    assert shown is not None
    assert beta.engine.agrees("alpha", SCOPE, move, NOW_NS)
    beta.hears(gamma)  # while the rename is under way
    assert not beta.engine.moved_whole(SCOPE, move, shown, merging=False)
    assert D in beta.engine.woken()
    assert has_nothing_overlooked(beta)


def test_directories_that_wait_to_be_empty_are_planned_anew_when_a_program_edits_what_was_to_go_from_them() -> None:
    alpha, beta = sides("alpha", "beta")
    within, below = RelPath(b"d/e"), RelPath(b"d/e/f")
    tree = {D: directory(inode=2), within: directory(inode=3), below: found(b"one", inode=4)}
    has(alpha, tree)
    beta.hears(alpha)
    for path, observation in tree.items():
        beta.shows(path, observation)
    for path in reversed(tree):
        alpha.sees(path, None)
    beta.hears(alpha)
    assert (beta.plans(D), beta.plans(within)) == (None, None)
    beta.sees(below, found(b"two", mtime_ns=5, inode=4))
    assert set(beta.engine.woken()) == {D, within}
    assert (beta.plans(D), beta.plans(within)) == (None, None)
    assert beta.index.pending() == []
