"""A Debian root of its own, built once by debootstrap and kept as a tarball outside the checkout."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

CACHE = Path(os.environ.get("CSFS_DEBIAN_CACHE", "/var/tmp/csfs-debian"))
MIRROR = os.environ.get("CSFS_DEBIAN_MIRROR", "http://deb.debian.org/debian")
SUITE = "bookworm"
"""What the tools and their packages were chosen for; the host may be another."""

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "init-system-helpers", "procps", "iproute2", "kmod"),
    *("python3", "python3-venv", "fuse3", "libfuse3-3"),
    *("adduser", "sudo", "git", "vim-tiny", "openssh-server", "ca-certificates", "locales", "acl", "attr", "ucf"),
)
LATER = ("cron", "logrotate", "nano", "screen", "rsync")
"""Downloaded only: the tools install these themselves."""


def tarball() -> Path:
    """Return the tarball of the root, which is built first if it is not there; that takes minutes and the network."""
    wanted = hashlib.sha256(repr((SUITE, PACKAGES, LATER)).encode()).hexdigest()[:12]
    file = CACHE / f"root-{SUITE}-{wanted}.tar"
    if not file.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        print(f"building {file} with debootstrap, once", flush=True)
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="build-") as directory:
            _build(Path(directory) / "root")
            _run("tar", "-C", f"{directory}/root", "--xattrs", "--acls", "-cf", f"{directory}/root.tar", ".")
            os.rename(f"{directory}/root.tar", file)
    return file


def _build(root: Path) -> None:
    include = f"--include={','.join(PACKAGES)}"
    _run("debootstrap", "--variant=minbase", include, SUITE, str(root), MIRROR)
    with mounts(root):
        # Without its own configuration apt would fetch what it recommends, too.
        chroot(root, "apt-get", "-qq", "-d", "-y", "--no-install-recommends", "install", *LATER)


@contextlib.contextmanager
def unpacked() -> Iterator[Path]:
    """Give a fresh root, which is removed at the end."""
    packed = tarball()
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="run-") as directory:
        root = Path(directory) / "root"
        root.mkdir(mode=0o755)
        _run("tar", "-C", str(root), "--xattrs", "--acls", "-xf", str(packed))
        yield root


@contextlib.contextmanager
def mounts(root: Path) -> Iterator[None]:
    """Give a root the kernel's file systems and the devices that programs in it expect."""
    lines = [
        ("-t", "proc", "proc", root / "proc"),
        ("-t", "sysfs", "-o", "ro", "sysfs", root / "sys"),
        ("-t", "tmpfs", "-o", "mode=755", "tmpfs", root / "dev"),
        ("-t", "tmpfs", "-o", "mode=755", "tmpfs", root / "run"),
    ]
    made: list[Path] = []
    try:
        for line in lines:
            _run("mount", *map(str, line))
            made.append(Path(line[-1]))
        for name in ("null", "zero", "full", "random", "urandom", "tty", "fuse"):
            _run("cp", "-a", f"/dev/{name}", str(root / "dev"))
        (root / "dev/fd").symlink_to("/proc/self/fd")
        yield
    finally:
        for place in reversed(made):
            _run("umount", "-l", str(place))


def chroot(root: Path, *line: str, text: str = "", timeout_s: float = 300.0) -> subprocess.CompletedProcess[str]:
    """Run a program in a root, with an environment that is the same everywhere.

    Raises:
        CalledProcessError: it failed.
    """
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        "TERM": "dumb",
    }
    return subprocess.run(
        ["chroot", str(root), *line],
        input=text,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=True,
    )


def _run(*line: str) -> None:
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(line[:3])}...: exit {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")


def missing() -> list[str]:
    """Return what is not there of what this needs."""
    return [tool for tool in ("debootstrap", "unshare", "tar") if shutil.which(tool) is None]
