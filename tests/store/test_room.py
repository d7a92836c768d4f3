"""Room on a disk: a little is left, whatever arrives."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.store.room import LEFT_SHARE, check_room, shortage

DISK_SIZE = 1 << 20
LEFT = DISK_SIZE // LEFT_SHARE

pytestmark = pytest.mark.mount


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[int]:
    """A small disk, as a descriptor of its root."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "disk", tmp_path], check=True)
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
        subprocess.run(["umount", tmp_path], check=True)


def test_a_little_of_a_disk_is_left(disk: int) -> None:
    assert shortage(disk, DISK_SIZE - LEFT) == 0
    assert shortage(disk, DISK_SIZE) == LEFT
    assert shortage(disk, 3 * DISK_SIZE) == 2 * DISK_SIZE + LEFT


def test_what_would_take_the_last_room_is_refused(disk: int) -> None:
    check_room(disk, DISK_SIZE - LEFT)
    with pytest.raises(OSError, match="No space left") as refused:
        check_room(disk, DISK_SIZE - LEFT + 1)
    assert refused.value.errno == errno.ENOSPC


def test_a_file_system_that_does_not_tell_its_size_has_room(tmp_path: Path) -> None:
    descriptor = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        check_room(descriptor, 1 << 60)
    finally:
        os.close(descriptor)
