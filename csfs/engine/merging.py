"""The policy `merge` (R7): files that several members changed become one, made by one of them.

The merge is a change that has seen all that is known, and a pure function of the entries and the contents that they came
from: two members that both make it make the same. Until it is there the next policy decides, and for good where there is none.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from csfs.core import merging, policies, versions
from csfs.core.objects import Content, Kind, Meta
from csfs.core.paths import RelPath, name_of
from csfs.core.privileges import limited, without_privileges
from csfs.core.records import Ancestor, ContentEntry, Half, MetaEntry, Record, write_of
from csfs.core.versions import Dot, Hlc
from csfs.engine.ancestry import (
    common_ancestor,
    latest_dots,
    line_of,
    line_of_all,
    may_be_merged,
    overruled_in,
)
from csfs.engine.following import edits_left, is_of, moved_from, rows_ahead
from csfs.engine.links import entry_of
from csfs.engine.live import holds, is_live, live_of, meta_entry
from csfs.engine.moving import merged_moves
from csfs.engine.ports import Row
from csfs.engine.rules import GroupRules
from csfs.engine.state import State


class Merge(msgspec.Struct, frozen=True):
    """A merge that is to be made here: versions by dot, each put together with those before it on what both came from."""

    path: RelPath
    versions: tuple[ContentEntry, ...]
    bases: tuple[Ancestor, ...]

    def needed(self) -> dict[bytes, int]:
        """Return the sizes of the contents that it takes, by hash."""
        return {entry.value.hash: entry.value.size for entry in self.versions} | {
            base.hash: base.size for base in self.bases
        }

    def made(self, content_of: Callable[[bytes], bytes]) -> bytes | None:
        """Return what becomes of it, None if the versions contradict each other. May take a second: for a thread."""
        name = name_of(self.path)
        result: bytes | None = content_of(self.versions[0].value.hash)
        for entry, base in zip(self.versions[1:], self.bases, strict=True):
            if result is None:
                return None
            result = merging.merged(name, content_of(base.hash), result, content_of(entry.value.hash))
        return result


class Merging(State):
    """Says what is to be merged, and takes in what came of it."""

    def merge_due(self, path: RelPath) -> Merge | None:
        """Return the merge that this member has to make at a path, None if there is none, or another member has to make it."""
        group, row = self._followed(path), self._index.row(path)
        if group is None or row is None or self.pulling or not policies.merges(group.policy):
            return None
        if edits_left(row):
            # They are put together where they follow their object to (R15).
            return None
        entries, overtaken = row.record.content.entries, self._overtaken.get(path)
        if overtaken is None and (len(entries) < 2 or self._designated(row, group) != self._member):
            return None
        if self._live(path, row.record, row.applied, group).content.kind not in (Kind.FILE, Kind.ABSENT):
            return None
        return _merge(path, policies.contenders(entries if overtaken is None else (*entries, overtaken)), overtaken)

    def merge(self, due: Merge, content_hash: bytes, size: int, now_ns: int) -> bool:
        """Have what came of a merge, which is here, replace what it was made of; return whether it is still asked for.

        Other paths that are to be planned then are `woken`.
        """
        path = due.path
        if self.merge_due(path) != due:
            return False
        group, row = self._followed(path), self._index.row(path)
        assert group is not None, "a merge of what is not followed"
        assert row is not None, "a merge of nothing"
        together = [(path, due, row), *self._merged_along(path, due, row, group)]
        hlc = max(self._tick(now_ns, one.record) for _, _, one in together)
        write = self._merge_one(due, row, group, (content_hash, size), hlc, None)
        for name, theirs, found in together[1:]:
            self._merge_one(theirs, found, group, (content_hash, size), hlc, write)
            self._woken[name] = None
        return True

    def _merged_along(self, path: RelPath, due: Merge, row: Row, group: GroupRules) -> list[tuple[RelPath, Merge, Row]]:
        """Return the other names of the inode that has to be merged, at which the same versions stand (R17)."""
        entry = entry_of(row.record, row.write) if row.write is not None else None
        names = self._links.linked(path, group.scope, entry) if entry is not None else ()
        merges = [(name, self.merge_due(name), found) for name, found in names]
        writes = {write_of(version) for version in due.versions}
        return [
            (name, theirs, found)
            for name, theirs, found in merges
            if theirs is not None and {write_of(version) for version in theirs.versions} == writes
        ]

    def _merge_one(
        self, due: Merge, row: Row, group: GroupRules, made: tuple[bytes, int], hlc: Hlc, write: Dot | None
    ) -> Dot:
        """Have what was made (hash and size) replace the versions at one path; return the dot."""
        path, half, (content_hash, size) = due.path, row.record.content, made
        dot = self._mint(group.scope, row.record)
        # Later than all of them: who goes by times alone has to see that it is something new.
        mtime_ns = max(entry.value.mtime_ns for entry in due.versions) + 1
        value = Content(Kind.FILE, size, content_hash, mtime_ns)
        seen = {entry.dot: entry for entry in (*half.entries, *due.versions)}.values()
        same = next((entry for entry in due.versions if entry.value.hash == content_hash), None)
        # What has all of one version is its object: edits of that may be under another name yet, and are to follow it here (R15).
        birth = (same or due.versions[0]).birth
        entry = ContentEntry(
            dot,
            hlc,
            value,
            _snapshot(due.versions),
            birth,
            _parents(due.versions),
            merged_moves(list(seen), birth),
            write=write,
            origin=policies.origin_of(same) if same is not None else None,
            overruled=overruled_in(seen),
            merged=latest_dots((entry.merged for entry in seen), [entry.dot for entry in seen]),
            ancestors=line_of_all(seen),
        )
        self._overtaken.pop(path, None)
        record = Record(Half((entry,), versions.with_dot(half.seen, dot)), row.record.meta, row.record.time)
        if not is_live(row.record):
            record = self._said_anew(entry, record, row, group)
        # Also where the disk shows it already: a plan finds that, and adopts it.
        self._store(path, row, record, row.applied, group, True)
        if not row.live:
            # A removal overtook it: by now something else may be where its directory was.
            self._turn_ancestors({path: True}, self._woken)
        return dot

    def _said_anew(self, entry: ContentEntry, record: Record, row: Row, group: GroupRules) -> Record:
        """Return a record in which what comes back says its meta anew: others may have forgotten all that was said of it (R12)."""
        live = live_of(record, row.applied, False, group.policy, self._ranks(group, record))
        assert live.meta is not None, "a merge without meta"
        before = meta_entry(record, live.meta_dot)
        origin, parents = (policies.origin_of(before), before.parents) if before is not None else (None, ())
        is_same = before is not None and before.value == live.meta
        dot = self._mint(group.scope, record)
        said = MetaEntry(
            dot,
            entry.hlc,
            live.meta,
            Kind.FILE,
            entry.value.hash,
            entry.birth,
            parents if is_same else policies.parents_with(parents, origin),
            origin if is_same else None,
            decided=before is not None and before.decided,
        )
        seen = self._seen_with(dot, record.meta.seen, record.meta, group.scope)
        return Record(record.content, Half((said,), seen), record.time)

    def held(self, path: RelPath) -> frozenset[bytes]:
        """Return the hashes of contents that may become the base of a merge at a path, or are the result of one."""
        group, row = self._followed(path), self._index.row(path)
        if group is None or row is None or not policies.merges(group.policy):
            return frozenset()
        shown, entries = row.applied.observation, row.record.content.entries
        found = {entry.value.hash for entry in entries if may_be_merged(entry.value)}
        found.update(ancestor.hash for entry in entries for ancestor in entry.ancestors)
        found.update(entry.value.hash for entry in self._gone_ahead(row))
        if path in self._overtaken:
            found.add(self._overtaken[path].value.hash)
        if shown is not None and shown.kind is Kind.FILE and shown.size <= merging.MERGED_SIZE_MAX:
            found.add(shown.hash)
        return frozenset(found)

    def _gone_ahead(self, row: Row) -> Iterator[ContentEntry]:
        """Yield merges that may have been made at a path, went where their object is, and are not shown there yet (R15)."""
        for moved in moved_from(row):
            for _, there in rows_ahead(self._index, row, moved):
                shown = there.applied.observation
                for entry in there.record.content.entries:
                    if entry.merged and is_of(entry, moved) and (shown is None or not holds(shown, entry.value)):
                        yield entry

    def _designated(self, row: Row, group: GroupRules) -> str | None:
        """Return who has to merge: of those that made the versions, and may change the path, the first of the group."""
        authors = {self._authors.get(entry.dot.incarnation) for entry in row.record.content.entries}
        return next(
            (member for member in group.members if member in authors and member not in group.receive_only), None
        )


def _merge(path: RelPath, entries: Sequence[ContentEntry], overtaken: ContentEntry | None) -> Merge | None:
    """Return the merge of all these; None if there is nothing to merge, or two of them came from nothing in common."""
    if not all(may_be_merged(entry.value) for entry in entries):
        return None
    distinct = {entry.value.hash: entry for entry in sorted(entries, key=lambda entry: entry.dot, reverse=True)}
    ordered = tuple(sorted(distinct.values(), key=lambda entry: entry.dot))
    bases: list[Ancestor] = []
    for count, entry in enumerate(ordered[1:], 1):
        base = common_ancestor(line_of_all(ordered[:count]), line_of(entry))
        if base is None:
            return None
        bases.append(base)
    # A merge that a removal overtook lives as an edit would.
    return Merge(path, ordered, tuple(bases)) if bases or ordered == (overtaken,) else None


def _snapshot(entries: Sequence[ContentEntry]) -> Meta | None:
    """Return the meta of the latest, as far as group and others are concerned limited to what all allow.

    Nobody has given privileges to the bytes that the merge makes (R5).
    """
    found = [entry.snapshot for entry in sorted(entries, key=lambda entry: (entry.hlc, entry.dot)) if entry.snapshot]
    return without_privileges(limited(found[-1], found)) if found else None


def _parents(entries: Sequence[ContentEntry]) -> tuple[Dot, ...]:
    """Return what something was made from that was put together from all of these."""
    parents = tuple(dict.fromkeys(dot for entry in entries for dot in entry.parents))
    for entry in entries:
        parents = policies.parents_with(parents, policies.origin_of(entry))
    return parents
