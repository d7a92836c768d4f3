"""Commits that the mount's gate does not make, with workers and the gate of a mount at two members."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import trio

from csfs.core.paths import RelPath
from csfs.core.rows import Loss, Waiting
from csfs.core.versions import Dot, Incarnation
from csfs.wire.control import Commit, CommitResult, Outcome, Stale
from tests.replicate.test_linking import append, expect_equal, settle, sow, two


async def test_a_file_that_is_busy_for_an_hour_is_replaced_after_that(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with two(tmp_path) as (alpha, beta):
        sow(alpha)
        await settle(alpha, beta)
        commit, left = beta.gate.commit, [3]

        async def busy(commits: Sequence[Commit]) -> list[CommitResult]:
            # So often it was tried, once a second: a program writes to it all the time.
            beta.worker.applier._tries[RelPath(b"d/alone")] = 3_600
            left[0] -= 1
            if not left[0]:
                beta.gate.commit = commit  # type: ignore[method-assign]
            return [CommitResult(one.id, Outcome.BUSY) for one in commits]

        beta.gate.commit = busy  # type: ignore[method-assign, assignment]
        append(alpha.tree / "d/alone", "more\n")
        alpha.tell("d/alone")
        await settle(alpha, beta)
        assert not left[0]
        expect_equal(alpha, beta)
        assert caplog.text == ""


async def test_the_mount_is_told_of_attributes_that_the_kernel_could_not_learn(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        sow(alpha)
        await settle(alpha, beta)
        commit, refresh, told = beta.gate.commit, beta.gate.refresh, list[Stale]()
        arrived = trio.Event()

        async def committed(commits: Sequence[Commit]) -> list[CommitResult]:
            results = await commit(commits)
            return [msgspec.structs.replace(one, refresh=one.outcome is Outcome.DONE) for one in results]

        async def refreshed(stale: Sequence[Stale]) -> None:
            told.extend(stale)
            arrived.set()
            await refresh(stale)

        beta.gate.commit, beta.gate.refresh = committed, refreshed  # type: ignore[method-assign, assignment]
        (alpha.tree / "d/alone").chmod(0o600)
        alpha.tell("d/alone")
        await settle(alpha, beta)
        inode = (beta.tree / "d/alone").stat().st_ino
        with trio.fail_after(5):
            await arrived.wait()
        assert Stale(RelPath(b"d/alone"), inode, named=False) in told
        expect_equal(alpha, beta)


async def test_what_waits_for_a_person_goes_on_waiting_when_something_else_is_installed_first(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        sow(alpha)
        await settle(alpha, beta)
        path, braked = RelPath(b"d/alone"), beta.volume.index.braked
        waiting = Waiting(path, Loss("alpha", False, Dot(Incarnation(1), 9)), 1)
        commit, found = beta.gate.commit, list[Waiting | None]()

        async def committed(commits: Sequence[Commit]) -> list[CommitResult]:
            found.append(braked.at(path))
            if len(found) == 1:
                # Better than what is being installed is heard of, and waits.
                append(alpha.tree / "d/alone", "better\n")
                alpha.tell("d/alone")
                await alpha.quiet()
                beta.hears(alpha)
                with beta.volume.index.transaction():
                    braked.put(waiting)
            return await commit(commits)

        beta.gate.commit = committed  # type: ignore[method-assign, assignment]
        append(alpha.tree / "d/alone", "more\n")
        alpha.tell("d/alone")
        await settle(alpha, beta)
        assert found[:2] == [None, waiting]
        assert braked.at(path) is None, "it was installed"
        expect_equal(alpha, beta)
