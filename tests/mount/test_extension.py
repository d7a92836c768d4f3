"""What pyfuse3 leaves out and the extension adds; and that a mount serves without it."""

import ctypes
import errno
import fcntl
import os
import stat
import subprocess
from pathlib import Path

import pytest

from csfs.core.changes import Change, ChangeKind
from csfs.mount import libfuse, syscalls
from csfs.mount.hooks import Slot
from csfs.mount.operations.extended import FALLOC_FL_ZERO_RANGE, FSGETXATTR, GETFLAGS, SETFLAGS
from csfs.store.syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted, run_as_user
from tests.mount.test_permissions import GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, acl

pytestmark = pytest.mark.mount
Served = tuple[Mounted, FakeDaemon]
MIB = 1024 * 1024
NODUMP = 0x40


def summary(rows: list[Change]) -> list[tuple[ChangeKind, tuple[tuple[int, int], ...]]]:
    return [(row.kind, row.extents) for row in rows]


def test_space_is_allocated_and_an_extension_is_told(served: Served) -> None:
    volume, daemon = served
    path = volume.path / "file"
    path.write_bytes(b"x" * 10)
    daemon.flushed()
    with open(path, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, MIB)
        assert path.stat().st_size == MIB
        assert path.stat().st_blocks * 512 >= MIB
        assert file.read(11) == b"x" * 10 + b"\0"
    assert summary(daemon.flushed()) == [(ChangeKind.CONTENT, ((9, MIB - 9),))]
    with open(path, "r+b") as file:
        syscalls.fallocate(file.fileno(), FALLOC_FL_KEEP_SIZE, MIB, MIB)
    assert path.stat().st_size == MIB
    assert path.stat().st_blocks * 512 >= 2 * MIB
    assert summary(daemon.flushed()) == [(ChangeKind.META, ())]


def test_holes_are_punched_found_and_told(served: Served) -> None:
    volume, daemon = served
    path = volume.path / "file"
    path.write_bytes(b"x" * MIB)
    daemon.flushed()
    with open(path, "r+b", buffering=0) as file:
        syscalls.fallocate(file.fileno(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 65536, 65536)
        syscalls.fallocate(file.fileno(), FALLOC_FL_ZERO_RANGE, 4096, 10)
        assert os.pread(file.fileno(), 65536, 65536) == bytes(65536)
        assert os.pread(file.fileno(), 12, 4095) == b"x" + bytes(10) + b"x"
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == 65536
        assert os.lseek(file.fileno(), 65536, os.SEEK_DATA) == 131072
        with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):
            os.lseek(file.fileno(), MIB, os.SEEK_DATA)
    assert summary(daemon.flushed()) == [(ChangeKind.CONTENT, ((4096, 10), (65536, 65536)))]


def test_an_allocation_that_a_file_opened_for_reading_asks_for_is_refused(mounted: Mounted) -> None:
    (mounted.path / "file").write_bytes(b"x")
    with open(mounted.path / "file", "rb") as file, pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        syscalls.fallocate(file.fileno(), 0, 0, 10)


def test_flags_of_files_and_directories_are_shown_and_set(served: Served) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(b"x")
    (volume.path / "directory").mkdir()
    daemon.flushed()
    for name in ("file", "directory"):
        descriptor = os.open(volume.path / name, os.O_RDONLY)
        flags = bytearray(8)
        fcntl.ioctl(descriptor, GETFLAGS, flags)
        before = int.from_bytes(flags[:4], "little")
        fcntl.ioctl(descriptor, SETFLAGS, (before | NODUMP).to_bytes(8, "little"))
        fcntl.ioctl(descriptor, GETFLAGS, flags)
        assert int.from_bytes(flags[:4], "little") == before | NODUMP
        extended = bytearray(28)
        fcntl.ioctl(descriptor, FSGETXATTR, extended)
        assert extended[0] & 0x80  # FS_XFLAG_NODUMP
        os.close(descriptor)
        under = os.stat(name, dir_fd=volume.underneath)
        assert (volume.path / name).stat().st_ctime_ns == under.st_ctime_ns
        assert [(row.kind, row.path) for row in daemon.flushed()] == [(ChangeKind.META, name.encode())]


def test_an_immutable_file_stays_as_it_is_until_the_flag_is_taken_away(mounted: Mounted) -> None:
    path = mounted.path / "file"
    path.write_bytes(b"x")
    subprocess.run(["chattr", "+i", path], check=True)
    try:
        for change in (path.unlink, lambda: path.chmod(0o600), lambda: path.write_bytes(b"y")):
            with pytest.raises(PermissionError):
                change()
        assert b"i" in subprocess.run(["lsattr", path], check=True, capture_output=True).stdout.split()[0]
        with pytest.raises(subprocess.CalledProcessError):
            run_as_user("chattr -i file 2>/dev/null", mounted.path)
    finally:
        subprocess.run(["chattr", "-i", path], check=True)
    path.unlink()


def test_other_ioctls_reach_nothing_underneath(mounted: Mounted) -> None:
    (mounted.path / "file").write_bytes(b"x")
    with open(mounted.path / "file", "rb") as file, pytest.raises(OSError, match=os.strerror(errno.ENOTTY)):
        fcntl.ioctl(file, 0x80047601, bytearray(4))  # FS_IOC_GETVERSION


def test_a_range_is_copied_without_leaving_the_volume_and_told(served: Served) -> None:
    volume, daemon = served
    (volume.path / "source").write_bytes(bytes(range(256)) * 400)
    (volume.path / "target").write_bytes(b"x" * 10)
    daemon.flushed()
    with open(volume.path / "source", "rb") as source, open(volume.path / "target", "r+b") as target:
        assert os.copy_file_range(source.fileno(), target.fileno(), 1000, 256, 5) == 1000
        assert os.copy_file_range(source.fileno(), target.fileno(), 10, 1 << 20, 5) == 0
    expected = b"x" * 5 + (bytes(range(256)) * 400)[256:1256]
    assert (volume.path / "target").read_bytes() == expected
    assert summary(daemon.flushed()) == [(ChangeKind.CONTENT, ((5, 1000),))]


def test_a_default_acl_takes_the_place_of_the_umask(mounted: Mounted) -> None:
    directory = mounted.path / "d"
    directory.mkdir()
    entries = (USER_OBJ, 7, -1), (USER, 7, 1234), (GROUP_OBJ, 7, -1), (MASK, 7, -1), (OTHER, 0, -1)
    os.setxattr(directory, b"system.posix_acl_default", acl(*entries))
    subprocess.run("umask 077; touch d/f plain; mkdir d/s; mkfifo d/p", shell=True, cwd=mounted.path, check=True)
    modes = {name: stat.S_IMODE((mounted.path / name).stat().st_mode) for name in ("d/f", "d/s", "d/p", "plain")}
    assert modes == {"d/f": 0o660, "d/s": 0o770, "d/p": 0o660, "plain": 0o600}


def test_a_listing_from_memory_follows_every_change(mounted: Mounted) -> None:
    root = mounted.path / "d"
    root.mkdir()
    names: set[str] = set()
    for number in range(40):
        (root / f"file-{number}").touch()
        names.add(f"file-{number}")
        assert set(os.listdir(root)) == names
        assert set(os.listdir(root)) == names
        if number % 3 == 0:
            (root / f"file-{number}").rename(root / f"moved-{number}")
            names ^= {f"file-{number}", f"moved-{number}"}
        if number % 3 == 1:
            (root / f"file-{number}").unlink()
            names.discard(f"file-{number}")
        assert set(os.listdir(root)) == names
    assert sum(len(files) for _, _, files in os.walk(mounted.path)) == len(names)


def test_a_listing_of_another_file_system_below_is_never_from_memory(volume: Mounted) -> None:
    below = volume.path / "below"
    below.mkdir()
    beside = volume.base / "beside"
    beside.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", beside], check=True)
    subprocess.run(["mount", "--bind", beside, below], check=True)
    try:
        volume.start()
        for number in range(5):
            (beside / f"{number}").write_text("old")
            assert len(os.listdir(below)) == number + 1
            assert (below / f"{number}").read_text() == "old"
            (beside / f"{number}").write_text("new")
            os.utime(beside / f"{number}", ns=(1, 1))
            assert (below / f"{number}").read_text() == "new"
            os.utime(beside, ns=(1, 1))
        volume.stop()
    finally:
        subprocess.run(["umount", "-l", below, beside], check=True)


def test_a_symlink_that_was_replaced_is_read_anew(mounted: Mounted) -> None:
    link = mounted.path / "link"
    for target in ("one", "two", "three"):
        (mounted.path / "new").symlink_to(target)
        (mounted.path / "new").rename(link)
        assert os.readlink(link) == target
        assert os.readlink(link) == target


def test_large_writes_arrive_whole(mounted: Mounted) -> None:
    data = os.urandom(3 * MIB + 17)
    with open(mounted.path / "file", "wb", buffering=0) as file:
        assert os.pwrite(file.fileno(), data, 5) == len(data)
    assert (mounted.path / "file").read_bytes() == bytes(5) + data


def test_a_full_file_system_is_reported_to_the_writer(volume: Mounted) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", volume.path], check=True)
    try:
        volume.start()
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            (volume.path / "file").write_bytes(bytes(2 * MIB))
        volume.stop()
    finally:
        subprocess.run(["umount", "-l", volume.path], check=True)


def test_a_libfuse_of_another_layout_is_served_without_the_additions(tmp_path: Path) -> None:
    volume = Mounted(tmp_path, prelude="from csfs.mount import libfuse; libfuse.VERSION_LAST = 0")
    volume.start()
    try:
        with open(volume.path / "file", "wb", buffering=0) as file:
            file.write(b"x" * 5000)
            with pytest.raises(OSError, match=os.strerror(errno.EOPNOTSUPP)):
                syscalls.fallocate(file.fileno(), 0, 0, 10)
        assert (volume.path / "file").read_bytes() == b"x" * 5000
        assert os.listdir(volume.path) == ["file"]
        assert "no fallocate, holes and chattr" in volume.log
    finally:
        volume.stop()
        volume.clear_away()


def test_a_table_of_another_layout_is_not_touched() -> None:
    table = libfuse.Table()
    with pytest.raises(OSError, match="another way"):
        libfuse.check_operations(table, ctypes.sizeof(table))
    with pytest.raises(OSError, match="43 operations"):
        libfuse.check_operations(table, ctypes.sizeof(table) - 8)
    with pytest.raises(OSError, match="does not call"):
        Slot(libfuse.loaded(), b"no_such_function")
