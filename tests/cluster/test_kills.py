"""SIGKILL in the middle of a storm: nothing is lost, nothing diverges, nothing that had arrived is fetched again."""

import os
import signal
from collections.abc import Iterator

import pytest

from scripts.support.members import Member, kill, two_members, until
from scripts.support.share import OWN
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.storms import Storm, expect_equal

COUNT = 300
SIZE = 64 << 20
REQUESTED_SIZE_MAX = 4 << 20
"""What can be on its way, or written and not counted yet, when the fetcher is killed."""
GREETING_SIZE_MAX = 20_000

Members = tuple[Member, Member]


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    """Two members with a few directories."""
    source = tmp_path_factory.mktemp("source") / "tree"
    for number, top in enumerate((*OWN, "shared", "shared/below")):
        (source / top).mkdir(parents=True)
        for name in ("a", "b", "c"):
            (source / top / name).write_text(f"{name} of {number}\n")
    with two_members(tmp_path_factory.mktemp("members") / "m", source) as pair:
        yield pair
        expect_calm_logs(*pair)


def kill_daemon(member: Member) -> None:
    member.kill_daemon()
    member.start_daemon()


def kill_mount(member: Member) -> None:
    member.kill_mount()


def kill_parent(member: Member) -> None:
    member.kill_parent()


def kill_daemon_and_mount(member: Member) -> None:
    member.kill_daemon()
    member.kill_mount()
    member.start_daemon()


def kill_everything(member: Member) -> None:
    child = member.mount_pid
    member.kill_parent()
    member.kill_daemon()
    kill(child, signal.SIGKILL)
    member.mount()


KILLS = [
    (kill_daemon, 0),
    (kill_daemon, 1),
    (kill_mount, 0),
    (kill_mount, 1),
    (kill_daemon_and_mount, 1),
    (kill_parent, 0),
    (kill_everything, 1),
]
"""What is killed, and at which of the two members."""
MOUNT_KILLS = (kill_mount, kill_daemon_and_mount, kill_everything)


@pytest.mark.parametrize("number", range(len(KILLS)), ids=lambda n: f"{KILLS[n][0].__name__}-{KILLS[n][1]}")
def test_a_process_is_killed_in_a_storm(members: Members, number: int) -> None:
    kill_at, victim = KILLS[number]
    storms = [
        Storm(member, (side + number) % 2, 2 * number + side, COUNT, rough=kill_at in MOUNT_KILLS and side == victim)
        for side, member in enumerate(members)
    ]
    for storm in storms:
        storm.begin()
    storms[victim].wait_progress(COUNT // 4)
    assert storms[victim].is_running
    kill_at(members[victim])
    if kill_at in (kill_daemon, kill_mount):
        storms[victim].wait_progress(COUNT // 2)
        kill_at(members[victim])
    reports = [storm.finished() for storm in storms]
    if kill_at is kill_parent:
        assert members[victim].is_mounted
        members[victim].umount()
        members[victim].mount()
    expect_connected(*members)
    expect_equal(*members, reports)


def test_both_daemons_are_killed_at_once_in_a_storm(members: Members) -> None:
    storms = [Storm(member, number, 100 + number, COUNT) for number, member in enumerate(members)]
    for storm in storms:
        storm.begin()
    storms[0].wait_progress(COUNT // 3)
    for member in members:
        member.kill_daemon()
    storms[1].wait_progress(COUNT // 2)
    for member in members:
        member.start_daemon()
    reports = [storm.finished() for storm in storms]
    expect_connected(*members)
    expect_equal(*members, reports)


def test_blocks_that_had_arrived_are_not_fetched_again(members: Members) -> None:
    alpha, beta = members
    arrived = beta.volume()["bytes_fetched"]
    # On a busy host it takes long enough for a part of it to be told, and fetched, which is another content.
    os.kill(alpha.daemon_pid, signal.SIGSTOP)
    try:
        with (alpha.tree / "large").open("wb") as file:
            for _ in range(SIZE >> 20):
                file.write(os.urandom(1 << 20))
    finally:
        os.kill(alpha.daemon_pid, signal.SIGCONT)
    until(lambda: beta.volume()["bytes_fetched"] > arrived, "the file is being fetched", 60)
    arrived = beta.volume()["bytes_fetched"] - arrived
    kill_daemon(beta)
    expect_connected(alpha, beta)
    alpha.wait()
    assert (beta.tree / "large").stat().st_size == SIZE
    assert beta.volume()["bytes_fetched"] <= SIZE - arrived + REQUESTED_SIZE_MAX
    expect_equal(alpha, beta)


def test_what_a_mount_carries_out_after_its_daemon_died_is_nobodys_change(members: Members) -> None:
    alpha, beta = members
    names = [f"shared/below/late{number}" for number in range(20)]
    # Into a directory that the kernel does not know yet, the mount needs nobody's system calls to commit.
    beta.umount()
    beta.mount()
    expect_connected(alpha, beta)
    alpha.wait()
    mount, paths = beta.mount_pid, beta.volume()["paths"]
    os.kill(mount, signal.SIGSTOP)
    try:
        for name in names:
            (alpha.tree / name).write_text(name)
        until(
            lambda: beta.volume()["paths"] == paths + len(names) and beta.commits_under_way(),
            "beta's mount is told",
        )
        handed_over = beta.logs().count(f"mounted on {beta.tree}")
        kill_daemon(beta)
        until(lambda: beta.logs().count(f"mounted on {beta.tree}") > handed_over, "the new daemon has the root")
        for name in names:
            (alpha.tree / name).unlink()
        until(lambda: beta.volume()["paths"] == paths, "beta knows that they are gone")
    finally:
        os.kill(mount, signal.SIGCONT)
    expect_connected(alpha, beta)
    expect_equal(alpha, beta)
    assert not [name for member in members for name in names if (member.tree / name).exists()]


def test_after_everything_arrived_a_killed_daemon_costs_a_greeting(members: Members) -> None:
    alpha, beta = members
    expect_equal(alpha, beta)
    for member in (beta, alpha):
        kill_daemon(member)
        expect_connected(alpha, beta)
        alpha.wait()
        beta.wait()
        for one in members:
            assert one.volume()["bytes_fetched"] == 0 or one is not member
        assert member.peer()["bytes_received"] <= GREETING_SIZE_MAX
        assert member.peer()["bytes_sent"] <= GREETING_SIZE_MAX
    expect_equal(alpha, beta)


def expect_connected(*members: Member) -> None:
    for member in members:
        until(lambda m=member: m.volume()["state"] == "replicating" and m.peer()["connected"], "it replicates", 60)  # type: ignore[misc]
