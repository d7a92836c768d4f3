"""What a version was made from lost nothing against it, and is kept under retention (R15, R19)."""

import pytest

from csfs.core.paths import RelPath
from csfs.engine.ports import Step
from tests.engine.members import found
from tests.engine.test_following import A, B, C, edits, renames, together
from tests.engine.test_taking_back import followed, removes


@pytest.mark.parametrize("edited", [(), (b"again",)])
def test_what_an_edit_was_made_from_lost_nothing_where_the_edit_takes_its_place(edited: tuple[bytes, ...]) -> None:
    alpha, beta, gamma = followed("alpha", "beta", "gamma")
    for data in edited:
        edits(beta, A, data)
    alpha.hears(beta)
    gamma.hears(beta)
    replacing, removing = alpha.plans(B), gamma.plans(A)
    assert replacing is not None
    assert (replacing.keep, replacing.succeeded) == (True, True), (
        "it may stand again, and is no loser that stays for good"
    )
    assert removing is not None
    assert (removing.step, removing.keep) == (Step.REMOVE, False), "nobody needs it from there"


def test_what_the_mover_made_at_the_new_name_is_a_loser_where_the_edit_wins() -> None:
    alpha, beta = together("alpha", "beta")
    renames(alpha, A, B)
    edits(alpha, B, b"by the mover")
    edits(beta, A, b"the later and longer edit")
    beta.hears(alpha)
    alpha.hears(beta)
    plan = alpha.plans(B) or beta.plans(B)
    assert plan is not None
    assert (plan.keep, plan.succeeded) == (True, False)


def test_what_was_moved_and_is_lost_in_a_power_cut_is_kept_where_another_file_is_moved_after_it() -> None:
    """Whoever made the new file at the old name has moved these bytes away from there, and had them nowhere any more."""
    alpha, beta = together("alpha", "beta")
    renames(beta, A, B)
    beta.engine.doubt(B, None)
    beta.sees(A, found(b"new", inode=2))
    renames(beta, A, B, b"new", inode=2)
    alpha.hears(beta)
    plan = alpha.plans(A)
    assert plan is not None
    assert (plan.step, plan.keep, plan.succeeded) == (Step.REMOVE, True, False)


@pytest.mark.parametrize("went", [None, C])
def test_what_an_edit_was_made_from_is_not_kept_where_the_edit_was_removed_or_has_made_room(
    went: RelPath | None,
) -> None:
    alpha, beta, gamma = followed("alpha", "beta", "gamma")
    alpha.hears(beta)
    alpha.shows(B, found(b"edited"))
    if went is None:
        removes(alpha, B)
    else:
        alpha.sees(A, found(b"new", inode=2))
        renames(alpha, B, C, b"edited")
        renames(alpha, A, B, b"new", inode=2)
    gamma.hears(alpha)
    plan = gamma.plans(A)
    if plan is None:
        gamma.shows(B, found(b"new", inode=2))
        plan = gamma.plans(A)
    assert plan is not None
    assert (plan.step, plan.keep) == (Step.REMOVE, False)
