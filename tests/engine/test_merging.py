"""Who merges what, on what, and what becomes of it: pure engines side by side."""

from typing import Any

import pytest

from csfs.core.digests import digest_of
from csfs.core.merging import MERGED_SIZE_MAX
from csfs.core.objects import Kind
from csfs.core.paths import ROOT, RelPath
from csfs.engine.ancestry import ANCESTORS_MAX
from csfs.engine.live import meta_of
from csfs.engine.merging import Merge, Merging
from csfs.engine.ports import Step
from scripts.simulation.tree import hash_of
from tests.engine.members import NOW_NS, Side, found, sides
from tests.engine.test_settling import conflicts, exchange

F = RelPath(b"f")
POLICY = ("merge", "younger")
BASE = b"".join(b"%d\n" % number for number in range(12))


def edited(*lines: int, base: bytes = BASE, by: bytes = b"edited") -> bytes:
    """Return a text with these lines replaced."""
    texts = base.split(b"\n")
    for line in lines:
        texts[line] = by
    return b"\n".join(texts)


class Members:
    """Members of a group that merges, which have a file in common, and all contents that they ever had."""

    def __init__(self, *names: str, policy: tuple[str, ...] = POLICY, base: bytes = BASE) -> None:
        self.sides = sides(*names, policy=policy)
        self.contents: dict[bytes, bytes] = {}
        self.clock = 0
        self.writes(self.sides[0], base)
        self.meet()

    def writes(self, side: Side, data: bytes, **fields: Any) -> None:
        """A program there writes the file."""
        self.clock += 10
        self.contents[hash_of(data)] = data
        side.sees(b"f", found(data, mtime_ns=self.clock, **fields))

    def meet(self) -> None:
        """All hear of everything, and show it."""
        exchange(self.sides)
        for side in self.sides:
            self.show(side)

    def show(self, side: Side) -> None:
        """Carry out what a member plans."""
        plan = side.plans(b"f")
        if plan is not None:
            assert plan.meta is not None
            data = self.contents[plan.content.hash]
            side.shows(b"f", found(data, mtime_ns=plan.mtime_ns or 0, inode=self.clock, mode=plan.meta.mode))

    def merge(self, side: Side) -> bytes:
        """Have a member make its merge; return the result."""
        due = side.engine.merge_due(F)
        assert due is not None
        result = due.made(self.contents.__getitem__)
        assert result is not None
        self.contents[hash_of(result)] = result
        assert side.engine.merge(due, hash_of(result), len(result), NOW_NS)
        return result

    def live(self, side: Side) -> bytes:
        """Return what is live at a member."""
        live = side.engine.live(F)
        assert live is not None
        return self.contents[live.content.hash]


def due_at(side: Side) -> Merge | None:
    return side.engine.merge_due(F)


def test_the_first_of_the_authors_merges_and_all_have_what_both_did() -> None:
    members = Members("alpha", "beta", "gamma")
    alpha, beta, gamma = members.sides
    members.writes(gamma, edited(1))
    members.writes(beta, edited(9))
    members.meet()
    assert members.live(alpha) == edited(9), "until it is merged the next policy decides"
    assert [due_at(side) is not None for side in members.sides] == [False, True, False]
    assert members.merge(beta) == edited(1, 9)
    members.meet()
    for side in members.sides:
        assert (conflicts(side), members.live(side), due_at(side)) == ([], edited(1, 9), None)
        assert side.row(b"f").record == alpha.row(b"f").record


@pytest.mark.parametrize("policy", [("younger", "older"), ("none",), ("younger",)])
def test_a_group_that_does_not_merge_remembers_nothing_of_it(policy: tuple[str, ...]) -> None:
    members = Members("alpha", "beta", policy=policy)
    members.writes(members.sides[0], edited(1))
    members.writes(members.sides[1], edited(9))
    members.meet()
    for side in members.sides:
        assert due_at(side) is None
        assert side.engine.held(F) == frozenset()
        assert all(entry.ancestors == () for entry in side.row(b"f").record.content.entries)


def test_two_members_that_both_merge_make_the_same_and_there_is_no_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    members = Members("alpha", "beta")
    alpha, beta = members.sides
    members.writes(alpha, edited(1))
    members.writes(beta, edited(9))
    exchange(members.sides)
    monkeypatch.setattr(Merging, "_designated", lambda engine, row, group: engine._member)
    assert members.merge(alpha) == members.merge(beta)
    values = [side.row(b"f").record.content.entries[0].value for side in members.sides]
    assert values[0] == values[1]
    members.meet()
    assert [conflicts(side) for side in members.sides] == [[], []]
    assert [due_at(side) for side in members.sides] == [None, None]


def test_three_versions_become_one() -> None:
    members = Members("alpha", "beta", "gamma")
    for side, line in zip(members.sides, (1, 5, 9), strict=True):
        members.writes(side, edited(line))
    members.meet()
    assert members.merge(members.sides[0]) == edited(1, 5, 9)
    members.meet()
    assert {members.live(side) for side in members.sides} == {edited(1, 5, 9)}


def test_merges_made_of_different_versions_are_merged_in_turn() -> None:
    members = Members("alpha", "beta", "gamma")
    alpha, beta, gamma = members.sides
    for side, line in zip(members.sides, (1, 5, 9), strict=True):
        members.writes(side, edited(line))
    alpha.hears(beta)
    members.merge(alpha)
    beta.hears(gamma)
    members.merge(beta)
    members.meet()
    assert members.merge(alpha) == edited(1, 5, 9)
    members.meet()
    assert {members.live(side) for side in members.sides} == {edited(1, 5, 9)}
    assert [due_at(side) for side in members.sides] == [None] * 3


def test_a_merge_of_what_has_changed_meanwhile_is_not_made() -> None:
    members = Members("alpha", "beta", "gamma")
    alpha, beta, gamma = members.sides
    members.writes(alpha, edited(1))
    members.writes(beta, edited(9))
    alpha.hears(beta)
    due = due_at(alpha)
    assert due is not None
    members.writes(gamma, edited(5))
    alpha.hears(gamma)
    assert not alpha.engine.merge(due, hash_of(b"late"), 4, NOW_NS)


def test_what_has_nothing_in_common_or_is_no_small_file_is_not_merged() -> None:
    members = Members("alpha", "beta")
    alpha, beta = members.sides
    for name, one, other in (
        (b"new", found(b"new by alpha"), found(b"new by beta")),
        (b"link", found(b"x", kind=Kind.SYMLINK), found(b"y", kind=Kind.SYMLINK)),
    ):
        alpha.sees(name, one)
        beta.sees(name, other)
    members.writes(alpha, edited(1))
    members.writes(beta, bytes(MERGED_SIZE_MAX + 1))
    exchange(members.sides)
    assert [alpha.engine.merge_due(RelPath(name)) for name in (b"new", b"link", b"f")] == [None] * 3


# ------------------------------------------------------------------------------------------------------------ ancestors


def ancestors(side: Side) -> list[bytes]:
    return [ancestor.hash for ancestor in side.row(b"f").record.content.entries[0].ancestors]


def test_what_nobody_else_has_heard_of_is_nobodys_ancestor() -> None:
    members = Members("alpha", "beta")
    alpha, beta = members.sides
    for number in range(20):
        members.writes(alpha, edited(1, by=b"%d" % number))
    assert ancestors(alpha) == [hash_of(BASE)]
    members.writes(beta, edited(9))
    members.meet()
    assert members.merge(alpha) == edited(9, base=edited(1, by=b"19"))


@pytest.mark.parametrize("count", [3, 17, 64, 200])
def test_who_was_away_for_long_still_has_something_in_common(count: int) -> None:
    members = Members("alpha", "beta", "gamma")
    alpha, beta, gamma = members.sides
    for number in range(5):
        members.writes(alpha, edited(5, by=b"early %d" % number))
        members.meet()
    early = edited(5, by=b"early 4")
    for number in range(count):
        members.writes(alpha, edited(1, by=b"%d" % number, base=early))
        beta.hears(alpha)
    assert len(ancestors(alpha)) <= ANCESTORS_MAX
    members.writes(gamma, edited(9, base=early))
    members.meet()
    assert members.merge(alpha) == edited(9, base=edited(1, by=b"%d" % (count - 1), base=early))


def test_a_file_made_anew_comes_from_the_one_that_was_there() -> None:
    members = Members("alpha", "beta")
    alpha, beta = members.sides
    alpha.sees(b"f", None)
    members.writes(alpha, edited(1), inode=9)
    members.writes(beta, edited(9))
    members.meet()
    assert members.merge(alpha) == edited(1, 9)


def test_what_may_be_needed_is_held_and_nothing_else() -> None:
    members = Members("alpha", "beta")
    alpha, _ = members.sides
    assert alpha.engine.held(F) == {hash_of(BASE)}
    members.writes(alpha, edited(1))
    members.writes(alpha, edited(2))
    assert alpha.engine.held(F) == {hash_of(BASE), hash_of(edited(2))}
    members.writes(alpha, bytes(MERGED_SIZE_MAX + 1))
    assert alpha.engine.held(F) == {hash_of(BASE)}
    assert alpha.engine.held(RelPath(b"unknown")) == frozenset()


# ----------------------------------------------------------------------------------------------------------- nothing lost


def test_what_was_put_together_is_kept_where_the_merge_loses() -> None:
    members = Members("alpha", "beta", "gamma")
    alpha, beta, gamma = members.sides
    members.writes(alpha, edited(1))
    members.writes(beta, edited(9))
    members.writes(gamma, edited(1, 9, by=b"gamma, later"))
    alpha.hears(beta)
    members.merge(alpha)
    for side in (alpha, beta):
        side.hears(gamma)
    beta.hears(alpha)
    for side, data in ((alpha, edited(1)), (beta, edited(9))):
        plan = side.plans(b"f")
        assert plan is not None
        assert (plan.step, plan.content.hash, plan.keep) == (
            Step.INSTALL,
            hash_of(edited(1, 9, by=b"gamma, later")),
            True,
        )
        assert plan.base is not None
        assert plan.base.hash == hash_of(data)


def test_what_a_merge_replaces_is_not_a_loser() -> None:
    members = Members("alpha", "beta")
    alpha, beta = members.sides
    members.writes(alpha, edited(1))
    members.writes(beta, edited(9))
    exchange(members.sides)
    members.merge(alpha)
    beta.hears(alpha)
    for side in members.sides:
        plan = side.plans(b"f")
        assert plan is not None
        assert not plan.keep


def test_a_change_that_overtakes_our_merge_is_merged_with_it() -> None:
    members = Members("alpha", "beta")
    alpha, beta = members.sides
    members.writes(alpha, edited(1))
    members.writes(beta, edited(9))
    alpha.hears(beta)
    members.merge(alpha)
    members.writes(alpha, edited(1, 5))
    assert members.merge(alpha) == edited(1, 5, 9)
    assert due_at(alpha) is None
    members.meet()
    assert {members.live(side) for side in members.sides} == {edited(1, 5, 9)}
    assert conflicts(beta) == []


def test_a_removal_that_overtakes_our_merge_does_not_take_away_what_it_had_not_seen() -> None:
    members = Members("alpha", "beta")
    alpha, beta = members.sides
    members.writes(alpha, edited(1))
    members.writes(beta, edited(9))
    alpha.hears(beta)
    members.merge(alpha)
    alpha.sees(b"f", None)
    assert members.merge(alpha) == edited(1, 9)
    exchange(members.sides)
    assert {members.live(side) for side in members.sides} == {edited(1, 9)}


def test_what_a_merge_was_made_of_that_nobody_has_shown_is_kept_where_a_person_decides_against_it() -> None:
    members = Members("alpha", "beta")
    alpha, beta = members.sides
    members.writes(alpha, edited(1))
    members.writes(beta, edited(9))
    alpha.hears(beta)
    shown = alpha.row(b"f").record.content.entries[0].value
    assert shown.hash == hash_of(edited(1))
    members.merge(alpha)
    alpha.engine.settle(F, shown, None, NOW_NS)
    beta.hears(alpha)
    plan = beta.plans(b"f")
    assert plan is not None
    assert (plan.content, plan.keep) == (shown, True)


def test_a_merge_that_comes_back_after_a_removal_was_forgotten_has_the_same_meta_everywhere() -> None:
    members = Members("alpha", "beta")
    alpha, beta = members.sides
    members.writes(alpha, edited(1))
    alpha.hears(beta)
    members.writes(beta, edited(9), mode=0o600)
    alpha.hears(beta)
    members.merge(alpha)
    # Of the chmod, the removal has seen nothing: it goes on standing beside it.
    alpha.sees(b"f", None)
    beta.hears(alpha)
    beta.shows(b"f", None)
    for one, other in ((alpha, beta), (beta, alpha)):
        one.engine.stands(other.name, other.engine.standings())
    assert beta.engine.forget(beta.engine.settled_everywhere(), ROOT, 10)[0] == 1
    members.merge(alpha)
    beta.hears(alpha)
    metas = [live.meta for side in members.sides if (live := side.engine.live(F)) is not None]
    assert [meta.mode for meta in metas if meta is not None] == [0o600, 0o600]
    assert digest_of(F, alpha.row(b"f").record) == digest_of(F, beta.row(b"f").record)


def test_a_merge_is_not_setuid_and_open_to_others_only_as_far_as_all_versions_are() -> None:
    members = Members("alpha", "beta")
    alpha, beta = members.sides
    members.writes(alpha, edited(1), mode=0o4740)
    members.writes(beta, edited(9), mode=0o604)
    members.meet()
    members.merge(alpha)
    for side in members.sides:
        side.hears(alpha if side is beta else beta)
        live = side.engine.live(F)
        assert live is not None
        assert live.meta is not None
        assert live.meta.mode & 0o4077 == 0
    entry = alpha.row(b"f").record.content.entries[0]
    assert entry.snapshot is not None
    assert entry.snapshot.mode & 0o077 == 0


def test_a_merge_that_a_removal_overtook_is_not_setuid() -> None:
    members = Members("alpha", "beta")
    alpha, beta = members.sides
    members.writes(beta, edited(9))
    for mtime_ns in range(9):
        alpha.sees(b"g", found(b"so that alpha's clock is the later one", mtime_ns=mtime_ns, inode=2))
    members.writes(alpha, edited(1), mode=0o4755)
    exchange(members.sides)
    members.merge(alpha)
    alpha.sees(b"f", None)
    members.merge(alpha)
    exchange(members.sides)
    for side in members.sides:
        live = side.engine.live(F)
        assert live is not None
        assert live.meta is not None
        assert live.meta.mode == 0o744, "what alpha gave its own bytes, as far as beta lets others read them"


def test_a_merge_that_a_removal_overtook_opens_nothing_more_than_a_decision_did() -> None:
    members = Members("alpha", "beta")
    alpha, beta = members.sides
    members.writes(alpha, edited(1))
    members.writes(beta, edited(9))
    beta.engine.settle(F, None, meta_of(found(mode=0o666)), NOW_NS)
    alpha.hears(beta)
    members.merge(alpha)
    alpha.sees(b"f", None)
    members.merge(alpha)
    (meta,) = alpha.row(b"f").record.meta.entries
    assert meta.kind is Kind.FILE
    assert meta.decided
