"""The small parent of a mount process: mounts again when it dies, unmounts when it is told to, hands the mount to the daemon.

It stays in the host's mount namespace and never holds /dev/fuse: the kernel would not notice the mount process's death.
"""

import logging
import os
import select
import signal
import time
from collections.abc import Callable

from csfs.errors import CsfsError, ExitCode
from csfs.mount import busy, mountinfo, options, syscalls
from csfs.mount.half_done import is_half_done
from csfs.mount.handover import Handover
from csfs.mount.pulse import Pulse
from csfs.mount.settings import MountSettings
from csfs.wire.control import ParentHello

log = logging.getLogger(__name__)

LET_GO_S_MAX = 5.0
SOON_S = 1.0
END_S_MAX = 10.0
"""How long a mount process may live on after its mount is gone: until the last program that holds it lets go, but not longer."""
KILL_S = 5.0
STABLE_S = 10.0
DEATHS_MAX = 8
"""After so many deaths, each within `STABLE_S` of its start, the directory is left plain."""
RESTART_DELAY_S_MAX = 5.0
ENDING = (signal.SIGTERM, signal.SIGINT)
"""Signals that ask for the end of a mount."""

Launch = Callable[[int, int], tuple[int, str]]
"""Takes descriptors of the root underneath, and of where the process beats; forks a mount process and waits until it serves. Gives
its pid and an empty text, or the reason why it does not serve."""


class GaveUpError(CsfsError):
    """The mount process cannot be kept alive; the plain directory is back."""

    exit_code = ExitCode.NOT_RUNNING


class Supervisor:
    """One volume's parent, single-threaded: everything happens between two polls."""

    def __init__(self, settings: MountSettings, launch: Launch, flags: frozenset[str] = frozenset()) -> None:
        self._settings = settings
        self._launch = launch
        self._flags = flags
        self._root = -1
        self._pid = 0
        self._pidfd = -1
        self._pulse = Pulse()
        self._device = ""
        self._generation = 0
        self._started_at = 0.0
        self._deaths = 0
        self._handover = Handover(settings.control_socket, self._hello)
        self._mountinfo = open(mountinfo.MOUNTINFO, "rb")  # noqa: SIM115 - polled for the process's whole life
        self._stopping = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    @property
    def pid(self) -> int:
        """The mount process, 0 for none."""
        return self._pid

    def start(self) -> str:
        """Mount; return an empty text, or why it cannot be done."""
        if self._root < 0:
            self._root = os.open(self._settings.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._pulse.close()
        self._pulse = Pulse()
        pid, reason = self._launch(self._root, self._pulse.writer)
        if reason:
            return reason
        self._pulse.started(pid, time.monotonic())
        self._pid = pid
        self._pidfd = os.pidfd_open(pid)
        self._started_at = time.monotonic()
        self._generation += 1
        mount = mountinfo.top_at(mountinfo.current(), self._settings.path)
        self._device = mount.device if mount is not None and mount.type == mountinfo.TYPE else ""
        if self._flags and (reason := self._flagged()):
            return reason
        self._handover.greet()
        return ""

    def _flagged(self) -> str:
        """Give the mount its flags; return an empty text, or why it cannot have them, and then nothing is mounted."""
        path = os.fsencode(self._settings.path)
        try:
            syscalls.remount(path, options.number_of(self._flags))
        except OSError as error:
            syscalls.umount(path, syscalls.MNT_DETACH)
            os.kill(self._pid, signal.SIGTERM)
            select.select([self._pidfd], [], [], END_S_MAX)
            self._has_died()
            return f"{self._settings.path} cannot be mounted with -o {','.join(sorted(self._flags))}: {error.strerror}"
        return ""

    def _is_mounted(self) -> bool:
        """Return whether our mount is there, if need be below another one that somebody put on top."""
        path = self._settings.path
        return any(mount.path == path and mount.device == self._device for mount in mountinfo.current())

    def _flags_now(self) -> frozenset[str]:
        """Return the flags that our mount has by now: the administrator may have changed them."""
        mounts = mountinfo.current()
        ours = (mount for mount in mounts if mount.path == self._settings.path and mount.device == self._device)
        return next((options.flags_of(mount.options) for mount in ours), self._flags)

    def _hello(self) -> tuple[ParentHello, tuple[int, int]] | None:
        if not self._pid or not self._is_mounted():
            return None
        path = os.fsencode(self._settings.path)
        clone = -1
        try:
            clone = syscalls.cloned_mount(path)
            if options.READ_ONLY in self._flags_now():
                syscalls.make_writable(clone)
        except OSError as error:
            log.error("the mount cannot be handed to the daemon: %s", error)
            if clone >= 0:
                os.close(clone)
            return None
        hello = ParentHello(self._settings.volume, path, os.getpid(), self._pid, self._generation)
        return hello, (clone, os.dup(self._root))

    # ------------------------------------------------------------------------------------------------------------ loop

    def heed_signals(self) -> None:
        """Have `run` unmount the volume when a signal asks for that; one that comes before it serves counts once it does."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in ENDING:
            signal.signal(number, self._asked_to_stop)

    def run(self) -> None:
        """Keep the volume mounted until the host unmounts it or a signal asks for that.

        Raises:
            GaveUpError: the mount process dies again and again.
        """
        while True:
            if not self._stopping:
                self._wait(None)
            if self._stopping:
                self._stopping = False
                self._unmount()
            if not self._is_mounted():
                return self._end()
            if self._pulse.is_lost(time.monotonic()):
                os.kill(self._pid, signal.SIGKILL)
            if self._has_died():
                self._mount_again()

    def stop(self) -> None:
        """Have `run` unmount the volume, and return."""
        self._stopping = True
        os.write(self._wake_write, b"\0")

    def _asked_to_stop(self, number: int, frame: object) -> None:
        self._stopping = True

    def _wait(self, deadline: float | None) -> None:
        """Wait until something happens, at most to the deadline; deals with the daemon's connection on the way."""
        now = time.monotonic()
        if deadline is None:
            self._handover.connect_if_due(now)
        timeouts = [self._handover.timeout_s(now), self._pulse.timeout_s(now)] if deadline is None else []
        timeouts.append(max(0.0, deadline - now) if deadline is not None else None)
        poller = select.poll()
        poller.register(self._mountinfo, select.POLLPRI)
        poller.register(self._wake_read, select.POLLIN)
        if self._pidfd >= 0:
            poller.register(self._pidfd, select.POLLIN)
        if self._handover.descriptor is not None:
            poller.register(self._handover.descriptor, select.POLLIN)
        given = [timeout for timeout in timeouts if timeout is not None]
        events = poller.poll(min(given) * 1000 if given else None)
        for descriptor, _ in events:
            if descriptor == self._wake_read:
                os.read(self._wake_read, 4096)
            elif descriptor == self._handover.descriptor:
                self._handover.readable()
            elif descriptor == self._mountinfo.fileno():
                self._mountinfo.seek(0)
                self._mountinfo.read()

    def _has_died(self) -> bool:
        """Return whether the mount process has ended, and forget it if so."""
        if not self._pid:
            return True
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            return False
        log.info("the mount process %d ended: %s", pid, _described(status))
        os.close(self._pidfd)
        self._pid, self._pidfd = 0, -1
        return True

    def _mount_again(self) -> None:
        """Bring the plain directory back at once, then mount over it again.

        Where something is half done the next mount process comes first, once, and takes the dead mount away when that is finished: till
        then who comes there is told ENOTCONN, which is better than to write what would be overwritten, or to read what nobody wrote.
        """
        top = mountinfo.top_at(mountinfo.current(), self._settings.path)
        if top is None or top.device != self._device:
            raise GaveUpError(
                f"{self._settings.path} is mounted over by something else; unmount that, then mount it anew"
            )
        self._flags = options.flags_of(top.options)
        self._deaths = 0 if time.monotonic() - self._started_at > STABLE_S else self._deaths + 1
        is_covered = self._deaths < DEATHS_MAX and is_half_done(self._root)
        if not is_covered:
            syscalls.umount(os.fsencode(self._settings.path), syscalls.MNT_DETACH)
        while True:
            if self._deaths >= DEATHS_MAX:
                raise GaveUpError(
                    f"volume {self._settings.volume}: the mount process died {self._deaths} times; "
                    f"{self._settings.path} is a plain directory again, csfs mount {self._settings.path} tries anew"
                )
            if self._deaths > 1 and not is_covered:
                deadline = time.monotonic() + min(0.1 * 2.0**self._deaths, RESTART_DELAY_S_MAX)
                while time.monotonic() < deadline and not self._stopping:
                    self._wait(deadline)
            if self._stopping:
                return
            reason = self.start()
            if not reason:
                log.info("volume %s is mounted again", self._settings.volume)
                return
            log.error("volume %s cannot be mounted again: %s", self._settings.volume, reason)
            self._deaths += 1
            is_covered = False  # what is left of a mount process that does not serve is cleared away

    def _unmount(self) -> None:
        path = os.fsencode(self._settings.path)
        if not self._is_mounted():
            return
        try:
            syscalls.umount(path)
        except OSError:
            syscalls.umount(path, syscalls.MNT_DETACH)

    # ------------------------------------------------------------------------------------------------------------- end

    def _end(self) -> None:
        """The host has unmounted: the daemon lets go, then the mount process ends by itself, or is ended."""
        log.info("volume %s is unmounted", self._settings.volume)
        if self._handover.ask_to_let_go(self._settings.volume):
            deadline = time.monotonic() + LET_GO_S_MAX
            while (
                not self._handover.has_let_go and self._handover.descriptor is not None and time.monotonic() < deadline
            ):
                self._wait(deadline)
        self._handover.close()
        for number, patience_s in ((0, SOON_S), (0, END_S_MAX), (signal.SIGTERM, KILL_S), (signal.SIGKILL, KILL_S)):
            if not self._pid:
                return
            os.kill(self._pid, number)
            deadline = time.monotonic() + patience_s
            while not self._has_died() and time.monotonic() < deadline:
                self._wait(deadline)
            if self._pid and patience_s == SOON_S:
                log.warning("%s", self._still_held())

    def _still_held(self) -> str:
        """Return why the mount process is still there."""
        namespaces = ", ".join(busy.namespaces_with(self._device))
        where = f"in the mount namespace of {namespaces}, where it is still mounted" if namespaces else "by programs"
        return f"volume {self._settings.volume} is unmounted and still held {where}: it ends in {END_S_MAX:g} s at the latest"

    def close(self) -> None:
        """Let go of the directory underneath."""
        self._handover.close()
        self._pulse.close()
        self._mountinfo.close()
        if self._root >= 0:
            os.close(self._root)
            self._root = -1


def _described(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit code {code}"
