"""Names of one inode when rules, groups, authors or what is shown make another version of one of them live (R11, R17)."""

from dataclasses import dataclass

from csfs.core.groups import Group
from csfs.core.paths import ROOT, RelPath
from csfs.core.versions import Incarnation, Scope
from csfs.engine.overlooking import NOTHING_OVERLOOKED
from csfs.engine.ports import Step
from csfs.engine.volume import VolumeEngine
from tests.engine.members import SCOPE, Side, follow_rules, found, sides
from tests.engine.test_links import A, B, linked, sees_together
from tests.engine.test_rules import under_other_rules

BOTH = ("alpha", "beta")
APART = Scope(b"scope-03")


@dataclass(frozen=True)
class TwoGroups:
    """One path belongs to a group of its own, and everything else to the one that there always was."""

    path: RelPath

    @property
    def groups(self) -> tuple[Group, ...]:
        """All groups."""
        return (Group(BOTH, frozenset(), ("older",), SCOPE), Group(BOTH, frozenset(), ("older",), APART))

    def group_of(self, path: RelPath) -> Group:
        """Return the group of any path."""
        return self.groups[path == self.path]


def under(side: Side, path: RelPath) -> VolumeEngine:
    """Return a member's engine under rules that have a group for one path, all rows written so."""
    side.engine = VolumeEngine(side.index, TwoGroups(path), side.name, side.engine._incarnation, side.engine._authors)
    follow_rules(side.engine, before=(SCOPE,))
    return side.engine


def with_a_version_of_one_name(name: bytes, policy: tuple[str, ...]) -> Side:
    """Return a member with two names of one file, and for one of them a younger version of another one's that grants less."""
    alpha, beta = sides(*BOTH, policy=policy)
    beta.sees(name, found(b"other", mode=0o600, mtime_ns=9, inode=3))
    alpha.sees(b"a", found(b"one", mtime_ns=5))
    sees_together(alpha, linked(b"one", mtime_ns=5), b"b", b"a")
    alpha.hears(beta)
    return alpha


def test_what_shows_another_version_by_the_new_rules_decides_no_more_on_other_names_before_it_is_written_so() -> None:
    alpha = with_a_version_of_one_name(b"b", ("older",))
    alpha.shows(b"a", linked(b"one", mtime_ns=5, mode=0o600))
    assert alpha.plans(b"b") is None, "it is the same inode"
    engine = under_other_rules(alpha)
    first = engine.sort_rows(ROOT, 1)
    assert first is not None
    plan = alpha.plans(b"a")
    assert plan is not None
    assert plan.meta is not None
    assert (plan.step, plan.meta.mode) == (Step.ATTRIBUTES, 0o644)


def test_other_names_of_what_is_live_by_the_new_rules_are_planned_once_it_is_written_so() -> None:
    alpha = with_a_version_of_one_name(b"b", ("younger",))
    alpha.shows(b"b", found(b"other", mode=0o600, mtime_ns=9, inode=4))
    engine = under_other_rules(alpha, policy=("older",))
    first = engine.sort_rows(ROOT, 1)
    assert first is not None
    assert alpha.plans(b"a") is None
    assert not alpha.row(b"a").pending, "the other name is not written yet, and not found"
    engine.sort_rows(first, 9)
    alpha.index.revise(None)
    assert alpha.row(b"a").pending
    plan = alpha.plans(b"a")
    assert plan is not None
    assert plan.meta is not None
    assert (plan.step, plan.meta.mode) == (Step.ATTRIBUTES, 0o600)


def test_a_name_that_leaves_a_group_decides_no_more_on_those_that_stay_in_it_and_does_once_it_is_back() -> None:
    alpha = with_a_version_of_one_name(b"b", ("older",))
    alpha.shows(b"a", linked(b"one", mtime_ns=5, mode=0o600))
    assert alpha.plans(b"b") is None, "it is the same inode"
    assert not alpha.row(b"a").pending
    engine = under(alpha, B)
    assert alpha.row(b"a").pending
    assert alpha.row(b"b").scope == APART
    alpha.shows(b"a", found(b"one", mtime_ns=5, inode=4))
    assert engine.take_up((A,)) == NOTHING_OVERLOOKED
    assert not alpha.row(b"a").pending
    engine = under(alpha, RelPath(b"c"))
    assert alpha.row(b"a").pending
    plan = alpha.plans(b"a")
    assert plan is not None
    assert plan.meta is not None
    assert plan.meta.mode == 0o600


def test_a_version_decides_no_more_on_other_names_of_what_it_replaces_once_its_author_is_known() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma", policy=("left",))
    everybody, gamma.engine._authors = gamma.engine._authors, {Incarnation(2): "beta"}
    alpha.sees(b"b", found(b"other", mode=0o600, inode=3))
    beta.sees(b"a", found(b"one", mtime_ns=5))
    sees_together(beta, linked(b"one", mtime_ns=5), b"b", b"a")
    for side in (alpha, beta):
        gamma.hears(side)
    gamma.shows(b"a", found(b"one", mtime_ns=5, mode=0o600))
    assert not gamma.row(b"a").pending
    gamma.engine._authors = everybody
    gamma.engine.reconsider([B])
    assert gamma.row(b"b").pending
    assert gamma.row(b"a").pending
    plan = gamma.plans(b"a")
    assert plan is not None
    assert plan.meta is not None
    assert (plan.step, plan.meta.mode) == (Step.ATTRIBUTES, 0o644)


def test_what_is_lost_where_the_policy_leaves_it_open_decides_no_more_on_its_other_names() -> None:
    alpha, beta = sides(*BOTH, policy=("none",))
    alpha.sees(b"b", found(b"other", mode=0o600, mtime_ns=9, inode=3))
    beta.sees(b"a", found(b"one", mtime_ns=5))
    sees_together(beta, linked(b"one", mtime_ns=5), b"b", b"a")
    beta.hears(alpha)
    beta.shows(b"a", linked(b"one", mtime_ns=5, mode=0o600))
    assert beta.plans(b"b") is None, "what it shows stands"
    beta.engine.lose(B)
    assert beta.row(b"a").write != beta.row(b"b").write
    assert beta.row(b"a").pending
    plan = beta.plans(b"a")
    assert plan is not None
    assert plan.meta is not None
    assert (plan.step, plan.meta.mode) == (Step.ATTRIBUTES, 0o644)
