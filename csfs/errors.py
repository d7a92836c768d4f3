"""Every error raised on purpose, split by who must act, and the exit codes they end in."""

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of the command line. Documented in csfs(8); never reused."""

    DONE = 0
    FOUND = 1
    USAGE = 2
    REFUSED = 3
    TIMEOUT = 4
    NOT_PERMITTED = 5
    NOT_RUNNING = 6
    UNREACHABLE = 7
    BUG = 70


class CsfsError(Exception):
    """What csfs says to a person: one line naming the culprit and the cure."""

    exit_code = ExitCode.BUG


class FoundError(CsfsError):
    """What was asked for exists but is not as it should be: a mount is busy, trees differ."""

    exit_code = ExitCode.FOUND


class ConfigError(CsfsError):
    """The administrator's to mend: configuration, arguments, or input that cannot be used."""

    exit_code = ExitCode.REFUSED


class WaitTimeoutError(CsfsError):
    """What was waited for did not happen in the time given."""

    exit_code = ExitCode.TIMEOUT


class NotPermittedError(CsfsError):
    """This user, or this host, may not do that."""

    exit_code = ExitCode.NOT_PERMITTED


class NotRunningError(CsfsError):
    """No daemon answers, or nothing is mounted there."""

    exit_code = ExitCode.NOT_RUNNING


class UnreachableError(CsfsError):
    """A peer does not answer, or is not who it should be."""

    exit_code = ExitCode.UNREACHABLE


class RemoteProtocolError(CsfsError):
    """The other side broke the protocol: its link is dropped, its backlog kept."""

    exit_code = ExitCode.UNREACHABLE


class LocalProtocolError(CsfsError):
    """We were about to break the protocol: a bug of ours."""


class CorruptDatabaseError(CsfsError):
    """A journal or an index cannot be read; names the file and how to go on without it."""

    exit_code = ExitCode.REFUSED


class UnwritableError(CsfsError):
    """A journal or an index cannot be written now, the disk is full, say: what was to be noted is found again by comparing."""

    exit_code = ExitCode.FOUND


class UnstableError(CsfsError):
    """A file changed each time it was read: it is looked at again when whoever writes it pauses."""

    exit_code = ExitCode.FOUND


class LongReadError(CsfsError):
    """To hash a file takes so long that nobody should wait for it: it is read beside everything else, and then looked at."""

    exit_code = ExitCode.FOUND


class LostRootError(CsfsError):
    """The directory underneath is no longer the volume's: what is missing there was not removed by anybody."""

    exit_code = ExitCode.REFUSED


class ForeignError(CsfsError):
    """What lies at a path belongs to another mount: nothing is read, written or concluded there."""

    exit_code = ExitCode.REFUSED


class ContentMismatchError(CsfsError):
    """Bytes are not the content that their hash names: they are fetched again, from somewhere else."""

    exit_code = ExitCode.FOUND
