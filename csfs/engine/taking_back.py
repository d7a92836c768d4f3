"""An edit that has followed a move (R15), and goes from its old name before it is shown at the new one, is taken back there.

What programs do to it under the old name counts as done before it followed: nobody else may have its content by then, and the new
name would wait for that for ever. So what the edit had replaced there stands again, which the mover has.
"""

import msgspec

from csfs.core.paths import RelPath
from csfs.core.policies import origin_of
from csfs.core.records import ContentEntry, Record, write_of
from csfs.core.versions import Dot
from csfs.engine.following import Following, added, is_of, overruled_in, rows_ahead, taken_out
from csfs.engine.live import ABSENT, content_entry, is_live
from csfs.engine.moving import merged_moves
from csfs.engine.ports import Row


class TakingBack(Following):
    """Takes back what does not stay where it came from."""

    def _take_back(self, path: RelPath, before: Row, now_ns: int) -> None:
        """The content at a path, `before` which this was known and shown there, was changed by a program, and that looked at."""
        birth, after = before.applied.lineage.birth, self._index.row(path)
        if birth is None or after is None:
            return
        if after.applied.observation is not None and after.applied.lineage.birth == birth:
            return  # it is still there, and follows with what was made of it
        for target, row in list(rows_ahead(self._index, before, birth)):
            edit = content_entry(row.record, row.arrived.dot) if row.arrived is not None else None
            if edit is not None and is_of(edit, birth):
                self._leave_as_it_was(target, row, birth, now_ns)

    def _leave_as_it_was(self, path: RelPath, row: Row, birth: Dot, now_ns: int) -> None:
        group, arrived = self._followed(path), row.arrived
        if arrived is None or group is None or row.scope != group.scope or not self._may_write(group):
            return
        gone, half = taken_out(row.record.content, {arrived.dot})
        before = arrived.replaced
        if before is not None and any(is_of(entry, birth) for entry in half.entries):
            before = None  # somebody has made something else of it meanwhile
        hlc, dot = self._tick(now_ns, row.record), self._mint(group.scope, row.record)
        if before is None:
            moves, overruled = merged_moves(gone, None), overruled_in(gone)
            entry = ContentEntry(dot, hlc, ABSENT, birth=birth, moves=moves, overruled=overruled)
        else:
            # Not as `carried` here: where somebody has moved it on who had not heard of the edit, it goes on, too.
            entry = msgspec.structs.replace(
                before,
                dot=dot,
                moves=merged_moves(gone, before.birth),
                write=write_of(before),
                origin=origin_of(before),
                overruled=overruled_in([*gone, before]),
                carried=False,
            )
        record = Record(added(half, entry), row.record.meta, row.record.time)
        self._store(path, row, record, row.applied, group, True)
        self._woken[path] = None
        if is_live(record) != row.live:
            self._turn_ancestors({path: is_live(record)}, self._woken)
