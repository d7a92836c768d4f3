"""A cluster in memory: engines, trees and links that lose, delay and reorder, driven from one seed."""

from dataclasses import dataclass, field
from random import Random

from csfs.core.groups import Group
from csfs.core.objects import Kind, Observation, Stamp
from csfs.core.paths import ROOT, RelPath, ancestors_of, depth_of, is_below, parent_of
from csfs.core.versions import Incarnation, Scope, Vector
from csfs.engine.memory import MemoryIndex
from csfs.engine.ports import Outgoing, Plan, Step
from csfs.engine.volume import VolumeEngine
from tests.engine.fake_tree import FakeTree, hash_of
from tests.engine.programs import Ledger, Programs

SCOPE = Scope(b"simulate")
LATE_MINTS_MAX = 0
SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class OneGroup:
    """Rules with one group for everything."""

    group: Group

    @property
    def groups(self) -> tuple[Group, ...]:
        return (self.group,)

    def group_of(self, path: RelPath) -> Group | None:
        return self.group


class Member:
    """One host: its disk, its programs, its index and engine, and what a daemon does between them."""

    def __init__(self, cluster: "Cluster", name: str, number: int) -> None:
        self.cluster = cluster
        self.name = name
        self.random = cluster.random
        names = {0: "root", 1000: "ann", 1001 + number % 2: "bob"}
        if number != 1:
            names[1002 - number % 2] = "cid"
        self.tree = FakeTree(names, granularity_ns=1000 if number == 2 else 1)
        self.programs = Programs(name, self.tree, cluster.ledger, self.random)
        self.skew_ns = self.random.choice((0, 0, -3, 5)) * SECOND_NS
        self.index = MemoryIndex()
        self.kept: set[bytes] = set()
        self.cursors: dict[str, int] = {}
        self.stored_cursors: dict[str, int] = {}
        self.incarnations = 0
        self.start()
        self.programs.look(ROOT)

    def start(self) -> None:
        """Begin a life: sometimes as a new incarnation, always with a comparison of the whole tree."""
        if not self.incarnations or self.random.random() < 0.3:
            self.incarnations += 1
            self.index.start_incarnation()
            number = int.from_bytes(self.name.encode(), "big") * 1000 + self.incarnations
            self.cluster.authors[Incarnation(number)] = self.name
            self.incarnation = Incarnation(number)
        rules = OneGroup(self.cluster.group)
        self.engine = VolumeEngine(self.index, rules, self.name, self.incarnation, self.cluster.authors)
        self.index.commit()

    @property
    def now_ns(self) -> int:
        """This host's clock."""
        return self.cluster.now_ns + self.skew_ns

    def crash(self) -> None:
        """Lose whatever was not committed; compare everything at the restart."""
        self.index.rollback()
        self.cursors = dict(self.stored_cursors)
        self.start()
        for path in self.tree.nodes.keys() | self.index.rows().keys():
            self.programs.look(path)
        self.programs.marks.clear()
        self.digest()

    def commit(self) -> None:
        """End a transaction."""
        self.index.commit()
        self.stored_cursors = dict(self.cursors)

    # ---------------------------------------------------------------------------------------------- from disk to index

    def digest(self) -> None:
        """Take all journalled changes into account, in one transaction."""
        looks, self.programs.looks = self.programs.looks, {}
        order = sorted(looks.items(), key=lambda item: (item[1].moved_to is not None, depth_of(item[0])))
        for path, look in order:
            found = self.tree.observed(path)
            self.engine.observe(
                path,
                found,
                self.now_ns,
                moved_from=look.moved_from,
                moved_to=look.moved_to if found is None else None,
            )
        self.settle_directories()
        self.commit()

    def settle_directories(self) -> None:
        """Tell the engine of directories in which names changed."""
        marks, self.programs.marks = self.programs.marks, {}
        for directory, local in marks.items():
            stamp = self.tree.stamp(directory)
            if stamp is not None and self.tree.is_directory(directory):
                self.engine.disturbed(directory, stamp, stamp.mtime_ns)
                if local:
                    self.engine.touched(directory, stamp.mtime_ns, self.now_ns)

    # ---------------------------------------------------------------------------------------------- from index to disk

    def apply(self, path: RelPath) -> bool:
        """Plan and carry out one path; return whether anything was done."""
        plan = self.engine.plan(path)
        if plan is None:
            return False
        if not self._is_allowed(plan):
            return False
        observation = self._carry_out(plan)
        self.engine.applied(plan, observation)
        return True

    def _is_allowed(self, plan: Plan) -> bool:
        """The gate: refuse what would overwrite a change that was not taken into account."""
        path = plan.path
        near = {path, *ancestors_of(path)}
        if any(one in near or is_below(one, path) for one in self.programs.looks):
            return False
        if self.tree.stamp(path) != plan.expected or not self.tree.is_directory(parent_of(path)):
            self.programs.look(path)
            return False
        assert plan.step is Step.ATTRIBUTES or not self.tree.below(path), f"{path!r} would take away what is below"
        return True

    def _carry_out(self, plan: Plan) -> Observation | None:
        path = plan.path
        old = self.tree.nodes.get(path)
        if plan.step is Step.ATTRIBUTES:
            assert old is not None
            assert plan.meta is not None
            self.tree.set_attributes(old, plan.meta, plan.mtime_ns)
            return self.tree.observed(path)
        if old is not None:
            self.tree.take(path, self.now_ns)
            if plan.keep:
                self.kept.add(old.data)
        if plan.step is Step.INSTALL:
            assert plan.meta is not None
            data = self.cluster.content(plan.content.hash)
            self.tree.put(path, self.tree.built(plan.content, plan.meta, plan.mtime_ns, data), self.now_ns)
        self.programs.marks.setdefault(parent_of(path), False)
        return self.tree.observed(path)

    def apply_some(self) -> None:
        """Apply a few of the pending paths, in any order."""
        pending = self.index.pending()
        for path in self.random.sample(pending, min(len(pending), self.random.randrange(1, 4))):
            self.apply(path)
        if self.random.random() < 0.5:
            self.commit()

    def stamp(self, path: RelPath) -> Stamp | None:
        """Return the stamp at a path."""
        return self.tree.stamp(path)


@dataclass
class Link:
    """One direction between two members."""

    source: Member
    target: Member
    up: bool = True
    position: int = 0
    knowledge: dict[Scope, Vector] = field(default_factory=dict)
    flying: list[Outgoing] = field(default_factory=list)

    def cut(self) -> None:
        """Lose the connection and everything on its way."""
        self.up = False
        self.flying.clear()

    def connect(self) -> None:
        """Greet: go on where the target stored up to."""
        self.up = True
        self.flying.clear()
        self.position = self.target.stored_cursors.get(self.source.name, 0)
        self.knowledge = dict(self.target.engine.knowledge())
        self.source.engine.greeted(self.target.name)
        self.target.engine.greeted(self.source.name)

    def send(self, limit: int) -> bool:
        """Put the next batch on its way; return whether there was anything to say."""
        out = self.source.engine.outgoing(self.position, self.knowledge, limit, self.target.name)
        self.position = out.position
        if out.updates or out.mark is not None:
            self.flying.append(out)
            return True
        return not out.done

    def deliver(self) -> None:
        """Have the oldest batch arrive, and be stored in one transaction."""
        if not self.flying:
            return
        out, target = self.flying.pop(0), self.target
        received = target.engine.receive(self.source.name, out.scope, out.updates, out.mark, target.now_ns)
        assert not received.refused, received.refused
        target.cursors[self.source.name] = out.position
        target.commit()
        self.knowledge = dict(target.engine.knowledge())


class Cluster:
    """All members and links of one seeded run."""

    def __init__(self, seed: int, count: int, policy: tuple[str, ...] = ("younger",), receive_only: str = "") -> None:
        self.random = Random(seed)
        self.seed = seed
        self.now_ns = 1_000_000 * SECOND_NS
        self.ledger = Ledger()
        self.authors: dict[Incarnation, str] = {}
        names = tuple("abcdef"[:count])
        self.group = Group(names, frozenset(receive_only), policy, SCOPE)
        self.members = [Member(self, name, number) for number, name in enumerate(names)]
        pairs = [(one, other) for one in self.members for other in self.members if one is not other]
        self.links = [Link(one, other) for one, other in pairs]
        self._contents: dict[bytes, bytes] = {}
        self.minted_by_users = 0

    def content(self, content_hash: bytes) -> bytes:
        """Return the bytes of a content that somebody wrote."""
        if not content_hash:
            return b""
        if content_hash not in self._contents:
            self._contents = {hash_of(data): data for data in self.ledger.written}
        return self._contents[content_hash]

    def run(self, steps: int) -> None:
        """Let things happen."""
        for _ in range(steps):
            self.now_ns += self.random.randrange(1, SECOND_NS)
            self._happen(self.random.random())

    def _happen(self, dice: float) -> None:
        member, link = self.random.choice(self.members), self.random.choice(self.links)
        if dice < 0.3:
            member.programs.step(member.now_ns)
        elif dice < 0.45:
            member.digest()
        elif dice < 0.6:
            if link.up:
                link.send(self.random.randrange(1, 6))
        elif dice < 0.77:
            link.deliver()
        elif dice < 0.93:
            member.apply_some()
        elif dice < 0.96:
            link.cut()
        elif dice < 0.985:
            link.connect()
        else:
            self.crash(member)

    def crash(self, member: Member) -> None:
        """Stop a member anywhere and start it again."""
        for link in self.links:
            if member in (link.source, link.target):
                link.cut()
        member.crash()

    def heal(self, rounds_max: int = 60) -> None:
        """Connect all and let everything settle."""
        for member in self.members:
            member.digest()
        self.minted_by_users = self.minted()
        for link in self.links:
            link.connect()
        for _ in range(rounds_max):
            if not self._settle_once():
                return
        raise AssertionError(f"seed {self.seed}: never quiet")

    def _settle_once(self) -> bool:
        busy = False
        for link in self.links:
            while link.send(100):
                busy = True
                link.deliver()
        for member in self.members:
            self.now_ns += SECOND_NS
            for path in sorted(member.index.pending(), key=depth_of):
                busy = member.apply(path) or busy
            for path in sorted(member.index.pending(), key=depth_of, reverse=True):
                busy = member.apply(path) or busy
            busy = bool(member.programs.looks) or busy
            member.digest()
        return busy

    def minted(self) -> int:
        """Return how many dots all members made so far."""
        own: dict[Incarnation, int] = {}
        for member in self.members:
            for incarnation, counter in member.engine.knowledge()[SCOPE].items():
                own[incarnation] = max(own.get(incarnation, 0), counter)
        return sum(own.values())


@dataclass(frozen=True)
class Owner:
    """Who owns something: equal by name, by number where one side has no name for it."""

    name: str
    number: int

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Owner)
        return self.name == other.name if self.name and other.name else self.number == other.number

    def __hash__(self) -> int:
        raise TypeError("owners are compared by name or by number")


def shown(member: Member) -> dict[RelPath, tuple[object, ...]]:
    """Return what a member's tree shows, or stands for where it cannot show it exactly."""
    found: dict[RelPath, tuple[object, ...]] = {}
    for path, node in member.tree.nodes.items():
        row = member.index.row(path)
        if row is None:
            continue
        names, wanted = member.tree.names, row.applied.meta
        owner, group = Owner(names.get(node.uid, ""), node.uid), Owner(names.get(node.gid, ""), node.gid)
        if wanted is not None:
            owner, group = Owner(wanted.owner, wanted.uid), Owner(wanted.group, wanted.gid)
        mtime_ns = row.applied.mtime_ns if row.applied.mtime_ns is not None else node.mtime_ns
        found[path] = (node.kind, node.data, node.mode, owner, group, mtime_ns)
    return found


def check(cluster: Cluster) -> None:
    """Check a healed cluster: equal trees, nothing lost, nothing granted, nothing left to say."""
    first, *others = cluster.members
    for other in others:
        ours, theirs = shown(first), shown(other)
        differing = {path: (ours.get(path), theirs.get(path)) for path in ours.keys() | theirs.keys()}
        differing = {path: pair for path, pair in differing.items() if pair[0] != pair[1]}
        assert not differing, f"seed {cluster.seed}: {first.name} and {other.name} differ: {differing}"
    for member in cluster.members:
        assert not member.index.pending(), f"seed {cluster.seed}: {member.name} is left with {member.index.pending()}"
        unindexed = [p for p in member.tree.nodes if member.index.row(p) is None]
        assert not unindexed, f"seed {cluster.seed}: {unindexed} were never seen"
    check_nothing_lost(cluster)
    check_nothing_granted(cluster)
    late = cluster.minted() - cluster.minted_by_users
    assert late <= LATE_MINTS_MAX, f"seed {cluster.seed}: {late} versions were made after the last user's change"
    for link in cluster.links:
        out = link.source.engine.outgoing(link.position, link.knowledge, 100, link.target.name)
        said = (*out.updates, out.mark) if out.mark else out.updates
        assert said == (), f"seed {cluster.seed}: {link.source.name} goes on talking: {said}"


def check_nothing_lost(cluster: Cluster) -> None:
    """Each content is live, was replaced by someone who saw it, or is kept."""
    live = {node.data for member in cluster.members for node in member.tree.nodes.values() if node.kind is Kind.FILE}
    kept = {data for member in cluster.members for data in member.kept}
    lost = cluster.ledger.written - live - kept - cluster.ledger.replaced
    assert not lost, f"seed {cluster.seed}: lost {sorted(lost)}"


def check_nothing_granted(cluster: Cluster) -> None:
    """No content was ever setuid anywhere that no user made so."""
    for member in cluster.members:
        granted = member.tree.grants - cluster.ledger.granted
        assert not granted, f"seed {cluster.seed}: {member.name} made {sorted(granted)} setuid"
