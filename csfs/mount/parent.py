"""`csfs mount` and `csfs umount`: start a volume's parent process, and end it.

The caller forks the parent, the parent forks the mount process; each tells the one above it through a pipe how it went.
"""

import contextlib
import fcntl
import gc
import logging
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Iterator

from csfs.errors import ConfigError, CsfsError, FoundError, NotPermittedError, NotRunningError
from csfs.mount import busy, checks, memory, mountinfo, notify, syscalls
from csfs.mount.options import NO_OPTIONS, MountOptions
from csfs.mount.rules import LoadRules
from csfs.mount.settings import MountSettings
from csfs.mount.supervisor import ENDING, GaveUpError, Supervisor

log = logging.getLogger(__name__)

PID_FILE_SIZE = 32
SERVE_S_MAX = 60.0
"""How long a mount process may take until it serves."""
END_S_MAX = 40.0
"""Longer than a parent takes at most to end after the host has unmounted."""
LOCK_POLL_S = 0.02


def check(settings: MountSettings, options: MountOptions) -> None:
    """Check that the volume can be mounted; `start` does it again.

    Raises:
        ConfigError: it cannot.
    """
    checks.check(_resolved(settings), options)


def start(
    settings: MountSettings,
    volume_name: str,
    *,
    load_rules: LoadRules,
    foreground: bool = False,
    options: MountOptions = NO_OPTIONS,
) -> None:
    """Mount the volume; return when it serves. With `foreground`, return when it was unmounted again.

    Raises:
        ConfigError: it cannot be mounted; nothing is left behind.
    """
    settings = _resolved(settings)
    checks.check(settings, options)
    for name in (settings.journal, settings.pid_file, settings.log_file):
        os.makedirs(os.path.dirname(name), mode=0o700, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with _signals_held():
        lock = _locked(settings)
        reason = (
            _parent(settings, options, load_rules, lock, ready=-1)
            if foreground
            else _started(settings, options, load_rules, lock)
        )
    if reason:
        raise ConfigError(reason)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Let signals that ask us to end wait until we can do as they say and leave nothing behind.

    What Python does around a fork would swallow an interrupt that comes just then.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def _started(settings: MountSettings, options: MountOptions, load_rules: LoadRules, lock: int) -> str:
    """Start the parent in the background; return when it serves, or why it does not."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _run_detached(settings, options, load_rules, lock, writer)
    os.close(writer)
    os.close(lock)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        with os.fdopen(reader, "rb") as file:
            answer = file.read()
    except BaseException:
        # It may serve by now, or say at any moment that it does, into a pipe that is still open.
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        raise
    if answer[:1] == b"\0":
        return ""
    unsaid = f"volume {settings.volume}: the process that keeps it mounted ended at once; see {settings.log_file}"
    return answer[1:].decode("utf-8", "replace") or unsaid


def _resolved(settings: MountSettings) -> MountSettings:
    return MountSettings(
        settings.volume,
        mountinfo.real_path(settings.path),
        os.path.abspath(settings.journal),
        os.path.abspath(settings.control_socket),
        os.path.abspath(settings.pid_file),
        os.path.abspath(settings.log_file),
    )


def _locked(settings: MountSettings) -> int:
    """Return a descriptor of the pid file, locked; the lock says that the parent lives.

    A parent whose mount is gone, as after `umount`, is about to end: it is waited for.
    """
    deadline = time.monotonic() + END_S_MAX
    while (descriptor := _lock(settings.pid_file)) < 0:
        top = mountinfo.top_at(mountinfo.current(), settings.path)
        if (top is not None and top.type == mountinfo.TYPE) or time.monotonic() > deadline:
            raise ConfigError(f"volume {settings.volume} is mounted already, or about to be ({settings.pid_file})")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)  # there is nothing yet to leave behind
        time.sleep(LOCK_POLL_S)
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    return descriptor


def _lock(pid_file: str) -> int:
    """Return a descriptor of the pid file, locked; -1 if somebody else has it, or has just removed it."""
    descriptor = os.open(pid_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(pid_file).st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return -1


def _run_detached(settings: MountSettings, options: MountOptions, load_rules: LoadRules, lock: int, ready: int) -> None:
    """Be the parent, in the background. Never returns."""
    code = 70
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one that came from the terminal is for the caller
        os.chdir("/")
        _redirect(settings.log_file)
        reason = _parent(settings, options, load_rules, lock, ready)
        if reason:
            os.write(ready, b"\1" + reason.encode())
        code = 1 if reason else 0
    except GaveUpError as error:
        log.error("%s", error)
        code = 1
    except BaseException as error:
        log.exception("the parent of volume %s ends", settings.volume)
        try:
            os.write(ready, b"\1" + f"volume {settings.volume}: {error}; see {settings.log_file}".encode())
        except OSError:
            pass  # it had served: nobody waits any more
    finally:
        os._exit(code)


def _redirect(log_file: str) -> None:
    output = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(null)
    os.close(output)


def _parent(settings: MountSettings, options: MountOptions, load_rules: LoadRules, lock: int, ready: int) -> str:
    """Mount, say so, and watch until it is unmounted. Return an empty text, or why it could not be mounted."""
    _configure_logging()
    memory.spare(memory.PARENT)

    def launch(root: int, pulse: int) -> tuple[int, str]:
        pid, reason = _launch(settings, options, load_rules, root, pulse)
        if not reason:
            # In one write of one length: who reads meanwhile finds the old two or the new two.
            os.pwrite(lock, (b"%d\n%d\n" % (os.getpid(), pid)).ljust(PID_FILE_SIZE), 0)
        return pid, reason

    supervisor = Supervisor(settings, launch, options.flags)
    supervisor.heed_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    reason = supervisor.start()
    if reason:
        supervisor.close()
        _remove_pid_file(settings, lock)
        return reason
    if ready >= 0:
        try:
            os.write(ready, b"\0")
        except BrokenPipeError:
            supervisor.stop()  # who asked for it was killed, and nobody was told that anything is mounted
        os.close(ready)
    notify.say("READY=1")
    try:
        supervisor.run()
    finally:
        notify.say("STOPPING=1")
        supervisor.close()
        _remove_pid_file(settings, lock)
    return ""


def _remove_pid_file(settings: MountSettings, lock: int) -> None:
    try:
        os.unlink(settings.pid_file)
    except FileNotFoundError:
        pass
    os.close(lock)


def _configure_logging() -> None:
    logging.raiseExceptions = False  # a log on a full disk loses lines, and nothing else comes of it
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
    )


def _launch(
    settings: MountSettings, options: MountOptions, load_rules: LoadRules, root: int, pulse: int
) -> tuple[int, str]:
    """Fork the mount process and wait until it serves; return its pid and "", or 0 and why it does not."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    gc.freeze()  # what both have from now on is theirs together: a collection would write to it, and give each its own
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _be_mount(settings, options, load_rules, root, pulse, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        hangs = not select.select([file], [], [], SERVE_S_MAX)[0]
        if hangs:
            os.kill(pid, signal.SIGKILL)
            _clear_away(settings)
        answer = b"\1the mount process hangs" if hangs else file.read()
    if answer[:1] == b"\0":
        return pid, ""
    os.waitpid(pid, os.WNOHANG if hangs else 0)  # one that hangs in a disk cannot even be killed
    _clear_away(settings)
    reason = answer[1:].decode("utf-8", "replace") or "the mount process ended at once"
    given = f" with -o {','.join(sorted(options.lasting))}" if options.lasting else ""
    return 0, f"{settings.path} cannot be mounted{given}: {reason}; see {settings.log_file}"


def _be_mount(
    settings: MountSettings,
    options: MountOptions,
    load_rules: LoadRules,
    root: int,
    pulse: int,
    ready: int,
) -> None:
    """Be the mount process. Never returns."""
    code = 70
    try:
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.setpgid(0, 0)  # what a terminal sends to the parent in the foreground is for the parent
        # The lock on the pid file must end with the parent, whoever of us lives longer.
        _close_all_but({0, 1, 2, root, pulse, ready})
        from csfs.mount.serve import serve  # the parent needs neither pyfuse3 nor trio, and stays small

        serve(settings, options.lasting, root, load_rules, ready, pulse)
        code = 0
    except BaseException as error:
        traceback.print_exc()
        try:
            os.write(ready, b"\1" + (str(error) or type(error).__name__).encode())
        except OSError:
            pass  # it had served
    finally:
        logging.shutdown()
        os._exit(code)


def _close_all_but(wanted: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in wanted:
            try:
                os.close(int(name))
            except OSError:
                pass  # the listing's own


def _clear_away(settings: MountSettings) -> None:
    """Unmount what a mount process left that died before it served."""
    mount = mountinfo.top_at(mountinfo.current(), settings.path)
    if mount is not None and mount.type == mountinfo.TYPE and mount.source == f"csfs:{settings.volume}":
        syscalls.umount(os.fsencode(settings.path), syscalls.MNT_DETACH)


# ------------------------------------------------------------------------------------------------------------------ umount


def stop(settings: MountSettings, volume_name: str, *, lazy: bool = False) -> None:
    """Unmount the volume; return when its processes have ended.

    Raises:
        NotRunningError: it is not mounted.
        NotPermittedError: only root can.
        FoundError: programs hold it, and `lazy` was not asked for; names them.
        CsfsError: the processes do not end.
    """
    settings = _resolved(settings)
    mount = mountinfo.top_at(mountinfo.current(), settings.path)
    if mount is None or mount.type != mountinfo.TYPE:
        raise NotRunningError(f"{settings.path} is not mounted by csfs")
    parent, child = _pids(settings.pid_file)
    waited = [_pidfd(pid) for pid in (parent, child)]
    try:
        syscalls.umount(os.fsencode(settings.path), syscalls.MNT_DETACH if lazy else 0)
    except PermissionError:
        raise NotPermittedError("only root can unmount a volume; run csfs as root") from None
    except OSError as error:
        raise FoundError(_busy_text(settings.path, mount, error)) from None
    if waited[0] < 0 and waited[1] >= 0:
        os.kill(child, signal.SIGTERM)  # its parent was killed: nobody else would end it
    for descriptor in waited:
        if descriptor >= 0 and not select.select([descriptor], [], [], END_S_MAX)[0]:
            raise CsfsError(f"{settings.path} is unmounted, but its processes ({parent}, {child}) do not end")
    for descriptor in waited:
        if descriptor >= 0:
            os.close(descriptor)


def _busy_text(path: str, mount: mountinfo.MountPoint, error: OSError) -> str:
    found = busy.holders(mount)
    held = f"held by {', '.join(found)}" if found else str(error.strerror)
    return f"{path} is busy, {held}; end those programs, or csfs umount --lazy {path}"


def _pids(pid_file: str) -> tuple[int, int]:
    """Return the parent's and the mount process's pid; 0 for a parent that does not live, and what is not known."""
    try:
        with open(pid_file, "rb") as file:
            numbers = [int(line) for line in file.read().split()]
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return numbers[0], numbers[1]
            return 0, numbers[1]
    except (FileNotFoundError, ValueError, IndexError):
        return 0, 0


def _pidfd(pid: int) -> int:
    if not pid:
        return -1
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return -1
