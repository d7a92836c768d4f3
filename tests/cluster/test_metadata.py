"""Metadata is metadata: what changes no content moves none, and rewrites nothing at the peer."""

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.support.members import Member
from tests.trees import differences

SIZE = 5 << 20
MESSAGES_SIZE_MAX = 4_000
"""What records, acknowledgements and a heartbeat or two may take, in one direction; contents here are far larger."""
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, permissions, name)
    for tag, permissions, name in [
        (0x01, 6, 0xFFFFFFFF),  # owner
        (0x02, 4, 3),  # user 3
        (0x04, 4, 0xFFFFFFFF),  # group
        (0x10, 4, 0xFFFFFFFF),  # mask
        (0x20, 0, 0xFFFFFFFF),  # others
    ]
)
"""An access control list as the kernel keeps it; acl(5), linux/posix_acl_xattr.h."""


class Traffic:
    """What travels between two members in both directions, and what is fetched in blocks."""

    def __init__(self, alpha: Member, beta: Member) -> None:
        self._members = (alpha, beta)
        self._before = self._count()

    def _count(self) -> tuple[int, int]:
        for member in self._members:
            member.wait()
        sent = sum(member.peer()["bytes_sent"] for member in self._members)
        return sent, sum(member.volume()["bytes_fetched"] for member in self._members)

    def expect(self, size_max: int) -> None:
        """At most so many bytes may have travelled since the last look, and nothing may have been fetched in blocks."""
        sent, fetched = self._count()
        before, self._before = self._before, (sent, fetched)
        assert sent - before[0] <= size_max
        assert fetched == before[1]


def made(alpha: Member, beta: Member, name: str, size: int = SIZE) -> tuple[Path, Path]:
    """Make a large file that cannot be compressed at alpha; return it as both have it."""
    (alpha.tree / name).write_bytes(os.urandom(size))
    alpha.wait()
    assert (beta.tree / name).stat().st_size == size
    return alpha.tree / name, beta.tree / name


def expect_equal(alpha: Member, beta: Member) -> None:
    assert differences(str(alpha.tree), str(beta.tree)) == []


METADATA: list[tuple[str, Callable[[Path], object]]] = [
    ("chmod", lambda path: path.chmod(0o751)),
    ("setuid", lambda path: path.chmod(0o4755)),
    ("chown", lambda path: os.chown(path, 1, -1)),
    ("chgrp", lambda path: os.chown(path, -1, 2)),
    ("an owner without a name", lambda path: os.chown(path, 54321, 54322)),
    ("times to the nanosecond", lambda path: os.utime(path, ns=(1, 1_234_567_890_123_456_789))),
    ("times before 1970", lambda path: os.utime(path, ns=(1, -1_500_000_001))),
    ("an attribute", lambda path: os.setxattr(path, "user.csfs", b"\0binary\xff")),
    ("another value", lambda path: os.setxattr(path, "user.csfs", b"x" * 1000)),
    ("no attribute", lambda path: os.removexattr(path, "user.csfs")),
    ("an access control list", lambda path: os.setxattr(path, "system.posix_acl_access", ACL)),
    ("a capability", lambda path: os.setxattr(path, "security.capability", struct.pack("<5I", 0x02000001, 1, 0, 0, 0))),
]


def test_metadata_moves_no_content_and_keeps_the_inode(pair: tuple[Member, Member]) -> None:
    ours, theirs = made(*pair, "large")
    inode = theirs.stat().st_ino
    with theirs.open("rb") as reading:
        traffic = Traffic(*pair)
        for name, change in METADATA:
            change(ours)
            traffic.expect(MESSAGES_SIZE_MAX)
            assert differences(str(ours), str(theirs)) == [], name
        assert theirs.stat().st_ino == inode
        assert os.fstat(reading.fileno()).st_nlink == 1
    assert ours.read_bytes() == theirs.read_bytes()


def test_metadata_of_a_tree_costs_little_more_than_its_records(pair: tuple[Member, Member]) -> None:
    alpha, beta = pair
    count = 150
    (alpha.tree / "many").mkdir()
    for number in range(count):
        (alpha.tree / "many" / str(number)).write_bytes(os.urandom(2_000))
    traffic = Traffic(*pair)
    inodes = {path.name: path.stat().st_ino for path in (beta.tree / "many").iterdir()}
    assert len(inodes) == count
    for number in range(count):
        (alpha.tree / "many" / str(number)).chmod(0o640)
        os.chown(alpha.tree / "many" / str(number), 1, 1)
    traffic.expect(count * 300 + MESSAGES_SIZE_MAX)
    assert {path.name: path.stat().st_ino for path in (beta.tree / "many").iterdir()} == inodes
    expect_equal(*pair)


def test_metadata_of_links_fifos_and_directories_travels_too(pair: tuple[Member, Member]) -> None:
    alpha, beta = pair
    top = alpha.tree / "kinds"
    (top / "directory").mkdir(parents=True)
    (top / "link").symlink_to("nowhere")
    os.mkfifo(top / "fifo")
    alpha.wait()
    inodes = {path.name: os.lstat(path).st_ino for path in (beta.tree / "kinds").iterdir()}
    os.chown(top / "link", 1, 1, follow_symlinks=False)
    os.utime(top / "link", ns=(5, 6), follow_symlinks=False)
    (top / "fifo").chmod(0o600)
    os.utime(top / "fifo", ns=(7, 8))
    (top / "directory").chmod(0o2750)
    os.setxattr(top / "directory", "user.csfs", b"x")
    os.setxattr(top / "directory", "system.posix_acl_default", ACL)
    os.utime(top / "directory", ns=(9, 10))
    alpha.wait()
    expect_equal(*pair)
    assert {path.name: os.lstat(path).st_ino for path in (beta.tree / "kinds").iterdir()} == inodes


@pytest.mark.parametrize("into", ["", "directory/"])
def test_a_rename_sends_no_content(pair: tuple[Member, Member], into: str) -> None:
    name = f"renamed-{bool(into)}"
    ours, theirs = made(*pair, name)
    (pair[0].tree / "directory").mkdir(exist_ok=True)
    traffic = Traffic(*pair)
    content, inode = theirs.read_bytes(), theirs.stat().st_ino
    ours.rename(pair[0].tree / f"{into}{name}.new")
    traffic.expect(MESSAGES_SIZE_MAX)
    assert (pair[1].tree / f"{into}{name}.new").read_bytes() == content
    assert (pair[1].tree / f"{into}{name}.new").stat().st_ino == inode, "it is not copied there either"
    expect_equal(*pair)


def test_a_rename_of_a_directory_sends_no_content(pair: tuple[Member, Member]) -> None:
    alpha, _ = pair
    (alpha.tree / "tree/below").mkdir(parents=True)
    for number in range(50):
        (alpha.tree / "tree/below" / str(number)).write_bytes(os.urandom(20_000))
    traffic = Traffic(*pair)
    (alpha.tree / "tree").rename(alpha.tree / "forest")
    traffic.expect(50 * 600 + MESSAGES_SIZE_MAX)
    expect_equal(*pair)


def test_a_copy_sends_no_content(pair: tuple[Member, Member]) -> None:
    ours, theirs = made(*pair, "original", 400_000)
    traffic = Traffic(*pair)
    shutil.copyfile(ours, ours.with_name("copy"))
    traffic.expect(MESSAGES_SIZE_MAX)
    assert theirs.with_name("copy").read_bytes() == ours.read_bytes()


def test_a_change_of_a_few_bytes_sends_the_blocks_that_they_are_in(pair: tuple[Member, Member]) -> None:
    ours, theirs = made(*pair, "patched")
    sent = pair[0].peer()["bytes_sent"]
    with ours.open("r+b") as file:
        file.seek(SIZE // 2)
        file.write(b"changed")
    pair[0].wait()
    assert theirs.read_bytes() == ours.read_bytes()
    assert pair[0].peer()["bytes_sent"] - sent < SIZE // 8
