"""What happened while a member was not mounted, or its daemon not running, is caught up with: what is there now, and no more."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.support.members import Member, replicating, until
from tests.trees import differences

SIZE = 10_000
GREETINGS_SIZE_MAX = 12_000
"""What two members say when they meet, in one direction, and what a few records take."""


def expect_equal(alpha: Member, beta: Member) -> None:
    alpha.wait()
    beta.wait()
    assert differences(str(alpha.tree), str(beta.tree)) == []
    for member in (alpha, beta):
        volume = member.volume()
        assert (volume["problems"], volume["conflicts"], volume["pending"]) == ([], 0, 0)


def sown(member: Member, name: str) -> Path:
    """Make a directory with something of each kind in it."""
    top = member.tree / name
    (top / "directory/below").mkdir(parents=True)
    (top / "empty").mkdir()
    for file in (
        "edited",
        "kept",
        "same size",
        "removed",
        "renamed",
        "chmod",
        "times",
        "replaced",
        "directory/below/f",
    ):
        (top / file).write_text(f"{file} of {name}")
    (top / "link").symlink_to("edited")
    (top / "gone").symlink_to("edited")
    os.mkfifo(top / "fifo")
    member.wait()
    return top


def changed(top: Path) -> None:
    """Change everything in a directory that `sown` made, but for `kept`."""
    (top / "edited").write_text("edited anew, and longer")
    times = (top / "same size").stat()
    (top / "same size").write_text("x" * times.st_size)
    os.utime(top / "same size", ns=(times.st_atime_ns, times.st_mtime_ns))
    (top / "removed").unlink()
    (top / "gone").unlink()
    (top / "fifo").unlink()
    (top / "renamed").rename(top / "renamed away")
    (top / "directory").rename(top / "moved")
    (top / "moved/below/new").write_text("new")
    (top / "chmod").chmod(0o4750)
    os.chown(top / "chmod", 1, 2)
    os.setxattr(top / "chmod", "user.csfs", b"x")
    os.utime(top / "times", ns=(1, 2))
    (top / "link").unlink()
    (top / "link").symlink_to("kept")
    (top / "replaced").unlink()
    (top / "replaced").mkdir()
    (top / "replaced/inside").write_text("inside")
    (top / "empty").rmdir()
    (top / "empty").write_text("a file now")


def test_what_was_changed_underneath_is_found_at_the_next_mount(pair: tuple[Member, Member]) -> None:
    alpha, beta = pair
    top, other = sown(alpha, "underneath"), sown(beta, "meanwhile")
    alpha.umount()
    changed(top)
    changed(beta.tree / other.name)
    alpha.mount()
    expect_equal(alpha, beta)
    assert (beta.tree / "underneath/empty").read_text() == "a file now"
    assert (beta.tree / "underneath/same size").read_text().strip("x") == ""
    assert (alpha.tree / "meanwhile/replaced/inside").read_text() == "inside"


def test_nothing_is_sent_when_nothing_was_changed(pair: tuple[Member, Member]) -> None:
    alpha, beta = pair
    for number in range(50):
        (alpha.tree / f"quiet-{number}").write_bytes(os.urandom(SIZE))
    alpha.wait()
    before = alpha.peer()["bytes_sent"] + beta.peer()["bytes_sent"]
    alpha.umount()
    alpha.mount()
    replicating(alpha, beta)
    assert alpha.peer()["bytes_sent"] + beta.peer()["bytes_sent"] - before < GREETINGS_SIZE_MAX


def rewrite(path: Path, count: int) -> bytes:
    """Replace a file again and again, as an editor does; return what it is in the end."""
    content = b""
    for _ in range(count):
        content = os.urandom(SIZE)
        path.with_suffix(".new").write_bytes(content)
        path.with_suffix(".new").rename(path)
    return content


@pytest.mark.parametrize(
    ("away", "count"), [("the peer's daemon", 1_000), ("our own daemon", 300), ("the peer's mount", 100)]
)
def test_many_changes_while_one_is_away_cost_one_record(pair: tuple[Member, Member], away: str, count: int) -> None:
    alpha, beta = pair
    if away == "the peer's mount":
        beta.umount()
    else:
        (beta if away == "the peer's daemon" else alpha).stop_daemon()
    path = alpha.tree / f"{away}.txt"
    content = rewrite(path, count)
    if away != "our own daemon":
        until(lambda: alpha.volume()["journal_backlog"] == 0, "alpha has looked at all of it")
    if away == "the peer's mount":
        beta.mount()
    else:
        (beta if away == "the peer's daemon" else alpha).start_daemon()
    replicating(alpha, beta)
    assert (beta.tree / path.name).read_bytes() == content
    if away != "the peer's mount":  # who is connected is told as it happens
        assert SIZE < beta.peer()["bytes_received"] < SIZE + GREETINGS_SIZE_MAX
    expect_equal(alpha, beta)


def test_each_finds_what_the_other_did_while_its_daemon_was_stopped(pair: tuple[Member, Member]) -> None:
    alpha, beta = pair
    ours, theirs = sown(alpha, "ours"), sown(beta, "theirs")
    content = os.urandom(3 << 20)
    (ours / "large").write_bytes(content)
    expect_equal(alpha, beta)
    beta.stop_daemon()
    changed(ours)
    changed(theirs)
    (ours / "large").rename(ours / "large by another name")
    beta.start_daemon()
    replicating(alpha, beta)
    expect_equal(alpha, beta)
    assert (beta.tree / "ours/large by another name").read_bytes() == content
    assert beta.peer()["bytes_received"] < GREETINGS_SIZE_MAX, "what was only renamed is not sent again"


def test_a_host_that_was_down_catches_up_and_its_own_changes_are_sent(pair: tuple[Member, Member]) -> None:
    alpha, beta = pair
    ours, theirs = sown(alpha, "up"), sown(beta, "down")
    expect_equal(alpha, beta)
    beta.umount()
    beta.stop_daemon()
    changed(ours)
    changed(theirs)
    beta.mount()
    replicating(alpha, beta)
    expect_equal(alpha, beta)
    assert (alpha.tree / "down/moved/below/new").read_text() == "new"


CONFLICTS: list[tuple[str, Callable[[Path], object], Callable[[Path], object]]] = [
    ("edited and removed", lambda path: path.write_text("edit"), lambda path: path.unlink()),
    ("removed and edited", lambda path: path.unlink(), lambda path: path.write_text("edit")),
    ("edited and moved over", lambda path: path.write_text("edit"), lambda path: path.with_suffix(".x").rename(path)),
    ("both edited", lambda path: path.write_text("first edit"), lambda path: path.write_text("edit")),
]


def test_what_both_did_to_one_path_while_apart_ends_the_same(pair: tuple[Member, Member]) -> None:
    alpha, beta = pair
    for name, _, _ in CONFLICTS:
        (alpha.tree / name).write_text("before")
        (alpha.tree / name).with_suffix(".x").write_text("other")
    expect_equal(alpha, beta)
    beta.umount()
    beta.stop_daemon()
    for name, first, second in CONFLICTS:
        first(alpha.tree / name)
        second(beta.tree / name)
    beta.mount()
    replicating(alpha, beta)
    alpha.wait()
    beta.wait()
    assert differences(str(alpha.tree), str(beta.tree)) == []
    assert (alpha.tree / "edited and removed").read_text() == "edit"
    assert (alpha.tree / "removed and edited").read_text() == "edit"
    kept = {
        file.read_text()
        for member in pair
        for file in (member.underneath / ".csfs/kept").iterdir()
        if file.stat().st_size < 100
    }
    assert "first edit" in kept
