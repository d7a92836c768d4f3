"""Turns what handlers did into rows: who, where, which bytes. The journal numbers them, the link and the gate hear of them.

Bytes written are collected per open file and told by one row at release, within a second while the file stays open (but not while
it is written in one go: that would show half a copy), and before an fsync is answered. A file that a commit displaced while somebody
had it open goes on being watched: what is written to it then is told as DISPLACED, under the name that it had.
"""

from collections.abc import Callable
from itertools import islice

import trio

from csfs.core.changes import Change, ChangeKind, Extent, Synced
from csfs.core.objects import Stamp
from csfs.core.paths import RESERVED, ROOT, RelPath, parent_of
from csfs.journal.journal import Journal
from csfs.mount.extents import Extents
from csfs.mount.inodes import Inodes, Name, Node
from csfs.mount.noting import Noting
from csfs.mount.rules import SyncedRules
from csfs.mount.writers import Writer

Listener = Callable[[Change, bool, int], None]
"""Called with each row, whether the daemon can wait for the row that is bound to follow, and the object's inode number, 0 where the row
is of the name."""

NOBODY = Writer(0, 0, "")
FLOOD_SIZE = 1024 * 1024
"""Bytes that are few: up to this, what a program writes and goes on writing is told of within a second."""
NAMES_TOLD_MAX = 16
"""Rows that tell what was done to one object, each under another of its names; the daemon finds all others by its inode. With a row for
each of a thousand names, one call would keep all other programs waiting."""
POSTPONED_MAX = 20
"""How often a row is put off: some ten seconds, as `tell_lasting` is called."""


class OpenFile:
    """A file that handles are open on, and what was written to it that no row tells yet.

    `size` is the size as the mount last knew it, `told` how many bytes rows have told of since it was opened, `postponed` how often
    the next row was put off. `displaced` is the path that the file had when a commit displaced it, `kept` its
    name in the kept store, empty if it has other names that are not known here; `doomed`: nobody asked to keep it, so it goes at
    the last release unless something was written. `synced` is what the last row said that is on its disk. `is_kept`: what it held when
    it was opened for writing is kept, or was not to be.
    """

    __slots__ = (
        "dirty",
        "displaced",
        "doomed",
        "extents",
        "handles",
        "is_kept",
        "kept",
        "node",
        "postponed",
        "size",
        "synced",
        "told",
        "writer",
        "writing",
    )

    def __init__(self, node: Node, size: int) -> None:
        self.node = node
        self.size = size
        self.handles: set[int] = set()
        self.writing = 0
        self.dirty = False
        self.extents = Extents()
        self.told = 0
        self.postponed = 0
        self.writer = NOBODY
        self.displaced: RelPath | None = None
        self.kept = b""
        self.doomed = False
        self.synced: Synced | None = None
        self.is_kept = False

    def wrote(self, offset: int, length: int, writer: Writer) -> None:
        """Take note of bytes written. What lay between the old end and `offset` has become zeros, and counts."""
        end = offset + length
        if offset > self.size:
            offset = max(0, self.size - 1)
        self.extents.add(offset, end - offset)
        self.size = max(self.size, end)
        self.dirty = True
        self.writer = writer

    def resized(self, size: int, writer: Writer) -> None:
        """Take note of a truncation, or an extension by zeros; the block at the boundary counts."""
        first = max(0, min(size, self.size) - 1)
        self.extents.add(first, max(size, self.size) - first)
        self.size = size
        self.dirty = True
        self.writer = writer


class Capture:
    """The one place where rows are made."""

    def __init__(self, journal: Journal, inodes: Inodes, rules: SyncedRules) -> None:
        self.journal = journal
        self.noting = Noting(journal)
        self.rules = rules
        self._inodes = inodes
        self._listeners: list[Listener] = []
        self.files: dict[int, OpenFile] = {}
        self.dirty: set[OpenFile] = set()
        self._lasting: set[OpenFile] = set()
        self._stirred = trio.Event()

    def listen(self, listener: Listener) -> None:
        """Have `listener` called with each row from now on."""
        self._listeners.append(listener)

    def _append(
        self,
        kind: ChangeKind,
        path: RelPath,
        writer: Writer,
        target: RelPath | None = None,
        lazy: bool = False,
        writing: bool = False,
        inode: int = 0,
    ) -> None:
        self._told(
            Change(
                sequence=0,
                kind=kind,
                path=path,
                target=target,
                writing=writing,
                uid=writer.uid,
                pid=writer.pid,
                program=writer.program,
            ),
            lazy,
            inode,
        )

    def _told(self, change: Change, lazy: bool = False, inode: int = 0) -> None:
        change = self.journal.append(change)
        self.noting.appended()
        for listener in self._listeners:
            listener(change, lazy, inode)

    def _synced(self, name: Name) -> RelPath | None:
        path = self._inodes.path_at(name)
        return path if path is not None and self.rules.is_synced(path) else None

    def _synced_paths(self, node: Node) -> list[RelPath]:
        """Return the synced paths of an object, as far as they are known here, and not too many: the daemon finds its other names by
        its inode."""
        if node.hidden or node.foreign:
            return []
        if not node.names:
            path = self._inodes.path_of(node)
            return [path] if path is not None and self.rules.is_synced(path) else []
        return list(islice((path for path in map(self._synced, node.names) if path is not None), NAMES_TOLD_MAX))

    # ------------------------------------------------------------------------------------------------ names and attributes

    def created(self, name: Name, writer: Writer, still_open: bool = False) -> None:
        """A new object: the row of one that is still open can wait for its release."""
        path = self._synced(name)
        if path is not None:
            self._append(ChangeKind.CREATE, path, writer, lazy=still_open, writing=still_open)
        else:
            self._passed(name, writer)

    def linked(self, node: Node, name: Name, writer: Writer) -> None:
        """`name` is a new name of an object that has others. To be called after the node knows it."""
        target = self._synced(name)
        if target is None:
            self._passed(name, writer)
            return
        others = (path for path in map(self._synced, node.names) if path is not None and path != target)
        first = next(others, None)
        if first is None:
            self._append(ChangeKind.CREATE, target, writer)
        else:
            self._append(ChangeKind.LINK, first, writer, target=target, inode=node.inode)

    def removed(self, name: Name, writer: Writer) -> None:
        path = self._synced(name)
        if path is not None:
            self._append(ChangeKind.REMOVE, path, writer)
        else:
            self._passed(name, writer)

    def _passed(self, name: Name, writer: Writer) -> None:
        """A name that is not synced came or went. Its directory, if that is synced, has another time now: a row says as much."""
        path = self._inodes.path_at(name)
        if path is not None and path != RESERVED and self.rules.is_synced(parent_of(path)):
            self._append(ChangeKind.REMOVE, path, writer)

    def renamed(self, source: Name, target: Name, is_directory: bool, writer: Writer) -> None:
        """`source` is now `target`. To be called with the parents' paths as they were, which a rename does not change."""
        old, new = self._synced(source), self._synced(target)
        if old is not None and new is not None:
            self._append(ChangeKind.RENAME, old, writer, target=new)
        elif old is not None:
            self._append(ChangeKind.REMOVE, old, writer)
        elif new is not None:
            self._entered(new, is_directory, writer)
        if old is None:
            self._passed(source, writer)
        if new is None:
            self._passed(target, writer)

    def exchanged(self, first: tuple[Name, bool], second: tuple[Name, bool], writer: Writer) -> None:
        """Two names have changed places; each comes with whether a directory is there now."""
        paths = self._synced(first[0]), self._synced(second[0])
        if paths[0] is not None and paths[1] is not None:
            self._append(ChangeKind.EXCHANGE, paths[0], writer, target=paths[1])
            return
        for path, (_, is_directory) in zip(paths, (first, second), strict=True):
            if path is not None:
                self._append(ChangeKind.REMOVE, path, writer)
                self._entered(path, is_directory, writer)

    def _entered(self, path: RelPath, is_directory: bool, writer: Writer) -> None:
        """Something came from outside of what is synced, with all that is in it."""
        self._append(ChangeKind.CREATE, path, writer)
        if is_directory:
            self._append(ChangeKind.COMPARE, path, writer)

    def doubted(self, path: RelPath) -> None:
        """What a path shows is to be read anew."""
        self._append(ChangeKind.CONTENT, path, NOBODY)

    def attributes_set(self, node: Node, writer: Writer) -> None:
        for path in self._synced_paths(node):
            self._append(ChangeKind.META, path, writer, inode=node.inode)

    # ------------------------------------------------------------------------------------------------------- contents

    def opened(self, node: Node, handle: int, size: int, writing: bool) -> OpenFile:
        """A handle was opened on the node; `size` is the file's."""
        file = self.files.get(node.inode)
        if file is None or file.node is not node:
            file = self.files[node.inode] = OpenFile(node, size)
        file.handles.add(handle)
        if writing and not file.writing:
            file.is_kept = size == 0
        file.writing += writing
        return file

    def closed(self, file: OpenFile, handle: int, writing: bool, created: bool) -> None:
        """A handle was closed: what was written is told, also if others go on writing."""
        file.handles.discard(handle)
        file.writing -= writing
        if file.dirty or created:
            self.tell(file, even_clean=created)
        if not file.handles and self.files.get(file.node.inode) is file:
            del self.files[file.node.inode]

    def wrote(self, file: OpenFile, offset: int, length: int, writer: Writer) -> None:
        """Bytes were written."""
        file.wrote(offset, length, writer)
        self._await_close(file)

    def resized(self, node: Node, old_size: int, size: int, writer: Writer) -> None:
        """The size was set, through a handle or by name."""
        file = self.files.get(node.inode)
        if file is None or file.node is not node:
            file = OpenFile(node, old_size)
        file.resized(size, writer)
        if file.writing:
            self._await_close(file)
        else:
            self.tell(file)

    def _await_close(self, file: OpenFile) -> None:
        if not self.dirty:
            self._stirred.set()
        self.dirty.add(file)

    async def wait_dirty(self) -> None:
        """Return while some file has something to tell."""
        while not self.dirty:
            self._stirred = trio.Event()
            await self._stirred.wait()

    def tell(self, file: OpenFile, even_clean: bool = False) -> None:
        """Append the row that tells what was written since the last one, if something was."""
        self.dirty.discard(file)
        if not file.dirty and not even_clean:
            return
        # Nothing was written since: what is on the disk is still what the file holds, and the last row has to say so.
        synced, file.synced = None if file.dirty else file.synced, None
        file.dirty = False
        file.told += file.extents.size
        file.postponed = 0
        extents = file.extents.taken()
        if file.displaced is not None and not file.kept:
            # It has other names, and nobody has used them since mounting.
            self._append(ChangeKind.COMPARE, ROOT, file.writer)
            return
        if file.displaced is not None:
            self._tell_extents(file, ChangeKind.DISPLACED, file.displaced, extents)
            return
        for path in self._synced_paths(file.node):
            self._tell_extents(file, ChangeKind.CONTENT, path, extents)
        if synced is not None:
            self.synced(file, synced)

    def _tell_extents(self, file: OpenFile, kind: ChangeKind, path: RelPath, extents: tuple[Extent, ...]) -> None:
        change = Change(
            sequence=0,
            kind=kind,
            path=path,
            extents=extents,
            writing=file.writing > 0,
            kept=file.kept,
            uid=file.writer.uid,
            pid=file.writer.pid,
            program=file.writer.program,
        )
        file.doomed = False
        self._told(change, inode=file.node.inode)

    def synced(self, file: OpenFile, synced: Synced) -> None:
        """What was written to a file is on its disk: the row says so once, under one of its names, for the object is what counts."""
        paths = self._synced_paths(file.node) if file.displaced is None and file.synced != synced else []
        if paths:
            file.synced = synced
            self._told(Change(sequence=0, kind=ChangeKind.SYNCED, path=paths[0], synced=synced), lazy=True)

    def kept(self, path: RelPath, name: bytes, stamp: Stamp, writer: Writer, *, writing: bool) -> None:
        """What is about to be destroyed is in the kept store under `name`: the row of what destroys it is bound to follow."""
        change = Change(
            sequence=0,
            kind=ChangeKind.KEPT,
            path=path,
            writing=writing,
            kept=name,
            uid=writer.uid,
            pid=writer.pid,
            program=writer.program,
            stamp=stamp,
        )
        self._told(change, lazy=True)

    def tell_all(self) -> None:
        """Tell of every file that has something to tell, without waiting for its release."""
        for file in tuple(self.dirty):
            self.tell(file)

    def tell_lasting(self) -> None:
        """Tell of files that had something to tell at the last call already: a program that is done sooner is told of at its close.

        Of a great deal that is being written, only once it is as much again as was told, or after a while: each row has all of a new
        file that is there by then sent and installed.
        """
        for file in self._lasting & self.dirty:
            size = file.extents.size
            if FLOOD_SIZE < size < file.told and file.postponed < POSTPONED_MAX:
                file.postponed += 1
                continue
            self.tell(file)
        self._lasting = set(self.dirty)

    def has_untold(self, node: Node) -> bool:
        """Return whether bytes were written to the node that no row tells."""
        file = self.files.get(node.inode)
        return file is not None and file.node is node and file.dirty
