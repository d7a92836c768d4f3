"""Edits follow moves (R15): what this member edited under a name from which others had moved it, it takes to where the object is.

Only the member that made an edit does so, in one step for both paths: at the new name a version that replaces the bytes that
were moved, and nothing that somebody made of them there; at the old name one that takes the edit away, and nothing of others.

Why it ends: an edit leaves a path by a move that it had not seen, towards where the object is, and has seen all of that path's moves
when it arrives. To leave again it takes a move that came to be known later, and only users make those. What a move brought along
never follows another, so that two names that are moved to each other come to rest.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.policies import NONE, content_winner, origin_of
from csfs.core.records import ContentEntry, E, Half, MetaEntry, Move, Record, halves_joined
from csfs.core.rows import Arrived
from csfs.core.versions import Dot
from csfs.engine.ancestry import overruled_in
from csfs.engine.live import ABSENT, NO_META
from csfs.engine.moving import merged_moves
from csfs.engine.ports import IndexPort, Row
from csfs.engine.rules import GroupRules
from csfs.engine.state import State

CHAIN_MAX: Final = 64
"""Moves of one object in a row that an edit follows."""
AHEAD_MAX: Final = 1_024
"""Paths of which it is remembered that an edit waits for them; who forgets looks at all contested paths when he meets a peer."""


class Edit(msgspec.Struct, frozen=True):
    """What this member made of one object at `path` without having seen that it went to `target`; not both halves are None."""

    path: RelPath
    target: RelPath
    object: Dot
    content: ContentEntry | None
    meta: MetaEntry | None


class Following(State):
    """Takes edits along."""

    def follow(
        self, paths: Iterable[RelPath], now_ns: int, is_unseen: Callable[[RelPath], bool] = lambda path: False
    ) -> tuple[RelPath, ...]:
        """Have this member's edits follow what was moved away from these paths, or on from there; return paths to be planned.

        To be called whenever something else is known of a path. `is_unseen`: somebody here has changed it, and nobody has looked yet:
        what he did comes first. Then it is to be among `paths`.
        """
        if self.pulling:
            return ()
        found = []
        for edit in self._edits(paths):
            if is_unseen(edit.path) or is_unseen(edit.target):
                self._wait_for(edit.path, {edit.path, edit.target})
            else:
                found.append(edit)
        edits = self._free(found)
        for edit in found if len(found) > len(edits) else ():
            self._wait_for(edit.path, {edit.target})
        if not edits:
            return ()
        before = {path: row for edit in edits for path in (edit.path, edit.target) if (row := self._index.row(path))}
        leaving = {half.dot for edit in edits for half in (edit.content, edit.meta) if half is not None}
        for edit in edits:
            self._arrive(edit, leaving, now_ns)
        arrived = {edit.target for edit in edits if edit.content is not None}
        for edit in edits:
            self._depart(edit, arrived, now_ns)
        turned = {path: row.live for path in before if (row := self._index.row(path)) and row.live != before[path].live}
        touched = dict.fromkeys(before)
        self._turn_ancestors(turned, touched)
        return tuple(touched)

    # ------------------------------------------------------------------------------------------------------ what follows

    def _edits(self, paths: Iterable[RelPath]) -> list[Edit]:
        """Return the edits that are to follow from these paths, and from those where one of them would meet another."""
        left, found = list(paths), dict[RelPath, list[Edit]]()
        while left:
            path = left.pop()
            if path in found:
                continue
            found[path] = list(self._edits_at(path))
            ahead = self._ahead.pop(path, ())
            if path in ahead:
                self._woken[path] = None
            left += ahead
            left += [edit.target for edit in found[path] if edit.content is not None]
        return [edit for edits in found.values() for edit in edits]

    def _edits_at(self, path: RelPath) -> Iterator[Edit]:
        row = self._index.row(path)
        if row is None or not any(entry.moves for entry in row.record.content.entries):
            return  # most are
        group = self._followed(path)
        if group is None or row.scope != group.scope or not self._may_write(group):
            return
        for moved in moved_from(row):
            edit = self._edit_of(path, row, moved)
            if edit is None:
                continue
            target = self._target(path, row, moved, group)
            if target is not None:
                yield msgspec.structs.replace(edit, target=target)

    def _edit_of(self, path: RelPath, row: Row, moved: Dot) -> Edit | None:
        """Return what this member has made of an object that was moved away from here."""
        contents = [e for e in row.record.content.entries if is_of(e, moved) and not e.carried and _is_bytes(e)]
        metas = [e for e in row.record.meta.entries if is_of(e, moved) and not e.carried]
        content = next((entry for entry in reversed(contents) if self._is_ours(entry)), None)
        meta = next((entry for entry in reversed(metas) if self._is_ours(entry)), None)
        if content is None and meta is None:
            return None
        return Edit(path, path, moved, content, meta)

    def _is_ours(self, entry: ContentEntry | MetaEntry) -> bool:
        """Return whether this member made an entry, in this life or an earlier one."""
        return self._authors.get(entry.dot.incarnation) == self._member

    def _target(self, path: RelPath, row: Row, moved: Dot, group: GroupRules) -> RelPath | None:
        """Return where an object is that was moved away from a path, None if that is not known, or if it is here as well."""
        here, seen = path, {path}
        for _ in range(CHAIN_MAX):
            living = [entry for entry in row.record.content.entries if is_of(entry, moved)]
            ahead = moved_from(row).get(moved)
            if any(entry.carried for entry in living) or (living and ahead is None):
                return here if here != path else None
            if ahead is None or ahead in seen:
                break
            here = ahead
            seen.add(here)
            there, found = self._followed(here), self._index.row(here)
            if there is None or there.scope != group.scope:
                return None
            if found is None:
                break
            row = found
        self._wait_for(path, seen - {path})
        return None

    def _wait_for(self, path: RelPath, ahead: set[RelPath]) -> None:
        """Ask again about a path when something else is known of these."""
        for one in ahead if len(self._ahead) < AHEAD_MAX else ():
            self._ahead.setdefault(one, set()).add(path)

    def _free(self, edits: list[Edit]) -> list[Edit]:
        """Return what of them finds nothing of our own where it goes but what follows on from there.

        A member has one version of a half. What would replace another of its own stays, under its old name.
        """
        free = list({edit.target: edit for edit in reversed(edits)}.values())
        while True:
            leaving = {half.dot for edit in free for half in (edit.content, edit.meta) if half is not None}
            rest = [fitting for edit in free if (fitting := self._fitting(edit, leaving)) is not None]
            if rest == free:
                return rest
            free = rest

    def _fitting(self, edit: Edit, leaving: set[Dot]) -> Edit | None:
        source, target = self._both(edit)
        content, meta = edit.content, edit.meta
        if content is not None:
            ours = self._ours_left(source.record.content, leaving)
            ours |= self._ours_left(target.record.content, leaving) - replaced_dots(
                content, target.record.content, edit.object
            )
            if ours:
                return None
        if meta is not None:
            ours = self._ours_left(source.record.meta, leaving)
            ours |= self._ours_left(target.record.meta, leaving) - replaced_dots(meta, target.record.meta, edit.object)
            if content is None and meta.kind is Kind.DIRECTORY:
                # A directory goes with its attributes: what of our own took its place here would go with it, and arrive nowhere.
                others = {entry.dot for entry in source.record.content.entries if not is_of(entry, edit.object)}
                ours |= self._ours_left(source.record.content, leaving) & others
            kinds = {entry.value.kind for entry in target.record.content.entries if is_of(entry, edit.object)}
            if ours or meta.kind not in kinds:
                meta = None
        return msgspec.structs.replace(edit, meta=meta) if content is not None or meta is not None else None

    def _ours_left(self, half: Half[E], leaving: set[Dot]) -> set[Dot]:
        """Return what of our own a new version of ours would replace: no vector leaves out what its own incarnation made before."""
        ours = (e for e in half.entries if e.dot.incarnation == self._incarnation and kind_of(e) is not Kind.ABSENT)
        return {entry.dot for entry in ours} - leaving

    def _both(self, edit: Edit) -> tuple[Row, Row]:
        source, target = self._index.row(edit.path), self._index.row(edit.target)
        assert source is not None, "an edit of something that was never known"
        assert target is not None, "an object where nothing was ever known"
        return source, target

    # ------------------------------------------------------------------------------------------------------- taking along

    def _arrive(self, edit: Edit, leaving: set[Dot], now_ns: int) -> None:
        """Make the versions at the new name."""
        source, row = self._both(edit)
        group = self._followed(edit.target)
        assert group is not None, "a path that is not followed"
        record, applied, hlc = row.record, row.applied, self._tick(now_ns, row.record)
        if edit.content is not None:
            replaced = replaced_dots(edit.content, record.content, edit.object) | leaving
            dot = self._mint(group.scope, record)
            gone, half = taken_out(record.content, replaced)
            before = self._best_replaced(row, gone, leaving, group)
            entry = msgspec.structs.replace(
                edit.content,
                dot=dot,
                hlc=hlc,
                moves=merged_moves(gone, edit.object),
                origin=origin_of(edit.content),
                # What stands again if this is taken back has to be somewhere then: who shows it now keeps it.
                overruled=overruled_in([*gone, edit.content], before),
            )
            record = Record(added(half, entry), record.meta, record.time)
            row = msgspec.structs.replace(row, arrived=Arrived(dot, before))
            if NONE in group.policy and source.applied.content_dot == edit.content.dot:
                # Each member goes on showing what it shows: here that is the edit, under whatever name.
                applied = msgspec.structs.replace(applied, content_dot=dot)
        if edit.meta is not None:
            replaced = replaced_dots(edit.meta, record.meta, edit.object) | leaving
            dot = self._mint(group.scope, record)
            _, metas = taken_out(record.meta, replaced)
            meta = msgspec.structs.replace(edit.meta, dot=dot, hlc=hlc, origin=origin_of(edit.meta))
            record = Record(record.content, added(metas, meta), record.time)
        self._store(edit.target, row, record, applied, group, True)

    def _best_replaced(
        self, row: Row, gone: list[ContentEntry], leaving: set[Dot], group: GroupRules
    ) -> ContentEntry | None:
        """Return what would be at the new name if nothing had come there; an earlier edit that is not shown either is nothing."""
        if row.arrived is not None and row.arrived.dot in {entry.dot for entry in gone} - leaving:
            return row.arrived.replaced
        stood = [entry for entry in gone if kind_of(entry) is not Kind.ABSENT and entry.dot not in leaving]
        return content_winner(stood, group.policy, self._all_ranks(group))

    def _depart(self, edit: Edit, arrived: set[RelPath], now_ns: int) -> None:
        """Make the versions at the old name that take the edit away, unless another one took its place."""
        row, group = self._index.row(edit.path), self._followed(edit.path)
        assert row is not None, "an edit of something that was never known"
        assert group is not None, "a path that is not followed"
        record, hlc, meta = row.record, self._tick(now_ns, row.record), edit.meta
        is_directory = meta is not None and meta.kind is Kind.DIRECTORY
        if edit.content is not None:
            row = msgspec.structs.replace(row, departed=Move(edit.object, edit.target))
        if edit.path not in arrived and (edit.content is not None or is_directory):
            gone, half = taken_out(record.content, {edit.content.dot} if edit.content is not None else set())
            dot = self._mint(group.scope, record)
            # A directory that lives on has its meta from here.
            snapshot = meta.value if meta is not None else edit.content.snapshot if edit.content is not None else None
            moves = merged_moves(gone, None, Move(edit.object, edit.target))
            entry = ContentEntry(dot, hlc, ABSENT, snapshot, edit.object, moves=moves, overruled=overruled_in(gone))
            record = Record(added(half, entry), record.meta, record.time)
        if meta is not None and any(entry.dot == meta.dot for entry in record.meta.entries):
            _, metas = taken_out(record.meta, {meta.dot})
            dot = self._mint(group.scope, record)
            none = MetaEntry(dot, hlc, NO_META, Kind.ABSENT, birth=edit.object)
            record = Record(record.content, added(metas, none), record.time)
        if edit.content is not None or record is not row.record:
            self._store(edit.path, row, record, row.applied, group, True)


def kind_of(entry: ContentEntry | MetaEntry) -> Kind:
    """Return what kind of object an entry is of."""
    return entry.value.kind if isinstance(entry, ContentEntry) else entry.kind


def edits_left(row: Row) -> bool:
    """Return whether something here is of an object that was moved away, and has yet to follow."""
    entries = row.record.content.entries
    away = moved_from(row).keys() - {entry.birth for entry in entries if entry.carried}
    return any(entry.birth in away and kind_of(entry) is not Kind.ABSENT for entry in entries)


def is_of(entry: ContentEntry | MetaEntry, birth: Dot) -> bool:
    """Return whether an entry says something of this object, other than that it is gone."""
    return entry.birth == birth and kind_of(entry) is not Kind.ABSENT


def replaced_dots(ours: ContentEntry | MetaEntry, half: Half[ContentEntry] | Half[MetaEntry], birth: Dot) -> set[Dot]:
    """Return the entries of an object that have nothing but what this one was made from."""
    sources = {origin_of(ours), *ours.parents}
    return {entry.dot for entry in half.entries if is_of(entry, birth) and origin_of(entry) in sources}


def taken_out(half: Half[E], replaced: set[Dot]) -> tuple[list[E], Half[E]]:
    """Return what goes from a half (these entries, and all that say that nothing is there), and what stands beside a new entry.

    The half returned has seen all that goes.
    """
    gone = [entry for entry in half.entries if entry.dot in replaced or kind_of(entry) is Kind.ABSENT]
    standing = tuple(entry for entry in half.entries if entry not in gone)
    return gone, Half(standing, half.seen)


def added(half: Half[E], entry: E) -> Half[E]:
    """Return a half with one more entry, which nothing in it has seen."""
    alone = Half((entry,), {entry.dot.incarnation: entry.dot.counter})
    return halves_joined(half, alone)


def moved_from(row: Row) -> dict[Dot, RelPath]:
    """Return where objects went from a path, by the latest version that says so."""
    entries = sorted(row.record.content.entries, key=lambda entry: (entry.hlc, entry.dot))
    return {move.object: move.target for entry in entries for move in entry.moves}


def rows_ahead(index: IndexPort, row: Row, moved: Dot) -> Iterator[tuple[RelPath, Row]]:
    """Yield where an object went that was moved away from a path, move by move, and what is known there.

    Members who have not seen each other may have moved it to several places, and an edit have followed to any of them. What is known
    of a path may not say any more that one went from there, be it that the object is back: so that is remembered apart.
    """
    seen, left = set[RelPath](), [row]
    while left:
        there = left.pop(0)
        entries = sorted(there.record.content.entries, key=lambda entry: (entry.hlc, entry.dot), reverse=True)
        moves = [move for entry in entries for move in entry.moves]
        if there.departed is not None:
            moves.append(there.departed)
        for target in (move.target for move in moves if move.object == moved):
            found = index.row(target) if target not in seen else None
            if found is not None:
                seen.add(target)
                left.append(found)
                yield target, found


def _is_bytes(entry: ContentEntry) -> bool:
    return entry.value.kind is not Kind.DIRECTORY
