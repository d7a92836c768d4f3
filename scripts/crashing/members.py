"""Two members whose processes can be killed before any of their steps, and are started again at once."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from csfs.errors import CsfsError
from scripts.crashing.page import Slot, slots
from scripts.support.members import VOLUME, Member, free_port, until

SETTLED_S_MAX = 60.0
WAIT_S = 5.0
DAEMON, MOUNT = 0, 1
ROLES = ("daemon", "mount")
MERGING = "merges"
"""What the names of directories begin with in which changes of both members are put together."""
GROUPS = f"""
[[volumes.{VOLUME}.groups]]
include = ["/{MERGING}-*"]
policy = ["merge", "younger"]

[[volumes.{VOLUME}.groups]]
"""
GONE = (CsfsError, OSError, IndexError, ValueError)
"""What whoever asks a process meets that is being killed or has just begun."""


class Pair:
    """Alpha, whose processes are killed, and beta. `deaths` counts alpha's since it was armed."""

    def __init__(self, base: Path) -> None:
        self.base = base
        base.mkdir(parents=True)
        self.alpha, self.beta = (Member(base, name, free_port()) for name in ("alpha", "beta"))
        page = base / "page"
        self._slots = slots(page)
        self._launcher = subprocess.Popen(
            [sys.executable, "-m", "scripts.crashing.launcher", str(page)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._daemons = [-1, -1]
        """Descriptors of the daemons' processes, -1 for one that was never there or died at once."""
        self._mount = 0
        self.deaths = 0
        self._armed = DAEMON
        self._again = 0
        self._in_place = False

    @property
    def members(self) -> tuple[Member, Member]:
        """Both."""
        return self.alpha, self.beta

    def slot(self, member: Member, role: int = DAEMON) -> Slot:
        """Return what is counted of a member's process."""
        return self._slots[2 * self.members.index(member) + role]

    def begin(self) -> None:
        """Make the cluster and mount both volumes."""
        self.alpha.found()
        # What hundreds of runs make and take away is nobody's mistake.
        settings = self.alpha.home.settings_file
        text = settings.read_text().replace(f"[volumes.{VOLUME}]", f'[volumes.{VOLUME}]\nbrake = "off"')
        settings.write_text(text.partition(f"[[volumes.{VOLUME}.groups]]")[0] + GROUPS)
        self.beta.join(self.alpha)
        for member in self.members:
            member.stop_daemon()
        for member in self.members:
            self._start(member)
            self._launch("mount", member, MOUNT, str(member.tree))
        self._mount = self.alpha.mount_pid
        self.settle()
        for member in self.members:
            # What was written just before it was looked at is read once more by the next comparison, and never again.
            member.ask("compare", path=os.fsencode(member.tree))
        self.settle()

    def set_in_place(self, *, wanted: bool) -> None:
        """Have both members overwrite files in place where they can, also small ones, or go by their size."""
        if wanted == self._in_place:
            return
        settings, line = self.alpha.home.settings_file, 'apply = "in-place"'
        lines = [one for one in settings.read_text().splitlines() if one != line]
        if wanted:
            lines.insert(lines.index(f"[volumes.{VOLUME}]") + 1, line)
        settings.write_text("\n".join(lines) + "\n")
        self.alpha.csfs("config", "reload")
        until(lambda: (line in self.beta.home.settings_file.read_text()) == wanted, "beta has the configuration")
        self._in_place = wanted
        self.settle()

    def end(self) -> None:
        """End everything, and remove what was theirs."""
        for member in self.members:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._daemons[self.members.index(member)], signal.SIGCONT)
            member.stop()
        for descriptor in self._daemons:
            if descriptor >= 0:
                os.close(descriptor)
        with self._launcher:  # closes both pipes, which ends it
            pass
        shutil.rmtree(self.base, ignore_errors=True)

    def _launch(self, kind: str, member: Member, role: int, *rest: str) -> int:
        line = [kind, str(member.home.root), 2 * self.members.index(member) + role, *rest]
        assert self._launcher.stdin is not None
        assert self._launcher.stdout is not None
        self._launcher.stdin.write(json.dumps(line) + "\n")
        self._launcher.stdin.flush()
        return int(self._launcher.stdout.readline())

    def _start(self, member: Member) -> None:
        number = self.members.index(member)
        if self._daemons[number] >= 0:
            os.close(self._daemons[number])
        self._daemons[number] = -1
        with contextlib.suppress(ProcessLookupError):
            self._daemons[number] = os.pidfd_open(self._launch("daemon", member, DAEMON))

    def _is_dead(self, member: Member) -> bool:
        daemon = self._daemons[self.members.index(member)]
        return daemon < 0 or bool(select.select([daemon], [], [], 0)[0])

    # ---------------------------------------------------------------------------------------------------------- killing

    def arm(self, role: int, step: int, again: int = 0) -> None:
        """Have alpha's daemon or mount process killed before its step number `step` from now on, 0: never.

        `again`: and then the next one, before its step of that number.
        """
        self.deaths, self._armed, self._again = 0, role, again
        for slot in self._slots:
            slot.arm(0)
        self.armed.arm(step)

    def disarm(self) -> None:
        """Kill nothing any more."""
        self._again = 0
        self.armed.aim(0)

    @property
    def armed(self) -> Slot:
        """What is counted of the process that is to be killed."""
        return self.slot(self.alpha, self._armed)

    def revive(self) -> None:
        """Start what has died; a mount's parent does so itself."""
        if self._is_dead(self.alpha):
            self.deaths += self._armed == DAEMON
            if self._armed == DAEMON:
                self.armed.aim(self._again)
                self._again = 0
            self._start(self.alpha)
        with contextlib.suppress(*GONE):
            pid = self.alpha.mount_pid
            self.deaths += self._armed == MOUNT and pid != self._mount
            self._mount = pid

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Beta's daemon does nothing in here, and so hears nothing; its mount notes what programs do."""
        daemon = self._daemons[1]
        signal.pidfd_send_signal(daemon, signal.SIGSTOP)
        try:
            yield
        finally:
            signal.pidfd_send_signal(daemon, signal.SIGCONT)

    # ---------------------------------------------------------------------------------------------------------- waiting

    def settle_for_good(self) -> None:
        """Kill nothing any more, and return when all is settled once more if somebody was killed at last."""
        self.disarm()
        while self.armed.counters.killed > self.deaths:
            self.settle()

    def settle(self) -> None:
        """Return when both are up, connected, and have applied all that was written; whoever died is started meanwhile.

        Raises:
            AssertionError: that does not come about.
        """
        deadline = time.monotonic() + SETTLED_S_MAX
        last: object = None
        while time.monotonic() < deadline:
            self.revive()
            try:
                last = self._unsettled()
                if not last:
                    return
            except GONE as error:
                last = error
            time.sleep(0.002)
        raise AssertionError(f"not settled: {last}\n{self.logs()}")

    def _unsettled(self) -> str:
        """Return what is not settled, empty if all is, and waited for."""
        for member in self.members:
            if not member.is_mounted:
                return f"{member.name} is not mounted"
            status = member.status()
            if status["volumes"][0]["state"] != "replicating" or not status["peers"][0]["connected"]:
                return f"{member.name}: {status['volumes'][0]['state']}, {status['peers'][0]}"
        deaths = self.deaths
        for member in (*self.members, *self.members):
            member.wait(WAIT_S)
        self.revive()
        # Who died while the other waited may have been left out.
        if self.deaths != deaths:
            return "somebody died"
        pending = [member.name for member in self.members if member.volume()["pending"]]
        return f"pending at {pending}" if pending else ""

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Return when `condition` holds; whoever died is started meanwhile."""

        def holds() -> bool:
            self.revive()
            return condition()

        until(holds, what, SETTLED_S_MAX)

    def do(self, act: Callable[[], object]) -> None:
        """Have a program do something, again if the process that was to do it died of it; what was done already is as good."""
        deadline = time.monotonic() + SETTLED_S_MAX
        while True:
            try:
                act()
                return
            except (FileExistsError, FileNotFoundError) as error:
                if self.deaths:
                    return
                raise error
            except GONE as error:
                if time.monotonic() > deadline:
                    raise AssertionError(f"never done: {error}") from error
            self._wait_back()

    def _wait_back(self) -> None:
        before = self.deaths

        def is_back() -> bool:
            self.revive()
            return self.alpha.is_mounted and (self._armed == DAEMON or self.deaths > before)

        until(is_back, "what was killed is there again")

    def logs(self) -> str:
        """Return the ends of what both have logged."""
        return "\n".join(f"{member.name}:\n{member.logs()[-4000:]}" for member in self.members)
