"""All members and links of one run: carries out a plan, then heals everything and lets it settle."""

from collections.abc import Callable, Container, Iterable
from dataclasses import replace

from csfs.core.paths import RelPath, depth_of
from scripts.simulation import persons, securing
from scripts.simulation.dice import Dice
from scripts.simulation.host import Host
from scripts.simulation.killing import die_applying, die_moving
from scripts.simulation.ledger import Ledger
from scripts.simulation.links import Link
from scripts.simulation.plan import NAMES, SECOND_NS, Act, Action, Plan
from scripts.simulation.power import Disk
from scripts.simulation.programs import PATHS
from scripts.simulation.rules import REVISIONS, Shape, changed, is_private, parted, turned
from scripts.simulation.saved import Saved
from scripts.simulation.saving import restore, saved
from scripts.simulation.second_lives import SecondLife
from scripts.simulation.standing import end_quarantine, forget, shows_token
from scripts.simulation.tree import Node, hash_of

ROUNDS_MAX = 60
QUIET_ROUNDS = 3


class Cluster:
    """The members of one run. `trace` is told of each thing that happens."""

    def __init__(self, plan: Plan, trace: Callable[[str], None] | None = None) -> None:
        setup = plan.setup
        self.plan = plan
        self.trace = trace
        self.now_ns = 1_000_000 * SECOND_NS
        self.ledger = Ledger()
        names = tuple(NAMES[: setup.count])
        present = tuple(name for number, name in enumerate(names) if number not in setup.late)
        self.shape = Shape(present, tuple(setup.receive_only), setup.policy, private=setup.private)
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
        self.restored: set[int] = set()
        """Members that were set back to what they were: by a backup, a copy of theirs, or a power cut."""
        self.second_lives: dict[str, SecondLife] = {}
        """Those of them that go on as the same incarnation, and do not know it."""
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

    def are_linked(self, one: Host, other: Host) -> bool:
        """Return whether two members hear each other."""
        there, back = self.links[one.number, other.number], self.links[other.number, one.number]
        return there.up and back.up and not there.deaf and not back.deaf

    def now(self, host: Host) -> int:
        """Return what a member's clock says."""
        return self.now_ns + host.skew_ns

    # ---------------------------------------------------------------------------------------------------- what happens

    def begin(self) -> None:
        """Look at the empty trees, and connect whoever is a member."""
        for host in self.hosts:
            host.digest(self.now(host))
        for one, other in self.links:
            if one < other:
                self._greet(self.hosts[one], self.hosts[other])

    def run(self) -> None:
        """Carry out the plan."""
        acts = {act: getattr(self, f"_{act.name.lower()}") for act in Act}
        for action in self.plan.actions:
            self.now_ns += action.after_ns
            if self.trace is not None:
                self.trace(str(action))
            acts[action.act](action, self.hosts[action.member], Dice(action.dice))

    def _program(self, action: Action, host: Host, dice: Dice) -> None:
        host.programs.step(action.name, dice, self.now(host))
        if host.name in self.second_lives:
            self.second_lives[host.name].touched |= host.programs.touched

    def _digest(self, action: Action, host: Host, dice: Dice) -> None:
        host.digest(self.now(host))

    def _apply(self, action: Action, host: Host, dice: Dice) -> None:
        host.apply_some(dice, self.now(host))
        if dice.one_in(4):
            forget(host)

    def _quiet(self, action: Action, host: Host, dice: Dice) -> None:
        """Nobody does anything for a while, so that all who can reach each other are equal; some forget tombstones then."""
        for one, other in self.links:
            if one < other and frozenset((one, other)) not in self.apart:
                self._greet(self.hosts[one], self.hosts[other])
        for _ in range(QUIET_ROUNDS):
            self._settle_once(healing=False)
        for one in self.hosts:
            if dice.one_in(2):
                forget(one)

    def _send(self, action: Action, host: Host, dice: Dice) -> None:
        link = self.links[action.member, action.other]
        if link.up:
            self.messages += link.send(1 + dice.below(5))

    def _deliver(self, action: Action, host: Host, dice: Dice) -> None:
        link = self.links[action.member, action.other]
        self._arrive(link)
        if dice.one_in(2):
            link.target.merging.merge_all(self.now(link.target))

    def _arrive(self, link: Link) -> bool:
        back = self.links[link.target.number, link.source.number]
        others = [other for other in self.links.values() if other.target is link.target and other.up]
        connected = {other.source.name: other.from_quarantine for other in others}
        has_arrived = link.deliver(back, self.now(link.target), connected)
        self._part_from(link.target)
        for other in others if has_arrived else ():
            if other.heard is not None:
                end_quarantine(other.heard, other.source, link.target, self.now(link.target), connected)
        return has_arrived

    def _sync(self, action: Action, host: Host, dice: Dice) -> None:
        """All that one member has to say arrives, and is applied there, perhaps."""
        link = self.links[action.member, action.other]
        self.tell_all(link)
        if dice.one_in(2):
            for path in sorted(link.target.index.pending(), key=depth_of):
                link.target.apply(path, self.now(link.target))
        if dice.one_in(2):
            link.target.merging.merge_all(self.now(link.target))

    def tell_all(self, link: Link) -> None:
        """Have all arrive that the source of a link has to say."""
        while link.up and link.send(100):
            pass
        while self._arrive(link):
            pass

    def _secure(self, action: Action, host: Host, dice: Dice) -> None:
        path = dice.choice(host.programs.paths)
        securing.secure(self, host, path, dice.choice(securing.SYNCHRONIES), patient=dice.one_in(2))

    def _repeat(self, action: Action, host: Host, dice: Dice) -> None:
        link = self.links[action.member, action.other]
        if link.up and link.arrived:
            link.take_in(dice.choice(link.arrived), self.links[action.other, action.member], self.now(link.target))
            self._part_from(link.target)

    def _cut(self, action: Action, host: Host, dice: Dice) -> None:
        self.links[action.member, action.other].cut()
        self.links[action.other, action.member].cut()

    def _half_open(self, action: Action, host: Host, dice: Dice) -> None:
        self.links[action.member, action.other].deaf = True
        self.links[action.member, action.other].flying.clear()

    def _connect(self, action: Action, host: Host, dice: Dice) -> None:
        if frozenset((action.member, action.other)) not in self.apart:
            self._greet(host, self.hosts[action.other])

    def _greet(self, one: Host, other: Host) -> None:
        if not {one.name, other.name} <= set(self.shape.members):
            return
        for host, peer in ((one, other), (other, one)):
            life = self.second_lives.get(host.name)
            if life is not None and peer.name in life.witnesses:
                self._ends_second_life(host)
        shown = {host.name: host.index.tokens(peer.name).held for host, peer in ((one, other), (other, one))}
        for host, peer in ((one, other), (other, one)):
            if shows_token(host, peer.name, shown[peer.name]):
                # It is another incarnation now: its other peers have to hear that, too.
                self._isolate(host)
        for host, peer in ((one, other), (other, one)):
            host.authors.update({dot: name for dot, name in peer.authors.items() if dot not in host.authors})
            host.engine.reconsider(host.index.rows())
            host.engine.follow(host.index.rows(), self.now(host))
            host.engine.greeted(peer.name, peer.incarnation)
            host.index.commit()
        self.links[one.number, other.number].greet()
        self.links[other.number, one.number].greet()

    def _isolate(self, host: Host) -> None:
        for link in self._links_of(host):
            link.cut()

    def _part_from(self, host: Host) -> None:
        """A member that has become another incarnation has to greet its peers anew."""
        if host.is_anew:
            host.is_anew = False
            self._isolate(host)

    def _links_of(self, host: Host) -> Iterable[Link]:
        return (link for link in self.links.values() if host in (link.source, link.target))

    def _crash(self, action: Action, host: Host, dice: Dice) -> None:
        self._isolate(host)
        securing.lost(self, host.number, Act.CRASH)
        host.crash(dice)

    def _die(self, action: Action, host: Host, dice: Dice) -> None:
        moved = [link for link in self.links.values() if link.target is host and link.source.engine._wholes]
        dies_moving = any(self._tells_move(link) and die_moving(link, dice, self.now(host)) for link in moved)
        if dies_moving or die_applying(host, dice, self.now(host)):
            self._crash(action, host, dice)

    def _tells_move(self, link: Link) -> bool:
        """Have all arrive that comes before the next move of a directory on this link; return whether there is one."""
        while link.up and link.awaited is None and link.send(100):
            while link.awaited is None and self._arrive(link):
                pass
        while len(link.flying) > 1:
            self._arrive(link)
        return link.up and link.awaited is not None and bool(link.flying)

    def _partition(self, action: Action, host: Host, dice: Dice) -> None:
        sides = action.dice
        self.apart = {
            frozenset((one, other)) for one, other in self.links if (sides >> one & 1) != (sides >> other & 1)
        }
        for (one, other), link in self.links.items():
            if frozenset((one, other)) in self.apart:
                link.cut()

    def _reunite(self, action: Action, host: Host, dice: Dice) -> None:
        self.apart = set()

    def _fill(self, action: Action, host: Host, dice: Dice) -> None:
        host.programs.full = True

    def _free(self, action: Action, host: Host, dice: Dice) -> None:
        host.programs.full = False

    def _save(self, action: Action, host: Host, dice: Dice) -> None:
        self.saves[action.member] = saved(host)

    def _restore(self, action: Action, host: Host, dice: Dice) -> None:
        backup = self.saves.pop(action.member, None)
        if backup is None:
            return
        lost, shown = {node.data for node in host.tree.nodes.values()} | host.kept, dict(host.tree.nodes)
        self._isolate(host)
        self.restored.add(action.member)
        securing.lost(self, host.number, Act.RESTORE)
        is_booting = dice.one_in(2)
        restore(host, backup, booting=is_booting)
        self._goes_on(host, booting=is_booting)
        # What was removed before it was made anew is removed again.
        self.ledger.taken |= {path for path, node in shown.items() if not self._is_left(host, path, node)}
        self._follow_again(host, backup)
        self.disks[host.number] = Disk(host)
        holders = {data: {other.name for other in self.hosts if other.holds(data)} for data in lost}
        self.ledger.excused |= {data for data, names in holders.items() if not names}
        self.ledger.received |= {data for data, names in holders.items() if names <= set(self.shape.receive_only)}
        self.ledger.orphans.update({data: names for data, names in holders.items() if names})

    def _goes_on(self, host: Host, *, booting: bool) -> None:
        """A member was set back; `booting`: and is another incarnation for that, whose changes nobody takes for the lost ones."""
        self._ends_second_life(host)
        life = SecondLife(host)
        if not booting and life.who_has_heard_more(self.hosts):
            life.witnesses, life.touched = life.who_has_heard_more(self.hosts), set(host.programs.touched)
            self.second_lives[host.name] = life

    def _ends_second_life(self, host: Host) -> None:
        """A member knows that it was set back, or is set back once more: what others have heard of since stays as it was told."""
        life = self.second_lives.pop(host.name, None)
        if life is not None and life.who_has_heard_more(self.hosts) - life.witnesses:
            self.made_twice |= {(path, host.name) for path in life.touched}

    def _is_left(self, host: Host, path: RelPath, before: Node) -> bool:
        """Return whether what a member showed at a path before it was set back is there, or something at one that never was."""
        node = host.tree.nodes.get(path)
        is_same = node is not None and node.inode == before.inode
        return node is not None and self._is_somewhere(path, set() if is_same else self.restored)

    def _is_somewhere(self, path: RelPath, apart: Container[int] = ()) -> bool:
        """Return whether a member that may tell the others of it shows something at a path, `apart` from some."""
        telling = [one for one in self.members if one.name not in self.shape.receive_only and one.number not in apart]
        return any(path in one.tree.nodes for one in telling)

    def _clone(self, action: Action, host: Host, dice: Dice) -> None:
        """Another host has a copy of this member, identity and all, and takes its place; or the one before takes it again."""
        if self.parked and action.member not in self.parked:
            return
        self._isolate(host)
        # What was not taken into account yet, or nobody else had stored, becomes a version at each of the two.
        self.ledger.doubled |= host.programs.touched | host.programs.unsettled | host.engine.in_doubt_if_set_back()
        parked, self.parked[action.member] = self.parked.get(action.member), saved(host)
        if parked is not None:
            self.restored.add(action.member)
            securing.lost(self, host.number, Act.CLONE)
            restore(host, parked, booting=False)
            self._goes_on(host, booting=False)
            self._follow_again(host, parked)
            self.disks[host.number] = Disk(host)

    def _follow_again(self, host: Host, backup: Saved) -> None:
        if backup.scopes != [group.scope for group in host.rules.groups]:
            host.adopt(host.rules)

    def _rot(self, action: Action, host: Host, dice: Dice) -> None:
        """A bad disk, or a bug, takes something that is known and not shown yet: nobody would send it again."""
        rows = host.index.rows().items()
        unseen = sorted(path for path, row in rows if row.scope and row.live and row.applied.observation is None)
        if unseen and not host.intents and not host.pulling:
            path = dice.choice(unseen)
            row = host.index.row(path)
            assert row is not None
            # Who makes something there before it is back has, by what he knows, seen what was lost.
            hashes = {entry.value.hash for entry in row.record.content.entries}
            self.ledger.excused |= {data for data in self.ledger.written if hash_of(data) in hashes}
            host.index.drop(path)
            host.index.commit()
            self.rotten.add(path)

    def _rules(self, action: Action, host: Host, dice: Dice) -> None:
        self.shape = changed(self.shape, REVISIONS[action.dice % len(REVISIONS)])
        self.changed_rules = True

    def _turn(self, action: Action, host: Host, dice: Dice) -> None:
        """A member is put into one group, or taken out of it: the private one, mostly."""
        before = self.shape
        if dice.one_in(3):
            self.shape = parted(before, host.name)
            self.changed_rules |= before.private and self.shape != before
        else:
            self.shape = turned(before, host.name)
            self.has_turned |= self.shape != before

    def _adopt(self, action: Action, host: Host, dice: Dice) -> None:
        if host.rules.groups != self.shape.compiled(host.name).groups:
            self._isolate(host)
            host.adopt(self.shape.compiled(host.name))

    def _join(self, action: Action, host: Host, dice: Dice) -> None:
        missing = [other.name for other in self.hosts if other.number in self.plan.setup.late]
        members = tuple(dict.fromkeys((*self.shape.members, *missing)))
        self.changed_rules |= members != self.shape.members
        self.shape = replace(self.shape, members=members)

    def _leave(self, action: Action, host: Host, dice: Dice) -> None:
        members = tuple(name for name in self.shape.members if name != host.name)
        if len(members) < 2 or host.pulling:
            return
        self._isolate(host)
        rest = tuple(name for name in self.shape.receive_only if name != host.name)
        self.shape = replace(self.shape, members=members, receive_only=rest)
        self.changed_rules = True

    def _approve(self, action: Action, host: Host, dice: Dice) -> None:
        host.brake.approve()

    def _reject(self, action: Action, host: Host, dice: Dice) -> None:
        persons.reject(host, self.now(host))

    def _flush(self, action: Action, host: Host, dice: Dice) -> None:
        self.disks[host.number].flush()

    def _power_cut(self, action: Action, host: Host, dice: Dice) -> None:
        if host.pulling:
            return  # what a host damages before it is a member is its own
        self._isolate(host)
        self.restored.add(action.member)
        securing.lost(self, host.number, Act.POWER_CUT)
        paths = set(host.tree.nodes)
        lost = self.disks[host.number].cut(dice)
        if host.scopes != [group.scope for group in host.rules.groups]:
            host.adopt(host.rules)
        host.digest(self.now(host))
        # What is not believed gives way to whatever others know, be it that nothing is there.
        left = host.tree.nodes.keys() - host.suspects
        self.ledger.taken |= {path for path in paths if path not in left or not self._is_somewhere(path)}
        self.disks[host.number].flush()
        # Who only receives does not answer for what others have lost.
        writers = [other for other in self.members if other.name not in self.shape.receive_only and not other.pulling]
        self.ledger.excused |= {data for data in lost if not any(other.holds(data) for other in writers)}

    # --------------------------------------------------------------------------------------------------------- healing

    def heal(self) -> None:
        """End all disturbances, connect all, and let everything settle."""
        self.apart = set()
        self.now_ns += SECOND_NS
        for host in self.hosts:
            host.programs.full = False
            if host.rules.groups != self.shape.compiled(host.name).groups:
                host.adopt(self.shape.compiled(host.name))
            host.digest(self.now(host))
        self.minted_by_users = self.minted() - self.minted_following()
        self.merged_before = self.merged()
        self._settle()
        if any([persons.look_after(host, self.now(host)) for host in self.members]):
            self.minted_by_users = self.minted() - self.minted_following()
            self.merged_before = self.merged()
            self._settle()
        for _ in range(2):
            # Both hosts of a member that was cloned come to the network, and go.
            for number in self.parked:
                self._clone(Action(Act.CLONE, number, number, 0, 0), self.hosts[number], Dice(0))
                minted = self.minted()
                self.hosts[number].digest(self.now(self.hosts[number]))
                self.minted_by_users += self.minted() - minted
                self._settle()

    def _settle(self) -> None:
        self._connect_all()
        for _ in range(ROUNDS_MAX):
            if not self._settle_once():
                return
        raise AssertionError(f"never quiet: {[(host.name, host.index.pending()) for host in self.hosts]}")

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

    def _settle_once(self, *, healing: bool = True) -> bool:
        busy = False
        if healing:
            self._connect_rest()
        for link in self.links.values():
            while link.up and link.send(100):
                busy = True
                self.messages += 1
                self._arrive(link)
        for host in self.hosts:
            self.now_ns += SECOND_NS
            if healing:
                host.brake.approve()
            for path in sorted(host.index.pending(), key=depth_of):
                busy = host.apply(path, self.now(host)) or busy
            for path in sorted(host.index.pending(), key=depth_of, reverse=True):
                busy = host.apply(path, self.now(host)) or busy
            busy = host.merging.merge_all(self.now(host)) or busy
            busy = bool(host.programs.looks) or (host.pulling and host.is_in_groups) or busy
            busy = host.unsorted is not None or busy  # until all rows follow the rules, it says nothing of itself
            host.digest(self.now(host))
            busy = bool(host.brake.waiting.left()) or busy
            if healing:
                forget(host)
        return busy

    def minted(self) -> int:
        """Return how many versions all members made, but for merges, and what they brought along when they joined, or back."""
        return sum(host.index.minted - host.unasked_minted for host in self.hosts)

    def merged(self) -> dict[RelPath, int]:
        """Return how many merges were made of each path."""
        return {path: sum(host.merging.made.get(path, 0) for host in self.hosts) for path in PATHS}

    def minted_following(self) -> int:
        """Return how many versions all members made to have edits follow moves."""
        return sum(host.index.minted_following for host in self.hosts)

    def is_changed(self, path: RelPath) -> bool:
        """Return whether a path may have been in another group, or in one of other members, before."""
        return self.changed_rules or (self.has_turned and is_private(path))

    @property
    def members(self) -> list[Host]:
        """Those that are members at the end."""
        return [host for host in self.hosts if host.name in self.shape.members]
