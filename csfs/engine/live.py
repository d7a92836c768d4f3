"""What a path should show, derived from its record and from what is live below it, and how that differs from the disk."""

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from csfs.core import acls, policies, versions
from csfs.core.objects import NO_LINEAGE, Applied, Content, Kind, Lineage, Meta, Observation
from csfs.core.policies import Ranks
from csfs.core.privileges import SHARED_PERMISSIONS, limited
from csfs.core.records import NOTHING_KNOWN, ContentEntry, Half, MetaEntry, Record, write_of
from csfs.core.rows import Arrived
from csfs.core.versions import Dot, Vector
from csfs.engine.ports import Row, Step
from csfs.engine.rules import GroupRules

ABSENT: Final = Content(Kind.ABSENT)
DIRECTORY: Final = Content(Kind.DIRECTORY)
NO_META: Final = Meta(0, 0, 0)
"""The meta of what is absent."""
PRIVATE_META: Final = Meta(0o700, 0, 0, "root", "root")
"""For a directory that has to exist and of which nothing is known: it must not grant what its maker did not."""
NO_TIME_NS: Final = 315_619_200 * 10**9
"""The time of a directory that has to exist and of which no time is known: 2 January 1980, which every archive and disk can say."""
COARSEST_TIME_NS: Final = 2_000_000_000
"""FAT keeps two seconds."""
NOTHING_APPLIED: Final = Applied(observation=None)


class Live(msgspec.Struct, frozen=True):
    """What a path should show. `meta` is None exactly when it is nothing; `mtime_ns` None leaves the time as it is.

    `entry` is the winner, None where nothing is known or a directory lives by what is below it alone (R16).
    """

    content: Content
    entry: ContentEntry | None = None
    meta: Meta | None = None
    meta_dot: Dot | None = None
    mtime_ns: int | None = None

    @property
    def content_dot(self) -> Dot | None:
        """The winner's dot."""
        return self.entry.dot if self.entry is not None else None

    @property
    def write(self) -> Dot | None:
        """What all names of what is live share; None for what has one name."""
        is_named = self.entry is not None and self.content.kind not in (Kind.ABSENT, Kind.DIRECTORY)
        return write_of(self.entry) if is_named and self.entry is not None else None


NOTHING_LIVE: Final = Live(ABSENT)


def is_plain_directory(record: Record) -> bool:
    """Return whether a directory is all that the record can mean, whatever is below it."""
    entries = record.content.entries
    return len(entries) == 1 and entries[0].value.kind is Kind.DIRECTORY


def is_live(record: Record) -> bool:
    """Return whether the winner, by the path's own record, is something other than absent."""
    return any(is_something(entry) for entry in record.content.entries)


def holds_directory(record: Record) -> bool:
    """Return whether a directory is among what the record may mean, so that its time counts."""
    return any(entry.value.kind is Kind.DIRECTORY for entry in record.content.entries)


def live_of(
    record: Record,
    applied: Applied,
    below: bool,
    policy: tuple[str, ...],
    ranks: Ranks,
    without: Collection[bytes] = (),
) -> Live:
    """Return what the path should show; `below` says that something below it is live, so it has to be a directory.

    `without` are hashes of contents that are not to be had: the best of the other entries is live meanwhile, if there is one (R21).
    """
    entries: Sequence[ContentEntry] = record.content.entries
    if without:
        entries = [entry for entry in entries if entry.value.hash not in without] or entries
    candidates = [e for e in entries if e.value.kind is Kind.DIRECTORY] if below else entries
    entry = policies.content_winner(candidates, policy, ranks, applied.content_dot)
    if entry is not None:
        content, snapshot = entry.value, entry.snapshot
    elif below:
        # As of its time: who removed it may be known here alone, where something else is live, and no set hash tells that (R13).
        content, snapshot = DIRECTORY, None if stands_in(record) else removed_meta(record.content)
    else:
        return NOTHING_LIVE
    if content.kind is Kind.ABSENT:
        return Live(ABSENT, entry)
    meta, meta_dot = policies.live_meta(record.meta, content, snapshot, policy, ranks, applied.meta_dot)
    if meta is not None and snapshot is not None and _is_of_another(meta_entry(record, meta_dot), entry):
        meta = limited(meta, [snapshot])
    mtime_ns = directory_time(record) if content.kind is Kind.DIRECTORY else content.mtime_ns
    return Live(content, entry, meta or PRIVATE_META, meta_dot, mtime_ns)


def _is_of_another(meta: MetaEntry | None, entry: ContentEntry | None) -> bool:
    """Return whether a meta was given to another file, which took the place of this one: nobody opened this one to more (R5)."""
    if meta is None or entry is None or entry.value.kind is Kind.DIRECTORY:
        return False
    is_of_another = meta.birth is not None and entry.birth is not None and meta.birth != entry.birth
    return is_of_another or is_for_other_bytes(meta, entry.value)


def is_for_other_bytes(meta: MetaEntry, content: Content) -> bool:
    """Return whether a meta was decided on for other bytes than these: it opens them to nobody (R5)."""
    return meta.decided and content.kind is not Kind.DIRECTORY and meta.hash != content.hash


def is_limited(record: Record, applied: Applied, after: Observation, meta: Meta) -> bool:
    """Return whether new bytes are where group and others may do less, by this meta, than a version allows that is represented there.

    What limits it may go. Who takes away by chmod what is not shown anyway, and writes, has changed nothing but the bytes (R5).
    """
    if applied.observation is None or holds(after, content_of(applied.observation)):
        return False
    seen = applied.meta_seen
    allowed = [e.value.mode for e in record.meta.entries if e.kind is after.kind and versions.covers(seen, e.dot)]
    return any(mode & SHARED_PERMISSIONS & ~meta.mode for mode in allowed)


def stands_in(record: Record) -> bool:
    """Return whether a directory here lives by what is below it alone, in the place of something that is none."""
    return is_live(record) and not holds_directory(record)


def directory_time(record: Record) -> int:
    """Return the time of a directory here.

    One that stands in for something else has the time of that: of a time that its record says, another member may know no more,
    and nobody would ever find out (R13). One of which nobody knows a time has the same everywhere: what its disk shows is a trace of
    each member's own commits.
    """
    if stands_in(record):
        last = max(record.content.entries, key=lambda entry: (is_something(entry), entry.hlc, entry.dot))
        return last.value.mtime_ns
    return record.time.mtime_ns if record.time is not None else NO_TIME_NS


def is_something(entry: ContentEntry) -> bool:
    """Return whether an entry says that something is there."""
    return entry.value.kind is not Kind.ABSENT


def removed_meta(half: Half[ContentEntry]) -> Meta | None:
    """Return the meta of the directory that was removed and lives on."""
    removed = [e for e in half.entries if e.value.kind is Kind.ABSENT and e.snapshot is not None]
    return max(removed, key=lambda entry: (entry.hlc, entry.dot)).snapshot if removed else None


def difference(applied: Applied, live: Live) -> Step | None:
    """Return what has to be done so that the disk shows what is live, None if it does."""
    observation = applied.observation
    if observation is None:
        return None if live.content.kind is Kind.ABSENT else Step.INSTALL
    if live.content.kind is Kind.ABSENT:
        return Step.REMOVE
    if not holds(observation, live.content):
        return Step.INSTALL
    if live.mtime_ns is not None and live.mtime_ns != shown_mtime_ns(applied):
        return Step.ATTRIBUTES
    assert live.meta is not None, "an object without meta"
    shown = applied.meta or meta_of(observation)
    # Only the host itself knows whether a name and a number are the same there.
    return None if is_exactly(shown, live.meta) else Step.ATTRIBUTES


def holds(observation: Observation, content: Content) -> bool:
    """Return whether the object found is this content, its time aside."""
    return (
        observation.kind is content.kind
        and observation.size == content.size
        and observation.hash == content.hash
        and observation.target == content.target
        and observation.device == content.device
    )


def stands_for_time(found_ns: int, wanted_ns: int | None) -> bool:
    """Return whether a disk may show the one time for the other: some keep microseconds, or less."""
    if wanted_ns is None or found_ns == wanted_ns:
        return True
    return found_ns % 100 == 0 and found_ns < wanted_ns < found_ns + COARSEST_TIME_NS


def shown_mtime_ns(applied: Applied) -> int | None:
    """Return the time that the disk shows, or stands for where it cannot show it exactly."""
    if applied.mtime_ns is not None:
        return applied.mtime_ns
    return applied.observation.mtime_ns if applied.observation is not None else None


def content_of(observation: Observation | None) -> Content:
    """Return the content half of what was found."""
    if observation is None:
        return ABSENT
    if observation.kind is Kind.DIRECTORY:
        return DIRECTORY
    return Content(
        observation.kind,
        observation.size,
        observation.hash,
        observation.mtime_ns,
        observation.target,
        observation.device,
    )


def meta_of(observation: Observation) -> Meta:
    """Return the meta half of what was found."""
    return Meta(
        observation.mode,
        observation.uid,
        observation.gid,
        observation.owner,
        observation.group,
        observation.xattrs,
    )


def names_kept(before: Observation | None, found: Observation) -> Observation:
    """Return what was found with the names that numbers had before and have not now: a directory service may be away.

    To a host on which another one has the number, it would be his.
    """
    if before is None or before.kind is not found.kind:
        return found
    owner = found.owner or (before.owner if before.uid == found.uid else "")
    group = found.group or (before.group if before.gid == found.gid else "")
    xattrs = acls.names_kept(before.xattrs, found.xattrs)
    if (owner, group, xattrs) == (found.owner, found.group, found.xattrs):
        return found
    return msgspec.structs.replace(found, owner=owner, group=group, xattrs=xattrs)


def is_same_meta(ours: Meta, theirs: Meta) -> bool:
    """Return whether two metas mean the same: owner and group, and who has rights by ACLs, by name, by number where one has no name."""
    return (
        ours.mode == theirs.mode
        and acls.are_same(ours.xattrs, theirs.xattrs)
        and _is_same_owner(ours.owner, ours.uid, theirs.owner, theirs.uid)
        and _is_same_owner(ours.group, ours.gid, theirs.group, theirs.gid)
    )


def is_exactly(wanted: Meta, found: Meta) -> bool:
    """Return whether a new entry made from what was found would say what was wanted; numbers of known names aside."""
    return is_same_meta(wanted, found) and wanted.owner == found.owner and wanted.group == found.group


def stands_for(applied: Applied, meta: Meta, kind: Kind) -> bool:
    """Return whether what is applied stands for this meta of an object of this kind, whatever the numbers of owners are here.

    An owner without a name is not one with a name: elsewhere they may have other numbers.
    """
    shown = applied.observation
    return shown is not None and shown.kind is kind and is_exactly(applied.meta or meta_of(shown), meta)


def _is_same_owner(name: str, number: int, other_name: str, other_number: int) -> bool:
    return name == other_name if name and other_name else number == other_number


def context_of(
    half: Half[ContentEntry], live: Live, applied: Applied, policy: tuple[str, ...], *, best: bool = True
) -> Vector:
    """Return what a change to the live content has seen: everything, but where the policy leaves the choice open (R3).

    Nor has it where a `best` one is still wanted, and another is shown. Entries of one incarnation at one path follow each other, so
    that a vector can leave out one of them and nothing older.
    """
    if best and not policies.is_left_open(half.entries, policy):
        return half.seen
    seen = dict(half.seen)
    for entry in half.entries:
        if entry.dot != live.content_dot and not versions.covers(applied.content_seen, entry.dot):
            seen[entry.dot.incarnation] = entry.dot.counter - 1
    return seen


def applied_as(
    observation: Observation | None,
    live_mtime_ns: int | None,
    live_meta: Meta | None,
    content: tuple[Dot | None, Vector],
    meta: tuple[Dot | None, Vector],
    *,
    lineage: Lineage = NO_LINEAGE,
    racy: bool = False,
) -> Applied:
    """Return what is applied once the disk stands for these values: what it cannot show exactly is remembered (R4)."""
    mtime_ns, kept_meta = None, None
    if observation is not None:
        if live_mtime_ns is not None and live_mtime_ns != observation.mtime_ns:
            mtime_ns = live_mtime_ns
        if live_meta is not None and not is_exactly(live_meta, meta_of(observation)):
            kept_meta = live_meta
    return Applied(
        observation=observation,
        content_dot=content[0],
        content_seen=content[1],
        meta_dot=meta[0],
        meta_seen=meta[1],
        racy=racy,
        mtime_ns=mtime_ns,
        meta=kept_meta,
        lineage=lineage,
    )


def lineage_of(record: Record, content_dot: Dot | None, meta_dot: Dot | None, before: Applied) -> Lineage:
    """Return the lineage of what these entries make of a path; what is known no more, and stays, is as it was `before`."""
    content, meta = content_entry(record, content_dot), meta_entry(record, meta_dot)
    old = before.lineage
    made, said = old, old
    if content is not None:
        made = Lineage(content.birth, policies.origin_of(content), content.parents, write=write_of(content))
    elif content_dot != before.content_dot:
        made = NO_LINEAGE
    if meta is not None:
        said = Lineage(meta_origin=policies.origin_of(meta), meta_parents=meta.parents, decided=meta.decided)
    elif meta_dot != before.meta_dot:
        said = NO_LINEAGE
    return Lineage(
        made.birth,
        made.origin,
        made.parents,
        said.meta_origin,
        said.meta_parents,
        made.write,
        said.decided,
        made.overruled,
    )


def meta_entry(record: Record, dot: Dot | None) -> MetaEntry | None:
    """Return the entry with this dot if nothing superseded it."""
    return next((entry for entry in record.meta.entries if entry.dot == dot), None)


def content_entry(record: Record, dot: Dot | None) -> ContentEntry | None:
    """Return the entry with this dot if nothing superseded it."""
    return next((entry for entry in record.content.entries if entry.dot == dot), None)


def known_entry(row: Row, content: Content, live: Live | None) -> ContentEntry | None:
    """Return the known entry, not applied before, that the disk shows: what a crash kept from being recorded (R4).

    None while an entry still stands that somebody here has replaced: to adopt another would not take that one away.
    """
    if live is None:
        return None
    seen, entries = row.applied.content_seen, row.record.content.entries
    if any(versions.covers(seen, entry.dot) for entry in entries):
        return None
    known = [entry for entry in entries if entry.value == content]
    return next((entry for entry in known if entry is live.entry), known[0] if known else None)


def unshown(arrived: Arrived | None, record: Record, applied: Applied) -> Arrived | None:
    """Return what there is to remember of an edit that followed a move here: nothing once it is shown, or superseded (R15)."""
    entry = content_entry(record, arrived.dot) if arrived is not None else None
    if entry is None or (applied.observation is not None and holds(applied.observation, entry.value)):
        return None
    return arrived


def new_row(group: GroupRules) -> Row:
    """Return the row of a path of which nothing is known."""
    return Row(record=NOTHING_KNOWN, applied=NOTHING_APPLIED, scope=group.scope, live=False, pending=False)
