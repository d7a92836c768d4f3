"""Keeps what programs of this host are about to overwrite or remove, in the groups that want it (`keep_local`).

A file that loses its only name gets another one in the kept store first. One that is to be written to is copied there: byte by byte if
it is small, else by sharing blocks, where the file system can. A row says what was kept, before the row of what became of the file; of
what a killed mount has told nobody, the daemon finds the object in the store.

A file is copied once, until nobody has it open for writing any more: what was closed last is kept. A new file, and an empty one, hold
nothing to be kept. Nothing that goes wrong here is the program's: it goes on as it would without.
"""

import errno
import itertools
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from csfs.core.groups import Rules
from csfs.core.objects import Stamp
from csfs.core.paths import RelPath, shown
from csfs.mount.capture import Capture, OpenFile
from csfs.mount.inodes import Inodes, Name, Node
from csfs.mount.writers import Writer
from csfs.store import syscalls
from csfs.store.attributes import link_path, read_xattrs, stamp_of
from csfs.store.redo import write_at
from csfs.store.room import check_room
from csfs.store.unborn import Unborn
from csfs.wire.control import KEPT

log = logging.getLogger(__name__)

COPIED_SIZE_MAX = 1024 * 1024
"""To copy that much takes half a millisecond, in which no other program is answered. Sharing blocks has what was written lately go to
its disk first."""
KEPT_SIZE_MAX = 256 * 1024 * 1024
"""A quarter of what all kept versions may take: a larger file would drive out what is kept of others. Sharing the blocks of a file that
was written just now takes as long as its disk takes to write it."""
_TOO_LARGE: Final = (errno.EFBIG, errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS)
"""What is larger, or would have to share blocks and cannot."""

_names = itertools.count(1)


class Keeping:
    """Keeps what goes, as `rules` say. Nothing of it is asked where they want nothing kept."""

    def __init__(self, rules: Rules, inodes: Inodes, capture: Capture) -> None:
        self._rules = rules
        self._inodes = inodes
        self._capture = capture
        self._trouble = 0
        """The errno that was complained of last."""

    def _is_wanted(self, path: RelPath) -> bool:
        return self._rules.treatment_of(path).keep_local and self._rules.is_synced(path)

    # ------------------------------------------------------------------------------------------------ what is written to

    def overwriting(self, file: OpenFile, writer: Writer) -> None:
        """Bytes of an open file are about to be overwritten, or cut off."""
        if not (file.is_kept and file.writing):  # while others go on reading, it is of those who have closed the file
            file.is_kept = file.writing > 0
            self._copy(file.node, writer, writing=file.writing > 0)

    def destroying(self, node: Node, writer: Writer) -> None:
        """A part of a file is about to go, by whatever name or handle, or all of it."""
        file = self._capture.files.get(node.inode)
        if file is not None and file.node is node:
            self.overwriting(file, writer)
        else:
            self._copy(node, writer, writing=False)

    def leaving(self, source: Name, target: Name, node: Node, writer: Writer) -> None:
        """A file is about to be renamed: what is moved to where nothing is kept is kept before, for it may go there. Editors do so."""
        before, after = self._inodes.path_at(source), self._inodes.path_at(target)
        if before is not None and self._is_wanted(before) and (after is None or not self._is_wanted(after)):
            self.destroying(node, writer)

    def _copy(self, node: Node, writer: Writer, *, writing: bool) -> None:
        path = self._path_of(node)
        if path is None:
            return
        try:
            source = self._inodes.opened(node, os.O_RDONLY | os.O_NOATIME | os.O_NONBLOCK)
            try:
                status = os.fstat(source)
                name = self._copied(source, status) if _has_content(status) else b""
            finally:
                os.close(source)
        except Exception as error:
            self._complain(path, error)
            return
        if name:
            self._tell(path, name, stamp_of(status), writer, writing=writing)

    def _path_of(self, node: Node) -> RelPath | None:
        if node.hidden or node.foreign:
            return None
        return next(filter(self._is_wanted, self._inodes.paths_of(node)), None)

    def _copied(self, source: int, status: os.stat_result) -> bytes:
        """Copy a file into the kept store; return its name there."""
        self._check(status)
        name, store = _new_name(), self._opened_store()
        try:
            with Unborn(store, name) as copy:
                if status.st_size <= COPIED_SIZE_MAX:
                    write_at(copy.descriptor, 0, os.pread(source, status.st_size, 0))
                else:
                    syscalls.clone(source, copy.descriptor)
                _dress(source, copy.descriptor, status)
                copy.appear()
        finally:
            os.close(store)
        return name

    # ----------------------------------------------------------------------------------------------- what loses its name

    @contextmanager
    def losing(self, parent: Node, name: bytes, node: Node | None, writer: Writer) -> Iterator[None]:
        """A name goes in this block, or is given to something else. `node` is its object, if the kernel knows that."""
        file = self._capture.files.get(node.inode) if node is not None else None
        is_written = file is not None and file.node is node and file.writing > 0
        if is_written and file is not None:
            # Whoever has it open goes on writing to it: that must not reach what is kept.
            if self._has_one_name(parent, name):
                self.overwriting(file, writer)
            yield
            return
        path = self._inodes.path_at((parent.inode, name))
        kept, stamp = self._linked(parent, name, path) if path is not None and self._is_wanted(path) else (b"", None)
        try:
            yield
        except BaseException:
            if kept:
                self._unlink(kept)
            raise
        if kept and path is not None and stamp is not None:
            if node is not None:
                node.kept = True
            if file is not None and file.node is node:
                file.displaced, file.kept = path, kept
            self._tell(path, kept, stamp, writer, writing=False)

    def _has_one_name(self, parent: Node, name: bytes) -> bool:
        with suppress(OSError):
            return _is_alone(os.stat(name, dir_fd=self._inodes.descriptor(parent), follow_symlinks=False))
        return False

    def _linked(self, parent: Node, name: bytes, path: RelPath) -> tuple[bytes, Stamp | None]:
        """Give a file that has no other name one in the kept store; return it, and the file's stamp before. Empty: it is not kept."""
        try:
            directory = self._inodes.descriptor(parent)
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if not (_has_content(status) and _is_alone(status)) or status.st_dev != self._inodes.device:
                return b"", None
            self._check(status)
            kept, store = _new_name(), self._opened_store()
            try:
                os.link(name, kept, src_dir_fd=directory, dst_dir_fd=store, follow_symlinks=False)
            finally:
                os.close(store)
        except FileNotFoundError:
            return b"", None
        except Exception as error:
            self._complain(path, error)
            return b"", None
        return kept, stamp_of(status)

    def _unlink(self, kept: bytes) -> None:
        with suppress(OSError):
            store = self._opened_store()
            try:
                os.unlink(kept, dir_fd=store)
            finally:
                os.close(store)

    # ---------------------------------------------------------------------------------------------------------- for both

    def _check(self, status: os.stat_result) -> None:
        """Raises OSError where it would be too much: for what is kept, or for a disk that is nearly full."""
        if status.st_size > KEPT_SIZE_MAX:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        check_room(self._inodes.root, status.st_size)

    def _opened_store(self) -> int:
        return syscalls.openat2(self._inodes.root, KEPT, os.O_PATH | os.O_DIRECTORY)

    def _tell(self, path: RelPath, name: bytes, stamp: Stamp, writer: Writer, *, writing: bool) -> None:
        self._trouble = 0
        self._capture.kept(path, name, stamp, writer, writing=writing)

    def _complain(self, path: RelPath, error: Exception) -> None:
        """Say why something is not kept, once for many. What is too large is noted without its content, as everywhere else."""
        if not isinstance(error, OSError):
            log.exception("a bug in csfs: %s is not kept", shown(path))
        elif error.errno not in (self._trouble, *_TOO_LARGE):
            self._trouble = error.errno or 0
            log.warning("%s, and what goes after it, is not kept: %s", shown(path), error.strerror)


def _new_name() -> bytes:
    return b"%x.%x" % (time.time_ns(), next(_names))


def _has_content(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_size > 0


def _is_alone(status: os.stat_result) -> bool:
    return status.st_nlink == 1


def _dress(source: int, copy: int, status: os.stat_result) -> None:
    """Give a copy all that describes the file. Owners first: the kernel takes from others what belongs to programs."""
    if status.st_uid or status.st_gid:
        os.fchown(copy, status.st_uid, status.st_gid)
    for name, value in read_xattrs(link_path(source)):
        os.setxattr(copy, name, value)
    os.fchmod(copy, stat.S_IMODE(status.st_mode))
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
