"""A peer's directory was moved: one rename here as well, where both agree on what is below.

Everything is checked before, in one step with the announcement to the mount, which checks once more that nobody has changed anything
below. A durable intent comes first (R20): the rename is what programs wait for, its records follow. Whoever is told that a move was
not followed tells each path by itself.
"""

import logging
import time
from collections.abc import Callable

import msgspec
import trio

from csfs.core.moves import WholeMove
from csfs.core.objects import Observation, Stamp
from csfs.core.paths import RelPath, parent_of, shown
from csfs.core.policies import merges
from csfs.core.versions import Scope
from csfs.errors import CsfsError
from csfs.replicate.directories import Directories
from csfs.replicate.keeping import note_moved
from csfs.replicate.looking import Reason
from csfs.replicate.names import has_flags
from csfs.replicate.observer import Observer
from csfs.replicate.spreading import is_whole
from csfs.replicate.volume import Root, Volume
from csfs.store.scanning import scan
from csfs.wire.control import Commit, Move, Outcome

log = logging.getLogger(__name__)

PATIENCE_S = 0.2
"""So long a move waits for commits that are being staged; then each path is told by itself, and waits for its turn among them."""

WALK_S_MAX = 3.0
"""So long, about, is looked at what is below, while nothing else is committed; the peer does not wait for an answer much longer."""


class Wholes:
    """Follows moves of directories for one volume's applier; `turn` is held by whoever commits."""

    def __init__(
        self,
        volume: Volume,
        directories: Directories,
        observer: Observer,
        is_free: Callable[[RelPath, RelPath], bool],
    ) -> None:
        """`is_free` says of an old and a new name that what is there needs nothing but a rename."""
        self._volume = volume
        self._directories = directories
        self._observer = observer
        self._is_free = is_free
        self.turn = trio.Lock()
        moving = volume.index.ledger.moving
        if moving is not None:
            move = moving[1]
            paths = volume.engine.shown_at_and_below(RelPath(move.source))
            volume.in_flight |= {*paths, *map(move.target_of, paths)}
            volume.stock_due = True

    async def follow(self, peer: str, scope: Scope, move: WholeMove, record: Callable[[], None]) -> bool:
        """Rename a directory here as a peer has moved its own; return whether all of the peer's versions are known here then.

        `record` is called in the transaction that stores them. Whoever is cancelled while he waits ends nothing.
        """
        outcomes: list[bool] = []
        done = trio.Event()

        async def run() -> None:
            try:
                outcomes.append(await self._in_turn(peer, scope, move, record))
            except trio.ClosedResourceError:
                pass  # unmounted meanwhile
            except Exception:
                log.exception("%s: unexpected error moving %s", self._volume.name, shown(move.source))
            finally:
                done.set()

        assert self._volume.nursery is not None
        # The rename goes on if the link breaks: what became of it has to be recorded.
        self._volume.nursery.start_soon(run)
        await done.wait()
        return outcomes == [True]

    async def _in_turn(self, peer: str, scope: Scope, move: WholeMove, record: Callable[[], None]) -> bool:
        if not self._may_follow():
            return False
        await self._directories.settle_below(RelPath(move.source))
        with trio.move_on_after(PATIENCE_S) as patience:
            await self.turn.acquire()
        if patience.cancelled_caught:
            return False
        try:
            return await self._followed(peer, scope, move, record)
        finally:
            self.turn.release()

    def _may_follow(self) -> bool:
        volume, gate = self._volume, self._volume.gate
        # Programs that wait for others may hold the directories of which the kernel has to learn.
        return volume.may_apply and is_whole(volume) and gate is not None and not gate.asks_first

    async def _followed(self, peer: str, scope: Scope, move: WholeMove, record: Callable[[], None]) -> bool:
        volume, source, target = self._volume, RelPath(move.source), RelPath(move.target)
        if self._shown_at(source) is None:
            return False
        count = sum(1 for _ in volume.index.rows.shown_paths(source))
        stamp, below = await volume.with_root(_stamps_of, source, count)
        # From here to the announcement nothing else happens.
        paths = volume.engine.agrees(peer, scope, move, time.time_ns())
        before, gate, group = self._shown_at(source), volume.gate, volume.rules.group_with(scope)
        if has_flags(volume, source, parent_of(source), parent_of(target)):
            return False  # which forbid a rename: each path is committed by itself
        if not paths or before is None or gate is None or group is None or not self._may_follow():
            return False
        # What somebody did to the directory itself, and nobody has told of, would be taken for what was shown.
        is_same = stamp == before.stamp or self._directories.is_marked(source)
        is_all = is_same and below == dict(volume.index.rows.shown_stamps(source))
        if not is_all or self._observer.is_unseen_below(source, target):
            return False
        if not all(self._is_free(path, move.target_of(path)) for path in paths):
            return False
        action = Move(source, before.stamp)
        commit = Commit(volume.next_commit_id(), self._observer.digested, target, None, action)
        is_disturbed = self._directories.is_disturbed(source)
        disturbed = _parents(move) | ({target} if is_disturbed else set())
        moving = scope, move, merges(group.policy)
        with volume.index.transaction():
            volume.index.ledger.set_moving(moving)
            volume.index.ledger.disturb(disturbed)
        volume.in_flight, volume.disturbed = {*paths, *map(move.target_of, paths)}, disturbed
        try:
            (result,) = await gate.commit([commit])
            is_known, stamp = False, result.stamp
            if result.outcome is Outcome.DONE and stamp is not None:
                # What commits or programs have made of its time is settled where it is now. If a kill comes before, the old stamp
                # has it looked at.
                is_timely = stamp.mtime_ns == before.stamp.mtime_ns
                now = msgspec.structs.replace(before, stamp=stamp) if is_timely else before
                is_known = self._record(moving, now, (peer, record))
                if is_disturbed or not is_timely:
                    self._directories.mark(target, local=not is_disturbed)
            else:
                log.debug("%s: move to %s not made: %s", volume.name, shown(target), result.reason)
                await self.take_stock(answered=True)
        except BaseException:
            # What was sent may still be carried out: it stays in flight until stock is taken.
            volume.stock_due = True
            volume.ready.notify()
            raise
        volume.in_flight, volume.disturbed = set(), set()
        volume.progress.notify()
        return is_known

    def _shown_at(self, path: RelPath) -> Observation | None:
        row = self._volume.index.rows.row(path)
        return row.applied.observation if row is not None else None

    async def take_stock(self, *, answered: bool = False) -> None:
        """Find out what became of a move whose outcome nobody recorded, before anything there is taken for somebody's change.

        `answered`: the mount said that it was not made, or may not have been. Else a directory that is at neither name is taken for one
        that was moved, and that somebody has moved on, or removed, since: whichever name he knew, it goes from the new one.
        """
        volume = self._volume
        moving = volume.index.ledger.moving
        if moving is None:
            return
        move = moving[1]
        source, target = RelPath(move.source), RelPath(move.target)
        before = self._shown_at(source)
        left, came = await volume.with_root(_inodes, source, target)
        inode = before.stamp.inode if before is not None else 0
        is_done = before is not None and (came == inode or not (answered or left == inode))
        # Whoever told it tells each path once more: it has not heard that this was followed. What somebody did to the directory
        # since is no part of the move: it is found by a look, because the stamp is the old one.
        self._record(moving, before if is_done else None)
        if target in volume.index.ledger.disturbed():
            self._directories.mark(target, local=False)
        if is_done:
            self._observer.look(target, Reason(False, (), compared=True))

    def _record(
        self,
        moving: tuple[Scope, WholeMove, bool],
        observation: Observation | None,
        told: tuple[str, Callable[[], None]] = ("", lambda: None),
    ) -> bool:
        """Record what became of a rename, which is at the target now, or was not made; return whether all versions are known.

        `told`: by whom, and what to record with it.
        """
        volume, is_known = self._volume, False
        scope, move, merging = moving
        source = RelPath(move.source)
        before = volume.engine.shown_at_and_below(source) if observation is not None else {}
        with volume.index.transaction():
            if observation is not None:
                is_known = volume.engine.moved_whole(scope, move, observation, told[0], merging=merging)
                for path, applied in before.items():
                    note_moved(volume, path, move.target_of(path), applied, move.first.incarnation)
            if is_known:
                told[1]()
            volume.index.ledger.set_moving(None)
        for directory in _parents(move):
            self._directories.mark(directory, local=False)
        volume.apply_soon(volume.engine.woken())
        volume.merge_soon(map(move.target_of, before))
        if observation is not None:
            volume.changed.notify()
        return is_known


def _inodes(root: Root, *paths: RelPath) -> list[int]:
    """Return the inode numbers of what is at these paths, 0 for nothing. For a thread."""
    statuses = [root.tree.lstat(path) for path in paths]
    return [status.st_ino if status is not None else 0 for status in statuses]


def _stamps_of(root: Root, directory: RelPath, count_max: int) -> tuple[Stamp | None, dict[RelPath, bytes] | None]:
    """Return the stamp of a directory, None if it cannot be told, and those of all below; None if there is more, or it takes too long.

    For a thread.
    """
    try:
        stamp = root.tree.stamp(directory)
    except (OSError, CsfsError):
        return None, None
    found, deadline = dict[RelPath, bytes](), time.monotonic() + WALK_S_MAX
    for chunk in scan(root.tree.root, directory):
        found.update(chunk.found)
        if len(found) > count_max or time.monotonic() > deadline:
            return stamp, None
    return stamp, found


def _parents(move: WholeMove) -> set[RelPath]:
    return {parent_of(RelPath(path)) for path in (move.source, move.target)}
