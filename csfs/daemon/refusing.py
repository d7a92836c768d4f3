"""What is answered instead of what was asked for."""

import logging
import os

import csfs
from csfs.core.paths import shown
from csfs.errors import ConfigError, CsfsError, ExitCode, NotPermittedError
from csfs.wire.control import RESTART, Reply, Request, Told

log = logging.getLogger(__name__)


def refused(request: Request, uid: int) -> Reply | None:
    """Return the answer to who may not ask that: only root may ask anything, by a command of this csfs."""
    error: CsfsError
    if uid != 0:
        error = NotPermittedError(f"csfs {request.command}: run it as root")
    elif request.version != csfs.__version__:
        error = ConfigError(f"the daemon is csfs {csfs.__version__}, this command {request.version}; {RESTART}")
    else:
        return None
    return Reply(error.exit_code, error=str(error))


def unknown(command: str) -> Reply:
    """Return the answer to a command that there is in another csfs, perhaps."""
    error = f"this daemon ({csfs.__version__}) knows no command {command}; {RESTART}"
    return Reply(ExitCode.REFUSED, error=error)


def arguments_of(request: Request) -> Told:
    """Return what a command is asked with; what another csfs leaves out is a ConfigError when it is looked up."""
    return Told(
        request.arguments,
        lambda name: ConfigError(f'csfs {request.command} is asked without "{name}", as by another csfs; {RESTART}'),
    )


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
