"""What peers say, and what they are told: checked, joined, planned in an order that works, and quiet in the end."""

from dataclasses import dataclass

import msgspec
import pytest

from csfs.core.groups import Group
from csfs.core.objects import Content, Kind, Meta
from csfs.core.paths import RelPath
from csfs.core.records import ContentEntry, Half, Move
from csfs.core.versions import Dot, Hlc, Incarnation, Scope
from csfs.engine.memory import MemoryIndex
from csfs.engine.ports import Outgoing, Step
from csfs.engine.validation import CLOCK_MAX
from csfs.engine.volume import VolumeEngine
from csfs.wire.messages import Update
from tests.engine.members import NOW_NS, SCOPE, Side, directory, found, sides

BETA = Incarnation(2)


def entry(counter: int = 1, **fields: object) -> ContentEntry:
    values: dict[str, object] = {"value": Content(Kind.FILE, 1, b"h" * 32), "snapshot": Meta(0o600, 0, 0)} | fields
    return ContentEntry(Dot(BETA, counter), Hlc(5), **values)  # type: ignore[arg-type]


def update(path: bytes = b"f", **fields: object) -> Update:
    one = entry(**fields)
    return Update(path, Half((one,), {BETA: one.dot.counter}))


def test_a_parent_is_installed_before_its_children_and_frees_them() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory())
    alpha.sees(b"d/f", found(b"one"))
    beta.hears(alpha)
    assert beta.plans(b"d/f") is None
    assert beta.shows(b"d", directory()) == (b"d/f",)
    plan = beta.plans(b"d/f")
    assert plan is not None
    assert plan.step is Step.INSTALL


def test_a_directory_goes_after_its_last_child() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory())
    alpha.sees(b"d/f", found(b"one"))
    beta.hears(alpha)
    beta.shows(b"d", directory())
    beta.shows(b"d/f", found(b"one"))
    alpha.sees(b"d/f", None)
    alpha.sees(b"d", None)
    beta.hears(alpha)
    assert beta.plans(b"d") is None
    assert beta.shows(b"d/f", None) == (b"d",)
    plan = beta.plans(b"d")
    assert plan is not None
    assert plan.step is Step.REMOVE


def test_a_directory_that_others_deleted_lives_while_something_in_it_does() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory(mode=0o750))
    beta.hears(alpha)
    beta.shows(b"d", directory(mode=0o750))
    beta.sees(b"d/new", found(b"new"))
    alpha.sees(b"d", None)
    received = alpha.hears(beta)
    assert set(received.touched) >= {b"d", b"d/new"}
    plan = alpha.plans(b"d")
    assert plan is not None
    assert plan.meta is not None
    assert (plan.step, plan.content.kind, plan.meta.mode) == (Step.INSTALL, Kind.DIRECTORY, 0o750)
    beta.hears(alpha)
    assert beta.plans(b"d") is None
    assert beta.sees(b"d/new", None), "a local removal makes the directory live by itself"
    assert beta.plans(b"d") is None
    assert beta.row(b"d").live


def test_a_directory_with_live_children_beats_a_file_and_an_empty_one_does_not() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"x", found(b"file", mtime_ns=9))
    beta.sees(b"x", directory())
    beta.sees(b"x/y", found(b"inside"))
    alpha.hears(beta)
    plan = alpha.plans(b"x")
    assert plan is not None
    assert (plan.step, plan.keep) == (Step.REMOVE, True), "the file has to go first"
    alpha.shows(b"x", None)
    beta.hears(alpha)
    assert beta.plans(b"x") is None
    alpha.shows(b"x", directory())
    alpha.shows(b"x/y", found(b"inside"))


def test_what_is_in_the_way_goes_first_and_nothing_new_is_applied_by_that() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"x", directory())
    beta.hears(alpha)
    beta.shows(b"x", directory())
    alpha.sees(b"x", found(b"file"), created=True)
    beta.hears(alpha)
    plan = beta.plans(b"x")
    assert plan is not None
    assert (plan.step, plan.expected) == (Step.REMOVE, directory().stamp)
    seen = beta.row(b"x").applied.content_seen
    assert beta.shows(b"x", None) == (b"x",), "the path itself may be planned now"
    assert (beta.row(b"x").applied.content_seen, beta.row(b"x").pending) == (seen, True)
    assert beta.sees(b"x", found(b"made here meanwhile", mtime_ns=9)), "it has not seen alpha's file"
    assert [entry.value.size for entry in beta.row(b"x").record.content.entries] == [4, 19]


def test_nothing_is_said_twice() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    out = beta.engine.outgoing(0, alpha.engine.knowledge(), 100, "alpha")
    assert (out.updates, out.mark, out.done) == ((), None, True)
    out = alpha.engine.outgoing(alpha.index.position(), beta.engine.knowledge(), 100, "beta")
    assert (out.updates, out.mark, out.done) == ((), None, True)


def test_a_half_that_was_passed_over_goes_with_the_row_that_moved_on() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"a", found(b"a"))
    alpha.sees(b"f", found(b"one"))
    alpha.sees(b"b", found(b"b"))
    alpha.sees(b"f", found(b"one", mode=0o600))
    first = alpha.engine.outgoing(0, {}, 2, "beta")
    assert first.mark is None
    second = alpha.engine.outgoing(first.position, {}, 2, "beta")
    assert [one.path for one in (*first.updates, *second.updates)] == [b"a", b"b", b"f"]
    assert second.updates[-1].content is not None
    assert beta.index.position() == 0


def test_knowledge_advances_only_at_a_mark_and_not_past_a_refusal() -> None:
    alpha, _ = sides("alpha", "beta")
    alpha.engine.receive("beta", SCOPE, [update()], None, NOW_NS)
    assert alpha.engine.knowledge()[SCOPE] == {}
    received = alpha.engine.receive("beta", SCOPE, [update(b"../x")], {BETA: 2}, NOW_NS)
    assert [path for path, _ in received.refused] == [b"../x"]
    alpha.engine.receive("beta", SCOPE, [], {BETA: 2}, NOW_NS)
    assert alpha.engine.knowledge()[SCOPE] == {}
    alpha.engine.greeted("beta", BETA)
    alpha.engine.receive("beta", SCOPE, [], {BETA: 2, Incarnation(1): 99}, NOW_NS)
    assert alpha.engine.knowledge()[SCOPE] == {BETA: 2}


@pytest.mark.parametrize(
    "bad",
    [
        update(b"/etc/passwd"),
        update(b".csfs/stage/x"),
        update(b"a/../b"),
        update(b""),
        update(value=Content(Kind.FILE, 1, b"short")),
        update(value=Content(Kind.FILE, -1, b"h" * 32)),
        update(value=Content(Kind.SYMLINK)),
        update(value=Content(Kind.SYMLINK, target=b"a\0b")),
        update(value=Content(Kind.DIRECTORY, device=5)),
        update(snapshot=Meta(0o17777, 0, 0)),
        update(snapshot=Meta(0o600, -1, 0)),
        update(snapshot=Meta(0o600, 0, 0, xattrs=((b"user.b", b""), (b"user.a", b"")))),
        update(moves=(Move(Dot(BETA, 1), RelPath(b"../out")),)),
        update(moves=(Move(Dot(BETA, 1), RelPath(b"out")),) * 65),
        update(counter=0),
        Update(b"f", Half((entry(),), {})),
        Update(b"f", Half((entry(),), {BETA: 1, Incarnation(-1): 1})),
        Update(b"f", Half((entry(),), {BETA: 1, Incarnation(2**63): 1})),
        Update(b"f", Half((entry(),), {BETA: 1, Incarnation(2): -1})),
        Update(b"f", Half((), {BETA: 1})),
        Update(b"f", Half((entry(1), entry(2)), {BETA: 2})),
        Update(b"f", Half((msgspec.structs.replace(entry(), hlc=Hlc(2**63)),), {BETA: 1})),
        Update(b"f", Half((msgspec.structs.replace(entry(), dot=Dot(Incarnation(1), 7)),), {Incarnation(1): 7})),
    ],
)
def test_what_no_member_can_have_said_is_refused(bad: Update) -> None:
    alpha, _ = sides("alpha", "beta")
    received = alpha.engine.receive("beta", SCOPE, [bad, update(b"good")], None, NOW_NS)
    assert [path for path, _ in received.refused] == [bad.path]
    assert received.touched == (b"good",)


def test_a_receive_only_member_and_a_stranger_are_not_heard() -> None:
    alpha, gamma = sides("alpha", "gamma", receive_only=("gamma",))
    for peer in ("gamma", "mallory"):
        received = alpha.engine.receive(peer, SCOPE, [update()], {BETA: 1}, NOW_NS)
        assert received.touched == ()
        assert len(received.refused) == 1
    assert alpha.engine.receive("gamma", Scope(b"another!"), [update()], None, NOW_NS).refused
    assert alpha.engine.knowledge()[SCOPE] == {}
    gamma.hears(alpha)
    assert gamma.engine.outgoing(0, {}, 10, "alpha").updates == ()


def test_a_clock_from_the_far_future_does_not_carry_ours_along() -> None:
    alpha, _ = sides("alpha", "beta")
    far = Update(b"f", Half((msgspec.structs.replace(entry(), hlc=Hlc(2**61)),), {BETA: 1}))
    assert alpha.engine.receive("beta", SCOPE, [far], None, NOW_NS).touched == (b"f",)
    assert alpha.index.clock() < 2**61


def test_a_result_that_comes_after_the_disk_moved_on_is_not_taken_for_what_is_shown() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    plan = beta.plans(b"f")
    assert plan is not None
    beta.sees(b"f", found(b"mine", mtime_ns=5))
    shown = beta.row(b"f").applied
    assert beta.engine.applied(plan, found(b"one")) == (b"f",)
    assert beta.row(b"f").applied == shown
    assert beta.row(b"f").pending


def installed(side: Side, path: bytes) -> Step | None:
    plan = side.plans(path)
    return plan.step if plan is not None else None


def test_what_waits_for_a_directory_is_planned_when_somebody_here_makes_it() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory())
    alpha.sees(b"d/f", found(b"one"))
    beta.hears(alpha)
    assert beta.plans(b"d") is not None
    assert beta.plans(b"d/f") is None
    beta.sees(b"d", directory())
    assert beta.engine.woken() == (b"d/f",)
    assert beta.plans(b"d/f") is not None


def test_a_plan_that_was_overtaken_by_a_look_is_made_anew() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    plan = beta.plans(b"f")
    assert plan is not None
    beta.sees(b"f", found(b"one"))
    assert beta.engine.applied(plan, found(b"one")) == (b"f",)
    assert beta.plans(b"f") is None
    assert not beta.row(b"f").pending


def test_who_claims_to_have_seen_changes_that_we_have_not_made_is_refused() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    out = alpha.engine.outgoing(0, {}, 100, "beta")
    (update,) = out.updates
    assert update.content is not None
    seen = {**update.content.seen, beta.engine._incarnation: 2**62}
    lie = msgspec.structs.replace(update, content=msgspec.structs.replace(update.content, seen=seen))
    received = beta.engine.receive("alpha", out.scope, (lie,), out.mark, NOW_NS)
    assert [path for path, _ in received.refused] == [b"f"]
    assert received.is_ahead
    assert beta.index.row(RelPath(b"f")) is None


def test_a_clock_that_is_far_ahead_counts_for_its_own_path_alone() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    alpha.engine.observe(RelPath(b"f"), found(b"one"), CLOCK_MAX)
    beta.hears(alpha)
    beta.shows(b"f", found(b"one"))
    beta.sees(b"f", found(b"two", mtime_ns=2))
    beta.sees(b"g", found(b"three"))
    assert not gamma.hears(beta).refused
    assert beta.row(b"f").record.content.entries[0].hlc == CLOCK_MAX
    assert beta.row(b"g").record.content.entries[0].hlc < CLOCK_MAX


@dataclass(frozen=True)
class TwoGroups:
    """`/private` belongs to alpha and gamma, everything else to alpha and beta."""

    groups: tuple[Group, ...] = (
        Group(("alpha", "gamma"), frozenset(), ("younger",), Scope(b"private!")),
        Group(("alpha", "beta", "gamma"), frozenset(), ("younger",), SCOPE),
    )

    def group_of(self, path: RelPath) -> Group:
        return self.groups[0] if path.startswith(b"private") else self.groups[1]


def test_each_group_goes_to_its_own_members_and_ends_in_a_mark_of_its_own() -> None:
    authors = {Incarnation(1): "alpha"}
    alpha = VolumeEngine(MemoryIndex(), TwoGroups(), "alpha", Incarnation(1), authors)
    for path in (b"a", b"private1", b"private2", b"z"):
        alpha.observe(RelPath(path), found(path), NOW_NS)
    to_beta = batches(alpha, "beta")
    assert [update.path for out in to_beta for update in out.updates] == [b"a", b"z"]
    assert [out.scope for out in to_beta if out.mark is not None] == [SCOPE]
    to_gamma = batches(alpha, "gamma")
    assert [[update.path for update in out.updates] for out in to_gamma] == [
        [b"a"],
        [b"private1", b"private2"],
        [b"z"],
        [],
    ]
    assert [out.scope for out in to_gamma if out.mark is not None] == [SCOPE, Scope(b"private!")]
    assert [out.done for out in to_gamma] == [False, False, False, True]


def batches(engine: VolumeEngine, peer: str) -> list[Outgoing]:
    position, sent = 0, []
    while not sent or not sent[-1].done:
        sent.append(engine.outgoing(position, {}, 100, peer))
        position = sent[-1].position
    return sent


def test_a_conflict_is_decided_anew_when_its_author_is_known() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma", policy=("left",))
    everybody, gamma.engine._authors = gamma.engine._authors, {BETA: "beta"}
    alpha.sees(b"f", found(b"one"))
    beta.sees(b"f", found(b"two", mtime_ns=2))
    beta.hears(alpha)
    gamma.hears(beta)
    gamma.shows(b"f", found(b"two", mtime_ns=2))
    gamma.engine._authors = everybody
    assert not gamma.row(b"f").pending
    gamma.engine.reconsider(gamma.index.rows())
    assert gamma.row(b"f").pending
    plan = gamma.plans(b"f")
    assert plan is not None
    assert plan.content.hash == found(b"one").hash


def test_who_joins_is_told_of_a_group_of_which_nobody_knows_anything() -> None:
    alpha, beta = sides("alpha", "beta", pulling=("beta",))
    told = alpha.engine.outgoing(0, {}, 100, "beta")
    assert (told.scope, told.mark, told.done) == (SCOPE, {}, True)
    assert alpha.engine.outgoing(told.position, {}, 100, "beta").mark is None
    assert alpha.engine.outgoing(0, beta.engine.knowledge(), 100, "gamma").mark is None


def test_who_joins_is_told_of_each_group_even_if_it_has_said_that_it_knows_as_much() -> None:
    alpha, beta = sides("alpha", "beta")
    del beta
    for said in ({}, {SCOPE: {}}):
        alpha.engine.greeted("beta", BETA, joins=True)
        assert alpha.engine.outgoing(0, said, 10, "beta").mark == {}
        assert alpha.engine.outgoing(0, said, 10, "beta").mark is None, "once on a connection"
    alpha.engine.greeted("beta", BETA)
    assert alpha.engine.outgoing(0, {SCOPE: {}}, 10, "beta").mark is None
