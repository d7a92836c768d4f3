"""What a simulated member does with what its disk shows."""

from csfs.core.objects import Kind, Observation
from csfs.core.paths import RelPath, depth_of, parent_of
from csfs.core.rows import Doubt
from csfs.core.versions import covers
from csfs.engine.links import is_same_inode
from csfs.engine.live import content_of
from csfs.engine.plans import is_carried_out
from csfs.engine.ports import Plan, Row, Step
from csfs.engine.rules import may_send
from scripts.simulation.index import dots_of
from scripts.simulation.member import Member
from scripts.simulation.telling import Look


class Digesting(Member):
    """A member that takes into account what its programs did, and finds out what became of commits."""

    def digest(self, now_ns: int) -> None:
        """Take all journalled changes into account, in one transaction."""
        self.sort()
        self._take_stock()
        unheard = self.programs.unheard
        self.programs.unheard = {data: path for data, path in unheard.items() if not self.follows(path)}
        if self.pulling:
            groups = [group for group in self.rules.groups if self.name in group.members]
            if not groups or not self.hearing.is_complete(groups, self.name):
                self.programs.looks.clear()
                self.programs.marks.clear()
                return
            self._finish_pull()
        minted, joining = self.index.minted, False
        looks, self.programs.looks = self.programs.looks, {}
        self.wholes.take_along(looks, now_ns)
        self._add_names(looks)
        self._add_below(looks)
        for path, look in looks.items() if self.evidence is not None else ():
            if not look.joining:
                self.engine.judge(self.evidence, path, self.tree.observed(path), look.moved_from)
        believed = looks if self.evidence is None else {}
        self.engine.find([(path, self.tree.observed(path), look.moved_from) for path, look in believed.items()])
        for path, look in sorted(looks.items(), key=self._turn):
            joining = joining or look.joining or path in self.held
            found = self.tree.observed(path)
            if self._is_taken(path, look):
                self.engine.observe(path, None, now_ns, moved_to=look.moved_to)
                self.note_made(path)
            if self._is_doubted(path, look):
                continue
            known = self.index.row(path)
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
            self.note_made(path)
            if changed and known is None and path and self.index.row(parent_of(path)) is None:
                self.programs.look_again(parent_of(path))
            if look.joining and found is not None and self.index.row(path) is None:
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

    def _is_taken(self, path: RelPath, look: Look) -> bool:
        """Return whether somebody has taken away what was there before a power cut left something else."""
        if self.evidence is None or look.joining:
            return False
        return self.engine.is_taken(self.evidence, path, self.tree.observed(path), look.moved_from, self.tree.stamp)

    def _is_doubted(self, path: RelPath, look: Look) -> bool:
        """Return whether what is there is nobody's change: a power cut may have left it."""
        found = self.tree.observed(path)
        if self.evidence is None or look.joining:
            return False
        if not self.engine.is_damage(self.evidence, path, found, look.moved_from, self.tree.stamp):
            return False
        if self.engine.doubt(path, found):
            self.suspects.add(path)
        return True

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
        is_nobodys = before.doubt & Doubt.UNPROVEN or (before.applied.content_dot is None and shown is None)
        is_replaced = is_replaced and not is_nobodys
        assert not (is_replaced and left), f"{self.name} put {shown} at {path!r}, and {left} still stand there"

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
            if is_carried_out(plan, found, source, self.tree.displaced):
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
