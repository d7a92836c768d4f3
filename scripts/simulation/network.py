"""The members of one run, and the links between them."""

from collections import Counter
from collections.abc import Callable, Iterable

from csfs.core.paths import RelPath
from scripts.simulation.host import Host
from scripts.simulation.ledger import Ledger
from scripts.simulation.links import Link
from scripts.simulation.moments import Moment
from scripts.simulation.plan import NAMES, SECOND_NS, Plan
from scripts.simulation.power import Disk
from scripts.simulation.rules import Shape, is_private
from scripts.simulation.saved import Saved
from scripts.simulation.second_lives import SecondLife
from scripts.simulation.standing import end_quarantine, shows_token
from scripts.simulation.telling import PATHS
from scripts.simulation.tree import hash_of


class Network:
    """The members of one run. `trace` is told of each thing that happens."""

    def __init__(self, plan: Plan, trace: Callable[[str], None] | None = None) -> None:
        setup = plan.setup
        self.plan = plan
        self.trace = trace
        self.now_ns = 1_000_000 * SECOND_NS
        self.ledger = Ledger()
        names = tuple(NAMES[: setup.count])
        present = tuple(name for number, name in enumerate(names) if number not in setup.late)
        out = (*present, names[-1]) if setup.apart else ()
        self.shape = Shape(present, tuple(setup.receive_only), setup.policy, private=setup.private, turned=out)
        self.hosts = [self._founder(name, number) for number, name in enumerate(names)]
        for host, skew_ns in zip(self.hosts, setup.skews_ns or (0,) * setup.count, strict=True):
            host.skew_ns = skew_ns
        for host in self.hosts:
            host.programs.is_awaited = lambda path: any(path in one.programs.looks for one in self.hosts)
        self.links = {
            (one.number, other.number): Link(one, other)
            for one in self.hosts
            for other in self.hosts
            if one is not other
        }
        self.apart: set[frozenset[int]] = set()
        self.saves: dict[int, Saved] = {}
        self.parked: dict[int, Saved] = {}
        """The other host of a member that was cloned."""
        self.disks = {host.number: Disk(host) for host in self.hosts}
        self.minted_by_users = 0
        self.merged_before: dict[RelPath, int] = {}
        self.rotten: set[RelPath] = set()
        """Paths of which somebody lost what he knew."""
        self.forgotten: set[tuple[str, RelPath]] = set()
        """Members, and paths of which they forgot that something was still to be shown there."""
        self.restored: set[int] = set()
        """Members that were set back to what they were: by a backup, a copy of theirs, or a power cut."""
        self.second_lives: dict[str, SecondLife] = {}
        """Those of them that go on as the same incarnation, and do not know it."""
        self.parked_lives: dict[str, SecondLife] = {}
        """What the other host of a cloned member goes on with."""
        self.lives: list[tuple[str, SecondLife]] = []
        """All of these there ever were, with the member."""
        self.made_twice: set[tuple[RelPath, str]] = set()
        """Paths that such members changed, and told others of, before they met who had heard of their lost life, with the member."""
        self.messages = 0
        self.changed_rules = self.has_turned = False
        """Whether any path may have come into another group; whether those of the private group are in one of other members."""

    def _founder(self, name: str, number: int) -> Host:
        late = number in self.plan.setup.late
        rules = self.shape.compiled(name)
        host = Host(name, number, self.ledger, rules, pulling=late, extra=self.plan.setup.extra)
        host.programs.paths = [PATHS[number] for number in self.plan.setup.paths] or PATHS
        host.contents = lambda content_hash: self._content(host, content_hash)
        host.programs.is_last = lambda path, data: self._is_last(host, path, data)
        host.programs.is_heard = lambda path, data: self._is_heard_at(host, path, data)
        host.brake.on = self.plan.setup.brake
        return host

    def _content(self, host: Host, content_hash: bytes) -> bytes | None:
        """Return a content from this member's memory or disk, or from a peer that it can reach."""
        found = host.cache.get(content_hash)
        if found is not None:
            return found
        reachable = [other for other in self.hosts if other is host or self.are_linked(host, other)]
        for other in reachable:
            bases = (data for held in other.merging.bases.values() for data in held.values())
            for data in (*(node.data for node in other.tree.nodes.values()), *other.kept, *bases):
                if hash_of(data) == content_hash:
                    return data
        return None

    def _is_last(self, host: Host, path: RelPath, data: bytes) -> bool:
        """Return whether no author speaks for a content, nobody listens to who has had it since, and this member alone has it still.

        Each goes by the rules that he follows himself, which need not be those of all yet.
        """
        had = self.ledger.orphans.get(data, set())
        is_told = any(one.name in had and one.programs.speaks(path) for one in self.hosts)
        others = [one for one in (*self.hosts, *self.parked.values()) if one is not host]
        held = (held for one in others for held in (*one.kept, *(node.data for node in one.tree.nodes.values())))
        return bool(had) and not is_told and data not in held

    def _is_heard_at(self, host: Host, path: RelPath, data: bytes) -> bool:
        """Return whether another member than this one knows of a content at a path."""
        rows = (one.index.row(path) for one in self.hosts if one is not host)
        return any(entry.value.hash == hash_of(data) for row in rows if row for entry in row.record.content.entries)

    def are_linked(self, one: Host, other: Host) -> bool:
        """Return whether two members hear each other."""
        there, back = self.links[one.number, other.number], self.links[other.number, one.number]
        return there.up and back.up and not there.deaf and not back.deaf

    def now(self, host: Host) -> int:
        """Return what a member's clock says."""
        return self.now_ns + host.skew_ns

    # ----------------------------------------------------------------------------------------------------------- links

    def _greet(self, one: Host, other: Host) -> None:
        if not {one.name, other.name} <= set(self.shape.members):
            return
        shown = {host.name: host.index.tokens(peer.name).held for host, peer in ((one, other), (other, one))}
        for host, peer in ((one, other), (other, one)):
            is_found_out = shows_token(host, peer.name, shown[peer.name])
            if is_found_out:
                # It is another incarnation now: its other peers have to hear that, too.
                self._isolate(host)
            self._meets(host, peer, is_found_out=is_found_out)
        for host, peer in ((one, other), (other, one)):
            known = len(host.authors)
            host.authors.update({dot: name for dot, name in peer.authors.items() if dot not in host.authors})
            if len(host.authors) > known:
                host.engine.reconsider(host.index.contested())
            host.engine.follow(host.index.rows(), self.now(host))
            host.engine.greeted(peer.name, peer.incarnation, joins=peer.pulling)
            host.index.commit()
        self.links[one.number, other.number].greet()
        self.links[other.number, one.number].greet()

    def _meets(self, host: Host, peer: Host, *, is_found_out: bool) -> None:
        """A member that does not know that it was set back may meet who has heard of what it did in the life that is lost."""
        life = self.second_lives.get(host.name)
        if life is not None and peer.name in life.witnesses:
            if not is_found_out:  # he had no link with it in that life, and shows nothing of it (docs/replication.md)
                self.made_twice |= {(path, host.name) for path in life.touched}
            self._ends_second_life(host)

    def _isolate(self, host: Host) -> None:
        for link in self._links_of(host):
            link.cut()

    def _part_from_anew(self) -> None:
        """Members that have become another incarnation have to greet their peers anew."""
        for host in self.hosts:
            if host.is_anew:
                host.is_anew = False
                self._isolate(host)

    def _links_of(self, host: Host) -> Iterable[Link]:
        return (link for link in self.links.values() if host in (link.source, link.target))

    def _arrive(self, link: Link) -> bool:
        back = self.links[link.target.number, link.source.number]
        others = [other for other in self.links.values() if other.target is link.target and other.up]
        connected = {other.source.name: other.from_quarantine for other in others}
        has_arrived = link.deliver(back, self.now(link.target), connected)
        self._part_from_anew()
        for other in others if has_arrived else ():
            if other.up and other.heard is not None:
                end_quarantine(other.heard, other.source, link.target, self.now(link.target), connected)
                self._part_from_anew()
        return has_arrived

    def tell_all(self, link: Link) -> None:
        """Have all arrive that the source of a link has to say."""
        while link.up and link.send(100):
            pass
        while self._arrive(link):
            pass

    def _connect_all(self) -> None:
        """Greet until all links are up: who finds at one greeting that it was restored begins all others anew."""
        for one, other in self.links:
            if one < other:
                self._greet(self.hosts[one], self.hosts[other])
        self._connect_rest()

    def _connect_rest(self) -> None:
        for _ in self.hosts:
            for (one, other), link in self.links.items():
                if one < other and not link.up:
                    self._greet(self.hosts[one], self.hosts[other])

    # ------------------------------------------------------------------------------------------------------- questions

    def minted(self) -> int:
        """Return how many versions all members made, but for merges, and what they brought along when they joined, or back."""
        return sum(host.index.minted - host.unasked_minted for host in self.hosts)

    def merged(self) -> dict[RelPath, int]:
        """Return how many merges were made of each path."""
        return {path: sum(host.merging.made.get(path, 0) for host in self.hosts) for path in PATHS}

    def minted_following(self) -> int:
        """Return how many versions all members made to have edits follow moves."""
        return sum(host.index.minted_following for host in self.hosts)

    def moments(self) -> Counter[Moment]:
        """Return how often all members together came to what no plan says."""
        return sum((host.moments for host in self.hosts), Counter[Moment]())

    def is_changed(self, path: RelPath) -> bool:
        """Return whether a path may have been in another group, or in one of other members, before."""
        return self.changed_rules or (self.has_turned and is_private(path))

    @property
    def members(self) -> list[Host]:
        """Those that are members at the end."""
        return [host for host in self.hosts if host.name in self.shape.members]
