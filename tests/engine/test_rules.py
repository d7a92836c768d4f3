"""Other rules, or other members: what is known counts for the new groups at once, and rows are written so little by little (R11)."""

from dataclasses import dataclass

import pytest

from csfs.core.groups import Group
from csfs.core.objects import Kind
from csfs.core.paths import ROOT, RelPath
from csfs.core.versions import Incarnation, Scope
from csfs.engine.memory import MemoryIndex
from csfs.engine.ports import Step
from csfs.engine.rules import Rules
from csfs.engine.volume import VolumeEngine
from scripts.simulation.rules import OneGroup
from tests.engine.members import NOW_NS, SCOPE, Side, directory, follow_rules, found, sides
from tests.engine.test_wholes import SMALL, both, moves, told

ALPHA = Incarnation(1)
BETA = Incarnation(2)


def under_other_rules(side: Side, *, policy: tuple[str, ...] = ("younger",)) -> VolumeEngine:
    """Return a member's engine under the next revision of its rules, before any row was written anew."""
    group = Group(("alpha", "beta"), frozenset(), policy, Scope(b"scope-02"))
    side.engine = VolumeEngine(side.index, OneGroup(group), side.name, side.engine._incarnation, side.engine._authors)
    side.engine.follow_rules()
    side.index.revise(side.engine.in_scope)
    return side.engine


def test_a_path_that_changes_groups_is_told_again_whole_before_it_is_written_anew() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    engine = under_other_rules(alpha)
    out = engine.outgoing(0, {}, 10, "beta")
    assert out.scope == Scope(b"scope-02")
    assert [one.path for one in out.updates] == [b"f"]
    assert out.mark == {ALPHA: 2}


def test_what_is_known_of_a_group_counts_on_only_while_its_rules_stay() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    beta.sees(b"g", found(b"two"))
    follow_rules(beta.engine, before=(Scope(b"scope-02"), SCOPE))
    assert beta.engine.knowledge() == {SCOPE: {ALPHA: 2, BETA: 2}}
    follow_rules(beta.engine, before=(Scope(b"scope-02"),))
    assert beta.engine.knowledge() == {SCOPE: {BETA: 2}}


def test_what_is_made_under_other_rules_carries_no_lives_that_ended_before() -> None:
    alpha, beta = members = sides("alpha", "beta")
    ended = {Incarnation(life): 1 for life in range(100, 5_000)}
    for side in members:
        side.index.set_knowledge(SCOPE, ended)
    alpha.sees(b"before", found(b"one"))
    beta.hears(alpha)
    assert len(beta.row(b"before").record.content.seen) == 4_901
    for side in members:
        under_other_rules(side)
        side.heard.clear()
    for one, other in ((beta, alpha), (alpha, beta)) * 2:
        assert not one.hears(other).refused
    for side in members:
        side.sees(b"after %s" % side.name.encode(), found(b"two"))
    for one, other in ((beta, alpha), (alpha, beta)):
        assert not one.hears(other).refused
        seen = one.row(b"after %s" % other.name.encode()).record.content.seen
        assert seen.keys() <= {ALPHA, BETA}


def test_rows_are_written_as_the_rules_have_them_a_few_at_a_time() -> None:
    alpha, _ = sides("alpha", "beta")
    for name in (b"", b"a", b"b", b"c"):
        alpha.sees(name, directory())
    alpha.index.commit()
    engine = under_other_rules(alpha)
    old, new = SCOPE, Scope(b"scope-02")
    going_on = engine.sort_rows(ROOT, 3)
    assert going_on is not None
    assert [scope for _, scope in alpha.index.scopes_from(ROOT, 9)] == [new, new, new, old]
    assert alpha.index.pending() == [b"", b"a", b"b"]
    assert alpha.row(b"c").scope == new
    alpha.index.rollback()
    assert [scope for _, scope in alpha.index.scopes_from(ROOT, 9)] == [old] * 4
    assert engine.sort_rows(ROOT, 9) is None
    alpha.index.revise(None)
    assert {row.scope for row in alpha.index.rows().values()} == {new}


def test_what_is_changed_while_rows_wait_to_be_written_is_of_the_new_group_and_links_are_known() -> None:
    alpha, beta = sides("alpha", "beta")
    for name in (b"a", b"b"):
        alpha.sees(name, found(b"one", links=2), names=[RelPath(other) for other in (b"a", b"b") if other != name])
    write = alpha.row(b"a").write
    assert write is not None
    engine = under_other_rules(alpha)
    alpha.sees(b"a", found(b"two", mtime_ns=2, links=2), names=[RelPath(b"b")])
    alpha.sees(b"b", found(b"two", mtime_ns=2, links=2), names=[RelPath(b"a")])
    assert alpha.row(b"a").write == alpha.row(b"b").write != write
    assert engine.sort_rows(ROOT, 9) is None
    alpha.index.revise(None)
    follow_rules(under_other_rules(beta))
    assert not beta.hears(alpha).refused
    assert beta.row(b"a").write == beta.row(b"b").write == alpha.row(b"a").write


def test_a_change_of_ours_that_others_replaced_is_ours_under_other_rules_too() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    alpha.sees(b"d", directory(mtime_ns=1))
    beta.hears(alpha)
    gamma.hears(alpha)
    gamma.shows(b"d", directory(mtime_ns=1))
    gamma.engine.touched(RelPath(b"d"), 9, 2 * NOW_NS)
    alpha.hears(gamma)
    for side in (alpha, beta):
        group = Group(("alpha", "beta", "gamma"), frozenset(), ("older",), Scope(b"scope-02"))
        side.engine = VolumeEngine(
            side.index, OneGroup(group), side.name, side.engine._incarnation, side.engine._authors
        )
        follow_rules(side.engine)
    assert not alpha.hears(beta).refused


def test_what_was_made_before_a_restore_is_not_known_under_other_rules() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    alpha.sees(b"g", found(b"two"))
    beta.hears(alpha)
    group = Group(("alpha", "beta"), frozenset(), ("older",), Scope(b"scope-02"))
    authors = {**alpha.engine._authors, Incarnation(7): "alpha"}
    restored = VolumeEngine(MemoryIndex(), OneGroup(group), "alpha", Incarnation(7), authors)
    beta.engine = VolumeEngine(beta.index, OneGroup(group), "beta", BETA, authors)
    follow_rules(beta.engine)
    first = beta.engine.outgoing(0, {}, 1, "alpha")
    restored.receive("beta", first.scope, first.updates, first.mark, NOW_NS)
    follow_rules(restored)
    assert restored.knowledge() == {group.scope: {}}
    second = beta.engine.outgoing(first.position, restored.knowledge(), 10, "alpha")
    assert [update.path for update in (*first.updates, *second.updates)] == [b"f", b"g"]


@dataclass(frozen=True)
class Halves:
    """`d` belongs to one group, and what is at and below `e` to another one, or to none."""

    groups: tuple[Group, ...]

    def group_of(self, path: RelPath) -> Group | None:
        return self.groups[0] if not path.startswith(b"e") else self.groups[-1] if len(self.groups) > 1 else None


OTHERS = (
    Group(("alpha", "beta"), frozenset(), ("older",), Scope(b"scope-02")),
    Group(("alpha", "beta"), frozenset(), ("younger",), Scope(b"scope-03")),
)


@pytest.mark.parametrize("rules", [OneGroup(OTHERS[0]), Halves(OTHERS), Halves(OTHERS[:1])])
@pytest.mark.parametrize("policy", ["younger", "merge"])
def test_a_rename_that_was_agreed_under_other_rules_is_recorded_where_each_path_is_now(
    rules: Rules, policy: str
) -> None:
    alpha, beta = both(SMALL, policy=(policy, "older"))
    assert moves(alpha)
    move = told(alpha, beta)
    assert beta.engine.agrees("alpha", SCOPE, move, NOW_NS)
    shown = beta.row(b"d").applied.observation
    assert shown is not None
    minted = beta.counter()
    for side in (alpha, beta):
        side.engine = VolumeEngine(side.index, rules, side.name, side.engine._incarnation, side.engine._authors)
        follow_rules(side.engine)
    # It was renamed, and nobody had recorded it.
    assert not beta.engine.moved_whole(SCOPE, move, shown, "alpha", merging=policy == "merge")
    assert beta.index.last_counter(SCOPE) == minted
    for path, row in alpha.index.rows().items():
        ours = beta.row(path)
        assert ours.record == row.record
        assert (ours.scope, ours.live) == (row.scope, row.live)
        assert (ours.applied.observation is None) == (row.applied.observation is None)
        if not ours.scope:
            assert not ours.pending
    for side, other in ((beta, alpha), (alpha, beta)):
        side.heard.clear()
        assert not side.hears(other).refused
    assert alpha.index.rows().keys() == beta.index.rows().keys()
    assert all(beta.row(path).record == row.record for path, row in alpha.index.rows().items())
    assert [path for path in beta.index.pending() if beta.plans(path) is not None] == []


@dataclass
class Without:
    """Rules with one group that leaves out what has this name."""

    group: Group
    name: bytes

    @property
    def groups(self) -> tuple[Group, ...]:
        return (self.group,)

    def group_of(self, path: RelPath) -> Group | None:
        return None if path.rpartition(b"/")[2] == self.name else self.group


def without(side: Side, name: bytes, *, sort: bool = True) -> None:
    """Have a member follow rules that leave out what has this name."""
    rules = Without(Group(("alpha", "beta"), frozenset(), ("younger",), Scope(b"scope-02")), name)
    side.engine = VolumeEngine(side.index, rules, side.name, side.engine._incarnation, side.engine._authors)
    side.heard.clear()
    if sort:
        follow_rules(side.engine)


def in_a_directory(*names: bytes) -> list[Side]:
    """Return two members that show a directory with files of these names in it."""
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory())
    for name in names:
        alpha.sees(b"d/" + name, found(name))
    beta.hears(alpha)
    beta.shows(b"d", directory())
    for name in names:
        beta.shows(b"d/" + name, found(name))
    return [alpha, beta]


def test_a_directory_in_which_something_was_followed_once_stays_removed() -> None:
    alpha, beta = in_a_directory(b"f", b"left")
    for side in (alpha, beta):
        without(side, b"left")
    alpha.sees(b"d/f", None)
    alpha.sees(b"d", None)
    assert alpha.plans(b"d") is None, "nothing of it is to be put back"
    assert not alpha.row(b"d").pending
    beta.hears(alpha)
    beta.shows(b"d/f", None)
    plan = beta.plans(b"d")
    assert plan is not None
    assert plan.step is Step.REMOVE, "the disk says whether something is in it still"


def test_a_directory_that_lived_by_what_is_not_followed_any_more_goes_whatever_was_written_first() -> None:
    alpha, beta = in_a_directory(b"left")
    alpha.sees(b"d/left", None)
    alpha.sees(b"d", None)
    beta.sees(b"d/left", found(b"edited", mtime_ns=2))
    beta.hears(alpha)
    assert beta.plans(b"d") is None, "it lives by the edit"
    without(beta, b"left", sort=False)
    beta.engine.follow_rules()
    beta.index.revise(beta.engine.in_scope)
    going_on = beta.engine.sort_rows(ROOT, 1)
    assert going_on is not None
    assert (plan := beta.plans(b"d")) is not None
    assert plan.step is Step.REMOVE, "nobody follows what is in it, whatever the table says"
    while going_on is not None:
        going_on = beta.engine.sort_rows(going_on, 1)
    beta.index.revise(None)
    assert beta.row(b"d").pending
    plan = beta.plans(b"d")
    assert plan is not None
    assert plan.step is Step.REMOVE


def test_a_directory_stays_with_what_is_followed_again_before_that_is_written() -> None:
    alpha, beta = in_a_directory(b"left")
    alpha.sees(b"d/left", None)
    alpha.sees(b"d", None)
    alpha.sees(b"d", found(b"in its place", inode=9))
    beta.sees(b"d/left", found(b"edited", mtime_ns=2))
    beta.hears(alpha)
    without(beta, b"left")
    assert (plan := beta.plans(b"d")) is not None
    assert plan.step is Step.REMOVE
    without(beta, b"other", sort=False)
    beta.engine.follow_rules()
    beta.index.revise(beta.engine.in_scope)
    assert (plan := beta.plans(b"d")) is not None
    assert plan.step is Step.ATTRIBUTES, "the edit in it is followed again"
    beta.engine.sort_rows(ROOT, 10)
    beta.index.revise(None)
    assert (plan := beta.plans(b"d")) is not None
    assert plan.step is Step.ATTRIBUTES


@dataclass(frozen=True)
class Apart:
    """`d` belongs to one group, and what is in it to another one, of which beta is a member or not. So it is with the first."""

    is_in_both: bool
    is_above: bool = True

    @property
    def groups(self) -> tuple[Group, ...]:
        above = ("alpha", "beta") if self.is_above else ("alpha", "gamma")
        within = ("alpha", "beta") if self.is_in_both else ("alpha", "gamma")
        return (
            Group(above, frozenset(), ("younger",), Scope(b"scope-02" if self.is_above else b"scope-05")),
            Group(within, frozenset(), ("younger",), Scope(b"scope-03" if self.is_in_both else b"scope-04")),
        )

    def group_of(self, path: RelPath) -> Group | None:
        return self.groups[path.startswith(b"d/")]


def apart(side: Side, *, is_in_both: bool, is_above: bool = True) -> None:
    """Have a member follow the rules of `Apart`."""
    rules = Apart(is_in_both, is_above)
    side.engine = VolumeEngine(side.index, rules, side.name, side.engine._incarnation, side.engine._authors)
    side.heard.clear()
    follow_rules(side.engine)


def lives_on(*, is_shown: bool) -> Side:
    """Return a member at which a directory that was removed lives by what is in it, of another group."""
    alpha, beta = in_a_directory(b"left")
    for side in (alpha, beta):
        apart(side, is_in_both=True)
        for path in (b"d", b"d/left"):
            side.plans(path)
    if not is_shown:
        beta.sees(b"d/left", None)
        beta.sees(b"d", None)
        alpha.sees(b"d/left", found(b"edited", mtime_ns=2))
    else:
        alpha.sees(b"d/left", None)
        alpha.sees(b"d", None)
        beta.sees(b"d/left", found(b"edited", mtime_ns=2))
    beta.hears(alpha)
    return beta


def test_a_directory_of_a_group_that_stays_goes_when_what_it_lived_by_is_of_no_group_any_more() -> None:
    beta = lives_on(is_shown=True)
    assert beta.plans(b"d") is None
    assert not beta.row(b"d").pending, "it lives by the edit"
    apart(beta, is_in_both=False)
    assert beta.row(b"d").pending
    assert (plan := beta.plans(b"d")) is not None
    assert plan.step is Step.REMOVE


def test_a_directory_of_a_group_that_stays_comes_back_for_what_is_followed_again() -> None:
    beta = lives_on(is_shown=False)
    assert (plan := beta.plans(b"d")) is not None
    assert plan.step is Step.INSTALL
    apart(beta, is_in_both=False)
    assert beta.plans(b"d") is None
    assert not beta.row(b"d").pending
    apart(beta, is_in_both=True)
    assert beta.row(b"d").pending
    assert (plan := beta.plans(b"d")) is not None
    assert plan.step is Step.INSTALL


@pytest.mark.parametrize("path", [b"d/left", b"d/left/f"])
def test_a_directory_that_nobody_has_told_of_comes_once_it_is_followed_for_what_stays_in_it(path: bytes) -> None:
    alpha, beta = sides("alpha", "beta")
    for side in (alpha, beta):
        apart(side, is_in_both=True, is_above=False)
    alpha.sees(path, found(b"left"))
    beta.hears(alpha)
    assert beta.index.row(RelPath(b"d")) is None
    apart(beta, is_in_both=True)
    assert beta.row(b"d").pending
    assert (plan := beta.plans(b"d")) is not None
    assert (plan.step, plan.content.kind) == (Step.INSTALL, Kind.DIRECTORY)


def test_a_directory_that_is_followed_no_more_than_what_it_lived_by_waits_for_nothing() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"e", directory())
    beta.hears(alpha)
    beta.shows(b"e", directory())
    alpha.sees(b"e", None)
    beta.sees(b"e/f", found(b"new", inode=2))
    beta.hears(alpha)
    assert beta.plans(b"e") is None, "it lives by what was made in it"
    rules = Halves(OTHERS[:1])
    beta.engine = VolumeEngine(beta.index, rules, beta.name, BETA, beta.engine._authors)
    follow_rules(beta.engine)
    assert beta.index.pending() == []
