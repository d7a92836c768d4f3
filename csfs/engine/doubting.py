"""What a power cut may have left is nobody's change: the disk shows it, and no version stands for it (R24)."""

from collections.abc import Callable, Sequence

import msgspec

from csfs.core.objects import Applied, Kind, Observation, Stamp
from csfs.core.paths import RelPath
from csfs.core.records import ContentEntry, MetaEntry
from csfs.core.rows import MADE, Doubt
from csfs.core.versions import Vector, covers
from csfs.engine.evidence import Evidence
from csfs.engine.live import new_row
from csfs.engine.local import Local
from csfs.engine.minting import Change, Circumstances
from csfs.engine.ports import Row
from csfs.engine.whereabouts import There


class Doubting(Local):
    """Takes in what is not to be believed."""

    def judge(
        self, evidence: Evidence, path: RelPath, found: Observation | None, moved_from: RelPath | None = None
    ) -> None:
        """Judge the bytes of what was found at a path; of all that is found together, before any of it is believed."""
        evidence.judge(path, self._index.row(path), found, self._shown_before(found, moved_from))

    def is_damage(
        self,
        evidence: Evidence,
        path: RelPath,
        found: Observation | None,
        moved_from: RelPath | None,
        stamp_at: Callable[[RelPath], Stamp | None],
    ) -> bool:
        """Return whether what was found is nobody's change; if not, it has not seen what it took the place of, should that be lost.

        `stamp_at` returns the stamp of what is at a path now, None for nothing, and for what cannot be looked at.
        """
        row = self._index.row(path)
        there_at = self._seen_from(evidence, row, stamp_at)
        if evidence.is_damage(path, row, found, self._shown_before(found, moved_from), there_at):
            return True
        if evidence.is_lost(path, row, found, there_at):
            self.lose(path)
        return False

    def is_taken(
        self,
        evidence: Evidence,
        path: RelPath,
        found: Observation | None,
        moved_from: RelPath | None,
        stamp_at: Callable[[RelPath], Stamp | None],
    ) -> bool:
        """Return whether somebody has taken away what was shown where damage is found: that it is gone is observed first."""
        row = self._index.row(path)
        there_at = self._seen_from(evidence, row, stamp_at)
        is_damage = evidence.is_damage(path, row, found, self._shown_before(found, moved_from), there_at)
        return is_damage and evidence.is_taken(path, row, found, there_at)

    def _seen_from(
        self, evidence: Evidence, row: Row | None, stamp_at: Callable[[RelPath], Stamp | None]
    ) -> Callable[[RelPath], There]:
        """Return what says what is at other paths now, and whether it is believed, of what a path shows by its row."""
        before = row.applied.observation if row is not None else None

        def there_at(there: RelPath) -> There:
            stamp = stamp_at(there)
            if stamp is None or before is None:
                return There(stamp.inode if stamp is not None else 0)
            return There(stamp.inode, self._is_torn_at(evidence, there, stamp, before))

        return there_at

    def _shown_before(self, found: Observation | None, moved_from: RelPath | None) -> Observation | None:
        """Return what was shown of an object where it was moved from, whatever has been found there since."""
        moved = self._moved_here(found, moved_from)
        source = self._source(moved_from, moved)
        if moved is None or (source is not None and source.applied == moved and _is_torn(source)):
            return None  # the bytes of what keeps its old name are no more somebody's under the new one
        return moved.observation

    def _is_torn_at(self, evidence: Evidence, path: RelPath, stamp: Stamp, before: Observation) -> bool:
        """Return whether what was known elsewhere as `before`, and is at a path now, has bytes that are not believed."""
        is_torn = evidence.is_torn(path, stamp)
        if is_torn is not None:
            return is_torn
        row = self._index.row(path)
        shown = row.applied.observation if row is not None else None
        if shown is not None and shown.stamp.inode == stamp.inode:
            return self.is_torn(path)
        return not evidence.looks_whole(before, stamp)

    def doubt(self, path: RelPath, observation: Observation | None, *, racy: bool = False) -> bool:
        """Note what is at a path without making a version of it; return whether it differs from what is to be live there.

        What is known is applied over it, which keeps it, once its content is to be had. Where nothing is known, it stays, and is not
        sent. Where the path is not followed any more, it has not seen what was shown before.
        """
        group = self._followed(path)
        row = self._index.row(path)
        if group is None and row is not None:
            self._doubt_unfollowed(path, row, observation)
        if group is None or (row is None and observation is None):
            return False
        row = row or new_row(group)
        change = Change.between(row.applied, observation, False)
        if change is None:
            self._refresh(path, row, observation, racy)
            return False
        before = row.applied.observation
        if before is not None and (observation is None or observation.stamp.inode != before.stamp.inode):
            self._leave(path, row.applied)
        # What was to be minted anew (R8) is not what was found.
        gone = (Doubt.CONTENT if change.content else Doubt.NONE) | (Doubt.META if change.meta else Doubt.NONE)
        row = msgspec.structs.replace(row, doubt=row.doubt & ~gone | Doubt.UNPROVEN)
        self._notice(path, row, observation, change, group, Circumstances(now_ns=0))  # nobody says where it came from
        after = self._index.row(path)
        return after is not None and after.pending

    def is_torn(self, path: RelPath) -> bool:
        """Return whether the bytes at a path are no version's: a power cut may have left them."""
        row = self._index.row(path)
        return row is not None and _is_torn(row)

    def _doubt_unfollowed(self, path: RelPath, row: Row, observation: Observation | None) -> None:
        """Others may have what was shown: once the path is followed again, what is there then is no change of it."""
        change = Change.between(row.applied, observation, False)
        if change is not None and change.content:
            # What was to be minted anew (R8) is not what was found.
            self._index.put(path, msgspec.structs.replace(row, doubt=row.doubt & ~MADE))
            self.lose(path)

    def lose(self, path: RelPath) -> None:
        """What was shown at a path is gone, and nobody has removed it: what somebody has put there since has not seen it."""
        row = self._index.row(path)
        if row is None:
            return
        content, meta = row.record.content, row.record.meta
        seen = _without(row.applied.content_seen, content.entries), _without(row.applied.meta_seen, meta.entries)
        applied = Applied(observation=None, content_seen=seen[0], meta_seen=seen[1])
        self._store_applied(path, row, applied, pending=self._followed(path) is not None)


def _is_torn(row: Row) -> bool:
    shown = row.applied.observation
    if shown is None or shown.kind is Kind.DIRECTORY:
        return False
    return bool(row.doubt & Doubt.UNPROVEN) and row.applied.content_dot is None


def _without(seen: Vector, entries: Sequence[ContentEntry | MetaEntry]) -> Vector:
    """Return a context that has seen none of these entries; what they replaced is replaced."""
    left = dict(seen)
    for entry in entries:
        if covers(left, entry.dot):
            left[entry.dot.incarnation] = entry.dot.counter - 1
    return {incarnation: counter for incarnation, counter in left.items() if counter}
