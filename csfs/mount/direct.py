"""Answers the requests that programs make most, from and to /dev/fuse: the handlers are the same, pyfuse3 and libfuse are passed by.

What pyfuse3 adds to a request (coroutines, objects, libfuse below) costs about as much as the kernel's part of it. So the requests
named here are unpacked, handled and answered in one step without any of that. All others go the usual way.
"""

import errno
import logging
import os

import pyfuse3

from csfs.mount import protocol as p
from csfs.mount.held import Handler, Held, NotHeldError, Reply
from csfs.mount.inodes import ROOT_INODE
from csfs.mount.operations.attributes import Wanted
from csfs.mount.operations.base import CACHE_S, Answer
from csfs.mount.operations.passthrough import Handlers
from csfs.mount.operations.xattrs import CAPABILITY
from csfs.mount.waiting import Waiting
from csfs.store.syscalls import NOW

log = logging.getLogger(__name__)

_CACHE_S = int(CACHE_S)
_EVERY_SET = p.SET_ATIME | p.SET_MTIME | p.SET_ATIME_NOW | p.SET_MTIME_NOW


class Asking:
    """Who makes the request at hand."""

    __slots__ = ("gid", "pid", "uid", "umask")

    def __init__(self) -> None:
        self.uid = self.gid = self.pid = self.umask = 0


class Direct:
    """Handles requests that lie in one buffer, one at a time."""

    def __init__(self, handlers: Handlers, buffer: bytearray) -> None:
        self._do = handlers
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._read = bytearray(p.STATUS_ONLY.size + p.SIZE_MAX)
        self._read_view = memoryview(self._read)
        self._caller = Asking()
        self._handlers: dict[int, Handler] = {
            p.LOOKUP: self._lookup,
            p.FORGET: self._forget,
            p.BATCH_FORGET: self._batch_forget,
            p.GETATTR: self._getattr,
            p.SETATTR: self._setattr,
            p.GETXATTR: self._getxattr,
            p.LISTXATTR: self._listxattr,
            p.MKDIR: self._mkdir,
            p.UNLINK: self._unlink,
            p.RMDIR: self._rmdir,
            p.RENAME: self._rename,
            p.RENAME2: self._rename2,
            p.OPEN: self._open,
            p.CREATE: self._create,
            p.READ: self._read_file,
            p.WRITE: self._write,
            p.RELEASE: self._release,
            p.OPENDIR: self._opendir,
            p.RELEASEDIR: self._releasedir,
            p.FLUSH: self._flush,
            p.MKNOD: self._mknod,
            p.SYMLINK: self._symlink,
            p.LINK: self._link,
            p.SETXATTR: self._setxattr,
            p.REMOVEXATTR: self._removexattr,
        }
        self._plain = self._handlers

    def follow(self, waiting: Waiting | None) -> None:
        """Have programs wait for others from now on, or never: then nothing here costs anything."""
        self._handlers = self._plain if waiting is None else Held(waiting, self._do, self._buffer).over(self._plain)

    def answered(self, descriptor: int) -> bool:
        """Handle the request in the buffer and write the reply; False if it is for libfuse."""
        length, opcode, unique, inode, uid, gid, pid = p.REQUEST.unpack_from(self._buffer)
        handler = self._handlers.get(opcode)
        if handler is None:
            return False
        caller = self._caller
        caller.uid, caller.gid, caller.pid = uid, gid, pid
        try:
            reply = handler(unique, inode, length)
        except NotHeldError:
            return False
        except pyfuse3.FUSEError as error:
            reply = p.failed(unique, error.errno)
        except OSError as error:  # the directory underneath refused: its errno is the answer
            reply = p.failed(unique, error.errno or 0)
        except Exception:
            log.exception("unexpected error answering %s", handler.__name__)
            reply = p.failed(unique, errno.EIO)
        if reply is not None:
            try:
                os.write(descriptor, reply)
            except OSError as error:
                # ENOENT: nobody waits for it any more, which only the end of the mount brings about
                if error.errno not in (errno.ENOENT, errno.ENODEV):
                    log.error("the kernel did not take an answer: %s", error)
        return True

    @property
    def caller(self) -> int:
        """The thread that made the last request."""
        return self._caller.pid

    def _name(self, start: int, length: int) -> bytes:
        """Return the one name that a request ends with, without its zero."""
        return self._view[start : length - 1].tobytes()

    # ------------------------------------------------------------------------------------------------ names, attributes

    def _attributes(self, answer: Answer) -> tuple[float, ...]:
        """Return the fields of struct fuse_attr: whole numbers, though os.stat_result's type says that its times might not be."""
        node, status = answer
        mode, inode, _, links, uid, gid, size, atime, mtime, ctime = status
        if node.kept or node.inode == ROOT_INODE:
            links = self._do.links(node, status)
        else:
            inode = node.inode
        if node.foreign:
            mode = self._do.mode(node, status)
        return (
            inode,
            size,
            status.st_blocks,
            atime,
            mtime,
            ctime,
            status.st_atime_ns - atime * p.NS_PER_S,
            status.st_mtime_ns - mtime * p.NS_PER_S,
            status.st_ctime_ns - ctime * p.NS_PER_S,
            mode,
            links,
            uid,
            gid,
            status.st_rdev & p.RDEV_MASK,
            status.st_blksize,
            0,
        )

    def _entry(self, unique: int, answer: Answer, size: int = p.ENTRY.size) -> bytes:
        node = answer[0]
        valid = _CACHE_S if node.seen and not (node.hidden or node.foreign) else 0
        return p.ENTRY.pack(size, 0, unique, node.inode, node.generation, valid, valid, *self._attributes(answer))

    def _described(self, unique: int, answer: Answer) -> bytes:
        node = answer[0]
        valid = _CACHE_S if node.seen and not (node.hidden or node.foreign) else 0
        return p.ATTRIBUTES.pack(p.ATTRIBUTES.size, 0, unique, valid, *self._attributes(answer))

    def _lookup(self, unique: int, inode: int, length: int) -> Reply:
        answer = self._do.lookup(inode, self._name(p.BODY, length), self._caller)
        if answer is None:
            return p.ABSENT.pack(p.ABSENT.size, 0, unique, 0, 0, _CACHE_S)
        return self._entry(unique, answer)

    def _forget(self, unique: int, inode: int, length: int) -> Reply:
        try:
            self._do.forget([(inode, p.FORGETS.unpack_from(self._buffer, p.BODY)[0])])
        except Exception:
            log.exception("unexpected error in forget")
        return None

    def _batch_forget(self, unique: int, inode: int, length: int) -> Reply:
        first = p.BODY + p.FORGET_COUNT.size
        (count,) = p.FORGET_COUNT.unpack_from(self._buffer, p.BODY)
        end = first + count * p.FORGET_ONE.size
        try:
            self._do.forget(list(p.FORGET_ONE.iter_unpack(self._view[first:end])))
        except Exception:
            log.exception("unexpected error in forget")
        return None

    def _getattr(self, unique: int, inode: int, length: int) -> Reply:
        return self._described(unique, self._do.getattr(inode, self._caller))

    def _setattr(self, unique: int, inode: int, length: int) -> Reply:
        (valid, fh, size, atime, mtime, _, atime_ns, mtime_ns, _, mode, uid, gid) = p.SETATTR_IN.unpack_from(
            self._buffer, p.BODY
        )
        wanted = Wanted()
        if valid & p.SET_MODE:
            wanted.mode = mode
        if valid & p.SET_UID:
            wanted.uid = uid
        if valid & p.SET_GID:
            wanted.gid = gid
        if valid & p.SET_SIZE:
            wanted.size = size
        if valid & _EVERY_SET:
            if valid & p.SET_ATIME:
                wanted.atime_ns = NOW if valid & p.SET_ATIME_NOW else atime * p.NS_PER_S + atime_ns
            if valid & p.SET_MTIME:
                wanted.mtime_ns = NOW if valid & p.SET_MTIME_NOW else mtime * p.NS_PER_S + mtime_ns
        wanted.kills_privileges = bool(valid & p.SETATTR_KILLS_PRIVILEGES)
        handle = fh if valid & p.HAS_HANDLE else None
        return self._described(unique, self._do.setattr(inode, wanted, handle, self._caller))

    def _getxattr(self, unique: int, inode: int, length: int) -> Reply:
        (size,) = p.GETXATTR_IN.unpack_from(self._buffer, p.BODY)
        name = self._name(p.BODY + p.GETXATTR_IN.size, length)
        if name == CAPABILITY and self._do.lacks_capability(inode):
            return p.failed(unique, errno.ENODATA)
        return self._value(unique, size, self._do.getxattr(inode, name, self._caller))

    def _listxattr(self, unique: int, inode: int, length: int) -> Reply:
        (size,) = p.GETXATTR_IN.unpack_from(self._buffer, p.BODY)
        names = self._do.listxattr(inode, self._caller)
        return self._value(unique, size, b"".join(name + b"\0" for name in names))

    def _setxattr(self, unique: int, inode: int, length: int) -> Reply:
        size, flags = p.SETXATTR_IN.unpack_from(self._buffer, p.BODY)
        name, _, _ = self._view[p.BODY + p.SETXATTR_IN.size : length - size].tobytes().partition(b"\0")
        self._do.setxattr(inode, name, self._view[length - size : length].tobytes(), self._caller, flags)
        return p.done(unique)

    def _removexattr(self, unique: int, inode: int, length: int) -> Reply:
        self._do.removexattr(inode, self._name(p.BODY, length), self._caller)
        return p.done(unique)

    def _value(self, unique: int, size: int, value: bytes) -> bytes:
        """Return the reply to a question with room for `size` bytes, 0 if only their number is wanted."""
        if not size:
            return p.SIZE_ONLY.pack(p.SIZE_ONLY.size, 0, unique, len(value))
        if len(value) > size:
            return p.failed(unique, errno.ERANGE)
        return p.with_data(unique, value)

    # --------------------------------------------------------------------------------------------- making and removing

    def _mkdir(self, unique: int, inode: int, length: int) -> Reply:
        mode, self._caller.umask = p.MKDIR_IN.unpack_from(self._buffer, p.BODY)
        name = self._name(p.BODY + p.MKDIR_IN.size, length)
        return self._entry(unique, self._do.mkdir(inode, name, mode, self._caller))

    def _mknod(self, unique: int, inode: int, length: int) -> Reply:
        mode, device, self._caller.umask = p.MKNOD_IN.unpack_from(self._buffer, p.BODY)
        name = self._name(p.BODY + p.MKNOD_IN.size, length)
        return self._entry(unique, self._do.mknod(inode, name, mode, device, self._caller))

    def _symlink(self, unique: int, inode: int, length: int) -> Reply:
        name, _, target = self._name(p.BODY, length).partition(b"\0")
        return self._entry(unique, self._do.symlink(inode, name, target, self._caller))

    def _link(self, unique: int, inode: int, length: int) -> Reply:
        (linked,) = p.LINK_IN.unpack_from(self._buffer, p.BODY)
        return self._entry(
            unique, self._do.link(linked, inode, self._name(p.BODY + p.LINK_IN.size, length), self._caller)
        )

    def _unlink(self, unique: int, inode: int, length: int) -> Reply:
        self._do.unlink(inode, self._name(p.BODY, length), self._caller)
        return p.done(unique)

    def _rmdir(self, unique: int, inode: int, length: int) -> Reply:
        self._do.rmdir(inode, self._name(p.BODY, length), self._caller)
        return p.done(unique)

    def _rename(self, unique: int, inode: int, length: int) -> Reply:
        (target,) = p.RENAME_IN.unpack_from(self._buffer, p.BODY)
        return self._renamed(unique, inode, target, 0, self._name(p.BODY + p.RENAME_IN.size, length))

    def _rename2(self, unique: int, inode: int, length: int) -> Reply:
        target, flags = p.RENAME2_IN.unpack_from(self._buffer, p.BODY)
        return self._renamed(unique, inode, target, flags, self._name(p.BODY + p.RENAME2_IN.size, length))

    def _renamed(self, unique: int, source: int, target: int, flags: int, names: bytes) -> Reply:
        old, _, new = names.partition(b"\0")
        self._do.rename(source, old, target, new, flags, self._caller)
        return p.done(unique)

    # ------------------------------------------------------------------------------------------------------------ files

    def _kills(self, open_flags: int) -> bool | None:
        """Return whether an open takes privileges away with the content; None where the kernel does not say."""
        return bool(open_flags & p.OPEN_KILLS_PRIVILEGES) if self._do.clears_privileges else None

    def _open(self, unique: int, inode: int, length: int) -> Reply:
        flags, more = p.OPEN_IN.unpack_from(self._buffer, p.BODY)
        handle, how = self._do.open(inode, flags, self._caller, self._kills(more))
        return p.OPENED.pack(p.OPENED.size, 0, unique, handle, how)

    def _create(self, unique: int, inode: int, length: int) -> Reply:
        flags, mode, self._caller.umask, more = p.CREATE_IN.unpack_from(self._buffer, p.BODY)
        name = self._name(p.BODY + p.CREATE_IN.size, length)
        (handle, how), answer = self._do.create(inode, name, mode, flags, self._caller, self._kills(more))
        tail = p.OPENED_TAIL.pack(handle, how)
        return self._entry(unique, answer, p.ENTRY.size + p.OPENED_TAIL.size) + tail

    def _read_file(self, unique: int, inode: int, length: int) -> Reply:
        handle, offset, size = p.READ_IN.unpack_from(self._buffer, p.BODY)
        start = p.STATUS_ONLY.size
        got = self._do.read_into(handle, offset, self._read_view[start : start + size])
        p.STATUS_ONLY.pack_into(self._read, 0, start + got, 0, unique)
        return self._read_view[: start + got]

    def _write(self, unique: int, inode: int, length: int) -> Reply:
        handle, offset, size, how, flags = p.WRITE_IN.unpack_from(self._buffer, p.BODY)
        start = p.BODY + p.WRITE_IN.size
        killer = self._caller if how & p.WRITE_KILLS_PRIVILEGES else None
        appends = bool(flags & os.O_APPEND) and not how & p.WRITE_FROM_CACHE
        written = self._do.write_from(handle, offset, self._view[start : start + size], killer, appends=appends)
        return p.WRITTEN.pack(p.WRITTEN.size, 0, unique, written)

    def _flush(self, unique: int, inode: int, length: int) -> Reply:
        self._do.flush(p.FLUSH_IN.unpack_from(self._buffer, p.BODY)[0])
        return p.done(unique)

    def _release(self, unique: int, inode: int, length: int) -> Reply:
        self._do.release(p.RELEASE_IN.unpack_from(self._buffer, p.BODY)[0])
        return p.done(unique)

    # ------------------------------------------------------------------------------------------------------ directories

    def _opendir(self, unique: int, inode: int, length: int) -> Reply:
        handle, may_keep = self._do.opened_directory(inode)
        flags = p.FILE_KEEPS_CACHE | p.DIRECTORY_CACHED if may_keep else 0
        return p.OPENED.pack(p.OPENED.size, 0, unique, handle, flags)

    def _releasedir(self, unique: int, inode: int, length: int) -> Reply:
        self._do.close_listing(p.RELEASE_IN.unpack_from(self._buffer, p.BODY)[0])
        return p.done(unique)
