"""What one member edits while another one, which it cannot hear, moves it, is where the other one put it."""

import contextlib
import json
import shutil
import subprocess
from pathlib import Path

from scripts.support.members import Member, replicating, until
from tests.trees import differences

FILES = ("written", "saved", "mode", "chain", "log", "crossing", "directory/inside", "directory/same")


def move(top: Path) -> None:
    """Move everything."""
    (top / "written").rename(top / "written elsewhere")
    (top / "saved").rename(top / "saved elsewhere")
    (top / "mode").rename(top / "mode elsewhere")
    (top / "chain").rename(top / "link")
    (top / "link").rename(top / "end")
    (top / "log").rename(top / "log.1")
    (top / "log").write_text("a new log")
    (top / "crossing").rename(top / "aside")
    (top / "aside").rename(top / "crossing")
    (top / "directory").rename(top / "renamed")


def append(path: Path) -> None:
    """Write to the end of a file."""
    with path.open("a") as file:
        file.write(", edited")


def edit(top: Path) -> None:
    """Change what the other member moves, under the names that it had."""
    for name in ("written", "chain", "log", "crossing", "directory/inside"):
        append(top / name)
    subprocess.run(["sed", "-i", "s/$/, edited/", str(top / "saved")], check=True)
    (top / "mode").chmod(0o600)
    (top / "directory/new").write_text("new")


def grow(top: Path) -> None:
    """Make a directory with files, a link, and another directory."""
    (top / "old/deep/deeper").mkdir(parents=True)
    for number in range(100):
        (top / f"old/{number}").write_text(f"{number}\n")
        (top / f"old/deep/deeper/{number}").write_text(f"{number}\n" * number)
    (top / "old/link").symlink_to("7")
    (top / "old/7").chmod(0o4755)


def inodes(top: Path) -> dict[str, int]:
    """Return the inode numbers of all that is below."""
    return {str(path.relative_to(top)): path.lstat().st_ino for path in top.rglob("*")}


def test_a_directory_is_renamed_with_all_that_is_below_and_back(pair: tuple[Member, Member]) -> None:
    alpha, beta = pair
    ours, theirs = alpha.tree / "whole", beta.tree / "whole"
    ours.mkdir()
    grow(ours)
    alpha.wait()
    until(lambda: differences(str(alpha.tree), str(beta.tree)) == [], "both show the same")
    before = inodes(theirs / "old")
    for one, source, target in ((ours, "old", "new"), (theirs, "new", "old"), (ours, "old", "new")):
        (one / source).rename(one / target)
        alpha.wait()
        beta.wait()
        until(lambda: differences(str(alpha.tree), str(beta.tree)) == [], "both show the same")
        # It is the same directory with the same files: nothing was built anew.
        assert inodes(theirs / target) == before
        assert not (theirs / source).exists()


def test_what_is_written_into_a_directory_while_a_peer_moves_it_is_not_lost(pair: tuple[Member, Member]) -> None:
    alpha, beta = pair
    ours, theirs = alpha.tree / "race", beta.tree / "race"
    ours.mkdir()
    grow(ours)
    (ours / "old").rename(ours / "old0")
    alpha.wait()
    until(lambda: differences(str(alpha.tree), str(beta.tree)) == [], "both show the same")
    written, last = set[str](), set[str]()
    for turn in range(6):
        (ours / f"old{turn}").rename(ours / f"old{turn + 1}")
        last = set()
        for number in range(20):
            text = f"written in turn {turn}, number {number}"
            for name in (f"old{turn}", f"old{turn + 1}"):
                with contextlib.suppress(FileNotFoundError):
                    (theirs / name / f"w{number}").write_text(text)
                    last.add(text)
                    break
        written |= last
        alpha.wait()
        beta.wait()
    until(lambda: differences(str(alpha.tree), str(beta.tree)) == [], "both show the same")
    found = {path.read_text() for path in ours.rglob("w*")}
    assert last
    assert last <= found <= written
    shutil.rmtree(ours)
    alpha.wait()


def test_edits_follow_what_was_moved_meanwhile(pair: tuple[Member, Member]) -> None:
    alpha, beta = pair
    ours, theirs = alpha.tree / "moves", beta.tree / "moves"
    (ours / "directory").mkdir(parents=True)
    for name in FILES:
        (ours / name).write_text(name)
    alpha.wait()
    beta.stop_daemon()
    move(ours)
    edit(theirs)
    until(lambda: alpha.volume()["journal_backlog"] == 0, "alpha has looked at all of it")
    beta.start_daemon()
    replicating(alpha, beta)
    alpha.wait()
    beta.wait()
    assert differences(str(alpha.tree), str(beta.tree)) == []
    for top in (ours, theirs):
        found = {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()}
        assert found == {
            "written elsewhere": "written, edited",
            "saved elsewhere": "saved, edited",
            "mode elsewhere": "mode",
            "end": "chain, edited",
            "log.1": "log, edited",
            "log": "a new log",
            "crossing": "crossing, edited",
            "renamed/inside": "directory/inside, edited",
            "renamed/same": "directory/same",
            "directory/new": "new",
        }
        assert (top / "mode elsewhere").stat().st_mode & 0o7777 == 0o600
    for member in pair:
        volume = member.volume()
        assert (volume["conflicts"], volume["problems"], volume["pending"]) == (0, [], 0)
        assert volume["living_on"] == [{"path": "moves/directory", "moved_to": "moves/renamed"}]
    kept = json.loads(alpha.csfs("history", "--json", str(ours / "log.1")).stdout)["versions"]
    causes = {version["cause"] for version in kept}
    assert "replaced" in causes, "what the edit was made from is under retention where its place was taken"
    assert "conflict" not in causes, "of a conflict that was none, something would stay for good"
    (ours / "directory/new").rename(ours / "renamed/new")
    (ours / "directory").rmdir()
    alpha.wait()
    assert not (theirs / "directory").exists()
    assert [member.volume()["living_on"] for member in pair] == [[], []]


def test_an_edit_that_is_removed_before_it_is_where_the_file_went_leaves_that_as_it_was(
    pair: tuple[Member, Member],
) -> None:
    alpha, beta = pair
    (alpha.tree / "taken back").write_text("before")
    alpha.wait()
    alpha.stop_daemon()
    (alpha.tree / "taken back").rename(alpha.tree / "moved")
    append(beta.tree / "taken back")
    until(lambda: beta.volume()["journal_backlog"] == 0, "beta has looked at its edit")
    beta.umount()
    alpha.start_daemon()
    # The edit follows, and nobody can be told what it is.
    until(lambda: alpha.volume()["pending"] == 1, "alpha waits for the edit")
    (beta.tree / "taken back").unlink()
    beta.mount()
    replicating(alpha, beta)
    until(lambda: all(member.volume()["pending"] == 0 for member in pair), "nobody waits any more")
    for member in pair:
        assert (member.tree / "moved").read_text() == "before"
    assert differences(str(alpha.tree), str(beta.tree)) == []
