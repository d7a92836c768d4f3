"""The file system that pyfuse3 serves: all handlers together, guarded, and their answers in pyfuse3's words."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pyfuse3

from csfs.mount.guard import HANDLERS, guard_handlers
from csfs.mount.operations.attributes import Attributes, Wanted
from csfs.mount.operations.base import CACHE_S
from csfs.mount.operations.extended import Extended
from csfs.mount.operations.xattrs import Xattrs
from csfs.mount.protocol import FILE_KEEPS_CACHE
from csfs.mount.writers import Caller


class Handlers(Extended, Attributes, Xattrs):
    """All handlers of one directory that is passed through: plain values in and out, errors are OSError or FUSEError."""


def _passed_on(name: str) -> Callable[..., Any]:
    """Return a method that does what the handler of that name does, whose answer pyfuse3 takes as it is."""
    handler = getattr(Handlers, name)
    if inspect.iscoroutinefunction(handler):

        @functools.wraps(handler)
        async def awaited(self: "PassThrough", *arguments: Any) -> Any:
            self.handlers.waiting += 1
            try:
                return await handler(self.handlers, *arguments)
            finally:
                self.handlers.waiting -= 1

        return awaited

    @functools.wraps(handler)
    def passed(self: "PassThrough", *arguments: Any) -> Any:
        return handler(self.handlers, *arguments)

    return passed


class _Described:
    """Handlers that describe objects."""

    handlers: Handlers

    def lookup(self, parent_inode: int, name: bytes, ctx: Caller) -> pyfuse3.EntryAttributes:
        answer = self.handlers.lookup(parent_inode, name, ctx)
        return _absent() if answer is None else self.handlers.entry(answer)

    def getattr(self, inode: int, ctx: Caller) -> pyfuse3.EntryAttributes:
        return self.handlers.entry(self.handlers.getattr(inode, ctx))

    def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: Caller,
    ) -> pyfuse3.EntryAttributes:
        return self.handlers.entry(self.handlers.setattr(inode, Wanted.of(attr, fields), fh, ctx))

    def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: Caller) -> pyfuse3.EntryAttributes:
        return self.handlers.entry(self.handlers.mkdir(parent_inode, name, mode, ctx))

    def mknod(self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: Caller) -> pyfuse3.EntryAttributes:
        return self.handlers.entry(self.handlers.mknod(parent_inode, name, mode, rdev, ctx))

    def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: Caller) -> pyfuse3.EntryAttributes:
        return self.handlers.entry(self.handlers.symlink(parent_inode, name, target, ctx))

    def link(self, inode: int, new_parent_inode: int, new_name: bytes, ctx: Caller) -> pyfuse3.EntryAttributes:
        return self.handlers.entry(self.handlers.link(inode, new_parent_inode, new_name, ctx))

    def open(self, inode: int, flags: int, ctx: Caller) -> pyfuse3.FileInfo:
        handle, how = self.handlers.open(inode, flags, ctx)
        return pyfuse3.FileInfo(fh=handle, keep_cache=bool(how & FILE_KEEPS_CACHE))

    def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: Caller
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        (handle, how), answer = self.handlers.create(parent_inode, name, mode, flags, ctx)
        return pyfuse3.FileInfo(fh=handle, keep_cache=bool(how & FILE_KEEPS_CACHE)), self.handlers.entry(answer)


class PassThrough(_Described, pyfuse3.Operations):  # type: ignore[misc]
    """One directory, passed through. `ready` is called when the kernel has greeted us."""

    supports_dot_lookup = False
    """`..` is never looked up: over its own directory that would climb out onto the mount."""
    enable_acl = True
    enable_writeback_cache = False

    def __init__(self, handlers: Handlers, ready: Callable[[], None]) -> None:
        super().__init__()
        self.handlers = handlers
        self._ready = ready

    def init(self) -> None:
        self._ready()


for _name in {*HANDLERS, "forget"} - set(vars(_Described)):
    setattr(PassThrough, _name, _passed_on(_name))
guard_handlers(PassThrough)


def _absent() -> pyfuse3.EntryAttributes:
    """Return the answer that a name is not there, which the kernel may believe."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = 0
    entry.entry_timeout = CACHE_S
    return entry
