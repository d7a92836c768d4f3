"""A directory that is moved as a whole has, at both members, the mode and the time that somebody gave it."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from csfs.core.changes import Change, ChangeKind
from csfs.replicate import spreading
from csfs.wire.control import Commit, Move
from tests.replicate.test_linking import expect_equal, settle, two
from tests.replicate.test_wholes import D, E, follow, grown, move


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


async def test_what_a_program_does_to_a_directory_that_it_has_just_moved_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(tmp_path) as (alpha, beta):
        await grown(alpha, beta)
        found, left = spreading._found, [True]

        def overtaken(*arguments: object) -> object:
            result = found(*arguments)  # type: ignore[arg-type]
            if left:
                left.clear()
                os.utime(alpha.tree / "d/new", ns=(1, 2_000))
                (alpha.tree / "d/new").chmod(0o700)
                meta = Change(sequence=0, kind=ChangeKind.META, path=E)
                trio.from_thread.run_sync(alpha.worker.observer.take_unjournalled, [meta])
            return result

        monkeypatch.setattr(spreading, "_found", overtaken)
        move(alpha)
        await settle(alpha, beta)
        assert not left
        expect_equal(alpha, beta)
        status = (beta.tree / "d/new").stat()
        assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o700, 2_000)
