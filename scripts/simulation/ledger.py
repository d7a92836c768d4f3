"""What all users together did: what the checks at the end of a run hold a cluster to."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from csfs.core.objects import Content
from csfs.core.paths import RelPath
from csfs.core.versions import Dot, Vector
from scripts.simulation.acknowledged import Acknowledged
from scripts.simulation.tree import hash_of


def slots_of(text: bytes) -> list[bytes]:
    """Return the parts of a text that users edit, each below a heading of its own; none for what is no such text."""
    return text.split(b"\n")[1::2]


def text_of(slots: list[bytes]) -> bytes:
    """Return a text with these parts."""
    return b"\n".join(b"[%d]\n%s" % (number, slot) for number, slot in enumerate(slots))


class Grant(NamedTuple):
    """When, by a user of which member, and what group and others may do."""

    step: int
    member: str
    bits: int


class Secret(NamedTuple):
    """When, and by a user of which member, something was written that others may not see.

    `forgotten` are the steps that were taken back before that, when this member was set back: what it did in them is for it as if
    another member had done it.
    """

    step: int
    member: str
    forgotten: tuple[range, ...] = ()


class Forgotten(NamedTuple):
    """Who was in the group in which a removal was forgotten, and the changes that it had seen."""

    members: tuple[str, ...]
    seen: Vector


Shown = tuple[bytes, int]
"""A content and its time, in microseconds: not every disk keeps more."""


@dataclass
class Ledger:
    """Contents are unique: each is written once, by one user, at one path."""

    written: dict[bytes, RelPath] = field(default_factory=dict)
    replaced: set[bytes] = field(default_factory=set)
    """Contents that a user replaced or removed where they were shown."""
    merged_in: set[bytes] = field(default_factory=set)
    """Contents that merges have which some member showed."""
    granted: set[bytes] = field(default_factory=set)
    """Contents that a user made setuid."""
    enabled: set[bytes] = field(default_factory=set)
    """Contents that a user gave a capability."""
    excused: set[bytes] = field(default_factory=set)
    """Contents that were lost with a disk, before anybody else had them."""
    damaged: set[bytes] = field(default_factory=set)
    """What power cuts have left of contents, and no user has moved about since."""
    claimed: set[bytes] = field(default_factory=set)
    """Such contents that users have moved about since: another cut may leave the same elsewhere."""
    made: set[RelPath] = field(default_factory=set)
    taken: set[RelPath] = field(default_factory=set)
    """Paths at which users made something, and from which they, or a disaster, took something away since."""
    paths: set[RelPath] = field(default_factory=set)
    """Every path that a user ever made."""
    modes: dict[RelPath, list[Grant]] = field(default_factory=dict)
    """By path, what users allowed group and others."""
    secrets: dict[bytes, Secret] = field(default_factory=dict)
    """Contents that were written where group and others could do nothing."""
    objects: dict[bytes, int] = field(default_factory=dict)
    """By content, which file it was written into."""
    travels: dict[int, list[tuple[RelPath, RelPath]]] = field(default_factory=dict)
    """By file, where users moved it, from where, as it happened."""
    parents: dict[bytes, bytes] = field(default_factory=dict)
    """By content, what was in the file before."""
    aware: set[bytes] = field(default_factory=set)
    """Contents that were written, or touched, under a name of which it was known that it was an old one."""
    stays: set[tuple[int, RelPath]] = field(default_factory=set)
    """Files, with names under which that happened: from then on they are there as well."""
    hands: set[tuple[str, RelPath]] = field(default_factory=set)
    """At which paths each member's users made something, set its time, or moved something to."""
    moves: Counter[tuple[Dot, RelPath]] = field(default_factory=Counter)
    """How often users moved each object away from each of its names, as members found out."""
    arrived: set[tuple[RelPath, bytes]] = field(default_factory=set)
    """Where edits followed moves to, with the hashes of their bytes."""
    writers: dict[bytes, str] = field(default_factory=dict)
    """By content, the member whose user wrote it."""
    touched: dict[bytes, set[str]] = field(default_factory=dict)
    """By content, the members whose users set its time: each made a version of its own of it."""
    merges: dict[tuple[object, ...], bytes] = field(default_factory=dict)
    """By what was merged on what, the result."""
    sources: dict[bytes, set[bytes]] = field(default_factory=dict)
    """By result of a merge, what it was made of."""
    from_nothing: list[tuple[RelPath, Vector]] = field(default_factory=list)
    """Paths at which a member made something, and knew of nothing there, with what it has seen of others: all that it knew (R12)."""
    orphans: dict[bytes, set[str]] = field(default_factory=dict)
    """By content for which no author speaks, the members that have it: what a merge made, and what its author has lost since."""
    gone: dict[RelPath, Vector] = field(default_factory=dict)
    """By path, the changes that somebody knew everybody to have settled when he forgot what removed it."""
    forgotten: dict[RelPath, list[Forgotten]] = field(default_factory=dict)
    """By path, the removals that were forgotten."""
    names: dict[RelPath, set[RelPath]] = field(default_factory=dict)
    """By path, those that were ever linked to it, by way of others too."""
    named: dict[RelPath, list[str]] = field(default_factory=dict)
    """By path, the member whose user put an object there, or took one away, as it happened."""
    last: dict[RelPath, set[Shown]] = field(default_factory=dict)
    """What users gave each path last: several, if some had not seen what others gave it."""
    told: dict[RelPath, set[Shown]] = field(default_factory=dict)
    """By path, what a member showed there when it was set back, others may know of it, and that member does not know that they do:
    what is put in its place there has not seen it (R8)."""
    together: dict[tuple[RelPath, RelPath], tuple[int, int]] = field(default_factory=dict)
    """Paths that a user linked, and through which nobody has written since who had them apart; how often each was `named` then."""
    doubled: set[RelPath] = field(default_factory=set)
    """Paths that a user changed at a member before it was cloned, and of which each of its two hosts makes a version: it
    found them changed, or nobody had stored what it had made of them (R8). Or at which one that was set back shows nothing, and
    its lost life has told more."""
    untold: set[tuple[RelPath, RelPath]] = field(default_factory=set)
    """What users renamed or exchanged, from where to where, that is another file for all members: a power cut has left no row of it,
    or nothing that its member knew of it, and none had heard (R24), or its member found then that it was set back, and did not know
    of any that had (R8)."""
    acknowledged: list[Acknowledged] = field(default_factory=list)
    """What programs were told that other members have."""
    steps: int = 0

    def wrote(self, path: RelPath, data: bytes, member: str = "") -> None:
        """A user wrote a new content, into a new file."""
        self.written[data] = path
        self.writers[data] = member
        self.objects[data] = len(self.objects)

    def edited(self, before: bytes, after: bytes, *, aware: bool) -> None:
        """A user wrote the latter into the file that had the former; `aware`: though it was known there that it was moved."""
        self.parents[after] = before
        if before in self.objects:
            self.objects[after] = self.objects[before]
        if aware or before in self.aware:
            self.stayed(self.written[after], after)

    def stayed(self, path: RelPath, data: bytes) -> None:
        """A user made this of a file under a name of which it was known that it was an old one."""
        self.aware.add(data)
        if data in self.objects:
            self.stays.add((self.objects[data], path))

    def led_to(self, data: bytes, later: bytes | None) -> bool:
        """Return whether one content was in the file before another one."""
        while later is not None and later != data:
            later = self.parents.get(later)
        return later is not None

    def travelled(self, data: bytes, source: RelPath, target: RelPath) -> None:
        """A user moved the file with this content."""
        if data in self.objects:
            self.travels.setdefault(self.objects[data], []).append((source, target))

    def merged(self, path: RelPath, versions: tuple[bytes, ...], bases: tuple[bytes, ...], result: bytes) -> None:
        """A member put versions together: every member makes the same of them, and what each side did alone is there."""
        before = self.merges.setdefault((path, versions, bases), result)
        assert before == result, f"merges of {versions} differ: {before!r} and {result!r}"
        if len(versions) == 2:
            for ours, theirs in (versions, reversed(versions)):
                for base, our, their, slot in zip(*map(slots_of, (bases[0], ours, theirs, result)), strict=False):
                    assert slot == our or their != base, f"{result!r} lacks {our!r} of {versions}"
        self.sources.setdefault(result, set()).update(versions)

    def installed(self, path: RelPath, data: bytes, member: str) -> None:
        """A member shows a content: if it is the result of a merge, what that was made of is seen by it from now on."""
        if data in self.sources:
            self.written.setdefault(data, path)
            self.orphans.setdefault(data, set()).add(member)
            self.merged_in |= self.origins(data) - {data}

    def origins(self, data: bytes) -> set[bytes]:
        """Return a content and all that it was put together from."""
        found, left = set[bytes](), [data]
        while left:
            one = left.pop()
            if one not in found:
                found.add(one)
                left += self.sources.get(one, ())
        return found

    def gave(self, path: RelPath, member: str, mode: int) -> None:
        """A user gave something at a path its mode."""
        self.modes.setdefault(path, []).append(Grant(self.steps, member, mode & 0o077))

    def allowed(self, data: bytes, path: RelPath) -> int:
        """Return what users allowed group and others at a path, but for what the content's writer knew that he had done before."""
        written = self.secrets[data]
        bits = 0
        for grant in (grant for name in self.names.get(path, {path}) for grant in self.modes.get(name, ())):
            is_forgotten = any(grant.step in steps for steps in written.forgotten)
            if grant.member != written.member or grant.step >= written.step or is_forgotten:
                bits |= grant.bits
        return bits

    def followed(self, source: RelPath, target: RelPath, content: Content | None) -> None:
        """What was given at one path, and bytes, if any, go where the object is: to that name of it alone."""
        self.modes.setdefault(target, []).extend(self.modes.get(source, ()))
        self.arrived.add((target, content.hash if content is not None else b""))
        edited = [data for data in self.written if content is not None and hash_of(data) == content.hash]
        for data in edited:
            assert content is not None
            self.changed(target, [target], None, (data, content.mtime_ns // 1_000))

    def is_untold(self, source: RelPath, target: RelPath) -> bool:
        """Return whether nobody is told of what moved a file, by itself or with a directory above it."""
        return any(
            target == to + source[len(by) :] and source[: len(by)] == by and source[len(by) :][:1] in (b"", b"/")
            for by, to in self.untold
        )

    def linked(self, source: RelPath, target: RelPath) -> None:
        """What is given at one of these paths may be shown at the other from now on."""
        together = self.names.get(source, {source}) | self.names.get(target, {target})
        self.names.update(dict.fromkeys(together, together))

    def name(self, path: RelPath, member: str) -> None:
        """A user of a member put an object at a path, or took one away."""
        self.named.setdefault(path, []).append(member)

    def keep_together(self, source: RelPath, target: RelPath, shown: Shown) -> None:
        """A user linked these; if that was made of all that was written to both, they stay linked whatever is written to them."""
        if all(self.last.get(path, set()) | self.told.get(path, set()) == {shown} for path in (source, target)):
            self.together[source, target] = len(self.named.get(source, ())), len(self.named[target])

    def part(self, pairs: Iterable[tuple[RelPath, RelPath]]) -> None:
        """Nobody knows any more that these are linked: a power cut took that before anybody else had heard of it (R24)."""
        for pair in pairs:
            del self.together[pair]

    def taken_as_it_is(self, path: RelPath, names: Sequence[RelPath]) -> None:
        """A user takes what a power cut has left under these names, of which nothing is heard: it is made anew (R8)."""
        self.part([pair for pair in self.together if len({path, *names}.intersection(pair)) == 1])

    def are_together(self, source: RelPath, target: RelPath) -> bool:
        """Return whether these are linked, and nobody has put anything else there since, or before without it being known there."""
        if (source, target) not in self.together:
            return False
        then, member = self.together[source, target], self.named[target][self.together[source, target][1] - 1]
        for path, count in zip((source, target), then, strict=True):
            named = self.named.get(path, [])
            if len(named) > 1 and (len(named) > count or set(named) != {member}):
                return False
        return not self._is_made_anew_apart(source, target)

    def _is_made_anew_apart(self, source: RelPath, target: RelPath) -> bool:
        """Return whether a member that was set back shows under one of these names alone what has been replaced under both.

        It makes that anew as a file of its own, which has not seen the link, nor what was written through it (R8).
        """
        return any(
            self.told.get(one, set()) - self.told.get(other, set()) - self.last.get(one, set())
            for one, other in ((source, target), (target, source))
        )

    def gives(self, path: RelPath, before: Shown | None, shown: Shown) -> None:
        """A user gives a path this, in the place of what was shown there."""
        self.last[path] = self.last.get(path, set()) - {before} | {shown}

    def changed(self, path: RelPath, names: Sequence[RelPath], before: Shown | None, shown: Shown) -> None:
        """A user changed a path whose object has these names."""
        for name in names:
            self.gives(name, before, shown)
        self.part([pair for pair in self.together if len({path, *names}.intersection(pair)) == 1])

    def moved(self, source: RelPath, target: RelPath, member: str, *, counts: bool) -> None:
        """What was ever given at one path may be shown at another from now on; `counts`: everywhere."""
        self.modes.setdefault(target, []).extend(self.modes.get(source, ()))
        if source in self.names:
            self.linked(source, target)
        self.taken.add(source)
        self.name(source, member)
        self.name(target, member)
        if counts:
            self.made.add(target)
        self.paths.add(target)
