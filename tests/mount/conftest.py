"""A mounted volume, and a daemon's end of the control socket."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted
from tests.mount.underneath import Underneath, chattr


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Mounted]:
    """A volume that is not mounted yet."""
    mounted = Mounted(tmp_path)
    yield mounted
    mounted.clear_away()


@pytest.fixture
def mounted(volume: Mounted) -> Iterator[Mounted]:
    """A mounted volume without a daemon. Nothing unexpected may be in its log."""
    volume.start()
    yield volume
    if volume.is_mounted:
        volume.stop(lazy=True)
    assert "unexpected error" not in volume.log
    assert "fuse_reply" not in volume.log


@pytest.fixture
def daemon(volume: Mounted) -> Iterator[FakeDaemon]:
    """A daemon that listens; nothing is mounted yet."""
    fake = FakeDaemon(volume.settings.control_socket)
    yield fake
    fake.close()


@pytest.fixture
def served(volume: Mounted, daemon: FakeDaemon) -> Iterator[tuple[Mounted, FakeDaemon]]:
    """A mounted volume with a connected daemon, and the reserved directory made."""
    volume.start()
    daemon.wait_connected()
    daemon.prepare()
    daemon.flushed()
    yield volume, daemon
    if volume.is_mounted:
        volume.stop(lazy=True)
    assert "unexpected error" not in volume.log
    assert "fuse_reply" not in volume.log


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Underneath]:
    """What commits are made in underneath, with an immutable file, where the file system has such."""
    (tmp_path / "tree").mkdir()
    with contextlib.closing(Underneath(tmp_path / "tree")) as underneath:
        try:
            chattr("+i", underneath.path / "d/old")
        except subprocess.CalledProcessError:
            pytest.skip("no such flags on the file system here")
        yield underneath
