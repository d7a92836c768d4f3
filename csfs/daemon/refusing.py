"""What is answered instead of what was asked for."""

import logging
import os

from csfs.core.paths import shown
from csfs.errors import CsfsError, ExitCode, NotPermittedError
from csfs.wire.control import Reply, Request

log = logging.getLogger(__name__)


def refused(request: Request, uid: int) -> Reply | None:
    """Return the answer to a user who may not ask that: only root may ask anything."""
    if uid == 0:
        return None
    error = NotPermittedError(f"csfs {request.command}: run it as root")
    return Reply(error.exit_code, error=str(error))


def failed(command: str, error: Exception) -> Reply:
    """Return what is answered when a command has failed; what only a bug can cause is logged whole."""
    found: BaseException = error
    while isinstance(found, BaseExceptionGroup):
        found = (found.subgroup(CsfsError) or found).exceptions[0]
    match found:
        case CsfsError():
            return Reply(found.exit_code, error=str(found))
        case OSError():
            return Reply(ExitCode.REFUSED, error=said_of(found))
    log.error("unexpected error answering csfs %s", command, exc_info=error)
    return Reply(ExitCode.BUG, error=f"{type(found).__name__}: {found}; the daemon's log has the traceback")


def said_of(error: Exception) -> str:
    """Return an error in the words of a person: of the system's, which file, and what is wrong with it."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{shown(os.fsencode(error.filename))}: {error.strerror}" if error.filename else error.strerror
