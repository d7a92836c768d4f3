"""The requests that are answered later: those that change what belongs to a synchronous group (`waiting`)."""

import errno
import logging
from collections.abc import Callable

import trio

from csfs.mount import protocol as p
from csfs.mount.operations.passthrough import Handlers
from csfs.mount.waiting import Waiting

log = logging.getLogger(__name__)

Reply = bytes | memoryview | None
"""A whole message; None where the kernel wants none, or is told later."""
Handler = Callable[[int, int, int], Reply]

_CHANGING = (
    p.SETATTR,
    p.SETXATTR,
    p.REMOVEXATTR,
    p.MKDIR,
    p.MKNOD,
    p.SYMLINK,
    p.LINK,
    p.UNLINK,
    p.RMDIR,
    p.RENAME,
    p.RENAME2,
    p.CREATE,
    p.OPEN,
)
"""What changes names or attributes; an open may truncate."""


class NotHeldError(Exception):
    """The request at hand is libfuse's after all."""


class Held:
    """Handlers of requests that lie in `buffer`, which put their replies aside while programs have to wait."""

    def __init__(self, waiting: Waiting, handlers: Handlers, buffer: bytearray) -> None:
        self._waiting = waiting
        self._do = handlers
        self._buffer = buffer

    def over(self, plain: dict[int, Handler]) -> dict[int, Handler]:
        """Return the handlers of all requests: `plain` ones, or such as hold their replies."""
        held = {opcode: self._held(plain[opcode], of_content=False) for opcode in _CHANGING}
        flush = self._held(plain[p.FLUSH], of_content=True)
        return plain | held | {p.FLUSH: flush, p.FSYNC: self._fsync, p.INTERRUPT: self._interrupt}

    def _held(self, handler: Handler, *, of_content: bool) -> Handler:
        def held(unique: int, inode: int, length: int) -> Reply:
            self._waiting.begin()
            reply = handler(unique, inode, length)
            assert isinstance(reply, bytes), "a reply that lies in a buffer"
            return self._waiting.parked(unique, reply, of_content=of_content, locks=not of_content)

        return held

    def _fsync(self, unique: int, inode: int, length: int) -> Reply:
        handle, flags = p.FSYNC_IN.unpack_from(self._buffer, p.BODY)
        trio.lowlevel.spawn_system_task(self._synced, unique, handle, bool(flags & p.FSYNC_DATA_ALONE))
        return None

    async def _synced(self, unique: int, handle: int, data_alone: bool) -> None:
        """Sync a file, and then wait like any other. A task of its own: those of pyfuse3 are not for waiting."""
        self._do.waiting += 1
        try:
            await self._do.fsync(handle, data_alone)
            reply = self._waiting.parked(unique, p.done(unique), of_content=True)
        except OSError as error:
            reply = p.failed(unique, error.errno or errno.EIO)
        except Exception:
            log.exception("unexpected error answering fsync")
            reply = p.failed(unique, errno.EIO)
        finally:
            self._do.waiting -= 1
        if reply is not None:
            self._waiting.answer(reply)

    def _interrupt(self, unique: int, inode: int, length: int) -> Reply:
        """Whoever waits here has to, also when it is killed: what it asked for has been done, and no answer but that is true."""
        if self._waiting.is_parked(p.INTERRUPT_IN.unpack_from(self._buffer, p.BODY)[0]):
            return None
        raise NotHeldError
