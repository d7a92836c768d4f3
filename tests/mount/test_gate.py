"""The commit gate, driven through a real mount by a daemon's end of the control socket."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from csfs.core.changes import ChangeKind
from csfs.core.paths import RelPath
from csfs.mount import syscalls
from csfs.wire.control import KEPT, STAGE, Attributes, Install, Move, Outcome, Refresh, Refreshed, Remove, Stale
from scripts.support.members import until
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted, run_as_user
from tests.mount.watching import Watch

pytestmark = pytest.mark.mount
Served = tuple[Mounted, FakeDaemon]


def test_a_new_file_in_the_root_is_installed_through_the_mount(served: Served) -> None:
    volume, daemon = served
    staged = daemon.stage(b"0.1", b"new")
    assert daemon.announce(b"file", None, Install(staged)).outcome == Outcome.THROUGH
    assert not (volume.path / "file").exists()  # the kernel now believes that it is absent
    daemon.install_through(staged, b"file")
    result = daemon.result()
    assert result.outcome == Outcome.DONE
    assert result.stamp == daemon.stamp(b"file")
    assert (volume.path / "file").read_bytes() == b"new"
    assert daemon.flushed() == []


def test_a_place_that_the_kernel_does_not_know_is_committed_underneath(served: Served) -> None:
    volume, daemon = served
    os.mkdir(b"sub", dir_fd=daemon.root)
    staged = daemon.stage(b"0.1", b"new")
    result = daemon.announce(b"sub/file", None, Install(staged))
    assert result.outcome == Outcome.DONE
    assert result.stamp == daemon.stamp(b"sub/file")
    assert (volume.path / "sub" / "file").read_bytes() == b"new"
    assert daemon.flushed() == []


def test_an_existing_file_is_replaced_and_kept(served: Served) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(b"old")
    daemon.flushed()
    staged = daemon.stage(b"1.1", b"new")
    assert daemon.announce(b"file", daemon.stamp(b"file"), Install(staged, b"k1")).outcome == Outcome.THROUGH
    daemon.install_through(staged, b"file")
    assert daemon.result().outcome == Outcome.DONE
    assert (volume.path / "file").read_bytes() == b"new"
    assert daemon.read(KEPT + b"/k1") == b"old"
    assert os.listdir(os.open(STAGE, os.O_RDONLY, dir_fd=daemon.root)) == []
    assert daemon.flushed() == []


def test_an_install_that_cannot_keep_what_it_displaces_changes_nothing(served: Served) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(b"old")
    daemon.flushed()
    os.close(os.open(KEPT + b"/taken", os.O_CREAT | os.O_WRONLY, dir_fd=daemon.root))
    staged = daemon.stage(b"1.1", b"new")
    assert daemon.announce(b"file", daemon.stamp(b"file"), Install(staged, b"taken")).outcome == Outcome.THROUGH
    with pytest.raises(FileExistsError):
        daemon.install_through(staged, b"file")
    assert daemon.result().outcome == Outcome.FAILED
    assert (volume.path / "file").read_bytes() == b"old"
    assert daemon.read(STAGE + b"/" + staged) == b"new"


def test_a_local_write_that_the_daemon_has_not_digested_refuses_the_commit(served: Served) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(b"old")
    daemon.flushed()
    staged, expected = daemon.stage(b"1.1", b"new"), daemon.stamp(b"file")
    (volume.path / "file").chmod(0o600)
    result = daemon.announce(b"file", expected, Install(staged))
    assert result.outcome == Outcome.REFUSED
    assert result.stamp == daemon.stamp(b"file")
    assert (volume.path / "file").read_bytes() == b"old"


def test_a_local_write_between_announcement_and_rename_refuses_the_commit(served: Served) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(b"old")
    daemon.flushed()
    staged = daemon.stage(b"1.1", b"new")
    assert daemon.announce(b"file", daemon.stamp(b"file"), Install(staged)).outcome == Outcome.THROUGH
    (volume.path / "file").write_bytes(b"newer")
    with pytest.raises(BlockingIOError):
        daemon.install_through(staged, b"file")
    assert daemon.result().outcome == Outcome.REFUSED
    assert (volume.path / "file").read_bytes() == b"newer"


def test_a_rename_of_a_directory_above_refuses_the_commit(served: Served) -> None:
    volume, daemon = served
    (volume.path / "a" / "b").mkdir(parents=True)
    daemon.flushed()
    (volume.path / "a").rename(volume.path / "c")
    staged = daemon.stage(b"1.1", b"new")
    assert daemon.announce(b"c/b/file", None, Install(staged)).outcome == Outcome.REFUSED


def test_a_stamp_that_is_not_as_expected_refuses_the_commit(served: Served) -> None:
    _, daemon = served
    descriptor = os.open(b"file", os.O_WRONLY | os.O_CREAT, dir_fd=daemon.root)  # behind the mount's back
    os.close(descriptor)
    assert daemon.announce(b"file", None, Install(daemon.stage(b"0.1", b"new"))).outcome == Outcome.REFUSED


def test_a_file_with_bytes_that_no_row_tells_is_busy(served: Served) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(b"old")
    daemon.flushed()
    with open(volume.path / "file", "r+b", buffering=0) as file:
        file.write(b"OLD")
        result = daemon.announce(b"file", daemon.stamp(b"file"), Install(daemon.stage(b"1.1", b"new")))
        assert result.outcome == Outcome.BUSY


def test_what_is_written_to_a_displaced_file_is_told_with_its_kept_name(served: Served) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(b"old")
    with open(volume.path / "file", "r+b", buffering=0) as file:
        daemon.flushed()
        staged = daemon.stage(b"1.1", b"new")
        daemon.announce(b"file", daemon.stamp(b"file"), Install(staged, b"k1"))
        daemon.install_through(staged, b"file")
        assert daemon.result().outcome == Outcome.DONE
        file.write(b"late")
        assert os.fstat(file.fileno()).st_nlink == 0
    (row,) = daemon.flushed()
    assert (row.kind, row.path, row.kept) == (ChangeKind.DISPLACED, b"file", b"k1")
    assert row.extents == ((0, 4),)
    assert daemon.read(KEPT + b"/k1") == b"late"
    assert (volume.path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("late", [b"", b"late"])
def test_a_displaced_file_nobody_asked_to_keep_is_kept_only_if_written_to(served: Served, late: bytes) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(b"old")
    with open(volume.path / "file", "r+b", buffering=0) as file:
        daemon.flushed()
        daemon.announce(b"file", daemon.stamp(b"file"), Remove())
        daemon.through(lambda: os.unlink(b"file", dir_fd=daemon.clone))
        assert daemon.result().outcome == Outcome.DONE
        assert not (volume.path / "file").exists()
        file.write(late)
    rows = daemon.flushed()
    kept = os.listdir(os.open(KEPT, os.O_RDONLY, dir_fd=daemon.root))
    assert [row.kept for row in rows] == [os.fsencode(name) for name in kept]
    assert len(kept) == (1 if late else 0)


def test_a_removed_file_is_kept_and_gone_for_everybody(served: Served) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(b"old")
    daemon.flushed()
    assert daemon.announce(b"file", daemon.stamp(b"file"), Remove(b"k1")).outcome == Outcome.THROUGH
    daemon.through(lambda: os.unlink(b"file", dir_fd=daemon.clone))
    assert daemon.result().stamp is None
    assert not (volume.path / "file").exists()
    assert daemon.read(KEPT + b"/k1") == b"old"


def test_a_directory_is_removed_only_when_it_is_empty(served: Served) -> None:
    volume, daemon = served
    (volume.path / "d").mkdir()
    (volume.path / "d" / "file").touch()
    daemon.flushed()
    daemon.announce(b"d", daemon.stamp(b"d"), Remove())
    with pytest.raises(OSError):
        daemon.through(lambda: os.rmdir(b"d", dir_fd=daemon.clone))
    assert daemon.result().outcome == Outcome.FAILED
    assert (volume.path / "d" / "file").exists()


def test_attributes_are_set_at_once_and_seen_after_a_refresh(served: Served) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(b"old")
    (volume.path / "file").stat()
    daemon.flushed()
    wanted = Attributes(mode=0o4750, uid=12, gid=34, mtime_ns=1_234_567_890_123_456_789, xattrs=((b"user.x", b"y"),))
    result = daemon.announce(b"file", daemon.stamp(b"file"), wanted)
    assert result.outcome == Outcome.DONE
    assert result.refresh
    assert result.stamp == daemon.stamp(b"file")
    daemon.through(lambda: os.chmod(b"file", 0, dir_fd=daemon.clone))
    status = (volume.path / "file").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o4750, 12, 34)
    assert status.st_mtime_ns == 1_234_567_890_123_456_789
    assert os.getxattr(volume.path / "file", b"user.x") == b"y"
    assert daemon.flushed() == []


@pytest.mark.parametrize(
    "make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("x")], ids=["file", "dir", "link"]
)
def test_attributes_that_no_refresh_followed_are_seen_once_the_daemon_is_gone(
    served: Served, make: Callable[[Path], object]
) -> None:
    volume, daemon = served
    make(volume.path / "it")
    (volume.path / "it").lstat()
    daemon.flushed()
    result = daemon.announce(b"it", daemon.stamp(b"it"), Attributes(uid=12, gid=34, mtime_ns=1_234_567_890_000_000_001))
    assert result.refresh
    daemon.send_raw(b"\xff" * 16)  # nonsense: the connection is dropped, as a daemon's that was killed
    until(lambda: (volume.path / "it").lstat().st_uid == 12, "the kernel asks anew")
    assert (volume.path / "it").lstat().st_mtime_ns == 1_234_567_890_000_000_001


def test_attributes_of_what_was_renamed_before_the_refresh_count_once_the_mount_is_told(served: Served) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(b"secret")
    run_as_user("cat file >/dev/null", volume.path)
    daemon.flushed()
    stamp = daemon.stamp(b"file")
    assert stamp is not None
    assert daemon.announce(b"file", stamp, Attributes(mode=0o600)).refresh
    (volume.path / "file").rename(volume.path / "renamed")
    run_as_user("cat renamed >/dev/null", volume.path)  # the kernel goes by what it remembers, for hours
    daemon.send(Refresh(1, (Stale(RelPath(b"file"), stamp.inode, named=False),)))
    assert daemon.expect(Refreshed).token == 1
    run_as_user("! cat renamed 2>/dev/null", volume.path)


def test_a_watcher_of_the_directory_sees_a_commit_as_it_sees_a_rename(served: Served) -> None:
    volume, daemon = served
    with Watch(volume.path) as watch:
        staged = daemon.stage(b"0.1", b"new")
        daemon.announce(b"file", None, Install(staged))
        daemon.install_through(staged, b"file")
        assert daemon.result().outcome == Outcome.DONE
        assert watch.events() == [(Watch.MOVED_TO, b"file")]


def test_unmounting_is_never_busy_while_commits_run(served: Served) -> None:
    volume, daemon = served
    staged = {b"file%d" % number: daemon.stage(b"0.%d" % number, b"new") for number in range(20)}
    for path, name in staged.items():
        assert daemon.announce(path, None, Install(name)).outcome == Outcome.THROUGH
    for path, name in staged.items():
        daemon.commit_thread.submit(daemon.install_through_here, name, path)
    assert volume.command("stop") == ""
    assert not volume.is_mounted
    assert {path.read_bytes() for path in volume.path.iterdir() if path.is_file()} <= {b"new"}


def test_a_move_renames_through_the_mount(served: Served) -> None:
    volume, daemon = served
    (volume.path / "old").write_bytes(b"x")
    daemon.flushed()
    stamp = daemon.stamp(b"old")
    assert stamp is not None
    assert daemon.announce(b"new", None, Move(RelPath(b"old"), stamp)).outcome == Outcome.THROUGH
    daemon.through(lambda: os.rename(b"old", b"new", src_dir_fd=daemon.clone, dst_dir_fd=daemon.clone))
    assert daemon.result().outcome == Outcome.DONE
    assert os.listdir(volume.path) == ["new"]
    assert daemon.flushed() == []


def test_a_commit_thread_can_do_nothing_that_was_not_announced(served: Served) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(b"old")
    staged = daemon.stage(b"1.1", b"new")
    with pytest.raises(PermissionError):
        daemon.install_through(staged, b"file")
    with pytest.raises(PermissionError):
        daemon.through(lambda: os.unlink(b"file", dir_fd=daemon.clone))


@pytest.mark.parametrize("path", [b"../x", b".csfs/identity", b"a//b", b"/etc/passwd"])
def test_a_path_out_of_the_volume_is_not_committed(served: Served, path: bytes) -> None:
    _, daemon = served
    assert daemon.announce(path, None, Install(daemon.stage(b"0.1", b"new"))).outcome == Outcome.FAILED


def test_a_symlink_on_the_way_is_not_followed(served: Served) -> None:
    volume, daemon = served
    (volume.path / "way").symlink_to("/tmp")
    daemon.flushed()
    assert daemon.announce(b"way/file", None, Install(daemon.stage(b"1.1", b"new"))).outcome == Outcome.FAILED


def test_the_reserved_directory_is_seen_by_the_commit_thread_alone(served: Served) -> None:
    volume, daemon = served
    assert daemon.through(lambda: os.stat(b".csfs", dir_fd=daemon.clone)).st_ino
    assert not (volume.path / ".csfs").exists()
    assert os.listdir(volume.path) == []
    assert volume.path.stat().st_nlink == 2
    with pytest.raises(PermissionError):
        (volume.path / ".csfs").mkdir()
    with pytest.raises(FileNotFoundError):
        os.stat(volume.path / ".csfs" / "stage")


# ------------------------------------------------------------------------------- where only commit threads have come by


def _made(daemon: FakeDaemon, name: bytes = b"made") -> None:
    """A commit makes a directory in the root, through the kernel, where no program has looked yet."""
    staged = b"0.9" + name
    os.mkdir(STAGE + b"/" + staged, dir_fd=daemon.root)
    assert daemon.announce(name, None, Install(staged)).outcome == Outcome.THROUGH
    daemon.install_through(staged, name)
    assert daemon.result().outcome == Outcome.DONE


def test_what_commits_have_made_and_no_program_has_seen_is_committed_to_underneath(served: Served) -> None:
    volume, daemon = served
    _made(daemon)
    daemon.look(b"made/file")  # the kernel is not to believe that nothing is there
    assert daemon.announce(b"made/file", None, Install(daemon.stage(b"0.1", b"new"))).outcome == Outcome.DONE
    assert (volume.path / "made" / "file").read_bytes() == b"new"
    assert os.listdir(volume.path / "made") == ["file"]
    assert daemon.flushed() == []


def test_what_a_program_has_seen_of_it_is_committed_to_through_the_kernel(served: Served) -> None:
    volume, daemon = served
    _made(daemon)
    with Watch(volume.path / "made") as watch:
        staged = daemon.stage(b"0.1", b"new")
        assert daemon.announce(b"made/file", None, Install(staged)).outcome == Outcome.THROUGH
        daemon.install_through(staged, b"made/file")
        assert daemon.result().outcome == Outcome.DONE
        assert watch.events() == [(Watch.MOVED_TO, b"file")]


def test_a_program_that_only_passes_through_has_seen_it(served: Served) -> None:
    volume, daemon = served
    _made(daemon)
    with pytest.raises(FileNotFoundError):
        (volume.path / "made" / "absent").stat()
    assert daemon.announce(b"made/absent", None, Install(daemon.stage(b"0.1", b"new"))).outcome == Outcome.THROUGH


def test_a_program_that_comes_by_the_parent_of_what_was_moved_has_seen_it(served: Served) -> None:
    volume, daemon = served
    _made(daemon)
    (volume.path / "moves").mkdir()
    inside = os.open(volume.path / "moves", os.O_RDONLY)
    daemon.flushed()
    stamp = daemon.stamp(b"moves")
    assert stamp is not None
    assert daemon.announce(b"made/moves", None, Move(RelPath(b"moves"), stamp)).outcome == Outcome.THROUGH
    daemon.through(lambda: os.rename(b"moves", b"made/moves", src_dir_fd=daemon.clone, dst_dir_fd=daemon.clone))
    assert daemon.result().outcome == Outcome.DONE
    with Watch(Path(f"/proc/self/fd/{inside}/..")) as watch:
        staged = daemon.stage(b"1.1", b"new")
        assert daemon.announce(b"made/file", None, Install(staged)).outcome == Outcome.THROUGH
        daemon.install_through(staged, b"made/file")
        assert daemon.result().outcome == Outcome.DONE
        assert watch.events() == [(Watch.MOVED_TO, b"file")]
    os.close(inside)


def test_a_handle_leads_to_what_no_name_has_led_to(served: Served) -> None:
    volume, daemon = served
    _made(daemon)
    daemon.look(b"made/file")
    top = os.open(volume.path, os.O_RDONLY | os.O_DIRECTORY)
    handle = daemon.through(lambda: syscalls.handle_at(daemon.clone, b"made"))
    os.close(syscalls.open_by_handle(top, handle, os.O_RDONLY | os.O_DIRECTORY))
    os.close(top)
    assert daemon.announce(b"made/file", None, Install(daemon.stage(b"0.1", b"new"))).outcome == Outcome.THROUGH


def test_what_is_replaced_and_removed_underneath_is_seen_by_whoever_comes(served: Served) -> None:
    volume, daemon = served
    _made(daemon)
    for number, content in enumerate([b"first", b"second"], 1):
        expected = daemon.stamp(b"made/file") if number > 1 else None
        daemon.look(b"made/file")
        staged = daemon.stage(b"0.%d" % number, content)
        assert daemon.announce(b"made/file", expected, Install(staged)).outcome == Outcome.DONE
    os.mkdir(b"made/sub", dir_fd=daemon.root)
    daemon.look(b"made/sub/x")
    assert daemon.announce(b"made/sub", daemon.stamp(b"made/sub"), Remove()).outcome == Outcome.DONE
    wanted = Attributes(mode=0o750, uid=12, gid=34)
    result = daemon.announce(b"made/file", daemon.stamp(b"made/file"), wanted)
    assert (result.outcome, result.refresh) == (Outcome.DONE, False)
    result = daemon.announce(b"made", daemon.stamp(b"made"), wanted)
    assert (result.outcome, result.refresh) == (Outcome.DONE, True), "who watches the directory above is told"
    assert (volume.path / "made" / "file").read_bytes() == b"second"
    assert not (volume.path / "made" / "sub").exists()
    status = (volume.path / "made").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o750, 12, 34)
    assert daemon.announce(b"made/file", daemon.stamp(b"made/file"), Remove()).outcome == Outcome.THROUGH
    assert daemon.flushed() == []
