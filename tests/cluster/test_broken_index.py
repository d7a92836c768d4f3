"""One volume's index cannot be read: the others are served, and it is said which one it is, and what to do about it."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csfs.errors import ExitCode
from scripts.support.members import VOLUME, Member, free_port, replicating, until
from tests.cluster.conftest import expect_calm_logs

OTHER = "other"
UMOUNT_S_MAX = 4.0
"""A parent waits five seconds for a daemon that does not let go."""
PAGE_SIZE = 4096
Pair = tuple[Member, Member]


def is_garbage(index: Path) -> None:
    """It is no database at all."""
    index.write_bytes(b"not a database, not in the least" * 10_000)


def has_damaged_pages(index: Path) -> None:
    """Its beginning can be read, and nothing of what is in it."""
    with index.open("r+b") as file:
        for page in range(1, index.stat().st_size // PAGE_SIZE):
            os.pwrite(file.fileno(), b"\xa5" * PAGE_SIZE, page * PAGE_SIZE)


def other(member: Member) -> Path:
    """Return the directory of the second volume."""
    return member.directory / "other"


def sockets(member: Member) -> set[str]:
    """Return what the mount process of the second volume is connected by: another one whenever it has hung up."""
    pid = member.home.mount_pid(OTHER).read_text().split()[1]
    found = set[str]()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a file that it has closed since
            found.add(os.readlink(descriptor))
    return {link for link in found if link.startswith("socket:")}


def told(member: Member, name: str) -> dict[str, object]:
    """Return the status of one of the volumes."""
    (found,) = (volume for volume in member.status()["volumes"] if volume["name"] == name)
    return dict(found)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two members with two volumes."""
    alpha, beta = members = [Member(tmp_path, name, free_port()) for name in ("alpha", "beta")]
    try:
        for member in members:
            other(member).mkdir(parents=True)
        alpha.found()
        alpha.csfs("volume", "add", OTHER, str(other(alpha)))
        beta.join(alpha, "--path", f"{OTHER}={other(beta)}")
        for member in members:
            member.mount()
            member.csfs("mount", str(other(member)))
        (other(alpha) / "before").write_text("before")
        replicating(*members)
        yield alpha, beta
    finally:
        for member in members:
            member.csfs("umount", "--lazy", str(other(member)), check=False)
            member.stop()


@pytest.mark.parametrize("damage", [is_garbage, has_damaged_pages])
def test_the_other_volumes_are_served_and_the_broken_one_says_so(pair: Pair, damage: Callable[[Path], None]) -> None:
    alpha, beta = pair
    count = len(sockets(alpha))
    alpha.stop_daemon()
    index = alpha.home.index(OTHER)
    damage(index)
    alpha.start_daemon()
    replicated(alpha, beta, "after")

    until(lambda: len(sockets(alpha)) == count, "its mount is connected")
    connected = sockets(alpha)
    shown = alpha.csfs("status", check=False)
    assert shown.returncode == ExitCode.FOUND
    for words in ("stopped", str(index), "move it away, then csfs config reload"):
        assert words in shown.stdout
    assert (told(alpha, OTHER)["state"], told(alpha, VOLUME)["state"]) == ("stopped", "replicating")
    for command in (["wait"], ["wait", str(other(alpha))], ["conflicts"], ["verify", str(other(alpha) / "before")]):
        done = alpha.csfs(*command, check=False)
        assert (done.returncode, str(index) in done.stderr) == (ExitCode.REFUSED, True), command
    alpha.csfs("wait", str(alpha.tree))

    # Its programs go on, and its mount neither hangs up nor is busy.
    (other(alpha) / "meanwhile").write_text("written meanwhile")
    (other(alpha) / "before").write_text("changed meanwhile")
    assert sockets(alpha) == connected
    begun = time.monotonic()
    alpha.csfs("umount", str(other(alpha)))
    assert time.monotonic() - begun < UMOUNT_S_MAX
    mounted = alpha.csfs("mount", str(other(alpha)))
    assert f"nothing is sent to other members: {index}" in mounted.stderr

    index.rename(index.with_suffix(".aside"))
    alpha.csfs("config", "reload")
    until(lambda: told(alpha, OTHER)["state"] == "replicating", "it is worked on")
    (other(beta) / "by beta").write_text("by beta")
    until(lambda: (other(alpha) / "by beta").read_text() == "by beta", "alpha has what beta wrote")
    until(lambda: (other(alpha) / "before").read_text() == "before", "what the others have is live")
    (other(alpha) / "meanwhile").write_text("and once more")
    until(lambda: (other(beta) / "meanwhile").read_text() == "and once more", "beta has what was written")
    assert alpha.csfs("status", check=False).returncode == ExitCode.DONE
    expect_calm_logs(alpha, beta)
    alpha.csfs("umount", str(other(alpha)))
    assert "changed meanwhile" in {kept.read_text() for kept in (other(alpha) / ".csfs/kept").iterdir()}


def test_a_broken_volume_that_is_removed_stands_in_nobodys_way(pair: Pair) -> None:
    alpha, beta = pair
    alpha.stop_daemon()
    is_garbage(alpha.home.index(OTHER))
    alpha.start_daemon()
    assert alpha.csfs("conflicts", check=False).returncode == ExitCode.REFUSED
    for member in (alpha, beta):
        member.csfs("umount", str(other(member)))
    alpha.csfs("volume", "remove", OTHER)
    until(lambda: alpha.csfs("conflicts", check=False).returncode == ExitCode.DONE, "all volumes can be asked about")
    replicated(alpha, beta, "after")


def replicated(alpha: Member, beta: Member, name: str) -> None:
    """Write on either side of the first volume, and see it on the other."""
    for one, another in ((alpha, beta), (beta, alpha)):
        (one.tree / f"{name} {one.name}").write_text(name)
        until(lambda: (another.tree / f"{name} {one.name}").read_text() == name, f"{another.name} has it")  # noqa: B023
