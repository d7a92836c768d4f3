"""A member that is unmounted again and again while others write: never busy because of csfs, and nothing is missed."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.support.members import VOLUME, Member, two_members, until
from scripts.support.share import OWN
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.storms import Storm, expect_equal

STORM_COUNT = 500
UMOUNT_S_MAX = 9.0
"""Less than csfs waits for anybody who does not let go: in these tests everybody does."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Member, Member]]:
    """Two members with a tree that is soon compared, with enough in it for a storm."""
    tree = tmp_path_factory.mktemp("source") / "tree"
    for directory in ("shared", "shared/below", *(f"{own}/{name}" for own in OWN for name in ("a", "b", "c/d"))):
        (tree / directory).mkdir(parents=True, exist_ok=True)
        for number in range(8):
            (tree / directory / f"file{number}").write_text(f"{directory} {number}\n" * 20)
    with two_members(tmp_path_factory.mktemp("members") / "m", tree) as members:
        yield members
        expect_calm_logs(*members)


def umount_as_host(member: Member) -> None:
    """Unmount as an administrator does who knows nothing of csfs, and return when its processes have noticed."""
    done = subprocess.run(["umount", str(member.tree)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    until(lambda: not member.home.mount_pid(VOLUME).exists(), f"the mount's processes at {member.name} have ended")


def test_umount_is_never_busy_while_the_daemon_commits(pair: tuple[Member, Member]) -> None:
    alpha, beta = pair
    storm = Storm(alpha, 0, 1, STORM_COUNT)
    storm.begin()
    storm.wait_progress(20)
    while storm.is_running:
        for umount in (beta.umount, lambda: umount_as_host(beta)):
            until(lambda: beta.volume()["pending"] > 0 or not storm.is_running, "beta commits")
            begun = time.monotonic()
            umount()
            assert time.monotonic() - begun < UMOUNT_S_MAX
            assert not beta.is_mounted
            beta.mount()
    report = storm.finished()
    until(lambda: beta.volume()["state"] == "replicating", "beta replicates")
    expect_equal(alpha, beta, [report])


def test_what_is_written_just_before_an_umount_is_sent_by_the_next_mount_at_the_latest(
    pair: tuple[Member, Member],
) -> None:
    alpha, beta = pair
    for name in range(50):
        (beta.tree / f"last{name}").write_text("last words")
    os.chmod(beta.tree / "last0", 0o640)
    assert _held(beta)
    beta.umount()
    assert not _held(beta)
    (alpha.tree / "meanwhile").write_text("written at alpha meanwhile")
    beta.mount()
    until(lambda: beta.volume()["state"] == "replicating", "beta replicates")
    expect_equal(alpha, beta)
    assert (alpha.tree / "last49").read_text() == "last words"
    assert (beta.tree / "meanwhile").exists()


def _held(member: Member) -> list[str]:
    """Return what of the member's tree its daemon has open."""
    directory = Path(f"/proc/{member.daemon_pid}/fd")
    found = []
    for descriptor in os.listdir(directory):
        try:
            status = os.stat(directory / descriptor)
        except OSError:
            continue
        if (status.st_dev, status.st_ino) == _identity(member.underneath):
            found.append(os.readlink(directory / descriptor))
    return found


def _identity(path: Path) -> tuple[int, int]:
    status = os.stat(f"{path}/.")
    return status.st_dev, status.st_ino
