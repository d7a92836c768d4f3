"""System calls of our own, on a real file system."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.store import syscalls


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def test_openat2_opens_what_lies_beneath(root: int, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"inside")
    descriptor = syscalls.openat2(root, b"a/b", os.O_RDONLY)
    assert os.read(descriptor, 100) == b"inside"
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize(
    ("path", "number"),
    [(b"..", errno.EXDEV), (b"/etc", errno.EXDEV), (b"out/passwd", errno.ELOOP), (b"nothing", errno.ENOENT)],
)
def test_openat2_refuses_every_way_out(root: int, tmp_path: Path, path: bytes, number: int) -> None:
    (tmp_path / "out").symlink_to("/etc")
    with pytest.raises(OSError) as caught:
        syscalls.openat2(root, path, os.O_RDONLY)
    assert caught.value.errno == number


def test_openat2_refuses_a_nul_byte_that_would_cut_the_path_short(root: int) -> None:
    with pytest.raises(ValueError):
        syscalls.openat2(root, b"a\0b", os.O_RDONLY)


def test_renameat2_exchanges_and_does_not_replace(root: int, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    syscalls.renameat2(root, b"a", root, b"b", syscalls.RENAME_EXCHANGE)
    assert (tmp_path / "a").read_bytes() == b"2"
    with pytest.raises(FileExistsError):
        syscalls.renameat2(root, b"a", root, b"b", syscalls.RENAME_NOREPLACE)
    with pytest.raises(FileNotFoundError):
        syscalls.renameat2(root, b"a", root, b"c", syscalls.RENAME_EXCHANGE)


@pytest.mark.parametrize("mtime_ns", [1_700_000_000_123_456_789, 1, 0, -5_000_000_001])
def test_set_mtime_keeps_nanoseconds_and_the_atime(root: int, tmp_path: Path, mtime_ns: int) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "link").symlink_to("a")
    os.utime(tmp_path / "a", ns=(7, 7))
    syscalls.set_mtime(root, b"a", mtime_ns)
    syscalls.set_mtime(root, b"link", 99)
    status = (tmp_path / "a").stat()
    assert (status.st_mtime_ns, status.st_atime_ns) == (mtime_ns, 7)
    assert (tmp_path / "link").lstat().st_mtime_ns == 99


def test_a_punched_hole_reads_as_zeros(root: int, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 65536)
    descriptor = os.open(tmp_path / "a", os.O_RDWR)
    syscalls.punch_hole(descriptor, 0, 32768)
    syscalls.syncfs(descriptor)
    assert os.pread(descriptor, 65536, 0) == bytes(32768) + b"x" * 32768
    os.close(descriptor)
