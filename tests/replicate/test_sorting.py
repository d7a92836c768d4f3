"""Other rules for a volume with a great many rows: they count at once, and nobody waits until all rows are written."""

from pathlib import Path

import pytest
import trio

from csfs.core.paths import ROOT, RelPath
from csfs.core.versions import Incarnation
from csfs.index.index import Index
from csfs.replicate.revising import ROWS_MAX, go_on
from csfs.replicate.sorting import Sorting
from csfs.replicate.volume import Volume
from csfs.store.owners import FixedAccounts, Owners
from tests.replicate.test_exchange import VOLUME, Side, linked, rules_of

MANY = 10 * ROWS_MAX


def path_of(number: int) -> bytes:
    """Return one of many paths; they do not come in the order in which they were made."""
    return b"%d" % number


def filled(directory: Path, name: str, *members: str, count: int = MANY) -> Side:
    """Return a member that has seen many files."""
    side = Side(directory, name, *members)
    for number in range(count):
        side.sees(path_of(number))
    return side


def scopes_in_table(index: Index) -> set[bytes]:
    """Return the groups of all rows, as they are in the table."""
    return {scope for _, scope in index.rows.scopes_from(ROOT, 1_000_000)}


def is_counted(index: Index) -> bool:
    """Return whether the set hashes are those of the rows, and each row says in its columns what it says."""
    with index.shown() as found:
        return not found.miscounted() and found.checked(ROOT).wrong == []


async def test_a_rule_change_is_one_short_step_and_the_rest_comes_in_slices(tmp_path: Path) -> None:
    side = filled(tmp_path, "alpha", "alpha", "beta")
    before = side.volume.index.change_count
    side.volume.set_rules(rules_of("alpha", "alpha", "beta", "gamma"))
    assert side.volume.index.change_count - before < ROWS_MAX + 20
    (scope,) = side.volume.scopes()
    assert not side.volume.is_sorted
    assert {row.scope for _, row in side.volume.index.rows.rows_below(ROOT)} == {scope}
    turns = 0
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Sorting(side.volume).run)
            while not side.volume.is_sorted:
                await trio.lowlevel.checkpoint()
                turns += 1
            nursery.cancel_scope.cancel()
    assert turns >= MANY / ROWS_MAX
    assert scopes_in_table(side.volume.index) == {scope}
    assert len(side.volume.index.rows.pending()) == MANY
    assert is_counted(side.volume.index)


async def test_rules_that_are_again_what_they_were_begin_without_what_was_known_then(tmp_path: Path) -> None:
    side = filled(tmp_path, "alpha", "alpha", "beta", count=1)
    index, (scope,) = side.volume.index, side.volume.scopes()
    ours = index.rows.knowledge(scope)
    with index.transaction():
        index.rows.set_knowledge(scope, {**ours, Incarnation(99): 7})
    for members in (("alpha", "beta", "gamma"), ("alpha", "beta")):
        side.volume.set_rules(rules_of("alpha", *members))
    assert side.volume.scopes() == {scope}
    assert index.rows.knowledge(scope) == ours


async def test_members_write_and_hear_each_other_while_rows_are_sorted(tmp_path: Path) -> None:
    alpha = filled(tmp_path, "alpha", "alpha", "beta")
    beta = Side(tmp_path, "beta", "alpha", "beta")
    with trio.fail_after(120):
        async with linked(alpha, beta):
            await beta.volume.progress.wait_until(lambda: all(beta.knows(path_of(n)) for n in range(MANY)))
        for side in (alpha, beta):
            side.volume.set_rules(rules_of(side.name, "alpha", "beta", "gamma"))
            assert not side.volume.is_sorted
        async with linked(alpha, beta), trio.open_nursery() as nursery:
            alpha.sees(b"written meanwhile")
            alpha.volume.records_changed()
            beta.sees(b"there, too")
            beta.volume.records_changed()
            await alpha.volume.progress.wait_until(lambda: alpha.knows(b"there, too"))
            await beta.volume.progress.wait_until(lambda: beta.knows(b"written meanwhile"))
            assert not alpha.volume.is_sorted
            assert not beta.volume.is_sorted
            assert alpha.volume.exchanges["beta"].stands is None, "nobody says what he has while it is not counted"
            for side in (alpha, beta):
                nursery.start_soon(Sorting(side.volume).run)
            (scope,) = alpha.volume.scopes("beta")
            for side, other in ((alpha, "beta"), (beta, "alpha")):
                exchange = side.volume.exchanges[other]
                await side.volume.progress.wait_until(lambda exchange=exchange: exchange.stands is not None)  # type: ignore[misc]
            nursery.cancel_scope.cancel()
        assert alpha.volume.engine.knowledge() == beta.volume.engine.knowledge()
        assert alpha.volume.index.rows.digest(scope) == beta.volume.index.rows.digest(scope) != 0
        assert is_counted(alpha.volume.index)
        assert is_counted(beta.volume.index)


async def test_what_a_peer_was_told_under_other_rules_is_told_once_more(tmp_path: Path) -> None:
    alpha, beta = filled(tmp_path, "alpha", "alpha", "beta", count=3), Side(tmp_path, "beta", "alpha", "beta")
    with trio.fail_after(10):
        async with linked(alpha, beta):
            await beta.volume.progress.wait_until(lambda: beta.knows(path_of(2)))
            # The link of before tells nothing more: by it the peer would take for known what it was not told.
            for side in (alpha, beta):
                side.volume.set_rules(rules_of(side.name, "alpha", "beta", "gamma"))
            alpha.sees(b"new")
            alpha.volume.records_changed()
            with trio.move_on_after(0.2):
                await beta.volume.progress.wait_until(lambda: beta.knows(b"new"))
            assert not beta.knows(b"new")
        async with linked(alpha, beta) as pipes:
            await beta.volume.progress.wait_until(lambda: beta.knows(b"new"))
        assert pipes[0].said == [b"0", b"1", b"2", b"new"]
        assert alpha.volume.engine.knowledge() == beta.volume.engine.knowledge()


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("slices", [0, 1, 3])
def test_a_kill_between_two_slices_leaves_rows_that_are_sorted_at_the_next_start(
    tmp_path: Path, slices: int, back: bool
) -> None:
    side = filled(tmp_path, "alpha", "alpha", "beta", count=MANY // 2)
    side.volume.set_rules(rules_of("alpha", "alpha", "beta", "gamma"))
    first: RelPath | None = ROOT
    for _ in range(slices):
        assert first is not None
        first = go_on(side.volume.index, side.volume.engine, first)
    assert len(scopes_in_table(side.volume.index)) == 2
    # Nobody has closed it.
    index = Index(str(tmp_path / "alpha.db"), member="alpha", boot=b"boot")
    rules = rules_of("alpha", "alpha", "beta") if back else rules_of("alpha", "alpha", "beta", "gamma")
    volume = Volume(VOLUME, index=index, rules=rules, member="alpha", owners=Owners(FixedAccounts({}, {})))
    assert not volume.is_sorted
    (scope,) = volume.scopes()
    assert {row.scope for _, row in index.rows.rows_below(ROOT)} == {scope}
    first = ROOT
    while first is not None:
        first = go_on(index, volume.engine, first)
    assert volume.is_sorted
    assert scopes_in_table(index) == {scope}
    assert is_counted(index)
    index.close()
