"""`VolumeEngine`: one volume on one member. What happens goes in as arguments; what is to be done comes out as values.

Observations come in through `local`, peers' updates through `remote`; `plans` says what the disk should show, `exchange`
what peers should hear. The index is the only memory that counts: whatever else is held here may be lost at any time.
"""

from collections.abc import Collection, Iterable, Iterator

import msgspec

from csfs.core import versions
from csfs.core.paths import ROOT, RelPath, ancestors_of
from csfs.core.policies import is_content_conflict, is_meta_conflict
from csfs.core.versions import Dot, Scope
from csfs.engine.brake import Weighing
from csfs.engine.doubting import Doubting
from csfs.engine.following import Following
from csfs.engine.forgetting import Forgetting
from csfs.engine.healing import Healing
from csfs.engine.links import entry_of
from csfs.engine.live import new_row
from csfs.engine.merging import Merging
from csfs.engine.overlooking import Overlooking
from csfs.engine.ports import Conflict, Row
from csfs.engine.rules import GroupRules as GroupRules
from csfs.engine.rules import Rules as Rules
from csfs.engine.settling import Settling
from csfs.engine.wholes import Wholes


class VolumeEngine(Doubting, Following, Settling, Merging, Overlooking, Weighing, Wholes, Forgetting, Healing):
    """One volume on one member as a state machine; the caller's transactions make its steps stand or fall together."""

    def conflicts(self, paths: Iterable[RelPath]) -> Iterator[Conflict]:
        """Yield those of `paths` at which several versions stand side by side, in their order."""
        for path in paths:
            row = self._index.row(path)
            if row is None:
                continue
            if is_content_conflict(row.record.content.entries):
                yield Conflict(path, "content", self._dots(path, row, "content"))
            if is_meta_conflict(row.record.meta.entries):
                yield Conflict(path, "meta", self._dots(path, row, "meta"))

    def reconsider(self, contested: Iterable[RelPath]) -> None:
        """Have those of `contested` planned anew that should show something else, now that more authors are known.

        `left` and `right` go by the author of a version, which may have come before anybody had said whose incarnation that is.
        """
        for path in contested:
            row, group = self._index.row(path), self._followed(path)
            if row is None or group is None:
                continue
            write = self._write_at(path, row.record, row.applied, group)
            if write != row.write:
                self._put_known(path, row, msgspec.structs.replace(row, pending=True), group)
            entry = entry_of(row.record, write) if write is not None else None
            names = self._links.linked(path, group.scope, entry) if entry is not None else ()
            for name, found in [(path, self._index.row(path) or row), *names]:
                if not found.pending and self._is_pending(name, found.record, found.applied, group, leaf=False):
                    self._set_pending(name, found)

    def follow_rules(self, before: Collection[Scope] = ()) -> None:
        """Follow rules that differ from those of the last life of this index (R11): to be called once, before anything else.

        The index is to read its rows by `in_scope` from then on, and to be another one to the peers, who are told all of it once
        more: that costs nothing. `sort_rows` writes the rows as they are read, a few at a time. `before`: the groups until now.
        """
        # Of what others made, a revision begins knowing nothing, even one that there was before: under the rules in between
        # something may have gone that was known then, and nobody would tell what is said to be known here. What we made in this life
        # is all here, whoever else knows it. What we made in earlier ones may have been taken from us by a restore. Where nobody
        # listens to us from now on, others tell us of ours what they have heard, and who does not claim to know the rest finds by a
        # walk that he differs, and lets go of it.
        for scope, knowledge in self.knowledge().items():
            made = self._index.last_counter(scope)
            left = knowledge if scope in before else versions.EMPTY
            if made and self.speaks_in(scope):
                left = versions.joined(left, {self._incarnation: made})
            self._index.set_knowledge(scope, left)

    def in_scope(self, path: RelPath, row: Row) -> Row:
        """Return a row as the rules have it now: in the group that they name, and to be planned anew if it was in another one."""
        group = self._followed(path)
        scope = group.scope if group is not None else Scope(b"")
        if row.scope == scope:
            return row
        write = self._write_at(path, row.record, row.applied, group)
        return msgspec.structs.replace(row, scope=scope, pending=bool(scope), write=write)

    def sort_rows(self, first: RelPath, limit: int) -> RelPath | None:
        """Write rows from `first` on as `in_scope` has them, so many at most; return where to go on, None: these were the last."""
        found = self._index.scopes_from(first, limit)
        turned: dict[RelPath, bool] = {}
        for path, scope in found:
            group = self._followed(path)
            row = self._index.row(path) if scope != (group.scope if group is not None else Scope(b"")) else None
            if row is not None:
                # Names that stay in its group are as they were, and others may have been planned before it could be found by its write.
                was_group = next((one for one in self._rules.groups if one.scope == scope), None)
                write = self._write_at(path, row.record, row.applied, was_group)
                before = msgspec.structs.replace(row, scope=scope, write=write)
                self._put_known(path, before, self.in_scope(path, row), group)
                if row.live and (group is None or not scope):
                    turned[path] = group is not None
        # The directories above may be of groups that stay what they were, and be read as ever: nothing else has these planned (R16).
        self._turn_ancestors(turned, {})
        self._make_room(path for path, _ in found)
        return RelPath(found[-1][0] + b"\0") if len(found) == limit else None

    def _make_room(self, paths: Iterable[RelPath]) -> None:
        """Have directories planned that live by these (R16), and have no row: nobody told of them while we did not follow them."""
        seen: set[RelPath] = set()
        for path in paths:
            for directory in ancestors_of(path):
                if directory in seen or directory == ROOT:
                    break
                seen.add(directory)
                group = self._followed(directory)
                if group is None or self._index.row(directory) is not None:
                    continue
                if self._index.has_live_below(directory):
                    self._set_pending(directory, new_row(group))

    def _dots(self, path: RelPath, row: Row, half: str) -> tuple[Dot, ...]:
        """Return the dots of one half's entries, the winner's first."""
        winner = self._winning_dot(path, row, half)
        entries = row.record.content.entries if half == "content" else row.record.meta.entries
        dots = [entry.dot for entry in entries]
        return tuple(sorted(dots, key=lambda dot: (dot != winner, dot)))

    def _winning_dot(self, path: RelPath, row: Row, half: str) -> Dot | None:
        group = self._followed(path)
        if group is None:
            return None
        live = self._live(path, row.record, row.applied, group)
        return live.content_dot if half == "content" else live.meta_dot
