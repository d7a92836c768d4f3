"""Directories that others removed, and in which a restored member makes something: they live on, the same everywhere (R8, R16)."""

import pytest
from msgspec import structs

from csfs.core.groups import Group
from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.engine.live import NO_TIME_NS
from csfs.engine.ports import Step
from scripts.simulation.rules import OneGroup
from tests.engine.members import SCOPE, Side, directory, found, sides
from tests.engine.test_quarantine import backup, caught_up, hears_anew, in_quarantine, restarted


def removed_and_half_forgotten() -> tuple[Side, Side, Side]:
    """Return a member that was restored to when it had a directory, one that remembers its removal, and one that does not."""
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    gamma.sees(b"d", directory(mtime_ns=4, mode=0o750))
    for peer in (alpha, beta):
        peer.hears(gamma)
        peer.shows(b"d", directory(mtime_ns=4, mode=0o750))
    index = backup(alpha)
    beta.sees(b"d", None)
    for peer in (alpha, gamma):
        peer.hears(beta)
        peer.shows(b"d", None)
    gamma.index.drop(RelPath(b"d"))
    return restarted(alpha, index), beta, gamma


def directories(*members: Side) -> list[tuple[int, int | None]]:
    """Return the modes and times that a directory has at members."""
    lives = [one.engine.live(RelPath(b"d")) for one in members]
    return [(live.meta.mode, live.mtime_ns) for live in lives if live is not None and live.meta is not None]


@pytest.mark.parametrize("is_remembered", [True, False])
@pytest.mark.parametrize("when", ["before", "meanwhile", "afterwards"])
def test_a_directory_whose_removal_some_have_forgotten_is_the_same_everywhere_if_it_lives_on(
    when: str, is_remembered: bool
) -> None:
    restored, beta, gamma = removed_and_half_forgotten()
    if not is_remembered:
        beta.index.drop(RelPath(b"d"))
    if when == "before":
        restored.sees(b"d/f", found(b"new", inode=2))
    lost = in_quarantine(restored, restored.index)
    if when == "meanwhile":
        lost.sees(b"d/f", found(b"new", inode=2))
    lost.hears(gamma)
    caught_up(lost, beta)
    if when == "afterwards":
        lost.sees(b"d/f", found(b"new", inode=2))
    for peer in (beta, gamma):
        hears_anew(peer, lost)
    assert directories(lost, beta, gamma) == [(0o750, 4)] * 3


def test_a_directory_lives_on_for_what_is_edited_in_it_before_it_goes_from_here() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    gamma.sees(b"d", directory(mtime_ns=4, mode=0o750))
    gamma.sees(b"d/f", found(b"one", inode=2))
    for peer in (alpha, beta):
        peer.hears(gamma)
        peer.shows(b"d", directory(mtime_ns=4, mode=0o750))
        peer.shows(b"d/f", found(b"one", inode=2))
    index = backup(alpha)
    beta.sees(b"d/f", None)
    beta.sees(b"d", None)
    for peer in (alpha, gamma):
        peer.hears(beta)
        peer.shows(b"d/f", None)
        peer.shows(b"d", None)
    gamma.index.drop(RelPath(b"d/f"))
    gamma.index.drop(RelPath(b"d"))
    lost = in_quarantine(restarted(alpha, index), index)
    lost.hears(gamma)
    caught_up(lost, beta)
    assert not lost.row(b"d/f").live
    lost.sees(b"d/f", found(b"two", inode=2, mtime_ns=2))
    for peer in (beta, gamma):
        hears_anew(peer, lost)
    assert directories(lost, beta, gamma) == [(0o750, 4)] * 3


def test_attributes_of_a_directory_that_lives_on_are_the_same_everywhere_though_those_before_were_lost() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory(mtime_ns=4))
    beta.hears(alpha)
    beta.shows(b"d", directory(mtime_ns=4))
    alpha.sees(b"d/f", found(b"inside", inode=2))
    beta.sees(b"d", None)
    alpha.hears(beta)
    assert alpha.plans(b"d") is None, "it lives on as it was removed"
    alpha.sees(b"d", directory(mtime_ns=4, mode=0o700))
    beta.hears(alpha)
    alpha.engine.stands("beta", beta.engine.standings())
    alpha.sees(b"d", directory(mtime_ns=4))
    lost = in_quarantine(alpha, backup(alpha))
    caught_up(lost, beta)
    hears_anew(beta, lost)
    assert directories(lost, beta) == [(0o755, 4)] * 2


def test_a_directory_that_lives_on_is_as_the_others_have_it_where_its_member_only_receives_since() -> None:
    restored, beta, gamma = removed_and_half_forgotten()
    restored.sees(b"d/f", found(b"new", inode=2))
    lost = in_quarantine(restored, restored.index)
    lost.sees(b"d/f", found(b"newer", inode=2, mtime_ns=2))
    lost.hears(gamma)
    lost.engine._rules = OneGroup(Group(("alpha", "beta", "gamma"), frozenset({"alpha"}), ("younger",), SCOPE))
    caught_up(lost, beta)
    assert lost.row(b"d").record == beta.row(b"d").record


@pytest.mark.parametrize("is_touched", [True, False])
def test_a_directory_goes_that_others_removed_and_in_which_nothing_was_made(is_touched: bool) -> None:
    restored, beta, gamma = removed_and_half_forgotten()
    beta.index.drop(RelPath(b"d"))
    lost = in_quarantine(restored, restored.index)
    if is_touched:
        lost.sees(b"d", directory(mtime_ns=9, mode=0o750))
    lost.hears(gamma)
    caught_up(lost, beta)
    assert not lost.row(b"d").live


def test_an_edit_makes_no_directory_live_by_itself_that_lives_on_for_something_else() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory())
    alpha.sees(b"d/f", found(b"one", inode=2))
    beta.hears(alpha)
    beta.shows(b"d", directory())
    beta.shows(b"d/f", found(b"one", inode=2))
    alpha.sees(b"d/f", None)
    alpha.sees(b"d", None)
    beta.sees(b"d/new", found(b"new", inode=3))
    beta.hears(alpha)
    # It stays for what is in it; what was edited in it is looked at after its removal was heard of.
    assert beta.plans(b"d") is None
    assert beta.row(b"d").applied.content_dot is None
    beta.sees(b"d/f", found(b"two", inode=2, mtime_ns=2))
    assert not any(entry.value.kind is Kind.DIRECTORY for entry in beta.row(b"d").record.content.entries)


def test_a_directory_that_only_what_was_in_it_kept_gives_way_when_that_is_removed_here() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory())
    alpha.sees(b"d/f", found(b"1"))
    beta.sees(b"d", found(b"2"))
    alpha.hears(beta)
    assert alpha.plans(b"d") is None
    assert not alpha.row(b"d").pending, "it has something in it, and is shown"
    alpha.sees(b"d/f", None)
    assert RelPath(b"d") in alpha.engine.woken()
    plan = alpha.plans(b"d")
    assert plan is not None
    assert (plan.step, plan.needed and plan.needed.hash) == (Step.REMOVE, found(b"2").hash)


def test_a_directory_whose_time_nobody_knows_has_one_time_everywhere() -> None:
    alpha, beta = sides("alpha", "beta", receive_only=("beta",))
    alpha.sees(b"d", directory(mtime_ns=4))
    beta.hears(alpha)
    beta.shows(b"d", directory(mtime_ns=4))
    for side in (alpha, beta):  # alpha has lost the time, and beta, to whom nobody listens, has let go of it
        row = side.row(b"d")
        record = structs.replace(row.record, time=None)
        side.index.put(RelPath(b"d"), structs.replace(row, record=record, pending=True))
    for side in (alpha, beta):
        plan = side.plans(b"d")
        assert plan is not None
        assert plan.mtime_ns == NO_TIME_NS


def test_a_directory_that_was_made_while_its_member_only_received_lives_by_itself_with_what_is_made_in_it() -> None:
    alpha, beta = sides("alpha", "beta", receive_only=("alpha",))
    alpha.sees(b"d", directory(mtime_ns=4, mode=0o750))
    alpha.sees(b"d/f", found(b"nobody's", inode=2))
    alpha.engine._rules = beta.engine._rules = OneGroup(Group(("alpha", "beta"), frozenset(), ("younger",), SCOPE))
    alpha.sees(b"d/f", found(b"somebody's", inode=3, mtime_ns=2))
    beta.hears(alpha)
    assert directories(alpha, beta) == [(0o750, 4)] * 2
