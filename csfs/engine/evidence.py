"""What a journal proves of the time before a power cut, and which differences are damage for all that anybody knows (R24).

The disk may have lost what was written last: files are empty, cut short or as they were, names are missing or back again. That is
nobody's change. A row says that something was tried. Rows are on the disk in their order, and each follows what it tells of: one
that names a path shows that somebody meant it, though a row of attributes does not say what was there; bytes are somebody's if a row
says that they were on their disk, and the object still looks as it did then. What was renamed has left its old name for another one:
if it is not there either, or its bytes are not believed there, nobody has taken it away (`engine/whereabouts`). What was changed in
this boot is a change like any other.
"""

from collections.abc import Callable

from csfs.core.changes import Change, ChangeKind, Synced
from csfs.core.objects import Kind, Observation, Stamp
from csfs.core.paths import RelPath
from csfs.core.rows import Row
from csfs.engine.live import content_of, holds, meta_of
from csfs.engine.whereabouts import There, Whereabouts


class Evidence:
    """Rows since what the index knows, the oldest first. `booted_ns`: when this boot began, by the clock of change times."""

    def __init__(self, booted_ns: int) -> None:
        self.booted_ns = booted_ns
        self._given: set[RelPath] = set()
        """Paths that somebody gave an object."""
        self._changed: dict[RelPath, int] = {}
        """Paths that somebody gave attributes, whatever was there, and how many rows had told of names by then."""
        self._whereabouts = Whereabouts(booted_ns)
        self._synced: dict[int, Synced] = {}
        self._judged: dict[RelPath, tuple[Stamp, bool]] = {}
        """What was found where something else was known, and whether its bytes are nobody's."""
        self._inodes: dict[RelPath, int] = {}
        self._journal, self._last = b"", 0
        self._taking: dict[ChangeKind, Callable[[Change], None]] = {
            ChangeKind.CONTENT: self._written,
            ChangeKind.SYNCED: self._on_disk,
            ChangeKind.CREATE: lambda change: self._put(change.path, None),
            ChangeKind.META: self._attributes_given,
            ChangeKind.REMOVE: self._removed,
            ChangeKind.RENAME: self._moved,
            ChangeKind.EXCHANGE: self._exchanged,
            ChangeKind.LINK: self._linked,
        }

    def count_in(self, journal: bytes) -> None:
        """Rows are numbered in this journal from here on."""
        if journal != self._journal:
            self._journal, self._last = journal, 0

    def take(self, change: Change) -> None:
        """Take in a row; one that was taken in is told again when it is to be looked at, and says nothing new."""
        if 0 < change.sequence <= self._last:
            return
        self._last = max(self._last, change.sequence)
        self._whereabouts.take(change)
        if change.kind in self._taking:
            self._taking[change.kind](change)

    def judge(self, path: RelPath, row: Row | None, found: Observation | None, source: Observation | None) -> None:
        """Judge the bytes found at a path before anything found with them is believed: of what was exchanged, neither comes first.

        `source` is what was shown of the object where a row says that it came from.
        """
        before = row.applied.observation if row is not None else None
        if found is not None and (before is None or before.stamp.inode != found.stamp.inode):
            self._judged[path] = found.stamp, self._are_nobodys(before, found, source)

    def is_torn(self, path: RelPath, stamp: Stamp) -> bool | None:
        """Return whether what was found at a path, if it still looks so, was judged to have nobody's bytes; None: it was not judged."""
        judged = self._judged.get(path)
        return judged[1] if judged is not None and judged[0] == stamp else None

    def looks_whole(self, before: Observation, stamp: Stamp) -> bool:
        """Return whether something that nobody has looked at where it is now looks as it was known, or was changed in this boot."""
        is_same = (before.stamp.size, before.stamp.mtime_ns) == (stamp.size, stamp.mtime_ns)
        return is_same or before.kind is Kind.DIRECTORY or stamp.ctime_ns >= self.booted_ns

    def is_damage(
        self,
        path: RelPath,
        row: Row | None,
        found: Observation | None,
        source: Observation | None,
        there_at: Callable[[RelPath], There],
    ) -> bool:
        """Return whether what was found at a path, if it differs from what was shown, must not be taken for somebody's change.

        `source` is what was shown of the object where a row says that it came from. `there_at` returns what is at a path now,
        and whether that is believed.
        """
        before = row.applied.observation if row is not None else None
        if found is None:
            return before is not None and not self._whereabouts.is_gone(path, before.stamp.inode, there_at)
        if found.stamp.ctime_ns >= self.booted_ns:
            return False
        if _has_come(source, found):
            return False  # of a directory that was renamed, no row names what is in it
        is_same = before is not None and holds(found, content_of(before))
        if found.kind is Kind.FILE and not is_same:
            return self._are_nobodys(before, found, source)
        is_directory, is_new = found.kind is Kind.DIRECTORY, row is None or not row.record.content.entries
        if path in self._given or (is_directory and is_new):
            return False
        if is_same and is_directory and before is not None and meta_of(found) == meta_of(before):
            return (
                False  # its time, which is no edit: where all have lost what was known of it, somebody has to say one
            )
        # Attributes were given to what was known there: what was there before that may be back, and has not replaced it.
        if path not in self._changed:
            return True
        return not is_same if before is not None else self._whereabouts.has_gone_since(path, self._changed[path])

    def _are_nobodys(self, before: Observation | None, found: Observation, source: Observation | None) -> bool:
        if found.kind is not Kind.FILE or found.stamp.ctime_ns >= self.booted_ns or _has_come(source, found):
            return False
        proof = self._synced.get(found.stamp.inode)
        # fdatasync leaves the time to be written later.
        is_proved = proof is not None and proof.size == found.size and proof.mtime_ns >= found.mtime_ns
        return not (is_proved or (before is not None and holds(found, content_of(before))))

    def is_lost(
        self, path: RelPath, row: Row | None, found: Observation | None, there_at: Callable[[RelPath], There]
    ) -> bool:
        """Return whether what was shown at a path was renamed and is nowhere, and somebody has put something else in its place."""
        before = _before_another(row, found)
        return before is not None and self._whereabouts.is_lost(path, before.stamp.inode, there_at)

    def is_taken(
        self, path: RelPath, row: Row | None, found: Observation | None, there_at: Callable[[RelPath], There]
    ) -> bool:
        """Return whether somebody has taken away what was shown at a path, where something else is found that is damage."""
        before = _before_another(row, found)
        return before is not None and self._whereabouts.is_gone(path, before.stamp.inode, there_at)

    def recorded(self, path: RelPath) -> None:
        """The index knows what is at a path now, and no row that was taken in says more of it."""
        self._whereabouts.recorded(path)

    def _put(self, path: RelPath, inode: int | None) -> None:
        self._given.add(path)
        self._inodes.pop(path, None)
        if inode is not None:
            self._inodes[path] = inode

    def _take_away(self, path: RelPath) -> int | None:
        return self._inodes.pop(path, None)

    def _attributes_given(self, change: Change) -> None:
        self._changed[change.path] = self._whereabouts.count

    def _removed(self, change: Change) -> None:
        self._take_away(change.path)

    def _written(self, change: Change) -> None:
        self._synced.pop(self._inodes.get(change.path, 0), None)

    def _on_disk(self, change: Change) -> None:
        if change.synced is None:
            return
        self._inodes[change.path] = change.synced.inode
        if change.time_ns < self.booted_ns:
            # Later, it may be what the power cut has left; what is written now shows that by its time.
            self._synced[change.synced.inode] = change.synced

    def _moved(self, change: Change) -> None:
        if change.target is not None:
            self._put(change.target, self._take_away(change.path))

    def _exchanged(self, change: Change) -> None:
        if change.target is not None:
            ours, theirs = self._take_away(change.path), self._take_away(change.target)
            self._put(change.path, theirs)
            self._put(change.target, ours)

    def _linked(self, change: Change) -> None:
        if change.target is not None:
            self._put(change.target, self._inodes.get(change.path))


def _has_come(source: Observation | None, found: Observation) -> bool:
    """Return whether an object was moved with the bytes that are known of it."""
    return source is not None and source.stamp.inode == found.stamp.inode and holds(found, content_of(source))


def _before_another(row: Row | None, found: Observation | None) -> Observation | None:
    """Return what was shown, if another object is found."""
    before = row.applied.observation if row is not None else None
    return before if before is not None and found is not None and found.stamp.inode != before.stamp.inode else None
