"""What programs do to names in a member's tree: links, renames and removals."""

from dataclasses import dataclass, replace

from csfs.core.changes import ChangeKind
from csfs.core.objects import Kind
from csfs.core.paths import RelPath, is_below, parent_of
from scripts.simulation.telling import D, Look, Telling, shown_by
from scripts.simulation.tree import Node


@dataclass
class Naming(Telling):
    """Programs that link, rename and remove."""

    def link(self, source: RelPath) -> None:
        """ln -f: another name for something, perhaps one that something else had."""
        self.hard_link(source, self.dice.choice(self.paths))

    def hard_link(self, source: RelPath, target: RelPath) -> None:
        """Give an object another name. The journal says so under its first name that the kernel knows."""
        node, there = self.tree.nodes.get(source), self.tree.nodes.get(target)
        if (
            node is None
            or node is there
            or node.kind is Kind.DIRECTORY
            or not self.tree.is_directory(parent_of(target))
        ):
            return
        if there is not None:
            if there.kind is Kind.DIRECTORY:
                return
            self._lose(target, there)
            self.tree.take(target, self.now_ns)
        if not any(map(self.outside.follows, self.tree.names_of(node))):
            self._comes_by_itself(node)
        is_doubted = any(map(self.is_doubted, self.tree.names_of(node)))
        self.tree.put(target, node, self.now_ns)
        self.ledger.linked(source, target)
        self.ledger.travelled(node.data, source, source)  # and is elsewhere, too: no name of it is an old one for sure
        self.ledger.name(target, self.name)
        self.ledger.gives(target, None, shown_by(node))
        if not is_doubted:  # to others, what has another name may be another file then
            self.ledger.keep_together(source, target, shown_by(node))
        self.ledger.paths.add(target)
        if self.speaks(target):
            self.ledger.made.add(target)
            if there is None and not self.is_awaited(target):
                # Whoever took something away from there before has not seen this name.
                self.ledger.taken.discard(target)
        self._gave(target, node)
        self.claim(node)
        self.row(ChangeKind.LINK, source, target)
        came = self.looks.get(source, Look())
        self.look(source)
        self.look(target, Look(linked_from=came.moved_from or came.linked_from or source))
        self.mark(target)

    def rename(self, source: RelPath) -> None:
        """Rename something."""
        self.move(source, self.dice.choice(self.paths))

    def shift(self, source: RelPath) -> None:
        """Rename something, and rename it on."""
        by = self.dice.choice(self.paths)
        self.move(source, by)
        self.move(by, self.dice.choice(self.paths))

    def move(self, source: RelPath, target: RelPath) -> None:
        """Rename a file or a whole directory, over another of its kind if there is one."""
        node, there = self.tree.nodes.get(source), self.tree.nodes.get(target)
        if node is None or not self._may_meet(source, target) or self.tree.below(target):
            return
        if there is node or (there is not None and (there.kind is Kind.DIRECTORY) != (node.kind is Kind.DIRECTORY)):
            return
        self._lose(target, there)
        self.row(ChangeKind.RENAME, source, target)
        is_quiet = not self._looks_at(source, target)
        for path in [source, *self.tree.below(source)]:
            node = self.tree.nodes.pop(path)
            self._moved(path, RelPath(target + path[len(source) :]), node, self._goes(path))
        if is_quiet and self.tree.is_directory(target):
            self.moved.append((source, target, self._looks_at(source, target)))
        self._names_changed(source, target)

    def _looks_at(self, *directories: RelPath) -> dict[RelPath, Look]:
        """Return what is to be looked at at and below these paths."""
        return {p: look for p, look in self.looks.items() if any(p == d or is_below(p, d) for d in directories)}

    def carry(self, target: RelPath) -> None:
        """Rename a directory that has something in it to a name that nothing has."""
        full = [p for p in sorted(self.tree.nodes) if p and self.tree.is_directory(p) and self.tree.below(p)]
        if full and target not in self.tree.nodes:
            self.move(self.dice.choice(full), target)

    def exchange(self, source: RelPath) -> None:
        """Exchange something with something else."""
        self.swap(source, self.dice.choice(self.paths))

    def swap(self, source: RelPath, target: RelPath) -> None:
        """Give two objects each other's name."""
        if not {source, target} <= self.tree.nodes.keys() or not self._may_meet(source, target):
            return
        if self.tree.nodes[source] is self.tree.nodes[target]:
            return
        self.row(ChangeKind.EXCHANGE, source, target)
        ours = {path: self.tree.nodes.pop(path) for path in [source, *self.tree.below(source)]}
        theirs = {path: self.tree.nodes.pop(path) for path in [target, *self.tree.below(target)]}
        earlier = {path: self._goes(path) for path in (*ours, *theirs)}
        for path, node in ours.items():
            self._moved(path, RelPath(target + path[len(source) :]), node, earlier[path])
        for path, node in theirs.items():
            self._moved(path, RelPath(source + path[len(target) :]), node, earlier[path])
        self._names_changed(source, target)

    def _may_meet(self, source: RelPath, target: RelPath) -> bool:
        nested = target == source or is_below(target, source) or is_below(source, target)
        return not nested and self.tree.is_directory(parent_of(target))

    def _goes(self, path: RelPath) -> Look:
        """Return what is told of a path from which an object goes: where it came from says nothing of what comes there next."""
        told = self.looks.get(path)
        if told is not None:
            self.looks[path] = replace(told, moved_from=None, linked_from=None)
        return told or Look()

    def _moved(self, path: RelPath, target: RelPath, node: Node, earlier: Look) -> None:
        first = earlier.moved_from or path
        self.tree.nodes[target] = node
        self.ledger.hands.add((self.name, target))
        if self.speaks(path) and self.speaks(target):
            is_another = self.is_unrecorded(path) or self.is_doubted(path)
            self.ledger.travelled(node.data, path, path if is_another else target)
            self.brought.add((target, node.data))
        elif self.speaks(path):
            self.taken_out.add(node.data)
            self._comes_by_itself(node)
        elif not self.outside.follows(target):
            self._comes_by_itself(node)  # nobody looks at it there, whatever was known of it before that was so
        self.claim(node)
        self.ledger.moved(path, target, self.name, counts=self.speaks(target))
        self.ledger.last.get(path, set()).discard(shown_by(node))
        self.ledger.gives(target, None, shown_by(node))
        self._goes(target)
        self.look(target, Look(moved_from=None if first == target else first, linked_from=earlier.linked_from))
        for one in sorted({path, first} - {target}):
            # What was shown here has gone elsewhere before this came, or this took its place.
            told = self.looks.get(one, Look())
            is_gone = one != first and (told.moved_to is not None or self.is_shown(one))
            self.look(one, None if is_gone else Look(moved_to=target))

    def _names_changed(self, *paths: RelPath) -> None:
        for path in paths:
            if path in self.tree.nodes:
                self.tree.changed(self.tree.nodes[path])
            self.tree.move_time(parent_of(path), self.now_ns)
            self.mark(path)

    def remove(self, path: RelPath) -> None:
        """Remove a file, a link or an empty directory."""
        if path in self.tree.nodes and not self.tree.below(path):
            self.ledger.name(path, self.name)
            self._lose(path, self.tree.take(path, self.now_ns))
            self.row(ChangeKind.REMOVE, path)
            self.look(path)
            self.mark(path)

    def remove_tree(self, path: RelPath) -> None:
        """rm -r."""
        for below in reversed(self.tree.below(path)):
            self.remove(below)
        self.remove(path)

    def clear(self, path: RelPath) -> None:
        """rm -r of the directory that most paths are in."""
        self.remove_tree(D)
