"""What programs do to a member's tree: each step changes the disk and writes the journal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from csfs.core.changes import Change, ChangeKind, Synced
from csfs.core.objects import Kind
from csfs.core.paths import ROOT, RelPath, is_below, parent_of
from scripts.simulation.dice import Dice
from scripts.simulation.ledger import Grant, Ledger, Shown, slots_of, text_of
from scripts.simulation.outside import Outside
from scripts.simulation.tree import FakeTree, Node

PATHS = [RelPath(path) for path in (b"a", b"b", b"d", b"d/a", b"d/b", b"d/e", b"d/e/a")]
D = PATHS[2]
USERS = (0, 1000, 1001, 1002)
SLOTS = 16
MODES = (0o600, 0o640, 0o755, 0o4755)
FLAGS = (b"", b"", b"a", b"i")


@dataclass
class Look:
    """Why a path is to be looked at."""

    moved_from: RelPath | None = None
    moved_to: RelPath | None = None
    joining: bool = False
    linked_from: RelPath | None = None


@dataclass
class Programs:
    """The programs of one member. The journal is what the mount would have told.

    `speaks`: whether what is done at a path counts for the cluster; a member that only receives, or is none yet, is set right.
    `is_old`: whether this member knows that what it shows at a path was moved away.
    """

    name: str
    tree: FakeTree
    ledger: Ledger
    now_ns: int = 0
    full: bool = False
    speaks: Callable[[RelPath], bool] = lambda path: True
    is_old: Callable[[RelPath], bool] = lambda path: False
    is_unrecorded: Callable[[RelPath], bool] = lambda path: False
    """Whether a kill kept from being recorded how what is at a path came there: whoever moves it moves another file."""
    is_shown: Callable[[RelPath], bool] = lambda path: False
    """Whether something was at a path when anybody looked there last."""
    is_recorded: Callable[[RelPath, int], bool] = lambda path, inode: True
    """Whether the index has this object at a path. What was saved there since is another file to who exchanges it."""
    is_awaited: Callable[[RelPath], bool] = lambda path: True
    """Whether some member has yet to look at a path: what was done there may come to be known after what others do now."""
    merges: Callable[[RelPath], bool] = lambda path: False
    """Whether texts at a path are put together: then users edit parts of them."""
    paths: Sequence[RelPath] = tuple(PATHS)
    dice: Dice = field(default_factory=lambda: Dice(0))
    looks: dict[RelPath, Look] = field(default_factory=dict)
    outside: Outside = field(default_factory=Outside)
    unheard: dict[bytes, RelPath] = field(default_factory=dict)
    """What was replaced here, and where, while nobody listened to this member there."""
    taken_out: set[bytes] = field(default_factory=set)
    """What was moved from where the others listen to this member to where they do not: for them it was removed."""
    touched: set[RelPath] = field(default_factory=set)
    """Paths that programs changed since they were last taken into account."""
    unsettled: set[RelPath] = field(default_factory=set)
    """Those that were, and of which it is not durable yet."""
    rows: list[Change] = field(default_factory=list)
    """The journal's rows since what the index on the disk knows."""
    moved: list[tuple[RelPath, RelPath, dict[RelPath, Look]]] = field(default_factory=list)
    """Directories that were moved, with the looks that this alone asks for at and below both names; none if something else did."""
    sync: Callable[[RelPath], None] = lambda path: None
    marks: dict[RelPath, bool] = field(default_factory=dict)
    """Directories in which names changed; True: by a program."""

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
        }

    # ------------------------------------------------------------------------------------------------------ journal

    def look(self, path: RelPath, look: Look | None = None) -> None:
        """Journal a change of a path; what is changed under one name is changed under all."""
        self.touched.add(path)
        node = self.tree.nodes.get(path)
        names = self.tree.names_of(node) if node is not None else []
        self.touched.update(names)
        self.outside.changed((path, *names), node)
        self.look_again(path, look)
        for name in names if not self.speaks(path) else ():
            self.look_again(name)  # the mount tells rows under names that are followed

    def row(self, kind: ChangeKind, path: RelPath, target: RelPath | None = None, synced: Synced | None = None) -> None:
        """Journal what was done; what has to be looked at is said apart."""
        self.rows.append(Change(sequence=0, kind=kind, path=path, target=target, synced=synced))

    def look_again(self, path: RelPath, look: Look | None = None) -> None:
        """Have a path looked at."""
        look, earlier = look or Look(), self.looks.get(path, Look())
        self.moved = [one for one in self.moved if path not in one[2]]
        self.looks[path] = Look(
            look.moved_from or earlier.moved_from,
            look.moved_to or earlier.moved_to,
            look.joining or earlier.joining,
            look.linked_from or earlier.linked_from,
        )

    def mark(self, path: RelPath) -> None:
        """Journal that names in the path's directory changed."""
        self.marks[parent_of(path)] = True

    # ------------------------------------------------------------------------------------------------------- ledger

    def _content(self, path: RelPath) -> bytes:
        data = b"%s.%d" % (self.name.encode(), len(self.ledger.written)) + b"+" * self.dice.below(3)
        if self.merges(path) and not self.dice.one_in(5):
            data = self._edited(self.tree.nodes.get(path), data)
        self.ledger.wrote(path, data, self.name)
        return data

    def _edited(self, node: Node | None, data: bytes) -> bytes:
        """Return a text with one part replaced: that of a file, if it is one, or a new one."""
        slots = slots_of(node.data) if node is not None else []
        if len(slots) != SLOTS:
            slots = [b"-"] * SLOTS
        slots[self.dice.below(SLOTS)] = data
        return text_of(slots)

    def _lose(self, path: RelPath, node: Node | None) -> None:
        """A user replaces what is shown, on purpose."""
        if node is None:
            return
        if self.speaks(path):
            self.ledger.taken.add(path)
        self.ledger.last.get(path, set()).discard(shown_by(node))
        speaks = any(self.speaks(name) for name in (path, *self.tree.names_of(node)))
        is_ours = node.data in self.taken_out or self.ledger.writers.get(node.data) == self.name
        if node.kind is Kind.FILE and (speaks or is_ours or node.data in self.ledger.received):
            self.ledger.replaced.add(node.data)
        else:
            self.unheard[node.data] = path

    def _gave(self, path: RelPath, node: Node) -> None:
        """A user says what others may do with an object."""
        for name in (path, *self.tree.names_of(node)):
            self.ledger.gave(name, self.name, node.mode)
        if node.mode & 0o6000:
            self.ledger.granted.add(node.data)

    # --------------------------------------------------------------------------------------------------- operations

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
            node.mode &= ~0o6000  # as the kernel does
            node.mtime_ns = self.tree.rounded(self.now_ns)
            self.tree.changed(node)
            self.row(ChangeKind.CONTENT, path)
            self.look(path)
            self.outside.wrote(node.data, self.tree.names_of(node))
            self._changed(path, node, shown)
            if not node.mode & 0o077:
                self.ledger.secrets[node.data] = Grant(self.ledger.steps, self.name, 0)

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
            came = self.looks.get(path, Look())
            is_exchanged = came.moved_from is not None and came.moved_to is not None
            if (
                node is not None and not is_exchanged
            ):  # where something was put in exchange, what is saved is another file
                self.ledger.edited(node.data, data, aware=self.is_old(path))
            self._create(path, self.tree.new_node(Kind.FILE, data, mtime_ns=self.now_ns))

    def _changed(self, path: RelPath, node: Node, before: Shown) -> None:
        self.ledger.changed(path, self.tree.names_of(node), before, shown_by(node))

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
        self.tree.put(target, node, self.now_ns)
        self.ledger.linked(source, target)
        self.ledger.travelled(node.data, source, source)  # and is elsewhere, too: no name of it is an old one for sure
        self.ledger.name(target, self.name)
        self.ledger.gives(target, None, shown_by(node))
        self.ledger.keep_together(source, target, shown_by(node))
        self.ledger.paths.add(target)
        if self.speaks(target):
            self.ledger.made.add(target)
        self._gave(target, node)
        came = self.looks.get(source, Look())
        self.look(source)
        self.look(target, Look(linked_from=came.moved_from or came.linked_from or source))
        self.mark(target)

    def change_mode(self, path: RelPath) -> None:
        """chmod, chattr and setfacl."""
        node = self.tree.nodes.get(path)
        if node is None or node.kind is Kind.SYMLINK:
            return
        node.mode = self.dice.choice(MODES)
        if self.tree.has_flags and node.kind in (Kind.FILE, Kind.DIRECTORY):
            node.flags = node.flags_meant = self.dice.choice(FLAGS)
        self._grant(node)
        self._gave(path, node)
        self.tree.changed(node)
        self.row(ChangeKind.META, path)
        self.look(path)

    def _grant(self, node: Node) -> None:
        self.tree.grant(node, USERS[3] if self.tree.ticks % 2 else USERS[1], 4)

    def change_owner(self, path: RelPath) -> None:
        """chown."""
        node = self.tree.nodes.get(path)
        if node is not None:
            user, group = self.dice.choice(USERS), self.dice.choice(USERS)
            self.tree.give(node, user, group)
            self.tree.grant(node, group, 6 if user == group else 4)
            if node.kind is Kind.FILE:
                node.mode &= ~0o6000
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
            self.sync(path)

    def touch(self, path: RelPath) -> None:
        """Set a time, sometimes an old one, and an ACL."""
        node = self.tree.nodes.get(path)
        if node is not None:
            shown = shown_by(node)
            node.mtime_ns = self.tree.rounded(self.now_ns // self.dice.choice((1, 1, 2)))
            self.ledger.hands.add((self.name, path))
            if self.is_old(path):
                self.ledger.stayed(path, node.data)
            self._grant(node)
            self.tree.changed(node)
            self.row(ChangeKind.META, path)
            self.look(path)
            self._changed(path, node, shown)

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
            self._moved(path, RelPath(target + path[len(source) :]), node, self.looks.get(path))
        if is_quiet and self.tree.is_directory(target):
            self.moved.append((source, target, self._looks_at(source, target)))
        self._names_changed(source, target)

    def _looks_at(self, *directories: RelPath) -> dict[RelPath, Look]:
        """Return what is to be looked at at and below these paths."""
        return {p: look for p, look in self.looks.items() if any(p == d or is_below(p, d) for d in directories)}

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
        earlier = {path: self.looks.get(path) for path in (*ours, *theirs)}
        for path, node in ours.items():
            self._moved(path, RelPath(target + path[len(source) :]), node, earlier[path], exchanged=True)
        for path, node in theirs.items():
            self._moved(path, RelPath(source + path[len(target) :]), node, earlier[path], exchanged=True)
        self._names_changed(source, target)

    def _may_meet(self, source: RelPath, target: RelPath) -> bool:
        nested = target == source or is_below(target, source) or is_below(source, target)
        return not nested and self.tree.is_directory(parent_of(target))

    def _moved(
        self, path: RelPath, target: RelPath, node: Node, earlier: Look | None, *, exchanged: bool = False
    ) -> None:
        first = earlier.moved_from if earlier is not None and earlier.moved_from is not None else path
        self.tree.nodes[target] = node
        self.ledger.hands.add((self.name, target))
        if self.speaks(path) and self.speaks(target):
            is_another = self.is_unrecorded(path) or (exchanged and not self.is_recorded(first, node.inode))
            self.ledger.travelled(node.data, path, path if is_another else target)
        elif self.speaks(path):
            self.taken_out.add(node.data)
            self._comes_by_itself(node)
        if node.data in self.ledger.damaged:
            self.ledger.damaged.remove(node.data)
            self.ledger.granted |= {node.data} if node.mode & 0o6000 else set()  # it is his now, as it is
        self.ledger.moved(path, target, self.name, counts=self.speaks(target))
        self.ledger.last.get(path, set()).discard(shown_by(node))
        self.ledger.gives(target, None, shown_by(node))
        if target in self.looks:
            self.looks[target] = replace(self.looks[target], moved_from=None)
        self.look(target, Look(moved_from=None if first == target else first))
        for one in sorted({path, first} - {target}):
            # What was shown here has gone elsewhere before this came, or this took its place.
            told = self.looks.get(one, Look())
            is_gone = one != first and (told.moved_to is not None or self.is_shown(one))
            if is_gone and told.moved_from == first:
                self.looks[one] = replace(told, moved_from=None)  # which is not what comes here next
            self.look(one, None if is_gone else Look(moved_to=target))

    def _comes_by_itself(self, node: Node) -> None:
        """What comes from where this member follows nothing is what this disk shows: owners by number, and no flags that it has not."""
        node.unsure, node.flags_meant, node.rights_meant = True, None, None

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


def shown_by(node: Node) -> Shown:
    """Return what an object shows of what users gave it."""
    return node.data, node.mtime_ns // 1_000
