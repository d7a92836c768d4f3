"""The daemon's side of the gate: what a mount was told is waited for, and nothing is told that nobody would hear the end of."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from csfs.core.objects import Stamp
from csfs.core.paths import RelPath
from csfs.replicate.commit_thread import CommitThread
from csfs.replicate.gate import Gate
from csfs.store.attributes import stamp_of
from csfs.wire.control import (
    Attributes,
    Commit,
    CommitResult,
    CommitResults,
    Commits,
    ControlMessage,
    Outcome,
    Refreshed,
    Remove,
    Stale,
)

COMMIT = Commit(7, 0, RelPath(b"f"), Stamp(1, 2, 3, 4), Remove())
DONE = CommitResult(7, Outcome.DONE)


@asynccontextmanager
async def gate_to(told: list[ControlMessage], clone: int = -1) -> AsyncIterator[Gate]:
    """Give a gate whose mount takes note of what it is told, and does nothing. `clone` is closed in the end."""

    async def send(message: ControlMessage) -> None:
        told.append(message)

    thread = CommitThread("commits")
    yield Gate(send, clone, thread)
    thread.stop()
    if clone >= 0:
        os.close(clone)


async def test_nothing_is_announced_through_a_gate_that_is_closed() -> None:
    told: list[ControlMessage] = []
    async with gate_to(told) as gate:
        gate.close()
        with pytest.raises(trio.ClosedResourceError):
            await gate.commit([COMMIT])
    assert told == []


async def test_a_refresh_that_is_given_up_leaves_nothing_open(tmp_path: Path) -> None:
    async with gate_to([], os.open(tmp_path, os.O_RDONLY)) as gate:
        before = os.listdir("/proc/self/fd")
        with trio.CancelScope() as scope:
            gate.receive(Refreshed(1, (0,)))
            scope.cancel()
            await gate.refresh([Stale(RelPath(b"f"), 1, named=True)])
        assert scope.cancelled_caught
        assert os.listdir("/proc/self/fd") == before


async def test_a_gate_is_finished_once_what_was_announced_is_carried_out(nursery: trio.Nursery) -> None:
    told: list[ControlMessage] = []
    outcomes: list[CommitResult] = []
    finished = trio.Event()

    async def commit() -> None:
        outcomes.extend(await gate.commit([COMMIT]))

    async def finish() -> None:
        await gate.finish()
        finished.set()

    async with gate_to(told) as gate:
        nursery.start_soon(commit)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(finish)
        await trio.testing.wait_all_tasks_blocked()
        assert told == [Commits((COMMIT,))]
        assert not finished.is_set()
        gate.receive(CommitResults((DONE,)))
        with trio.fail_after(5):
            await finished.wait()
        assert outcomes == [DONE]
        assert gate.closed


@pytest.mark.parametrize("meanwhile", ["nothing", "removed", "replaced"])
async def test_what_was_renamed_before_the_kernel_could_learn_of_its_attributes_is_said(
    tmp_path: Path, nursery: trio.Nursery, meanwhile: str
) -> None:
    for name in ("f", "g"):
        (tmp_path / name).touch()
    commit = Commit(7, 0, RelPath(b"f"), stamp_of((tmp_path / "f").stat()), Attributes(mode=0o600))
    async with gate_to([], os.open(tmp_path, os.O_RDONLY)) as gate:
        nursery.start_soon(_answering, gate, commit, tmp_path, meanwhile)
        with trio.fail_after(5):
            (outcome,) = await gate.commit([commit])
    assert (outcome.outcome, outcome.refresh) == (Outcome.DONE, meanwhile != "nothing")


async def _answering(gate: Gate, commit: Commit, tree: Path, meanwhile: str) -> None:
    """Answer that it is done, after something has happened."""
    if meanwhile == "removed":
        (tree / "f").unlink()
    elif meanwhile == "replaced":
        (tree / "g").rename(tree / "f")
    gate.receive(CommitResults((CommitResult(commit.id, Outcome.DONE, commit.expected, refresh=True),)))
