"""What is kept before programs destroy it on disks that can share blocks, or are full, and by a mount that is killed meanwhile."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.core.changes import ChangeKind
from csfs.store.room import shortage
from scripts.benchmarks.measuring import fresh_filesystem
from scripts.support.members import until
from tests.disks import disk
from tests.mount.destroying import LARGE, OLD, Keeping, cut_by_name, overwritten, removed, rewritten
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted, wait_ended, wait_mounts

pytestmark = pytest.mark.mount


@pytest.fixture(scope="module")
def xfs() -> Iterator[Path]:
    """A file system that can have files share blocks."""
    if shutil.which("mkfs.xfs") is None:
        pytest.skip("no mkfs.xfs here")
    with fresh_filesystem(512, kind="xfs") as place:
        yield place


@pytest.fixture
def sharing(xfs: Path, tmp_path: Path) -> Iterator[Keeping]:
    """The same, where blocks can be shared."""
    base = xfs / tmp_path.name
    base.mkdir()
    volume = Mounted(base)
    daemon = FakeDaemon(volume.settings.control_socket)
    try:
        volume.start()
        daemon.wait_connected()
        daemon.prepare()
        yield Keeping(volume, daemon)
        volume.stop(lazy=True)
        assert "unexpected error" not in volume.log
    finally:
        daemon.close()
        volume.clear_away()


@pytest.mark.slow
def test_where_blocks_can_be_shared_a_large_file_is_kept_too(sharing: Keeping) -> None:
    content = os.urandom(8 * LARGE)
    for destroy in (overwritten, rewritten, cut_by_name, removed):
        file = sharing.made(content=content)
        destroy(file)
        assert [kept for _, kept in sharing.kept()] == [content]
        file.unlink(missing_ok=True)
        sharing.daemon.flushed()
        for left in sharing.store.iterdir():
            left.unlink()


def test_a_full_disk_fails_no_program_and_is_said_once(volume: Mounted, daemon: FakeDaemon) -> None:
    with disk(volume.base / "image", volume.path) as small:
        volume.start()
        daemon.wait_connected()
        os.mkdir(volume.path / "keeping")
        names = [volume.path / "keeping" / str(number) for number in range(5)]
        for name in names:
            name.write_bytes(OLD)
        daemon.prepare()
        small.fill()
        daemon.flushed()
        for name in names[:3]:
            overwritten(name)
            assert name.read_bytes() == b"W" + OLD[1:100] + b"W" + OLD[101:]
        names[3].unlink()
        assert [row for row in daemon.flushed() if row.kind is ChangeKind.KEPT] == []
        assert os.listdir(f"/proc/self/fd/{daemon.root}/.csfs/kept") == []
        assert volume.log.count("is not kept") == 1
        small.make_room()
        until(lambda: shortage(daemon.root, len(OLD)) == 0, "the kernel has let go of what filled the disk")
        overwritten(names[4])
        assert len([row for row in daemon.flushed() if row.kind is ChangeKind.KEPT]) == 1
        volume.stop(lazy=True)
    assert "unexpected error" not in volume.log


def test_where_no_daemon_ever_was_programs_go_on(mounted: Mounted) -> None:
    (mounted.path / "keeping").mkdir()
    file = mounted.path / "keeping" / "file"
    for _ in range(2):
        file.write_bytes(OLD)
    file.unlink()
    assert not os.path.lexists(f"/proc/self/fd/{mounted.underneath}/.csfs")


def test_a_mount_that_is_killed_before_it_tells_of_a_copy_leaves_it_and_the_file(
    volume: Mounted, daemon: FakeDaemon
) -> None:
    switch = volume.base / "switch"
    volume.prelude = f"""
import os
from csfs.mount.capture import Capture
def kept(*arguments, **keywords):
    if os.path.exists({str(switch)!r}):
        os.kill(os.getpid(), {int(signal.SIGKILL)})
Capture.kept = kept
"""
    volume.start()
    daemon.wait_connected()
    daemon.prepare()
    (volume.path / "keeping").mkdir()
    file = volume.path / "keeping/file"
    file.write_bytes(OLD)
    switch.touch()
    child = volume.pids()[1]
    with pytest.raises(OSError, match="Errno"):
        file.write_bytes(b"new")
    wait_ended(child)
    wait_mounts(lambda: volume.pids()[1] != child and volume.is_mounted)
    switch.unlink()
    assert file.read_bytes() == OLD
    store = f"/proc/self/fd/{volume.underneath}/.csfs/kept"
    (name,) = os.listdir(store)
    assert Path(store, name).read_bytes() == OLD
    volume.stop(lazy=True)
