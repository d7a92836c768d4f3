"""Names of one inode: one write is one version of all of them, and peers link exactly what is linked (R17)."""

import msgspec
import pytest

from csfs.core.objects import Kind, Meta, Observation
from csfs.core.paths import RelPath
from csfs.core.records import Half, MetaEntry, Record, write_of
from csfs.core.versions import Dot, Hlc, Incarnation
from csfs.engine.links import Links, meta_writes, shared_meta
from csfs.engine.plans import is_carried_out
from csfs.engine.ports import Step
from tests.engine.members import Side, found, sides
from tests.engine.test_quarantine import backup, caught_up, in_quarantine

A, B, C = (RelPath(name) for name in (b"a", b"b", b"c"))


def linked(data: bytes, *, links: int = 2, **fields: object) -> Observation:
    """Return the observation of something with several names."""
    return msgspec.structs.replace(found(data, **fields), links=links)  # type: ignore[arg-type]


def sees_together(side: Side, observation: Observation, *paths: bytes) -> None:
    """The same inode is found at these paths, in one look."""
    names = tuple(RelPath(path) for path in paths)
    for path in paths:
        side.sees(path, observation, names=names)


def writes(side: Side, *paths: bytes) -> set[object]:
    """Return the writes of what is live at these paths."""
    return {write_of(side.row(path).record.content.entries[0]) for path in paths}


def applies(side: Side, path: bytes, observation: Observation) -> None:
    """Carry out the plan for a path."""
    side.shows(path, observation)


def test_what_is_written_through_one_name_is_one_version_of_all() -> None:
    (alpha,) = sides("alpha")
    sees_together(alpha, linked(b"1"), b"a", b"b")
    sees_together(alpha, linked(b"2", mtime_ns=2), b"a", b"b")
    assert len(writes(alpha, b"a", b"b")) == 1
    entries = [alpha.row(path).record.content.entries[0] for path in (b"a", b"b")]
    assert entries[0].value == entries[1].value == entries[0].value
    assert entries[0].hlc == entries[1].hlc


def test_a_new_name_takes_a_version_of_that_name_alone() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(b"a", found(b"1"))
    made = alpha.counter()
    before = alpha.row(b"a").record
    sees_together(alpha, linked(b"1"), b"b", b"a")
    assert alpha.row(b"a").record == before
    assert len(writes(alpha, b"a", b"b")) == 1
    assert alpha.counter() == made + 2


def test_whom_a_name_follows_is_asked_of_each_inode_once(monkeypatch: pytest.MonkeyPatch) -> None:
    (alpha,) = sides("alpha")
    names = [b"n%d" % number for number in range(30)]
    sees_together(alpha, linked(b"1", links=30), *names)
    asked: list[int] = []
    index, paths_linked = alpha.index, type(alpha.index).paths_linked

    def counted(self: object, inode: int) -> list[RelPath]:
        asked.append(inode)
        return paths_linked(index, inode)

    monkeypatch.setattr(type(index), "paths_linked", counted)
    row = alpha.row(names[7])
    entry = row.record.content.entries[0]
    assert row.scope is not None
    assert Links(index).leader(RelPath(names[7]), row.scope, entry, row.applied) == b"n0"
    assert len(asked) == 1


def test_the_peer_installs_one_name_and_links_the_others() -> None:
    alpha, beta = sides("alpha", "beta")
    sees_together(alpha, linked(b"1"), b"a", b"b")
    beta.hears(alpha)
    first = beta.plans(b"a")
    assert first is not None
    assert (first.step, first.link) == (Step.INSTALL, None)
    beta.shows(b"a", found(b"1", inode=7))
    second = beta.plans(b"b")
    assert second is not None
    assert (second.step, second.link) == (Step.INSTALL, A)
    assert beta.engine.link_source(second) == found(b"1", inode=7)
    beta.shows(b"b", linked(b"1", inode=7))
    assert beta.row(b"a").applied.observation == linked(b"1", inode=7)
    assert not beta.row(b"a").pending
    assert not beta.row(b"b").pending


def test_names_that_came_apart_from_each_other_are_linked_once_both_are_there() -> None:
    alpha, beta = sides("alpha", "beta")
    sees_together(alpha, linked(b"1"), b"a", b"b")
    beta.hears(alpha)
    beta.shows(b"b", found(b"1", inode=8))
    freed = beta.shows(b"a", found(b"1", inode=7))
    assert B in freed
    plan = beta.plans(b"b")
    assert plan is not None
    assert plan.link == A


def test_an_equal_file_in_the_place_of_a_name_takes_it_out() -> None:
    alpha, beta = sides("alpha", "beta")
    sees_together(alpha, linked(b"1"), b"a", b"b")
    beta.hears(alpha)
    beta.shows(b"a", found(b"1", inode=7))
    beta.shows(b"b", linked(b"1", inode=7))
    alpha.sees(b"b", found(b"1", inode=2))
    assert len(writes(alpha, b"a", b"b")) == 2
    beta.hears(alpha)
    plan = beta.plans(b"b")
    assert plan is not None
    assert (plan.step, plan.link, plan.keep) == (Step.INSTALL, None, False)
    assert beta.plans(b"a") is None


def test_an_equal_file_that_becomes_a_name_is_linked_at_the_peer() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"a", found(b"1"))
    alpha.sees(b"b", found(b"1", inode=2))
    beta.hears(alpha)
    beta.shows(b"a", found(b"1", inode=7))
    beta.shows(b"b", found(b"1", inode=8))
    sees_together(alpha, linked(b"1"), b"a", b"b")
    beta.hears(alpha)
    plans = [plan for path in (b"a", b"b") if (plan := beta.plans(path)) is not None]
    assert [plan.link for plan in plans] in ([A], [B])


def test_a_look_at_linked_names_of_which_nothing_changed_makes_nothing() -> None:
    (alpha,) = sides("alpha")
    sees_together(alpha, linked(b"1"), b"a", b"b")
    made = alpha.counter()
    sees_together(alpha, linked(b"1", links=3), b"b", b"a")
    sees_together(alpha, linked(b"1"), b"a", b"b")
    alpha.sees(b"a", None)
    alpha.sees(b"b", found(b"1"))
    assert alpha.counter() == made + 2, "the tombstone's two halves"


def test_names_of_two_groups_are_not_linked_at_peers() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(b"a", linked(b"1"))
    row = alpha.row(b"a")
    alpha.index.put(A, msgspec.structs.replace(row, scope=b"another!"))
    alpha.sees(b"b", linked(b"1"), names=(A, B))
    assert len(writes(alpha, b"a", b"b")) == 2


def test_a_chmod_through_one_name_is_one_decision_for_all() -> None:
    alpha, beta = sides("alpha", "beta")
    sees_together(alpha, linked(b"1"), b"a", b"b")
    beta.hears(alpha)
    beta.shows(b"a", found(b"1", inode=7))
    beta.shows(b"b", linked(b"1", inode=7))
    sees_together(alpha, linked(b"1", mode=0o600), b"b", b"a")
    beta.hears(alpha)
    plan = beta.plans(b"a")
    assert plan is not None
    assert (plan.step, plan.meta.mode if plan.meta is not None else None) == (Step.ATTRIBUTES, 0o600)
    assert B in beta.shows(b"a", linked(b"1", inode=7, mode=0o600))
    assert beta.plans(b"b") is None, "the other name shows it already"
    assert not beta.row(b"b").pending


def test_a_chmod_counts_for_a_name_that_was_given_meanwhile() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"a", found(b"1"))
    beta.hears(alpha)
    beta.shows(b"a", found(b"1", inode=7))
    beta.sees(b"a", found(b"1", inode=7, mode=0o600))
    sees_together(alpha, linked(b"1"), b"b", b"a")
    alpha.hears(beta)
    plan = alpha.plans(b"b") or alpha.plans(b"a")
    assert plan is not None
    assert (plan.step, plan.meta.mode if plan.meta is not None else None) == (Step.ATTRIBUTES, 0o600)


def test_what_was_to_be_linked_to_what_a_kill_kept_from_being_there_is_not_taken_for_linked() -> None:
    alpha, beta = sides("alpha", "beta")
    sees_together(alpha, linked(b"1"), b"a", b"b")
    beta.hears(alpha)
    beta.shows(b"a", found(b"1", inode=7))
    beta.shows(b"b", linked(b"1", inode=7))
    sees_together(alpha, linked(b"2", mtime_ns=2), b"a", b"b")
    beta.hears(alpha)
    plan = beta.plans(b"b")
    assert plan is not None
    # As the applier has it, which installs both in one batch; nothing of it was carried out.
    plan = msgspec.structs.replace(plan, link=A)
    assert beta.engine.link_source(plan) is None
    assert not is_carried_out(plan, linked(b"1", inode=7), beta.engine.link_source(plan))
    beta.shows(b"a", found(b"2", inode=9, mtime_ns=2))
    assert not is_carried_out(plan, linked(b"1", inode=7), beta.engine.link_source(plan))
    assert is_carried_out(plan, linked(b"2", inode=9), beta.engine.link_source(plan))


def test_what_a_link_was_made_to_is_known_though_a_newer_version_came_meanwhile() -> None:
    alpha, beta = sides("alpha", "beta")
    sees_together(alpha, linked(b"1"), b"a", b"b")
    beta.hears(alpha)
    beta.shows(b"a", found(b"1", inode=7))
    plan = beta.plans(b"b")
    assert plan is not None
    sees_together(alpha, linked(b"2", mtime_ns=2), b"a", b"b")
    beta.hears(alpha)
    source = beta.engine.link_source(plan)
    assert source == found(b"1", inode=7)
    made = beta.counter()
    beta.engine.applied(plan, linked(b"1", inode=7))
    sees_together(beta, linked(b"1", inode=7), b"b", b"a")
    assert beta.counter() == made, "the old version is nobody's change"


def test_a_name_that_cannot_be_linked_here_becomes_a_file_of_its_own() -> None:
    alpha, beta = sides("alpha", "beta")
    sees_together(alpha, linked(b"1"), b"a", b"b")
    beta.hears(alpha)
    beta.shows(b"a", found(b"1", inode=7))
    plan = beta.plans(b"b")
    assert plan is not None
    assert plan.write is not None
    beta.engine.unlinkable.add(plan.write)
    again = beta.plans(b"b")
    assert again is not None
    assert again.link is None
    woken = beta.shows(b"b", found(b"1", inode=8))
    assert beta.plans(b"b") is None
    for path in (*woken, *beta.engine.woken()):
        assert beta.plans(path) is None
    assert beta.engine.woken() == (), "neither has the other planned for ever"


def test_a_decision_about_one_name_is_one_about_all() -> None:
    (alpha,) = sides("alpha")
    sees_together(alpha, linked(b"1"), b"a", b"b")
    before = alpha.row(b"a").record.content.entries[0].value
    sees_together(alpha, linked(b"2", mtime_ns=2), b"a", b"b")
    assert set(alpha.engine.settle(B, before, None, 9)) == {A, B}
    assert len(writes(alpha, b"a", b"b")) == 1
    assert alpha.row(b"a").record.content.entries[0].value == before
    assert set(alpha.engine.settle(B, before, None, 10, apart={A})) == {B}
    assert len(writes(alpha, b"a", b"b")) == 2


def test_linked_files_that_are_separate_in_the_cluster_are_taken_apart_by_who_joins() -> None:
    alpha, beta = sides("alpha", "beta", pulling=("beta",))
    alpha.sees(b"a", found(b"1"))
    alpha.sees(b"b", found(b"1", inode=2))
    beta.hears(alpha)
    beta.engine.finish_pull()
    for path in (b"a", b"b"):
        beta.sees(path, linked(b"1", inode=7), names=(A, B), joining=True)
    plans = [plan for path in (b"a", b"b") if (plan := beta.plans(path)) is not None]
    assert [(plan.path, plan.step, plan.link) for plan in plans] == [(B, Step.INSTALL, None)]


def test_separate_files_that_are_linked_in_the_cluster_are_linked_by_who_joins() -> None:
    alpha, beta = sides("alpha", "beta", pulling=("beta",))
    sees_together(alpha, linked(b"1"), b"a", b"b")
    beta.hears(alpha)
    beta.engine.finish_pull()
    beta.sees(b"a", found(b"1", inode=7), joining=True)
    beta.sees(b"b", found(b"1", inode=8), joining=True)
    plans = [plan for path in (b"a", b"b") if (plan := beta.plans(path)) is not None]
    assert [(plan.path, plan.step, plan.link) for plan in plans] == [(B, Step.INSTALL, A)]


def test_what_a_kill_left_half_set_under_one_name_is_nobodys_change_under_the_others() -> None:
    alpha, beta = sides("alpha", "beta")
    sees_together(alpha, linked(b"1"), b"a", b"b")
    beta.hears(alpha)
    beta.shows(b"a", found(b"1", inode=7))
    beta.shows(b"b", linked(b"1", inode=7))
    sees_together(alpha, linked(b"1", mode=0o600, uid=1002, owner="eve"), b"a", b"b")
    beta.hears(alpha)
    plan = beta.plans(b"a")
    assert plan is not None
    assert beta.engine.other_names(plan) == [B]
    # Somebody saves `a` as another inode before anybody looks.
    half = linked(b"1", inode=7, links=1, uid=1002, owner="eve")
    assert beta.engine.interrupted(plan, half)
    assert not beta.sees(b"b", half)
    assert beta.sees(b"a", found(b"2", inode=8))
    assert beta.plans(b"b") is not None, "it is completed"


def test_names_of_one_file_decide_alike_if_what_is_decided_for_each_is() -> None:
    def record(*decided: MetaEntry) -> Record:
        return Record(meta=Half(decided, {dot.incarnation: dot.counter for dot in (one.dot for one in decided)}))

    mode, other = Meta(0o600, 0, 0), Meta(0o640, 0, 0)
    first, theirs = Dot(Incarnation(1), 1), Dot(Incarnation(2), 1)
    decision = MetaEntry(first, Hlc(5), mode, Kind.FILE)
    named = MetaEntry(Dot(Incarnation(1), 2), Hlc(5), mode, Kind.FILE, write=first)
    given = MetaEntry(theirs, Hlc(9), other, Kind.FILE, write=Dot(Incarnation(2), 0))
    assert meta_writes(record(decision)) == meta_writes(record(named)), "it is all that each has"
    # Together the decision counts, and what was given along with the inode limits it; alone, the later one counts for the second name.
    assert shared_meta(record(named, given).meta, [record(decision, given)], Kind.FILE)[0].entries == (decision,)
    assert shared_meta(record(named, given).meta, [], Kind.FILE)[0].entries == (named, given)
    assert meta_writes(record(decision, given)) != meta_writes(record(named, given))


def test_what_was_a_name_of_what_is_in_doubt_and_is_another_file_by_then_is_planned() -> None:
    alpha, beta = sides("alpha", "beta")
    both = linked(b"1")
    for path in (b"a", b"b"):
        alpha.sees(path, both, names=(A, B))
    index = backup(alpha)
    beta.hears(alpha)
    lost = in_quarantine(alpha, index)
    lost.sees(b"c", both, moved_from=B, names=(A, C))
    lost.sees(b"b", None, moved_to=C)
    caught_up(lost, beta)
    assert lost.row(b"c").pending
    plan = lost.plans(b"c")
    assert plan is not None
    assert (plan.step, plan.link) == (Step.INSTALL, None)
    assert lost.plans(b"a") is None


def test_what_another_one_says_of_the_first_name_counts_for_the_others_at_who_made_them() -> None:
    alpha, beta = sides("alpha", "beta")
    sees_together(alpha, linked(b"1", mtime_ns=9), b"a", b"b")
    beta.sees(b"a", found(b"2", mode=0o600))
    received = alpha.hears(beta)
    assert B in received.touched
    assert alpha.row(b"b").pending
    plan = alpha.plans(b"b")
    assert plan is not None
    assert plan.meta is not None
    assert (plan.step, plan.meta.mode) == (Step.ATTRIBUTES, 0o600)


def test_what_is_stale_decides_no_more_on_the_attributes_of_its_other_names() -> None:
    alpha, beta = sides("alpha", "beta")
    beta.sees(b"first", found(b"first", inode=2))
    beta.sees(b"a", found(b"other", mode=0o600, inode=3))
    alpha.sees(b"a", found(b"one", mtime_ns=5))
    sees_together(alpha, linked(b"one", mtime_ns=5), b"b", b"a")
    beta.hears(alpha)
    alpha.hears(beta)
    alpha.engine.stands("beta", beta.engine.standings())
    alpha.shows(b"a", linked(b"one", mtime_ns=5, mode=0o600))
    assert alpha.plans(b"b") is None
    assert not alpha.row(b"b").pending
    beta.shows(b"a", found(b"one", mtime_ns=5, mode=0o600, inode=4))
    beta.sees(b"a", None)
    beta.index.drop(A)
    lost = in_quarantine(alpha, backup(alpha))
    caught_up(lost, beta)
    assert not lost.row(b"a").live
    assert lost.row(b"b").pending
    plan = lost.plans(b"b")
    assert plan is not None
    assert plan.meta is not None
    assert (plan.step, plan.meta.mode) == (Step.ATTRIBUTES, 0o644)


def test_what_shows_the_same_as_another_version_of_the_file_is_linked_once_a_name_shows_that_one() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    alpha.sees(b"a", found(b"one"))
    beta.hears(alpha)
    plan = beta.plans(b"a")
    assert plan is not None
    gamma.sees(b"before", found(b"before", inode=2))
    gamma.sees(b"a", found(b"one"))
    sees_together(gamma, linked(b"one"), b"b", b"a")
    beta.hears(gamma)
    beta.engine.applied(plan, found(b"one", inode=7))
    row = beta.row(b"a")
    assert not row.pending, "it shows what is live"
    assert row.applied.content_dot != row.write, "as another version"
    assert A in beta.shows(b"b", found(b"one", inode=8))
    assert beta.row(b"a").pending
    plan = beta.plans(b"a")
    assert plan is not None
    assert (plan.step, plan.link) == (Step.INSTALL, B)
