"""Who holds a port that we would listen on, as far as /proc tells."""

import os
from pathlib import Path

_LISTENING = "0A"
"""TCP_LISTEN in the state column of /proc/net/tcp."""


def occupant_of(port: int, proc: Path = Path("/proc")) -> str:
    """Return the program that listens on `port` as `name (pid)`; empty when it cannot be told."""
    wanted = {f"socket:[{inode}]" for inode in _listening_inodes(port, proc)}
    if not wanted:
        return ""
    for process in proc.glob("[0-9]*"):
        try:
            if any(os.readlink(file) in wanted for file in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} ({process.name})"
        except OSError:
            continue  # it ended meanwhile, or is not ours to look at
    return ""


def _listening_inodes(port: int, proc: Path) -> set[str]:
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.add(columns[9])
    return inodes
