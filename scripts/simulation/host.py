"""What a simulated member does with what its index knows, and the whole of such a member."""

from csfs.core.objects import Kind, Observation, Stamp
from csfs.core.paths import RelPath, ancestors_of, is_below, parent_of
from csfs.engine.overlooking import is_plainly_shown
from csfs.engine.ports import Plan, Step
from csfs.index.strangers import strangers_of
from scripts.simulation.dice import Dice
from scripts.simulation.digesting import Digesting
from scripts.simulation.moments import Moment
from scripts.simulation.tree import hash_of


class Host(Digesting):
    """A member. `contents` finds the bytes of a content that this member can have now, or None."""

    def apply(self, path: RelPath, now_ns: int) -> bool:
        """Plan and carry out one path; return whether anything was done."""
        plan = self._plan(path, now_ns)
        if plan is None:
            return False
        self._carry_out(plan, now_ns)
        self.engine.applied(plan, self.tree.observed(path))
        row = self.index.row(path)
        if row is None or not row.pending:
            self.brake.superseded(path)
        self.moments[Moment.ACQUAINTED] += path in self.undressed and plan.step is Step.ATTRIBUTES
        self.undressed.discard(path)
        self.merging.hold(path)
        self.index.commit()
        return True

    def take_up(self, now_ns: int) -> bool:
        """Give rights by ACLs to those whom this host did not know when they were to be given; return whether there were any."""
        words = {f"user {name}" for name in self.acquainted}
        for path, row in self.index.rows().items() if words else ():
            if not words.isdisjoint((strangers_of(row) or "").split("\0")):
                self.undressed.add(path)
        return any([self.apply(path, now_ns) for path in sorted(self.undressed)])

    def apply_some(self, dice: Dice, now_ns: int) -> None:
        """Apply a few of the pending paths, in any order."""
        pending = self.index.pending()
        for _ in range(min(len(pending), 1 + dice.below(3))):
            self.apply(pending.pop(dice.below(len(pending))), now_ns)

    def _plan(self, path: RelPath, now_ns: int) -> Plan | None:
        """Return the plan for a path, if it can be carried out now."""
        if self.intents or self.wholes.moving:
            return None  # nothing is applied before stock was taken
        plan = self.engine.plan(path, undressed=path in self.undressed)
        if plan is None:
            self.brake.superseded(path)
        missed: set[bytes] = set()
        while plan is not None and self._lacks(plan):
            missed.add(plan.needed.hash if plan.needed is not None else b"")
            plan = self.engine.plan(path, missed)
        self.index.commit()
        if plan is None:
            return None
        is_let = self.brake.lets(plan, self.engine.loss(plan), now_ns)
        return plan if is_let and self._is_allowed(plan) and self._has_room(plan) else None

    def _lacks(self, plan: Plan) -> bool:
        """Return whether the content is not to be had."""
        return plan.needed is not None and self.contents(plan.needed.hash) is None

    def _has_room(self, plan: Plan) -> bool:
        return not (self.programs.full and plan.step is Step.INSTALL and plan.needed is not None)

    def _is_allowed(self, plan: Plan) -> bool:
        """The gate: refuse what would overwrite a change that was not taken into account."""
        path = plan.path
        near = {path, *ancestors_of(path), *self._names_at(path), *self._names_at(plan.link)}
        if any(one in near or is_below(one, path) for one in self.programs.looks):
            return self._refused(Moment.NOT_DIGESTED)
        if not self.tree.is_directory(parent_of(path)) and not self.follows(parent_of(path)):
            return False  # somebody has to make it here
        if self.tree.stamp(path) != plan.expected or not self.tree.is_directory(parent_of(path)):
            self.programs.look_again(path)
            return self._refused(Moment.NOT_EXPECTED)
        if plan.link is not None and self.tree.stamp(plan.link) != _stamp(self._shown_at(plan.link)):
            self.programs.look_again(plan.link)
            return self._refused(Moment.NOT_EXPECTED)
        if self._is_busy(path) or self._is_busy(plan.link):
            self.programs.look_again(path)
            return self._refused(Moment.BUSY)
        below = self.tree.below(path)
        assert plan.step is Step.ATTRIBUTES or not below or self._only_local(below), f"{path!r} has {below} below it"
        return plan.step is Step.ATTRIBUTES or not below

    def _refused(self, why: Moment) -> bool:
        self.moments[why] += 1
        return False

    def _is_busy(self, path: RelPath | None) -> bool:
        """Return whether a program has changed in memory what is there."""
        node = self.tree.nodes.get(path) if path is not None else None
        return node is not None and node.inode in self.programs.open

    def _names_at(self, path: RelPath | None) -> list[RelPath]:
        """Return all names of what is at a path."""
        node = self.tree.nodes.get(path) if path is not None else None
        return self.tree.names_of(node) if node is not None else []

    def _only_local(self, paths: list[RelPath]) -> bool:
        """Return whether nothing of this is followed: a directory that holds such things cannot go (ENOTEMPTY)."""
        groups = [self.rules.group_of(path) for path in paths]
        followed = any(group is not None and self.name in group.members for group in groups)
        return not followed or any(path in self.held for path in paths)

    def _carry_out(self, plan: Plan, now_ns: int) -> Observation | None:
        path = plan.path
        self.brake.carried_out(plan, self.engine.loss(plan), now_ns)
        old = self.tree.nodes.get(path)
        if plan.step is Step.ATTRIBUTES:
            assert old is not None
            assert plan.meta is not None
            self.tree.set_attributes(old, plan.meta, plan.mtime_ns)
            # Names that nobody has told of are names of the same file, wherever they are.
            self.programs.outside.changed(set(self.tree.names_of(old)) - set(self.index.paths_linked(old.inode)), old)
            return self.tree.observed(path)
        if old is not None:
            self.tree.take(path, now_ns)
            for name in self.tree.names_of(old):
                self.programs.look_again(name)  # its number of links has changed
            if plan.keep or self._is_yet_to_be_shown(old.data):
                self.kept.add(old.data)
            else:
                self.retained.add((path, old.data))
            if plan.kept:
                self.tree.displaced.add(plan.kept)
        if plan.step is Step.INSTALL:
            assert plan.meta is not None
            if plan.link is not None:
                self.tree.put(path, self.tree.nodes[plan.link], now_ns)
                self.programs.marks.setdefault(parent_of(path), False)
                return self.tree.observed(path)
            data = self.contents(plan.content.hash) if plan.content.kind is Kind.FILE else b""
            assert data is not None
            assert data not in self.ledger.damaged, f"{data!r} is damaged, and travels"
            self.tree.put(path, self.tree.built(plan.content, plan.meta, plan.mtime_ns, data), now_ns)
            self.ledger.installed(path, data, self.name)
        self.programs.marks.setdefault(parent_of(path), False)
        return self.tree.observed(path)

    def _is_yet_to_be_shown(self, data: bytes) -> bool:
        """Return whether some path here waits for a content: retention lets it stay that long."""
        rows = (self.index.row(path) for path in self.index.pending())
        return any(entry.value.hash == hash_of(data) for row in rows if row for entry in row.record.content.entries)

    def check_shown(self) -> bool:
        """Judge each row by itself, whether what is known is shown or pending; what is not is planned anew. Return whether any was."""
        if self.unsorted is not None:
            return False  # the rows of directories above may still be to be written
        rows = self.index.rows()
        found = self.engine.take_up([path for path, row in rows.items() if not is_plainly_shown(row)])
        self.index.commit()
        self.overlooked.update(found.differing, found.apart)
        return bool(found.differing or found.apart)

    def holds(self, data: bytes) -> bool:
        """Return whether this member has a content on its disk."""
        return data in self.kept or any(node.data == data for node in self.tree.nodes.values())


def _stamp(observation: Observation | None) -> Stamp | None:
    return observation.stamp if observation is not None else None
