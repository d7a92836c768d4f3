"""What the kernel has of a file's content is believed until somebody writes without the mount."""

import os
import subprocess
from pathlib import Path

import pytest

from csfs.core.paths import RelPath
from csfs.wire.control import Refresh, Refreshed, Stale
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted

pytestmark = pytest.mark.mount
MIB = 1024 * 1024
SIZE = 8 * MIB


def read_by(volume: Mounted) -> int:
    """Return the bytes that the mount process has read so far: requests, and files underneath."""
    text = Path(f"/proc/{volume.pids()[1]}/io").read_text()
    return int(text.partition("rchar: ")[2].split()[0])


def test_what_a_program_wrote_is_not_read_from_underneath_again(mounted: Mounted) -> None:
    path = mounted.path / "file"
    content = os.urandom(SIZE)
    path.write_bytes(content)
    before = read_by(mounted)
    assert path.read_bytes() == content
    with open(path, "r+b", buffering=0) as file:
        for number in range(100):
            os.pwrite(file.fileno(), b"%4d" % number, number * 80_000)
            assert os.pread(file.fileno(), 4, SIZE - number * 4096 - 4096) == content[SIZE - number * 4096 - 4096 :][:4]
    assert os.stat(path).st_size == SIZE
    assert read_by(mounted) - before < MIB


def test_what_changes_underneath_is_seen_by_who_has_the_file_open_once_the_mount_is_told(
    served: tuple[Mounted, FakeDaemon],
) -> None:
    volume, daemon = served
    path = volume.path / "file"
    path.write_bytes(b"a" * MIB)
    with open(path, "r+b", buffering=0) as file:
        assert os.pread(file.fileno(), MIB, 0) == b"a" * MIB
        for number in range(20):
            os.pwrite(file.fileno(), b"%4d" % number, 4096)
            descriptor = os.open(b"file", os.O_WRONLY, dir_fd=daemon.root)
            os.pwrite(descriptor, b"%4d" % number, 500_000)
            os.close(descriptor)
            daemon.send(Refresh(number, (Stale(RelPath(b"file"), os.fstat(file.fileno()).st_ino, named=False),)))
            assert daemon.expect(Refreshed).token == number
            assert os.pread(file.fileno(), 4, 500_000) == b"%4d" % number
            assert os.pread(file.fileno(), 4, 4096) == b"%4d" % number


def test_contents_of_another_file_system_below_are_those_it_has_when_a_file_is_opened(volume: Mounted) -> None:
    directory = volume.path / "below"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory], check=True)
    (directory / "file").write_bytes(b"mine")
    behind = os.open(directory / "file", os.O_WRONLY)
    try:
        volume.start()
        for number in range(20):
            assert len((directory / "file").read_bytes()) > 3, "and is in the kernel's memory"
            with open(directory / "file", "rb") as opened:
                os.pwrite(behind, b"%4d" % number, 0)
                assert (directory / "file").read_bytes()[:4] == b"%4d" % number
                os.pwrite(behind, b"more", 4 + number)
                assert opened.read()[4 + number :] == b"more"
        volume.stop()
    finally:
        os.close(behind)
        subprocess.run(["umount", "-l", directory], check=True)
