"""One wrapper for every handler: what leaves it is a FUSEError, because pyfuse3 unmounts on anything else."""

import errno
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pyfuse3

from csfs.mount.protocol import tellable

log = logging.getLogger(__name__)

HANDLERS = (
    "lookup",
    "getattr",
    "setattr",
    "readlink",
    "mknod",
    "mkdir",
    "unlink",
    "rmdir",
    "symlink",
    "rename",
    "link",
    "open",
    "read",
    "write",
    "release",
    "fsync",
    "opendir",
    "readdir",
    "releasedir",
    "fsyncdir",
    "statfs",
    "setxattr",
    "getxattr",
    "listxattr",
    "removexattr",
    "access",
    "create",
)
"""All but `flush`, which stays unanswered, and `init` and `forget`, which may not raise at all."""

Handler = Callable[..., Awaitable[Any]]


def guarded(handler: Callable[..., Any]) -> Handler:
    """Return `handler` as pyfuse3 wants it: a coroutine function from which only FUSEError comes out.

    A plain function does its work in one step of the loop; it needs no coroutine of its own.
    """
    if inspect.iscoroutinefunction(handler):
        return _guarded_coroutine(handler)

    @functools.wraps(handler)
    async def guarded_handler(*arguments: Any) -> Any:
        try:
            return handler(*arguments)
        except pyfuse3.FUSEError:
            raise
        except OSError as error:  # the directory underneath refused: its errno is the answer
            raise pyfuse3.FUSEError(tellable(error.errno)) from None
        except Exception:
            log.exception("unexpected error answering %s", handler.__name__)
            raise pyfuse3.FUSEError(errno.EIO) from None

    return guarded_handler


def _guarded_coroutine(handler: Handler) -> Handler:
    @functools.wraps(handler)
    async def guarded_handler(*arguments: Any) -> Any:
        try:
            return await handler(*arguments)
        except pyfuse3.FUSEError:
            raise
        except OSError as error:
            raise pyfuse3.FUSEError(tellable(error.errno)) from None
        except Exception:
            log.exception("unexpected error answering %s", handler.__name__)
            raise pyfuse3.FUSEError(errno.EIO) from None

    return guarded_handler


def outcome(handler: Callable[..., Any], *arguments: Any) -> tuple[int, Any]:
    """Return errno (0: done) and result of a plain handler whose caller answers the kernel itself."""
    try:
        return 0, handler(*arguments)
    except pyfuse3.FUSEError as error:
        return error.errno, None
    except OSError as error:
        return tellable(error.errno), None
    except Exception:
        log.exception("unexpected error answering %s", getattr(handler, "__name__", handler))
        return errno.EIO, None


def silent(handler: Callable[..., Any]) -> Handler:
    """Return `handler` as a coroutine function that raises nothing: nobody could be told."""

    @functools.wraps(handler)
    async def silent_handler(*arguments: Any) -> None:
        try:
            handler(*arguments)
        except Exception:
            log.exception("unexpected error in %s", handler.__name__)

    return silent_handler


def guard_handlers(operations: type) -> type:
    """Class decorator: wrap every handler of `operations`."""
    for name in HANDLERS:
        setattr(operations, name, guarded(getattr(operations, name)))
    operations.forget = silent(operations.forget)  # type: ignore[attr-defined]
    return operations
