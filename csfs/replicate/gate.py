"""The daemon's side of the commit gate: announce a batch to the mount, make the system calls it asks for, collect outcomes.

System calls through the mount are made by one thread per volume, never by the event loop: a mount that hangs holds up its own
volume's commits and nothing else.
"""

import errno
import logging
import os
import queue
import stat
import threading
from collections.abc import Awaitable, Callable, Sequence

import outcome
import trio

from csfs.core.paths import RelPath, name_of, parent_of
from csfs.replicate.signals import Signal
from csfs.store.syscalls import openat2
from csfs.wire.control import (
    STAGE,
    Commit,
    CommitResult,
    CommitResults,
    Commits,
    ControlMessage,
    Install,
    Move,
    Outcome,
    Remove,
)

log = logging.getLogger(__name__)

COMMITS_MAX = 500
"""Commits announced at a time."""
RESULT_WAIT_S_MAX = 5.0
"""How long the mount may take to report a system call that has returned."""


class CommitThread:
    """One thread that makes system calls through one mount; its id is what the mount knows the daemon by."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], object], Callable[[object], None]] | None] = (
            queue.SimpleQueue()
        )
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
            function, deliver = job
            deliver(outcome.capture(function))

    async def run(self, function: Callable[[], list[int]]) -> list[int]:
        """Run `function` in the thread and return its result; cancellation leaves it running there."""
        token = trio.lowlevel.current_trio_token()
        done = trio.Event()
        results: list[outcome.Outcome[list[int]]] = []

        def deliver(result: object) -> None:
            results.append(result)  # type: ignore[arg-type]
            try:
                token.run_sync_soon(done.set)
            except trio.RunFinishedError:
                pass

        self._jobs.put((function, deliver))
        await done.wait()
        return results[0].unwrap()

    def stop(self) -> None:
        """Let the thread end after its present job."""
        self._jobs.put(None)


class Gate:
    """One mount process, as the applier sees it; lives as long as its connection."""

    def __init__(self, send: Callable[[ControlMessage], Awaitable[None]], clone: int, thread: CommitThread) -> None:
        self._send = send
        self._clone = clone
        self._thread = thread
        self._results: dict[int, CommitResult] = {}
        self._arrived = Signal()
        self._turn = trio.Lock()
        self.closed = False

    def receive(self, message: CommitResults) -> None:
        """Take in outcomes from the mount."""
        for result in message.results:
            self._results[result.id] = result
        self._arrived.notify()

    def close(self) -> None:
        """The connection is gone: nothing more can be committed through it."""
        self.closed = True
        self._arrived.notify()

    async def wait_idle(self) -> None:
        """Wait until no commit is under way."""
        async with self._turn:
            pass

    async def commit(self, commits: Sequence[Commit]) -> list[CommitResult]:
        """Carry out a batch in order and return its outcomes, in the same order; never `THROUGH`.

        Raises:
            trio.ClosedResourceError: the mount went away; what was done is found by looking.
        """
        assert len(commits) <= COMMITS_MAX
        async with self._turn:
            try:
                await self._send(Commits(tuple(commits)))
            except trio.BrokenResourceError as error:
                raise trio.ClosedResourceError("the mount went away") from error
            await self._wait_for([commit.id for commit in commits])
            first = [self._results.pop(commit.id) for commit in commits]
            again = [commit for commit, result in zip(commits, first, strict=True) if _is_unfinished(result)]
            if not again:
                return first
            errors = await self._thread.run(lambda: [self._call(commit) for commit in again])
            final = {}
            for commit, result, number in zip(again, (r for r in first if _is_unfinished(r)), errors, strict=True):
                if result.outcome is Outcome.THROUGH:
                    final[commit.id] = await self._final(commit.id, number)
            return [final.get(result.id, result) for result in first]

    async def _wait_for(self, ids: list[int]) -> None:
        await self._arrived.wait_until(lambda: self.closed or all(i in self._results for i in ids))
        if self.closed:
            raise trio.ClosedResourceError("the mount went away")

    async def _final(self, commit_id: int, error: int) -> CommitResult:
        # A call that the kernel refused before it reached the mount has no outcome but its errno.
        with trio.move_on_after(0.2 if error else RESULT_WAIT_S_MAX):
            await self._arrived.wait_until(lambda: self.closed or commit_id in self._results)
        result = self._results.pop(commit_id, None)
        if result is not None:
            return result
        return CommitResult(commit_id, Outcome.FAILED, error=error or errno.EIO, reason="no answer from the mount")

    def _call(self, commit: Commit) -> int:
        """Make the one system call of `commit` through the mount; return its errno, 0 for success."""
        try:
            parent = self._opened(parent_of(commit.path))
            try:
                self._call_in(parent, commit)
            finally:
                os.close(parent)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def _opened(self, directory: RelPath) -> int:
        return openat2(self._clone, directory or b".", os.O_PATH | os.O_DIRECTORY)

    def _call_in(self, parent: int, commit: Commit) -> None:
        name = name_of(commit.path) or b"."
        match commit.action:
            case Install(staged=staged):
                os.rename(STAGE + b"/" + staged, name, src_dir_fd=self._clone, dst_dir_fd=parent)
            case Move(source=source):
                source_parent = self._opened(parent_of(source))
                try:
                    os.rename(name_of(source), name, src_dir_fd=source_parent, dst_dir_fd=parent)
                finally:
                    os.close(source_parent)
            case Remove():
                self._remove(parent, name)
            case _:
                self._refresh(parent, name)

    def _remove(self, parent: int, name: bytes) -> None:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            os.rmdir(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)

    def _refresh(self, parent: int, name: bytes) -> None:
        # The mount answers this chmod from what is there, so that the kernel learns attributes and ACLs anew.
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=parent)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISLNK(found.st_mode):
                os.chmod(f"/proc/self/fd/{descriptor}", stat.S_IMODE(found.st_mode))
        finally:
            os.close(descriptor)


def _is_unfinished(result: CommitResult) -> bool:
    return result.outcome is Outcome.THROUGH or result.refresh


def staged_name(digested: int, commit_id: int) -> bytes:
    """Return the name in the stage that announces this commit."""
    return b"%d.%d" % (digested, commit_id)


def kept_name(kept_ns: int, commit_id: int) -> bytes:
    """Return the name in the kept store for what this commit displaces."""
    return b"%x.%x" % (kept_ns, commit_id)
