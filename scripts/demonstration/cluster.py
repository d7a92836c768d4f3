"""The two members of the demonstration: made below one directory, and ended with nothing left, whatever state they are in."""

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

from csfs.mount import mountinfo
from scripts.demonstration.edits import NEEDED, OWN
from scripts.demonstration.screen import Screen
from scripts.support.members import Member, free_port, kill, replicating

SOURCE = Path("/etc")
ARCHIVE = "etc.tar"
ARCHIVED_MAX = 120
"""Paths in the archive: enough to be a tree, few enough for a demonstration of seconds."""
NAMES = ("alpha", "beta")
SWEEPS_MAX = 20


class Cluster:
    """Two members below `base`; each one's directory holds its tree, `etc`, so that tools with --prefix find it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.alpha, self.beta = self.members = tuple(Member(base, name, free_port()) for name in NAMES)
        for member in self.members:
            member.tree = member.directory / "etc"

    def copy(self) -> None:
        """Give each member the same copy of /etc, and an archive of it."""
        source = SOURCE
        for member in self.members:
            member.tree.mkdir(parents=True)
            subprocess.run(["cp", "-a", "-x", f"{source}/.", str(member.tree)], check=True)
            source = self.alpha.tree
        self._archive()
        missing = [name for name in NEEDED if not (self.alpha.tree / name).exists()]
        linked = [name for name in OWN if (self.alpha.tree / name).is_symlink()]
        if missing or linked:
            raise SystemExit(f"this /etc is not like Debian's: without {missing}, links instead of files: {linked}")

    def _archive(self) -> None:
        """Put the beginning of the copy into an archive, skel first: an edit counts on it."""
        tree = self.alpha.tree
        names = sorted(tree.rglob("*"), key=lambda path: ("skel" not in path.parts, path.parts))[:ARCHIVED_MAX]
        listed = b"".join(os.fsencode(name.relative_to(tree)) + b"\0" for name in names)
        command = ["tar", "-c", "-C", str(tree), "--no-recursion", "--null", "-T", "-", "-f"]
        subprocess.run([*command, str(self.alpha.directory / ARCHIVE)], input=listed, check=True)
        shutil.copy(self.alpha.directory / ARCHIVE, self.beta.directory / ARCHIVE)

    def start(self, screen: Screen) -> None:
        """Make them members of one cluster, mount, and return when they replicate."""
        with screen.timed("alpha", "csfs init, csfs volume add"):
            self.alpha.found()
        with screen.timed("beta", "csfs invite at alpha, csfs join"):
            self.beta.join(self.alpha)
        for member in self.members:
            with screen.timed(member.name, "csfs mount, over the copy"):
                member.mount()
        with screen.timed("both", "compared, and found equal"):
            replicating(*self.members)

    def wait(self) -> None:
        """Return when each shows what was written at the other before."""
        for _ in range(2):
            for member in self.members:
                member.wait(120)

    def logs(self) -> list[Path]:
        """Return the files where daemons and mounts say what is wrong."""
        return [path for path in sorted(self.base.glob("*/home/lib/**/*.log")) if path.stat().st_size]


def end(base: Path) -> None:
    """End what runs below `base`, unmount what is mounted there, and remove it.

    Raises:
        SystemExit: something cannot be unmounted; nothing was removed then.
    """
    cluster = Cluster(base)
    for member in cluster.members:
        member.stop()
    for _ in range(SWEEPS_MAX):  # a command that was interrupted may have left something that only now comes to life
        pids, mounts = _processes(base), _mounts(base)
        if not pids and not mounts:
            break
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                kill(pid, signal.SIGKILL)
        for mount in mounts:
            subprocess.run(["umount", "-l", mount], capture_output=True, check=False)
    else:
        raise SystemExit(f"still mounted or running below {base}: {_mounts(base)} {_processes(base)}")
    shutil.rmtree(base, ignore_errors=True)


def _mounts(base: Path) -> list[str]:
    inside = os.fsencode(base) + b"/"
    return [os.fsdecode(mount.path) for mount in mountinfo.current() if os.fsencode(mount.path).startswith(inside)]


def _processes(base: Path) -> list[int]:
    """Return the processes that were started with a home below `base`."""
    homes = {os.fsencode(base / name / "home") for name in NAMES}
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            with contextlib.suppress(OSError):
                if homes & set((directory / "cmdline").read_bytes().split(b"\0")):
                    found.append(int(directory.name))
    return found
