"""The mount's loop under requests without a pause: what else there is to do gets done."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from csfs.core.changes import ChangeKind
from csfs.wire.control import Flush, Flushed
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted, wait_ended, wait_mounts

pytestmark = pytest.mark.mount

ASKING = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.chmod("busy", 0o600)
print(flush=True)
try:
    while True:
        os.chmod("busy", 0o600)
except OSError:
    pass  # the mount has ended
"""


@contextlib.contextmanager
def asking(volume: Mounted, core: int) -> Iterator[None]:
    """Have a process on one core ask the mount as fast as it can."""
    (volume.path / "busy").touch()
    command = [sys.executable, "-c", ASKING, str(core)]
    with subprocess.Popen(command, cwd=volume.path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


CORES = sorted(os.sched_getaffinity(0))


@pytest.mark.parametrize("core", {CORES[0], CORES[-1]})
def test_others_get_their_turn_while_requests_come_without_a_pause(
    served: tuple[Mounted, FakeDaemon], core: int
) -> None:
    volume, daemon = served
    os.sched_setaffinity(volume.pids()[1], {CORES[0]})  # the caller shares the mount's core, or does not
    with asking(volume, core):
        with open(volume.path / "synced", "wb") as file:
            for _ in range(3):
                file.write(b"x")
                file.flush()
                os.fsync(file.fileno())  # ends in another thread
        daemon.send(Flush(1))
        daemon.expect(Flushed)
        assert ChangeKind.CREATE in {row.kind for row in daemon.rows if row.path == b"synced"}


def test_the_mount_ends_while_requests_come_without_a_pause(mounted: Mounted) -> None:
    with asking(mounted, CORES[-1]):
        pid = mounted.pids()[1]
        os.kill(pid, signal.SIGTERM)
        wait_ended(pid)
    wait_mounts(lambda: mounted.is_mounted and mounted.pids()[1] != pid)  # its parent mounts again
