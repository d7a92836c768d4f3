"""A host of its own for mount(8): a mount namespace with its own fstab and helpers, and csfs volumes in it."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.support.members import free_port

# The host's own /etc and /usr/sbin stay as they are: what is written there lands in layers of the test's.
SETUP = """
set -e
for name in etc usr/sbin; do
    mkdir -p "$0/upper/$name" "$0/work/$name"
    mount -t overlay -o "lowerdir=/$name,upperdir=$0/upper/$name,workdir=$0/work/$name" overlay "/$name"
done
: >/etc/fstab
for helper in mount.csfs mount.fuse.csfs; do ln -sf "$1/$helper" "/usr/sbin/$helper"; done
echo ready
exec cat
"""
TIMEOUT_S = 60.0


class MountHost:
    """A namespace, its fstab, and the home of the csfs in it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.home = base / "home"
        line = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SETUP, str(base)]
        helpers = os.path.dirname(sys.executable)
        self._holder = subprocess.Popen([*line, helpers], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"

    def run(self, *line: str) -> subprocess.CompletedProcess[str]:
        """Run a program there."""
        enter = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--wd=/"]
        return subprocess.run(
            [*enter, *line], capture_output=True, text=True, timeout=TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
        )

    def ok(self, *line: str) -> str:
        """Run a program there, which has to succeed; return what it prints."""
        done = self.run(*line)
        assert done.returncode == 0, (line, done.returncode, done.stderr)
        return done.stdout

    def csfs_line(self, *arguments: str) -> list[str]:
        """Return the command line of csfs with this home."""
        return [sys.executable, "-m", "csfs.cli.main", "--home", str(self.home), *arguments]

    def csfs(self, *arguments: str) -> str:
        """Run a csfs command there, which has to succeed; return what it prints."""
        return self.ok(*self.csfs_line(*arguments))

    def write_fstab(self, *lines: str) -> None:
        """Replace the fstab there."""
        (self.base / "upper/etc/fstab").write_text("".join(f"{line}\n" for line in lines))
        self.ok("mount", "-o", "remount", "/etc")  # an overlay notices a changed layer then at the latest

    def volume(self, name: str) -> Path:
        """Make a directory a volume; the first makes the cluster, too."""
        directory = self.base / name
        directory.mkdir(parents=True)
        if not self.home.exists():
            self.csfs("init", "--member", "alpha", "--listen", f"127.0.0.1:{free_port()}")
        self.csfs("volume", "add", name, str(directory))
        return directory

    def found(self, directory: Path) -> dict[str, str]:
        """Return what findmnt says of what is mounted at a directory, empty if nothing is."""
        done = self.run("findmnt", "--json", "--mountpoint", str(directory))
        return dict(json.loads(done.stdout)["filesystems"][-1]) if done.returncode == 0 else {}

    def daemon_runs(self) -> bool:
        """Return whether the daemon answers."""
        return self.run(*self.csfs_line("status")).returncode == 0

    def daemon_pid(self) -> int:
        return int((self.home / "run/daemon.pid").read_text())

    def close(self) -> None:
        """Unmount what is mounted, end the daemon, and the namespace with all its mounts."""
        for mount in self.run("findmnt", "-n", "-l", "-o", "TARGET", "-t", "fuse.csfs").stdout.split():
            if mount.startswith(str(self.base)):  # the others were there when the namespace was copied
                self.run(*self.csfs_line("umount", "--lazy", mount))
        with contextlib.suppress(OSError, ValueError):
            os.kill(self.daemon_pid(), 15)
        self._holder.communicate()


@contextlib.contextmanager
def mount_host(base: Path) -> Iterator[MountHost]:
    """Give a host of its own for mount(8)."""
    host = MountHost(base)
    try:
        yield host
    finally:
        host.close()
