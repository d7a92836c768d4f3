"""Directories' times: set last, after the children, once a directory has been quiet (R6).

Every commit in a directory changes its mtime and stamp, and so does every local create, remove and rename. Neither is
followed one by one: what a quiet directory shows is compared with its register, once.
"""

import time

import trio

from csfs.core.objects import Kind, Observation, Stamp
from csfs.core.paths import RelPath, is_below
from csfs.errors import CsfsError
from csfs.replicate.signals import Signal
from csfs.replicate.volume import Root, Volume

QUIET_S = 0.05
SETTLE_S_MAX = 1.0
SETTLED_MAX = 500
BELOW_S_MAX = 0.2
"""So long a move of a directory waits for the times below it; then each path is looked at, or told, by itself."""


class Directories:
    """Directories of one volume whose times are to be settled."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        # What commits of a daemon that was killed have made of times, and nobody has looked at.
        self._marked: dict[RelPath, bool] = dict.fromkeys(volume.index.ledger.disturbed(), False)
        self._settling: dict[RelPath, bool] = {}
        self._wanted = Signal()
        self._hurried = Signal()
        self._last_mark = 0.0
        self._hurry = False
        self.marks = len(self._marked)
        """How many times a directory was marked."""
        self.settled = 0
        """Every mark up to this one is settled, but for attributes that the applier is still to set."""

    def mark(self, directory: RelPath, *, local: bool) -> None:
        """Its children changed: by a local program, or by a commit of ours."""
        self._marked[directory] = self._marked.get(directory, False) or local
        self._last_mark = trio.current_time()
        self.marks += 1
        self._wanted.notify()

    async def settle_below(self, *directories: RelPath) -> None:
        """Wait a moment for the times of all that is below these directories to be settled; it may take longer."""

        def is_left() -> bool:
            return any(is_below(path, one) for path in (*self._marked, *self._settling) for one in directories)

        if is_left():
            self.hurry()
            with trio.move_on_after(BELOW_S_MAX):
                await self._volume.progress.wait_until(lambda: not is_left())

    def is_marked(self, directory: RelPath) -> bool:
        """Return whether its time is still to be settled."""
        return directory in self._marked or directory in self._settling

    def is_disturbed(self, directory: RelPath) -> bool:
        """Return whether commits alone are behind its time, and it is not settled yet: who looks at it has nothing to conclude."""
        local = self._marked.get(directory, False) or self._settling.get(directory, False)
        return not local and (self.is_marked(directory) or directory in self._volume.disturbed)

    @property
    def idle(self) -> bool:
        """Whether nothing is left to settle."""
        return self.settled >= self.marks

    def hurry(self) -> None:
        """Settle what is marked now, quiet or not: somebody waits."""
        self._hurry = True
        self._hurried.notify()

    async def run(self) -> None:
        """Settle directories, for ever."""
        volume = self._volume
        while True:
            await self._wanted.wait_until(lambda: bool(self._marked))
            await self._wait_quiet()
            await volume.ready.wait_until(lambda: volume.root is not None and not volume.stopped)
            self._hurry = False
            # What is marked meanwhile waits for the next round: who waits for these marks need not wait for it.
            marks, marked = self.marks, self._marked
            self._marked, self._settling = {}, marked
            try:
                while marked:
                    await self._settle(marked)
            except trio.ClosedResourceError:  # unmounted in the middle
                for directory, local in marked.items():
                    self._marked[directory] = self._marked.get(directory, False) or local
                self._settling = {}
                continue
            self.settled = marks
            volume.progress.notify()
            volume.settled.notify()

    async def _wait_quiet(self) -> None:
        deadline = trio.current_time() + SETTLE_S_MAX
        while not self._hurry and trio.current_time() < (quiet := min(deadline, self._last_mark + QUIET_S)):
            with trio.move_on_at(quiet):
                await self._hurried.wait()

    async def _settle(self, marked: dict[RelPath, bool]) -> None:
        """Settle some of `marked` and take them out."""
        volume = self._volume
        # What a commit is just changing would be taken for what it was before, or for somebody's work.
        await volume.progress.wait_until(lambda: any(directory not in volume.in_flight for directory in marked))
        batch = [item for item in marked.items() if item[0] not in volume.in_flight][:SETTLED_MAX]
        shown_before = [self._shown_at(directory) for directory, _ in batch]
        stamps = await volume.with_root(_stamps, [directory for directory, _ in batch])
        position = volume.index.rows.position()
        settled: list[RelPath] = []
        with volume.index.transaction():
            for (directory, local), before, stamp in zip(batch, shown_before, stamps, strict=True):
                if directory in volume.in_flight or self._shown_at(directory) != before:
                    continue  # overtaken by a commit: its turn comes again
                settled.append(directory)
                if stamp is None or not _is_of(before, stamp):
                    continue
                volume.engine.disturbed(directory, stamp, stamp.mtime_ns)
                if local:
                    volume.engine.touched(directory, stamp.mtime_ns, time.time_ns())
            # What is marked anew, or being changed, is disturbed once more.
            volume.index.ledger.calm(set(settled) - self._marked.keys() - volume.disturbed)
        for directory in settled:
            del marked[directory]
        volume.apply_soon(settled)
        if volume.index.rows.position() != position:
            volume.changed.notify()

    def _shown_at(self, directory: RelPath) -> Observation | None:
        row = self._volume.index.rows.row(directory)
        return row.applied.observation if row is not None else None


def _is_of(shown: Observation | None, stamp: Stamp) -> bool:
    """Return whether the stamp is one of the directory shown: whatever else may be there now is looked at apart."""
    return shown is not None and shown.kind is Kind.DIRECTORY and shown.stamp.inode == stamp.inode


def _stamps(root: Root, directories: list[RelPath]) -> list[Stamp | None]:
    found: list[Stamp | None] = []
    for directory in directories:
        try:
            found.append(root.tree.stamp(directory))
        except (OSError, CsfsError):
            found.append(None)
    return found
