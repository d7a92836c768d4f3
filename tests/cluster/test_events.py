"""Programs that watch a directory at one member are told of what was done at the other, as if it had been done here."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.support.members import Member
from tests.mount.watching import Event, Watch

ATTRIB, MOVED_TO, DELETE, IS_DIRECTORY = Watch.ATTRIB, Watch.MOVED_TO, Watch.DELETE, Watch.IS_DIRECTORY
NAMES = Watch.MOVED_FROM | MOVED_TO | Watch.CREATE | DELETE
ALL = NAMES | ATTRIB | Watch.MODIFY | Watch.DELETE_SELF


def made(alpha: Member, beta: Member, name: str) -> tuple[Path, Path]:
    """Make a directory with one object of each kind at alpha; return it as both have it."""
    ours = alpha.tree / name
    ours.mkdir()
    (ours / "file").write_text("old")
    (ours / "link").symlink_to("file")
    (ours / "directory").mkdir()
    os.mkfifo(ours / "fifo")
    alpha.wait()
    return ours, beta.tree / name


def written_over(directory: Path) -> None:
    (directory / "file").write_text("new")


def saved_by_an_editor(directory: Path) -> None:
    (directory / ".file.swp").write_text("new")
    (directory / ".file.swp").rename(directory / "file")


def linked_elsewhere(directory: Path) -> None:
    (directory / ".link").symlink_to("fifo")
    (directory / ".link").rename(directory / "link")


CHANGES: list[tuple[Callable[[Path], object], list[Event]]] = [
    (lambda d: (d / "new").write_text("x"), [(MOVED_TO, b"new")]),
    (written_over, [(MOVED_TO, b"file")]),
    (saved_by_an_editor, [(MOVED_TO, b"file")]),
    (linked_elsewhere, [(MOVED_TO, b"link")]),
    (lambda d: (d / "symlink").symlink_to("x"), [(MOVED_TO, b"symlink")]),
    (lambda d: os.mkfifo(d / "pipe"), [(MOVED_TO, b"pipe")]),
    (lambda d: (d / "tree").mkdir(), [(MOVED_TO | IS_DIRECTORY, b"tree")]),
    (lambda d: (d / "file").chmod(0o600), [(ATTRIB, b"file")]),
    (lambda d: os.chown(d / "file", 1, 1), [(ATTRIB, b"file")]),
    (lambda d: os.utime(d / "file", ns=(1, 1)), [(ATTRIB, b"file")]),
    (lambda d: os.setxattr(d / "file", "user.csfs", b"x"), [(ATTRIB, b"file")]),
    (lambda d: (d / "directory").chmod(0o700), [(ATTRIB | IS_DIRECTORY, b"directory")]),
    (lambda d: (d / "file").rename(d / "renamed"), [(MOVED_TO, b"renamed"), (Watch.MOVED_FROM, b"file")]),
    (lambda d: (d / "file").unlink(), [(DELETE, b"file")]),
    (lambda d: (d / "link").unlink(), [(DELETE, b"link")]),
    (lambda d: (d / "fifo").unlink(), [(DELETE, b"fifo")]),
    (lambda d: (d / "directory").rmdir(), [(DELETE | IS_DIRECTORY, b"directory")]),
]


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_a_change_raises_the_events_of_the_same_change_made_here(pair: tuple[Member, Member], number: int) -> None:
    change, wanted = CHANGES[number]
    ours, theirs = made(*pair, f"each-{number}")
    with Watch(theirs, ALL) as watch:
        change(ours)
        (ours / "zz").touch()  # whatever comes later than what is looked for is seen as well
        found = [event for event in watch.until((MOVED_TO, b"zz")) if event[1] and event != (MOVED_TO, b"zz")]
        while missing := [event for event in wanted if event not in found]:
            found += watch.until(missing[0])
    # A name on the way to another one may have been seen or not, and a file once more between its making and its close.
    assert {event for event in found if event[1] and not event[1].startswith(b".")} == set(wanted)


def test_a_directory_that_moved_is_told_of_as_moved_or_as_made_and_removed(pair: tuple[Member, Member]) -> None:
    ours, theirs = made(*pair, "moved")
    with Watch(theirs, ALL) as watch:
        (ours / "directory").rename(ours / "elsewhere")
        pair[0].wait()
        (ours / "zz").touch()
        found = [event for event in watch.until((MOVED_TO, b"zz")) if event[1] and not event[0] & ATTRIB]
    gone = {(Watch.MOVED_FROM | IS_DIRECTORY, b"directory"), (DELETE | IS_DIRECTORY, b"directory")}
    assert len(gone.intersection(found)) == 1
    assert (MOVED_TO | IS_DIRECTORY, b"elsewhere") in found


def test_who_is_told_of_a_new_content_finds_it_whole(pair: tuple[Member, Member]) -> None:
    ours, theirs = made(*pair, "whole")
    content = os.urandom(300_000)
    with Watch(theirs, MOVED_TO) as watch:
        (ours / "file").write_bytes(content)
        (ours / "file").chmod(0o640)
        watch.until((MOVED_TO, b"file"))
        assert (theirs / "file").read_bytes() == content
        (ours / "tree").mkdir(0o750)
        watch.until((MOVED_TO | IS_DIRECTORY, b"tree"))
        assert (theirs / "tree").stat().st_mode & 0o777 == 0o750


def test_who_watches_a_file_is_told_that_it_was_replaced_and_keeps_what_is_open(pair: tuple[Member, Member]) -> None:
    ours, theirs = made(*pair, "one")
    with open(theirs / "file") as reading, Watch(theirs / "file", ALL) as watch:
        (ours / "file").write_text("new")
        watch.until((ATTRIB, b""))  # it has no name any more
        assert reading.read() == "old"
        assert (theirs / "file").read_text() == "new"


def test_a_program_that_follows_new_directories_misses_nothing(pair: tuple[Member, Member]) -> None:
    ours, theirs = made(*pair, "deep")
    seen: set[str] = set()

    def follow(directory: Path, depth: int) -> None:
        with Watch(directory, NAMES) as watch:
            name = f"level{depth}"
            if not (directory / name).exists():
                watch.until((MOVED_TO | IS_DIRECTORY, os.fsencode(name)))
            seen.add(name)
            if depth < 3:
                follow(directory / name, depth + 1)

    (ours / "level0/level1/level2/level3").mkdir(parents=True)
    follow(theirs, 0)
    assert seen == {"level0", "level1", "level2", "level3"}


def test_what_csfs_does_to_apply_a_change_is_not_seen(pair: tuple[Member, Member]) -> None:
    alpha, beta = pair
    alpha.wait()  # until the times of directories made before are settled, too
    with Watch(beta.tree, ALL) as watch:
        (alpha.tree / "top").write_text("x")
        (alpha.tree / "top").write_text("y")
        (alpha.tree / "top").unlink()
        (alpha.tree / "last").touch()
        found = watch.until((MOVED_TO, b"last"))
    assert {name for _, name in found} <= {b"", b"top", b"last"}
    assert not any(mask & (Watch.CREATE | Watch.MOVED_FROM | Watch.MODIFY) for mask, _ in found)
