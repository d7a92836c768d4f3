"""Handlers of what the extension adds to pyfuse3: space and holes of files, inode flags, copies within the volume."""

import errno
import fcntl
import os
import stat

from csfs.mount import syscalls
from csfs.mount.operations.files import Files, Handle
from csfs.mount.writers import Writer
from csfs.store.syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE

FALLOC_FL_ZERO_RANGE = 0x10
_ALLOCATIONS = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE

GETFLAGS, SETFLAGS = 0x80086601, 0x40086602
FSGETXATTR, FSSETXATTR = 0x801C581F, 0x401C5820
_COMMAND_SIZES = {GETFLAGS: 4, SETFLAGS: 4, FSGETXATTR: 28, FSSETXATTR: 28}
"""FS_IOC_* of linux/fs.h that lsattr and chattr use, with the bytes that the kernel reads and writes for each."""

COPIED_AT_ONCE_MAX = 8 * 1024 * 1024
"""A copy is made in one step of the loop: a longer one is answered short, and the program goes on where that ends."""


class Extended(Files):
    """Handlers that take and return plain values; the extension speaks to libfuse for them."""

    def writer_of(self, uid: int, pid: int) -> Writer:
        return self._programs.writer(uid, pid)

    def opened_directory(self, inode: int) -> tuple[int, bool]:
        """Return a handle of a directory, and whether the kernel may keep its entries: all changes of them pass the mount."""
        node = self.inodes.node(inode)
        return self.listing_of(node), not (node.hidden or node.foreign)

    def write_from(self, fh: int, offset: int, address: int, size: int, kill_privileges: bool) -> int:
        """Write `size` bytes of memory at `address`, where the kernel's request lies."""
        handle = self._handles[fh]
        written = syscalls.pwrite_from(handle.descriptor, address, size, offset)
        self.capture.wrote(handle.file, offset, written, handle.writer)
        if kill_privileges:
            self._clear_privileges(handle, handle.writer)
        return written

    def _clear_privileges(self, handle: Handle, writer: Writer) -> None:
        """Take setuid and setgid away from content that somebody without the right to keep them has changed."""
        mode = os.fstat(handle.descriptor).st_mode
        cleared = mode & stat.S_ISUID | (mode & stat.S_ISGID if mode & stat.S_IXGRP else 0)
        if cleared:
            os.fchmod(handle.descriptor, stat.S_IMODE(mode) & ~cleared)
            self.capture.attributes_set(handle.file.node, writer)

    def fallocate(self, fh: int, mode: int, offset: int, length: int, writer: Writer) -> None:
        if mode & ~_ALLOCATIONS:
            raise OSError(errno.EOPNOTSUPP, "this kind of allocation cannot be passed on")
        handle = self._handles[fh]
        before = os.fstat(handle.descriptor).st_size
        syscalls.fallocate(handle.descriptor, mode, offset, length)
        after = os.fstat(handle.descriptor).st_size
        if mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE):
            end = min(offset + length, after)
            if end > offset:
                self.capture.wrote(handle.file, offset, end - offset, writer)
        elif after != before:
            self.capture.resized(handle.file.node, before, after, writer)
        else:
            self.capture.attributes_set(handle.file.node, writer)  # only the time has changed

    def seek(self, fh: int, offset: int, whence: int) -> int:
        return os.lseek(self._handles[fh].descriptor, offset, whence)

    def inode_flags(self, fh: int, is_directory: bool, command: int, given: bytes, size: int, writer: Writer) -> bytes:
        """Get or set what chattr sets. The kernel has checked who may; no other command ever reaches the file underneath."""
        wanted = _COMMAND_SIZES.get(command)
        if wanted is None:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        if is_directory:
            listing = self._listings[fh]
            descriptor, node = self.listing_descriptor(listing), listing.node
        else:
            handle = self._handles[fh]
            descriptor, node = handle.descriptor, handle.file.node
        setting = command in (SETFLAGS, FSSETXATTR)
        if (len(given) if setting else size) < wanted:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        data = bytearray(given[:wanted].ljust(wanted, b"\0"))
        fcntl.ioctl(descriptor, command, data)
        if not setting:
            return bytes(data)
        self.capture.attributes_set(node, writer)
        return b""

    def copied_range(
        self, source: int, source_offset: int, target: int, offset: int, length: int, writer: Writer
    ) -> int:
        to = self._handles[target]
        length = min(length, COPIED_AT_ONCE_MAX)
        copied = os.copy_file_range(self._handles[source].descriptor, to.descriptor, length, source_offset, offset)
        if copied:
            self.capture.wrote(to.file, offset, copied, writer)
        return copied
