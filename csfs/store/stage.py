"""The stage: objects are built here, complete and verified, before a rename makes them live.

An object under construction has a name of its own (`BUILDING`), so that whatever a crash leaves under a staged name is
either complete or was displaced by a commit that could not finish: never half a file.
"""

import os
import stat

import msgspec

from csfs.core.objects import Kind, Observation, Xattrs
from csfs.core.paths import RelPath
from csfs.core.records import Content, Meta
from csfs.errors import ContentMismatchError
from csfs.store import blocks, syscalls
from csfs.store.attributes import kind_of, link_path, object_at, read_xattrs, replace_xattrs
from csfs.store.copying import copy_content
from csfs.store.dressing import dress
from csfs.store.hashing import hash_bytes
from csfs.store.kept import Kept
from csfs.store.observing import observed
from csfs.store.partials import Partials, partial_name
from csfs.store.reserved import Reserved, checked_name, create, opened, remove, write_all
from csfs.store.tree import Tree

BUILDING = b"building."
"""How the names of objects under construction begin."""

_NODES = {
    Kind.FIFO: stat.S_IFIFO,
    Kind.SOCKET: stat.S_IFSOCK,
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
}


class FromBytes(msgspec.Struct, frozen=True):
    """The content is at hand."""

    data: bytes


class FromTree(msgspec.Struct, frozen=True):
    """The content is that of a live file here: cloned or copied, then verified."""

    path: RelPath


class FromKept(msgspec.Struct, frozen=True):
    """The content is that of a kept version."""

    name: bytes


class FromPartial(msgspec.Struct, frozen=True):
    """The content has arrived block by block; its partial file becomes the staged one."""


class FromStage(msgspec.Struct, frozen=True):
    """The content was left in the stage by an earlier run, under this name, which it gives up."""

    name: bytes


Source = FromBytes | FromTree | FromKept | FromPartial | FromStage


class Staged(msgspec.Struct, frozen=True):
    """A staged object: how it is represented on disk, and what of it could not be."""

    observation: Observation
    problems: tuple[str, ...] = ()


class Leftover(msgspec.Struct, frozen=True):
    """What a run that did not end well left under a staged name; `hash` is a regular file's."""

    name: bytes
    kind: Kind
    hash: bytes
    size: int


class Stage:
    """The stage of one volume, its partial contents and its kept versions. Safe to use from several threads.

    Raises:
        ConfigError: the reserved directory is not ours.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._reserved = Reserved(tree.root)
        self._directory = self._reserved.stage
        self.partials = Partials(self._reserved.partial)
        self.kept = Kept(self._reserved.kept)

    def close(self) -> None:
        """Let go of all descriptors."""
        self._reserved.close()

    def identity(self) -> bytes | None:
        """Return the volume's identity, None if it has none yet."""
        return self._reserved.identity()

    def write_identity(self, identity: bytes) -> None:
        """Give the volume its identity, durable on return."""
        self._reserved.write_identity(identity)

    def sync(self) -> None:
        """Make everything staged, committed and kept so far durable, at the price of one call for a whole batch."""
        syscalls.syncfs(self._directory)

    def build(
        self, name: bytes, content: Content, meta: Meta, mtime_ns: int | None, source: Source | None = None
    ) -> Staged:
        """Make the object complete under `name` in the stage. `source` is needed for files alone.

        `mtime_ns` None leaves the time of building. What the file system or this host cannot represent is told in the
        result.

        Raises:
            ContentMismatchError: the source is not the content that `content.hash` names; a partial one is put back.
            FileNotFoundError: the source is gone.
            OSError: ENOSPC and the like, or the kind cannot be made at all; nothing is left in the stage.
        """
        building = BUILDING + name
        try:
            if content.kind is Kind.FILE:
                problems, xattrs = self._build_file(building, content, meta, mtime_ns, source)
            else:
                problems, xattrs = self._build_other(building, content, meta, mtime_ns)
            syscalls.renameat2(self._directory, building, self._directory, name, syscalls.RENAME_NOREPLACE)
        except BaseException:
            remove(self._directory, building)
            raise
        status = os.lstat(name, dir_fd=self._directory)
        return Staged(observed(status, self._tree.owners, xattrs, content.hash, content.target), problems)

    def link(self, name: bytes, existing: bytes) -> None:
        """Give a staged object a second staged name: the names of one hard-linked inode are staged together."""
        os.link(existing, name, src_dir_fd=self._directory, dst_dir_fd=self._directory, follow_symlinks=False)

    def link_live(self, name: bytes, path: RelPath) -> None:
        """Stage a second name for the object that is live at `path`."""
        with self._tree.open_parent(path) as (parent, live_name):
            os.link(live_name, name, src_dir_fd=parent, dst_dir_fd=self._directory, follow_symlinks=False)

    def discard(self, name: bytes) -> None:
        """Remove a staged object; one that is gone is no error."""
        remove(self._directory, name)

    def leftovers(self) -> list[Leftover]:
        """Return what is in the stage, files hashed, and remove what is half built. For start-up: nothing may be building."""
        found = []
        for listed in os.listdir(self._directory):
            name = os.fsencode(listed)
            if name.startswith(BUILDING):
                remove(self._directory, name)
                continue
            status = os.lstat(name, dir_fd=self._directory)
            kind = kind_of(status.st_mode)
            root = self._hash(name, status.st_size) if kind is Kind.FILE else b""
            found.append(Leftover(name, kind, root, status.st_size))
        return found

    def adoptable(self) -> dict[bytes, bytes]:
        """Return the names of the files that were left in the stage, by their root hash."""
        return {leftover.hash: leftover.name for leftover in self.leftovers() if leftover.kind is Kind.FILE}

    def rescue(self, name: bytes, kept: bytes) -> None:
        """Move what a commit displaced, and did not get to keep, to the kept versions."""
        syscalls.renameat2(self._directory, name, self._reserved.kept, kept, syscalls.RENAME_NOREPLACE)

    def _hash(self, name: bytes, size: int) -> bytes:
        with opened(self._directory, name) as descriptor:
            return blocks.hash_file(descriptor, size)[0]

    def _build_file(
        self, building: bytes, content: Content, meta: Meta, mtime_ns: int | None, source: Source | None
    ) -> tuple[tuple[str, ...], Xattrs]:
        descriptor = self._filled(building, content, source)
        try:
            problems = dress(descriptor, Kind.FILE, meta, mtime_ns, self._tree.owners)
            return problems, read_xattrs(descriptor) if meta.xattrs else ()
        finally:
            os.close(descriptor)

    def _build_other(
        self, building: bytes, content: Content, meta: Meta, mtime_ns: int | None
    ) -> tuple[tuple[str, ...], Xattrs]:
        if content.kind is Kind.DIRECTORY:
            os.mkdir(building, 0o700, dir_fd=self._directory)
        elif content.kind is Kind.SYMLINK:
            os.symlink(content.target, building, dir_fd=self._directory)
        else:
            os.mknod(building, _NODES[content.kind] | 0o600, content.device, dir_fd=self._directory)
        with object_at(self._directory, building) as handle:
            problems = dress(link_path(handle), content.kind, meta, mtime_ns, self._tree.owners)
            return problems, read_xattrs(link_path(handle)) if meta.xattrs else ()

    def _filled(self, building: bytes, content: Content, source: Source | None) -> int:
        """Return a descriptor of a file under `building` that holds the content, verified."""
        match source:
            case FromBytes(data):
                return self._written(building, content, data)
            case FromTree(path):
                with self._tree.open_file(path) as existing:
                    return self._copied(building, content, existing)
            case FromKept(name):
                with self.kept.open_file(name) as existing:
                    return self._copied(building, content, existing)
            case FromPartial():
                return self._taken(building, content, self._reserved.partial, partial_name(content.hash))
            case FromStage(name):
                return self._taken(building, content, self._directory, name)
            case None:
                return self._written(building, content, b"")

    def _written(self, building: bytes, content: Content, data: bytes) -> int:
        if len(data) != content.size or hash_bytes(data)[0] != content.hash:
            raise _mismatch(content)
        descriptor = create(self._directory, building)
        try:
            write_all(descriptor, data)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _copied(self, building: bytes, content: Content, existing: int) -> int:
        if os.fstat(existing).st_size != content.size:
            raise _mismatch(content)
        descriptor = create(self._directory, building)
        try:
            copy_content(existing, descriptor, content.size)
            _verify(descriptor, content)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _taken(self, building: bytes, content: Content, directory: int, name: bytes) -> int:
        """Move a complete file to `building`; back again if it is not what it should be."""
        syscalls.renameat2(directory, checked_name(name), self._directory, building, syscalls.RENAME_NOREPLACE)
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(building, flags, dir_fd=self._directory)
        try:
            _verify(descriptor, content)
            replace_xattrs(descriptor, ())
        except BaseException:
            os.close(descriptor)
            syscalls.renameat2(self._directory, building, directory, name, syscalls.RENAME_NOREPLACE)
            raise
        return descriptor


def _verify(descriptor: int, content: Content) -> None:
    if not blocks.verify(descriptor, content.size, content.hash):
        raise _mismatch(content)


def _mismatch(content: Content) -> ContentMismatchError:
    return ContentMismatchError(f"what was found is not content {content.hash.hex()[:16]} of {content.size} bytes")
