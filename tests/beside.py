"""Tests that run beside each other, in workers of pytest-xdist: each worker has mounts of its own, and nothing outlives them all."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.mount import syscalls
from scripts.support.members import kill

NETWORKS = Path("/run/netns")
MARK = f"CSFS_TESTS_{os.getpid()}"
"""A variable in the environment of whatever this run starts; with a name of its own, so that a run within a run has both marks."""
END_S_MAX = 10.0


def is_worker(config: pytest.Config) -> bool:
    """Return whether this process runs a share of the tests."""
    return hasattr(config, "workerinput")


def has_workers(config: pytest.Config) -> bool:
    """Return whether this process has others run the tests."""
    return not is_worker(config) and bool(config.getoption("numprocesses", None))


def see_own_mounts_only() -> None:
    """Leave the mounts of the host, so that no other worker sees what is mounted here, and names of networks are this worker's.

    A mount namespace that a test makes is a copy of all mounts, and a volume is served for as long as it is mounted anywhere: what one
    worker unmounts would live on in what another one made.
    """
    if os.geteuid() != 0:
        return  # whoever cannot do this cannot mount either
    NETWORKS.mkdir(exist_ok=True)
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.set_propagation(b"/", syscalls.MS_REC | syscalls.MS_SLAVE)
    subprocess.run(["mount", "-t", "tmpfs", "csfs-tests", NETWORKS], check=True)


def end_marked() -> list[str]:
    """Kill whatever this run has started and has not ended; return how each was started. Mounts of a worker's end with them."""
    ended: dict[int, str] = {}
    deadline = time.monotonic() + END_S_MAX
    while (found := dict(_marked())) and time.monotonic() < deadline:
        ended |= found
        for pid in found:
            with contextlib.suppress(OSError):
                kill(pid, signal.SIGKILL, timeout_s=1)
    return list(ended.values())


def _marked() -> Iterator[tuple[int, str]]:
    """Yield the number of every process of this run but this one, and how it was started."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # A program of another user's is none of ours, nor is a dead one that nobody has reaped.
            if f"{MARK}=".encode() in (process / "environ").read_bytes():
                yield int(process.name), (process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
