"""Handlers of what the extension adds to pyfuse3: space and holes of files, inode flags, copies within the volume."""

import errno
import fcntl
import os

from csfs.mount import syscalls
from csfs.mount.operations.files import Files
from csfs.mount.refresh import forget_attributes
from csfs.mount.writers import Caller
from csfs.store.syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, GETFLAGS, SETFLAGS

FALLOC_FL_ZERO_RANGE = 0x10
_DESTROYING = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE
_ALLOCATIONS = FALLOC_FL_KEEP_SIZE | _DESTROYING

FSGETXATTR, FSSETXATTR = 0x801C581F, 0x401C5820
_COMMAND_SIZES = {GETFLAGS: 4, SETFLAGS: 4, FSGETXATTR: 28, FSSETXATTR: 28}
"""FS_IOC_* of linux/fs.h that lsattr and chattr use, with the bytes that the kernel reads and writes for each."""

COPIED_AT_ONCE_MAX = 8 * 1024 * 1024
"""A copy is made in one step of the loop: a longer one is answered short, and the program goes on where that ends."""


class Extended(Files):
    """Handlers that pyfuse3 does not ask; the extension speaks to libfuse for them."""

    def fallocate(self, fh: int, mode: int, offset: int, length: int, caller: Caller) -> None:
        if mode & ~_ALLOCATIONS:
            raise OSError(errno.EOPNOTSUPP, "this kind of allocation cannot be passed on")
        handle, writer = self._handles[fh], self.writer(caller)
        self.check_object(handle.file.node)
        before = os.fstat(handle.descriptor).st_size
        if self.keeping is not None and mode & _DESTROYING and offset < before:
            self.keeping.overwriting(handle.file, writer)
        syscalls.fallocate(handle.descriptor, mode, offset, length)
        after = os.fstat(handle.descriptor).st_size
        if mode & _DESTROYING:
            end = min(offset + length, after)
            if end > offset:
                self.capture.wrote(handle.file, offset, end - offset, writer)
        elif after != before:
            self.capture.resized(handle.file.node, before, after, writer)
        else:
            self.capture.attributes_set(handle.file.node, writer)  # only the time has changed
        if self.clears_privileges and caller.uid != 0:
            self.clear_privileges(handle, caller)

    def seek(self, fh: int, offset: int, whence: int) -> int:
        return os.lseek(self._handles[fh].descriptor, offset, whence)

    def inode_flags(self, fh: int, is_directory: bool, command: int, given: bytes, size: int, caller: Caller) -> bytes:
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
        if setting:
            self.check_object(node)
        data = bytearray(given[:wanted].ljust(wanted, b"\0"))
        fcntl.ioctl(descriptor, command, data)
        if not setting:
            return bytes(data)
        # A new ctime, of which the kernel does not think by itself here. It waits for nothing: who asks has the object open.
        forget_attributes({node.inode})
        self.capture.attributes_set(node, self.writer(caller))
        return b""

    def copied_range(
        self, source: int, source_offset: int, target: int, offset: int, length: int, caller: Caller
    ) -> int:
        to = self._handles[target]
        self.check_object(to.file.node)
        length = min(length, COPIED_AT_ONCE_MAX)
        if self.keeping is not None and length and offset < to.file.size:
            self.keeping.overwriting(to.file, self.writer(caller))
        copied = os.copy_file_range(self._handles[source].descriptor, to.descriptor, length, source_offset, offset)
        if copied:
            self.capture.wrote(to.file, offset, copied, self.writer(caller))
            if self.clears_privileges and caller.uid != 0:
                self.clear_privileges(to, caller)
        return copied
