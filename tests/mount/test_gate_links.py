"""Commits to names of one inode, driven through a real mount by a daemon's end of the control socket."""

import os

import pytest

from csfs.core.objects import Stamp
from csfs.core.paths import RelPath
from csfs.wire.control import KEPT, STAGE, Attributes, CommitResult, CommitResults, Install, Link, Outcome, Remove
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted

pytestmark = pytest.mark.mount
Served = tuple[Mounted, FakeDaemon]


def link_to(daemon: FakeDaemon, source: bytes, staged: bytes, kept: bytes = b"") -> Link:
    stamp = daemon.stamp(source)
    assert stamp is not None
    return Link(RelPath(source), stamp, staged, kept)


def is_one(daemon: FakeDaemon, *paths: bytes) -> bool:
    stamps = [daemon.stamp(path) for path in paths]
    return all(stamps) and len({stamp.inode for stamp in stamps if stamp is not None}) == 1


def committed(daemon: FakeDaemon, path: bytes, expected: Stamp | None, action: Link) -> CommitResult:
    """Announce a link, and make the call if it has to be made."""
    result = daemon.announce(path, expected, action)
    if result.outcome == Outcome.THROUGH:
        daemon.install_through(action.staged, path)
        return daemon.result()
    return result


def test_a_name_that_the_kernel_does_not_know_is_linked_underneath(served: Served) -> None:
    volume, daemon = served
    os.mkdir(b"sub", dir_fd=daemon.root)
    os.close(os.open(b"sub/a", os.O_CREAT | os.O_WRONLY, dir_fd=daemon.root))
    result = daemon.announce(b"sub/b", None, link_to(daemon, b"sub/a", b"0.1"))
    assert (result.outcome, result.links, result.refresh) == (Outcome.DONE, 2, False)
    assert result.stamp == daemon.stamp(b"sub/b")
    assert is_one(daemon, b"sub/a", b"sub/b")
    assert (volume.path / "sub/a").stat().st_nlink == 2
    assert daemon.flushed() == []


def test_a_new_name_is_linked_through_the_mount_and_the_number_of_links_is_right(served: Served) -> None:
    volume, daemon = served
    (volume.path / "a").write_bytes(b"content")
    assert (volume.path / "a").stat().st_nlink == 1
    daemon.flushed()
    result = committed(daemon, b"b", None, link_to(daemon, b"a", b"1.1"))
    assert (result.outcome, result.links) == (Outcome.DONE, 2)
    assert result.stamp == daemon.stamp(b"b")
    assert [(volume.path / name).stat().st_nlink for name in ("a", "b")] == [2, 2]
    assert (volume.path / "a").stat().st_ctime_ns == os.stat(b"a", dir_fd=daemon.root).st_ctime_ns
    assert daemon.flushed() == []


def test_the_kernel_learns_that_what_it_knows_has_a_name_elsewhere(served: Served) -> None:
    volume, daemon = served
    (volume.path / "a").write_bytes(b"content")
    os.mkdir(b"sub", dir_fd=daemon.root)
    daemon.flushed()
    assert (volume.path / "a").stat().st_nlink == 1
    result = daemon.announce(b"sub/b", None, link_to(daemon, b"a", b"1.1"))
    assert (result.outcome, result.refresh) == (Outcome.DONE, True)
    daemon.through(lambda: os.chmod(b"sub/b", 0, dir_fd=daemon.clone))
    assert (volume.path / "a").stat().st_nlink == 2
    assert (volume.path / "sub/b").read_bytes() == b"content"
    assert daemon.flushed() == []


def test_a_file_is_replaced_by_a_name_of_another_and_kept(served: Served) -> None:
    volume, daemon = served
    (volume.path / "a").write_bytes(b"content")
    (volume.path / "b").write_bytes(b"old")
    daemon.flushed()
    result = committed(daemon, b"b", daemon.stamp(b"b"), link_to(daemon, b"a", b"1.1", b"k1"))
    assert result.outcome == Outcome.DONE
    assert (volume.path / "b").read_bytes() == b"content"
    assert (volume.path / "b").stat().st_nlink == 2
    assert daemon.read(KEPT + b"/k1") == b"old"
    assert os.listdir(os.open(STAGE, os.O_RDONLY, dir_fd=daemon.root)) == []


def test_all_names_of_one_inode_are_replaced_though_each_commit_moves_its_stamp(served: Served) -> None:
    volume, daemon = served
    (volume.path / "a").write_bytes(b"old")
    for name in ("b", "c"):
        os.link(volume.path / "a", volume.path / name)
    daemon.flushed()
    expected = daemon.stamp(b"a")
    staged = daemon.stage(b"1.1", b"new")
    assert daemon.announce(b"a", expected, Install(staged)).outcome == Outcome.THROUGH
    daemon.install_through(staged, b"a")
    assert daemon.result().outcome == Outcome.DONE
    for name in (b"b", b"c"):
        assert committed(daemon, name, expected, link_to(daemon, b"a", b"1." + name)).outcome == Outcome.DONE
    assert is_one(daemon, b"a", b"b", b"c")
    assert {(volume.path / name).read_bytes() for name in ("a", "b", "c")} == {b"new"}
    assert (volume.path / "a").stat().st_nlink == 3
    assert daemon.flushed() == []


def test_a_batch_of_one_inode_is_announced_whole_before_its_first_call(served: Served) -> None:
    volume, daemon = served
    (volume.path / "a").write_bytes(b"old")
    os.link(volume.path / "a", volume.path / "b")
    daemon.flushed()
    expected, staged = daemon.stamp(b"a"), daemon.stage(b"1.1", b"new")
    built = daemon.stamp(STAGE + b"/" + staged)
    assert built is not None
    assert daemon.announce(b"a", expected, Install(staged)).outcome == Outcome.THROUGH
    assert daemon.announce(b"b", expected, Link(RelPath(b"a"), built, b"1.2")).outcome == Outcome.THROUGH
    daemon._next_id -= 1
    daemon.install_through(staged, b"a")
    assert daemon.result().outcome == Outcome.DONE
    daemon._next_id += 1
    daemon.install_through(b"1.2", b"b")
    assert daemon.result().outcome == Outcome.DONE
    assert is_one(daemon, b"a", b"b")
    assert [(volume.path / name).stat().st_nlink for name in ("a", "b")] == [2, 2]
    assert daemon.flushed() == []


def test_a_link_to_what_is_refused_in_the_same_batch_is_refused(served: Served) -> None:
    volume, daemon = served
    (volume.path / "a").write_bytes(b"old")
    os.link(volume.path / "a", volume.path / "b")
    daemon.flushed()
    expected, staged = daemon.stamp(b"a"), daemon.stage(b"1.1", b"new")
    built = daemon.stamp(STAGE + b"/" + staged)
    assert built is not None
    daemon.announce(b"a", expected, Install(staged))
    daemon.announce(b"b", expected, Link(RelPath(b"a"), built, b"1.2"))
    (volume.path / "a").write_bytes(b"newer")
    with pytest.raises(BlockingIOError):
        daemon.install_through(staged, b"a")
    results = [result for _ in range(2) for result in daemon.expect(CommitResults).results]
    assert {result.outcome for result in results} == {Outcome.REFUSED}
    assert (volume.path / "b").read_bytes() == b"newer"


def test_attributes_set_through_one_name_do_not_refuse_the_next_commit_to_another(served: Served) -> None:
    volume, daemon = served
    (volume.path / "a").write_bytes(b"old")
    os.link(volume.path / "a", volume.path / "b")
    daemon.flushed()
    expected = daemon.stamp(b"a")
    assert daemon.announce(b"a", expected, Attributes(mode=0o600)).outcome == Outcome.DONE
    assert daemon.announce(b"b", expected, Remove()).outcome == Outcome.THROUGH
    daemon.through(lambda: os.unlink(b"b", dir_fd=daemon.clone))
    assert daemon.result().outcome == Outcome.DONE
    daemon.through(lambda: os.chmod(b"a", 0, dir_fd=daemon.clone))
    assert ((volume.path / "a").stat().st_nlink, (volume.path / "a").stat().st_mode & 0o777) == (1, 0o600)


def test_a_write_through_a_name_that_is_not_committed_to_refuses_the_commit(served: Served) -> None:
    volume, daemon = served
    (volume.path / "a").write_bytes(b"old")
    os.link(b"a", b"unknown", src_dir_fd=daemon.root, dst_dir_fd=daemon.root)
    daemon.flushed()
    expected = daemon.stamp(b"unknown")
    os.utime(volume.path / "a", ns=(1, 1))
    assert daemon.announce(b"unknown", daemon.stamp(b"unknown"), Remove()).outcome == Outcome.REFUSED
    daemon.flushed()
    assert daemon.announce(b"unknown", expected, Remove()).outcome == Outcome.REFUSED


def test_what_was_changed_meanwhile_is_not_linked_to(served: Served) -> None:
    volume, daemon = served
    (volume.path / "a").write_bytes(b"content")
    daemon.flushed()
    action = link_to(daemon, b"a", b"1.1")
    with open(volume.path / "a", "ab", buffering=0) as file:
        file.write(b" more")
        assert daemon.announce(b"b", None, action).outcome in (Outcome.REFUSED, Outcome.BUSY)
    daemon.flushed()
    assert daemon.announce(b"b", None, action).outcome == Outcome.REFUSED
    assert not (volume.path / "b").exists()
    assert os.listdir(os.open(STAGE, os.O_RDONLY, dir_fd=daemon.root)) == []


def test_what_is_displaced_and_lives_on_under_another_name_is_not_gone_when_it_is_closed(served: Served) -> None:
    volume, daemon = served
    (volume.path / "a").write_bytes(b"old")
    os.link(volume.path / "a", volume.path / "b")
    with open(volume.path / "b", "r+b", buffering=0) as file:
        daemon.flushed()
        staged = daemon.stage(b"1.1", b"new")
        daemon.announce(b"b", daemon.stamp(b"b"), Install(staged))
        daemon.install_through(staged, b"b")
        assert daemon.result().outcome == Outcome.DONE
        file.write(b"late")
    (row,) = daemon.flushed()
    assert row.path == b"a"
    assert (volume.path / "a").read_bytes() == b"late"
    assert (volume.path / "a").stat().st_nlink == 1
    assert os.listdir(os.open(KEPT, os.O_RDONLY, dir_fd=daemon.root)) == []


def test_a_link_out_of_the_volume_is_refused(served: Served) -> None:
    volume, daemon = served
    (volume.path / "a").write_bytes(b"content")
    daemon.flushed()
    stamp = daemon.stamp(b"a")
    assert stamp is not None
    for source, staged in ((b"../a", b"1.1"), (b"a", b"../1.1"), (b".csfs/identity", b"1.1")):
        assert daemon.announce(b"b", None, Link(RelPath(source), stamp, staged)).outcome == Outcome.FAILED
