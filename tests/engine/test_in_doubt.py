"""What becomes of what a restored member has in doubt: a removal, a move, and what had been decided against (R8)."""

import pytest

from csfs.core.paths import RelPath
from tests.engine.members import NOW_NS, SCOPE, found, sides
from tests.engine.test_following import A, B, edits, is_at, renames, together
from tests.engine.test_quarantine import backup, caught_up, hears_anew, in_quarantine, restarted


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
