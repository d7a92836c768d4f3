"""Immutable and append-only files, between real members of a group that keeps these flags the same."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.support.members import VOLUME, Member, replicating, two_members, until
from tests.cluster.conftest import expect_calm_logs

Pair = tuple[Member, Member]

GROUP = f"""
[[volumes.{VOLUME}.groups]]
include = ["/"]
flags = true
"""


def chattr(flags: str, *paths: Path) -> None:
    subprocess.run(["chattr", flags, *paths], check=True)


def flags_at(path: Path) -> str:
    """Return `a` and `i` as lsattr shows them."""
    shown = subprocess.run(["lsattr", "-d", path], check=True, capture_output=True, text=True).stdout.split()[0]
    return "".join(sorted(set(shown) & set("ai")))


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two members. Before the group kept flags the same, beta had made a file immutable for itself."""
    directory = tmp_path_factory.mktemp("members")
    try:
        with two_members(directory / "m") as (alpha, beta):
            (alpha.tree / "before").write_text("before")
            alpha.wait()
            if subprocess.run(["chattr", "+i", beta.tree / "before"], check=False, capture_output=True).returncode:
                pytest.skip("no such flags on the file system here")
            beta.wait()
            assert flags_at(alpha.tree / "before") == ""
            with alpha.home.settings_file.open("a") as settings:
                settings.write(GROUP)
            alpha.csfs("config", "reload")
            replicating(alpha, beta)
            yield alpha, beta
            expect_calm_logs(alpha, beta)
    finally:
        subprocess.run(["chattr", "-R", "-f", "-ia", directory], check=False)  # or nobody could remove it


def test_what_had_flags_before_the_group_kept_them_the_same_is_told(members: Pair) -> None:
    alpha, _ = members
    until(lambda: flags_at(alpha.tree / "before") == "i", "alpha hears of it")


def test_what_is_immutable_everywhere_is_changed_by_who_may(members: Pair) -> None:
    alpha, beta = members
    ours, theirs = alpha.tree / "file", beta.tree / "file"
    ours.write_text("content")
    chattr("+i", ours)
    alpha.wait()
    assert flags_at(theirs) == "i"
    for refused in (lambda: theirs.write_text("edited"), theirs.unlink, lambda: theirs.chmod(0o600)):
        with pytest.raises(PermissionError):
            refused()  # type: ignore[operator]
    chattr("-i", ours)
    ours.write_text("edited")
    ours.chmod(0o640)
    chattr("+i", ours)
    alpha.wait()
    assert (theirs.read_text(), theirs.stat().st_mode & 0o777, flags_at(theirs)) == ("edited", 0o640, "i")
    chattr("-i", theirs)
    theirs.rename(beta.tree / "renamed")
    chattr("+i", beta.tree / "renamed")
    beta.wait()
    assert not ours.exists()
    assert (flags_at(alpha.tree / "renamed"), (alpha.tree / "renamed").read_text()) == ("i", "edited")
    chattr("-i", alpha.tree / "renamed")
    (alpha.tree / "renamed").unlink()
    alpha.wait()
    assert not (beta.tree / "renamed").exists()


def test_a_log_that_grows_only_and_a_directory_that_nothing_leaves(members: Pair) -> None:
    alpha, beta = members
    logs = alpha.tree / "logs"
    logs.mkdir()
    (logs / "log").write_text("begin\n")
    chattr("+a", logs / "log", logs)
    alpha.wait()
    for number in range(5):
        with (logs / "log").open("a") as log:
            log.write(f"{number}\n")
        (logs / f"new{number}").write_text("new")
        alpha.wait()
    there = beta.tree / "logs"
    assert (there / "log").read_text() == (logs / "log").read_text()
    assert sorted(os.listdir(there)) == sorted(os.listdir(logs))
    assert (flags_at(there), flags_at(there / "log"), flags_at(there / "new0")) == ("a", "a", "")
    with pytest.raises(PermissionError):
        (there / "new0").unlink()
    assert there.stat().st_mtime_ns == logs.stat().st_mtime_ns
    chattr("-a", logs)
    (logs / "new0").unlink()
    chattr("+a", logs)
    alpha.wait()
    assert not (there / "new0").exists()
    assert flags_at(there) == "a"


def test_nobody_minds_all_this(members: Pair) -> None:
    alpha, beta = members
    for member in members:
        member.wait()
        assert member.volume()["problems"] == []
    alpha.csfs("verify", str(alpha.tree))
    beta.csfs("verify", str(beta.tree))
