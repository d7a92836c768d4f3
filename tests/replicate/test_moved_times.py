"""The time of a directory that is renamed as a peer has moved it, while what became of that time is not settled yet."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import RelPath
from csfs.replicate import directories
from csfs.replicate.looking import RACY_NS
from csfs.wire.control import Commit, Move
from tests.replicate.test_linking import expect_equal, settle, two
from tests.replicate.test_wholes import D, follow, grown, inode, move

E = RelPath(b"d/new")


@pytest.fixture
def unsettled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are settled only when somebody waits for that."""
    monkeypatch.setattr(directories, "QUIET_S", 60)
    monkeypatch.setattr(directories, "SETTLE_S_MAX", 60)


@pytest.mark.usefixtures("unsettled")
@pytest.mark.parametrize("is_heard", [True, False])
async def test_a_directory_whose_time_is_not_settled_has_its_own_when_it_was_moved(
    tmp_path: Path, is_heard: bool
) -> None:
    async with two(tmp_path) as (alpha, beta):
        await grown(alpha, beta)
        move(alpha)
        await alpha.quiet()
        mtime_ns = (alpha.tree / "d/new").stat().st_mtime_ns
        commit = beta.gate.commit

        async def lost(commits: Sequence[Commit]) -> object:
            found = await commit(commits)
            if not any(isinstance(one.action, Move) for one in commits):
                return found
            beta.gate.commit = commit  # type: ignore[method-assign]
            raise trio.ClosedResourceError("the mount went away")

        if not is_heard:
            beta.gate.commit = lost  # type: ignore[method-assign, assignment]
        # Commits have just been made in it, and what they made of its time is looked at only in a moment.
        beta.worker.directories._hurry = False
        os.utime(beta.tree / "d/old", ns=(1, 1))
        beta.worker.directories.mark(D, local=False)
        assert await follow(alpha, beta) == is_heard
        if not is_heard:
            with trio.fail_after(5):
                await beta.volume.progress.wait_until(lambda: beta.volume.index.ledger.moving is None)
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert (beta.tree / "d/new").stat().st_mtime_ns == mtime_ns
        assert beta.volume.index.ledger.disturbed() == []


@pytest.mark.usefixtures("unsettled")
async def test_a_directory_in_which_something_was_just_installed_is_moved_with_its_time(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        await grown(alpha, beta)
        (alpha.tree / "d/old/late").write_text("late\n")
        os.utime(alpha.tree / "d/old", ns=(1, 123_456_789))
        alpha.tell("d/old/late", "d/old")
        await alpha.quiet()
        beta.worker.directories._hurry = False
        beta.hears(alpha)
        with trio.fail_after(5):
            await beta.volume.progress.wait_until((beta.tree / "d/old/late").exists)
            await beta.volume.progress.wait_until(lambda: beta.worker.applier.idle)
        assert beta.worker.directories.is_marked(D)
        assert (beta.tree / "d/old").stat().st_mtime_ns != 123_456_789
        before = inode(beta, D)
        move(alpha)
        await alpha.quiet()
        assert await follow(alpha, beta)
        assert inode(beta, E) == before
        await settle(alpha, beta)
        assert (beta.tree / "d/new").stat().st_mtime_ns == 123_456_789
        expect_equal(alpha, beta)


@pytest.mark.usefixtures("unsettled")
async def test_a_time_that_nobody_settled_before_a_kill_is_found_where_the_directory_is(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        await grown(alpha, beta)
        await trio.sleep(RACY_NS / 1e9)
        beta.tell("d/old")
        await beta.quiet()
        row = beta.volume.index.rows.row(D)
        assert row is not None
        assert not row.applied.racy
        move(alpha)
        await alpha.quiet()
        beta.worker.directories._hurry = False
        # A program has made something in it, and removed it: all that is left of that is the time.
        os.utime(beta.tree / "d/old", ns=(1, 987_654_321))
        beta.worker.directories.mark(D, local=True)
        assert await follow(alpha, beta)
        beta.worker.directories._marked.clear()  # as a kill does
        compare = Change(sequence=0, kind=ChangeKind.COMPARE, path=RelPath(b"d"))
        beta.worker.observer.take_unjournalled([compare])
        await settle(alpha, beta)
        expect_equal(alpha, beta)
        assert (alpha.tree / "d/new").stat().st_mtime_ns == 987_654_321
