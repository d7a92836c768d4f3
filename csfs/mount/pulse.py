"""The heartbeat of a mount process: its loop writes down the time every few seconds, and its parent finds out when it no longer does.

The parent reads once the last time it knows of is too long ago, so a beat wakes nobody.

Whatever the reason that a loop stands still (a bug, a deadlock, somebody's SIGSTOP), every program that touches the volume stands
still with it. It is then killed, which brings the plain directory back, and started again. It is left alone while it waits for the
storage underneath: the plain directory would hang as well. The kernel's own way, fs.fuse.default_request_timeout, cannot tell the
two apart.
"""

import contextlib
import logging
import os
import struct

log = logging.getLogger(__name__)

BEAT_S = 10.0
SILENT_S_MAX = 30.0
GRACE_S = 5.0
"""After a silence, one more look: a host that was frozen as a whole gives its mounts a moment, too."""
WAITS_FOR_DISK, TRACED = "D", "t"
"""States of a process, proc_pid_stat(5)."""
_BEAT = struct.Struct("=d")
_BEATS_SIZE = 64 * 1024
"""All that a pipe holds."""


def beat(descriptor: int, now: float) -> None:
    """Show that the loop turns at `now` (CLOCK_MONOTONIC, in seconds); nobody reads it once the parent is gone."""
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(descriptor, _BEAT.pack(now))


class Pulse:
    """The parent's end. `writer` is for the mount process that is about to be started."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._pid = 0
        self._due = float("inf")
        self._is_suspect = False
        self._has_told = False

    def started(self, pid: int, now: float) -> None:
        """The mount process serves; the other end is its own."""
        os.close(self.writer)
        self.writer = -1
        self._pid = pid
        self._due = now + SILENT_S_MAX

    def timeout_s(self, now: float) -> float | None:
        """Return how long nothing needs to be looked at; None for ever."""
        return None if self._due == float("inf") else max(0.0, self._due - now)

    def is_lost(self, now: float) -> bool:
        """Return whether the process has to be killed, so that the volume can be had again."""
        if now < self._due or self._has_beaten(now):
            return False
        self._due = now + GRACE_S
        if not self._is_suspect:
            self._is_suspect = True
            return False
        state = _state_of(self._pid)
        if state not in (WAITS_FOR_DISK, TRACED):
            log.error("the mount process %d has not answered for %g s (state %s)", self._pid, SILENT_S_MAX, state)
            return True
        if not self._has_told:
            self._has_told = True
            why = "waits for the storage underneath" if state == WAITS_FOR_DISK else "is being debugged"
            log.error("the mount process %d %s, and with it everybody who uses the volume", self._pid, why)
        return False

    def _has_beaten(self, now: float) -> bool:
        """Return whether anything was written since the last look, and take in what was."""
        beats = b""
        with contextlib.suppress(BlockingIOError):
            beats = os.read(self._reader, _BEATS_SIZE)
        if not beats:
            return False
        (beaten_at,) = _BEAT.unpack(beats[-_BEAT.size :])
        # What is older than that says nothing: we were stopped ourselves, and the next beat may not have found room.
        self._due = max(beaten_at + SILENT_S_MAX, now + BEAT_S)
        self._is_suspect = self._has_told = False
        return True

    def close(self) -> None:
        """Stop listening."""
        for descriptor in (self._reader, self.writer):
            if descriptor >= 0:
                os.close(descriptor)
        self._reader = self.writer = -1
        self._due = float("inf")


def _state_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode()
    except OSError:
        return "gone"
