"""Handlers of names: lookup, listing, making, removing, renaming, linking."""

import contextlib
import errno
import os
import stat
from abc import abstractmethod
from collections.abc import Iterator, Sequence

import pyfuse3
import trio

from csfs.core.paths import RESERVED
from csfs.mount.inodes import ROOT_INODE, Name, Node
from csfs.mount.operations.base import Answer, Base
from csfs.mount.writers import Caller
from csfs.store import syscalls as store_syscalls

_NOTHING = contextlib.nullcontext()
RENAME_FLAGS = store_syscalls.RENAME_NOREPLACE | store_syscalls.RENAME_EXCHANGE


class Listing:
    """An open directory: its own descriptor, opened when it is needed (-1 before), and the names as they were when the listing began.

    The position of an entry is its place in that list, so entries that come and go move none.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.descriptor = -1
        self.names: list[bytes] | None = None


class Directories(Base):
    """Handlers whose arguments are a directory and a name."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._listings: dict[int, Listing] = {}

    def lookup(self, parent_inode: int, name: bytes, ctx: Caller) -> Answer | None:
        """Return what `name` is, None for a name that is not there and that the kernel may remember as absent."""
        parent = self.inodes.node(parent_inode)
        is_hidden = parent.hidden or (parent_inode == ROOT_INODE and name == RESERVED)
        is_commit = self.gate.is_commit_thread(ctx.pid)
        if is_hidden and not is_commit:
            raise pyfuse3.FUSEError(errno.ENOENT)
        try:
            node, status = self.inodes.found(parent, name)
        except FileNotFoundError:
            if is_hidden or parent.foreign or is_commit:
                raise
            return None  # whoever makes it goes through the mount
        if is_commit:
            # Programs that come here later have to be looked up themselves: until then, nobody sees what is done underneath.
            node.lookups += 1
            return node, status
        return self.entered(node, status)

    def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for inode, count in inode_list:
            self.inodes.forget(inode, count)

    # -------------------------------------------------------------------------------------------------------- listing

    def opendir(self, inode: int, ctx: Caller) -> int:
        return self.listing_of(self.inodes.node(inode))

    def opened_directory(self, inode: int) -> tuple[int, bool]:
        """Return a handle of a directory, and whether the kernel may keep its entries: all changes of them pass the mount."""
        node = self.inodes.node(inode)
        return self.listing_of(node), not (node.hidden or node.foreign)

    def listing_of(self, node: Node) -> int:
        """Return a handle of a directory. The kernel has checked who may; it may have the entries in its cache."""
        handle = self.new_handle()
        self._listings[handle] = Listing(node)
        return handle

    def listing_descriptor(self, listing: Listing) -> int:
        """Return a descriptor to read the directory by; it stays the listing's."""
        if listing.descriptor < 0:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            listing.descriptor = os.open(".", flags, dir_fd=self.inodes.descriptor(listing.node))
        return listing.descriptor

    def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        listing = self._listings[fh]
        if start_id == 0 or listing.names is None:
            listing.names = self._names(listing)
        names = listing.names
        for position in range(start_id, len(names)):
            if not self._listed(listing.node, names[position], position + 1, token):
                return

    def _names(self, listing: Listing) -> list[bytes]:
        names = [os.fsencode(name) for name in os.listdir(self.listing_descriptor(listing))]
        if listing.node.inode == ROOT_INODE and RESERVED in names:
            names.remove(RESERVED)
        return [b".", b"..", *names]

    def _listed(self, directory: Node, name: bytes, next_id: int, token: pyfuse3.ReaddirToken) -> bool:
        """Add one entry to the answer; False when it is full. What is gone meanwhile is passed over."""
        try:
            if name in (b".", b".."):
                # The kernel takes the type and number alone, and counts no lookup. Never ask for `..` underneath.
                shown = directory if name == b"." else self.inodes.above(directory)
                return pyfuse3.readdir_reply(token, name, self.entry((shown, self.status(shown))), next_id)
            node, status = self.inodes.found(directory, name)
        except OSError:
            return True
        if not pyfuse3.readdir_reply(token, name, self.entry((node, status)), next_id):
            self.inodes.release_unseen(node)
            return False
        self.entered(node, status)
        return True

    def releasedir(self, fh: int) -> None:
        self.close_listing(fh)

    def close_listing(self, fh: int) -> None:
        descriptor = self._listings.pop(fh).descriptor
        if descriptor >= 0:
            os.close(descriptor)

    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        descriptor = self.listing_descriptor(self._listings[fh])
        await trio.to_thread.run_sync(os.fsync, descriptor)
        await self.journal_durable()

    @abstractmethod
    async def journal_durable(self) -> None:
        """Wait until all rows so far survive a power cut. Files know how."""

    # --------------------------------------------------------------------------------------------------------- making

    def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: Caller) -> Answer:
        parent = self.inodes.node(parent_inode)
        self.check_name(parent, name)
        directory = self.inodes.descriptor(parent)
        with caller_umask(ctx):
            os.mkdir(name, stat.S_IMODE(mode), dir_fd=directory)
        return self._made(parent, name, mode, ctx)

    def mknod(self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: Caller) -> Answer:
        parent = self.inodes.node(parent_inode)
        self.check_name(parent, name)
        directory = self.inodes.descriptor(parent)
        with caller_umask(ctx):
            os.mknod(name, mode, rdev, dir_fd=directory)
        return self._made(parent, name, mode, ctx)

    def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: Caller) -> Answer:
        parent = self.inodes.node(parent_inode)
        self.check_name(parent, name)
        os.symlink(target, name, dir_fd=self.inodes.descriptor(parent))
        return self._made(parent, name, stat.S_IFLNK | 0o777, ctx)

    def _made(self, parent: Node, name: bytes, mode: int, ctx: Caller) -> Answer:
        """Give what was just made to the caller; take it away again if that fails."""
        directory = self.inodes.descriptor(parent)
        try:
            self.give(directory, name, mode, ctx)
            node, status = self.inodes.found(parent, name)
        except OSError:
            (os.rmdir if stat.S_ISDIR(mode) else os.unlink)(name, dir_fd=directory)
            raise
        node.no_capability = True
        self.capture.created((parent.inode, name), self.writer(ctx))
        return self.entered(node, status)

    def give(self, directory: int, name: bytes, mode: int, ctx: Caller) -> None:
        """Make the caller the owner of what root made. A setgid directory has given it its own group already."""
        if ctx.uid == 0 and ctx.gid == 0:
            return
        group = -1 if os.fstat(directory).st_mode & stat.S_ISGID else ctx.gid
        if ctx.uid == 0 and group == -1:
            return
        before = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        os.chown(name, ctx.uid, group, dir_fd=directory, follow_symlinks=False)
        if before & (stat.S_ISUID | stat.S_ISGID) and not stat.S_ISDIR(before):
            # chown has just cleared what the caller asked for
            os.chmod(name, stat.S_IMODE(before), dir_fd=directory)

    # -------------------------------------------------------------------------------------- removing, renaming, linking

    def unlink(self, parent_inode: int, name: bytes, ctx: Caller) -> None:
        parent = self.inodes.node(parent_inode)
        if self.gate.is_commit_thread(ctx.pid):
            self.gate.unlinked_through(parent, name)
            return
        self.check_name(parent, name)
        directory = self.inodes.descriptor(parent)
        with self.going(parent, name) as node, self._keeping_what_goes(parent, name, node, ctx):
            os.unlink(name, dir_fd=directory)
        self._gone(node, parent, name, ctx)

    def rmdir(self, parent_inode: int, name: bytes, ctx: Caller) -> None:
        parent = self.inodes.node(parent_inode)
        if self.gate.is_commit_thread(ctx.pid):
            self.gate.unlinked_through(parent, name)
            return
        self.check_name(parent, name)
        directory = self.inodes.descriptor(parent)
        with self.going(parent, name) as node:
            os.rmdir(name, dir_fd=directory)
        self._gone(node, parent, name, ctx)

    @contextlib.contextmanager
    def going(self, parent: Node, name: bytes) -> Iterator[Node | None]:
        """Give the node of an object about to lose a name, pinned if it is the last: programs may still hold it."""
        try:
            status = os.stat(name, dir_fd=self.inodes.descriptor(parent), follow_symlinks=False)
        except FileNotFoundError:
            yield None
            return
        node = self.inodes.known(status, parent)
        if node is None or not (node.is_directory or status.st_nlink == 1):
            yield node
            return
        pinned = self.inodes.pin(node)
        try:
            yield node
        except BaseException:
            if pinned:
                self.inodes.unpin(node)
            raise

    def _keeping_what_goes(
        self, parent: Node, name: bytes, node: Node | None, ctx: Caller
    ) -> contextlib.AbstractContextManager[None]:
        if self.keeping is None:
            return _NOTHING
        return self.keeping.losing(parent, name, node, self.writer(ctx))

    def _gone(self, node: Node | None, parent: Node, name: bytes, ctx: Caller) -> None:
        self.capture.removed((parent.inode, name), self.writer(ctx))
        if node is not None:
            self._unnamed(node, (parent.inode, name), ctx)

    def _unnamed(self, node: Node, name: Name, ctx: Caller) -> None:
        """An object has lost a name: what it is called otherwise shows another number of links, and another time of change."""
        self.inodes.unnamed(node, name)
        if node.names and not node.is_directory:
            self.capture.attributes_set(node, self.writer(ctx))

    def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: Caller,
    ) -> None:
        source, target = self.inodes.node(parent_inode_old), self.inodes.node(parent_inode_new)
        if self.gate.is_commit_thread(ctx.pid):
            self.gate.renamed_through(source, name_old, target, name_new)
            return
        self.check_name(source, name_old)
        self.check_name(target, name_new)
        if flags & ~RENAME_FLAGS:
            raise pyfuse3.FUSEError(errno.EINVAL)
        if flags & store_syscalls.RENAME_EXCHANGE:
            self._exchange(source, name_old, target, name_new, ctx)
        else:
            self._rename(source, name_old, target, name_new, flags, ctx)

    def _rename(self, source: Node, old: bytes, target: Node, new: bytes, flags: int, ctx: Caller) -> None:
        from_directory, to_directory = self.inodes.descriptor(source), self.inodes.descriptor(target)
        status = os.stat(old, dir_fd=from_directory, follow_symlinks=False)
        moved = self.inodes.known(status, source)
        if self.read_only is not None and stat.S_ISDIR(status.st_mode):
            self.read_only.check_move((source.inode, old), (target.inode, new))
        if self.keeping is not None and moved is not None and stat.S_ISREG(status.st_mode):
            self.keeping.leaving((source.inode, old), (target.inode, new), moved, self.writer(ctx))
        try:
            # most often nothing is there: then there is nothing to be looked at before it goes
            store_syscalls.renameat2(from_directory, old, to_directory, new, store_syscalls.RENAME_NOREPLACE)
            replaced = None
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.EINVAL) or flags:
                raise
            with self.going(target, new) as replaced, self._keeping_what_goes(target, new, replaced, ctx):
                store_syscalls.renameat2(from_directory, old, to_directory, new, flags)
        if replaced is not None and replaced is moved:
            return  # two names of one object: rename(2) does nothing
        if replaced is not None:
            self._unnamed(replaced, (target.inode, new), ctx)
        self.capture.renamed((source.inode, old), (target.inode, new), stat.S_ISDIR(status.st_mode), self.writer(ctx))
        if moved is not None:
            self.inodes.renamed(moved, (source.inode, old), (target.inode, new))

    def _exchange(self, source: Node, old: bytes, target: Node, new: bytes, ctx: Caller) -> None:
        from_directory, to_directory = self.inodes.descriptor(source), self.inodes.descriptor(target)
        first = os.stat(old, dir_fd=from_directory, follow_symlinks=False)
        second = os.stat(new, dir_fd=to_directory, follow_symlinks=False)
        names = (source.inode, old), (target.inode, new)
        if self.read_only is not None:
            for status, one, other in ((first, names[0], names[1]), (second, names[1], names[0])):
                if stat.S_ISDIR(status.st_mode):
                    self.read_only.check_move(one, other)
        store_syscalls.renameat2(from_directory, old, to_directory, new, store_syscalls.RENAME_EXCHANGE)
        nodes = self.inodes.known(first, source), self.inodes.known(second, target)
        if nodes[0] is nodes[1] and nodes[0] is not None:
            return
        if nodes[0] is not None:
            self.inodes.renamed(nodes[0], names[0], names[1])
        if nodes[1] is not None:
            self.inodes.renamed(nodes[1], names[1], names[0])
        self.capture.exchanged(
            (names[0], stat.S_ISDIR(second.st_mode)), (names[1], stat.S_ISDIR(first.st_mode)), self.writer(ctx)
        )

    def link(self, inode: int, new_parent_inode: int, new_name: bytes, ctx: Caller) -> Answer:
        node, parent = self.inodes.node(inode), self.inodes.node(new_parent_inode)
        self.check_name(parent, new_name)
        self.check_object(node)
        descriptor = self.inodes.opened(node)
        try:
            directory = self.inodes.descriptor(parent)
            os.link(f"/proc/self/fd/{descriptor}", new_name, dst_dir_fd=directory, follow_symlinks=True)
        finally:
            os.close(descriptor)
        node, status = self.inodes.found(parent, new_name)
        self.capture.linked(node, (parent.inode, new_name), self.writer(ctx))
        return self.entered(node, status)


class caller_umask:  # noqa: N801 - used as a function; a generator would cost three times as much
    """Make what is made in this block with the caller's umask, which a default ACL of the directory overrides.

    The mask belongs to the process, but only the loop makes files in this one: it stays until another caller has another one.
    """

    __slots__ = ("_mask",)
    present = -1

    def __init__(self, ctx: Caller) -> None:
        self._mask = ctx.umask

    def __enter__(self) -> None:
        if self._mask != caller_umask.present:
            os.umask(self._mask)
            caller_umask.present = self._mask

    def __exit__(self, *error: object) -> None:
        pass
