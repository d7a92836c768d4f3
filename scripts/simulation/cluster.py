"""One run: carries out a plan, then heals everything and lets it settle."""

from dataclasses import replace

from csfs.core.paths import depth_of
from scripts.simulation import persons, securing
from scripts.simulation.dice import Dice
from scripts.simulation.host import Host
from scripts.simulation.plan import SECOND_NS, Act, Action
from scripts.simulation.rules import REVISIONS, changed, parted, turned
from scripts.simulation.setbacks import Setbacks
from scripts.simulation.standing import forget

ROUNDS_MAX = 60
QUIET_ROUNDS = 3


class Cluster(Setbacks):
    """All members and links of one run, and what happens to them."""

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
            host.check_shown()
            host.rest()

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
                one.rest()

    def _send(self, action: Action, host: Host, dice: Dice) -> None:
        link = self.links[action.member, action.other]
        if link.up:
            self.messages += link.send(1 + dice.below(5))

    def _deliver(self, action: Action, host: Host, dice: Dice) -> None:
        link = self.links[action.member, action.other]
        self._arrive(link)
        if dice.one_in(2):
            link.target.merging.merge_all(self.now(link.target))

    def _sync(self, action: Action, host: Host, dice: Dice) -> None:
        """All that one member has to say arrives, and is applied there, perhaps."""
        link = self.links[action.member, action.other]
        self.tell_all(link)
        if dice.one_in(2):
            for path in sorted(link.target.index.pending(), key=depth_of):
                link.target.apply(path, self.now(link.target))
        if dice.one_in(2):
            link.target.merging.merge_all(self.now(link.target))

    def _secure(self, action: Action, host: Host, dice: Dice) -> None:
        path = dice.choice(host.programs.paths)
        securing.secure(self, host, path, dice.choice(securing.SYNCHRONIES), patient=dice.one_in(2))

    def _repeat(self, action: Action, host: Host, dice: Dice) -> None:
        link = self.links[action.member, action.other]
        if link.up and link.arrived:
            link.take_in(dice.choice(link.arrived), self.links[action.other, action.member], self.now(link.target))
            self._part_from_anew()

    def _cut(self, action: Action, host: Host, dice: Dice) -> None:
        self.links[action.member, action.other].cut()
        self.links[action.other, action.member].cut()

    def _half_open(self, action: Action, host: Host, dice: Dice) -> None:
        self.links[action.member, action.other].deaf = True
        self.links[action.member, action.other].flying.clear()

    def _connect(self, action: Action, host: Host, dice: Dice) -> None:
        if frozenset((action.member, action.other)) not in self.apart:
            self._greet(host, self.hosts[action.other])

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

    def _rules(self, action: Action, host: Host, dice: Dice) -> None:
        # What who leaves has told only those who receive stays theirs.
        may_receive = Act.LEAVE not in self.plan.acts()
        self.shape = changed(self.shape, REVISIONS[action.dice % len(REVISIONS)], may_receive=may_receive)
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

    def _acquaint(self, action: Action, host: Host, dice: Dice) -> None:
        """Somebody is given an account at a host that did not know him, or his is taken away again."""
        number, name = persons.NEWCOMER
        if name in host.acquainted:
            persons.take_account(host, number)
        elif name not in host.tree.names.values():
            host.tree.names[number] = name
            host.tree.names_ever[number] = name
        host.take_up(self.now(host))

    def _flush(self, action: Action, host: Host, dice: Dice) -> None:
        self.disks[host.number].flush()

    # --------------------------------------------------------------------------------------------------------- healing

    def heal(self) -> None:
        """End all disturbances, connect all, and let everything settle."""
        self.apart = set()
        self.now_ns += SECOND_NS
        for host in self.hosts:
            host.programs.full = False
            host.programs.let_go(self.now(host))
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
            busy = host.take_up(self.now(host)) or busy
            busy = host.merging.merge_all(self.now(host)) or busy
            busy = bool(host.programs.looks) or (host.pulling and host.is_in_groups) or busy
            busy = host.unsorted is not None or busy  # until all rows follow the rules, it says nothing of itself
            host.digest(self.now(host))
            busy = bool(host.brake.waiting.left()) or busy
            if healing:
                forget(host)
                busy = host.check_shown() or busy
                host.rest()
        return busy
