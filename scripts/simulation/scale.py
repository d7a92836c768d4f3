"""`scripts/simulate --scale`: many members with many paths, each connected to every other, and what changes cost them.

The engines are those of production, the messages are encoded and compressed as links do it; trees are not simulated, what is planned is
taken for done. Everybody who has something to say says it at the same moment, which is the worst that can happen; what others
made is forwarded, as sessions do, once everybody has said what he knows.
"""

import copy
import resource
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from csfs.core import versions
from csfs.core.groups import GroupRule, Rules
from csfs.core.objects import Kind, Observation, Stamp
from csfs.core.paths import RelPath, depth_of
from csfs.core.versions import Incarnation, Scope, Vector
from csfs.engine.memory import MemoryIndex
from csfs.engine.ports import Plan
from csfs.engine.volume import VolumeEngine
from csfs.replicate.portions import portions
from csfs.wire.messages import UPDATES_MAX, PeerMessage, Records, Stored
from csfs.wire.streams import MessageWriter
from scripts.simulation.rules import VOLUME
from scripts.simulation.tree import hash_of

MEMBERS = 50
MEMBERS_MAX = 100
DIRECTORY_SIZE = 100
"""Files in one directory."""
NOW_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True)
class Everybody:
    """A volume with one group for all."""

    rules: tuple[GroupRule, ...]
    name: str = VOLUME


@dataclass
class Direction:
    """What one member says to another."""

    writer: MessageWriter
    position: int
    knowledge: dict[Scope, Vector]
    told: dict[Scope, Vector]
    """What the source has said that it knows."""
    flying: list[Records] = field(default_factory=list)


@dataclass
class Counts:
    """What was said: messages of records, and of what is known; their bytes on the wire, and copies of records that came."""

    messages: int = 0
    words: int = 0
    size: int = 0
    copies: int = 0

    def add(self, other: "Counts") -> None:
        """Count what another one has counted, too."""
        self.messages += other.messages
        self.words += other.words
        self.size += other.size
        self.copies += other.copies


class Member:
    """One member."""

    def __init__(
        self, number: int, names: tuple[str, ...], index: MemoryIndex, authors: dict[Incarnation, str]
    ) -> None:
        self.name, self.number, self.index = names[number], number, index
        rules = Rules.compiled(Everybody((GroupRule(names),)), self.name)
        self.engine = VolumeEngine(index, rules, self.name, Incarnation(number + 1), authors)

    def apply(self) -> None:
        """Take everything that is planned for done."""
        for path in sorted(self.index.pending(), key=depth_of):
            plan = self.engine.plan(path)
            if plan is not None:
                self.engine.applied(plan, _shown(plan))
        self.index.commit()


class Cluster:
    """All members, of whom the first has made all paths and the others have got them."""

    def __init__(self, members: int, paths: int) -> None:
        self.names = tuple(f"m{number:02d}" for number in range(members))
        self.authors = {Incarnation(number + 1): name for number, name in enumerate(self.names)}
        self.paths = [RelPath(b"d%d/f%d" % (number // DIRECTORY_SIZE, number)) for number in range(paths)]
        first = Member(0, self.names, MemoryIndex(), self.authors)
        self._fill(first)
        before = _memory()
        second = Member(1, self.names, MemoryIndex(), self.authors)
        self.spread_size = self._spread(first, second)
        self.memory = (_memory() - before) / paths
        """Bytes of one member's memory for each path."""
        # Whoever received the same holds the same.
        others = [Member(number, self.names, _copied(second.index), self.authors) for number in range(2, members)]
        self.members = [first, second, *others]
        known = {member.number: dict(member.engine.knowledge()) for member in self.members}
        self.directions = {
            (one.number, other.number): Direction(
                MessageWriter(other.name), one.index.position(), dict(known[other.number]), dict(known[one.number])
            )
            for one in self.members
            for other in self.members
            if one is not other
        }

    def _fill(self, first: Member) -> None:
        observe = first.engine.observe
        observe(RelPath(b""), _found(0, Kind.DIRECTORY), NOW_NS)
        for number, path in enumerate(self.paths):
            if number % DIRECTORY_SIZE == 0:
                observe(RelPath(path.rpartition(b"/")[0]), _found(number, Kind.DIRECTORY), NOW_NS)
            observe(path, _found(number), NOW_NS)
        first.index.commit()

    def _spread(self, first: Member, second: Member) -> int:
        """Have one member get all paths; return the bytes that it took."""
        writer, position, size, done = MessageWriter(second.name), 0, 0, False
        while not done:
            out = first.engine.outgoing(position, {}, UPDATES_MAX, second.name)
            for part in portions(out.updates):
                size += _written(writer, Records(VOLUME, out.scope, out.position, part, out.mark))
            second.engine.receive(first.name, out.scope, out.updates, out.mark, NOW_NS)
            position, done = out.position, out.done
        second.apply()
        return size

    def change(self, random: Random, number: int) -> None:
        """Have a program at some member write to some file."""
        member = self.members[random.randrange(len(self.members))]
        member.engine.observe(random.choice(self.paths), _found(1_000_000 + number), NOW_NS + number)
        member.index.commit()

    def settle(self) -> Counts:
        """Have everybody say what he has to say until nobody has; return what it took."""
        counts, patient = Counts(), True
        while True:
            said = [pair for pair in self.directions if self._say(pair, counts, patient)]
            for one, other in said:
                self._hear(one, other)
            for member in self.members:
                member.apply()
            told = [pair for pair in self.directions if self._tell_knowledge(pair, counts)]
            if not (said or told or patient):
                return counts
            patient = bool(said or told)

    def _tell_knowledge(self, pair: tuple[int, int], counts: Counts) -> bool:
        """Say what is known if the other has not been told all of it but what was made here."""
        direction, source = self.directions[pair], self.members[pair[0]]
        knowledge = dict(source.engine.knowledge())
        ours = Incarnation(source.number + 1)
        if all(
            incarnation == ours or direction.told.get(scope, {}).get(incarnation, 0) >= counter
            for scope, vector in knowledge.items()
            for incarnation, counter in vector.items()
        ):
            return False
        direction.told = knowledge
        counts.words += 1
        counts.size += _written(direction.writer, Stored(VOLUME, direction.position, knowledge))
        for scope, vector in knowledge.items():
            _tell(self.directions[pair[1], pair[0]], scope, vector)
        return True

    def _say(self, pair: tuple[int, int], counts: Counts, patient: bool) -> bool:
        source, target = self.members[pair[0]], self.members[pair[1]]
        direction = self.directions[pair]
        out = source.engine.outgoing(direction.position, direction.knowledge, UPDATES_MAX, target.name)
        if patient and source.engine.is_hearsay(out):
            return False
        direction.position = max(direction.position, out.position)
        if not out.updates and out.mark is None:
            return False
        if out.mark is not None:
            _tell(direction, out.scope, out.mark)
        message = Records(VOLUME, out.scope, out.position, out.updates, out.mark)
        counts.messages += 1
        counts.size += _written(direction.writer, message)
        counts.copies += len(out.updates)
        direction.flying.append(message)
        return True

    def _hear(self, one: int, other: int) -> None:
        source, target = self.members[one], self.members[other]
        for message in self.directions[one, other].flying:
            target.engine.receive(source.name, message.scope, message.updates, message.mark, NOW_NS)
            if message.mark is not None:
                _tell(self.directions[other, one], message.scope, message.mark)
        self.directions[one, other].flying.clear()
        target.index.commit()

    def vectors(self) -> Counter[int]:
        """Return how long the vectors of a member's halves are, and how many of each length there are."""
        lengths = Counter[int]()
        for row in self.members[-1].index.rows().values():
            lengths.update((len(row.record.content.seen), len(row.record.meta.seen)))
        return lengths


def report(members: int, paths: int, changes: int) -> None:
    """Print what a cluster of that size costs."""
    begun = time.monotonic()
    cluster = Cluster(members, paths)
    print(f"{members} members, {paths} paths each, set up in {time.monotonic() - begun:.0f} s")
    print(
        f"memory: {cluster.memory:.0f} bytes a path and member; {_memory() / 2**20:.0f} MiB in all, shared where equal"
    )
    print(f"first exchange: {cluster.spread_size / paths:.0f} bytes a path on the wire, contents aside")
    random, total = Random(0), Counts()
    begun = time.monotonic()
    for number in range(changes):
        cluster.change(random, number)
        total.add(cluster.settle())
    each = changes * (members - 1)
    print(
        f"{changes} changes, one after the other, in {time.monotonic() - begun:.0f} s; for each change and receiver: "
        f"{total.messages / each:.2f} messages of records with {total.copies / each:.2f} copies of the record, "
        f"{total.words / each:.2f} of what is known, {total.size / each:.0f} bytes in all"
    )
    lengths = cluster.vectors()
    mean = sum(length * count for length, count in lengths.items()) / sum(lengths.values())
    known = cluster.members[-1].engine.knowledge()
    print(
        f"vectors: {mean:.2f} incarnations in a half, {max(lengths)} at most; knowledge: {max(map(len, known.values()))}"
    )
    assert all(_same(cluster.members[0], member) for member in cluster.members), "members differ"


def _same(one: Member, other: Member) -> bool:
    ours, theirs = one.index.rows(), other.index.rows()
    return ours.keys() == theirs.keys() and all(ours[path].record == theirs[path].record for path in ours)


def _tell(direction: Direction, scope: Scope, mark: Vector) -> None:
    direction.knowledge[scope] = versions.joined(direction.knowledge.get(scope, {}), mark)


def _written(writer: MessageWriter, message: PeerMessage) -> int:
    writer.put(message)
    size = 0
    while data := writer.next_write():
        size += len(data)
    return size


def _copied(index: MemoryIndex) -> MemoryIndex:
    other = copy.copy(index)
    for name, value in vars(index).items():
        if isinstance(value, dict | list | set):
            setattr(other, name, value.copy())
    return other


def _found(number: int, kind: Kind = Kind.FILE) -> Observation:
    is_file = kind is Kind.FILE
    return Observation(
        stamp=Stamp(number + 1, 4096, NOW_NS + number, NOW_NS + number),
        kind=kind,
        mode=0o644 if is_file else 0o755,
        uid=0,
        gid=0,
        owner="root",
        group="root",
        mtime_ns=NOW_NS + number,
        size=4096 if is_file else 0,
        hash=hash_of(b"%d" % number) if is_file else b"",
    )


def _shown(plan: Plan) -> Observation | None:
    """Return what is there once a plan was carried out."""
    if plan.meta is None:
        return None
    mtime_ns = plan.mtime_ns or NOW_NS
    return Observation(
        stamp=Stamp(1, plan.content.size, mtime_ns, mtime_ns),
        kind=plan.content.kind,
        mode=plan.meta.mode,
        uid=plan.meta.uid,
        gid=plan.meta.gid,
        owner=plan.meta.owner,
        group=plan.meta.group,
        mtime_ns=mtime_ns,
        size=plan.content.size,
        hash=plan.content.hash,
    )


def _memory() -> int:
    """Return the resident bytes of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
