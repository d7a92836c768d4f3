"""Starts the daemon when none is running, and says why when it does not start."""

import fcntl
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from csfs.cli import client, systemd
from csfs.config.home import Home
from csfs.errors import CsfsError, NotPermittedError, NotRunningError, WaitTimeoutError

START_S_MAX = 30.0
ASK_AGAIN_S = 0.05
INTERRUPT = (signal.SIGINT,)
LOG_TAIL_SIZE = 64 * 1024
ROOM_MIN = 64 * 1024
"""With less on the disk not even a log can be counted on."""


def ensure_daemon(home: Home) -> bool:
    """Make sure that a daemon answers; return whether it had to be started.

    Raises:
        NotRunningError: it did not start; the message is its own.
    """
    if _answers(home):
        return False
    home.made()
    with _alone(home):
        return _started(home)


def _started(home: Home) -> bool:
    if _answers(home):
        return False
    if _is_locked(home):  # one is just starting, by systemd
        _wait_answer(home, None, 0)
        return False
    if systemd.runs_daemon(home):
        _started_by_systemd(home)
        return False
    logged = home.daemon_log.stat().st_size if home.daemon_log.exists() else 0
    process = -1
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPT)  # until it is known whom we have started
        process = os.pidfd_open(_detached(home))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPT)
        _wait_answer(home, process, logged)
    except KeyboardInterrupt:
        if process >= 0:  # nobody is going to ask it anything
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGTERM)
            select.select([process], [], [], START_S_MAX)
        raise
    finally:
        if process >= 0:
            os.close(process)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPT)
    return True


def _started_by_systemd(home: Home) -> None:
    """Have systemd start the daemon: as a child of ours it would end with the session, or the unit, that we belong to.

    A host that boots is not waited for: what the daemon waits for may be what waits for us.
    """
    systemd.start_daemon()
    deadline = time.monotonic() + START_S_MAX
    while not systemd.is_booting() and not _answers(home):
        if reason := systemd.why_daemon_failed():
            raise NotRunningError(f"the daemon did not start: {reason}")
        if time.monotonic() > deadline:
            raise NotRunningError(
                f"the daemon does not answer after {START_S_MAX:g} s; see journalctl -u {systemd.UNIT}"
            )
        time.sleep(ASK_AGAIN_S)


def end_daemon(home: Home) -> None:
    """End a daemon that runs, one that `ensure_daemon` started and that has nothing to do after all, say; return when it has ended."""
    try:
        process = os.pidfd_open(int(home.daemon_pid.read_text()))
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        select.select([process], [], [], START_S_MAX)
    except ProcessLookupError:
        pass  # it has ended by itself
    finally:
        os.close(process)


def stop_daemon(home: Home) -> None:
    """End the daemon that runs, whoever started it; return when it has ended.

    Raises:
        NotRunningError: there is none.
        NotPermittedError: it is root's.
        WaitTimeoutError: it does not end.
    """
    if not _is_locked(home):
        raise NotRunningError(f"no daemon runs ({home.daemon_pid})")
    try:
        end_daemon(home)
    except PermissionError:
        raise NotPermittedError("only root can end the daemon; run csfs as root") from None
    if _is_locked(home):
        raise WaitTimeoutError(f"the daemon does not end within {START_S_MAX:g} s; see {systemd.log_of_daemon(home)}")


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Keep other commands from starting one too: a late one would come to life when the first is stopped."""
    descriptor = os.open(home.run / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _wait_answer(home: Home, process: int | None, logged: int) -> None:
    """Wait for a daemon to answer; `process` is a descriptor of the one we started, None for another's."""
    deadline = time.monotonic() + START_S_MAX
    while not _answers(home):
        ended, _, _ = select.select([process] if process is not None else [], [], [], ASK_AGAIN_S)
        # The lock is looked at last: our look is itself a lock, for a moment, and could send a starting daemon away.
        if (ended or process is None) and not _answers(home) and not _is_locked(home):
            raise NotRunningError(f"the daemon did not start: {_complaint(home, logged)}")
        if time.monotonic() > deadline:
            raise NotRunningError(
                f"the daemon does not answer after {START_S_MAX:g} s; see {systemd.log_of_daemon(home)}"
            )


def _is_locked(home: Home) -> bool:
    """Return whether some daemon holds the lock of this home: it lives, though it may not answer yet."""
    try:
        descriptor = os.open(home.daemon_pid, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _answers(home: Home) -> bool:
    try:
        client.ask(home, "status", {"path": None}, timeout_s=START_S_MAX)
    except NotRunningError:
        return False
    except CsfsError:
        return True  # whatever it says, it is there
    return True


def _detached(home: Home) -> int:
    """Start `csfs daemon` in a session of its own, its output in the log; return its process id.

    The child in between ends at once, so that init, not this process, is the daemon's parent.
    """
    arguments = [sys.executable, "-m", "csfs.cli.main", *home.arguments, "daemon"]
    log = os.open(home.daemon_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            os.chdir("/")
            actions = [(os.POSIX_SPAWN_DUP2, source, target) for source, target in ((nothing, 0), (log, 1), (log, 2))]
            started = os.posix_spawn(arguments[0], arguments, os.environ, file_actions=actions, setsigmask=())
            os.write(writing, str(started).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    number = os.read(reading, 32)
    for descriptor in (reading, log, nothing):
        os.close(descriptor)
    if not number:
        raise NotRunningError(f"the daemon could not be started with {arguments[0]}")
    return int(number)


def _complaint(home: Home, logged: int) -> str:
    """Return what the daemon said since it was started: its `csfs: ` line and what follows, or else its last line."""
    with home.daemon_log.open("rb") as log:
        log.seek(max(logged, home.daemon_log.stat().st_size - LOG_TAIL_SIZE))
        lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    first = max((number for number, line in enumerate(lines) if line.startswith("csfs: ")), default=len(lines) - 1)
    return "\n".join(lines[max(first, 0) :]).removeprefix("csfs: ") or _no_word(home)


def _no_word(home: Home) -> str:
    disk = os.statvfs(home.lib)
    if disk.f_bavail * disk.f_frsize < ROOM_MIN:
        return f"there is no room on the disk of {home.lib}; make some"
    return f"it left no word; see {home.daemon_log}"
