"""What programs tell of what they do: the journal's rows, and the ledger of all users."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from csfs.core.changes import Change, ChangeKind, Synced
from csfs.core.objects import Kind
from csfs.core.paths import RelPath, parent_of
from scripts.simulation.dice import Dice
from scripts.simulation.ledger import Ledger, Shown, slots_of, text_of
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
class Telling:
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
    is_doubted: Callable[[RelPath], bool] = lambda path: False
    """Whether what is at a path is nobody's, for all that this member knows: a power cut may have left it."""
    is_shown: Callable[[RelPath], bool] = lambda path: False
    """Whether something was at a path when anybody looked there last."""
    is_awaited: Callable[[RelPath], bool] = lambda path: True
    """Whether some member has yet to look at a path: what was done there may come to be known after what others do now."""
    is_last: Callable[[RelPath, bytes], bool] = lambda path, data: False
    """Whether this member has the last copy of a content that its author has lost, and nobody listens at a path to who had it since."""
    is_heard: Callable[[RelPath, bytes], bool] = lambda path, data: False
    """Whether another member knows of a content at a path."""
    merges: Callable[[RelPath], bool] = lambda path: False
    """Whether texts at a path are put together: then users edit parts of them."""
    paths: Sequence[RelPath] = tuple(PATHS)
    dice: Dice = field(default_factory=lambda: Dice(0))
    looks: dict[RelPath, Look] = field(default_factory=dict)
    outside: Outside = field(default_factory=Outside)
    forgotten: tuple[range, ...] = ()
    """The ledger's steps that this member does not remember, because it was set back to before them."""
    unheard: dict[bytes, RelPath] = field(default_factory=dict)
    """What was replaced here, and where, while nobody listened to this member there."""
    taken_out: set[bytes] = field(default_factory=set)
    """What was moved from where the others listen to this member to where they do not: for them it was removed."""
    brought: set[tuple[RelPath, bytes]] = field(default_factory=set)
    """Where contents were moved to, among paths where they listen."""
    touched: set[RelPath] = field(default_factory=set)
    """Paths that programs changed since they were last taken into account."""
    unsettled: set[RelPath] = field(default_factory=set)
    """Those that were, and of which it is not durable yet."""
    rows: list[Change] = field(default_factory=list)
    """The journal's rows since what the index on the disk knows."""
    moved: list[tuple[RelPath, RelPath, dict[RelPath, Look]]] = field(default_factory=list)
    """Directories that were moved, with the looks that this alone asks for at and below both names; none if something else did."""
    open: dict[int, Node] = field(default_factory=dict)
    """By inode, files that a program has changed in memory alone, and that nobody was told of."""
    sync: Callable[[RelPath], None] = lambda path: None
    marks: dict[RelPath, bool] = field(default_factory=dict)
    """Directories in which names changed; True: by a program."""

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

    def adopted(self) -> None:
        """The rules have changed. What is where it was moved to, and others have not heard of it, nor listen now, was taken out."""
        left_out = {one for one in self.brought if not self.speaks(one[0])}
        self.brought -= left_out
        there = {(path, node.data) for path, node in self.tree.nodes.items()}
        self.taken_out |= {data for path, data in left_out & there if not self.is_heard(path, data)}
        for path, _ in left_out & there:
            if path in self.looks:
                self._comes_by_itself(self.tree.nodes[path])  # nobody has looked at it there before
        for path, look in self.looks.items():
            if path in self.tree.nodes and look.moved_from is not None and not self.outside.follows(path):
                self._comes_by_itself(self.tree.nodes[path])  # nor does anybody look now where it came from

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
        names = self.tree.names_of(node)
        if not {*names} - {path}:
            self.open.pop(node.inode, None)  # what is changed in memory alone goes with the last name
        speaks = any(map(self.speaks, (path, *names)))
        is_ours = node.data in self.taken_out or self.ledger.writers.get(node.data) == self.name
        if node.kind is Kind.FILE and (speaks or is_ours or self.is_last(path, node.data)):
            self.ledger.replaced.add(node.data)
        else:
            self.unheard[node.data] = path

    def _gave(self, path: RelPath, node: Node) -> None:
        """A user says what others may do with an object."""
        for name in (path, *self.tree.names_of(node)):
            self.ledger.gave(name, self.name, node.mode)
        if node.mode & 0o6000:
            self.ledger.granted.add(node.data)
        if node.capability:
            self.ledger.enabled.add(node.data)

    def _changed(self, path: RelPath, node: Node, before: Shown) -> None:
        self.ledger.changed(path, self.tree.names_of(node), before, shown_by(node))

    def claim(self, node: Node) -> None:
        """What a power cut has left of a file is somebody's now, as it is."""
        if node.data in self.ledger.damaged:
            self.ledger.damaged.remove(node.data)
            self.ledger.claimed.add(node.data)
            self.ledger.granted |= {node.data} if node.mode & 0o6000 else set()
            self.ledger.enabled |= {node.data} if node.capability else set()

    def _comes_by_itself(self, node: Node) -> None:
        """What comes from where this member follows nothing is what this disk shows: owners by number, and no flags that it has not."""
        node.unsure, node.flags_meant, node.rights_meant = True, None, None


def shown_by(node: Node) -> Shown:
    """Return what an object shows of what users gave it."""
    return node.data, node.mtime_ns // 1_000
