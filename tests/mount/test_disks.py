"""Disks that are full, or hang: the journal's must not be noticed by any program, the volume's own by those alone that use it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import RelPath
from csfs.journal.journal import Journal
from csfs.mount.noting import Noting
from csfs.wire.control import JournalTrouble
from tests.disks import Disk, disk
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted, in_background

pytestmark = pytest.mark.mount

ROWS = 2_000
WAIT_S = 20.0


@pytest.fixture
def journal_disk(volume: Mounted) -> Iterator[Disk]:
    """The journal of the volume is on a small disk."""
    with disk(volume.base / "image", volume.lib) as small:
        yield small
        if volume.is_mounted:
            volume.stop(lazy=True)


@pytest.fixture
def volume_disk(volume: Mounted) -> Iterator[Disk]:
    """The volume itself is on a small disk."""
    with disk(volume.base / "image", volume.path) as small:
        yield small
        if volume.is_mounted:
            volume.stop(lazy=True)


def change_much(path: Path) -> None:
    """Make more rows than a little disk has room for."""
    (path / "file").write_text("before")
    for number in range(ROWS):
        os.chmod(path / "file", 0o600 + number % 2)


def test_a_journal_whose_disk_is_full_fails_no_program_and_tells_every_row(
    volume: Mounted, journal_disk: Disk, daemon: FakeDaemon
) -> None:
    volume.start()
    daemon.wait_connected()
    journal_disk.fill()
    change_much(volume.path)
    descriptor = os.open(volume.path / "file", os.O_RDWR)
    os.write(descriptor, b"after")
    os.fsync(descriptor)
    os.close(descriptor)
    assert "cannot be written" in daemon.expect(JournalTrouble).reason
    rows = daemon.flushed()
    assert sum(row.kind is ChangeKind.META for row in rows) == ROWS
    assert (volume.path / "file").read_text() == "aftere"
    journal_disk.make_room()
    assert daemon.expect(JournalTrouble).reason == ""
    volume.stop()
    assert "can be written again" in volume.log


def test_who_connects_while_the_journal_cannot_be_written_is_told_so_and_told_the_rows(
    volume: Mounted, journal_disk: Disk
) -> None:
    volume.start()
    journal_disk.fill()
    change_much(volume.path)
    daemon = FakeDaemon(volume.settings.control_socket)
    try:
        hello = daemon.wait_connected()
        while not daemon.expect(JournalTrouble).reason:
            pass  # what is written by and by as the disk fills up
        daemon.flushed()
        assert hello.last < ROWS
        journal_disk.make_room()
        assert daemon.expect(JournalTrouble).reason == ""
        volume.stop()
    finally:
        daemon.close()


def test_a_volume_is_mounted_though_the_journals_disk_is_full(
    volume: Mounted, journal_disk: Disk, daemon: FakeDaemon
) -> None:
    journal_disk.fill()
    volume.start()
    hello = daemon.wait_connected()
    assert not hello.clean
    assert "cannot be" in daemon.expect(JournalTrouble).reason
    (volume.path / "file").write_text("content")
    assert [row.path for row in daemon.flushed() if row.kind is ChangeKind.CREATE] == [b"file"]
    volume.stop()
    assert (volume.path / "file").read_text() == "content"


def test_a_journal_whose_disk_hangs_holds_up_no_program(
    volume: Mounted, journal_disk: Disk, daemon: FakeDaemon
) -> None:
    volume.start()
    daemon.wait_connected()
    with journal_disk.hanging():
        change_much(volume.path)
        (volume.path / "file").rename(volume.path / "renamed")
        rows = daemon.flushed()
        assert sum(row.kind is ChangeKind.META for row in rows) == ROWS
        assert rows[-1].kind is ChangeKind.RENAME
        daemon.drop_mount()  # which the mount logs, on the same disk
        daemon.mount_hellos.get(timeout=WAIT_S)
        (volume.path / "renamed").unlink()
        assert [row.kind for row in daemon.flushed()][-1] is ChangeKind.REMOVE
    volume.stop()
    assert "unexpected" not in volume.log


def test_a_volume_whose_disk_hangs_goes_on_when_the_disk_does(volume: Mounted, volume_disk: Disk) -> None:
    (volume.path / "before").write_text("x")
    volume.start()
    with volume_disk.hanging():
        writer = in_background(lambda: (volume.path / "file").write_text("content"))
        # Those who ask for other volumes, or how full all disks are, are not held up.
        subprocess.run(["df", "--local", "--output=target", "/"], check=True, capture_output=True, timeout=WAIT_S)
        assert writer.is_alive()
    writer.join(WAIT_S)
    assert (volume.path / "file").read_text() == "content"
    volume.stop()


def test_a_volume_whose_disk_hangs_can_be_unmounted_lazily(volume: Mounted, volume_disk: Disk) -> None:
    volume.start()
    unmounting = None
    with volume_disk.hanging():
        writer = in_background(lambda: (volume.path / "file").write_text("content"))
        unmounting = in_background(lambda: volume.stop(lazy=True))
        while volume.is_mounted:
            assert unmounting.is_alive()
    unmounting.join(WAIT_S)
    writer.join(WAIT_S)
    assert not volume.is_mounted


async def test_rows_are_written_although_the_mount_ends_just_when_their_turn_comes(tmp_path: Path) -> None:
    def opened() -> Journal:
        return Journal(str(tmp_path / "journal.db"), lambda: 7)

    journal = opened()
    noting = Noting(journal)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(noting.run)
        journal.append(Change(sequence=0, kind=ChangeKind.META, path=RelPath(b"file")))
        noting.appended()
        await trio.testing.wait_all_tasks_blocked()
        noting._hurry.set()  # its turn comes
        nursery.cancel_scope.cancel()  # and goes
    journal.close()
    after = opened()
    assert (after.clean, after.last) == (True, 1)
    after.close()
