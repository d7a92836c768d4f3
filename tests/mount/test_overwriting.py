"""Files that a commit overwrites in place: what is refused, and that nobody sees what was there before, or a part of both."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from csfs.core.objects import Stamp
from csfs.core.paths import RelPath
from csfs.store import redo
from csfs.store.hashing import BLOCK_SIZE, block_hash
from csfs.store.overwriting import write_log
from csfs.wire.control import STAGE, CommitResult, Outcome, Overwrite
from scripts.support.members import kill, until
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted

pytestmark = pytest.mark.mount
Served = tuple[Mounted, FakeDaemon]

OLD = b"old " * 50_000
NEW = b"new " + OLD[4:100_000] + b"and some more" + OLD[100_013:] + b"at the end"
PIECES = ((0, b"new "), (100_000, b"and some more"), (len(OLD), b"at the end"))
MTIME_NS = 1_500_000_000_000_000_000


def prepared(daemon: FakeDaemon, path: bytes = b"file", expected: Stamp | None = None) -> Stamp:
    """Write a redo log for a file, and return the stamp that it shows."""
    stamp = expected or daemon.stamp(path)
    assert stamp is not None
    blocks = tuple(
        (number, block_hash(NEW[number * BLOCK_SIZE :][:BLOCK_SIZE])) for number in range(-(-len(NEW) // BLOCK_SIZE))
    )
    steps = (redo.Written(PIECES, len(NEW)),)
    stage = os.open(STAGE, os.O_RDONLY | os.O_DIRECTORY, dir_fd=daemon.root)
    try:
        log = redo.Redo(RelPath(path), redo.boot_id(), stamp, steps, MTIME_NS, BLOCK_SIZE, blocks)
        write_log(stage, b"1.1", log)
    finally:
        os.close(stage)
    return stamp


def overwritten(daemon: FakeDaemon) -> CommitResult:
    return daemon.announce(b"file", prepared(daemon), Overwrite(b"1.1"))


def stage_of(daemon: FakeDaemon) -> list[str]:
    stage = os.open(STAGE, os.O_RDONLY | os.O_DIRECTORY, dir_fd=daemon.root)
    try:
        return os.listdir(stage)
    finally:
        os.close(stage)


def test_what_the_kernel_has_of_a_file_is_not_believed_once_it_was_overwritten(served: Served) -> None:
    volume, daemon = served
    file = volume.path / "file"
    file.write_bytes(OLD)
    for number in range(20):
        assert file.read_bytes() in (OLD, NEW)
        inode = file.stat().st_ino
        file.write_bytes(OLD)
        assert file.read_bytes() == OLD, "and is in the kernel's memory"
        daemon.flushed()
        result = overwritten(daemon)
        assert (result.outcome, result.refresh) == (Outcome.DONE, True)
        assert file.read_bytes() == NEW, number
        status = file.stat()
        assert (status.st_ino, status.st_size, status.st_mtime_ns) == (inode, len(NEW), MTIME_NS)
        assert result.stamp == daemon.stamp(b"file")
        assert stage_of(daemon) == ["done.1.1"]
        os.unlink(STAGE + b"/done.1.1", dir_fd=daemon.root)


def test_nothing_of_it_is_a_change_of_this_host(served: Served) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(OLD)
    daemon.flushed()
    daemon.flushed()
    assert overwritten(daemon).outcome == Outcome.DONE
    assert daemon.flushed() == []


def test_a_file_that_somebody_has_open_is_left_alone(served: Served) -> None:
    volume, daemon = served
    file = volume.path / "file"
    file.write_bytes(OLD)
    daemon.flushed()
    with file.open("rb"):
        assert overwritten(daemon).outcome == Outcome.BUSY
    assert file.read_bytes() == OLD
    assert stage_of(daemon) == ["redo.1.1"]


def test_a_file_with_another_name_is_left_alone(served: Served) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(OLD)
    os.link(volume.path / "file", volume.path / "other")
    daemon.flushed()
    assert overwritten(daemon).outcome == Outcome.BUSY
    assert (volume.path / "other").read_bytes() == OLD


def test_a_row_that_the_daemon_has_not_digested_refuses_it(served: Served) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(OLD)
    daemon.flushed()
    expected = prepared(daemon)
    (volume.path / "file").chmod(0o600)
    assert daemon.announce(b"file", expected, Overwrite(b"1.1")).outcome == Outcome.REFUSED
    assert (volume.path / "file").read_bytes() == OLD


@pytest.mark.parametrize("name", [b"no.such", b"../x"])
def test_a_log_that_is_not_there_changes_nothing(served: Served, name: bytes) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(OLD)
    daemon.flushed()
    assert daemon.announce(b"file", prepared(daemon), Overwrite(name)).outcome == Outcome.FAILED
    assert (volume.path / "file").read_bytes() == OLD


def test_a_log_of_another_file_changes_nothing(served: Served) -> None:
    volume, daemon = served
    (volume.path / "file").write_bytes(OLD)
    (volume.path / "another").write_bytes(OLD)
    daemon.flushed()
    prepared(daemon, b"another")
    assert daemon.announce(b"file", daemon.stamp(b"file"), Overwrite(b"1.1")).outcome == Outcome.FAILED
    assert (volume.path / "file").read_bytes() == OLD


def test_what_a_killed_mount_had_begun_is_finished_before_anybody_can_look(served: Served) -> None:
    volume, daemon = served
    file: Path = volume.path / "file"
    file.write_bytes(OLD)
    daemon.flushed()
    begun(daemon)
    child = volume.pids()[1]
    os.kill(child, signal.SIGKILL)
    until(lambda: volume.pids()[1] != child and volume.is_mounted, "mounted again")
    assert file.read_bytes() == NEW
    assert file.stat().st_mtime_ns == MTIME_NS


def begun(daemon: FakeDaemon) -> None:
    """Leave what a mount process leaves that is killed between two pieces."""
    prepared(daemon)
    os.rename(STAGE + b"/redo.1.1", STAGE + b"/begun.1.1", src_dir_fd=daemon.root, dst_dir_fd=daemon.root)
    descriptor = os.open(b"file", os.O_WRONLY, dir_fd=daemon.root)
    os.pwrite(descriptor, PIECES[0][1], 0)
    os.close(descriptor)


def test_who_comes_there_after_a_kill_finds_it_finished_and_what_he_writes_stays(served: Served) -> None:
    volume, daemon = served
    file: Path = volume.path / "file"
    file.write_bytes(OLD)
    daemon.flushed()
    begun(daemon)
    child = volume.pids()[1]
    kill(child, signal.SIGKILL)
    offset, piece = PIECES[1]
    theirs = b"S" * len(piece)

    def written() -> bool:
        with file.open("r+b", buffering=0) as opened:
            found = opened.read()
            opened.seek(offset)
            opened.write(theirs)
        assert found == NEW, "a part of it"
        return True

    until(written, "somebody can write to it again")
    until(lambda: volume.pids()[1] != child and volume.is_mounted, "mounted again")
    assert file.read_bytes() == NEW[:offset] + theirs + NEW[offset + len(piece) :]


def test_where_flags_are_lifted_nobody_comes_before_they_are_on_again(served: Served) -> None:
    volume, daemon = served
    flagged = volume.path / "flagged"
    flagged.mkdir()
    file = flagged / "file"
    file.write_bytes(OLD)
    daemon.flushed()
    os.symlink(b"%d=i /flagged/file" % file.stat().st_ino, b".csfs/lifted", dir_fd=daemon.root)
    child = volume.pids()[1]
    kill(child, signal.SIGKILL)

    def taken() -> bool:
        try:
            file.rename(volume.path / "elsewhere")
        except PermissionError:
            return True
        raise AssertionError("it was renamed")

    try:
        until(taken, "somebody can come there again")
        until(lambda: volume.pids()[1] != child and volume.is_mounted, "mounted again")
    finally:
        subprocess.run(["chattr", "-i", file], check=True)
