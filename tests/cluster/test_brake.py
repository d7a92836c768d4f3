"""`rm -rf` at one member: the other ones keep their files until a person has said what is to become of them."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.engine.brake import Limits
from csfs.errors import ExitCode
from scripts.support.members import Member, replicating, two_members, until
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.test_versions import ran, told

FILES = 250
DIRECTORIES = 5
AT_ONCE = Limits(0.5, 100).at_once(FILES + DIRECTORIES + 1)
"""As configured where nothing is."""
Pair = tuple[Member, Member]


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Pair]:
    """Two members with a few hundred files."""
    source = tmp_path / "source"
    for number in range(FILES):
        file = source / f"d{number % DIRECTORIES}" / f"f{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"content {number}\n")
    with two_members(tmp_path / "m", source, braked=True) as (alpha, beta):
        alpha.wait()
        yield alpha, beta
        expect_calm_logs(alpha, beta)


def files(member: Member) -> int:
    return sum(len(names) for _, _, names in os.walk(member.tree))


def remove_all(member: Member) -> None:
    """Remove everything; peers hear of it at once, however long it takes here."""
    daemon = member.daemon_pid
    os.kill(daemon, signal.SIGSTOP)
    try:
        for number in range(DIRECTORIES):
            shutil.rmtree(member.tree / f"d{number}")
    finally:
        os.kill(daemon, signal.SIGCONT)


def braked(member: Member) -> bool:
    return bool(told(member, "approve", code=ExitCode.FOUND)["waiting"])


def waiting_for_all(member: Member) -> None:
    left = FILES - AT_ONCE
    until(lambda: member.ask("approve", path=None)["waiting"][0]["removed"] >= left, "what was removed waits")


def test_a_mass_delete_waits_survives_a_restart_and_is_let_through(full: Pair) -> None:
    alpha, beta = full
    remove_all(alpha)
    waiting_for_all(beta)
    assert files(beta) >= FILES - AT_ONCE, "more than the first few were removed"
    (waiting,) = told(beta, "approve", code=ExitCode.FOUND)["waiting"]
    assert (waiting["member"], waiting["volume"], waiting["replaced"]) == ("alpha", "files", 0)
    assert time.time() - waiting["since"] < 60
    assert "csfs approve" in str(beta.volume()["alarms"])
    assert "alpha removes" in ran(beta, "status").stdout
    assert ran(alpha, "wait", "--timeout", "1").returncode == ExitCode.TIMEOUT, "it is not applied"
    (alpha.tree / "new").write_text("goes on")
    until(lambda: (beta.tree / "new").exists(), "what takes nothing away goes on")

    beta.kill_daemon()
    beta.start_daemon()
    until(lambda: beta.volume()["state"] == "replicating" and beta.peer()["connected"], "beta replicates again")
    waiting_for_all(beta)
    kept = files(beta)
    assert kept > FILES - AT_ONCE

    paths = told(beta, "approve", str(beta.tree), "--dry-run")["paths"]
    assert len(paths) >= kept - 1
    assert files(beta) == kept
    assert told(beta, "approve", "files")["removed"] >= kept - 1
    alpha.wait()
    assert files(beta) == 1
    assert not beta.volume()["alarms"]
    assert told(beta, "approve") == {"waiting": [], "suspects": [], "errors": []}


def test_a_mass_delete_is_turned_down_for_all(full: Pair) -> None:
    alpha, beta = full
    remove_all(alpha)
    waiting_for_all(beta)
    assert ran(beta, "approve", "files", "--reject").returncode == ExitCode.DONE
    beta.wait()
    kept = files(beta)
    assert files(alpha) == kept >= FILES - AT_ONCE
    one = next(path for path in alpha.tree.glob("d*/f*") if path.is_file())
    assert one.read_text() == f"content {one.name[1:]}\n"
    assert not beta.volume()["alarms"]
    (beta.tree / one.relative_to(alpha.tree)).unlink()
    beta.wait()
    assert files(alpha) == kept - 1


def test_the_one_who_removed_it_takes_it_back(full: Pair) -> None:
    alpha, beta = full
    then = time.time()
    remove_all(alpha)
    waiting_for_all(beta)
    assert ran(alpha, "restore", str(alpha.tree), "--to-time", f"@{then:.3f}").returncode == ExitCode.DONE
    alpha.wait()
    assert files(alpha) == files(beta) == FILES
    assert not beta.volume()["alarms"]


def test_half_of_it_or_less_and_a_directory_that_moves_do_not_wait(full: Pair) -> None:
    alpha, beta = full
    for number in (0, 1):
        shutil.rmtree(alpha.tree / f"d{number}")
    alpha.wait()
    assert files(beta) == FILES * 3 // 5
    for number in (2, 3, 4):
        (alpha.tree / f"d{number}").rename(alpha.tree / f"e{number}")
    alpha.wait()
    assert sorted(os.listdir(beta.tree)) == ["e2", "e3", "e4"]


def _knows(member: Member) -> bool:
    """Return whether a member has no link from before it read its configuration last."""
    since = member.peer()["since"]
    return since is not None and since > member.home.settings_file.stat().st_mtime


def test_nothing_waits_where_the_brake_is_off(full: Pair) -> None:
    alpha, beta = full
    settings = alpha.home.settings_file
    text = settings.read_text()
    revision = next(line for line in text.splitlines() if line.startswith("revision"))
    changed = text.replace(revision, f"revision = {int(revision.split()[-1]) + 1}")
    settings.write_text(changed.replace("[volumes.files]", '[volumes.files]\nbrake = "off"'))
    alpha.csfs("config", "reload")
    until(lambda: 'brake = "off"' in beta.home.settings_file.read_text(), "beta has the configuration")
    until(lambda: all(_knows(member) for member in (alpha, beta)), "both follow it")
    replicating(alpha, beta)
    remove_all(alpha)
    alpha.wait()
    assert files(beta) == 0
