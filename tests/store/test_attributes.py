"""Setting attributes in place: in the order that works, leaving alone what was not asked for."""

import errno
import os
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from csfs.store.attributes import read_attributes, read_xattrs, set_attributes, stamp_at
from csfs.store.tree import Tree

from .conftest import CAPABILITY, access_acl

ACL = b"system.posix_acl_access"


def test_everything_is_set_in_one_call(tree: Tree, volume: Path) -> None:
    file = volume / "f"
    file.write_bytes(b"")
    os.setxattr(file, "user.old", b"goes")
    wanted = ((b"security.capability", CAPABILITY), (ACL, access_acl(7)), (b"user.new", b"comes"))
    stamp, left_out = set_attributes(tree.root, b"f", 0o6660, 1001, 2001, 123_456_789, wanted, (b"user.old",))
    status, xattrs = read_attributes(tree.root, b"f")
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1001, 2001, 0o6660)
    assert status.st_mtime_ns == 123_456_789
    assert xattrs == wanted
    assert stamp == stamp_at(tree.root, b"f")
    assert left_out == ()


def test_a_chown_alone_keeps_setuid_and_capabilities(tree: Tree, volume: Path) -> None:
    file = volume / "f"
    file.write_bytes(b"")
    file.chmod(0o4755)
    os.setxattr(file, "security.capability", CAPABILITY)
    set_attributes(tree.root, b"f", uid=1001)
    assert stat.S_IMODE(file.stat().st_mode) == 0o4755
    assert file.stat().st_uid == 1001
    assert read_xattrs(str(file)) == ((b"security.capability", CAPABILITY),)


def test_a_new_owner_and_mode_do_not_keep_the_old_setuid(tree: Tree, volume: Path) -> None:
    file = volume / "f"
    file.write_bytes(b"")
    file.chmod(0o4755)
    set_attributes(tree.root, b"f", mode=0o700, uid=1001)
    assert stat.S_IMODE(file.stat().st_mode) == 0o700


def test_none_leaves_everything_alone(tree: Tree, volume: Path) -> None:
    file = volume / "f"
    file.write_bytes(b"")
    os.setxattr(file, "user.a", b"1")
    before = stamp_at(tree.root, b"f")
    assert set_attributes(tree.root, b"f") == (before, ())


def test_what_is_so_already_costs_no_change_time(tree: Tree, volume: Path) -> None:
    file = volume / "f"
    file.write_bytes(b"")
    os.setxattr(file, "user.a", b"1")
    before = stamp_at(tree.root, b"f")
    status = file.stat()
    mode = stat.S_IMODE(status.st_mode)
    assert set_attributes(tree.root, b"f", mode, 0, status.st_gid, None, ((b"user.a", b"1"),)) == (before, ())


def test_an_acl_that_goes_leaves_the_mode_that_is_wanted(tree: Tree, volume: Path) -> None:
    file = volume / "f"
    file.write_bytes(b"")
    os.setxattr(file, ACL, access_acl(7))
    set_attributes(tree.root, b"f", mode=0o640, xattrs=(), removed=(ACL,))
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert os.listxattr(file) == []


def test_a_symlink_itself_gets_owner_and_time_and_its_target_nothing(tree: Tree, volume: Path) -> None:
    (volume / "target").write_bytes(b"")
    before = (volume / "target").stat()
    (volume / "l").symlink_to("target")
    set_attributes(tree.root, b"l", 0o777, 1001, 2001, 99, ((b"trusted.t", b"1"),))
    status = (volume / "l").lstat()
    assert (status.st_uid, status.st_gid, status.st_mtime_ns) == (1001, 2001, 99)
    assert os.getxattr(volume / "l", "trusted.t", follow_symlinks=False) == b"1"
    assert (volume / "target").stat() == before


def test_a_fifo_is_not_opened(tree: Tree, volume: Path) -> None:
    os.mkfifo(volume / "p")
    set_attributes(tree.root, b"p", mode=0o622, uid=1001, mtime_ns=5)
    status = (volume / "p").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_mtime_ns) == (0o622, 1001, 5)


def test_what_nobody_names_is_left_alone(tree: Tree, volume: Path) -> None:
    file = volume / "f"
    file.write_bytes(b"")
    for name in ("user.stays", "user.goes", "trusted.stays"):
        os.setxattr(file, name, b"1")
    set_attributes(tree.root, b"f", xattrs=((b"user.a", b"1"),), removed=(b"user.goes", b"user.gone already"))
    assert sorted(os.listxattr(file)) == ["trusted.stays", "user.a", "user.stays"]


def test_each_hosts_own_labels_are_neither_read_nor_removed(tree: Tree, volume: Path) -> None:
    file = volume / "f"
    file.write_bytes(b"")
    os.setxattr(file, "trusted.overlay.opaque", b"y")
    assert read_xattrs(str(file)) == ()
    set_attributes(tree.root, b"f", xattrs=((b"user.a", b"1"),))
    assert os.getxattr(file, "trusted.overlay.opaque") == b"y"


def test_what_is_not_there_is_an_error(tree: Tree) -> None:
    with pytest.raises(FileNotFoundError):
        set_attributes(tree.root, b"nothing", mode=0o600)
    assert stamp_at(tree.root, b"nothing") is None


def test_what_is_too_large_for_the_file_system_is_left_out_and_nothing_older_stays(tree: Tree, volume: Path) -> None:
    file = volume / "f"
    file.write_bytes(b"")
    os.setxattr(file, "user.large", b"an older value")
    wanted = ((b"user.large", b"a" * 20_000), (b"user.small", b"1"))
    stamp, left_out = set_attributes(tree.root, b"f", 0o640, xattrs=wanted, mtime_ns=5)
    if not left_out:
        pytest.skip("the file system here takes attributes of any size")
    assert [name for name, _ in left_out] == [b"user.large"]
    assert read_xattrs(str(file)) == ((b"user.small", b"1"),)
    assert (stat.S_IMODE(file.stat().st_mode), stamp.mtime_ns) == (0o640, 5)
    assert stamp == stamp_at(tree.root, b"f")


@pytest.mark.parametrize("flag", ["i", "a"])
def test_what_a_flag_refuses_is_an_error(tree: Tree, volume: Path, flag: str) -> None:
    file = volume / "f"
    file.write_bytes(b"")
    if subprocess.run(["chattr", f"+{flag}", file], check=False, capture_output=True).returncode:
        pytest.skip("no such flags on the file system here")
    try:
        with pytest.raises(PermissionError):
            set_attributes(tree.root, b"f", xattrs=((b"user.a", b"1"),))
    finally:
        subprocess.run(["chattr", f"-{flag}", file], check=True)


def test_what_no_kind_of_file_like_it_may_have_is_left_out(tree: Tree, volume: Path) -> None:
    os.mkfifo(volume / "p")
    _, left_out = set_attributes(tree.root, b"p", mode=0o622, xattrs=((b"user.a", b"1"),))
    assert left_out == ((b"user.a", errno.EPERM),)
    assert stat.S_IMODE((volume / "p").stat().st_mode) == 0o622


def test_lists_that_say_the_same_are_the_same(tree: Tree, volume: Path) -> None:
    nobody = 0xFFFFFFFF
    named = [(0x02, 6, 1002), (0x02, 4, 1001), (0x08, 5, 2002), (0x08, 1, 2001)]
    around = [(0x01, 6, nobody)], [(0x04, 4, nobody)], [(0x10, 7, nobody), (0x20, 0, nobody)]
    lists = [
        around[0] + named[:2] + around[1] + named[2:] + around[2],
        around[0] + named[1::-1] + around[1] + named[:1:-1] + around[2],
    ]
    for name, entries in zip(("f", "g"), lists, strict=True):
        (volume / name).write_bytes(b"")
        packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
        os.setxattr(volume / name, ACL, packed)
        assert os.getxattr(volume / name, ACL) == packed, "the kernel keeps the order"
    first, second = (read_attributes(tree.root, name)[1] for name in (b"f", b"g"))
    assert first == second
    set_attributes(tree.root, b"g", xattrs=first)
    assert read_attributes(tree.root, b"g")[1] == first
