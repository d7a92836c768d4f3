"""Live is the best version whose content is to be had; a better one stays wanted, and nobody overwrites it unseen (R21)."""

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.engine.ports import Step
from scripts.simulation.tree import hash_of
from tests.engine.members import Side, directory, found, sides

BEST, NEXT = hash_of(b"best"), hash_of(b"next")
F = RelPath(b"f")


def wanting() -> tuple[Side, Side, Side]:
    """Gamma shows an old version of f, and knows of two that replace it: alpha's is older than beta's."""
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    alpha.sees(b"f", found(b"old"))
    for other in (beta, gamma):
        other.hears(alpha)
        other.shows(b"f", found(b"old"))
    alpha.sees(b"f", found(b"next", mtime_ns=5))
    beta.sees(b"f", found(b"best", mtime_ns=9))
    gamma.hears(alpha)
    gamma.hears(beta)
    return alpha, beta, gamma


def test_what_is_next_best_is_shown_while_the_best_is_not_to_be_had() -> None:
    _, _, gamma = wanting()
    plan = gamma.plans(b"f")
    assert plan is not None
    assert plan.needed is not None
    assert plan.needed.hash == BEST
    other = gamma.engine.plan(F, {BEST})
    assert other is not None
    assert (other.step, other.content.hash) == (Step.INSTALL, NEXT)
    gamma.engine.applied(other, found(b"next", mtime_ns=5, inode=2))
    assert gamma.row(b"f").pending, "the best is still wanted"
    assert gamma.engine.plan(F, {BEST}) is None
    again = gamma.plans(b"f")
    assert again is not None
    assert (again.content.hash, again.keep) == (BEST, True), "what loses is kept"
    gamma.engine.applied(again, found(b"best", mtime_ns=9, inode=3))
    assert not gamma.row(b"f").pending


def test_where_none_of_them_is_to_be_had_the_old_content_stays() -> None:
    _, _, gamma = wanting()
    assert gamma.engine.plan(F, {BEST, NEXT}) is None
    assert gamma.row(b"f").pending


def test_who_writes_over_the_next_best_has_not_seen_the_best() -> None:
    _, beta, gamma = wanting()
    other = gamma.engine.plan(F, {BEST})
    assert other is not None
    gamma.engine.applied(other, found(b"next", mtime_ns=5, inode=2))
    gamma.sees(b"f", found(b"mine", mtime_ns=20, inode=2))
    hashes = {entry.value.hash for entry in gamma.row(b"f").record.content.entries}
    assert hashes == {BEST, hash_of(b"mine")}
    beta.hears(gamma)
    assert len(beta.row(b"f").record.content.entries) == 2, "a conflict, and nothing is lost"


def test_nothing_is_cleared_away_for_what_is_not_to_be_had() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    alpha.sees(b"f", found(b"best", mtime_ns=9))
    beta.sees(b"f", directory())
    gamma.hears(beta)
    gamma.shows(b"f", directory())
    gamma.hears(alpha)
    plan = gamma.plans(b"f")
    assert plan is not None
    assert plan.step is Step.REMOVE
    assert plan.needed is not None
    assert (plan.needed.kind, plan.needed.hash) == (Kind.FILE, BEST)
    assert gamma.engine.plan(F, {BEST}) is None, "the directory is next best, and is shown"
