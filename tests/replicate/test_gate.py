"""The daemon's side of the gate: what a mount was told is waited for, and nothing is told that nobody would hear the end of."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from csfs.core.objects import Stamp
from csfs.core.paths import RelPath
from csfs.replicate.commit_thread import CommitThread
from csfs.replicate.gate import Gate
from csfs.wire.control import Commit, CommitResult, CommitResults, Commits, ControlMessage, Outcome, Remove

COMMIT = Commit(7, 0, RelPath(b"f"), Stamp(1, 2, 3, 4), Remove())
DONE = CommitResult(7, Outcome.DONE)


@asynccontextmanager
async def gate_to(told: list[ControlMessage]) -> AsyncIterator[Gate]:
    """Give a gate whose mount takes note of what it is told, and does nothing."""

    async def send(message: ControlMessage) -> None:
        told.append(message)

    thread = CommitThread("commits")
    yield Gate(send, -1, thread)
    thread.stop()


async def test_nothing_is_announced_through_a_gate_that_is_closed() -> None:
    told: list[ControlMessage] = []
    async with gate_to(told) as gate:
        gate.close()
        with pytest.raises(trio.ClosedResourceError):
            await gate.commit([COMMIT])
    assert told == []


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
