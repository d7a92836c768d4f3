"""One thread that makes system calls through one mount: a mount that hangs must not hang the daemon's loop."""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

import outcome
import trio

T = TypeVar("T")


class CommitThread:
    """One thread that makes system calls through one mount; its id is what the mount knows the daemon by."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def thread_id(self) -> int:
        """The kernel's id of the thread."""
        found = self._thread.native_id
        assert found is not None
        return found

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    async def run(self, function: Callable[[], T]) -> T:
        """Run `function` in the thread and return its result; cancellation leaves it running there."""
        token = trio.lowlevel.current_trio_token()
        done = trio.Event()
        results: list[outcome.Outcome[T]] = []

        def job() -> None:
            results.append(outcome.capture(function))
            try:
                token.run_sync_soon(done.set)
            except trio.RunFinishedError:
                pass

        self._jobs.put(job)
        await done.wait()
        return results[0].unwrap()

    def stop(self) -> None:
        """Let the thread end after its present job."""
        self._jobs.put(None)
