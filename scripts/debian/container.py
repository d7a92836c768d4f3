"""Boots a root: its init is process 1 of namespaces of its own, as in a container, with /dev/fuse in it."""

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

# Runs in the new namespaces. What the host has under /sys and /proc/sys stays as it is.
SETUP = r"""
set -e
mount --make-rprivate /
mount --bind "$0" "$0"
cd "$0"
mount -t proc proc proc
mount --bind proc/sys proc/sys && mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty fuse; do cp -a /dev/$name dev; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mkdir -p "$0$1" mnt/before
mount --bind "$1" "$0$1"
pivot_root . mnt/before
umount -l /mnt/before
mount --make-rshared /  # as systemd does where it is not in a container
exec setpriv --bounding-set=-sys_module,-sys_time,-sys_rawio,-syslog \
    env -i container=csfs PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb /sbin/init
"""
GONE_S_MAX = 120.0


class Container:
    """A root whose init runs."""

    def __init__(self, pid: int, process: subprocess.Popen[str], cgroup: Path) -> None:
        self.pid = pid
        self._process = process
        self._cgroup = cgroup

    def run(self, *line: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a program there."""
        # Not in init's own cgroup, which systemd has to itself.
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root"]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": ""}
        return subprocess.run(
            [*enter, *line],
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def ok(self, *line: str, timeout_s: float = 60.0) -> str:
        """Run a program there, which has to succeed; return what it prints.

        Raises:
            AssertionError: it failed.
        """
        done = self.run(*line, timeout_s=timeout_s)
        if done.returncode != 0:
            raise AssertionError(
                f"{' '.join(line)}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done.stdout

    def wait_gone(self, timeout_s: float = GONE_S_MAX) -> None:
        """Return when init has ended.

        Raises:
            AssertionError: it has not in time.
        """
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the root was not down after {timeout_s:g} s") from None

    def end(self) -> None:
        """End what is left; nothing of it survives its process 1."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        deadline = time.monotonic() + 10  # the last processes may still be on their way out
        while self._cgroup.exists() and time.monotonic() < deadline:
            for directory, _, _ in os.walk(self._cgroup, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)
            time.sleep(0.05)


@contextlib.contextmanager
def booted(root: Path, share: Path) -> Iterator[Container]:
    """Boot a root, with the host's directory `share` at the same place in it, and give it once init runs; end it at the end."""
    cgroup = _cgroup_top() / f"csfs-boot-{os.getpid()}"
    cgroup.mkdir()
    namespaces = ["--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup"]
    # Killed with its parent, so that a boot that was interrupted leaves nothing.
    line = ["unshare", *namespaces, "--fork", "--kill-child=KILL", "sh", "-c", SETUP, str(root), str(share)]
    process = subprocess.Popen(
        ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(cgroup), *line],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    container = Container(0, process, cgroup)
    try:
        container.pid = _init_of(process)
        yield container
    finally:
        container.end()


def _init_of(process: subprocess.Popen[str]) -> int:
    """Return the process id of init, once it is one."""
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        with contextlib.suppress(OSError, IndexError):
            if Path(f"/proc/{children[0]}/comm").read_text() == "systemd\n":
                return int(children[0])
        select.select([], [], [], 0.01)
    said = process.stdout.read() if process.poll() is not None and process.stdout else ""
    raise AssertionError(f"the root does not boot: {said}")


def _cgroup_top() -> Path:
    """Return where the second version of control groups is mounted, which systemd wants to have a part of."""
    found = subprocess.run(
        ["findmnt", "-n", "-o", "TARGET", "-t", "cgroup2"], capture_output=True, text=True, check=False
    )
    if not found.stdout.strip():
        raise SystemExit("no cgroup2 is mounted here: mount -t cgroup2 none /sys/fs/cgroup")
    return Path(found.stdout.splitlines()[0])
