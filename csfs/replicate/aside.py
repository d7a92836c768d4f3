"""What rows tell of the kept store: what the mount kept before a program here destroyed it (`keep_local`), and what somebody wrote to a
version after it was displaced.

What was kept becomes a version once its path was looked at, for then it is known what took its place. A content that was written again
as it was is none; but while somebody has the file open for writing it stays, for the mount does not keep it a second time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import trio

from csfs.core.changes import Change, ChangeKind
from csfs.core.objects import Applied, Observation, Stamp
from csfs.core.paths import RelPath
from csfs.engine.live import content_of, meta_of
from csfs.index.ledger import Cause, KeptVersion
from csfs.replicate.keeping import delete_soon, is_another, keep_written
from csfs.replicate.looking import look_at_kept
from csfs.replicate.volume import Root, Volume
from csfs.wire.messages import INLINE_SIZE_MAX

READ_AT_ONCE_MAX = 500
INLINE_READS_MAX = 2
UNTOLD_S_MAX = 30.0
"""What destroys a content is told right after it, or within seconds; if it failed, it is not told at all."""
SAME_MAX = 10_000


@dataclass(slots=True)
class _Copy:
    """One object in the kept store, as a row tells of it. `applied` is what it was, once it was looked at."""

    name: bytes
    path: RelPath
    kept_ns: int
    stamp: Stamp
    taken_s: float
    applied: Applied | None = None


class Aside:
    """Rows of one volume about its kept store, until they are taken care of."""

    def __init__(self, volume: Volume, look: Callable[[RelPath], None]) -> None:
        self._volume, self._look = volume, look
        self._displaced: dict[bytes, tuple[RelPath, int]] = {}
        """Kept versions that somebody who had them open has written to since: where they were live, and the row."""
        self._copies: dict[RelPath, list[_Copy]] = {}
        """What was kept of each path that was not looked at since; those that were looked at themselves come first."""
        self._rows: dict[bytes, int] = {}
        """The row that tells of each copy, ascending."""
        self._unread: list[_Copy] = []
        self._writing: set[RelPath] = set()
        """Paths of which something was kept, and that somebody has open for writing."""
        self._same: dict[RelPath, KeptVersion] = {}
        """Versions that are like what is shown, while somebody has that open for writing."""
        self._has_timer = False

    # --------------------------------------------------------------------------------------------------------------- rows

    def take(self, change: Change) -> None:
        """Take in a row that names something in the kept store."""
        path = change.path
        if change.kind is ChangeKind.DISPLACED:
            self._displaced[change.kept] = path, change.sequence
        elif change.stamp is not None and change.kept not in self._rows:
            # A mount that connects again tells its rows again.
            copy = _Copy(change.kept, path, change.time_ns, change.stamp, trio.current_time())
            self._rows[copy.name] = change.sequence
            self._copies.setdefault(path, []).append(copy)
            self._unread.append(copy)
            if change.writing:
                self._writing.add(path)
            self._watch()

    def written(self, change: Change) -> None:
        """Take note of whether somebody goes on writing."""
        if not change.writing:
            self._writing.discard(change.path)

    def renumber(self, sequence: int) -> None:
        """Another journal has begun: what rows of the old one told still waits, as if this row of the new one had."""
        self._displaced = {name: (path, sequence) for name, (path, _) in self._displaced.items()}
        self._rows = dict.fromkeys(self._rows, sequence)

    @property
    def sequences(self) -> list[int]:
        """Rows that are not taken care of, the oldest among them."""
        return [one for _, one in self._displaced.values()] + list(islice(self._rows.values(), 1))

    @property
    def has_work(self) -> bool:
        """Whether something in the kept store is to be looked at."""
        return bool(self._displaced or self._unread)

    def is_told(self, name: bytes) -> bool:
        """Return whether a row tells of an object in the kept store that is no version yet."""
        return name in self._rows

    def _watch(self) -> None:
        if not self._has_timer:
            self._has_timer = True
            self._volume.later(UNTOLD_S_MAX, self._look_at_late)

    def _look_at_late(self) -> None:
        """Look at paths of which nothing was told since."""
        self._has_timer = False
        before_s = trio.current_time() - UNTOLD_S_MAX
        for path, copies in self._copies.items():
            if copies[0].taken_s <= before_s:
                self._look(path)
        if self._copies:
            self._watch()

    # ------------------------------------------------------------------------------------------------------------ looking

    async def look(self) -> None:
        """Look at what rows have told of.

        Raises:
            trio.ClosedResourceError: the volume is not mounted; what is left waits.
        """
        while self._displaced:
            # What was written to a version after it was displaced is somebody's work: it is kept for good.
            name, (path, _) = next(iter(self._displaced.items()))
            await keep_written(self._volume, name, path)
            self._displaced.pop(name, None)
        while self._unread:
            await self._read(self._unread[:READ_AT_ONCE_MAX])

    async def _read(self, batch: list[_Copy]) -> None:
        rows, ledger = self._volume.index.rows, self._volume.index.ledger
        rows.fetch(copy.path for copy in batch)
        # Rows are told again after a crash: it may be recorded already what an object is.
        new = [copy for copy in batch if not ledger.is_kept(copy.name)]
        known = [row.applied if (row := rows.row(copy.path)) is not None else None for copy in new]
        is_little = len(new) <= INLINE_READS_MAX and all(copy.stamp.size <= INLINE_SIZE_MAX for copy in new)
        wanted = [(copy.name, copy.stamp, applied) for copy, applied in zip(new, known, strict=True)]
        found = await self._volume.with_root(_looked_at, wanted, inline=is_little)
        del self._unread[: len(batch)]
        for copy, applied in zip(new, found, strict=True):
            copy.applied = applied
        for copy in batch:
            if copy.applied is None:
                self._drop(copy)

    def _drop(self, copy: _Copy) -> None:
        copies = self._copies[copy.path]
        copies.remove(copy)
        self._rows.pop(copy.name, None)
        if not copies:
            self._forget(copy.path)

    def _forget(self, path: RelPath) -> None:
        del self._copies[path]
        if path not in self._same:
            self._writing.discard(path)

    # ----------------------------------------------------------------------------------------------------------- versions

    def settle(self, path: RelPath, before: Observation | None, found: Observation | None) -> bool:
        """A path that showed `before` was looked at: what was kept of it is versions now, in the transaction at hand.

        Return whether what it showed before is one of them.
        """
        copies, same = self._copies.get(path, []), self._same.pop(path, None)
        read = [copy for copy in copies if copy.applied is not None]
        if not read and same is None:
            return False
        versions = [self._version(copy, is_last=copy is read[-1], found=found) for copy in read]
        for version in versions:
            self._volume.index.ledger.add_kept(version)
            self._rows.pop(version.name, None)
        del copies[: len(read)]
        known = [same, *versions] if same is not None else versions
        if _is_like(known[-1], found):
            if path in self._writing and len(self._same) < SAME_MAX:
                self._same[path] = known[-1]
            else:
                self._volume.index.ledger.drop_kept(known[-1].name)
                delete_soon(self._volume, known[-1].name)
        if not copies and path in self._copies:
            self._forget(path)
        elif path not in self._copies and path not in self._same:
            self._writing.discard(path)
        return any(_is_like(version, before) for version in known)

    def _version(self, copy: _Copy, *, is_last: bool, found: Observation | None) -> KeptVersion:
        assert copy.applied is not None, "it was looked at"
        was = copy.applied.observation
        assert was is not None, "what was kept is a file"
        cause = Cause.REMOVED if is_last and found is None else Cause.REPLACED
        rest = (was.size, was.hash, False, copy.applied, cause, self._volume.member)
        return KeptVersion(copy.name, copy.path, copy.kept_ns, *rest)


def _is_like(version: KeptVersion, shown: Observation | None) -> bool:
    return shown is not None and not is_another(version.applied, content_of(shown), meta_of(shown))


def _looked_at(root: Root, wanted: Sequence[tuple[bytes, Stamp, Applied | None]]) -> list[Applied | None]:
    """Return what objects in the kept store are, None for what is not there as it was; for a thread."""
    return [_found(root, name, stamp, applied) for name, stamp, applied in wanted]


def _found(root: Root, name: bytes, stamp: Stamp, applied: Applied | None) -> Applied | None:
    if root.stage.kept.size(name) != stamp.size:
        root.stage.kept.delete(name)  # gone, or a power cut has taken what was not on the disk yet
        return None
    before = applied.observation if applied is not None and not applied.racy else None
    if before is not None and before.stamp == stamp:
        return applied
    look = look_at_kept(root, name)
    return Applied(observation=look) if look is not None else None
