"""One simulated member: its disk, its programs, its index and engine, and what a daemon does between them."""

from collections.abc import Callable

from csfs.core.objects import Kind, Observation, Stamp
from csfs.core.paths import ROOT, RelPath, ancestors_of, depth_of, is_below, parent_of
from csfs.core.rows import Doubt
from csfs.core.versions import Incarnation, Scope, covers
from csfs.engine.evidence import Evidence
from csfs.engine.links import is_same_inode
from csfs.engine.live import content_of
from csfs.engine.plans import is_carried_out
from csfs.engine.ports import Plan, Row, Step
from csfs.engine.rules import GroupRules, Rules, may_send
from scripts.simulation.braking import HostBrake
from scripts.simulation.dice import Dice
from scripts.simulation.index import Index, dots_of
from scripts.simulation.ledger import Ledger
from scripts.simulation.merging import HostMerging
from scripts.simulation.noting import NotingEngine
from scripts.simulation.programs import Look, Programs
from scripts.simulation.saved import Cursor
from scripts.simulation.tree import FakeTree, hash_of
from scripts.simulation.wholes import HostWholes

SORTED_AT_ONCE = 3
"""Rows that are written in one step after the rules have changed."""


class Host:
    """A member. `contents` finds the bytes of a content that this member can have now, or None."""

    def __init__(self, name: str, number: int, ledger: Ledger, rules: Rules, *, pulling: bool, extra: str) -> None:
        self.name, self.number, self.ledger, self.rules, self.extra = name, number, ledger, rules, extra
        names = {0: "root", 1000: "ann", 1001 + number % 2: "bob"}
        if number % 2 == 0:
            names[1002] = "cid"
        self.tree = FakeTree(names, granularity_ns=1000 if number == 2 else 1, has_flags=number != 1)
        self.programs = Programs(name, self.tree, ledger)
        self.contents: Callable[[bytes], bytes | None] = lambda content_hash: None
        self.skew_ns = 0
        self.index = Index()
        self.brake = HostBrake(self.index)
        self.index_id = 0
        self.kept: set[bytes] = set()
        self.retained: set[tuple[RelPath, bytes]] = set()
        """What peers' changes took away, and where, which is kept as long as retention says."""
        self.cursors: dict[str, Cursor] = {}
        self.scopes: list[Scope] = []
        self.unsorted: RelPath | None = None
        """The first row that may not be written as the rules have it now; None: there is none."""
        self.pulling = pulling
        self.heard: set[Scope] = set()
        self.held: set[RelPath] = set()
        self.intents: dict[RelPath, Plan] = {}
        """Commits whose outcome nobody recorded."""
        self.cache: dict[bytes, bytes] = {}
        """Contents that came with their records and are in memory."""
        self.authors: dict[Incarnation, str] = {}
        self.merging = HostMerging(self)
        self.wholes = HostWholes(self)
        self.lives = 0
        self.relived: Incarnation | None = None
        """What it was restored to be, without a boot: others may know changes of it that it has not made."""
        self.is_anew = False
        """It has become another incarnation in the course of a connection: its peers have to hear that."""
        self.given = 0
        self.walks = 0
        self.lost: set[RelPath] = set()
        """Paths of which this member did not have what it took for known."""
        self.unasked_minted = 0
        """Versions made of what was here before this member joined, or lost its memory, and merges."""
        self.evidence: Evidence | None = None
        """What the journal proves, from a power cut until everything was looked at."""
        self.suspects: set[RelPath] = set()
        self.digested = 0
        """How many of the journal's rows the index knows."""
        self.programs.speaks = self._speaks
        self.programs.outside.follows = self.follows
        self.programs.is_old = self._is_old
        self.programs.is_unrecorded = lambda path: path in self.intents
        self.programs.is_shown = lambda path: self._shown_at(path) is not None
        self.programs.is_recorded = self._is_recorded
        self.programs.merges = self.merging.is_merged
        self.boot()
        self.programs.look(ROOT)

    def follows(self, path: RelPath) -> bool:
        """Return whether a group of this member has the path."""
        return is_followed(self.rules, self.name, path)

    @property
    def is_in_groups(self) -> bool:
        """Whether there is anything that this member follows."""
        return any(self.name in group.members for group in self.rules.groups)

    def _speaks(self, path: RelPath) -> bool:
        """Return whether the others listen to what is done here at a path."""
        group = self.rules.group_of(path)
        return not self.pulling and group is not None and may_send(group, self.name)

    def _is_old(self, path: RelPath) -> bool:
        """Return whether what is shown at a path lives on under an old name, for all that this member has taken into account."""
        row = self.index.row(path)
        entries = row.record.content.entries if row is not None else ()
        return row is not None and any(e.moves and covers(row.applied.content_seen, e.dot) for e in entries)

    def _is_recorded(self, path: RelPath, inode: int) -> bool:
        """Return whether the index has this object at a path."""
        row = self.index.row(path)
        shown = row.applied.observation if row is not None else None
        return shown is not None and shown.stamp.inode == inode

    # --------------------------------------------------------------------------------------------- lives and disasters

    def boot(self) -> None:
        """Start on a new boot: another incarnation, and another index to the peers."""
        self.lives += 1
        self.index_id = self.number * 1000 + self.lives
        self.incarnation = Incarnation(self.index_id + 1)
        self.authors[self.incarnation] = self.name
        self.index.start_incarnation()
        self.start()

    def speaks_in(self, scope: Scope) -> bool:
        """Return whether the others of a group listen to this member."""
        return any(group.scope == scope and may_send(group, self.name) for group in self.rules.groups)

    def start(self) -> None:
        """Start the daemon with these rules."""
        self.index.commit()
        self.engine = NotingEngine(
            self.index, self.rules, self.name, self.incarnation, self.authors, pulling=self.pulling
        )
        self.engine.watched(self.ledger, self.programs)
        scopes = [group.scope for group in self.rules.groups]
        if scopes != self.scopes:
            self.engine.follow_rules()
            self.scopes = scopes
            self._begin_anew()
        self.index.revise(self.engine.in_scope)
        self.unsorted = ROOT
        self.heard.clear()
        self.index.commit()

    def _begin_anew(self) -> None:
        """Be another index to the peers: they hear of every row once more."""
        self.lives += 1
        self.index_id = self.number * 1000 + self.lives

    def sort(self) -> None:
        """Write some more rows as the rules have them; nothing is asked of the groups that the index counts before all are."""
        if self.unsorted is not None:
            self.unsorted = self.engine.sort_rows(self.unsorted, SORTED_AT_ONCE)
            self.index.commit()
        if self.unsorted is None:
            self.index.revise(None)

    def sort_all(self) -> None:
        """Write all rows as the rules have them."""
        while self.unsorted is not None:
            self.sort()

    def adopt(self, rules: Rules) -> None:
        """Follow other rules: what they newly cover is found by comparing."""
        before, self.rules = self.rules, rules
        self.programs.outside.adopted(self.tree, lambda path: is_followed(before, self.name, path))
        # If the others listen from now on, what was not taken into account yet is a change like any other.
        self.ledger.replaced.update(self.programs.unheard)
        self.start()
        self.look_at_all()

    def crash(self, dice: Dice) -> None:
        """The daemon is killed and started again: what was not committed is gone, everything is compared."""
        self.index.rollback()
        self.brake.restart()
        self.programs.touched |= self.programs.unsettled
        self.cache.clear()
        self.programs.marks.clear()
        self.programs.moved.clear()
        if dice.one_in(3):
            self.boot()
        else:
            self.start()
        self.look_at_all()

    def look_at_all(self) -> None:
        """Have everything compared."""
        for path in self.tree.nodes.keys() | self.index.rows().keys():
            if path not in self.held:
                self.programs.look_again(path)

    # ---------------------------------------------------------------------------------------------- from disk to index

    def digest(self, now_ns: int) -> None:
        """Take all journalled changes into account, in one transaction."""
        self.sort()
        self._take_stock()
        unheard = self.programs.unheard
        self.programs.unheard = {data: path for data, path in unheard.items() if not self.follows(path)}
        if self.pulling:
            groups = [group for group in self.rules.groups if self.name in group.members]
            if not groups or not {group.scope for group in groups if self._is_told_in(group)} <= self.heard:
                self.programs.looks.clear()
                self.programs.marks.clear()
                return
            self._finish_pull()
        minted, joining = self.index.minted, False
        looks, self.programs.looks = self.programs.looks, {}
        self.wholes.take_along(looks, now_ns)
        self._add_names(looks)
        self._add_below(looks)
        for path, look in sorted(looks.items(), key=self._turn):
            joining = joining or look.joining or path in self.held
            found = self.tree.observed(path)
            known = self.index.row(path)
            if self._is_doubted(path, look):
                continue
            changed = self.engine.observe(
                path,
                found,
                now_ns,
                moved_from=look.moved_from,
                moved_to=self._moved_to(look, found, known),
                joining=look.joining,
                extra=self.extra,
                names=self._names_among(looks, path),
                linked_from=look.linked_from,
            )
            self._check_made(path, known, look)
            self._note_made(path)
            if changed and known is None and path and self.index.row(parent_of(path)) is None:
                self.programs.look_again(parent_of(path))
            if look.joining and known is None and found is not None and not changed:
                self.held.add(path)
            else:
                self.held.discard(path)
            self.merging.hold(path)
        self.engine.follow(looks, now_ns)
        self.evidence, self.digested = None, len(self.programs.rows)
        self._settle_directories(now_ns)
        if joining:
            self.unasked_minted += self.index.minted - minted
        self.commit()

    def _is_told_in(self, group: GroupRules) -> bool:
        """Return whether anybody else may say anything in a group."""
        return any(may_send(group, other) for other in group.members if other != self.name)

    def _is_doubted(self, path: RelPath, look: Look) -> bool:
        """Return whether what is there is nobody's change: a power cut may have left it."""
        found, source = (
            self.tree.observed(path),
            self.index.row(look.moved_from) if look.moved_from is not None else None,
        )
        shown = source.applied.observation if source is not None else None
        row = self.index.row(path)
        if self.evidence is None or look.joining or not self.evidence.is_damage(path, row, found, shown):
            return False
        if self.engine.doubt(path, found):
            self.suspects.add(path)
        return True

    def commit(self) -> None:
        """Make what was digested durable."""
        self.index.commit()
        self.programs.unsettled.clear()

    def _moved_to(self, look: Look, found: Observation | None, known: Row | None) -> RelPath | None:
        """Return where what was shown went; if something else is found, only if it is there."""
        before = known.applied.observation if known is not None else None
        if look.moved_to is None or found is None or before is None:
            return look.moved_to
        there = self.tree.stamp(look.moved_to)
        return look.moved_to if there is not None and there.inode == before.stamp.inode else None

    def _check_made(self, path: RelPath, before: Row | None, look: Look) -> None:
        """Nobody but users makes versions: a look at what they did not change finds none."""
        group, after = self.rules.group_of(path), self.index.row(path)
        if group is None or self.name not in group.members:
            return
        is_same = after is None or (before is not None and dots_of(before) == dots_of(after))
        is_late = look.joining or path in self.held  # what was to stay here alone meets a peer's version only now
        assert is_same or is_late or path in self.programs.touched, f"{self.name} made a version of {path!r}"
        if before is not None and after is not None and not is_late and may_send(group, self.name):
            self._check_replaced(path, before, after)

    def _check_replaced(self, path: RelPath, before: Row, after: Row) -> None:
        """Nothing that somebody has replaced here stands beside what he put in its place: it would come back."""
        shown, seen = after.applied.content_dot, before.applied.content_seen
        left = [e.dot for e in after.record.content.entries if e.dot != shown and covers(seen, e.dot)]
        is_replaced = content_of(before.applied.observation) != content_of(after.applied.observation)
        # What is nobody's stays so, if it is but touched.
        is_replaced = is_replaced and not before.doubt & Doubt.UNPROVEN
        assert not (is_replaced and left), f"{self.name} put {shown} at {path!r}, and {left} still stand there"

    def _note_made(self, path: RelPath) -> None:
        """What users changed here is taken into account."""
        if path in self.programs.touched and self.follows(path):
            self.programs.touched.remove(path)
            self.programs.unsettled.add(path)

    def _finish_pull(self) -> None:
        """The others were heard: what is here meets what the cluster has."""
        self.engine.finish_pull()
        self.pulling = False
        self.programs.looks.clear()
        for path in self.tree.nodes.keys() | self.index.rows().keys():
            self.programs.look_again(path, Look(joining=True))

    def _add_below(self, looks: dict[RelPath, Look]) -> None:
        """Have what was in a directory that is gone looked at before it."""
        for path in list(looks):
            if self._is_gone_directory(path):
                for below, row in self.index.rows_below(path):
                    if row.applied.observation is not None:
                        looks.setdefault(below, Look())

    def _add_names(self, looks: dict[RelPath, Look]) -> None:
        """Have the other names of what is there, or was, looked at as well."""
        for path in list(looks):
            row, node = self.index.row(path), self.tree.nodes.get(path)
            before = row.applied.observation if row is not None else None
            numbers = {before.stamp.inode if before is not None else 0, node.inode if node is not None else 0}
            for name in (name for number in numbers for name in self.index.paths_linked(number)):
                looks.setdefault(name, Look())

    def _names_among(self, looks: dict[RelPath, Look], path: RelPath) -> list[RelPath]:
        """Return the other names of what is at a path, of those that are looked at."""
        node = self.tree.nodes.get(path)
        return [name for name in self.tree.names_of(node) if name != path and name in looks] if node is not None else []

    def _turn(self, item: tuple[RelPath, Look]) -> tuple[int, int, RelPath]:
        path, look = item
        if self._is_gone_directory(path):
            return 2, -depth_of(path), path
        return int(look.moved_to is not None), depth_of(path), path

    def _is_gone_directory(self, path: RelPath) -> bool:
        row = self.index.row(path)
        before = row.applied.observation if row is not None else None
        return before is not None and before.kind is Kind.DIRECTORY and not self.tree.is_directory(path)

    def _settle_directories(self, now_ns: int) -> None:
        """Tell the engine of directories in which names changed."""
        marks, self.programs.marks = self.programs.marks, {}
        for directory, local in marks.items():
            stamp = self.tree.stamp(directory)
            if stamp is not None and self.tree.is_directory(directory) and directory not in self.held:
                self.engine.disturbed(directory, stamp, stamp.mtime_ns)
                if local:
                    self.engine.touched(directory, stamp.mtime_ns, now_ns)

    def _take_stock(self) -> None:
        """Find out what became of commits whose outcome nobody recorded."""
        for path, plan in sorted(self.intents.items(), key=lambda item: item[1].link is not None):
            found, source = self._found(plan), self.engine.link_source(plan)
            if is_carried_out(plan, found, source):
                self.engine.applied(plan, found if plan.link is None else source, racy=True)
                self.programs.marks.setdefault(parent_of(path), False)
            elif plan.step is Step.ATTRIBUTES and not self.engine.interrupted(plan, found) and plan.base is not None:
                for node in self.tree.nodes.values():
                    # Somebody moved it, half set as it was, and nobody can tell any more what he meant.
                    node.unsure = node.unsure or node.inode == plan.base.stamp.inode
        self.intents.clear()
        self.wholes.take_stock()
        self.index.commit()

    def _found(self, plan: Plan) -> Observation | None:
        """Return what is at a plan's path, or what was there under another name of it."""
        found = self.tree.observed(plan.path)
        if is_same_inode(plan.base, found):
            return found
        there = (self.tree.observed(name) for name in self.engine.other_names(plan))
        return next((one for one in there if is_same_inode(plan.base, one)), found)

    # ---------------------------------------------------------------------------------------------- from index to disk

    def apply(self, path: RelPath, now_ns: int) -> bool:
        """Plan and carry out one path; return whether anything was done."""
        plan = self._plan(path, now_ns)
        if plan is None:
            return False
        self._carry_out(plan, now_ns)
        self.engine.applied(plan, self.tree.observed(path))
        self.merging.hold(path)
        self.index.commit()
        return True

    def apply_some(self, dice: Dice, now_ns: int) -> None:
        """Apply a few of the pending paths, in any order."""
        pending = self.index.pending()
        for _ in range(min(len(pending), 1 + dice.below(3))):
            self.apply(pending.pop(dice.below(len(pending))), now_ns)

    def _plan(self, path: RelPath, now_ns: int) -> Plan | None:
        """Return the plan for a path, if it can be carried out now."""
        if self.intents or self.wholes.moving:
            return None  # nothing is applied before stock was taken
        plan = self.engine.plan(path)
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
            return False
        if not self.tree.is_directory(parent_of(path)) and not self.follows(parent_of(path)):
            return False  # somebody has to make it here
        if self.tree.stamp(path) != plan.expected or not self.tree.is_directory(parent_of(path)):
            self.programs.look_again(path)
            return False
        if plan.link is not None and self.tree.stamp(plan.link) != _stamp(self._shown_at(plan.link)):
            self.programs.look_again(plan.link)
            return False
        below = self.tree.below(path)
        assert plan.step is Step.ATTRIBUTES or not below or self._only_local(below), f"{path!r} has {below} below it"
        return plan.step is Step.ATTRIBUTES or not below

    def _names_at(self, path: RelPath | None) -> list[RelPath]:
        """Return all names of what is at a path."""
        node = self.tree.nodes.get(path) if path is not None else None
        return self.tree.names_of(node) if node is not None else []

    def _shown_at(self, path: RelPath | None) -> Observation | None:
        row = self.index.row(path) if path is not None else None
        return row.applied.observation if row is not None else None

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

    def holds(self, data: bytes) -> bool:
        """Return whether this member has a content on its disk."""
        return data in self.kept or any(node.data == data for node in self.tree.nodes.values())


def is_followed(rules: Rules, member: str, path: RelPath) -> bool:
    """Return whether a group of this member has the path."""
    group = rules.group_of(path)
    return group is not None and member in group.members


def _stamp(observation: Observation | None) -> Stamp | None:
    return observation.stamp if observation is not None else None
