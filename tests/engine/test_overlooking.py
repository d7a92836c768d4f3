"""Whether what is known is shown where nothing is pending (R13): what was forgotten is taken up, and nothing else."""

import itertools
from collections.abc import Callable

import msgspec
import pytest

from csfs.core.objects import Meta
from csfs.core.paths import ROOT, RelPath
from csfs.engine.overlooking import NOTHING_OVERLOOKED, Overlooked, is_plainly_shown
from csfs.engine.ports import Step
from scripts.simulation.faults import FOUND_WITHIN, planted
from scripts.simulation.planning import made
from scripts.simulation.running import failure_of
from tests.engine.members import NOW_NS, Side, directory, found, sides
from tests.engine.test_links import linked, sees_together

D, F, G = RelPath(b"d"), RelPath(b"f"), RelPath(b"g")
BELOW = RelPath(b"d/f")


def forget_pending(side: Side, *paths: RelPath) -> None:
    """Have a member take what it knows of some paths for shown, whatever it shows."""
    for path in paths:
        side.index.put(path, msgspec.structs.replace(side.row(path), pending=False))


def overlooked(side: Side) -> Overlooked:
    """Return what a member finds that judges what a glance at its rows does not clear: that is all there is to find."""
    rows = side.index.rows()
    judged = side.engine.take_up([path for path, row in rows.items() if not is_plainly_shown(row)])
    assert side.engine.take_up(rows) == NOTHING_OVERLOOKED
    return judged


def after(side: Side, path: RelPath) -> object:
    """Return what is planned at a path, None for nothing."""
    plan = side.engine.plan(path)
    return None if plan is None else (plan.step, plan.content.hash)


def edited() -> tuple[Side, Side]:
    """Return two members of which the second shows the first's file as it was before the last edit, and has heard of that."""
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"1"))
    beta.hears(alpha)
    beta.shows(b"f", found(b"1", inode=7))
    alpha.sees(b"f", found(b"2", mtime_ns=2))
    beta.hears(alpha)
    return alpha, beta


def test_an_edit_that_was_never_applied_is_taken_up_once() -> None:
    _, beta = edited()
    assert overlooked(beta) == NOTHING_OVERLOOKED, "it is pending"
    forget_pending(beta, F)
    assert overlooked(beta) == Overlooked((F,), ())
    assert overlooked(beta) == NOTHING_OVERLOOKED
    assert after(beta, F) == (Step.INSTALL, found(b"2").hash)
    beta.shows(b"f", found(b"2", mtime_ns=2, inode=8))
    assert overlooked(beta) == NOTHING_OVERLOOKED


def test_what_is_shown_of_before_a_version_that_was_applied_is_put_right_without_a_new_version() -> None:
    _, beta = edited()
    before = beta.row(b"f").applied
    beta.shows(b"f", found(b"2", mtime_ns=2, inode=8))
    beta.index.put(F, msgspec.structs.replace(beta.row(b"f"), applied=before))
    assert overlooked(beta).differing == (F,)
    made = beta.counter()
    # The gate refuses what is planned on that: the disk shows something else. It is looked at, then.
    assert not beta.sees(b"f", found(b"2", mtime_ns=2, inode=8))
    assert beta.counter() == made
    assert beta.plans(b"f") is None
    assert overlooked(beta) == NOTHING_OVERLOOKED


def test_what_somebody_wrote_here_meanwhile_stands_beside_what_was_overlooked() -> None:
    alpha, beta = edited()
    forget_pending(beta, F)
    beta.sees(b"f", found(b"3", mtime_ns=3, inode=7))
    assert [entry.value.hash for entry in beta.row(b"f").record.content.entries] == [
        found(data).hash for data in (b"2", b"3")
    ], "nothing that it has not seen is replaced"
    assert overlooked(beta) == NOTHING_OVERLOOKED
    alpha.hears(beta)
    assert after(alpha, F) == (Step.INSTALL, found(b"3").hash)


def lose_removal() -> tuple[Side, RelPath]:
    alpha, beta = edited()
    alpha.sees(b"f", None)
    beta.hears(alpha)
    return beta, F


def lose_mode() -> tuple[Side, RelPath]:
    alpha, beta = edited()
    beta.shows(b"f", found(b"2", mtime_ns=2, inode=8))
    alpha.sees(b"f", found(b"2", mtime_ns=2, mode=0o600))
    beta.hears(alpha)
    return beta, F


def lose_new_file() -> tuple[Side, RelPath]:
    alpha, beta = edited()
    alpha.sees(b"g", found(b"new"))
    beta.hears(alpha)
    return beta, G


def lose_conflict() -> tuple[Side, RelPath]:
    alpha, beta = sides("alpha", "beta")
    beta.sees(b"f", found(b"ours"))
    alpha.sees(b"f", found(b"theirs", mtime_ns=2))
    beta.hears(alpha)
    return beta, F


@pytest.mark.parametrize("lose", [lose_removal, lose_mode, lose_new_file, lose_conflict])
def test_whatever_it_was_that_was_forgotten(lose: Callable[[], tuple[Side, RelPath]]) -> None:
    side, path = lose()
    planned = after(side, path)
    assert planned is not None
    forget_pending(side, path)
    assert overlooked(side).differing == (path,)
    assert after(side, path) == planned


def test_a_directory_that_has_to_be_there_is_taken_up_with_what_is_to_be_in_it() -> None:
    alpha, beta = sides("alpha", "beta")
    for side in (alpha, beta):
        side.sees(b"d", directory())
    beta.hears(alpha)
    beta.plans(b"d")
    alpha.sees(b"d", None)
    alpha.hears(beta)
    beta.hears(alpha)
    beta.sees(b"d", None)
    alpha.sees(b"d", directory())
    alpha.sees(b"d/f", found(b"1"))
    alpha.sees(b"d", None)  # it lives by what is below it
    beta.hears(alpha)
    forget_pending(beta, D, BELOW)
    assert {*overlooked(beta).differing} == {D, BELOW}
    beta.shows(b"d", directory(inode=9))
    assert after(beta, BELOW) == (Step.INSTALL, found(b"1").hash)


def test_a_directory_that_somebody_waits_for_and_that_nobody_makes_is_taken_up() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory())
    alpha.sees(b"d/f", found(b"1"))
    beta.hears(alpha)
    beta.index.drop(D)
    assert after(beta, BELOW) is None
    beta.sees(b"d", found(b"2"))
    assert not beta.row(b"d").pending
    assert overlooked(beta).differing == (D,)
    assert after(beta, D) == (Step.REMOVE, b"")
    assert overlooked(beta) == NOTHING_OVERLOOKED


def test_a_name_that_is_to_be_linked_and_is_not_is_told_apart() -> None:
    alpha, beta = sides("alpha", "beta")
    sees_together(alpha, linked(b"1"), b"f", b"g")
    beta.hears(alpha)
    beta.shows(b"f", found(b"1", inode=7))
    plan = beta.plans(b"g")
    assert plan is not None
    assert plan.write is not None
    beta.engine.unlinkable.add(plan.write)
    beta.shows(b"g", found(b"1", inode=8))
    assert overlooked(beta) == NOTHING_OVERLOOKED, "the file system refuses it"
    beta.engine.unlinkable.clear()
    assert overlooked(beta) == Overlooked((), (G,))
    again = beta.plans(b"g")
    assert again is not None
    assert again.link == F


def test_what_is_shown_as_this_host_can_is_not_overlooked() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"1", owner="bob", uid=1001, mtime_ns=1_234_567))
    beta.hears(alpha)
    beta.shows(b"f", found(b"1", owner="", uid=1001, mtime_ns=1_234_000))
    assert beta.row(b"f").applied.meta == Meta(0o644, 1001, 0, "bob", "root")
    assert overlooked(beta) == NOTHING_OVERLOOKED
    assert is_plainly_shown(beta.row(b"f"))


def test_what_a_policy_leaves_open_is_as_it_is_and_what_it_does_not_is_taken_up() -> None:
    alpha, beta = sides("alpha", "beta", policy=("none",))
    alpha.sees(b"f", found(b"1"))
    beta.sees(b"f", found(b"2", mtime_ns=2))
    for side, other in ((alpha, beta), (beta, alpha)):
        side.hears(other)
        assert side.plans(b"f") is None
        assert overlooked(side) == NOTHING_OVERLOOKED
        assert not is_plainly_shown(side.row(b"f"))
    beta.sees(b"f", None)
    beta.sees(b"f", found(b"3", mtime_ns=3))
    alpha.hears(beta)
    assert overlooked(alpha) == NOTHING_OVERLOOKED


def test_what_stands_in_for_a_better_content_waits_and_is_not_overlooked() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    alpha.sees(b"f", found(b"best", mtime_ns=9))
    beta.sees(b"f", found(b"next", mtime_ns=5))
    gamma.hears(beta)
    gamma.shows(b"f", found(b"next", mtime_ns=5))
    gamma.hears(alpha)
    assert gamma.engine.plan(F, {found(b"best").hash}) is None
    assert gamma.row(b"f").pending
    assert overlooked(gamma) == NOTHING_OVERLOOKED


def test_what_a_member_that_only_receives_shows_instead_is_pending_and_put_back_if_that_was_forgotten() -> None:
    alpha, beta = sides("alpha", "beta", receive_only=("beta",))
    alpha.sees(b"f", found(b"1"))
    beta.hears(alpha)
    beta.shows(b"f", found(b"1"))
    assert overlooked(beta) == NOTHING_OVERLOOKED
    beta.sees(b"f", found(b"own", mtime_ns=5))
    assert overlooked(beta) == NOTHING_OVERLOOKED
    forget_pending(beta, F)
    assert overlooked(beta).differing == (F,)
    plan = beta.plans(b"f")
    assert plan is not None
    assert plan.keep


def test_what_a_power_cut_left_of_which_nobody_knows_stays() -> None:
    (alpha,) = sides("alpha")
    assert not alpha.engine.doubt(F, None)
    alpha.engine.doubt(F, found(b"left"))
    assert alpha.plans(b"f") is None
    assert alpha.row(b"f").applied.observation is not None
    assert overlooked(alpha) == NOTHING_OVERLOOKED


def test_who_joins_and_who_has_not_looked_at_the_root_has_overlooked_nothing() -> None:
    alpha, beta = sides("alpha", "beta", pulling=("beta",))
    alpha.sees(b"", directory())
    alpha.sees(b"f", found(b"1"))
    beta.hears(alpha)
    forget_pending(beta, F, ROOT)
    assert overlooked(beta) == NOTHING_OVERLOOKED, "nothing is planned before it has joined"
    beta.engine.finish_pull()
    assert overlooked(beta).differing == (F,)
    beta.engine.observe(ROOT, directory(), NOW_NS, joining=True)
    assert overlooked(beta) == NOTHING_OVERLOOKED


@pytest.mark.slow
def test_what_a_fault_takes_for_shown_is_found_and_put_right_in_the_simulation() -> None:
    with planted("application-lost"):
        found_first = (failure_of(made(seed, 5, 200)) for seed in range(FOUND_WITHIN))
        kinds = {failure.kind for failure in itertools.islice((one for one in found_first if one is not None), 10)}
    assert "AssertionError in check_overlooked" in kinds, "it comes last: all members show the same by then"
