"""What the mount remembers of each object that the kernel knows: those of late as objects, all others packed into bytes.

A walk makes the kernel know every object there is, and it may keep them for weeks. A `Node` takes half a KiB with its names; packed,
one takes about 40 bytes on ext4. Whoever holds a node always holds the only one of its number: what somebody holds is not packed.
"""

import struct
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from csfs.mount.pages import Pages

AWAKE_MAX = 8_192
"""Nodes that are objects, some 5 MiB of them: more than most programs come back to. What is held or pinned stays beyond that."""

_DIRECTORY, _HIDDEN, _KEPT, _NO_CAPABILITY, _SEEN, _LONG = 1, 2, 4, 8, 16, 128
_SHORT = struct.Struct("<BBI4s")
"""Flags, lookups, inode of the parent, generation; the name follows."""
_HANDLE_START = struct.Struct("<IiI")
_HANDLE_SIZE, _HANDLE_TYPE = 8, 1
"""The handle of ext4, and of xfs for small numbers: FILEID_INO32_GEN, inode and generation in 32 bits each."""

Name = tuple[int, bytes]
"""The inode of a directory, and a name in it."""


class Node:
    """An object that the kernel knows.

    `handle` is empty where the file system has none. `pinned` is an O_PATH descriptor that must reach the object because
    nothing else does (the root; what was unlinked while known), else -1. `hidden`: lies in the reserved directory.
    `kept`: a commit moved it into the kept store, a name that programs do not see. `foreign`: device and number
    of an object on another mount. `seen`: programs may know it; until then commit threads alone have come by, and the kernel was told
    to believe nothing of it for longer than that.
    """

    __slots__ = (
        "__weakref__",
        "foreign",
        "handle",
        "hidden",
        "inode",
        "is_directory",
        "kept",
        "lookups",
        "names",
        "no_capability",
        "pinned",
        "seen",
    )

    def __init__(self, inode: int, handle: bytes, is_directory: bool) -> None:
        self.inode = inode
        self.handle = handle
        self.is_directory = is_directory
        self.lookups = 0
        self.names: tuple[Name, ...] = ()
        self.pinned = -1
        self.no_capability = False
        self.hidden = False
        self.kept = False
        self.seen = False
        self.foreign: tuple[int, int] | None = None

    @property
    def generation(self) -> int:
        """What tells two objects apart that had the same number one after the other."""
        return zlib.crc32(self.handle)


class Nodes:
    """All nodes by inode number. The oldest are packed, unless they are pinned or anybody holds them."""

    def __init__(self, awake_max: int = AWAKE_MAX) -> None:
        self._awake_max = awake_max
        self._awake: OrderedDict[int, Node] = OrderedDict()
        self._asleep = Pages()

    def __len__(self) -> int:
        return len(self._awake) + len(self._asleep)

    def get(self, inode: int) -> Node | None:
        """Return the node of that number."""
        node = self._awake.get(inode)
        if node is not None:
            return node
        record = self._asleep.pop(inode)
        if record is None:
            return None
        node = unpacked(inode, record)
        self.add(node)
        return node

    def add(self, node: Node) -> None:
        """Take in a node; it takes the place of another one of its number."""
        if node.inode not in self._awake:
            self._asleep.pop(node.inode)
        self._awake[node.inode] = node
        if len(self._awake) > self._awake_max:
            # Two, so that those that must stay do not make the table grow.
            self._put_to_sleep()
            self._put_to_sleep()

    def pop(self, inode: int) -> Node | None:
        """Take out the node of that number."""
        node = self._awake.pop(inode, None)
        if node is not None:
            return node
        record = self._asleep.pop(inode)
        return None if record is None else unpacked(inode, record)

    def awake(self) -> Iterator[Node]:
        """Give the nodes that are objects now; all that are pinned are among them."""
        return iter(tuple(self._awake.values()))

    def _put_to_sleep(self) -> None:
        """Pack the oldest node, or make it the youngest if it has to stay."""
        inode, node = self._awake.popitem(last=False)
        if node.pinned >= 0:
            self._awake[inode] = node
            return
        record = packed(node)
        held = weakref.ref(node)
        del node
        found = held()
        if found is not None:
            self._awake[inode] = found
        else:
            self._asleep.put(inode, record)


def packed(node: Node) -> bytes:
    """Return all that is known of a node but its number. Pinned ones are not to be packed."""
    flags = node.is_directory * _DIRECTORY | node.hidden * _HIDDEN | node.kept * _KEPT
    flags |= node.no_capability * _NO_CAPABILITY | node.seen * _SEEN
    if len(node.names) == 1 and node.lookups < 256 and len(node.handle) == _HANDLE_START.size + 4:
        parent, name = node.names[0]
        if parent < 1 << 32 and node.foreign is None and node.handle.startswith(_handle_start(node.inode)):
            return _SHORT.pack(flags, node.lookups, parent, node.handle[_HANDLE_START.size :]) + name
    rest = node.lookups, node.handle, node.names, node.foreign
    return bytes((flags | _LONG,)) + msgspec.msgpack.encode(rest)


def unpacked(inode: int, record: bytes) -> Node:
    """Return the node that was packed."""
    flags = record[0]
    if flags & _LONG:
        lookups, handle, names, foreign = _rest(record[1:])
    else:
        _, lookups, parent, generation = _SHORT.unpack_from(record)
        handle = _handle_start(inode) + generation
        names = ((parent, record[_SHORT.size :]),)
        foreign = None
    node = Node(inode, handle, bool(flags & _DIRECTORY))
    node.lookups, node.names, node.foreign = lookups, names, foreign
    node.hidden = bool(flags & _HIDDEN)
    node.kept = bool(flags & _KEPT)
    node.no_capability = bool(flags & _NO_CAPABILITY)
    node.seen = bool(flags & _SEEN)
    return node


_rest = msgspec.msgpack.Decoder(tuple[int, bytes, tuple[Name, ...], tuple[int, int] | None]).decode


def _handle_start(inode: int) -> bytes:
    return _HANDLE_START.pack(_HANDLE_SIZE, _HANDLE_TYPE, inode & 0xFFFFFFFF)
