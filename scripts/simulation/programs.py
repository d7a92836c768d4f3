"""What programs do to a member's tree: each step changes the disk and writes the journal."""

from collections.abc import Callable
from dataclasses import dataclass

from csfs.core.changes import ChangeKind, Synced
from csfs.core.objects import Kind
from csfs.core.paths import ROOT, RelPath, parent_of
from scripts.simulation.dice import Dice
from scripts.simulation.ledger import Secret
from scripts.simulation.naming import Naming
from scripts.simulation.rights import NAMED
from scripts.simulation.telling import FLAGS, MODES, USERS, shown_by
from scripts.simulation.tree import Node


@dataclass
class Programs(Naming):
    """The programs of one member."""

    def step(self, operation: str, dice: Dice, now_ns: int) -> None:
        """Do one thing; what is not possible is passed over, as the kernel would refuse it."""
        self.now_ns, self.dice = now_ns, dice
        self.ledger.steps += 1
        path = dice.choice(self.paths)
        if not self.tree.is_directory(parent_of(path)):
            self.make_directory(parent_of(path))
            return
        self._operations()[operation](path)

    def _operations(self) -> dict[str, Callable[[RelPath], None]]:
        return {
            "write": self.write,
            "save": self.save_as_editor,
            "mode": self.change_mode,
            "owner": self.change_owner,
            "touch": self.touch,
            "rename": self.rename,
            "shift": self.shift,
            "exchange": self.exchange,
            "remove": self.remove,
            "directory": self.make_directory,
            "symlink": self.make_link,
            "tree": self.remove_tree,
            "turn": self.turn,
            "secret": self.write_secret,
            "give": self.give,
            "link": self.link,
            "sync": self.synchronize,
            "grow": self.grow,
            "carry": self.carry,
            "clear": self.clear,
            "hold": self.hold,
        }

    def write(self, path: RelPath) -> None:
        """Write a file in place, making it if there is none."""
        node = self.tree.nodes.get(path)
        if self.full:
            return
        if node is None:
            self._create(path, self.tree.new_node(Kind.FILE, self._content(path), mtime_ns=self.now_ns))
        elif node.kind is Kind.FILE:
            self._lose(path, node)
            shown, before, node.data = shown_by(node), node.data, self._content(path)
            self.ledger.edited(before, node.data, aware=self.is_old(path))
            node.mode, node.capability = node.mode & ~0o6000, b""  # as the kernel does
            node.mtime_ns = self.tree.rounded(self.now_ns)
            self.tree.changed(node)
            self.row(ChangeKind.CONTENT, path)
            self.open.pop(node.inode, None)
            self.look(path)
            self.outside.wrote(node.data, self.tree.names_of(node))
            self._changed(path, node, shown)
            if not node.mode & 0o077:
                self.ledger.secrets[node.data] = Secret(self.ledger.steps, self.name, self.forgotten)

    def hold(self, path: RelPath) -> None:
        """Change a mapped file in memory, of which nobody is told until it is let go; or let go of all that are."""
        node = self.tree.nodes.get(path)
        if self.open and self.dice.one_in(2):
            self.let_go(self.now_ns)
        elif node is not None and node.kind is Kind.FILE:
            self.open[node.inode] = node

    def let_go(self, now_ns: int) -> None:
        """The kernel writes what was changed in memory, into files by whatever names; nobody finds it again where none is left."""
        self.now_ns = now_ns
        for node in [] if self.full else list(self.open.values()):
            names = self.tree.names_of(node)
            if names:
                self.write(names[0])
            else:
                self._content(ROOT)
        if not self.full:
            self.open.clear()

    def write_secret(self, path: RelPath) -> None:
        """Take a file away from others, then write into it what they must not see."""
        node = self.tree.nodes.get(path)
        if node is not None and node.kind is Kind.FILE and not self.full:
            node.mode = 0o600
            self.write(path)

    def save_as_editor(self, path: RelPath) -> None:
        """Write a new file and rename it over the old one."""
        node = self.tree.nodes.get(path)
        if (node is None or node.kind is Kind.FILE) and not self.full:
            self._lose(path, node)
            data = self._content(path)
            if node is not None:
                self.ledger.edited(node.data, data, aware=self.is_old(path))
            self._create(path, self.tree.new_node(Kind.FILE, data, mtime_ns=self.now_ns))

    def _create(self, path: RelPath, node: Node) -> None:
        self.ledger.name(path, self.name)
        node.is_made_here = True
        self.tree.give(node, self.dice.choice(USERS), 0)
        there = self.tree.nodes.get(path)
        self.ledger.gives(path, shown_by(there) if there is not None else None, shown_by(node))
        is_new = there is None
        if is_new:
            self.ledger.hands.add((self.name, path))
        self.tree.put(path, node, self.now_ns)
        self.ledger.paths.add(path)
        if self.speaks(path):
            self.ledger.made.add(path)
            if is_new and not self.is_awaited(path) and node.kind is Kind.FILE:
                # Whoever took something away from there before has not seen this, nor what is equal to it.
                self.ledger.taken.discard(path)
        self._gave(path, node)
        self.row(ChangeKind.CREATE, path)
        self.look(path)
        if node.kind is Kind.FILE:
            self.outside.wrote(node.data, [path])
        self.mark(path)

    def change_mode(self, path: RelPath) -> None:
        """chmod, chattr, setcap and setfacl."""
        node = self.tree.nodes.get(path)
        if node is None or node.kind is Kind.SYMLINK:
            return
        node.mode = self.dice.choice(MODES)
        if self.tree.has_flags and node.kind in (Kind.FILE, Kind.DIRECTORY):
            node.flags = node.flags_meant = self.dice.choice(FLAGS)
        if node.kind is Kind.FILE and self.tree.ticks % 3 == 0:
            node.capability = b"" if node.capability else b"may bind low ports"
        self._grant(node)
        self._gave(path, node)
        self.tree.changed(node)
        self.row(ChangeKind.META, path)
        self.look(path)

    def _grant(self, node: Node) -> None:
        self.tree.grant(node, self.tree.number_of(NAMED[1], USERS[3]) if self.tree.ticks % 2 else USERS[1], 4)

    def change_owner(self, path: RelPath) -> None:
        """chown."""
        node = self.tree.nodes.get(path)
        if node is not None:
            user, group = self.dice.choice(USERS), self.dice.choice(USERS)
            self.tree.give(node, user, group)
            self.tree.grant(node, group, 6 if user == group else 4)
            if node.kind is Kind.FILE:
                node.mode, node.capability = node.mode & ~0o6000, b""
            self.tree.changed(node)
            self.row(ChangeKind.META, path)
            self.look(path)

    def give(self, path: RelPath) -> None:
        """chown and chmod, as install does."""
        self.change_owner(path)
        self.change_mode(path)

    def synchronize(self, path: RelPath) -> None:
        """fsync."""
        node = self.tree.nodes.get(path)
        if node is not None and node.kind is Kind.FILE:
            self.row(ChangeKind.SYNCED, path, synced=Synced(node.inode, len(node.data), node.mtime_ns))
            self.claim(node)  # should the power go again before anybody has looked
            self.sync(path)

    def touch(self, path: RelPath) -> None:
        """Set a time, sometimes an old one, and an ACL."""
        node = self.tree.nodes.get(path)
        if node is not None:
            shown = shown_by(node)
            node.mtime_ns = self.tree.rounded(self.now_ns // self.dice.choice((1, 1, 2)))
            self.ledger.hands.add((self.name, path))
            self.ledger.touched.setdefault(node.data, set()).add(self.name)
            if self.is_old(path):
                self.ledger.stayed(path, node.data)
            self._grant(node)
            self.tree.changed(node)
            self.row(ChangeKind.META, path)
            self.look(path)
            self._changed(path, node, shown)

    def grow(self, path: RelPath) -> None:
        """Make a directory with some files in it, and another directory."""
        if path in self.tree.nodes:
            return
        self.make_directory(path)
        if path.count(b"/") < 2 and self.dice.one_in(2):
            self.make_directory(RelPath(path + b"/e"))
        for name in (b"/a", b"/b", b"/e/a"):
            if self.tree.is_directory(parent_of(RelPath(path + name))):
                self.write(RelPath(path + name))

    def make_directory(self, path: RelPath) -> None:
        """Make a directory."""
        if path == ROOT or path in self.tree.nodes or self.full:
            return
        if self.tree.is_directory(parent_of(path)):
            self._create(path, self.tree.new_node(Kind.DIRECTORY, mode=0o755, mtime_ns=self.now_ns))

    def make_link(self, path: RelPath) -> None:
        """Make a symlink."""
        if path not in self.tree.nodes and not self.full:
            target = self.dice.choice((b"x", b"y"))
            self._create(path, self.tree.new_node(Kind.SYMLINK, target, mtime_ns=self.now_ns))

    def turn(self, path: RelPath) -> None:
        """Replace an object with one of another kind."""
        node = self.tree.nodes.get(path)
        if node is None or self.full:
            return
        self.remove_tree(path)
        if node.kind is Kind.FILE:
            self.make_directory(path)
        else:
            self.write(path)
