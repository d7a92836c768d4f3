"""An edit that has followed a move goes on by later ones, in whatever life of its member, and comes to rest (R15)."""

import pytest

from csfs.core.versions import Incarnation
from tests.engine.members import NOW_NS, found
from tests.engine.test_following import A, B, C, edits, is_at, renames, together
from tests.engine.test_quarantine import restarted


@pytest.mark.parametrize("is_booted", [False, True])
def test_an_edit_that_has_followed_goes_on_by_a_move_that_comes_to_be_known_later(is_booted: bool) -> None:
    alpha, beta, gamma = together("alpha", "beta", "gamma")
    edits(beta, A)
    renames(alpha, A, B)
    gamma.hears(alpha)
    gamma.shows(B, found(b"one", inode=2))
    gamma.shows(A, None)
    beta.hears(alpha)
    assert is_at(beta, B, b"edited")
    renames(gamma, B, C, inode=2)
    gamma.hears(beta)
    assert is_at(gamma, B, b"edited")
    if is_booted:
        beta = restarted(beta, beta.index, 97)
        beta.engine.follow((A, B), NOW_NS)
        assert beta.counter() == 0, "it has followed that move, in an earlier life"
        gamma.engine.greeted("beta", Incarnation(97))
    beta.hears(gamma)
    assert is_at(beta, B, None)
    assert is_at(beta, C, b"edited")
    made = beta.counter()
    gamma.hears(beta)
    beta.hears(gamma)
    assert is_at(gamma, C, b"edited")
    assert beta.counter() == made


def test_who_goes_on_editing_what_has_followed_and_is_still_shown_has_it_follow_again() -> None:
    alpha, beta = together("alpha", "beta")
    edits(beta, A)
    renames(alpha, A, B)
    beta.hears(alpha)
    assert is_at(beta, B, b"edited")
    edits(beta, A, b"edited more")
    assert is_at(beta, A, None)
    assert is_at(beta, B, b"edited more")
    assert len(beta.row(B).record.content.entries) == 1
