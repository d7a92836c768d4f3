"""What is asked of the host about a mount: whether it is there, whether it answers, whose process it is."""

import os

from csfs.store.boot import boot_id


def is_mounted(path: bytes) -> bool:
    """Return whether a csfs file system is mounted on `path`; for a thread."""
    escaped = path.replace(b"\\", b"\\134").replace(b" ", b"\\040").replace(b"\t", b"\\011").replace(b"\n", b"\\012")
    with open("/proc/self/mountinfo", "rb") as file:
        return any(line.split()[4] == escaped and b" - fuse.csfs " in line for line in file)


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
