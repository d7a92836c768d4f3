"""The stage: objects are built here, complete and verified, before a rename makes them live.

An object under construction has no name, or one of its own (`BUILDING`), so that whatever a crash leaves under a staged
name is either complete or was displaced by a commit that could not finish: never half a file.
"""

import contextlib
import os
import stat
from collections.abc import Mapping
from contextlib import AbstractContextManager

import msgspec

from csfs.core.objects import Kind, Observation, Stamp, Xattrs
from csfs.core.paths import ROOT, RelPath
from csfs.core.records import Content, Meta
from csfs.core.tables import BlockTable
from csfs.errors import ContentMismatchError, CsfsError
from csfs.store import blocks, overwriting, redo, syscalls
from csfs.store.attributes import kind_of, link_path, object_at, remove_xattrs
from csfs.store.copying import copy_content
from csfs.store.dressing import Dressing, own_xattrs
from csfs.store.hashing import hash_bytes
from csfs.store.kept import Kept
from csfs.store.observing import observed
from csfs.store.overwriting import BLOCKS_ONLY
from csfs.store.partials import Partials, partial_name
from csfs.store.patching import FromPatches, patch_copy, patched
from csfs.store.reserved import Reserved, checked_name, opened, remove, write_all
from csfs.store.room import shortage
from csfs.store.treating import Treated
from csfs.store.tree import Tree
from csfs.store.unborn import BUILDING, Unborn

PATCHED_SIZE_MAX = 64 << 20
"""A content that is patched in memory."""
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
    """The content has arrived block by block; its partial file becomes the staged one. `verified`: each block was, in this run."""

    verified: bool = False


class FromStage(msgspec.Struct, frozen=True):
    """The content was left in the stage by an earlier run, under this name, which it gives up."""

    name: bytes


Source = FromBytes | FromTree | FromKept | FromPartial | FromStage | FromPatches


class Staged(msgspec.Struct, frozen=True):
    """A staged object: how it is represented on disk, what of it could not be, and its table as far as that was made anew."""

    observation: Observation
    problems: tuple[str, ...] = ()
    table: BlockTable | None = None


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
        self.can_clone = self._tried_clone()
        """Whether the file system can have files share blocks."""

    def _tried_clone(self) -> bool:
        try:
            with Unborn(self._directory, b"clone.1") as source, Unborn(self._directory, b"clone.2") as target:
                write_all(source.descriptor, b"clone")
                syscalls.clone(source.descriptor, target.descriptor)
        except OSError:
            return False
        return True

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

    def shortage(self, size: int) -> int:
        """Return how many bytes are lacking to stage `size` bytes in comfort; 0: none."""
        return shortage(self._directory, size)

    def build(
        self,
        name: bytes,
        content: Content,
        meta: Meta,
        mtime_ns: int | None,
        source: Source | None = None,
        *,
        path: RelPath = ROOT,
        replaces: bool = False,
    ) -> Staged:
        """Make the object complete under `name` in the stage. `source` is needed for files alone.

        It is for `path`; `replaces`: what is there now goes. `mtime_ns` None leaves the time of building. What the file system or this
        host cannot represent is told in the result.

        Raises:
            ContentMismatchError: the source is not the content that `content.hash` names; a partial one is put back.
            FileNotFoundError: the source is gone.
            OSError: ENOSPC and the like, or the kind cannot be made at all; nothing is left in the stage.
        """
        table, treated = None, self._tree.treated(path)
        dressing = Dressing(meta, mtime_ns, treated, self._own_xattrs(path, treated) if replaces else ())
        if isinstance(source, FromPatches):
            problems, xattrs, table = self._build_patched(checked_name(name), content, dressing, source)
        elif content.kind is Kind.FILE:
            problems, xattrs = self._build_file(checked_name(name), content, dressing, source)
        else:
            problems, xattrs = self._build_other(checked_name(name), content, dressing)
        status = os.lstat(name, dir_fd=self._directory)
        return Staged(observed(status, treated.owners, xattrs, content.hash, content.target), problems, table)

    def _own_xattrs(self, path: RelPath, treated: Treated) -> Xattrs:
        try:
            with self._tree.open_object(path) as existing:
                return own_xattrs(link_path(existing), treated)
        except (OSError, CsfsError):  # gone: then nothing is replaced
            return ()

    def prepare_overwrite(
        self, log: bytes, kept: bytes, content: Content, mtime_ns: int, source: FromPatches
    ) -> Staged:
        """Prepare to overwrite the live file where it is. See `overwriting.prepare`."""
        directories = overwriting.Directories(self._directory, self._reserved.kept)
        with self._tree.open_file(source.path) as existing:
            shown, table = overwriting.prepare(existing, directories, log, kept, content, mtime_ns, source)
        return Staged(shown, (), table)

    def drop_overwrite(self, log: bytes, kept: bytes) -> None:
        """Forget what was prepared and not carried out. What is half carried out has lost what is kept of it."""
        remove(self._directory, redo.PREPARED + log)
        if kept and not redo.is_begun(self._directory, log):
            remove(self._reserved.kept, kept)

    def settle_overwrite(self, log: bytes) -> None:
        """What was overwritten is made durable: its log is of no more use."""
        redo.settle(self._tree.root, self._directory, log)

    def settle_overwrites(self) -> list[bytes]:
        """See to what an earlier run was overwriting; return the names of kept blocks. For start-up.

        What was prepared is forgotten, and what was done is made durable. What was begun is for the next mount process to finish.
        """
        for name in redo.logs(self._directory):
            if name.startswith(redo.PREPARED):
                remove(self._directory, name)
            elif name.startswith(redo.DONE):
                self.settle_overwrite(name[len(redo.DONE) :])
        return [name for name in map(os.fsencode, os.listdir(self._reserved.kept)) if name.endswith(BLOCKS_ONLY)]

    def read(self, content: Content, source: Source) -> bytes:
        """Return a content, which has to fit into memory.

        Raises:
            ContentMismatchError: the source is not that content.
            FileNotFoundError: the source is gone.
        """
        if isinstance(source, FromBytes):
            data = source.data
        elif isinstance(source, FromPatches):
            if max(source.base.size, *(patch.size for patch in source.patches)) > PATCHED_SIZE_MAX:
                raise _mismatch(content)
            with self._tree.open_file(source.path) as descriptor:
                data = patched(blocks.read_exactly(descriptor, 0, source.base.size), source.patches)
        else:
            with self._opened(content, source) as descriptor:
                data = blocks.read_exactly(descriptor, 0, content.size)
        if len(data) != content.size or hash_bytes(data)[0] != content.hash:
            raise _mismatch(content)
        return data

    def _opened(
        self, content: Content, source: FromTree | FromKept | FromPartial | FromStage
    ) -> AbstractContextManager[int]:
        match source:
            case FromTree(path):
                return self._tree.open_file(path)
            case FromKept(kept):
                return self.kept.open_file(kept)
            case FromPartial():
                return self.partials.opened(content.hash)
            case FromStage(left):
                return opened(self._directory, checked_name(left))

    def keep_copy(self, path: RelPath, kept: bytes, content: Content) -> None:
        """Copy a live file to the kept versions: it stays live under another name, where it may be written to.

        Raises:
            ContentMismatchError: it has another content.
            OSError: ENOSPC and the like; nothing is left.
        """
        with Unborn(self._reserved.kept, kept) as file, self._tree.open_file(path) as existing:
            _copy(existing, file.descriptor, content)
            file.appear()

    def discard(self, name: bytes) -> None:
        """Remove a staged object; one that is gone is no error. Another name of what has flags is left to the next mount process."""
        with contextlib.suppress(PermissionError):
            remove(self._directory, name)

    def leftovers(self) -> list[Leftover]:
        """Return what is in the stage, files hashed, and remove what is half built. For start-up: nothing may be building."""
        found = []
        for listed in os.listdir(self._directory):
            name = os.fsencode(listed)
            if name.startswith(BUILDING):
                remove(self._directory, name)
                continue
            if name.startswith(redo.LOGS):
                continue
            status = os.lstat(name, dir_fd=self._directory)
            kind = kind_of(status.st_mode)
            if status.st_nlink > 1:
                # Another name of what is live, or of what is kept: it has nothing that is not there.
                self.discard(name)
                continue
            root = self._hash(name, status.st_size) if kind is Kind.FILE else b""
            found.append(Leftover(name, kind, root, status.st_size))
        return found

    def adoptable(self) -> dict[bytes, bytes]:
        """Return the names of the files that were left in the stage, by their root hash."""
        return {leftover.hash: leftover.name for leftover in self.leftovers() if leftover.kind is Kind.FILE}

    def rescue(self, name: bytes, kept: bytes) -> None:
        """Move what a commit displaced, and did not get to keep, to the kept versions."""
        syscalls.renameat2(self._directory, name, self._reserved.kept, kept, syscalls.RENAME_NOREPLACE)

    def rescue_displaced(self, wanted: Mapping[bytes, Stamp]) -> dict[bytes, bytes]:
        """Move what commits displaced, and did not get to keep, to the kept versions. See `Kept.take_displaced`."""
        return self.kept.take_displaced(self._directory, wanted)

    def _hash(self, name: bytes, size: int) -> bytes:
        with opened(self._directory, name) as descriptor:
            return blocks.rehash(descriptor, size)[0]

    def _build_file(
        self,
        name: bytes,
        content: Content,
        dressing: Dressing,
        source: FromBytes | FromTree | FromKept | FromPartial | FromStage | None,
    ) -> tuple[tuple[str, ...], Xattrs]:
        match source:
            case FromPartial(verified):
                partial, old_name = self._reserved.partial, partial_name(content.hash)
                return self._adopt(partial, old_name, name, content, dressing, verified=verified)
            case FromStage(left):
                return self._adopt(self._directory, checked_name(left), name, content, dressing)
        with Unborn(self._directory, name) as file:
            self._fill(file.descriptor, content, source)
            problems, xattrs = dressing.put_on(file.descriptor, Kind.FILE)
            file.appear()
        return problems, xattrs

    def _build_patched(
        self, name: bytes, content: Content, dressing: Dressing, source: FromPatches
    ) -> tuple[tuple[str, ...], Xattrs, BlockTable | None]:
        with Unborn(self._directory, name) as file:
            with self._tree.open_file(source.path) as existing:
                table = patch_copy(existing, file.descriptor, content, source)
            problems, xattrs = dressing.put_on(file.descriptor, Kind.FILE)
            file.appear()
        return problems, xattrs, table

    def _fill(self, descriptor: int, content: Content, source: FromBytes | FromTree | FromKept | None) -> None:
        """Put the content into an empty file and make sure that it is the one wanted."""
        match source:
            case FromTree(path):
                with self._tree.open_file(path) as existing:
                    _copy(existing, descriptor, content)
            case FromKept(kept):
                with self.kept.open_file(kept) as existing:
                    _copy(existing, descriptor, content)
            case _:
                data = b"" if source is None else source.data
                if len(data) != content.size or hash_bytes(data)[0] != content.hash:
                    raise _mismatch(content)
                write_all(descriptor, data)

    def _adopt(
        self,
        directory: int,
        old_name: bytes,
        name: bytes,
        content: Content,
        dressing: Dressing,
        *,
        verified: bool = False,
    ) -> tuple[tuple[str, ...], Xattrs]:
        """Make a complete file of a reserved directory the staged one; it stays there if it is not what it should be."""
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(old_name, flags, dir_fd=directory)
        try:
            if verified:
                is_whole = os.fstat(descriptor).st_size == content.size
            else:
                is_whole = blocks.verify(descriptor, content.size, content.hash)
            if not is_whole:
                raise _mismatch(content)
            remove_xattrs(descriptor)
            problems, xattrs = dressing.put_on(descriptor, Kind.FILE)
        finally:
            os.close(descriptor)
        syscalls.renameat2(directory, old_name, self._directory, name, syscalls.RENAME_NOREPLACE)
        return problems, xattrs

    def _build_other(self, name: bytes, content: Content, dressing: Dressing) -> tuple[tuple[str, ...], Xattrs]:
        building = BUILDING + name
        try:
            if content.kind is Kind.DIRECTORY:
                os.mkdir(building, 0o700, dir_fd=self._directory)
            elif content.kind is Kind.SYMLINK:
                os.symlink(content.target, building, dir_fd=self._directory)
            else:
                os.mknod(building, _NODES[content.kind] | 0o600, content.device, dir_fd=self._directory)
            with object_at(self._directory, building) as handle:
                problems, xattrs = dressing.put_on(link_path(handle), content.kind)
            syscalls.renameat2(self._directory, building, self._directory, name, syscalls.RENAME_NOREPLACE)
        except BaseException:
            remove(self._directory, building)
            raise
        return problems, xattrs


def _copy(existing: int, descriptor: int, content: Content) -> None:
    # Clones and copies of a file that is being written can be torn: what counts is what the copy turned out to be.
    if os.fstat(existing).st_size == content.size:
        copy_content(existing, descriptor, content.size)
        if blocks.verify(descriptor, content.size, content.hash):
            return
    raise _mismatch(content)


def _mismatch(content: Content) -> ContentMismatchError:
    return ContentMismatchError(f"what was found is not content {content.hash.hex()[:16]} of {content.size} bytes")
