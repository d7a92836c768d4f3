"""What is answered instead of what was asked for."""

import logging

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
            place = f"{found.filename}: " if found.filename else ""
            return Reply(ExitCode.REFUSED, error=f"{place}{found.strerror or found}")
    log.error("unexpected error answering csfs %s", command, exc_info=error)
    return Reply(ExitCode.BUG, error=f"{type(found).__name__}: {found}; the daemon's log has the traceback")
