"""What is asked of the host about a mount: whether it is there, whether it answers, whose process it is."""

import os

from csfs.mount import mountinfo
from csfs.store.boot import boot_id


def is_mounted(path: bytes) -> bool:
    """Return whether a csfs file system is mounted on `path`; for a thread."""
    return any(mount.path == os.fsdecode(path) and mount.type == mountinfo.TYPE for mount in mountinfo.current())


def ask(clone: int) -> None:
    """Make the mount answer something; for a thread."""
    try:
        os.fstatvfs(clone)
    except OSError:
        pass  # it is gone, and has nothing more to tell


def life_of(pid: int) -> bytes:
    """Return what names one life of a process: its id alone may come again."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            started = file.read().rpartition(b")")[2].split()[19]
    except OSError:
        started = b"?"
    return b"%s %d %s" % (boot_id(), pid, started)
