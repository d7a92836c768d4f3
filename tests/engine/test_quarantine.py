"""A member that was restored or cloned: what it doubts, what it mints anew, what it lets go (R8, R11)."""

from copy import copy

import pytest
from msgspec import structs

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.rows import Doubt, Standing
from csfs.core.tokens import Owed, Verdict, given
from csfs.core.versions import Incarnation
from csfs.engine.memory import MemoryIndex
from csfs.engine.volume import VolumeEngine
from tests.engine.members import NOW_NS, SCOPE, Side, directory, found, sides

KEY = b"key"
PATH = RelPath(b"f")


def backup(side: Side) -> MemoryIndex:
    """Return a copy of a member's index."""
    side.index.commit()
    index = copy(side.index)
    for name, value in vars(side.index).items():
        if isinstance(value, dict | list):
            setattr(index, name, value.copy())
    return index


def restarted(side: Side, index: MemoryIndex, incarnation: int | None = None) -> Side:
    """Return a member that runs with another index, and as another incarnation if it is given."""
    engine, authors = side.engine, {**side.engine._authors}
    life = engine._incarnation
    if incarnation is not None:
        life = Incarnation(incarnation)
        authors[life] = side.name
        index.start_incarnation()
    return Side(side.name, index, VolumeEngine(index, engine._rules, side.name, life, authors))


def in_quarantine(side: Side, index: MemoryIndex) -> Side:
    """Return a member that was restored, and found that out at a greeting with beta."""
    restored = restarted(side, index)
    _, later = given(given(index.tokens("beta"), "beta", KEY, b"1" * 8)[0], "beta", KEY, b"2" * 8)
    assert restored.engine.shown("beta", KEY, later) is Verdict.AHEAD
    restored.engine.distrust()
    return restarted(side, index, 99)


def caught_up(side: Side, other: Side) -> None:
    """End the quarantine with what the other knows, and mint anew."""
    side.hears(other)
    assert side.engine.may_catch_up_with(other.name, other.engine.standings())
    paths = sorted({path for one in (side, other) for path, row in one.index.rows().items() if row.live})
    known = other.engine.knowledge()[SCOPE]
    side.engine.healed(other.name, SCOPE, paths, other.engine.records(SCOPE, paths), NOW_NS, known_there=known)
    assert side.engine.caught_up(other.name, [other.name])
    for path in side.engine._index.doubtful():
        side.engine.mint_anew(path, NOW_NS)


def hears_anew(side: Side, lost: Side) -> None:
    """Hear a member that is another incarnation now, and another index."""
    side.engine._authors = {**side.engine._authors, Incarnation(99): lost.name}
    side.heard.pop(lost.name, None)
    side.hears(lost)


def test_what_no_peer_had_stored_is_minted_anew_and_what_one_had_is_not() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"old", found(b"old"))
    beta.hears(alpha)
    alpha.engine.stands("beta", beta.engine.standings())
    alpha.sees(b"f", found(b"new", inode=2))
    lost = in_quarantine(alpha, backup(alpha))
    assert lost.engine.is_in_quarantine
    assert lost.row(b"f").doubt == Doubt.CONTENT | Doubt.META
    assert not lost.row(b"f").record.content.entries
    assert not lost.row(b"old").doubt
    assert lost.plans(b"f") is None, "nothing is applied before others were heard"
    caught_up(lost, beta)
    (entry,) = lost.row(b"f").record.content.entries
    assert entry.dot.incarnation == 99
    hears_anew(beta, lost)
    assert beta.row(b"f").record.content.entries == (entry,)


def test_what_was_made_after_a_restore_and_before_a_boot_is_in_doubt_as_well() -> None:
    alpha, beta = sides("alpha", "beta")
    index = backup(alpha)
    alpha.sees(b"f", found(b"removed before"))
    alpha.sees(b"f", found(b"in the life that is lost", mtime_ns=2))
    beta.hears(alpha)
    beta.shows(b"f", found(b"in the life that is lost", mtime_ns=2))
    again = restarted(alpha, index)
    again.sees(b"f", found(b"zero", mtime_ns=3, inode=2))
    again.sees(b"f", found(b"one", mtime_ns=4, inode=2))
    again.sees(b"f", found(b"after the restore", mtime_ns=5, inode=2))
    assert again.row(b"f").record.content.entries[0].dot > beta.row(b"f").record.content.entries[0].dot
    lost = in_quarantine(restarted(again, index, 50), index)
    assert not lost.row(b"f").record.content.entries
    caught_up(lost, beta)
    assert len(lost.row(b"f").record.content.entries) == 2
    hears_anew(beta, lost)
    assert len(beta.row(b"f").record.content.entries) == 2, "neither has seen the other"


def test_what_is_in_doubt_adopts_nothing_that_was_removed_and_forgotten() -> None:
    alpha, beta = sides("alpha", "beta")
    beta.sees(b"d", directory(2))
    alpha.sees(b"d", directory(3))
    alpha.hears(beta)
    index = backup(alpha)
    beta.hears(alpha)
    beta.sees(b"d", None)
    beta.index.drop(RelPath(b"d"))
    lost = in_quarantine(restarted(alpha, index), index)
    assert [entry.dot.incarnation for entry in lost.row(b"d").record.content.entries] == [2]
    caught_up(lost, beta)
    record = lost.row(b"d").record
    assert [entry.dot.incarnation for entry in record.content.entries] == [99]
    assert record.time is not None
    assert (record.time.dot.incarnation, record.time.mtime_ns) == (99, 3)


def test_what_a_peer_tells_under_the_old_dot_is_adopted_if_it_is_on_disk() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"same"))
    index = backup(alpha)
    beta.hears(alpha)
    lost = in_quarantine(alpha, index)
    caught_up(lost, beta)
    assert lost.row(b"f").record == beta.row(b"f").record
    assert not lost.row(b"f").pending


def test_one_dot_with_two_meanings_is_no_trouble() -> None:
    alpha, beta = sides("alpha", "beta")
    index = backup(alpha)
    alpha.sees(b"f", found(b"in the life that is lost"))
    beta.hears(alpha)
    again = restarted(alpha, index)
    again.sees(b"f", found(b"after the restore", mtime_ns=5, inode=2))
    assert again.row(b"f").record.content.entries[0].dot == beta.row(b"f").record.content.entries[0].dot
    lost = in_quarantine(again, index)
    caught_up(lost, beta)
    assert len(lost.row(b"f").record.content.entries) == 2
    hears_anew(beta, lost)
    assert beta.row(b"f").record.content.entries == lost.row(b"f").record.content.entries


def test_a_change_made_meanwhile_is_minted_once() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"in doubt"))
    lost = in_quarantine(alpha, backup(alpha))
    lost.sees(b"f", found(b"changed meanwhile", inode=3), created=True)
    (entry,) = lost.row(b"f").record.content.entries
    caught_up(lost, beta)
    assert lost.row(b"f").record.content.entries == (entry,)


def test_a_removal_and_a_directory_in_doubt_are_made_again() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    alpha.engine.stands("beta", beta.engine.standings())
    alpha.sees(b"f", None)
    alpha.sees(b"d", directory())
    lost = in_quarantine(alpha, backup(alpha))
    caught_up(lost, beta)
    hears_anew(beta, lost)
    assert not beta.row(b"f").live
    assert beta.row(b"d").live


def test_what_was_removed_and_forgotten_goes_also_where_a_time_alone_is_in_doubt() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory())
    beta.hears(alpha)
    beta.shows(b"d", directory())
    alpha.engine.stands("beta", beta.engine.standings())
    index = backup(alpha)
    beta.sees(b"d", None)
    beta.index.drop(RelPath(b"d"))
    again = restarted(alpha, index)
    again.engine.touched(RelPath(b"d"), 9, NOW_NS)
    lost = in_quarantine(again, index)
    assert lost.row(b"d").doubt == Doubt.TIME
    caught_up(lost, beta)
    assert not lost.row(b"d").live
    plan = lost.plans(b"d")
    assert plan is not None
    assert plan.content.kind is Kind.ABSENT


def test_a_time_in_doubt_is_made_anew() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory())
    beta.hears(alpha)
    alpha.engine.stands("beta", beta.engine.standings())
    alpha.engine.touched(RelPath(b"d"), 9, NOW_NS)
    lost = in_quarantine(alpha, backup(alpha))
    assert lost.row(b"d").record.time is None
    beta.index.drop(RelPath(b"d"))
    lost.engine.caught_up("beta", ["beta"])
    lost.engine.mint_anew(RelPath(b"d"), NOW_NS)
    time = lost.row(b"d").record.time
    assert time is not None
    assert (time.dot.incarnation, time.mtime_ns) == (99, 9)


@pytest.mark.parametrize(("theirs", "made"), [(None, True), (8, True), (20, False)])
def test_a_time_in_doubt_is_made_anew_beside_an_earlier_one_that_peers_tell(theirs: int | None, made: bool) -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    alpha.sees(b"d", directory())
    beta.hears(alpha)
    alpha.engine.touched(RelPath(b"d"), 7, NOW_NS)
    gamma.hears(alpha)
    for peer in (beta, gamma):
        alpha.engine.stands(peer.name, peer.engine.standings())
    if theirs is not None:
        beta.shows(b"d", directory())
        beta.engine.touched(RelPath(b"d"), theirs, NOW_NS)
    alpha.engine.touched(RelPath(b"d"), 9, NOW_NS)
    lost = in_quarantine(alpha, backup(alpha))
    caught_up(lost, beta)
    time = lost.row(b"d").record.time
    assert time is not None
    assert (time.dot.incarnation == 99, time.mtime_ns) == (made, 9 if made else theirs)
    for peer in (beta, gamma):
        hears_anew(peer, lost)
    assert lost.row(b"d").record.time == beta.row(b"d").record.time == gamma.row(b"d").record.time


def test_the_time_in_doubt_of_a_directory_that_lives_by_what_is_below_it_is_made_anew() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory())
    beta.hears(alpha)
    beta.shows(b"d", directory())
    beta.sees(b"d", None)
    alpha.sees(b"d/f", found(b"one", inode=2))
    alpha.hears(beta)
    alpha.engine.stands("beta", beta.engine.standings())
    alpha.engine.touched(RelPath(b"d"), 9, NOW_NS)
    lost = in_quarantine(alpha, backup(alpha))
    assert not lost.row(b"d").live
    assert lost.row(b"d").record.time is None
    lost.engine.caught_up("beta", ["beta"])
    lost.engine.mint_anew(RelPath(b"d"), NOW_NS)
    time = lost.row(b"d").record.time
    assert time is not None
    assert (time.dot.incarnation, time.mtime_ns) == (99, 9)


def test_a_peer_that_went_away_is_caught_up_with_later() -> None:
    alpha, _, gamma = sides("alpha", "beta", "gamma")
    alpha.sees(b"f", found(b"one"))
    lost = in_quarantine(alpha, backup(alpha))
    assert lost.index.tokens("beta").owed is Owed.NOW
    lost.hears(gamma)
    assert not lost.engine.caught_up("gamma", ["gamma", "beta"]), "beta is there, and is waited for"
    assert lost.engine.caught_up("gamma", ["gamma"])
    assert lost.index.tokens("beta").owed is Owed.LATER
    assert not lost.engine.is_in_quarantine
    lost.engine.shown("beta", KEY, lost.index.tokens("beta").confirmed)
    assert lost.engine.is_in_quarantine


def test_who_only_receives_ends_no_quarantine_while_others_may_speak() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma", receive_only=("gamma",))
    nothing = {SCOPE: Standing()}
    assert alpha.engine.may_catch_up_with("beta", nothing)
    assert not alpha.engine.may_catch_up_with("gamma", nothing)
    alone, _ = sides("alpha", "gamma", receive_only=("gamma",))
    assert alone.engine.may_catch_up_with("gamma", nothing), "there is nobody else to hear"
    assert beta.engine.may_catch_up_with("alpha", nothing)
    assert not gamma.engine.may_catch_up_with("alpha", {SCOPE: Standing({Incarnation(1): 5})})


def test_who_hears_of_changes_of_its_own_that_it_has_not_made_has_been_restored() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    copy = backup(alpha)
    alpha.sees(b"f", found(b"before it was restored"))
    beta.hears(alpha)
    gamma.hears(beta)
    restored = restarted(alpha, copy)
    # Beta lost the token with its own memory: by way of gamma alone this comes back.
    received = restored.hears(gamma)
    assert received.is_ahead
    assert not restored.engine.is_in_quarantine
    restored.engine.outlived("gamma")
    assert restored.engine.is_in_quarantine
    again = restarted(restored, copy, 99)
    caught_up(again, gamma)
    assert again.row(b"f").record == gamma.row(b"f").record
    assert not again.engine.is_in_quarantine


def test_members_that_all_lost_their_memory_do_not_wait_for_who_only_receives() -> None:
    alpha, *_ = sides("alpha", "beta", "gamma", receive_only=("gamma",))
    assert alpha.engine.have_all_lost({"beta": True, "gamma": False})
    assert not alpha.engine.have_all_lost({"beta": False, "gamma": True})


def test_what_is_a_directory_by_now_is_minted_anew_with_a_time() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"once a file"))
    lost = in_quarantine(alpha, backup(alpha))
    row = lost.row(b"f")
    applied = structs.replace(row.applied, observation=directory(mtime_ns=7))
    lost.index.put(PATH, structs.replace(row, applied=applied))
    caught_up(lost, beta)
    time = lost.row(b"f").record.time
    assert time is not None
    assert time.mtime_ns == 7


def test_what_a_power_cut_has_left_of_a_version_in_doubt_is_not_minted_anew() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"g", found(b"two", mode=0o644, inode=2))
    beta.hears(alpha)
    alpha.engine.stands("beta", beta.engine.standings())
    alpha.sees(b"g", found(b"two", mode=0o600, inode=2))
    alpha.sees(b"f", found(b"one"))
    assert alpha.engine.doubt(PATH, found(b""))
    assert alpha.engine.doubt(RelPath(b"g"), found(b"two", mode=0o644, inode=2))
    lost = in_quarantine(alpha, backup(alpha))
    made = lost.counter()
    caught_up(lost, beta)
    assert lost.counter() == made
    hears_anew(beta, lost)
    assert beta.index.row(PATH) is None
    assert lost.row(b"g").record == beta.row(b"g").record


def test_what_a_power_cut_in_quarantine_leaves_is_not_minted_anew() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"whole"))
    lost = in_quarantine(alpha, backup(alpha))
    assert lost.row(b"f").doubt
    lost.engine.doubt(PATH, found(b""))
    caught_up(lost, beta)
    assert not lost.row(b"f").record.content.entries


def test_attributes_given_while_bytes_are_in_doubt_are_a_change() -> None:
    alpha, beta = sides("alpha", "beta")
    beta.sees(b"f", found(b"one", owner="cid", uid=1002))
    alpha.hears(beta)
    alpha.shows(b"f", found(b"one", owner="bob", uid=1002))
    alpha.sees(b"f", found(b"two", mtime_ns=2, owner="bob", uid=1002))
    lost = in_quarantine(alpha, backup(alpha))
    assert lost.row(b"f").doubt == Doubt.CONTENT
    lost.sees(b"f", found(b"two", mtime_ns=2, owner="bob", uid=1002, mode=0o600))
    caught_up(lost, beta)
    hears_anew(beta, lost)
    (entry,) = beta.row(b"f").record.meta.entries
    assert (entry.value.mode, entry.value.owner) == (0o600, "cid")


def test_a_removal_in_doubt_counts_for_who_is_not_heard() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma", receive_only=("gamma",))
    alpha.sees(b"f", found(b"one"))
    gamma.hears(alpha)
    alpha.engine.stands("gamma", gamma.engine.standings())
    alpha.sees(b"f", None)
    lost = in_quarantine(alpha, backup(alpha))
    caught_up(lost, beta)
    hears_anew(gamma, lost)
    assert not gamma.row(b"f").live


def test_what_is_shown_under_a_dot_that_has_another_meaning_is_kept() -> None:
    kept = []
    for first, second in ((b"one", b"two"), (b"two", b"one")):
        alpha, beta = sides("alpha", "beta")
        index = backup(alpha)
        alpha.sees(b"f", found(first))
        beta.hears(alpha)
        beta.shows(b"f", found(first))
        again = restarted(alpha, index)
        again.sees(b"f", found(second, inode=2))
        assert again.row(b"f").record.content.entries[0].dot == beta.row(b"f").record.content.entries[0].dot
        path, updates = RelPath(b"f"), again.engine.records(SCOPE, [RelPath(b"f")])
        beta.engine.healed("alpha", SCOPE, [path], updates, NOW_NS)
        plan = beta.plans(b"f")
        kept += [plan.keep] if plan is not None else []
    assert kept == [True], "the same one stands, whoever hears of which first"
