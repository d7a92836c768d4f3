"""The inode table: which objects the kernel knows, how to reach them again, and by which names.

The inode number that the kernel gets is the one underneath, so programs see the same numbers with and without csfs. An object is
reached by its file handle, which follows it through renames and is never taken for another object that got its number; where
the file system refuses handles, by parent and name, with the number checked. Objects on other mounts below the volume get
numbers of their own (their own could be taken; by a bind mount the object itself may be known as part of the volume), and are
passed through by name without being followed.

The table says exactly what the kernel may have cached: a node lives from the first lookup to the last FORGET.
"""

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Container

from csfs.core.paths import RESERVED, ROOT, RelPath, joined
from csfs.mount import syscalls
from csfs.mount.nodes import AWAKE_MAX, Nodes
from csfs.mount.nodes import Name as Name
from csfs.mount.nodes import Node as Node

ROOT_INODE = 1
FOREIGN_INODE_FIRST = 1 << 62
"""No file system numbers that far; XFS uses up to 2**63 only beyond petabytes."""
DIRECTORIES_OPEN_MAX = 256
DEPTH_MAX = 8_192
"""Deeper than PATH_SIZE_MAX allows: a longer walk upwards has met a loop that a rename behind our back made."""
PINNED_MAX = 8_192
"""Objects without a name that are held for the kernel, which may be slow to forget what was removed: thousands of them, for a minute.
Beyond that, they can be reached only as long as a program has them open: descriptors are for what programs do."""
NAMES_MAX = 1_000
"""Of one object: ext4 has up to 65,000, and each is compared with all others when a directory is listed."""

_OPEN_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Inodes:
    """All nodes by inode number. Used by the mount's loop alone."""

    def __init__(self, root: int, mountpoints: Container[Name] = frozenset(), awake_max: int = AWAKE_MAX) -> None:
        """`root` is a descriptor of the directory underneath, opened before mounting; it stays the caller's.

        `mountpoints` are names at which other mounts lie; those of another file system are recognised without.
        """
        status = os.fstat(root)
        self.root = root
        self._mountpoints = mountpoints
        self.device = status.st_dev
        self.root_inode_underneath = status.st_ino
        self._handles = _has_handles(root)
        self._nodes = Nodes(awake_max)
        self._pinned = 0
        self._directories: OrderedDict[int, int] = OrderedDict()
        self._foreign: dict[tuple[int, int], int] = {}
        self._foreign_next = FOREIGN_INODE_FIRST
        node = Node(ROOT_INODE, b"", True)
        node.pinned = root
        node.lookups = 1
        node.seen = True
        self._nodes.add(node)

    def __len__(self) -> int:
        return len(self._nodes)

    def described(self) -> str:
        """Return how many objects the table holds, for the log."""
        return f"{len(self)} inodes known, {len(self._directories)} directories open, {self._pinned} without a name"

    def node(self, inode: int) -> Node:
        """Return the node that the kernel names.

        Raises:
            OSError: ESTALE, there is none.
        """
        node = self._nodes.get(inode)
        if node is None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return node

    def known(self, status: os.stat_result, parent: Node | None = None) -> Node | None:
        """Return the node of the object that lstat described (in `parent`), None if the kernel does not know it."""
        if parent is not None and parent.foreign:
            return self._nodes.get(self._foreign.get((status.st_dev, status.st_ino), 0))
        return self._nodes.get(self._number(status.st_dev, status.st_ino))

    def seen(self, status: os.stat_result) -> bool:
        """Return whether programs may know, through the kernel, the object that lstat described."""
        node = self.known(status)
        return node is not None and node.seen

    def _number(self, device: int, inode: int) -> int:
        if device == self.device:
            return ROOT_INODE if inode == self.root_inode_underneath else inode
        return self._foreign.get((device, inode), 0)

    # ------------------------------------------------------------------------------------------------- finding objects

    def found(self, parent: Node, name: bytes) -> tuple[Node, os.stat_result]:
        """Return the node of `name` in `parent` as it is underneath, made if need be, and its lstat. Counts no lookup.

        Raises:
            OSError: ENOENT and what lstat(2) says.
        """
        directory = self.descriptor(parent)
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if status.st_dev != self.device or parent.foreign or (parent.inode, name) in self._mountpoints:
            return self._found_foreign(parent, name, status), status
        handle = self._handle(directory, name)
        node = self._nodes.get(status.st_ino)
        if node is None or (node.handle != handle and node.pinned < 0):
            node = self._made(node, status, handle)
        if (parent.inode, name) not in node.names:
            if stat.S_ISDIR(status.st_mode):
                node.names = ((parent.inode, name),)  # a directory has one name; any other was left behind by a rename
            else:
                node.names = (*node.names[1 - NAMES_MAX :], (parent.inode, name))
        is_hidden = parent.hidden or (parent.inode == ROOT_INODE and name == RESERVED)
        if not is_hidden or len(node.names) == 1:
            node.hidden = is_hidden  # what is live under another name is not hidden by one in the stage
        return node, status

    def _handle(self, directory: int, name: bytes) -> bytes:
        if not self._handles:
            return b""
        try:
            return syscalls.handle_at(directory, name)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EOVERFLOW):
                return b""
            raise

    def _made(self, old: Node | None, status: os.stat_result, handle: bytes) -> Node:
        """Make a node. If its number belonged to an object that is gone, the kernel's count of the number goes on."""
        node = Node(status.st_ino, handle, stat.S_ISDIR(status.st_mode))
        if old is not None:
            node.lookups, node.seen = old.lookups, old.seen
            self.drop_directory(old.inode)
        self._nodes.add(node)
        return node

    def _found_foreign(self, parent: Node, name: bytes, status: os.stat_result) -> Node:
        key = (status.st_dev, status.st_ino)
        number = self._foreign.get(key)
        if number is None:
            number = self._foreign[key] = self._foreign_next
            self._foreign_next += 1
        node = self._nodes.get(number)
        if node is None:
            node = Node(number, b"", stat.S_ISDIR(status.st_mode))
            node.foreign = key
            node.seen = True
            self._nodes.add(node)
        node.names = ((parent.inode, name),)
        return node

    def reached(self, directory: Node) -> None:
        """Take note that programs can come to a directory, and to those above it, by `..` from something that they know."""
        node: Node | None = directory
        for _ in range(DEPTH_MAX):
            if node is None or node.seen:
                return
            node.seen = True
            node = self._nodes.get(node.names[0][0]) if node.names else None

    # ------------------------------------------------------------------------------------------------ reaching objects

    def descriptor(self, node: Node) -> int:
        """Return an O_PATH descriptor of a directory; it stays the table's, and is valid for the next few calls.

        Raises:
            OSError: ESTALE when the directory is gone.
        """
        if node.pinned >= 0:
            return node.pinned
        descriptor = self._directories.get(node.inode)
        if descriptor is not None:
            self._directories.move_to_end(node.inode)
            return descriptor
        descriptor = self.opened(node)
        self._directories[node.inode] = descriptor
        if len(self._directories) > DIRECTORIES_OPEN_MAX:
            os.close(self._directories.popitem(last=False)[1])
        return descriptor

    def opened(self, node: Node, flags: int = _OPEN_PATH) -> int:
        """Return a new descriptor of the node's object; the caller closes it. `flags` as for open(2).

        Raises:
            OSError: ESTALE when the object is gone, and what open(2) says.
        """
        if node.pinned >= 0:
            if flags & os.O_PATH:
                return os.dup(node.pinned)
            return os.open(f"/proc/self/fd/{node.pinned}", (flags & ~os.O_NOFOLLOW) | os.O_CLOEXEC)
        if node.handle:
            return syscalls.open_by_handle(self.root, node.handle, flags)
        return self._opened_by_name(node, flags)

    def _opened_by_name(self, node: Node, flags: int) -> int:
        for parent_inode, name in node.names:
            parent = self._nodes.get(parent_inode)
            if parent is None:
                continue
            try:
                descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.descriptor(parent))
            except FileNotFoundError:
                continue
            status = os.fstat(descriptor)
            if node.foreign == (status.st_dev, status.st_ino) or self._is(node, status):
                return descriptor
            os.close(descriptor)
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    def _is(self, node: Node, status: os.stat_result) -> bool:
        return not node.foreign and self._number(status.st_dev, status.st_ino) == node.inode

    def pin(self, node: Node) -> bool:
        """Keep the object reachable although its last name is about to go, until the kernel forgets it.

        Return whether it was not pinned before.
        """
        if node.pinned >= 0 or self._pinned >= PINNED_MAX:
            return False
        try:
            node.pinned = self.opened(node)
        except OSError:
            return False  # gone already, or no descriptor left: then only an open handle can still reach it
        self._pinned += 1
        self.drop_directory(node.inode)
        if node.foreign:
            self._foreign.pop(
                node.foreign, None
            )  # without a handle, the next object of that number is not told from this one
        return True

    def unpin(self, node: Node) -> None:
        """Take `pin` back: the object has kept its name."""
        self._close_pinned(node)
        if node.foreign:
            self._foreign[node.foreign] = node.inode

    def _close_pinned(self, node: Node) -> None:
        os.close(node.pinned)
        node.pinned = -1
        self._pinned -= 1

    def drop_directory(self, inode: int) -> None:
        """Close the descriptor kept of a directory, if any."""
        descriptor = self._directories.pop(inode, None)
        if descriptor is not None:
            os.close(descriptor)

    # ----------------------------------------------------------------------------------------------------------- names

    def renamed(self, node: Node, source: Name, target: Name) -> None:
        """Take note that the object's name `source` is now `target`."""
        if node.is_directory:
            node.names = (target,)
        else:
            node.names = (*(name for name in node.names if name not in (source, target)), target)

    def unnamed(self, node: Node, name: Name) -> None:
        """Take note that the object has lost a name."""
        node.names = tuple(other for other in node.names if other != name)

    def above(self, directory: Node) -> Node:
        """Return the directory that one lies in, as far as the kernel knows it; the root's, and else, is itself."""
        known = self._nodes.get(directory.names[0][0]) if directory.names else None
        return known if known is not None else directory

    def path_of(self, node: Node) -> RelPath | None:
        """Return the first known path, None for an object that has no name (any more), or a hidden one."""
        for name in node.names:
            path = self.path_at(name)
            if path is not None:
                return path
        return ROOT if node.inode == ROOT_INODE else None

    def paths_of(self, node: Node) -> tuple[RelPath, ...]:
        """Return all known paths."""
        return tuple(path for path in map(self.path_at, node.names) if path is not None)

    def path_at(self, name: Name) -> RelPath | None:
        """Return the path of a name; None where a directory above it is gone or unknown, hidden or foreign."""
        parts = [name[1]]
        inode = name[0]
        while inode != ROOT_INODE:
            node = self._nodes.get(inode)
            if node is None or not node.names or node.hidden or node.foreign or len(parts) > DEPTH_MAX:
                return None
            inode, part = node.names[0]
            parts.append(part)
        if parts[-1] == RESERVED:
            return None
        parts.reverse()
        return RelPath(b"/".join(parts)) if len(parts) > 1 else joined(ROOT, parts[0])

    # ----------------------------------------------------------------------------------------------------- the kernel's

    def forget(self, inode: int, count: int) -> None:
        """Take back `count` lookups; the node goes with the last."""
        if inode == ROOT_INODE:
            return
        node = self._nodes.pop(inode)
        if node is None:
            return
        node.lookups -= count
        if node.lookups <= 0:
            self._let_go(node)
        else:
            self._nodes.add(node)

    def release_unseen(self, node: Node) -> None:
        """Drop a node that was made but never told to the kernel."""
        if node.lookups <= 0 and node.inode != ROOT_INODE:
            if self._nodes.get(node.inode) is node:
                self._nodes.pop(node.inode)
            self._let_go(node)

    def _let_go(self, node: Node) -> None:
        self.drop_directory(node.inode)
        if node.pinned >= 0:
            self._close_pinned(node)
        if node.foreign and self._foreign.get(node.foreign) == node.inode:
            del self._foreign[node.foreign]

    def close(self) -> None:
        """Close every descriptor but the root's."""
        for inode in list(self._directories):
            self.drop_directory(inode)
        for node in self._nodes.awake():
            if node.pinned >= 0 and node.inode != ROOT_INODE:
                self._close_pinned(node)


def _has_handles(root: int) -> bool:
    """Return whether objects beneath `root` can be reached by handle."""
    try:
        os.close(syscalls.open_by_handle(root, syscalls.handle_at(root, b""), os.O_PATH))
    except OSError:
        return False
    return True
