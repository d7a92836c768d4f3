"""What programs do to a member's tree, at random: each step changes the disk and writes the journal."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from csfs.core.objects import Kind
from csfs.core.paths import ROOT, RelPath, is_below, parent_of
from tests.engine.fake_tree import FakeTree, Node

PATHS = [RelPath(path) for path in (b"a", b"b", b"d", b"d/a", b"d/b", b"d/e", b"d/e/a")]
USERS = (0, 1000, 1001, 1002)


@dataclass
class Ledger:
    """What all users together did: for the checks at the end."""

    written: set[bytes] = field(default_factory=set)
    replaced: set[bytes] = field(default_factory=set)
    """Contents that a user replaced or removed where they were shown."""
    granted: set[bytes] = field(default_factory=set)
    """Contents that a user made setuid."""
    steps: int = 0


@dataclass
class Look:
    """Why a path is to be looked at."""

    moved_from: RelPath | None = None
    moved_to: RelPath | None = None


@dataclass
class Programs:
    """The programs of one member. The journal is what the mount would have told."""

    name: str
    tree: FakeTree
    ledger: Ledger
    random: Random
    now_ns: int = 0
    looks: dict[RelPath, Look] = field(default_factory=dict)
    marks: dict[RelPath, bool] = field(default_factory=dict)
    """Directories in which names changed; True: by a program."""

    def step(self, now_ns: int) -> None:
        """Do one thing."""
        self.now_ns = now_ns
        self.ledger.steps += 1
        path = self.random.choice(PATHS)
        if not self.tree.is_directory(parent_of(path)):
            self.make_directory(parent_of(path))
            return
        self.random.choice(self._choices())(path)

    def _choices(self) -> list[Callable[[RelPath], None]]:
        return [
            self.write,
            self.write,
            self.write,
            self.save_as_editor,
            self.change_mode,
            self.change_owner,
            self.touch,
            self.rename,
            self.remove,
            self.make_directory,
            self.make_link,
            self.remove_tree,
            self.turn,
        ]

    def look(self, path: RelPath, look: Look | None = None) -> None:
        """Journal a change of a path."""
        look, earlier = look or Look(), self.looks.get(path, Look())
        self.looks[path] = Look(look.moved_from or earlier.moved_from, look.moved_to or earlier.moved_to)

    def mark(self, path: RelPath) -> None:
        """Journal that names in the path's directory changed."""
        self.marks[parent_of(path)] = True

    def _content(self) -> bytes:
        data = b"%s.%d" % (self.name.encode(), len(self.ledger.written)) + b"+" * self.random.randrange(3)
        self.ledger.written.add(data)
        return data

    def _lose(self, node: Node | None) -> None:
        """A user replaces what is shown, on purpose."""
        if node is not None and node.kind is Kind.FILE:
            self.ledger.replaced.add(node.data)

    def write(self, path: RelPath) -> None:
        """Write a file in place, making it if there is none."""
        node = self.tree.nodes.get(path)
        if node is None:
            self._create(path, self.tree.new_node(Kind.FILE, self._content(), mtime_ns=self.now_ns))
        elif node.kind is Kind.FILE:
            self._lose(node)
            node.data = self._content()
            node.mode &= ~0o6000  # as the kernel does
            node.mtime_ns = self.tree.rounded(self.now_ns)
            self.tree.changed(node)
            self.look(path)

    def save_as_editor(self, path: RelPath) -> None:
        """Write a new file and rename it over the old one."""
        node = self.tree.nodes.get(path)
        if node is None or node.kind is Kind.FILE:
            self._lose(node)
            self._create(path, self.tree.new_node(Kind.FILE, self._content(), mtime_ns=self.now_ns))

    def _create(self, path: RelPath, node: Node) -> None:
        node.uid = self.random.choice(USERS)
        self.tree.put(path, node, self.now_ns)
        self.look(path)
        self.mark(path)

    def change_mode(self, path: RelPath) -> None:
        """chmod."""
        node = self.tree.nodes.get(path)
        if node is None or node.kind is Kind.SYMLINK:
            return
        node.mode = self.random.choice((0o600, 0o640, 0o755, 0o4755))
        if node.mode & 0o6000:
            self.ledger.granted.add(node.data)
        self.tree.changed(node)
        self.look(path)

    def change_owner(self, path: RelPath) -> None:
        """chown."""
        node = self.tree.nodes.get(path)
        if node is not None:
            node.uid, node.gid = self.random.choice(USERS), self.random.choice(USERS)
            if node.kind is Kind.FILE:
                node.mode &= ~0o6000
            self.tree.changed(node)
            self.look(path)

    def touch(self, path: RelPath) -> None:
        """Set a time, sometimes an old one."""
        node = self.tree.nodes.get(path)
        if node is not None:
            node.mtime_ns = self.tree.rounded(self.now_ns // self.random.choice((1, 1, 2)))
            self.tree.changed(node)
            self.look(path)

    def rename(self, source: RelPath) -> None:
        """Rename a file or a whole directory, over another of its kind if there is one."""
        target = self.random.choice(PATHS)
        node, there = self.tree.nodes.get(source), self.tree.nodes.get(target)
        if node is None or target == source or is_below(target, source) or is_below(source, target):
            return
        if not self.tree.is_directory(parent_of(target)) or self.tree.below(target):
            return
        if there is not None and (there.kind is Kind.DIRECTORY) != (node.kind is Kind.DIRECTORY):
            return
        self._lose(there)
        for path in [source, *self.tree.below(source)]:
            moved = RelPath(target + path[len(source) :])
            self.tree.nodes[moved] = self.tree.nodes.pop(path)
            self.look(moved, Look(moved_from=path))
            self.look(path, Look(moved_to=moved))
        self.tree.changed(node)
        for path in (source, target):
            self.tree.move_time(parent_of(path), self.now_ns)
            self.mark(path)

    def remove(self, path: RelPath) -> None:
        """Remove a file, a link or an empty directory."""
        if path in self.tree.nodes and not self.tree.below(path):
            self._lose(self.tree.take(path, self.now_ns))
            self.look(path)
            self.mark(path)

    def remove_tree(self, path: RelPath) -> None:
        """rm -r."""
        for below in reversed(self.tree.below(path)):
            self.remove(below)
        self.remove(path)

    def make_directory(self, path: RelPath) -> None:
        """Make a directory, and those above it."""
        if path == ROOT or path in self.tree.nodes:
            return
        if self.tree.is_directory(parent_of(path)):
            self._create(path, self.tree.new_node(Kind.DIRECTORY, mode=0o755, mtime_ns=self.now_ns))

    def make_link(self, path: RelPath) -> None:
        """Make a symlink."""
        if path not in self.tree.nodes:
            target = self.random.choice((b"x", b"y"))
            self._create(path, self.tree.new_node(Kind.SYMLINK, target, mtime_ns=self.now_ns))

    def turn(self, path: RelPath) -> None:
        """Replace an object with one of another kind."""
        node = self.tree.nodes.get(path)
        if node is None:
            return
        self.remove_tree(path)
        if node.kind is Kind.FILE:
            self.make_directory(path)
        else:
            self.write(path)
