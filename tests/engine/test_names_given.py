"""A name that somebody gives to what is there already is no edit of it, and follows no move (R15)."""

from tests.engine.members import NOW_NS, found, sides
from tests.engine.test_following import A, B, is_at, renames, together


def test_another_name_that_is_given_to_what_was_moved_away_is_no_edit_and_stays() -> None:
    alpha, beta = together("alpha", "beta")
    renames(alpha, A, B)
    renames(beta, A, B)
    alpha.sees(B, found(b"one", links=2), names=(A,))
    alpha.sees(A, found(b"one", links=2), names=(B,), linked_from=B)
    alpha.hears(beta)
    beta.hears(alpha)
    for side in (alpha, beta):
        assert (is_at(side, A, b"one"), is_at(side, B, b"one")) == (True, True)


def test_a_new_file_stays_where_it_was_made_though_it_is_linked_over_what_was_moved_away_from_there() -> None:
    for new, before in ((A, B), (B, A)):  # whichever of the names is looked at first
        alpha, beta = sides("alpha", "beta")
        alpha.sees(new, found(b"one"))
        beta.hears(alpha)
        beta.shows(new, found(b"one"))
        for side in (alpha, beta):
            renames(side, new, before)
        saved = found(b"new", mtime_ns=5, inode=2, links=2)
        alpha.sees(A, saved, names=(B,), linked_from=new if before == A else None)
        alpha.sees(B, saved, names=(A,), linked_from=new if before == B else None)
        alpha.engine.follow((A, B), NOW_NS, alpha.is_unseen)
        alpha.hears(beta)
        beta.hears(alpha)
        for side in (alpha, beta):
            assert is_at(side, new, b"new")
