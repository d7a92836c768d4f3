"""Flags that forbid a commit: lifted for it, and put on last."""

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.core.groups import GroupRule
from csfs.core.objects import Stamp
from csfs.core.paths import RelPath
from csfs.core.treatment import FLAGS, Treatment
from csfs.wire.control import Attributes, Install, Link, Outcome, Remove
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted
from tests.mount.underneath import Underneath, chattr, flags_at

Served = tuple[Mounted, FakeDaemon]


DONE = Outcome.DONE, ()


@pytest.mark.parametrize("flags", ["i", "a", "ai"])
def test_what_forbids_to_be_replaced_is_replaced_and_the_new_one_has_its_flags(tree: Underneath, flags: str) -> None:
    chattr("-i", tree.path / "d/old")
    chattr(f"+{flags}", tree.path / "d/old")
    assert tree.take("d/old", Install(tree.stage(), b"k", b"a")) == DONE
    assert (tree.path / "d/old").read_bytes() == b"new"
    assert flags_at(tree.path / "d/old") == b"a"
    assert (tree.path / ".csfs/kept/k").read_bytes() == b"old"
    assert flags_at(tree.path / ".csfs/kept/k") == b"", "retention takes it one day"
    assert os.listdir(tree.path / ".csfs/stage") == []


def test_what_forbids_to_be_removed_is_removed_and_may_be_kept(tree: Underneath) -> None:
    (tree.path / "d/too").write_bytes(b"too")
    (tree.path / "d/sub").mkdir()
    chattr("+i", tree.path / "d/too", tree.path / "d/sub")
    assert tree.take("d/old", Remove(b"k")) == DONE
    assert flags_at(tree.path / ".csfs/kept/k") == b""
    assert tree.take("d/too", Remove()) == DONE
    assert tree.take("d/sub", Remove()) == DONE
    assert os.listdir(tree.path / "d") == []


@pytest.mark.parametrize("flags", ["i", "a"])
def test_in_a_directory_that_forbids_it_names_come_and_go(tree: Underneath, flags: str) -> None:
    chattr("-i", tree.path / "d/old")
    (tree.path / "d/gone").write_bytes(b"gone")
    chattr(f"+{flags}", tree.path / "d")
    assert tree.take("d/new", Install(tree.stage(), b"", b"")) == DONE
    assert tree.take("d/old", Install(tree.stage(), b"k")) == DONE
    assert tree.take("d/gone", Remove()) == DONE
    assert tree.take("d/name", Link(RelPath(b"d/new"), tree.stamp("d/new") or Stamp(0, 0, 0, 0), b"0.2")) == DONE
    assert sorted(os.listdir(tree.path / "d")) == ["name", "new", "old"]
    assert flags_at(tree.path / "d") == flags.encode()
    assert flags_at(tree.path / "d/new") == b""


def test_what_is_mounted_may_have_flags_itself(tree: Underneath) -> None:
    chattr("+i", tree.path)
    assert tree.take("", Attributes(mode=0o750)) == DONE
    assert (flags_at(tree.path), tree.path.stat().st_mode & 0o777) == (b"i", 0o750)
    for what in ("^%d=i /new", "%d=i /"):
        chattr("-i", tree.path)
        (tree.path / ".csfs/lifted").symlink_to(what % tree.path.stat().st_ino)
        assert len(tree.recover()) == 1
        assert flags_at(tree.path) == b"i"


def test_attributes_are_set_and_flags_stay_change_or_go(tree: Underneath) -> None:
    old = tree.path / "d/old"
    assert tree.take("d/old", Attributes(mode=0o640, mtime_ns=5, xattrs=((b"user.a", b"1"),))) == DONE
    assert (old.stat().st_mode & 0o777, old.stat().st_mtime_ns, flags_at(old)) == (0o640, 5, b"i")
    assert tree.take("d/old", Attributes(xattrs=((FLAGS, b"a"), (b"user.a", b"2")))) == DONE
    assert (os.getxattr(old, "user.a"), flags_at(old)) == (b"2", b"a")
    assert tree.take("d/old", Attributes(uid=1, removed=(FLAGS, b"user.a"))) == DONE
    assert (os.listxattr(old), old.stat().st_uid, flags_at(old)) == ([], 1, b"")
    old.write_bytes(b"writable")
    assert tree.take("d", Attributes(mode=0o700, xattrs=((FLAGS, b"i"),))) == DONE
    assert flags_at(tree.path / "d") == b"i"


def test_what_lives_on_under_another_name_keeps_its_flags(tree: Underneath) -> None:
    old, other = tree.path / "d/old", tree.path / "d/other"
    expected = tree.stamp("d/old")
    assert expected is not None
    assert tree.take("d/other", Link(RelPath(b"d/old"), expected, b"0.2")) == DONE
    assert (old.stat().st_ino, flags_at(old)) == (other.stat().st_ino, b"i")
    assert tree.take("d/old", Install(tree.stage(), b"", b"i")) == DONE
    assert (old.read_bytes(), flags_at(old)) == (b"new", b"i")
    assert (other.read_bytes(), flags_at(other), other.stat().st_nlink) == (b"old", b"i", 1)


@pytest.mark.parametrize("flags", ["i", "a"])
def test_what_is_overwritten_in_place_keeps_its_flags(tree: Underneath, flags: str) -> None:
    old = tree.path / "d/old"
    chattr("-i", old)
    chattr(f"+{flags}", old)
    number = old.stat().st_ino
    assert tree.take("d/old", tree.prepare("d/old", b"new")) == DONE
    assert (old.read_bytes(), old.stat().st_ino, flags_at(old)) == (b"new", number, flags.encode())


def test_what_cannot_have_flags_goes_without_and_that_is_told(tree: Underneath) -> None:
    (tree.path / "d/link").symlink_to("old")
    assert tree.take("d/link", Attributes(xattrs=((FLAGS, b"i"),))) == (Outcome.DONE, ((FLAGS, errno.EOPNOTSUPP),))
    assert tree.take("d/new", Install(tree.stage(), b"", b"x")) == (Outcome.DONE, ((FLAGS, errno.EINVAL),))
    assert (tree.path / "d/new").read_bytes() == b"new"


@pytest.mark.parametrize("value", [b"i ^1=i /d/old", b"i\0", b"ia", b"x" * 5_000])
def test_what_a_peer_calls_flags_and_are_none_gets_into_no_note(tree: Underneath, value: bytes) -> None:
    refused = Outcome.DONE, ((FLAGS, errno.EINVAL),)
    assert tree.take("d/new", Install(tree.stage(), b"", value)) == refused
    assert (tree.path / "d/new").read_bytes() == b"new"
    assert tree.take("d/old", Attributes(mode=0o600, xattrs=((FLAGS, value),))) == refused
    assert ((tree.path / "d/old").stat().st_mode & 0o777, flags_at(tree.path / "d/old")) == (0o600, b"")


def test_where_flags_are_each_members_own_they_forbid_what_they_forbid(tmp_path: Path, tree: Underneath) -> None:
    (tmp_path / "another").mkdir()
    with contextlib.closing(Underneath(tmp_path / "another", keeps=False)) as other:
        chattr("+i", other.path / "d/old")
        assert other.take("d/old", Install(other.stage(), b"k"))[0] is Outcome.FAILED
        assert other.take("d/old", Attributes(mode=0o600))[0] is Outcome.FAILED
        assert other.take("d/old", Remove())[0] is Outcome.FAILED
        assert flags_at(other.path / "d/old") == b"i"
        chattr("+i", other.path / "d")
        assert other.take("d/new", Install(b"0.1"))[0] is Outcome.FAILED


def test_a_directory_of_a_group_that_this_member_is_not_in_has_its_flags_for_itself(tree: Underneath) -> None:
    (tree.path / "d/ours").mkdir()
    chattr("+i", tree.path / "d")
    groups = (
        GroupRule(("alpha",), include=("/d/ours",), treatment=Treatment(flags=True)),
        GroupRule(("beta",), include=("/d",), treatment=Treatment(flags=True)),
    )
    tree.follow(*groups)
    assert tree.take("d/ours/new", Install(tree.stage())) == DONE
    (tree.path / "d/ours/new").unlink()
    assert tree.take("d/ours", Remove())[0] is Outcome.FAILED
    assert flags_at(tree.path / "d") == b"i"


def test_what_fails_all_the_same_leaves_flags_as_they_were(tree: Underneath) -> None:
    chattr("+i", tree.path / "d")
    assert tree.take("d/old", Install(b"nothing staged", b"", b"a"))[0] is Outcome.FAILED
    (tree.path / ".csfs/kept/taken").write_bytes(b"")
    assert tree.take("d/old", Install(tree.stage(), b"taken", b"a"))[0] is Outcome.FAILED
    assert (flags_at(tree.path / "d"), flags_at(tree.path / "d/old")) == (b"i", b"i")
    assert (tree.path / "d/old").read_bytes() == b"old"
    assert flags_at(tree.path / ".csfs/stage/0.1") == b""
    assert not os.path.lexists(tree.path / ".csfs/lifted")


# ------------------------------------------------------------------------------------------------------ through the kernel


@pytest.fixture
def flagged(served: Served) -> Iterator[Path]:
    """A directory of the mounted volume in which flags are kept the same, with a file that is immutable."""
    volume, daemon = served
    directory = volume.path / "flagged"
    directory.mkdir()
    (directory / "file").write_bytes(b"old")
    chattr("+i", directory / "file")
    daemon.flushed()
    yield directory
    subprocess.run(["chattr", "-R", "-f", "-ia", directory], check=False)


@pytest.mark.mount
def test_what_programs_see_is_committed_through_the_kernel_whatever_its_flags(served: Served, flagged: Path) -> None:
    daemon = served[1]
    chattr("+a", flagged)
    daemon.flushed()
    staged, expected = daemon.stage(b"1.1", b"new"), daemon.stamp(b"flagged/file")
    result = daemon.announce(b"flagged/file", expected, Install(staged, b"k", b"i"))
    assert result.outcome == Outcome.THROUGH
    with pytest.raises(PermissionError):
        (flagged / "file").open("r+b")
    daemon.install_through(staged, b"flagged/file")
    result = daemon.result()
    assert (result.outcome, result.stamp) == (Outcome.DONE, daemon.stamp(b"flagged/file"))
    assert (flagged / "file").read_bytes() == b"new"
    with pytest.raises(PermissionError):
        (flagged / "file").open("r+b")
    with pytest.raises(PermissionError):
        (flagged / "file").unlink()
    assert (flags_at(flagged / "file"), flags_at(flagged)) == (b"", b""), "FUSE does not carry them"
    assert subprocess.run(["lsattr", flagged / "file"], check=True, capture_output=True, text=True).stdout[4] == "i"
    assert daemon.announce(b"flagged/file", result.stamp, Remove(b"k2")).outcome == Outcome.THROUGH
    daemon.through(lambda: os.unlink(b"flagged/file", dir_fd=daemon.clone))
    assert daemon.result().outcome == Outcome.DONE
    assert not (flagged / "file").exists()
    assert daemon.flushed() == [], "nothing of this was done by a program here"


@pytest.mark.mount
def test_chattr_is_told_like_chmod(served: Served, flagged: Path) -> None:
    daemon = served[1]
    chattr("-i", flagged / "file")
    (row,) = daemon.flushed()
    assert (row.kind.name, row.path) == ("META", b"flagged/file")


@pytest.mark.mount
def test_a_mount_that_begins_puts_on_what_the_last_one_had_lifted(served: Served, flagged: Path) -> None:
    volume, daemon = served
    number = (flagged / "file").stat().st_ino
    volume.stop()
    chattr("-i", flagged / "file")
    os.symlink(b"%d=i /flagged/file" % number, volume.path / ".csfs/lifted")
    volume.start()
    daemon.wait_connected()
    with pytest.raises(PermissionError):
        (flagged / "file").write_bytes(b"new")
    assert "flags put on" in volume.log
