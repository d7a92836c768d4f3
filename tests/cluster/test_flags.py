"""Immutable and append-only files, between real members of a group that keeps these flags the same."""

import contextlib
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
    with flagged_before(tmp_path_factory.mktemp("members")) as (alpha, beta):
        follow(alpha)
        alpha.csfs("config", "reload")
        replicating(alpha, beta)
        yield alpha, beta
        expect_calm_logs(alpha, beta)


@contextlib.contextmanager
def flagged_before(directory: Path) -> Iterator[Pair]:
    """Give two members whose group does not keep flags the same; beta has made a file immutable."""
    try:
        with two_members(directory / "m") as (alpha, beta):
            (alpha.tree / "before").write_text("before")
            alpha.wait()
            if subprocess.run(["chattr", "+i", beta.tree / "before"], check=False, capture_output=True).returncode:
                pytest.skip("no such flags on the file system here")
            beta.wait()
            assert flags_at(alpha.tree / "before") == ""
            yield alpha, beta
    finally:
        subprocess.run(["chattr", "-R", "-f", "-ia", directory], check=False)  # or nobody could remove it


def without_comparing(founder: Member) -> None:
    """Have nothing compared that nobody asks for."""
    settings = founder.home.settings_file
    settings.write_text(settings.read_text().replace("brake =", 'compare = "never"\nbrake =', 1))


def follow(founder: Member) -> None:
    """Have the configuration say that the group keeps flags the same."""
    with founder.home.settings_file.open("a") as settings:
        settings.write(GROUP)


def test_what_had_flags_before_the_group_kept_them_the_same_is_told(members: Pair) -> None:
    alpha, _ = members
    until(lambda: flags_at(alpha.tree / "before") == "i", "alpha hears of it")


def test_so_it_is_where_the_daemon_was_stopped_when_the_configuration_changed(tmp_path: Path) -> None:
    with flagged_before(tmp_path) as (alpha, beta):
        beta.stop_daemon()
        follow(alpha)
        without_comparing(alpha)  # which would find it sooner or later
        alpha.csfs("config", "reload")
        # As a peer that it met in its last moments has left it.
        beta.home.settings_file.write_text(alpha.home.settings_file.read_text())
        beta.start_daemon()
        replicating(alpha, beta)
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
