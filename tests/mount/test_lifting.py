"""Flags that forbid a commit: lifted for it, put on last, also by the next mount process if this one is killed in between."""

import contextlib
import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csfs.config.settings import VolumeRules
from csfs.core.groups import GroupRule, Rules
from csfs.core.objects import Stamp
from csfs.core.paths import RelPath
from csfs.core.treatment import FLAGS, Treatment
from csfs.journal.journal import IN_MEMORY, Journal
from csfs.mount import lifting
from csfs.mount.capture import Capture
from csfs.mount.displaced import Displaced
from csfs.mount.gate import Gate
from csfs.mount.inodes import Inodes
from csfs.mount.recent import Recent
from csfs.store import attributes
from csfs.store.attributes import stamp_of
from csfs.store.flags import flags_of
from csfs.wire.control import Action, Attributes, Commit, Install, Link, Outcome, Remove
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted

Served = tuple[Mounted, FakeDaemon]
KILLED = 9


def chattr(flags: str, *paths: Path) -> None:
    subprocess.run(["chattr", flags, *paths], check=True)


def flags_at(path: Path) -> bytes:
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        return flags_of(descriptor)
    finally:
        os.close(descriptor)


class Underneath:
    """A directory with a gate over it, of which no kernel knows anything: commits are made underneath."""

    def __init__(self, directory: Path, *, keeps: bool = True) -> None:
        self.path = directory
        for name in ("d", ".csfs/stage", ".csfs/kept"):
            (directory / name).mkdir(parents=True)
        (directory / "d/old").write_bytes(b"old")
        self.root = os.open(directory, os.O_RDONLY)
        group = GroupRule(("alpha",), treatment=Treatment(flags=keeps))
        self.rules = Rules.compiled(VolumeRules("v", (group,)), "alpha")
        inodes = Inodes(self.root)
        journal = Journal(IN_MEMORY, time.time_ns)
        self.gate = Gate(inodes, Capture(journal, inodes, self.rules), Recent())
        self._ids = iter(range(1, 1_000))

    def stage(self, content: bytes = b"new") -> bytes:
        (self.path / ".csfs/stage/0.1").write_bytes(content)
        return b"0.1"

    def stamp(self, name: str) -> Stamp | None:
        try:
            return stamp_of((self.path / name).lstat())
        except FileNotFoundError:
            return None

    def take(self, name: str, action: Action) -> tuple[Outcome, tuple[tuple[bytes, int], ...]]:
        """Have a commit made; return what became of it, and what was left out."""
        commit = Commit(next(self._ids), 0, RelPath(name.encode()), self.stamp(name), action)
        (result,) = self.gate.take(commit)
        if result.outcome is Outcome.DONE:
            assert result.stamp == self.stamp(name), "the stamp is the one that is shown when all is done"
            assert not os.path.lexists(self.path / ".csfs/lifted")
        return result.outcome, result.left_out

    def recover(self) -> list[str]:
        """Do what a mount process does before it serves; return what it told."""
        told: list[str] = []
        lifting.Lifting(self.root, self.rules).recover(told.append)
        assert not os.path.lexists(self.path / ".csfs/lifted")
        return told

    def close(self) -> None:
        subprocess.run(["chattr", "-R", "-f", "-ia", self.path], check=False)
        os.close(self.root)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Underneath]:
    (tmp_path / "tree").mkdir()
    with contextlib.closing(Underneath(tmp_path / "tree")) as underneath:
        try:
            chattr("+i", underneath.path / "d/old")
        except subprocess.CalledProcessError:
            pytest.skip("no such flags on the file system here")
        yield underneath


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


def test_what_cannot_have_flags_goes_without_and_that_is_told(tree: Underneath) -> None:
    (tree.path / "d/link").symlink_to("old")
    assert tree.take("d/link", Attributes(xattrs=((FLAGS, b"i"),))) == (Outcome.DONE, ((FLAGS, errno.EOPNOTSUPP),))
    assert tree.take("d/new", Install(tree.stage(), b"", b"x")) == (Outcome.DONE, ((FLAGS, errno.EINVAL),))
    assert (tree.path / "d/new").read_bytes() == b"new"


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


def test_what_fails_all_the_same_leaves_flags_as_they_were(tree: Underneath) -> None:
    chattr("+i", tree.path / "d")
    assert tree.take("d/old", Install(b"nothing staged", b"", b"a"))[0] is Outcome.FAILED
    (tree.path / ".csfs/kept/taken").write_bytes(b"")
    assert tree.take("d/old", Install(tree.stage(), b"taken", b"a"))[0] is Outcome.FAILED
    assert (flags_at(tree.path / "d"), flags_at(tree.path / "d/old")) == (b"i", b"i")
    assert (tree.path / "d/old").read_bytes() == b"old"
    assert flags_at(tree.path / ".csfs/stage/0.1") == b""
    assert not os.path.lexists(tree.path / ".csfs/lifted")


def test_a_reserved_directory_of_somebody_else_is_not_believed(tree: Underneath) -> None:
    (tree.path / "victim").write_bytes(b"")
    note = f"{(tree.path / 'victim').stat().st_ino}=i /victim"
    (tree.path / ".csfs/lifted").symlink_to(note)
    os.chown(tree.path / ".csfs", 1, 1)
    with pytest.raises(PermissionError):
        tree.recover()
    assert flags_at(tree.path / "victim") == b""
    os.chown(tree.path / ".csfs", 0, 0)
    assert len(tree.recover()) == 1
    assert flags_at(tree.path / "victim") == b"i"


# ------------------------------------------------------------------------------------------------------ killed in between


def _killed_at(step: int, act: Callable[[], object]) -> bool:
    """Do something in a process that is killed before its call number `step` that changes anything; return whether it came to that."""
    pid = os.fork()
    if pid == 0:
        try:
            steps = iter(range(step))

            def before(call: Callable[..., object]) -> Callable[..., object]:
                def stepped(*arguments: object, **options: object) -> object:
                    if next(steps, None) is None:
                        os._exit(KILLED)
                    return call(*arguments, **options)

                return stepped

            lifting.put = before(lifting.put)  # type: ignore[assignment]
            attributes.os.chmod = before(os.chmod)  # type: ignore[assignment]
            os.symlink, os.unlink, os.link = before(os.symlink), before(os.unlink), before(os.link)  # type: ignore[assignment]
            Displaced.install = before(Displaced.install)  # type: ignore[method-assign, assignment]
            Displaced.remove = before(Displaced.remove)  # type: ignore[method-assign, assignment]
            act()
            os._exit(0)
        except BaseException:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, KILLED)
    return code == KILLED


def _replaced(tree: Underneath) -> None:
    assert flags_at(tree.path / "d") == b"i"
    old, name = tree.path / "d/old", tree.path / "d/name"
    assert (old.read_bytes(), flags_at(old)) in ((b"old", b"i"), (b"new", b"a"))
    assert (name.read_bytes(), flags_at(name)) == (b"old", b"i")


def _removed(tree: Underneath) -> None:
    assert flags_at(tree.path / "d") == b"i"
    old = tree.path / "d/old"
    assert not old.exists() or flags_at(old) == b"i"
    assert flags_at(tree.path / "d/name") == b"i"


def _changed(tree: Underneath) -> None:
    assert flags_at(tree.path / "d/old") in (b"i", b"a")


def _linked(tree: Underneath) -> None:
    assert (flags_at(tree.path / "d"), flags_at(tree.path / "d/old")) == (b"i", b"i")


@pytest.mark.parametrize(
    ("action", "check"),
    [
        (lambda tree: tree.take("d/old", Install(tree.stage(), b"", b"a")), _replaced),
        (lambda tree: tree.take("d/old", Remove()), _removed),
        (lambda tree: tree.take("d/old", Attributes(mode=0o600, xattrs=((FLAGS, b"a"),))), _changed),
        (lambda tree: tree.take("d/new", Link(RelPath(b"d/old"), tree.stamp("d/old"), b"0.2")), _linked),
    ],
    ids=["install", "remove", "attributes", "link"],
)
def test_what_a_killed_mount_has_lifted_the_next_one_puts_on(
    tmp_path: Path, action: Callable[[Underneath], object], check: Callable[[Underneath], None]
) -> None:
    step, is_killed = 0, True
    while is_killed:
        (tmp_path / str(step)).mkdir()
        with contextlib.closing(Underneath(tmp_path / str(step))) as tree:
            os.link(tree.path / "d/old", tree.path / "d/name")
            chattr("+i", tree.path / "d/old", tree.path / "d")
            is_killed = _killed_at(step, lambda tree=tree: action(tree))  # type: ignore[misc]
            tree.recover()
            check(tree)
            extra = [one for one in (tree.path / ".csfs/stage").iterdir() if flags_at(one)]
            assert extra == [], "the daemon could not remove it"
        step += 1
    assert step > 4


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
