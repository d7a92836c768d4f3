"""Real mounts for tests: started as `csfs mount` starts them, in processes of their own."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from csfs.mount import mountinfo, parent, syscalls
from csfs.mount.settings import MountSettings

START = """
import json, sys
from csfs.config.settings import VolumeRules
from csfs.core.groups import GroupRule, Rules
from csfs.core.treatment import Treatment
from csfs.errors import CsfsError
from csfs.mount.options import parsed
from csfs.mount.parent import start, stop
from csfs.mount.settings import MountSettings


flagged = GroupRule(("alpha",), include=("/flagged",), treatment=Treatment(flags=True))
keeping = GroupRule(("alpha",), include=("/keeping",), treatment=Treatment(keep_local=True))
rules = VolumeRules("v", (flagged, keeping, GroupRule(("alpha",), exclude=("unsynced*",))))
what, settings, arguments = sys.argv[1], MountSettings(**json.loads(sys.argv[2])), json.loads(sys.argv[3])
if "options" in arguments:
    arguments["options"] = parsed(arguments["options"])
try:
    if what == "start":
        start(settings, settings.volume, load_rules=lambda: Rules.compiled(rules, "alpha"), **arguments)
    else:
        stop(settings, settings.volume, **arguments)
except CsfsError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


WAIT_S = 15.0


def wait_mounts(condition: Callable[[], bool]) -> None:
    """Wait until the mounts, and what is written down of them, are as they should be; the kernel tells of changes of mounts alone."""
    deadline = time.monotonic() + WAIT_S
    with open(mountinfo.MOUNTINFO, "rb") as file:
        poller = select.poll()
        poller.register(file, select.POLLPRI)
        while not condition():
            assert time.monotonic() < deadline
            poller.poll(100)


def wait_ended(*pids: int) -> None:
    """Wait until processes have ended, whether or not somebody has reaped them."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        assert select.select([descriptor], [], [], WAIT_S)[0]
        os.close(descriptor)


def has_ended(pid: int) -> bool:
    """Return whether a process is gone, or waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def in_background(work: Callable[[], object]) -> threading.Thread:
    """Begin something that may have to wait; return the thread that does it."""
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def run_as_user(script: str, path: Path) -> None:
    """Run a shell script as nobody, in `path`, which is opened to everybody (its parents are closed to others).

    Raises:
        CalledProcessError: the script failed.
    """
    path.chmod(0o777)
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    subprocess.run([*user, "sh", "-c", script], cwd=path, check=True)


@dataclass
class Mounted:
    """A volume below one temporary directory. Names that begin with `unsynced` are not synced; in `flagged` flags are kept the
    same; in `keeping` what programs destroy is kept."""

    base: Path
    prelude: str = ""
    """Python that the starting process runs first."""

    def __post_init__(self) -> None:
        self.path = self.base / "volume"
        self.lib = self.base / "lib"
        self.run = self.base / "run"
        for directory in (self.path, self.lib, self.run):
            directory.mkdir(exist_ok=True)
        self.settings = MountSettings(
            "v",
            str(self.path),
            str(self.lib / "journal.db"),
            str(self.run / "control.sock"),
            str(self.run / "v.pid"),
            str(self.lib / "mount.log"),
        )
        # Opened before mounting: what the daemon knows as the directory underneath.
        self.underneath = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)

    def command(self, what: str, **arguments: object) -> str:
        """Run start or stop; return what it complained of, empty for nothing."""
        line = self.line(what, **arguments)
        done = subprocess.run([sys.executable, *line], stderr=subprocess.PIPE, text=True, timeout=30, check=False)
        assert (done.returncode == 0) == (not done.stderr), done.stderr
        return done.stderr.strip()

    def line(self, what: str, **arguments: object) -> list[str]:
        """Return the arguments of a Python interpreter that runs start or stop."""
        return ["-c", self.prelude + START, what, json.dumps(asdict(self.settings)), json.dumps(arguments)]

    def settings_with(self, **changes: str) -> MountSettings:
        return replace(self.settings, **changes)

    def start(self, **arguments: object) -> None:
        assert self.command("start", **arguments) == ""

    def stop(self, **arguments: object) -> None:
        assert self.command("stop", **arguments) == ""

    @property
    def is_mounted(self) -> bool:
        mount = mountinfo.top_at(mountinfo.current(), str(self.path))
        return mount is not None and mount.type == mountinfo.TYPE

    def pids(self) -> tuple[int, int]:
        """The parent and the mount process, as the pid file tells them."""
        parent, child = Path(self.settings.pid_file).read_text().split()
        return int(parent), int(child)

    @property
    def log(self) -> str:
        return Path(self.settings.log_file).read_text()

    def clear_away(self) -> None:
        """End whatever a failed test left, also a parent that is about to mount again."""
        keeper, _ = parent._pids(self.settings.pid_file)
        if keeper:
            os.kill(keeper, signal.SIGTERM)
            wait_ended(keeper)
        if self.is_mounted:
            syscalls.umount(os.fsencode(self.path), syscalls.MNT_DETACH)
        os.close(self.underneath)
