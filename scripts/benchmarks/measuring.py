"""What benchmarks measure of real members: CPU time of their processes, bytes on their link, memory."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scripts.support.members import Member

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def processes(member: Member) -> list[int]:
    """Return all processes of one member: daemon, mount and its parent."""
    return [member.daemon_pid, member.parent_pid, member.mount_pid]


def cpu_s(*members: Member) -> float:
    """Return the CPU seconds that all processes of these members have used so far."""
    ticks = 0
    for member in members:
        for pid in processes(member):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_S


def wire_bytes(member: Member) -> int:
    """Return the bytes that this member has sent to and received from its peer, inside TLS."""
    peer = member.peer()
    return int(peer["bytes_sent"]) + int(peer["bytes_received"])


def memory_mib(member: Member) -> float:
    """Return the proportional share of memory (PSS) of all processes of one member, in MiB."""
    total = 0
    for pid in processes(member):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def percentile(values: list[float], share: float) -> float:
    """Return the value that `share` (0 to 1) of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@contextlib.contextmanager
def fresh_filesystem(size_mib: int = 4096, bytes_per_inode: int = 16384, kind: str = "ext4") -> Iterator[Path]:
    """Give a directory on a file system made for this run, `ext4`, `xfs` or `btrfs`.

    One in use makes new files slowly after many deletes.
    """
    with tempfile.TemporaryDirectory(prefix="csfs-bench-") as directory:
        image, mounted = Path(directory, "image"), Path(directory, "mounted")
        mounted.mkdir()
        with image.open("wb") as file:
            file.truncate(size_mib * 1024 * 1024)
        if kind == "xfs":
            make = ["mkfs.xfs", "-q", "-m", "reflink=1"]
        elif kind == "btrfs":
            make = ["mkfs.btrfs", "-q"]
        else:  # nothing is left for the kernel to do meanwhile
            whole = "lazy_itable_init=0,lazy_journal_init=0"
            make = ["mkfs.ext4", "-q", "-i", str(bytes_per_inode), "-E", whole]
        subprocess.run([*make, str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(mounted)], check=True)
        try:
            yield mounted
        finally:
            subprocess.run(["umount", "-l", str(mounted)], check=False)
