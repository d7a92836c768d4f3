"""What a version was made from lost nothing against it, and is kept under retention (R15, R19)."""

import pytest

from csfs.engine.ports import Step
from tests.engine.test_following import A, B, edits, renames, together
from tests.engine.test_taking_back import followed


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
