"""What a member made of an object without having seen that it was moved goes where the object is, and nothing else does (R15)."""

import msgspec

from csfs.core.groups import Group
from csfs.core.objects import Kind, Stamp
from csfs.core.paths import RelPath
from csfs.core.versions import Incarnation, Scope
from csfs.engine.following import rows_ahead
from csfs.engine.memory import MemoryIndex
from csfs.engine.ports import Step
from csfs.engine.volume import VolumeEngine
from scripts.simulation.tree import hash_of
from tests.engine.members import NOW_NS, SCOPE, Side, directory, found, sides

A, B, C = (RelPath(name) for name in (b"a", b"b", b"c"))
OTHER = Scope(b"scope-02")


def together(*names: str, policy: tuple[str, ...] = ("younger",), receive_only: tuple[str, ...] = ()) -> list[Side]:
    """Return members that all show one file at `a`."""
    made = sides(*names, policy=policy, receive_only=receive_only)
    first, *others = made
    first.sees(A, found(b"one"))
    for other in others:
        other.hears(first)
        other.shows(A, found(b"one"))
    return made


def renames(side: Side, source: RelPath, target: RelPath, data: bytes = b"one", inode: int = 1) -> None:
    """Rename a file, and look at both names."""
    side.sees(target, found(data, inode=inode), moved_from=source)
    side.sees(source, None, moved_to=target)
    side.engine.follow((source, target), NOW_NS, side.is_unseen)


def live(side: Side, path: RelPath) -> bytes | None:
    """Return the hash of what is to be at a path, None for nothing."""
    known = side.engine.live(path)
    return None if known is None or known.content.kind is Kind.ABSENT else known.content.hash


def is_at(side: Side, path: RelPath, data: bytes | None) -> bool:
    """Return whether this is what is to be at a path."""
    return live(side, path) == (None if data is None else found(data).hash)


def edits(side: Side, path: RelPath, data: bytes = b"edited", inode: int = 1) -> None:
    """Write into a file, and look at it."""
    side.sees(path, found(data, mtime_ns=5, inode=inode))
    side.engine.follow((path,), NOW_NS, side.is_unseen)


def test_an_edit_follows_to_where_the_file_took_the_place_of_another_one_and_was_saved_before_anybody_looked() -> None:
    alpha, beta = together("alpha", "beta")
    alpha.sees(B, found(b"replaced", inode=2))
    alpha.sees(B, found(b"saved", inode=3), moved_from=A)
    alpha.sees(A, None, moved_to=B)
    edits(beta, A)
    beta.hears(alpha)
    beta.engine.follow((A, B), NOW_NS, beta.is_unseen)
    assert is_at(beta, A, None)
    assert {hash_of(b"saved"), hash_of(b"edited")} == {e.value.hash for e in beta.row(B).record.content.entries}


def test_an_edit_that_was_made_after_all_was_known_and_nothing_applied_follows_at_once() -> None:
    alpha, beta = together("alpha", "beta")
    renames(alpha, A, B)
    beta.hears(alpha)
    edits(beta, A)
    assert is_at(beta, A, None)
    assert is_at(beta, B, b"edited")
    alpha.hears(beta)
    assert is_at(alpha, A, None)
    assert is_at(alpha, B, b"edited")


def test_an_edit_whose_member_does_not_come_back_lives_under_the_old_name() -> None:
    alpha, beta, gamma = together("alpha", "beta", "gamma")
    edits(beta, A)
    gamma.hears(beta)
    renames(alpha, A, B)
    gamma.hears(alpha)
    alpha.hears(gamma)
    assert (gamma.counter(), is_at(gamma, A, b"edited"), is_at(gamma, B, b"one")) == (0, True, True)
    assert is_at(alpha, A, b"edited")
    beta.hears(gamma)
    gamma.hears(beta)
    assert is_at(gamma, A, None)
    assert is_at(gamma, B, b"edited")


def test_an_edit_waits_until_the_object_is_known_at_its_new_name() -> None:
    alpha, beta = together("alpha", "beta")
    edits(beta, A)
    renames(alpha, A, B)
    out = alpha.engine.outgoing(0, beta.engine.knowledge(), 100, "beta")
    first = [update for update in out.updates if update.path == A]
    rest = [update for update in out.updates if update.path != A]
    beta.engine.receive("alpha", SCOPE, first, None, NOW_NS)
    assert beta.engine.follow((A,), NOW_NS) == ()
    assert is_at(beta, A, b"edited")
    beta.engine.receive("alpha", SCOPE, rest, out.mark, NOW_NS)
    assert set(beta.engine.follow((B,), NOW_NS)) == {A, B}
    assert is_at(beta, B, b"edited")


def test_an_edit_waits_while_something_is_still_to_be_looked_at() -> None:
    alpha, beta = together("alpha", "beta")
    edits(beta, A)
    renames(alpha, A, B)
    beta.unseen.add(B)
    beta.hears(alpha)
    assert is_at(beta, A, b"edited")
    beta.unseen.clear()
    beta.engine.follow((B,), NOW_NS, beta.is_unseen)
    assert is_at(beta, B, b"edited")


def test_what_was_written_before_the_move_was_known_follows_though_nobody_had_looked_at_it() -> None:
    alpha, beta = together("alpha", "beta")
    edits(beta, A)
    renames(alpha, A, B)
    beta.unseen.add(A)
    beta.hears(alpha)
    assert beta.plans(A) is None
    assert beta.row(A).pending
    beta.engine.woken()
    beta.unseen.clear()
    edits(beta, A, b"later")
    assert A in beta.engine.woken()
    assert is_at(beta, A, None)
    assert is_at(beta, B, b"later")


def test_who_starts_anew_takes_along_what_is_contested() -> None:
    alpha, beta = together("alpha", "beta")
    edits(beta, A)
    renames(alpha, A, B)
    beta.unseen.add(A)
    beta.hears(alpha)
    authors = {Incarnation(1): "alpha", Incarnation(2): "beta", Incarnation(9): "beta"}
    engine = VolumeEngine(beta.index, beta.engine._rules, "beta", Incarnation(9), authors)
    assert set(engine.follow((A,), NOW_NS)) == {A, B}


def test_what_comes_from_a_member_that_only_receives_follows_nothing() -> None:
    alpha, beta = together("alpha", "beta", receive_only=("beta",))
    renames(alpha, A, B)
    beta.hears(alpha)
    edits(beta, A)
    assert beta.counter() == 0
    assert is_at(beta, B, b"one")


def test_an_edit_that_has_seen_the_move_stays() -> None:
    alpha, beta, gamma = together("alpha", "beta", "gamma")
    edits(beta, A)
    renames(alpha, A, B)
    gamma.hears(beta)
    gamma.hears(alpha)
    gamma.shows(A, found(b"edited", mtime_ns=5))
    edits(gamma, A, b"again")
    beta.hears(gamma)
    assert is_at(beta, A, b"again")
    assert is_at(beta, B, b"one")


def test_what_would_replace_another_version_of_our_own_stays() -> None:
    alpha, beta = together("alpha", "beta")
    edits(beta, A)
    beta.sees(B, found(b"ours", inode=7))
    renames(alpha, A, B)
    beta.hears(alpha)
    assert is_at(beta, A, b"edited")
    beta.sees(B, None)
    beta.engine.follow((B,), NOW_NS)
    assert is_at(beta, A, None)
    assert is_at(beta, B, b"edited")


def test_nothing_goes_from_the_old_name_until_it_is_shown_at_the_new_one() -> None:
    alpha, beta = together("alpha", "beta")
    edits(beta, A)
    renames(alpha, A, B)
    beta.hears(alpha)
    assert beta.plans(A) is None
    freed = beta.shows(B, found(b"edited", mtime_ns=5, inode=3))
    assert A in freed
    plan = beta.plans(A)
    assert plan is not None
    assert (plan.step, plan.keep) == (Step.REMOVE, False)


def test_an_edit_that_loses_at_the_new_name_is_kept_where_it_was_shown() -> None:
    alpha, beta = together("alpha", "beta", policy=("left",))
    edits(beta, A)
    renames(alpha, A, B)
    alpha.sees(B, found(b"ours", mtime_ns=9))
    beta.hears(alpha)
    assert is_at(beta, B, b"ours")
    plan = beta.plans(A)
    assert plan is not None
    assert (plan.step, plan.keep) == (Step.REMOVE, True)


def test_an_edit_that_loses_at_the_new_name_is_kept_also_if_the_winner_was_changed_before_it_was_to_go() -> None:
    alpha, beta = together("alpha", "beta", policy=("left",))
    edits(beta, A)
    renames(alpha, A, B)
    alpha.sees(B, found(b"ours", mtime_ns=9))
    beta.hears(alpha)
    beta.shows(B, found(b"ours", mtime_ns=9))
    beta.sees(B, found(b"ours", mtime_ns=10))
    assert len(beta.row(B).record.content.entries) == 1
    plan = beta.plans(A)
    assert plan is not None
    assert (plan.step, plan.keep) == (Step.REMOVE, True)


def test_what_was_touched_and_loses_is_kept_by_all_who_show_the_same_bytes_by_another_dot() -> None:
    alpha, beta = together("alpha", "beta")
    alpha.sees(A, found(b"one", mtime_ns=5))
    renames(beta, A, B)
    alpha.hears(beta)
    alpha.sees(B, found(b"other", mtime_ns=9, inode=4))
    beta.hears(alpha)
    plan = beta.plans(B)
    assert plan is not None
    assert (plan.step, plan.content.hash, plan.keep) == (Step.INSTALL, found(b"other").hash, True)
    plan = alpha.plans(A)
    assert plan is not None
    assert (plan.step, plan.keep) == (Step.REMOVE, True)


def test_a_touch_does_not_win_over_what_was_moved_and_saved_before_anybody_looked() -> None:
    alpha, beta = together("alpha", "beta")
    renames(alpha, A, B, b"saved", inode=2)
    edits(beta, A, b"one")
    beta.hears(alpha)
    alpha.hears(beta)
    for side in (alpha, beta):
        assert is_at(side, B, b"saved"), "bytes lose to what was made from them, however late their time is"
        assert is_at(side, A, None)


class TwoGroups:
    """Rules with one group for `c`, and one for everything else."""

    def __init__(self, *members: str) -> None:
        self.groups = (
            Group(members, frozenset(), ("younger",), SCOPE),
            Group(members, frozenset(), ("younger",), OTHER),
        )

    def group_of(self, path: RelPath) -> Group | None:
        return self.groups[path == C]


def test_nothing_follows_into_another_group() -> None:
    rules = TwoGroups("alpha", "beta")
    authors = {Incarnation(1): "alpha", Incarnation(2): "beta"}
    made = []
    for incarnation, name in authors.items():
        index = MemoryIndex()
        made.append(Side(name, index, VolumeEngine(index, rules, name, incarnation, authors)))
    alpha, beta = made
    alpha.sees(A, found(b"one"))
    beta.hears(alpha)
    beta.shows(A, found(b"one"))
    edits(beta, A)
    renames(alpha, A, C)
    assert all(entry.moves == () for entry in alpha.row(A).record.content.entries)
    beta.hears(alpha)
    assert is_at(beta, A, b"edited")
    assert is_at(beta, C, b"one")


def test_edits_that_are_to_follow_are_merged_where_they_go() -> None:
    alpha, beta, gamma = together("alpha", "beta", "gamma", policy=("merge", "younger"))
    edits(beta, A, b"by beta")
    edits(gamma, A, b"by gamma")
    renames(alpha, A, B)
    alpha.hears(beta)
    alpha.hears(gamma)
    assert all(side.engine.merge_due(A) is None for side in (alpha, beta, gamma))
    beta.hears(alpha)
    gamma.hears(beta)
    beta.hears(gamma)
    alpha.hears(beta)
    alpha.hears(gamma)
    assert is_at(alpha, A, None)
    assert {entry.value.hash for entry in alpha.row(B).record.content.entries} == {
        found(b"by beta").hash,
        found(b"by gamma").hash,
    }
    assert [side.engine.merge_due(B) is not None for side in (alpha, beta, gamma)].count(True) == 1


def test_a_merge_that_follows_a_move_is_held_until_it_is_shown_there_and_what_it_is_made_of_stays() -> None:
    alpha, beta, gamma = together("alpha", "beta", "gamma", policy=("merge", "younger"))
    edits(beta, A, b"by beta")
    edits(gamma, A, b"by gamma")
    gamma.hears(beta)
    beta.hears(gamma)
    due = beta.engine.merge_due(A)
    assert due is not None
    result = found(b"by both", mtime_ns=6)
    assert beta.engine.merge(due, result.hash, result.size, NOW_NS)
    renames(alpha, A, B)
    beta.hears(alpha)
    assert is_at(beta, B, b"by both")
    assert result.hash in beta.engine.held(A) & beta.engine.held(B)
    assert beta.plans(A) is None
    assert A in beta.shows(B, msgspec.structs.replace(result, stamp=Stamp(9, result.size, 6, 6)))
    assert result.hash not in beta.engine.held(A)
    plan = beta.plans(A)
    assert plan is not None
    assert (plan.step, plan.keep) == (Step.REMOVE, False)


def test_edits_follow_a_rename_of_what_is_known_to_be_removed_and_still_shown() -> None:
    alpha, beta, gamma = together("alpha", "beta", "gamma")
    alpha.sees(A, None)
    beta.hears(alpha)
    renames(beta, A, B)
    edits(gamma, A)
    gamma.hears(beta)
    assert is_at(gamma, A, None)
    assert is_at(gamma, B, b"edited")


def test_an_edit_that_loses_where_it_followed_is_kept_though_another_member_moved_the_object_elsewhere() -> None:
    alpha, beta, gamma = together("alpha", "beta", "gamma", policy=("left",))
    edits(beta, A)
    renames(alpha, A, B)
    alpha.sees(B, found(b"ours", mtime_ns=9))
    for number in range(20):
        gamma.sees(b"other", found(b"%d" % number, inode=9))  # its clock is ahead
    renames(gamma, A, C)
    beta.hears(alpha)
    assert is_at(beta, B, b"ours")
    beta.hears(gamma)
    plan = beta.plans(A)
    assert plan is not None
    assert (plan.step, plan.keep) == (Step.REMOVE, True)


def test_attributes_of_a_directory_do_not_take_away_what_took_its_place() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    beta.sees(b"p", directory(inode=2))
    alpha.sees(b"p", found(b"in its place"))
    beta.hears(alpha)
    gamma.hears(beta)
    beta.shows(b"p", None)
    beta.shows(b"p", found(b"in its place", inode=3))
    beta.sees(b"p", found(b"edited", mtime_ns=5, inode=3))
    gamma.sees(b"p", directory(inode=7))
    gamma.sees(b"q", directory(inode=7), moved_from=RelPath(b"p"))
    gamma.sees(b"p", None, moved_to=RelPath(b"q"))
    beta.hears(gamma)
    assert hash_of(b"edited") in {entry.value.hash for entry in beta.row(b"p").record.content.entries}


def test_where_an_edit_went_is_not_where_the_next_file_at_its_old_name_went() -> None:
    alpha, beta = together("alpha", "beta")
    (old,) = alpha.row(A).record.content.entries
    renames(alpha, A, B)
    edits(beta, A)
    beta.hears(alpha)
    beta.shows(B, found(b"edited", mtime_ns=5, inode=2))
    beta.shows(A, None)
    beta.sees(A, found(b"new", inode=9))
    renames(beta, A, C, b"new", inode=9)
    (new,) = beta.row(C).record.content.entries
    assert old.birth is not None
    assert new.birth is not None
    ahead = [[path for path, _ in rows_ahead(beta.index, beta.row(A), birth)] for birth in (old.birth, new.birth)]
    assert ahead == [[B], [C]]
