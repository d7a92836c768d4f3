"""A directory tree in memory: what programs do to it, what a store finds in it, and what a commit does."""

import hashlib
from copy import copy
from dataclasses import dataclass, field

from csfs.core.objects import Content, Kind, Meta, Observation, Stamp
from csfs.core.paths import ROOT, RelPath, is_below, parent_of
from csfs.core.treatment import FLAGS, flags_in
from scripts.simulation import rights

CAPABILITY = b"security.capability"


def hash_of(data: bytes) -> bytes:
    """Return what stands for the root hash here."""
    return hashlib.blake2b(data, digest_size=32).digest()


def is_large(data: bytes) -> bool:
    """Return whether a content is one of those that do not travel with their records."""
    return data.endswith(b"++")


@dataclass(frozen=True)
class Owner:
    """Who owns something: equal by name, by number where one side has no name for it."""

    name: str
    number: int

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Owner)
        return self.name == other.name if self.name and other.name else self.number == other.number

    def __hash__(self) -> int:
        raise TypeError("owners are compared by name or by number")


ROOT_USER = Owner("root", 0)


@dataclass
class Node:
    """One object. `data` is a file's bytes or a symlink's target. `flags` are what chattr sets, and forbid nothing here."""

    kind: Kind
    inode: int
    data: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    flags: bytes = b""
    flags_meant: bytes | None = None
    """What it was given, also where the disk has no flags; None: nobody has said."""
    capability: bytes = b""
    """What setcap gives a file."""
    acl: bytes = b""
    """As the disk has it, with numbers; empty for none."""
    rights_meant: rights.Rights | None = None
    """Who was given rights, also where the host does not know him; None: nobody has said."""
    is_made_here: bool = False
    """A program has made it, perhaps to look like what was there: whom the host could not show for that keeps his rights (R4)."""
    owner: Owner = field(default_factory=lambda: ROOT_USER)
    group: Owner = field(default_factory=lambda: ROOT_USER)
    """Whose it is meant to be, whatever this host can show."""
    unsure: bool = False
    """It was moved twice, or to where nobody listens, or installed without a record, or an account went before anybody looked.

    Whose it is, and who has rights, goes by numbers here.
    """


@dataclass
class FakeTree:
    """One member's disk. `names` are the users it knows, by number; times are kept to `granularity_ns`, and flags if it `has_flags`.

    Paths with the same node are hard links.
    """

    names: dict[int, str]
    granularity_ns: int = 1
    has_flags: bool = True
    nodes: dict[RelPath, Node] = field(default_factory=dict)
    inodes: int = 0
    ticks: int = 0
    grants: set[bytes] = field(default_factory=set)
    """Contents that were shown setuid."""
    enabled: set[bytes] = field(default_factory=set)
    """Contents that were shown with a capability."""
    names_first: frozenset[str] = frozenset()
    """Those that it knew from the start."""
    names_ever: dict[int, str] = field(default_factory=dict)
    """Those that it has ever known: that an account goes is no change of any file."""
    displaced: set[bytes] = field(default_factory=set)
    """Names that commits have used in the kept store."""

    def __post_init__(self) -> None:
        self.names_ever, self.names_first = dict(self.names), frozenset(self.names.values())
        self.nodes[ROOT] = self.new_node(Kind.DIRECTORY, mode=0o755)

    def new_node(self, kind: Kind, data: bytes = b"", mode: int = 0o644, mtime_ns: int = 0) -> Node:
        """Return an object with an inode of its own."""
        self.inodes += 1
        node = Node(kind, self.inodes, data, 0o777 if kind is Kind.SYMLINK else mode, mtime_ns=self.rounded(mtime_ns))
        self.changed(node)
        return node

    def rounded(self, time_ns: int) -> int:
        """Return a time as this disk keeps it."""
        return time_ns - time_ns % self.granularity_ns

    def changed(self, node: Node) -> None:
        """Move the object's change time, as every change does."""
        self.ticks += 1
        node.ctime_ns = self.ticks

    def is_directory(self, path: RelPath) -> bool:
        """Return whether there is a directory at the path."""
        node = self.nodes.get(path)
        return node is not None and node.kind is Kind.DIRECTORY

    def below(self, path: RelPath) -> list[RelPath]:
        """Return all paths below a directory, ascending."""
        return sorted(found for found in self.nodes if is_below(found, path))

    def names_of(self, node: Node) -> list[RelPath]:
        """Return all names of an object, ascending."""
        return sorted(path for path, other in self.nodes.items() if other is node)

    def copied(self) -> "FakeTree":
        """Return the whole tree with objects of its own, linked as they are."""
        copies = {id(node): copy(node) for node in self.nodes.values()}
        tree = copy(self)
        tree.nodes = {path: copies[id(node)] for path, node in self.nodes.items()}
        tree.displaced = set(self.displaced)
        return tree

    def put(self, path: RelPath, node: Node, now_ns: int) -> None:
        """Make the object live at the path; its directory's time moves."""
        assert self.is_directory(parent_of(path)), path
        self.nodes[path] = node
        self.changed(node)
        self.move_time(parent_of(path), now_ns)

    def take(self, path: RelPath, now_ns: int) -> Node:
        """Take the object away; its directory's time moves."""
        node = self.nodes.pop(path)
        self.changed(node)
        self.move_time(parent_of(path), now_ns)
        return node

    def move_time(self, directory: RelPath, now_ns: int) -> None:
        """A name in the directory was changed."""
        node = self.nodes[directory]
        node.mtime_ns = self.rounded(now_ns)
        self.changed(node)

    def stamp(self, path: RelPath) -> Stamp | None:
        """Return what lstat says."""
        node = self.nodes.get(path)
        if node is None:
            return None
        return Stamp(node.inode, len(node.data), node.mtime_ns, node.ctime_ns)

    def observed(self, path: RelPath) -> Observation | None:
        """Return everything that a store would find."""
        node, stamp = self.nodes.get(path), self.stamp(path)
        if node is None or stamp is None:
            return None
        is_file = node.kind is Kind.FILE
        return Observation(
            stamp=stamp,
            kind=node.kind,
            mode=node.mode,
            uid=node.uid,
            gid=node.gid,
            owner=self.names.get(node.uid, ""),
            group=self.names.get(node.gid, ""),
            mtime_ns=node.mtime_ns,
            size=len(node.data) if is_file else 0,
            hash=hash_of(node.data) if is_file else b"",
            target=node.data if node.kind is Kind.SYMLINK else b"",
            xattrs=(
                *(((FLAGS, node.flags),) if node.flags else ()),
                *(((CAPABILITY, node.capability),) if node.capability else ()),
                *rights.observed(node.acl, self.names),
            ),
            links=len(self.names_of(node)),
        )

    def number_of(self, name: str, number: int) -> int:
        """Return this host's number for an owner, the number itself where the name is unknown."""
        return next((own for own, known in self.names.items() if known == name), number)

    def give(self, node: Node, uid: int, gid: int) -> None:
        """Have somebody of this host own it; to whom has the number already, nothing is given that a disk could show."""
        if uid != node.uid:
            node.uid, node.owner = uid, Owner(self.names.get(uid, ""), uid)
        if gid != node.gid:
            node.gid, node.group = gid, Owner(self.names.get(gid, ""), gid)

    def grant(self, node: Node, number: int, permissions: int) -> None:
        """Have a user of this host, who is named in lists, get rights, or lose those that he has."""
        name = self.names.get(number, "")
        if name not in rights.NAMED or node.kind not in (Kind.FILE, Kind.DIRECTORY):
            return
        before = node.rights_meant
        if before is None:
            before = rights.rights_in(rights.observed(node.acl, self.names_ever))
        node.acl = rights.changed(node.acl, number, permissions)
        now = rights.rights_in(rights.observed(node.acl, self.names))
        others = {who: may for who, may in before.items() if who != name}
        node.rights_meant = others | {who: may for who, may in now.items() if who == name}

    def built(self, content: Content, meta: Meta, mtime_ns: int | None, data: bytes) -> Node:
        """Return a new object with these attributes."""
        node = self.new_node(content.kind, content.target or data)
        self.set_attributes(node, meta, mtime_ns)
        return node

    def set_attributes(self, node: Node, meta: Meta, mtime_ns: int | None) -> None:
        """Set attributes in place."""
        node.mode = meta.mode
        node.flags_meant = flags_in(meta.xattrs)
        node.flags = node.flags_meant if self.has_flags else b""
        node.capability = dict(meta.xattrs).get(CAPABILITY, b"")
        node.acl, node.rights_meant = rights.shown_for(meta.xattrs, self.names), rights.rights_in(meta.xattrs)
        node.is_made_here = False
        node.uid = self.number_of(meta.owner, meta.uid)
        node.gid = self.number_of(meta.group, meta.gid)
        node.owner, node.group = Owner(meta.owner, meta.uid), Owner(meta.group, meta.gid)
        node.unsure = False
        if mtime_ns is not None:
            node.mtime_ns = self.rounded(mtime_ns)
        self.changed(node)
        if node.kind is not Kind.FILE:
            return  # only what can be run has either; a directory in the place of a file that was removed has all that the file had
        if node.mode & 0o6000:
            self.grants.add(node.data)
        if node.capability:
            self.enabled.add(node.data)
