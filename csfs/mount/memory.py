"""What keeps a host's directories served when memory or descriptors run short. A container may refuse some of it."""

import contextlib
import ctypes
import errno
import logging
import os
import resource

log = logging.getLogger(__name__)

PARENT, MOUNT, DAEMON = -1000, -900, -500
"""oom_score_adj, proc_pid_oom_score_adj(5): a host whose directories are gone is worse off than one without some other process.
The parent is tiny and must bring the directory back whatever happens; the daemon can be started again."""
DESCRIPTORS_MAX = 1 << 20
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_PR_SET_IO_FLUSHER = 57

_libc = ctypes.CDLL(None, use_errno=True)


def spare(score: int) -> None:
    """Tell the out-of-memory killer what this process is worth; what it starts from now on inherits that."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(score))
    except OSError as error:
        log.info("the out-of-memory killer is not told to spare this process: %s", error)


def stay() -> None:
    """Never be paged out, and never wait, when memory is short, for pages of a file system that may be our own."""
    for what, code in (
        ("locked in memory", _libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)),
        ("known as one that writes back", _libc.prctl(_PR_SET_IO_FLUSHER, 1, 0, 0, 0)),
    ):
        if code != 0:
            log.info("this process is not %s: %s", what, os.strerror(ctypes.get_errno() or errno.EPERM))


def raise_descriptors() -> None:
    """Be allowed more descriptors than any program has that uses the volume, or else as many as the limit lets us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(hard, _descriptors_max()), hard):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            return


def _descriptors_max() -> int:
    try:
        with open("/proc/sys/fs/nr_open", "rb") as file:
            return min(DESCRIPTORS_MAX, int(file.read()))
    except OSError:
        return 0
