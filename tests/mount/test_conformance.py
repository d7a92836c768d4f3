"""What programs rely on: the pass-through behaves as the directory underneath does."""

import errno
import fcntl
import mmap
import os
import socket
import stat
import struct
import subprocess
import threading
from pathlib import Path

import pytest

from csfs.mount import syscalls
from csfs.store.syscalls import RENAME_EXCHANGE, RENAME_NOREPLACE, renameat2
from scripts.support.members import until
from tests.mount.mounting import Mounted

pytestmark = pytest.mark.mount


@pytest.fixture
def root(mounted: Mounted) -> Path:
    return mounted.path


def rename(source: Path, target: Path, flags: int) -> None:
    renameat2(syscalls.AT_FDCWD, os.fsencode(source), syscalls.AT_FDCWD, os.fsencode(target), flags)


def test_every_kind_of_object_can_be_made_and_looks_the_same_underneath(mounted: Mounted) -> None:
    root = mounted.path
    (root / "file").write_bytes(b"x")
    (root / "directory").mkdir()
    (root / "link").symlink_to("a" * 4000)
    os.mkfifo(root / "fifo")
    os.mknod(root / "character", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod(root / "block", stat.S_IFBLK | 0o600, os.makedev(7, 200))
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(root)
        server.bind("socket")
        os.chdir("/")
    assert os.readlink(root / "link") == "a" * 4000
    with open(root / "character", "rb+", buffering=0) as null:
        assert null.write(b"x") == 1
    for name in os.listdir(root):
        seen = os.lstat(root / name)
        under = os.stat(name, dir_fd=mounted.underneath, follow_symlinks=False)
        for field in [
            "st_mode",
            "st_ino",
            "st_nlink",
            "st_uid",
            "st_gid",
            "st_size",
            "st_blocks",
            "st_blksize",
            "st_rdev",
            "st_mtime_ns",
        ]:
            assert getattr(seen, field) == getattr(under, field), (name, field)
    assert len(os.listdir(root)) == 7


def test_hard_links_are_one_object(root: Path) -> None:
    (root / "a").write_bytes(b"1")
    (root / "d").mkdir()
    os.link(root / "a", root / "d" / "b")
    (root / "d" / "b").write_bytes(b"22")
    assert (root / "a").read_bytes() == b"22"
    assert os.path.samefile(root / "a", root / "d" / "b")
    assert (root / "a").stat().st_nlink == 2
    (root / "a").unlink()
    assert (root / "d" / "b").stat().st_nlink == 1
    os.symlink("x", root / "s")
    os.link(root / "s", root / "t", follow_symlinks=False)
    assert os.readlink(root / "t") == "x"


def test_an_unlinked_directory_that_a_program_is_in_can_still_be_described(root: Path) -> None:
    (root / "d").mkdir()
    descriptor = os.open(root / "d", os.O_RDONLY)
    (root / "d").rmdir()
    assert os.fstat(descriptor).st_nlink == 0
    with pytest.raises(FileNotFoundError):
        os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor)
    os.close(descriptor)


def test_a_replaced_file_stays_readable_through_what_was_opened_before(root: Path) -> None:
    (root / "a").write_bytes(b"old")
    (root / "b").write_bytes(b"new")
    path_only = os.open(root / "a", os.O_PATH)
    with open(root / "a", "rb") as file:
        (root / "b").rename(root / "a")
        assert file.read() == b"old"
        assert os.fstat(file.fileno()).st_nlink == 0
    assert os.fstat(path_only).st_size == 3
    os.close(path_only)
    assert (root / "a").read_bytes() == b"new"


def test_rename_flags_are_kept(root: Path) -> None:
    (root / "a").write_bytes(b"a")
    (root / "b").write_bytes(b"b")
    with pytest.raises(FileExistsError):
        rename(root / "a", root / "b", RENAME_NOREPLACE)
    rename(root / "a", root / "b", RENAME_EXCHANGE)
    assert ((root / "a").read_bytes(), (root / "b").read_bytes()) == (b"b", b"a")
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        rename(root / "a", root / "b", 4)  # RENAME_WHITEOUT


def test_renames_of_directories_take_what_is_in_them_along(root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    with open(root / "a" / "b" / "file", "w") as file:
        (root / "a").rename(root / "c")
        file.write("x")
    assert (root / "c" / "b" / "file").read_text() == "x"
    assert not (root / "a").exists()
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        (root / "c").rename(root / "c" / "b" / "d")
    (root / "full").mkdir()
    (root / "full" / "x").touch()
    with pytest.raises(OSError, match=os.strerror(errno.ENOTEMPTY)):
        (root / "c").rename(root / "full")


def test_appending_writers_do_not_overwrite_each_other(root: Path) -> None:
    with open(root / "log", "ab", buffering=0) as one, open(root / "log", "ab", buffering=0) as two:
        for _ in range(20):
            one.write(b"1")
            two.write(b"2")
    assert (root / "log").read_bytes() == b"12" * 20


def test_appending_does_not_overwrite_what_somebody_appends_underneath(mounted: Mounted) -> None:
    expected = b""
    with (
        open(mounted.path / "log", "ab", buffering=0) as through,
        open(f"/proc/self/fd/{mounted.underneath}/log", "ab", buffering=0) as beneath,
    ):
        for number in range(200):
            through.write(b"through %d\n" % number)
            beneath.write(b"beneath %d\n" % number)
            expected += b"through %d\nbeneath %d\n" % (number, number)
        through.write(b"x" * 3_000_000)
    expected += b"x" * 3_000_000
    assert Path(f"/proc/self/fd/{mounted.underneath}/log").read_bytes() == expected
    until(lambda: (mounted.path / "log").read_bytes() == expected, "the mount shows what is there")


def test_shared_mappings_see_each_other(root: Path) -> None:
    (root / "file").write_bytes(b"\0" * 8192)
    with (
        open(root / "file", "r+b") as one,
        open(root / "file", "r+b") as two,
        mmap.mmap(one.fileno(), 8192) as first,
        mmap.mmap(two.fileno(), 8192) as second,
    ):
        first[4096:4100] = b"text"
        assert second[4096:4100] == b"text"
    assert (root / "file").read_bytes()[4096:4100] == b"text"


def test_direct_writes_are_taken(root: Path) -> None:
    descriptor = os.open(root / "file", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    with mmap.mmap(-1, 4096) as page:
        page.write(b"x" * 4096)
        assert os.write(descriptor, page) == 4096
    os.close(descriptor)
    assert (root / "file").stat().st_size == 4096


def test_a_file_is_opened_anew_for_writing_after_it_was_opened_for_reading(root: Path) -> None:
    (root / "file").write_bytes(b"old")
    with open(root / "file", "rb", buffering=0) as reading, open(root / "file", "r+b", buffering=0) as writing:
        assert reading.read(1) == b"o"
        writing.write(b"new")
        reading.seek(0)
        assert reading.read() == b"new"


def test_a_read_only_new_file_can_be_written_by_its_maker(root: Path) -> None:
    descriptor = os.open(root / "file", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    os.write(descriptor, b"x")
    os.ftruncate(descriptor, 10)
    os.close(descriptor)
    assert (root / "file").stat().st_size == 10
    with pytest.raises(FileExistsError):
        os.open(root / "file", os.O_WRONLY | os.O_CREAT | os.O_EXCL)


def test_times_are_kept_to_the_nanosecond_before_1970_too(root: Path) -> None:
    (root / "file").touch()
    for times in ((1, 1_234_567_890_123_456_789), (-1_500_000_001, -1_500_000_001)):
        os.utime(root / "file", ns=times)
        status = (root / "file").stat()
        assert (status.st_atime_ns, status.st_mtime_ns) == times
    (root / "link").symlink_to("file")
    os.utime(root / "link", ns=(5, 6), follow_symlinks=False)
    assert os.lstat(root / "link").st_mtime_ns == 6


@pytest.mark.parametrize("name", [b"\xff\xfe\x80", b"new\nline", b"a" * 255, b" ", b"...", b"-rf"])
def test_any_name_is_kept(root: Path, name: bytes) -> None:
    path = os.fsencode(root) + b"/" + name
    with open(path, "wb") as file:
        file.write(b"x")
    assert os.listdir(os.fsencode(root)) == [name]
    os.unlink(path)
    assert os.listdir(root) == []


def test_a_name_that_is_too_long_is_refused_as_underneath(root: Path) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENAMETOOLONG)):
        (root / ("a" * 256)).touch()


def test_paths_deeper_than_the_kernel_takes_at_once_work(root: Path) -> None:
    name = "d" * 200
    directory = os.open(root, os.O_RDONLY)
    for _ in range(30):
        os.mkdir(name, dir_fd=directory)
        below = os.open(name, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = below
    descriptor = os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=directory)
    os.write(descriptor, b"x")
    os.close(descriptor)
    assert os.stat("file", dir_fd=directory).st_size == 1
    os.close(directory)


def test_a_listing_stays_right_while_its_entries_go(root: Path) -> None:
    names = {f"file-{number:04}-{'x' * 100}" for number in range(500)}
    for name in names:
        (root / name).touch()
    seen = []
    with os.scandir(root) as entries:
        for entry in entries:
            seen.append(entry.name)
            os.unlink(entry.path)
    assert len(seen) == len(set(seen))
    assert set(seen) == names
    assert os.listdir(root) == []


def test_a_listing_has_types_and_numbers(root: Path) -> None:
    (root / "d").mkdir()
    (root / "f").touch()
    with os.scandir(root) as entries:
        found = {entry.name: (entry.is_dir(follow_symlinks=False), entry.inode()) for entry in entries}
    assert found == {"d": (True, (root / "d").stat().st_ino), "f": (False, (root / "f").stat().st_ino)}


def test_xattrs_can_be_set_listed_replaced_and_removed(root: Path) -> None:
    path = root / "file"
    path.touch()
    os.setxattr(path, b"user.a", b"1", os.XATTR_CREATE)
    with pytest.raises(FileExistsError):
        os.setxattr(path, b"user.a", b"2", os.XATTR_CREATE)
    with pytest.raises(OSError, match=os.strerror(errno.ENODATA)):
        os.setxattr(path, b"user.b", b"2", os.XATTR_REPLACE)
    os.setxattr(path, b"trusted.t", b"\0binary\xff")
    assert sorted(os.listxattr(path)) == ["trusted.t", "user.a"]
    assert os.getxattr(path, b"trusted.t") == b"\0binary\xff"
    os.removexattr(path, b"user.a")
    assert os.listxattr(path) == ["trusted.t"]


def test_an_append_only_file_can_be_appended_to(mounted: Mounted) -> None:
    descriptor = os.open("log", os.O_WRONLY | os.O_CREAT, dir_fd=mounted.underneath)
    flags = array_of_int(0)
    try:
        fcntl.ioctl(descriptor, 0x80086601, flags)  # FS_IOC_GETFLAGS
        fcntl.ioctl(descriptor, 0x40086602, array_of_int(struct.unpack("i", flags[:4])[0] | 0x20))  # FS_APPEND_FL
    except OSError:
        os.close(descriptor)
        pytest.skip("this file system has no append-only files")
    try:
        with open(mounted.path / "log", "ab", buffering=0) as file:
            file.write(b"x")
        with pytest.raises(PermissionError):
            os.open(mounted.path / "log", os.O_RDWR)
        assert (mounted.path / "log").read_bytes() == b"x"
        os.utime(mounted.path / "log")
        with pytest.raises(PermissionError):
            os.utime(mounted.path / "log", ns=(1, 1))
    finally:
        fcntl.ioctl(descriptor, 0x40086602, flags)
        os.close(descriptor)


def array_of_int(value: int) -> bytearray:
    return bytearray(struct.pack("ii", value, 0))


def test_another_file_system_below_is_passed_through(volume: Mounted) -> None:
    (volume.path / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", volume.path / "below"], check=True)
    try:
        volume.start()
        (volume.path / "below" / "file").write_text("x")
        assert (volume.path / "below" / "file").read_text() == "x"
        assert os.listdir(volume.path / "below") == ["file"]
        with pytest.raises(OSError, match=os.strerror(errno.EXDEV)):
            os.link(volume.path / "below" / "file", volume.path / "file")
        volume.stop()
    finally:
        subprocess.run(["umount", "-l", volume.path / "below"], check=True)


def test_many_threads_at_once_get_right_answers(root: Path) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(30):
                path = root / f"{number}-{turn}"
                path.write_text(str(turn))
                path.rename(root / f"shared-{turn % 5}")
                (root / f"own-{number}").write_text("x")
                assert (root / f"own-{number}").read_text() == "x"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(os.listdir(root)) == 9


def test_figures_of_the_file_system_are_those_underneath(mounted: Mounted) -> None:
    seen, under = os.statvfs(mounted.path), os.fstatvfs(mounted.underneath)
    assert (seen.f_bsize, seen.f_blocks, seen.f_files, seen.f_namemax) == (
        under.f_bsize,
        under.f_blocks,
        under.f_files,
        under.f_namemax,
    )


def test_a_temporary_file_without_a_name_is_refused_so_that_programs_fall_back(root: Path) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EOPNOTSUPP)):
        os.open(root, os.O_TMPFILE | os.O_RDWR)


def test_the_mount_process_reaches_the_bare_directory_by_path(mounted: Mounted) -> None:
    _, child = mounted.pids()
    mounts = Path(f"/proc/{child}/mountinfo").read_text()
    assert str(mounted.path) not in mounts
