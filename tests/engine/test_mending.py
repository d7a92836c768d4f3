"""Walks find where two sets differ; what was lost comes back, and nothing goes for being absent elsewhere (R11, R13)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from csfs.core import digests
from csfs.core.digests import Digested, Range
from csfs.core.paths import RelPath
from csfs.core.records import Half
from csfs.core.versions import Incarnation
from csfs.engine.healing import Healed
from csfs.engine.mending import Walk, parts_of
from csfs.engine.ports import Step
from csfs.wire.messages import PARTS_MAX
from tests.engine.members import NOW_NS, SCOPE, Side, directory, found, sides
from tests.engine.test_quarantine import backup, restarted

names = st.dictionaries(st.binary(max_size=3).map(RelPath), st.integers(1, 3), max_size=300).map(
    lambda values: {path: hash((path, value)) % digests.MODULUS for path, value in values.items()}
)


def part(values: dict[RelPath, int], asked: Range) -> list[Digested]:
    """Return what of a set is in a range, ascending."""
    return [(path, digest) for path, digest in sorted(values.items()) if asked.holds(path)]


def walked(ours: dict[RelPath, int], theirs: dict[RelPath, int]) -> Walk:
    """Return a walk that is over."""
    walk = Walk()
    while (asked := walk.question()) is not None:
        there = part(theirs, asked)
        parts = parts_of(there, len(there))
        assert len(parts) <= PARTS_MAX
        walk.answered(asked, parts, part(ours, asked))
    return walk


@settings(max_examples=1000, deadline=None)
@given(names, names)
def test_a_walk_finds_what_differs_and_nothing_else(ours: dict[RelPath, int], theirs: dict[RelPath, int]) -> None:
    differing = {path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)}
    assert set(walked(ours, theirs).differing) == differing


def test_one_among_many_takes_few_questions() -> None:
    ours = {RelPath(b"%06d" % number): number + 1 for number in range(100_000)}
    theirs = {**ours, RelPath(b"050000"): 7}
    del theirs[RelPath(b"099999")]
    walk = walked(ours, theirs)
    assert set(walk.differing) == {b"050000", b"099999"}
    assert walk.questions <= 6


def test_what_a_peer_answers_has_a_limit_in_what_comes_of_it() -> None:
    many = {RelPath(b"%06d" % number): 1 for number in range(200_000)}
    walk = walked(many, {path: 2 for path in many})
    assert len(walk.differing) < 2_000
    assert not walk.is_whole
    assert walk.questions <= 1_000


def equal_pair() -> list[Side]:
    """Return two members that know the same of three files."""
    alpha, beta = members = sides("alpha", "beta")
    for name in (b"a", b"b", b"c"):
        alpha.sees(name, found(name))
    beta.hears(alpha)
    for name in (b"a", b"b", b"c"):
        beta.shows(name, found(name))
    assert alpha.engine.digests() == beta.engine.digests()
    return members


def differ(one: Side, other: Side) -> bool:
    """Return whether a member finds out from what the other says that they differ."""
    return one.engine.differing(other.name, other.engine.standings(), other.engine.digests()) == [SCOPE]


def test_a_lost_record_is_noticed_by_one_of_two_and_comes_back() -> None:
    alpha, beta = equal_pair()
    assert not differ(alpha, beta)
    beta.index.drop(RelPath(b"b"))
    assert differ(alpha, beta)
    assert not differ(beta, alpha), "one walk is enough"
    updates = alpha.engine.records(SCOPE, [RelPath(b"b"), RelPath(b"none")])
    healed = beta.engine.healed("alpha", SCOPE, [RelPath(b"b")], updates, 1)
    assert (healed.lost, healed.stale, healed.received.touched) == ((b"b",), (), (b"b",))
    assert beta.row(b"b").record == alpha.row(b"b").record
    assert alpha.engine.digests() == beta.engine.digests()
    assert beta.engine.healed("alpha", SCOPE, [RelPath(b"b")], updates, 1).lost == ()


def test_what_the_other_does_not_have_stays_but_for_a_member_that_catches_up() -> None:
    alpha, beta = equal_pair()
    known = alpha.engine.knowledge()[SCOPE]
    alpha.index.drop(RelPath(b"b"))
    assert beta.engine.healed("alpha", SCOPE, [RelPath(b"b")], [], 1).stale == ()
    assert beta.row(b"b").live
    beta.sees(b"c", found(b"changed here"))
    healed = beta.engine.healed("alpha", SCOPE, [RelPath(b"b"), RelPath(b"c")], [], 1, known_there=known)
    assert healed.stale == (b"b",)
    plan = beta.plans(b"b")
    assert plan is not None
    assert plan.keep, "it may be the only copy"


def test_a_directory_that_lived_by_what_is_stale_goes_with_it() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory())
    beta.hears(alpha)
    beta.shows(b"d", directory())
    beta.sees(b"d/f", found(b"inside"))
    alpha.sees(b"d", None)
    alpha.hears(beta)
    beta.hears(alpha)
    assert beta.plans(b"d") is None
    assert not beta.row(b"d").pending, "it lives on"
    known = alpha.engine.knowledge()[SCOPE]
    healed = beta.engine.healed("alpha", SCOPE, [RelPath(b"d/f")], [], 1, known_there=known)
    assert (healed.stale, set(healed.received.touched)) == ((b"d/f",), {b"d/f", b"d"})
    assert beta.plans(b"d") is None
    assert beta.shows(b"d/f", None) == (b"d",)
    plan = beta.plans(b"d")
    assert plan is not None
    assert plan.step is Step.REMOVE


def test_who_only_receives_mends_nobody() -> None:
    alpha, beta = sides("alpha", "beta", receive_only=("beta",))
    alpha.sees(b"a", found(b"one"))
    beta.hears(alpha)
    updates = alpha.engine.records(SCOPE, [RelPath(b"a")])
    alpha.index.drop(RelPath(b"a"))
    assert alpha.engine.healed("beta", SCOPE, [RelPath(b"a")], updates, 1).received.refused
    assert alpha.index.row(RelPath(b"a")) is None
    assert not differ(alpha, beta)


def test_what_was_lost_beside_a_tombstone_comes_back_to_who_only_receives() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma", receive_only=("gamma",))
    alpha.sees(b"a", found(b"one"))
    gamma.hears(alpha)
    gamma.index.drop(RelPath(b"a"))
    beta.sees(b"a", found(b"two"))
    beta.sees(b"a", None)
    beta.hears(alpha)
    gamma.hears(beta)
    assert gamma.index.row(RelPath(b"a")) != beta.index.row(RelPath(b"a"))
    gamma.engine.healed("beta", SCOPE, [RelPath(b"a")], beta.engine.records(SCOPE, [RelPath(b"a")]), 1)
    assert gamma.row(b"a").record == beta.row(b"a").record


def receiver_beside_restored(*, sends_to_beta: bool = False) -> list[Side]:
    """Return a member that lost its last changes with its memory, one that knows none of them or all, and one that only receives."""
    alpha, beta, gamma = sides("alpha", "beta", "gamma", receive_only=("gamma",))
    alpha.sees(b"a", found(b"old"))
    beta.hears(alpha)
    gamma.hears(alpha)
    gamma.shows(b"a", found(b"old"))
    for other in (beta, gamma):
        alpha.engine.stands(other.name, other.engine.standings())
    copy = backup(alpha)
    alpha.sees(b"a", found(b"lost", mtime_ns=5))
    alpha.sees(b"b", found(b"lost as well"))
    for other in (gamma, beta) if sends_to_beta else (gamma,):
        other.hears(alpha)
        other.engine.stands("alpha", alpha.engine.standings())
    gamma.shows(b"a", found(b"lost", mtime_ns=5))
    gamma.shows(b"b", found(b"lost as well"))
    restored = restarted(alpha, copy)
    restored.engine.distrust()
    restored = restarted(restored, copy, 99)
    for path in restored.engine.doubtful():
        restored.engine.mint_anew(path, NOW_NS)
    for side in (beta, gamma):
        side.engine._authors = {**side.engine._authors, Incarnation(99): "alpha"}
        side.engine.greeted("alpha", Incarnation(99))
    gamma.engine.greeted("beta", Incarnation(2))
    for one, other in ((gamma, restored), (gamma, beta), (restored, beta)):
        one.engine.stands(other.name, other.engine.standings())
    return [restored, beta, gamma]


def walks(side: Side, other: Side) -> Healed:
    """Walk, and take in what the other has."""
    paths = sorted(side.index.rows().keys() | other.index.rows().keys())
    healed = side.engine.healed(other.name, SCOPE, paths, other.engine.records(SCOPE, paths), NOW_NS)
    side.engine.walked(other.name, SCOPE)
    return healed


def test_what_was_lost_and_only_a_receiver_had_heard_goes_there_and_is_kept() -> None:
    alpha, _, gamma = receiver_beside_restored()
    assert differ(gamma, alpha)
    healed = walks(gamma, alpha)
    assert set(healed.received.touched) == {b"a", b"b"}
    assert not healed.lost, "nobody had lost anything that others know"
    assert gamma.row(b"a").record == alpha.row(b"a").record
    for path, step in ((b"a", Step.INSTALL), (b"b", Step.REMOVE)):
        plan = gamma.plans(path)
        assert plan is not None
        assert (plan.step, plan.keep) == (step, True)
    assert gamma.engine.knowledge() == alpha.engine.knowledge()
    assert gamma.engine.digests() == alpha.engine.digests()
    assert not differ(gamma, alpha)


def test_what_was_lost_stays_at_a_receiver_while_somebody_else_knows_it() -> None:
    alpha, beta, gamma = receiver_beside_restored(sends_to_beta=True)
    assert not differ(gamma, alpha)
    assert not walks(gamma, alpha).received.touched
    assert gamma.row(b"b").live
    alpha.hears(beta)
    assert alpha.row(b"b").live


def test_nothing_goes_from_a_receiver_by_the_word_of_others_than_who_lost_it() -> None:
    _, beta, gamma = receiver_beside_restored()
    gamma.engine.greeted("alpha", Incarnation(99))  # it has yet to say how it stands
    assert not differ(gamma, beta)
    assert not walks(gamma, beta).received.touched
    assert gamma.row(b"b").live


def test_of_a_life_that_was_lived_twice_a_receiver_keeps_what_others_have() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma", receive_only=("gamma",))
    alpha.sees(b"a", found(b"old"))
    copy = backup(alpha)
    for name in (b"b", b"c"):
        alpha.sees(name, found(name))
    gamma.hears(alpha)
    again = restarted(alpha, copy)
    again.sees(b"d", found(b"under the same dots"))
    beta.hears(again)
    again.engine.stands("beta", beta.engine.standings())
    again.engine.distrust()
    restored = restarted(again, copy, 99)
    gamma.engine._authors = {**gamma.engine._authors, Incarnation(99): "alpha"}
    gamma.engine.greeted("alpha", Incarnation(99))
    gamma.engine.stands("alpha", restored.engine.standings())
    assert restored.row(b"d").record.content.entries[0].dot == gamma.row(b"b").record.content.entries[0].dot
    assert differ(gamma, restored)
    assert walks(gamma, restored).has_let_go
    assert [gamma.row(name).live for name in (b"a", b"b", b"c", b"d")] == [True, False, False, True]
    assert gamma.engine.digests() == restored.engine.digests()


def test_what_is_known_stays_at_a_receiver_whoever_does_not_have_it() -> None:
    alpha, beta = sides("alpha", "beta", receive_only=("beta",))
    alpha.sees(b"a", found(b"one"))
    beta.hears(alpha)
    alpha.index.drop(RelPath(b"a"))
    beta.engine.stands("alpha", alpha.engine.standings())
    assert differ(beta, alpha)
    assert not walks(beta, alpha).received.touched
    assert beta.row(b"a").live


@pytest.mark.parametrize("is_removed_before_it_is_heard", [False, True])
def test_what_a_receiver_alone_has_goes_when_it_is_made_and_removed_where_that_counts(
    is_removed_before_it_is_heard: bool,
) -> None:
    alpha, beta = sides("alpha", "beta", receive_only=("beta",))
    alpha.sees(b"a", found(b"one"))
    beta.hears(alpha)
    beta.shows(b"a", found(b"one"))
    alpha.index.drop(RelPath(b"a"))
    beta.engine.stands("alpha", alpha.engine.standings(), alpha.engine.digests())
    assert not walks(beta, alpha).received.touched
    alpha.sees(b"a", found(b"made for that", inode=2))
    if not is_removed_before_it_is_heard:
        beta.hears(alpha)
    alpha.sees(b"a", None)
    beta.hears(alpha)
    assert not beta.row(b"a").live
    plan = beta.plans(b"a")
    assert plan is not None
    assert plan.step is Step.REMOVE
    beta.shows(b"a", None)
    assert beta.engine.digests() == alpha.engine.digests()


def receiver_beside_two(path: RelPath) -> list[Side]:
    """Return two members with one version of a path, and one that only receives, which has another one beside it.

    That one was replaced, and what replaced it was lost when both were restored.
    """
    alpha, beta, gamma = members = sides("alpha", "beta", "gamma", receive_only=("gamma",))
    alpha.sees(path, found(b"replaced", mtime_ns=5))
    beta.sees(path, found(b"left"))
    for one, other in ((alpha, beta), (beta, alpha), (gamma, alpha), (gamma, beta)):
        one.hears(other)
    gamma.shows(path, found(b"replaced", mtime_ns=5))
    for side in (alpha, beta):
        row = side.row(path)
        left = Half(row.record.content.entries[1:], {Incarnation(2): 1})
        side.index.put(path, structs.replace(row, record=structs.replace(row.record, content=left)))
    for side, life in ((alpha, 1), (beta, 2)):
        gamma.engine.greeted(side.name, Incarnation(life))
        gamma.engine.stands(side.name, side.engine.standings(), side.engine.digests())
    return members


def test_what_was_replaced_in_a_life_that_was_lost_goes_from_a_receiver_and_is_kept() -> None:
    path = RelPath(b"f")
    alpha, beta, gamma = receiver_beside_two(path)
    assert differ(gamma, alpha)
    assert walks(gamma, alpha).has_let_go
    assert gamma.row(path).record.content == alpha.row(path).record.content
    assert gamma.engine.digests() == beta.engine.digests()
    plan = gamma.plans(path)
    assert plan is not None
    assert (plan.content.hash, plan.keep) == (found(b"left").hash, True)


@pytest.mark.parametrize("why", ["away", "behind", "differs"])
def test_what_somebody_may_bring_back_stays_at_a_receiver(why: str) -> None:
    path = RelPath(b"f")
    alpha, beta, gamma = receiver_beside_two(path)
    if why == "away":
        gamma.engine.parted("beta")
    elif why == "behind":
        gamma.engine.stands("beta", {}, beta.engine.digests())
    else:
        beta.index.put(path, gamma.row(path))
        gamma.engine.stands("beta", beta.engine.standings(), beta.engine.digests())
    assert not walks(gamma, alpha).received.touched
    assert len(gamma.row(path).record.content.entries) == 2


def test_what_no_revision_of_the_rules_says_is_known_goes_from_a_receiver_but_not_in_midstream() -> None:
    alpha, beta = sides("alpha", "beta", receive_only=("beta",))
    alpha.sees(b"a", found(b"one"))
    batch = alpha.engine.outgoing(0, {}, 100, "beta")
    beta.engine.receive("alpha", SCOPE, batch.updates, None, NOW_NS)
    alpha.index.drop(RelPath(b"a"))
    alpha.index.set_knowledge(SCOPE, {})
    beta.engine.stands("alpha", alpha.engine.standings())
    assert not walks(beta, alpha).received.touched, "what is known with it is still to be said"
    beta.engine.greeted("alpha", Incarnation(1))
    assert not walks(beta, alpha).received.touched, "it may go on with what it has told"
    beta.engine.stands("alpha", alpha.engine.standings())
    healed = walks(beta, alpha)
    assert healed.received.touched == (b"a",)
    assert healed.has_let_go, "who is away may have told it, and has to tell it anew"
    assert not beta.row(b"a").live


def test_what_a_connection_broke_off_in_the_middle_of_stays_at_a_receiver() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma", receive_only=("gamma",))
    alpha.sees(b"a", found(b"one"))
    for other in (beta, gamma):
        other.hears(alpha)
    beta.sees(b"b", found(b"two"))
    batch = beta.engine.outgoing(0, gamma.engine.knowledge(), 100, "gamma")
    gamma.engine.receive("beta", SCOPE, batch.updates, None, NOW_NS)
    gamma.engine.parted("beta")
    gamma.engine.greeting("beta")
    gamma.engine.greeted("alpha", Incarnation(1))
    gamma.engine.stands("alpha", alpha.engine.standings())
    assert differ(gamma, alpha)
    assert not walks(gamma, alpha).received.touched, "its mark is yet to come"
    gamma.engine.greeted("beta", Incarnation(2))
    assert not walks(gamma, alpha).received.touched
    gamma.engine.parted("beta")
    healed = walks(gamma, alpha)
    assert healed.received.touched == (b"b",)
    assert healed.has_let_go, "it tells it anew when it is back"
    assert gamma.hears(beta).touched
    assert gamma.row(b"b").live


def test_tombstones_add_nothing() -> None:
    alpha, beta = equal_pair()
    alpha.sees(b"b", None)
    beta.hears(alpha)
    alpha.index.drop(RelPath(b"b"))
    assert alpha.engine.digests() == beta.engine.digests()
    assert digests.unpacked(alpha.engine.digests()[SCOPE]) != digests.NOTHING
