"""Who is interrupted, or killed, while mounting: nothing stays mounted that nobody was told of, and no pid file either."""

import subprocess
import sys
from pathlib import Path

import pytest

from csfs.mount import mountinfo
from csfs.mount.settings import MountSettings
from csfs.mount.supervisor import Supervisor
from scripts.support.members import until
from tests.mount.mounting import Mounted

# What is left is looked at when the interrupt has arrived, and the process, with its end of every pipe, is still there.
LOOKING = """
import fcntl, os, signal, sys

def looked(kind, *_):
    print(kind.__name__, os.path.ismount({path!r}), os.path.exists({pid_file!r}), flush=True)

def struck(what, at, number):
    calls = []
    def function(*arguments):
        calls.append(0)
        if len(calls) == at:
            os.kill(os.getpid(), number)
        return what(*arguments)
    return function

sys.excepthook = looked
"""
AT_THE_LOCK = "fcntl.flock = struck(fcntl.flock, 1, signal.SIGINT)"
AT_THE_FORK = "os.fork = struck(os.fork, 1, signal.SIGINT)"
TOLD_TO_END = "os.fork = struck(os.fork, {}, signal.SIGTERM)"
"""Told to whoever forks for that time: the first fork is for the parent, unless that is in the foreground, the second for the mount."""
SERVES_ALREADY = """
from csfs.mount import supervisor
was_started = supervisor.Supervisor.start
def started(self):
    reason = was_started(self)
    os.kill(os.getppid(), signal.SIGINT)
    return reason
supervisor.Supervisor.start = started
"""
KILLED_AT_ONCE = "os.setsid = lambda: os.kill(os.getpid(), signal.SIGKILL)"


def run(volume: Mounted, prelude: str, **arguments: object) -> subprocess.CompletedProcess[str]:
    """Mount, in a process that runs `prelude` first."""
    looking = LOOKING.format(path=str(volume.path), pid_file=volume.settings.pid_file)
    volume.prelude = f"{looking}\n{prelude}\n"
    line = [sys.executable, *volume.line("start", **arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("prelude", [AT_THE_LOCK, AT_THE_FORK, SERVES_ALREADY])
def test_an_interrupted_mount_has_left_nothing_when_that_is_said(volume: Mounted, prelude: str) -> None:
    assert run(volume, prelude).stdout == "KeyboardInterrupt False False\n"
    assert not volume.is_mounted
    assert "Traceback" not in volume.log


def test_one_in_the_foreground_that_is_to_end_before_it_serves_leaves_nothing(volume: Mounted) -> None:
    done = run(volume, TOLD_TO_END.format(1), foreground=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert not volume.is_mounted
    assert not Path(volume.settings.pid_file).exists()


def test_a_parent_that_is_to_end_before_it_serves_unmounts(volume: Mounted) -> None:
    run(volume, TOLD_TO_END.format(2))
    until(lambda: not (volume.is_mounted or Path(volume.settings.pid_file).exists()), "nothing is left")
    assert "Traceback" not in volume.log


def test_a_parent_that_was_killed_at_once_has_not_mounted(volume: Mounted) -> None:
    done = run(volume, KILLED_AT_ONCE)
    assert (done.returncode, done.stdout) == (1, "")
    assert "the process that keeps it mounted ended at once" in done.stderr


def test_who_is_to_end_while_it_waits_to_mount_again_ends_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(tmp_path / name) for name in ("journal", "control", "pid", "log")]
    supervisor = Supervisor(MountSettings("v", str(tmp_path), *names), lambda root, pulse: (0, ""))
    monkeypatch.setattr(mountinfo, "current", list)
    monkeypatch.setattr(supervisor, "_wait", lambda deadline: pytest.fail("it waits for something to happen"))
    supervisor.stop()  # as it was in the loop of `_mount_again`, which has read what would have woken `run`
    supervisor.run()
    supervisor.close()
