"""Groups whose programs wait until other members have what they changed."""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csfs.store.hashing import BLOCK_SIZE
from scripts.support.members import VOLUME, Member, free_port, kill, replicating, two_members, until
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.networks import switched
from tests.cluster.test_partition import kept
from tests.trees import differences

Pair = tuple[Member, Member]
CLOSERS = 100
TIMEOUT_S = 3.0


def synchronous(member: Member, sync: str, *, timeout: str = "20s", late: str = "report") -> None:
    """Write down what the one group waits for, before anything is mounted."""
    keys = f'sync = "{sync}"\nsync_timeout = "{timeout}"\non_sync_timeout = "{late}"\n'
    before = member.home.settings_file.read_text().partition("[[")[0]
    member.home.settings_file.write_text(f"{before}\n[[volumes.{VOLUME}.groups]]\n{keys}")
    member.csfs("config", "reload")


@contextlib.contextmanager
def waiting_for(base: Path, sync: str, *, timeout: str = "20s", late: str = "report") -> Iterator[Pair]:
    """Give two members whose group waits as it says."""
    with two_members(base / "m") as (alpha, beta):
        synchronous(alpha, sync, timeout=timeout, late=late)
        until(lambda: sync in beta.home.settings_file.read_text(), "beta has the group")
        replicating(alpha, beta)
        yield alpha, beta
        expect_calm_logs(alpha, beta)


def kill_and_destroy(member: Member) -> None:
    """Let a host go up in smoke: no process of it does anything more, and its disk is gone."""
    for pid in (member.daemon_pid, member.parent_pid, member.mount_pid):
        os.kill(pid, signal.SIGSTOP)
    for pid in (member.daemon_pid, member.parent_pid, member.mount_pid):
        kill(pid, signal.SIGKILL)
    subprocess.run(["umount", "-l", str(member.tree)], check=True)
    for path in member.tree.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("sync", ["received", "durable(1)"])
def test_what_was_closed_outlives_its_host(tmp_path: Path, sync: str) -> None:
    with waiting_for(tmp_path, sync) as (alpha, beta):
        (alpha.tree / "renamed").write_text("to be renamed")
        (alpha.tree / "gone").write_text("to be removed")
        large = os.urandom(2 * BLOCK_SIZE + 5)
        (alpha.tree / "large").write_bytes(large)
        (alpha.tree / "directory/below").mkdir(parents=True)
        (alpha.tree / "renamed").rename(alpha.tree / "directory/new name")
        (alpha.tree / "directory").rename(alpha.tree / "moved")
        (alpha.tree / "gone").unlink()
        os.symlink("nowhere", alpha.tree / "link")
        os.setxattr(alpha.tree / "large", "user.last", b"x")
        descriptor = os.open(alpha.tree / "synced", os.O_CREAT | os.O_WRONLY, 0o600)
        os.write(descriptor, b"fsynced")
        os.fsync(descriptor)
        (alpha.tree / "last").write_text("written last")
        (alpha.tree / "last").chmod(0o640)
        os.close(descriptor)
        kill_and_destroy(alpha)
        until(lambda: (beta.tree / "last").read_text() == "written last", "the last is there")
        until(lambda: (beta.tree / "last").stat().st_mode & 0o777 == 0o640, "and its mode")
        # What is large is shown after what is small, perhaps.
        until(lambda: (beta.tree / "large").read_bytes() == large, "all of it is there")
        until(lambda: os.getxattr(beta.tree / "large", "user.last") == b"x", "and its attribute")
        assert (beta.tree / "moved/new name").read_text() == "to be renamed"
        assert (beta.tree / "moved/below").is_dir()
        assert (beta.tree / "synced").read_bytes() == b"fsynced"
        assert os.readlink(beta.tree / "link") == "nowhere"
        names = {path.name for path in beta.tree.iterdir()}
        assert names == {"large", "moved", "link", "synced", "last"}


def test_a_hundred_that_close_at_once_on_both_sides_all_come_through(tmp_path: Path) -> None:
    with waiting_for(tmp_path, "durable(1)", timeout="60s") as (alpha, beta):
        (alpha.tree / "both").write_text("begun")
        ready = threading.Barrier(2 * CLOSERS)
        failed: list[BaseException] = []

        def write(member: Member, number: int) -> None:
            try:
                ready.wait(60)
                (member.tree / f"{member.name} {number}").write_text(f"{number}")  # all in one directory
                (member.tree / "both").write_text(f"{member.name} {number}")
            except BaseException as error:
                failed.append(error)

        writers = [threading.Thread(target=write, args=(m, n)) for m in (alpha, beta) for n in range(CLOSERS)]
        began = time.monotonic()
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(120)
        took_s = time.monotonic() - began
        assert failed == []
        assert alpha.volume()["alarms"] == beta.volume()["alarms"] == [], took_s
        for number in range(CLOSERS):
            until(lambda: (beta.tree / f"alpha {number}").read_text() == f"{number}", "alpha's is at beta")  # noqa: B023
            until(lambda: (alpha.tree / f"beta {number}").read_text() == f"{number}", "beta's is at alpha")  # noqa: B023
        alpha.wait()
        beta.wait()
        until(lambda: differences(str(alpha.tree), str(beta.tree)) == [], "all is equal")


def test_where_the_other_is_away_programs_go_on_after_a_while_and_status_says_so(tmp_path: Path) -> None:
    with waiting_for(tmp_path, "received", timeout=f"{TIMEOUT_S}s") as (alpha, beta):
        beta.stop_daemon()
        began = time.monotonic()
        descriptor = os.open(alpha.tree / "file", os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, b"x")
        os.close(descriptor)
        assert 2 * TIMEOUT_S <= time.monotonic() - began < 2 * TIMEOUT_S + 5
        until(lambda: "not on as many members" in str(alpha.volume()["alarms"]), "there is an alarm")
        assert alpha.csfs("status", check=False).returncode == 1
        beta.start_daemon()
        replicating(alpha, beta)
        until(lambda: alpha.volume()["alarms"] == [], "it is over")
        assert (beta.tree / "file").read_text() == "x"
        # Without a daemon of its own a program waits as long.
        alpha.stop_daemon()
        began = time.monotonic()
        (alpha.tree / "file").chmod(0o600)
        assert TIMEOUT_S <= time.monotonic() - began < TIMEOUT_S + 5
        alpha.start_daemon()
        replicating(alpha, beta)


def test_where_it_is_to_fail_close_and_fsync_do_and_nothing_is_taken_back(tmp_path: Path) -> None:
    with waiting_for(tmp_path, "durable(1)", timeout="0.5s", late="fail") as (alpha, beta):
        beta.stop_daemon()
        descriptor = os.open(alpha.tree / "file", os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, b"first")
        for act in (os.fsync, os.close):
            with pytest.raises(OSError, match="Input/output error"):
                act(descriptor)
        (alpha.tree / "directory").mkdir()  # which has been made, and says so
        assert (alpha.tree / "file").read_text() == "first"
        beta.start_daemon()
        replicating(alpha, beta)
        until(lambda: (beta.tree / "file").read_text() == "first", "beta has it")
        # On a busy host it may take longer than programs wait here, which is an error like the one before.
        until(lambda: (alpha.tree / "file").write_text("second") > 0, "there is an end to it")
        until(lambda: alpha.volume()["alarms"] == [], "nothing is wrong any more")


def test_what_others_read_and_what_is_not_synchronous_does_not_wait(tmp_path: Path) -> None:
    with two_members(tmp_path / "m") as (alpha, beta):
        text = alpha.home.settings_file.read_text()
        waiting = f'[[volumes.{VOLUME}.groups]]\ninclude = ["/waiting"]\nsync = "received"\nsync_timeout = "60s"\n'
        alpha.home.settings_file.write_text(f"{text}\n{waiting}\n[[volumes.{VOLUME}.groups]]\n")
        alpha.csfs("config", "reload")
        until(lambda: "received" in beta.home.settings_file.read_text(), "beta has the groups")
        replicating(alpha, beta)
        (alpha.tree / "waiting").mkdir()
        (alpha.tree / "waiting/file").write_text("there")
        beta.stop_daemon()
        waiter = threading.Thread(target=lambda: (alpha.tree / "waiting/file").write_text("waits"))
        waiter.start()
        began = time.monotonic()
        for number in range(50):
            (alpha.tree / f"{number}").write_text("does not wait")
            (alpha.tree / f"{number}").rename(alpha.tree / f"{number}.new")
        descriptor = os.open(alpha.tree / "0.new", os.O_WRONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        assert (alpha.tree / "waiting/file").read_text() in ("waits", "")
        assert time.monotonic() - began < 10
        assert waiter.is_alive()
        beta.start_daemon()
        waiter.join(30)
        assert not waiter.is_alive()
        until(lambda: (beta.tree / "waiting/file").read_text() == "waits", "beta shows it, too")
        expect_calm_logs(alpha, beta)


def outcome_of(act: Callable[[], object]) -> int:
    """Return the errno of what is done, 0 for none."""
    try:
        act()
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def may_write(member: Member) -> bool:
    """Return whether programs may write here at the moment."""
    outcome = outcome_of((member.tree / "probe").touch)
    assert outcome in (0, errno.EROFS)
    return outcome == 0


def test_whoever_is_parted_from_most_members_cannot_write_and_the_others_go_on(tmp_path: Path) -> None:
    names = ("alpha", "beta", "gamma")
    with switched(3) as net, contextlib.ExitStack() as ending:
        alpha, beta, gamma = members = [
            Member(tmp_path, name, 30866, prefix, address)
            for name, prefix, address in zip(names, net.prefixes, net.addresses, strict=True)
        ]
        for member in members:
            member.directory.mkdir()
            ending.callback(member.stop)
        alpha.found()
        beta.join(alpha)
        gamma.join(alpha)
        synchronous(alpha, "quorum", timeout="8s", late="fail")
        for member in members:
            until(lambda m=member: "quorum" in m.home.settings_file.read_text(), "all have the group")  # type: ignore[misc]
            member.mount()
        for member in members:
            until(lambda m=member: may_write(m), f"{member.name} may write")  # type: ignore[misc]
        (alpha.tree / "file").write_text("with all")
        until(lambda: (gamma.tree / "file").read_text() == "with all", "gamma has it")
        held = os.open(gamma.tree / "file", os.O_WRONLY)
        net.cut(2)
        # What is begun before that is known takes as long as the group says.
        until(lambda: not may_write(gamma), "gamma is refused", 20)
        for act in (
            lambda: (gamma.tree / "new").write_text("x"),
            lambda: (gamma.tree / "file").write_text("x"),
            lambda: (gamma.tree / "file").chmod(0o600),
            lambda: (gamma.tree / "file").rename(gamma.tree / "other"),
            lambda: (gamma.tree / "file").unlink(),
        ):
            assert outcome_of(act) == errno.EROFS
        assert (gamma.tree / "file").read_text() == "with all"
        for number in range(5):
            (alpha.tree / "file").write_text(f"of two, {number}")
            (beta.tree / f"beta {number}").write_text("of two")
        # Who has it open from before can write, and learns at the end that nobody knows who has it. Nothing of it is lost.
        os.write(held, b"of one!")
        waiter = threading.Thread(target=lambda: outcomes.append(outcome_of(lambda: os.close(held))))
        outcomes: list[int] = []
        waiter.start()
        net.heal(2)
        waiter.join(60)
        assert outcomes in ([0], [errno.EIO])
        for member in members:
            until(lambda m=member: may_write(m), f"{member.name} may write again", 60)  # type: ignore[misc]
        (gamma.tree / "gamma").write_text("of three")
        until(lambda: (alpha.tree / "gamma").read_text() == "of three", "alpha has it")
        until(lambda: differences(str(alpha.tree), str(gamma.tree)) == [], "all is equal", 60)
        until(lambda: differences(str(alpha.tree), str(beta.tree)) == [], "all is equal", 60)
        contents = {(gamma.tree / "file").read_text()} | set().union(*(kept(member) for member in members))
        assert any("of one!" in content for content in contents)
        assert "of two, 4" in contents
        expect_calm_logs(*members)


MAKES_ONE = "import os, sys; os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)"
SYNCS_THE_SAME = (
    "import os, sys; same = os.open('same', os.O_WRONLY); os.write(same, sys.argv[1].encode()); os.fsync(same)"
)


@pytest.mark.parametrize("waits", [MAKES_ONE, SYNCS_THE_SAME], ids=["makes a file", "syncs a file"])
def test_who_waits_holds_up_no_commit_elsewhere(tmp_path: Path, waits: str) -> None:
    alpha, beta, gamma = members = [Member(tmp_path, name, free_port()) for name in ("alpha", "beta", "gamma")]
    with contextlib.ExitStack() as ending:
        for member in members:
            member.directory.mkdir()
            ending.callback(member.stop)
        alpha.found()
        beta.join(alpha)
        gamma.join(alpha)
        for member in members:
            member.mount()
            until(lambda m=member: m.volume()["state"] == "replicating", "all replicate")  # type: ignore[misc]
        (alpha.tree / "waiting").mkdir()
        (alpha.tree / "free").mkdir()
        (alpha.tree / "waiting/same").touch()
        waiting = f'[[volumes.{VOLUME}.groups]]\ninclude = ["/waiting"]\nsync = "durable(2)"\nsync_timeout = "60s"\n'
        text = alpha.home.settings_file.read_text()
        alpha.home.settings_file.write_text(f"{text}\n{waiting}\n[[volumes.{VOLUME}.groups]]\n")
        alpha.csfs("config", "reload")
        for member in members:
            until(lambda m=member: "durable" in m.home.settings_file.read_text(), "all have the groups")  # type: ignore[misc]
        for member in members:
            until(lambda m=member: all(p["connected"] for p in m.status()["peers"]), "all are connected")  # type: ignore[misc]
            member.wait()
        for member in (alpha, gamma):
            until(lambda m=member: len(list(m.tree.iterdir())) == 2, "both directories are there")  # type: ignore[misc]
            # The kernel knows them: commits have to go through it.
            assert [path.stat().st_size for path in (member.tree / "waiting").iterdir()] == [0]
        beta.stop_daemon()
        # Both hold the directory, or the file, in their kernels, and what the other makes is to be committed there.
        waiters = []
        pids = [member.daemon_pid for member in (alpha, gamma)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)  # so that nothing is committed before both wait
        for member in (alpha, gamma):
            before = member.journal_last()
            # A program of its own: the commands below would wait for what they inherit, when they close it.
            line = [sys.executable, "-I", "-c", waits, member.name]
            waiters.append(subprocess.Popen(line, cwd=member.tree / "waiting"))
            until(lambda m=member, b=before: m.journal_last() > b, "it is done, and waits")  # type: ignore[misc]
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        for number in range(20):
            for one, other in ((gamma, alpha), (alpha, gamma)):
                name = f"free/{number} by {one.name}"
                (one.tree / name).write_text("free")
                until(lambda: (other.tree / name).read_text() == "free", "what is elsewhere arrives", 10)  # noqa: B023
        assert [waiter.poll() for waiter in waiters] == [None, None]
        beta.start_daemon()
        assert [waiter.wait(60) for waiter in waiters] == [0, 0]
        for member in members:
            names = {"alpha", "gamma", "same"} if waits == MAKES_ONE else {"same"}
            until(lambda m=member: {p.name for p in (m.tree / "waiting").iterdir()} == names, "all is there")  # type: ignore[misc]  # noqa: B023
        shown = [lambda m=member: (m.tree / "waiting/same").read_bytes() for member in members]  # type: ignore[misc]
        until(lambda: len({read() for read in shown}) == 1, "all show the same")
        expect_calm_logs(*members)
