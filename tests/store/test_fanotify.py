"""What fanotify tells of a file system: names, processes, and nothing of what is to be left out."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csfs.store import fanotify
from csfs.store.fanotify import Batch, Event, Group


@pytest.fixture
def watched(tmp_path: Path, mounted_tmpfs: Callable[..., None]) -> Path:
    """A file system that nobody else uses."""
    path = tmp_path / "watched"
    path.mkdir()
    mounted_tmpfs(path, "size=16m")
    return path


@pytest.fixture
def root(watched: Path) -> Iterator[int]:
    descriptor = os.open(watched, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def group(root: int) -> Iterator[Group]:
    made = Group()
    made.watch(root)
    yield made
    made.close()


def run(script: str, directory: Path) -> int:
    """Run a shell script there; return its process id."""
    process = subprocess.Popen(["sh", "-ec", script], cwd=directory)
    assert process.wait() == 0
    return process.pid


def told(group: Group, *own: int) -> Batch:
    """Return everything that happened."""
    events: list[Event] = []
    total, overflow, moved = 0, False, False
    while (batch := group.read(set(own))) is not None:
        events += batch.events
        total, overflow, moved = total + batch.total, overflow or batch.overflow, moved or batch.moved
    return Batch(events, total, overflow, moved)


def named(batch: Batch) -> list[bytes]:
    return [event.place.name for event in batch.events]


def test_names_contents_and_attributes_are_told_with_who_it_was(group: Group, watched: Path, root: int) -> None:
    pid = run("echo x > file; read x < file; umask 0; : >> file", watched)
    os.chmod(watched, 0o700)
    batch = told(group)
    assert {(event.pid, event.place.name) for event in batch.events} == {(pid, b"file"), (os.getpid(), b".")}
    file = batch.events[0]
    assert file.mask & fanotify.CREATE
    assert file.mask & fanotify.MODIFY
    assert file.filesystem == fanotify.filesystem_of(root)
    descriptor = fanotify.open_by_handle(root, file.place.directory)
    try:
        assert os.fstat(descriptor).st_ino == watched.stat().st_ino
    finally:
        os.close(descriptor)


def test_a_rename_is_one_event_and_one_of_a_directory_is_marked(group: Group, watched: Path) -> None:
    (watched / "a").mkdir()
    (watched / "file").touch()
    told(group)
    (watched / "file").rename(watched / "a" / "renamed")
    batch = told(group)
    assert not batch.moved
    [event] = batch.events
    assert event.target is not None
    assert (event.place.name, event.target.name) == (b"file", b"renamed")
    (watched / "a").rename(watched / "b")
    assert told(group, os.getpid()).moved, "whoever did it: paths that were known have changed"


def test_what_csfs_itself_does_is_counted_and_left_out(group: Group, watched: Path) -> None:
    (watched / "own").touch()
    run(": > theirs", watched)
    batch = told(group, os.getpid())
    assert named(batch) == [b"theirs"]
    assert batch.total > 1


def test_nothing_is_told_of_files_in_an_ignored_directory_but_renames(group: Group, watched: Path) -> None:
    (watched / "busy" / "below").mkdir(parents=True)
    told(group)
    descriptor = os.open(watched / "busy", os.O_RDONLY)
    try:
        if not group.ignore(descriptor):
            pytest.skip("this kernel cannot ignore what is in a directory")
    finally:
        os.close(descriptor)
    run("echo x > file; chmod 600 file; echo y >> file; rm file; : > other", watched / "busy")
    assert named(told(group)) == []
    run(": > below/file", watched / "busy")
    (watched / "busy" / "other").rename(watched / "here")
    assert named(told(group)) == [b"file", b"other"]
    group.forget_ignored()
    run(": > again", watched / "busy")
    assert named(told(group)) == [b"again"]


def test_more_than_the_queue_holds_is_told_as_such(group: Group, watched: Path) -> None:
    limit = int(Path("/proc/sys/fs/fanotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip("the queue of this host is too long for a test")
    for number in range(limit + 1):
        os.mkfifo(watched / f"{number}")
    assert told(group, os.getpid()).overflow


def test_a_file_system_that_cannot_be_watched_is_refused_with_a_reason() -> None:
    made, proc = Group(), os.open("/proc", os.O_RDONLY)
    try:
        with pytest.raises(OSError) as refused:
            made.watch(proc)
        assert fanotify.reason_of(refused.value)
    finally:
        os.close(proc)
        made.close()
