"""The mount's loop under requests without a pause: what else there is to do gets done."""

import contextlib
import functools
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import cast

import pytest
import trio
import trio.testing

from csfs.core.changes import ChangeKind
from csfs.mount.intake import Intake
from csfs.mount.loop import SAME_CORE_PATIENCE_MS, Reader
from csfs.wire.control import Flush, Flushed
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted, in_background, wait_ended, wait_mounts

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


WAITING = """
import os, trio
from csfs.mount.noting import Noting

async def make_durable(self):
    told = os.open({told!r}, os.O_WRONLY)
    os.write(told, b".")
    os.close(told)
    while not os.path.exists({switch!r}):
        await trio.sleep(0.01)

Noting.make_durable = make_durable
"""


def test_others_are_answered_while_many_wait_for_their_data_to_be_durable(volume: Mounted) -> None:
    told, switch = volume.base / "told", volume.base / "switch"
    os.mkfifo(told)
    waiting = os.open(told, os.O_RDWR)
    volume.prelude = WAITING.format(told=str(told), switch=str(switch))
    volume.start()
    files = [os.open(volume.path / str(number), os.O_CREAT | os.O_WRONLY) for number in range(105)]
    threads = [in_background(functools.partial(os.fsync, file)) for file in files]
    try:
        for _ in files:
            assert select.select([waiting], [], [], 10)[0], "not every request was taken in"
            os.read(waiting, 1)
        assert not (volume.path / "unknown").exists()
    finally:
        switch.touch()
        for thread in threads:
            thread.join()
        for descriptor in (*files, waiting):
            os.close(descriptor)
    volume.stop()


@pytest.mark.parametrize("patience_ms", [0, SAME_CORE_PATIENCE_MS])
async def test_a_mount_that_nobody_asks_sleeps_wherever_the_last_caller_ran(patience_ms: int) -> None:
    class Nobody:
        """An intake that was asked once, by a thread that has ended."""

        caller = 0
        has_waiting = False

        def serve_one(self, descriptor: int) -> bool:
            raise AssertionError("nobody asks")

    reader = Reader(cast(Intake, Nobody()), lambda: -1)
    reader._patience_ms = patience_ms
    asked, writer = os.pipe()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.wait_readable, asked)
        with trio.fail_after(5):
            await trio.testing.wait_all_tasks_blocked(0.05)
        nursery.cancel_scope.cancel()
    os.close(asked)
    os.close(writer)
