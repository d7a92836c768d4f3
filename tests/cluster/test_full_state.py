"""The disk with journal and index is full: no program at the member notices, an alarm is raised, and nothing is lost."""

import shutil
from collections.abc import Iterator

import pytest

from csfs.errors import ExitCode
from scripts.support.members import VOLUME, Member, cluster_of, free_port, replicating, until
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.storms import expect_equal
from tests.disks import Disk, disk

CHANGES = 400
HEALED_S_MAX = 60.0
DISK_SIZE = 64 << 20
PAGES = ("-b", "4096")
"""Blocks of a page: of smaller ones there may be too few left for all of a page that SQLite has mapped."""
EXCLUDING = f'\n[[volumes.{VOLUME}.groups]]\nexclude = ["*.left-out"]\n'

Members = tuple[Member, Member, Disk]


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    """Two members; what csfs keeps of the first is on a small disk."""
    base = tmp_path_factory.mktemp("members")
    alpha, beta = (Member(base, name, free_port()) for name in ("alpha", "beta"))
    alpha.home.lib.mkdir(parents=True)
    try:
        with disk(base / "image", alpha.home.lib, DISK_SIZE, *PAGES) as small, cluster_of(alpha, beta, clear=False):
            yield alpha, beta, small
            expect_calm_logs(alpha, beta)
            for member in (alpha, beta):
                member.stop()
    finally:
        shutil.rmtree(base, ignore_errors=True)


def change_much(member: Member, name: str) -> None:
    """Make more changes than a full disk has room to note."""
    (member.tree / name).mkdir()
    for number in range(CHANGES):
        (member.tree / name / f"file {number}").write_text(f"{name} {number}\n" * 20)


def expect_healed(alpha: Member, beta: Member) -> None:
    until(lambda: alpha.volume()["alarms"] == [], "the alarm is over", HEALED_S_MAX)
    replicating(alpha, beta)
    expect_equal(alpha, beta)


def test_changes_at_both_members_meet_once_there_is_room(members: Members) -> None:
    alpha, beta, small = members
    small.fill()
    change_much(alpha, "of alpha")
    change_much(beta, "of beta")
    until(lambda: any("cannot be written" in alarm for alarm in alpha.volume()["alarms"]), "an alarm is raised")
    status = alpha.csfs("status", check=False)
    assert status.returncode == ExitCode.FOUND
    assert "ALARM" in status.stdout
    small.make_room()
    expect_healed(alpha, beta)
    assert alpha.csfs("status", check=False).returncode == ExitCode.DONE


def test_the_mount_is_killed_while_its_journal_cannot_be_written(members: Members) -> None:
    alpha, beta, small = members
    small.fill()
    change_much(alpha, "before the kill")
    alpha.kill_mount()
    change_much(alpha, "after the kill")
    small.make_room()
    alpha.umount()  # a journal that could not be opened is in memory, until the volume is mounted anew
    alpha.mount()
    expect_healed(alpha, beta)


def test_a_daemon_that_finds_no_room_says_so_and_the_mount_serves_on(members: Members) -> None:
    alpha, beta, small = members
    alpha.kill_daemon()
    small.fill()
    refused = alpha.csfs("mount", str(alpha.tree.parent), check=False)
    assert refused.returncode == ExitCode.REFUSED
    change_much(alpha, "without a daemon")
    started = alpha.csfs("daemon", check=False)
    assert started.returncode == ExitCode.FOUND
    assert "is there room on its disk?" in started.stderr
    for_it = alpha.csfs("invite", "gamma", check=False)
    assert for_it.returncode == ExitCode.NOT_RUNNING
    assert "room on" in for_it.stderr
    small.make_room()
    alpha.start_daemon()
    expect_healed(alpha, beta)


def test_rules_that_a_volume_cannot_follow_for_want_of_room_are_followed_once_there_is_some(members: Members) -> None:
    alpha, beta, small = members
    small.fill()
    change_much(alpha, "until nothing can be written")
    until(lambda: any("cannot be written" in alarm for alarm in alpha.volume()["alarms"]), "an alarm is raised")
    with alpha.home.settings_file.open("a") as settings:
        settings.write(EXCLUDING)
    refused = alpha.csfs("config", "reload", check=False)
    assert refused.returncode == ExitCode.FOUND
    assert "is there room on its disk?" in refused.stderr
    assert any("does not follow the configuration" in alarm for alarm in alpha.volume()["alarms"])
    small.make_room()
    until(lambda: alpha.volume()["alarms"] == [], "it does by now")
    until(lambda: "*.left-out" in beta.home.settings_file.read_text(), "beta has the rules")
    expect_healed(alpha, beta)
    (alpha.tree / "mine.left-out").write_text("alpha's own")
    (alpha.tree / "everybody's").write_text("as ever")
    until(lambda: (beta.tree / "everybody's").exists(), "both follow the same rules")
    alpha.wait()
    assert not (beta.tree / "mine.left-out").exists()
