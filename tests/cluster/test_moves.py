"""What one member edits while another one, which it cannot hear, moves it, is where the other one put it."""

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
    (ours / "directory/new").rename(ours / "renamed/new")
    (ours / "directory").rmdir()
    alpha.wait()
    assert not (theirs / "directory").exists()
    assert [member.volume()["living_on"] for member in pair] == [[], []]
