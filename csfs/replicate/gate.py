"""The daemon's side of the commit gate: announce a batch to the mount, make the system calls it asks for, collect outcomes.

System calls through the mount are made by one thread per volume, never by the event loop: a mount that hangs holds up its own
volume's commits and nothing else.
"""

import contextlib
import errno
import itertools
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence

import msgspec
import trio

from csfs.core.paths import RelPath, parent_of
from csfs.replicate.commit_thread import CommitThread
from csfs.replicate.signals import Signal
from csfs.replicate.through import Through, look_up
from csfs.wire.control import (
    Attributes,
    Commit,
    CommitResult,
    CommitResults,
    Commits,
    ControlMessage,
    Link,
    Outcome,
    Overwrite,
    Refresh,
    Refreshed,
    Stale,
)

_UNMADE = (None, errno.EPERM)
"""A system call that was not made, or that came before the mount had read the announcement."""
_UNDECIDED = (0, *_UNMADE)

COMMITS_MAX = 500
"""Commits announced at a time."""
UNASKED_MAX = 8
"""Commits whose system calls are made before the mount has asked for them."""
THROUGH_PARENTS_MAX = 4_096
REFUSED_WAIT_S_MAX = 0.2
"""How long an outcome may follow a system call that failed."""
RESULT_WAIT_S_MAX = 5.0
"""How long the mount may take to report a system call that has returned."""
STALE_MAX = 64
"""Paths that the mount looks at in one step of its loop."""


class Gate:
    """One mount process, as the applier sees it; lives as long as its connection."""

    def __init__(self, send: Callable[[ControlMessage], Awaitable[None]], clone: int, thread: CommitThread) -> None:
        self._send = send
        self._clone = clone
        self._through = Through(clone)
        self._through_parents: set[RelPath] = set()
        """Directories in which the kernel was to see the last commit."""
        self._thread = thread
        self._results: dict[int, CommitResult] = {}
        self._refreshed: dict[int, tuple[int, ...]] = {}
        self._tokens = itertools.count(1)
        self._arrived = Signal()
        self._turn = trio.Lock()
        self._touched: set[RelPath] = set()
        """What the commits under way touch."""
        self._watching: list[set[RelPath]] = []
        self.closed = False
        self.asks_first = False
        """Whether programs may hold directories for long: a system call that the mount has not asked for could hang there."""

    def receive(self, message: CommitResults | Refreshed) -> None:
        """Take in what the mount answers."""
        if isinstance(message, Refreshed):
            self._refreshed[message.token] = message.renamed
        else:
            self._results.update((result.id, result) for result in message.results)
        self._arrived.notify()

    def close(self) -> None:
        """The connection is gone: nothing more can be committed through it."""
        self.closed = True
        self._arrived.notify()

    async def finish(self) -> None:
        """Take no more commits, and return once those under way are carried out: a mount process does so whoever listens."""
        async with self._turn:
            self.close()

    async def release(self) -> None:
        """Let go of the mount, once no commit is under way."""
        async with self._turn:
            self.close()
            await self._thread.run(self._through.close)

    async def commit(self, commits: Sequence[Commit]) -> list[CommitResult]:
        """Carry out a batch in order and return its outcomes, in the same order; never `THROUGH`.

        Of those that say `refresh` the kernel could not learn: what was committed is somewhere else by now.

        Raises:
            trio.ClosedResourceError: the mount went away; what was done is found by looking.
        """
        assert len(commits) <= COMMITS_MAX
        async with self._turn:
            if self.closed:
                # What is announced now would be carried out, and nobody would hear of it.
                raise trio.ClosedResourceError("the mount went away")
            self._touched = _touched_by(commits)
            for touched in self._watching:
                touched |= self._touched
            results = await self._committed(commits)
            self._touched = set()
            return results

    async def _committed(self, commits: Sequence[Commit]) -> list[CommitResult]:
        try:
            await self._send(Commits(tuple(commits)))
        except trio.BrokenResourceError as error:
            raise trio.ClosedResourceError("the mount went away") from error
        errors: dict[int, int] = {}
        if self._likely_through(commits):
            # The mount reads the announcement before it answers the call: no round trip is needed.
            errors = await self._make(commits)
        await self._wait_for([commit.id for commit in commits if errors.get(commit.id) in _UNDECIDED])
        return await self._finished(commits, errors)

    @contextlib.contextmanager
    def watched(self, touched: set[RelPath]) -> Iterator[None]:
        """Add to `touched`, meanwhile, what commits touch: the paths, and the directories that they are in."""
        touched |= self._touched
        self._watching.append(touched)
        try:
            yield
        finally:
            self._watching.remove(touched)

    async def refresh(self, stale: Sequence[Stale]) -> None:
        """Have the kernel ask the mount anew about paths that were changed without it; returns when it is going to.

        Raises:
            trio.ClosedResourceError: the mount went away, and what it had the kernel remember with it.
        """
        assert len(stale) <= STALE_MAX
        token = next(self._tokens)
        try:
            await self._send(Refresh(token, tuple(stale)))
        except trio.BrokenResourceError as error:
            raise trio.ClosedResourceError("the mount went away") from error
        await self._arrived.wait_until(lambda: self.closed or token in self._refreshed)
        renamed = [stale[number].path for number in self._refreshed.pop(token, ())]
        if renamed and not self.closed:
            # From here on the thread is sure to begin, which closes the descriptor.
            await trio.lowlevel.checkpoint_if_cancelled()
            clone, limiter = (
                os.dup(self._clone),
                trio.CapacityLimiter(1),
            )  # it may hang, and is to take no other's place
            await trio.to_thread.run_sync(look_up, clone, renamed, abandon_on_cancel=True, limiter=limiter)

    def _likely_through(self, commits: Sequence[Commit]) -> bool:
        """Return whether the mount is going to ask for all these system calls: it did the last time, in the same places."""
        return (
            not self.asks_first
            and len(commits) <= UNASKED_MAX
            and all(
                # A new name of something comes into the stage only when the mount has read of it.
                not isinstance(commit.action, Attributes | Overwrite | Link)
                and parent_of(commit.path) in self._through_parents
                for commit in commits
            )
        )

    async def _make(self, commits: Sequence[Commit]) -> dict[int, int]:
        """Make the system calls of these commits; return the errno of each, 0 for success."""
        through = self._through
        stale = {
            commit.id: found.stamp.inode
            for commit in commits
            if (found := self._results.get(commit.id)) is not None and found.refresh and found.stamp is not None
        }
        numbers = await self._thread.run(lambda: [through.call(c, refresh=stale.get(c.id, 0)) for c in commits])
        return {commit.id: number for commit, number in zip(commits, numbers, strict=True)}

    async def _finished(self, commits: Sequence[Commit], errors: dict[int, int]) -> list[CommitResult]:
        """Make the calls that the mount asked for and that were not made yet, and collect the outcomes."""
        asked = [
            commit
            for commit in commits
            if (result := self._results.get(commit.id)) is not None
            and (result.refresh or (result.outcome is Outcome.THROUGH and errors.get(commit.id) in _UNMADE))
        ]
        for commit in asked:
            self._note_through(commit)
        for commit in commits:
            if errors.get(commit.id) == errno.EPERM and commit not in asked:
                # The mount has made it underneath: the kernel is not to see commits there any more.
                self._through_parents.discard(parent_of(commit.path))
        if asked:
            errors.update(await self._make(asked))
        return [await self._final(commit, errors.get(commit.id, 0)) for commit in commits]

    def _note_through(self, commit: Commit) -> None:
        if len(self._through_parents) >= THROUGH_PARENTS_MAX:
            self._through_parents.clear()
        self._through_parents.add(parent_of(commit.path))

    async def _wait_for(self, ids: list[int]) -> None:
        await self._arrived.wait_until(lambda: self.closed or all(i in self._results for i in ids))
        if self.closed:
            raise trio.ClosedResourceError("the mount went away")

    async def _final(self, commit: Commit, error: int) -> CommitResult:
        """Return the outcome of a commit whose system call, if it needed one, returned `error`."""
        known = self._results.get(commit.id)
        if known is not None and known.outcome is not Outcome.THROUGH:
            del self._results[commit.id]  # as of most: nothing has to be waited for
            return msgspec.structs.replace(known, refresh=False) if known.refresh and not error else known

        def is_final() -> bool:
            result = self._results.get(commit.id)
            return self.closed or (result is not None and result.outcome is not Outcome.THROUGH)

        # A call that the kernel refused before it reached the mount has no outcome but its errno.
        with trio.move_on_after(REFUSED_WAIT_S_MAX if error else RESULT_WAIT_S_MAX):
            await self._arrived.wait_until(is_final)
        result = self._results.pop(commit.id, None)
        if result is not None and result.outcome is not Outcome.THROUGH:
            return result
        if self.closed:
            raise trio.ClosedResourceError("the mount went away")
        self._through_parents.discard(parent_of(commit.path))
        return CommitResult(commit.id, Outcome.FAILED, error=error or errno.EIO, reason="no answer from the mount")


def _touched_by(commits: Sequence[Commit]) -> set[RelPath]:
    paths = {commit.path for commit in commits}
    paths |= {commit.action.source for commit in commits if isinstance(commit.action, Link)}
    return paths | {parent_of(path) for path in paths}


def staged_name(digested: int, commit_id: int) -> bytes:
    """Return the name in the stage that announces this commit."""
    return b"%d.%d" % (digested, commit_id)


def kept_name(kept_ns: int, commit_id: int) -> bytes:
    """Return the name in the kept store for what this commit displaces."""
    return b"%x.%x" % (kept_ns, commit_id)
