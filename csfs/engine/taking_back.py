"""An edit that has followed a move (R15), and goes from its old name before it is shown at the new one, is taken back there.

What programs do to it under the old name counts as done before it followed: nobody else may have its content by then, and the new
name would wait for that for ever. So what the edit had replaced there stands again, which the mover has: where he shows the
edit by then, he has kept what it replaced. Unless that was taken away by somebody who had not heard of the edit: then nobody may have
it, either.
"""

from collections.abc import Callable, Iterable

import msgspec

from csfs.core import versions
from csfs.core.objects import Applied
from csfs.core.paths import RelPath
from csfs.core.policies import origin_of
from csfs.core.records import ContentEntry, Half, Record, write_of
from csfs.core.rows import Arrived
from csfs.core.versions import Dot
from csfs.engine.ancestry import overruled_in
from csfs.engine.following import Following, added, is_of, rows_ahead, taken_out
from csfs.engine.live import ABSENT, content_entry, is_live
from csfs.engine.moving import merged_moves
from csfs.engine.ports import Row


class TakingBack(Following):
    """Takes back what does not stay where it came from."""

    def follow(
        self, paths: Iterable[RelPath], now_ns: int, is_unseen: Callable[[RelPath], bool] = lambda path: False
    ) -> tuple[RelPath, ...]:
        """Have edits follow, as `Following` says; what was to stand again and was taken away meanwhile does not."""
        named = list(paths)
        for path in () if self.pulling else named:
            row = self._index.row(path) if not is_unseen(path) else None
            if row is not None and row.arrived is not None and _is_given_up(row, row.arrived):
                self._leave_as_it_was(path, row, row.arrived, now_ns)
        return super().follow(named, now_ns, is_unseen)

    def _take_back(self, path: RelPath, before: Row, now_ns: int) -> None:
        """The content at a path, `before` which this was known and shown there, was changed by a program, and that looked at."""
        shown, after = before.applied, self._index.row(path)
        birth = shown.lineage.birth
        if birth is None or after is None:
            return
        now = after.applied.lineage
        is_there = after.applied.observation is not None and now.birth == birth
        if is_there and shown.lineage.origin in (now.origin, *now.parents):
            return  # it, or what was made of it, is still there, and follows; an older version of the file is neither
        for target, row in list(rows_ahead(self._index, before, birth)):
            edit = content_entry(row.record, row.arrived.dot) if row.arrived is not None else None
            if edit is None or row.arrived is None or not is_of(edit, birth) or _stands_again(edit, row.arrived):
                continue
            if _is_made_from(shown, edit):
                self._leave_as_it_was(target, row, row.arrived, now_ns)

    def _leave_as_it_was(self, path: RelPath, row: Row, arrived: Arrived, now_ns: int) -> None:
        group, edit = self._followed(path), content_entry(row.record, arrived.dot)
        if edit is None or group is None or row.scope != group.scope or not self._may_write(group):
            return
        gone, half = taken_out(row.record.content, {arrived.dot})
        # What somebody here has put there since, in a later life than the edit came in, stands beside that; the version made now
        # is of the same life, and no vector leaves out what its own incarnation made before: so it says that once more.
        ours = next((entry for entry in half.entries if entry.dot in self._ours_left(half, set())), None)
        again = ours if ours is not None else _standing_again(edit, row, arrived, half)
        hlc, dot, applied = self._tick(now_ns, row.record), self._mint(group.scope, row.record), row.applied
        if again is None:
            moves, overruled = merged_moves(gone, None), overruled_in(gone)
            entry = ContentEntry(dot, hlc, ABSENT, birth=edit.birth, moves=moves, overruled=overruled)
        else:
            entry = _said_once_more(again, dot, gone)
            if applied.content_dot == again.dot:
                seen = versions.with_dot(applied.content_seen, dot)
                applied = msgspec.structs.replace(applied, content_dot=dot, content_seen=seen)
            if ours is None:
                row = msgspec.structs.replace(row, arrived=Arrived(dot, again))
        record = Record(added(half, entry), row.record.meta, row.record.time)
        self._store(path, row, record, applied, group, True)
        self._woken[path] = None
        if is_live(record) != row.live:
            self._turn_ancestors({path: is_live(record)}, self._woken)


def _standing_again(edit: ContentEntry, row: Row, arrived: Arrived, half: Half[ContentEntry]) -> ContentEntry | None:
    """Return what an edit had replaced; None if that was nothing, or somebody has made something else of it meanwhile.

    Not as `carried` here: where somebody has moved it on who had not heard of the edit, it goes on, too.
    """
    before = arrived.replaced
    is_another = any(edit.birth is not None and is_of(entry, edit.birth) for entry in half.entries)
    if before is None or is_another or _is_taken_away(before, row, arrived.dot):
        return None
    return msgspec.structs.replace(before, carried=False)


def _said_once_more(entry: ContentEntry, dot: Dot, gone: list[ContentEntry]) -> ContentEntry:
    """Return the version that says the same as one which stood before, and replaces what is `gone` as well."""
    overruled = overruled_in([*gone, entry])
    return msgspec.structs.replace(
        entry,
        dot=dot,
        moves=merged_moves([*gone, entry], entry.birth),
        write=write_of(entry),
        origin=origin_of(entry),
        overruled=tuple(one for one in overruled if one not in (entry.dot, origin_of(entry))),
    )


def _is_made_from(shown: Applied, edit: ContentEntry) -> bool:
    """Return whether what was shown at a path is an edit, or was made from it, or is in it.

    An older version there is another matter: the edit is shown under another name, and was not touched.
    """
    line = (shown.lineage.origin, *shown.lineage.parents)
    return origin_of(edit) in line or shown.content_dot in edit.merged


def _stands_again(edit: ContentEntry, arrived: Arrived) -> bool:
    """Return whether what has arrived was taken back, and is what it had replaced."""
    return arrived.replaced is not None and arrived.replaced.value == edit.value


def _is_given_up(row: Row, arrived: Arrived) -> bool:
    """Return whether what stands again at a path, and is not shown there yet, was taken away by somebody who had not heard of that."""
    before, entry = arrived.replaced, content_entry(row.record, arrived.dot)
    if before is None or entry is None or not _stands_again(entry, arrived):
        return False
    return _is_taken_away(before, row, arrived.dot)


def _is_taken_away(before: ContentEntry, row: Row, ours: Dot) -> bool:
    """Return whether something else is known of a path that replaced, or removed, what was there before `ours`.

    What its own member made there later has always seen it, whatever it was made of; others are known by their parents alone.
    """
    dot, origin = before.dot, origin_of(before)
    return any(
        origin in entry.parents or (entry.dot.incarnation == dot.incarnation and entry.dot.counter > dot.counter)
        for entry in row.record.content.entries
        if entry.dot != ours
    )
