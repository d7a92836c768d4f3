"""Commits: one rename each, nothing displaced is lost, a refusal leaves everything as it was."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.core.objects import Kind
from csfs.store import syscalls
from csfs.store.attributes import stamp_at
from csfs.store.commits import commit_install, commit_move, commit_remove
from csfs.store.stage import Stage


class Places:
    """The descriptors that the mount holds."""

    def __init__(self, volume: Path) -> None:
        self.live = os.open(volume, os.O_DIRECTORY)
        self.stage = os.open(volume / ".csfs" / "stage", os.O_DIRECTORY)
        self.kept = os.open(volume / ".csfs" / "kept", os.O_DIRECTORY)

    def close(self) -> None:
        for descriptor in (self.live, self.stage, self.kept):
            os.close(descriptor)


@pytest.fixture(params=["exchange", "link"])
def places(
    volume: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Places]:
    if request.param == "link":
        real = syscalls.renameat2

        def without_exchange(
            source_directory: int, source: bytes, target_directory: int, target: bytes, flags: int = 0
        ) -> None:
            """Answer as a file system that cannot exchange does."""
            if flags == syscalls.RENAME_EXCHANGE:
                raise OSError(errno.EINVAL, "no exchange here")
            real(source_directory, source, target_directory, target, flags)

        monkeypatch.setattr(syscalls, "renameat2", without_exchange)
    places = Places(volume)
    (volume / ".csfs" / "stage" / "7.1").write_bytes(b"new")
    yield places
    places.close()


def test_a_new_name_appears_where_nothing_was(places: Places, volume: Path) -> None:
    stamp = commit_install(places.stage, b"7.1", places.live, b"f", places.kept, b"", replace=False)
    assert (volume / "f").read_bytes() == b"new"
    assert stamp == stamp_at(places.live, b"f")


def test_a_name_that_appeared_meanwhile_is_not_touched(places: Places, volume: Path) -> None:
    (volume / "f").write_bytes(b"someone's")
    with pytest.raises(FileExistsError):
        commit_install(places.stage, b"7.1", places.live, b"f", places.kept, b"", replace=False)
    assert (volume / "f").read_bytes() == b"someone's"
    assert (volume / ".csfs" / "stage" / "7.1").exists()


@pytest.mark.parametrize("kept", [b"old.1", b""])
def test_what_is_displaced_is_kept_if_asked_for(places: Places, volume: Path, kept: bytes) -> None:
    (volume / "f").write_bytes(b"old")
    stamp = commit_install(places.stage, b"7.1", places.live, b"f", places.kept, kept, replace=True)
    assert stamp == stamp_at(places.live, b"f")
    assert (volume / "f").read_bytes() == b"new"
    assert os.listdir(volume / ".csfs" / "stage") == []
    assert [os.fsencode(name) for name in os.listdir(volume / ".csfs" / "kept")] == ([kept] if kept else [])
    if kept:
        assert (volume / ".csfs" / "kept" / "old.1").read_bytes() == b"old"


def test_bytes_written_later_through_an_open_file_reach_the_kept_version(places: Places, volume: Path) -> None:
    (volume / "f").write_bytes(b"old")
    with (volume / "f").open("ab") as editor:
        commit_install(places.stage, b"7.1", places.live, b"f", places.kept, b"old.1", replace=True)
        editor.write(b" and more")
    assert (volume / "f").read_bytes() == b"new"
    assert (volume / ".csfs" / "kept" / "old.1").read_bytes() == b"old and more"


def test_a_taken_kept_name_refuses_and_changes_nothing(places: Places, volume: Path) -> None:
    (volume / "f").write_bytes(b"old")
    (volume / ".csfs" / "kept" / "old.1").write_bytes(b"kept before")
    with pytest.raises(FileExistsError):
        commit_install(places.stage, b"7.1", places.live, b"f", places.kept, b"old.1", replace=True)
    with pytest.raises(FileExistsError):
        commit_remove(places.live, b"f", places.kept, b"old.1")
    assert (volume / "f").read_bytes() == b"old"
    assert (volume / ".csfs" / "stage" / "7.1").read_bytes() == b"new"
    assert (volume / ".csfs" / "kept" / "old.1").read_bytes() == b"kept before"


def test_replacing_what_vanished_is_refused(places: Places, volume: Path) -> None:
    with pytest.raises(FileNotFoundError):
        commit_install(places.stage, b"7.1", places.live, b"f", places.kept, b"old.1", replace=True)
    assert not (volume / "f").exists()


def test_an_empty_directory_gives_way_to_a_file_and_a_full_one_does_not(places: Places, volume: Path) -> None:
    (volume / "d").mkdir()
    (volume / "d" / "child").write_bytes(b"")
    with pytest.raises(OSError) as caught:
        commit_install(places.stage, b"7.1", places.live, b"d", places.kept, b"old.1", replace=True)
    assert caught.value.errno == errno.ENOTEMPTY
    assert (volume / "d" / "child").exists()
    (volume / "d" / "child").unlink()
    commit_install(places.stage, b"7.1", places.live, b"d", places.kept, b"old.1", replace=True)
    assert (volume / "d").read_bytes() == b"new"
    assert os.listdir(volume / ".csfs" / "kept") == []


def test_a_symlink_is_displaced_as_itself(places: Places, volume: Path, stage: Stage) -> None:
    (volume / "f").symlink_to("elsewhere")
    commit_install(places.stage, b"7.1", places.live, b"f", places.kept, b"old.1", replace=True)
    assert stage.kept.read_link(b"old.1") == b"elsewhere"


def test_removing_keeps_files_and_takes_empty_directories(places: Places, volume: Path, stage: Stage) -> None:
    (volume / "f").write_bytes(b"old")
    (volume / "g").write_bytes(b"")
    (volume / "d").mkdir()
    commit_remove(places.live, b"f", places.kept, b"old.1")
    commit_remove(places.live, b"g", places.kept, b"")
    commit_remove(places.live, b"d", places.kept, b"old.2")
    assert [(entry.name, entry.kind, entry.links) for entry in stage.kept.entries()] == [(b"old.1", Kind.FILE, 1)]
    assert os.listdir(volume) == [".csfs"]
    stage.kept.delete(b"old.1")
    stage.kept.delete(b"old.1")
    assert list(stage.kept.entries()) == []


def test_a_move_never_lands_on_something(places: Places, volume: Path) -> None:
    (volume / "f").write_bytes(b"moved")
    (volume / "g").write_bytes(b"there")
    with pytest.raises(FileExistsError):
        commit_move(places.live, b"f", places.live, b"g")
    stamp = commit_move(places.live, b"f", places.live, b"h")
    assert stamp == stamp_at(places.live, b"h")
    assert (volume / "h").read_bytes() == b"moved"
