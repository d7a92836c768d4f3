"""Two or three engines side by side, and short ways to say what happens to them."""

from collections.abc import Collection
from dataclasses import dataclass, field

from csfs.core.groups import Group
from csfs.core.moves import WholeMove
from csfs.core.objects import Kind, Observation, Stamp
from csfs.core.paths import ROOT, RelPath
from csfs.core.versions import Incarnation, Scope
from csfs.engine.memory import MemoryIndex
from csfs.engine.ports import Plan, Received, Row
from csfs.engine.volume import VolumeEngine
from scripts.simulation.rules import OneGroup
from scripts.simulation.tree import hash_of

SCOPE = Scope(b"scope-01")
NOW_NS = 1_000_000


def found(
    data: bytes = b"", *, kind: Kind = Kind.FILE, mtime_ns: int = 1, inode: int = 1, **fields: object
) -> Observation:
    """Return an observation; `fields` are those of `Observation`."""
    values: dict[str, object] = {"mode": 0o644, "uid": 0, "gid": 0, "owner": "root", "group": "root"} | fields
    is_file = kind is Kind.FILE
    return Observation(
        stamp=Stamp(inode, len(data), mtime_ns, mtime_ns),
        kind=kind,
        mtime_ns=mtime_ns,
        size=len(data) if is_file else 0,
        hash=hash_of(data) if is_file else b"",
        target=data if kind is Kind.SYMLINK else b"",
        **values,  # type: ignore[arg-type]
    )


def directory(mtime_ns: int = 1, **fields: object) -> Observation:
    """Return the observation of a directory."""
    return found(kind=Kind.DIRECTORY, mtime_ns=mtime_ns, **({"mode": 0o755} | fields))


@dataclass
class Side:
    """One member: its engine, and what it has heard from whom."""

    name: str
    index: MemoryIndex
    engine: VolumeEngine
    heard: dict[str, int] = field(default_factory=dict)
    unseen: set[RelPath] = field(default_factory=set)
    """Paths that somebody has changed, and nobody looked at yet."""

    def is_unseen(self, path: RelPath) -> bool:
        """Return whether somebody here has changed a path that nobody has looked at yet."""
        return path in self.unseen

    def sees(self, path: bytes, observation: Observation | None, **options: object) -> bool:
        """A look at the disk finds this."""
        return self.engine.observe(RelPath(path), observation, NOW_NS, **options)  # type: ignore[arg-type]

    def hears(self, other: "Side") -> Received:
        """Take in everything from another member, path by path; return what became of the last batch."""
        position, apart = self.heard.get(other.name, 0), list[WholeMove]()
        if other.engine.withholds(self.name):
            return Received(())
        while True:
            out = other.engine.outgoing(position, self.engine.knowledge(), 100, self.name, apart)
            if out.move is not None:
                apart.append(out.move)
                continue
            position = out.position
            received = Received(())
            if out.updates or out.mark is not None:
                received = self.engine.receive(other.name, out.scope, out.updates, out.mark, NOW_NS)
                self.engine.follow(received.touched, NOW_NS, self.is_unseen)
            if out.done:
                self.heard[other.name] = position
                return received

    def plans(self, path: bytes) -> Plan | None:
        """Return the plan for a path."""
        return self.engine.plan(RelPath(path))

    def shows(self, path: bytes, observation: Observation | None) -> tuple[RelPath, ...]:
        """Carry out the plan for a path, so that the disk shows this."""
        plan = self.plans(path)
        assert plan is not None
        return self.engine.applied(plan, observation)

    def row(self, path: bytes) -> Row:
        """Return the row of a path."""
        row = self.index.row(RelPath(path))
        assert row is not None
        return row

    def counter(self) -> int:
        """Return how many dots this member has made."""
        return max(self.engine.knowledge()[SCOPE].get(self.engine._incarnation, 0), 0)


def sides(
    *names: str,
    policy: tuple[str, ...] = ("younger",),
    receive_only: tuple[str, ...] = (),
    pulling: tuple[str, ...] = (),
) -> list[Side]:
    """Return members of one group."""
    rules = OneGroup(Group(names, frozenset(receive_only), policy, SCOPE))
    authors = {Incarnation(number + 1): name for number, name in enumerate(names)}
    made = []
    for incarnation, name in authors.items():
        index = MemoryIndex()
        made.append(Side(name, index, VolumeEngine(index, rules, name, incarnation, authors, pulling=name in pulling)))
    return made


def follow_rules(engine: VolumeEngine, *, at_once: int = 2, before: Collection[Scope] = ()) -> None:
    """Have an engine's index follow its rules, all rows written before anything else."""
    engine.follow_rules(before)
    engine._index.revise(engine.in_scope)
    first: RelPath | None = ROOT
    while first is not None:
        first = engine.sort_rows(first, at_once)
    engine._index.revise(None)
