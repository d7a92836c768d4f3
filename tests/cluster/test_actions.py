"""Commands that run after something has changed, at real members, by the configuration that came to them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.errors import ExitCode
from scripts.support.members import VOLUME, Member, replicating, two_members, until
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.test_versions import apart, ran, told, write

TELLS = """["/bin/sh", "-c", 'xargs -0 printf "%s|" >>"$0.$CSFS_OCCASION"; echo >>"$0.$CSFS_OCCASION"', "{told}"]"""
"""Writes a line for each time that it is run."""
ACTIONS = """
[[volumes.{volume}.actions]]
paths = ["/site"]
command = {tells}
settle = "0.5s"

[[volumes.{volume}.actions]]
paths = ["/site"]
command = {tells}
on = "local"
members = ["alpha"]
settle = "0.5s"

[[volumes.{volume}.actions]]
paths = ["/contested"]
command = ["/bin/sh", "-c", 'xargs -0 -n 1 >>"$0.$CSFS_OCCASION"', "{told}"]
on = "conflict"
members = ["beta"]
settle = "0.1s"

[[volumes.{volume}.actions]]
paths = ["/broken"]
command = ["/bin/sh", "-c", 'echo line 7 is wrong; exit 3']
settle = "0.1s"

[[volumes.{volume}.actions]]
paths = ["/late"]
command = ["/bin/sh", "-c", 'xargs -0 -n 1 >>"$0.late"', "{told}"]
settle = "1h"
"""


@pytest.fixture(scope="module")
def acting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Member, Member, Path]]:
    """Two members with actions that came to beta with the signed configuration, and where these tell, by what they are for."""
    base = tmp_path_factory.mktemp("members")
    words = base / "told"
    with two_members(base / "m", options=("--policy", "none")) as (alpha, beta):
        raised(alpha, ACTIONS.format(volume=VOLUME, told=words, tells=TELLS.format(told=words)))
        until(lambda: "/contested" in beta.csfs("config", "show").stdout, "beta has the actions")
        replicating(alpha, beta)
        yield alpha, beta, words
        expect_calm_logs(alpha, beta)


def raised(member: Member, more: str, *, instead: tuple[str, str] = ("", "")) -> None:
    """Add to the configuration, or change it, and have all members follow."""
    settings = member.home.settings_file
    text = settings.read_text().replace(*instead) + more
    revision = re.search(r"^revision = (\d+)$", text, re.M)
    assert revision is not None
    settings.write_text(text.replace(revision[0], f"revision = {int(revision[1]) + 1}"))
    member.csfs("config", "reload")


def lines(words: Path, occasion: str) -> list[str]:
    """Return what an action was told, a line for each time that it ran."""
    file = words.with_name(f"{words.name}.{occasion}")
    return file.read_text().splitlines() if file.exists() else []


def names(words: Path, occasion: str) -> set[str]:
    """Return what an action was told of, in whichever run."""
    return {name for run in lines(words, occasion) for name in run.split("|")} - {""}


def test_what_arrives_runs_a_command_once_where_it_arrives(acting: tuple[Member, Member, Path]) -> None:
    alpha, beta, words = acting
    for number in range(20):
        write(alpha.tree / f"site/page {number:02}", "new\n")
    alpha.wait()
    expected = {str(beta.tree / "site")} | {str(beta.tree / f"site/page {number:02}") for number in range(20)}
    # On a busy host what was written together may be told of in several runs.
    until(lambda: names(words, "applied") >= expected, "it ran there for all of it")
    assert names(words, "applied") == expected
    assert len(lines(words, "applied")) < 10, "twenty files are no twenty reloads"
    until(lambda: str(alpha.tree / "site/page 07") in names(words, "local"), "it ran here")
    assert str(beta.tree) not in "".join(lines(words, "local"))
    (alpha.tree / "site/page 03").unlink()
    until(lambda: lines(words, "applied")[-1] == f"{beta.tree}/site/page 03|", "a removal is a change")


def test_a_command_that_fails_is_a_problem_until_it_does_not(acting: tuple[Member, Member, Path]) -> None:
    alpha, beta, _ = acting
    write(alpha.tree / "broken/file", "x\n")
    until(lambda: bool(beta.volume()["failed_actions"]), "beta says so")
    (failed,) = beta.volume()["failed_actions"]
    assert failed["reason"] == "exit 3: line 7 is wrong"
    assert failed["command"][:2] == ["/bin/sh", "-c"]
    done = ran(beta, "status")
    assert done.returncode == ExitCode.FOUND
    assert "line 7 is wrong" in done.stdout
    assert alpha.volume()["failed_actions"] == []
    raised(alpha, "", instead=("line 7 is wrong; exit 3", "all is well"))
    until(lambda: not beta.volume()["failed_actions"], "it is another command now")


def test_a_conflict_that_somebody_has_to_settle_runs_a_command_once(acting: tuple[Member, Member, Path]) -> None:
    alpha, beta, words = acting
    write(alpha.tree / "contested/file", "both\n")
    with apart(alpha, beta):
        write(alpha.tree / "contested/file", "alpha\n")
        write(beta.tree / "contested/file", "beta, later\n")
    until(lambda: bool(lines(words, "conflict")), "it ran")
    beta.kill_daemon()
    beta.start_daemon()
    replicating(alpha, beta)
    assert told(beta, "conflicts", code=ExitCode.FOUND), "it stands, and the command has run for it"
    ran(alpha, "resolve", str(alpha.tree / "contested/file"), "--keep", "alpha")
    alpha.wait()
    with apart(alpha, beta):
        write(alpha.tree / "contested/file", "alpha again\n")
        write(beta.tree / "contested/file", "beta again\n")
    until(lambda: len(lines(words, "conflict")) > 1, "a new conflict is a new one")
    assert lines(words, "conflict") == [str(beta.tree / "contested/file")] * 2


def test_what_a_kill_keeps_from_running_runs_when_the_daemon_is_back(acting: tuple[Member, Member, Path]) -> None:
    alpha, beta, words = acting
    write(alpha.tree / "late/file", "x\n")
    alpha.wait()
    beta.kill_daemon()
    assert lines(words, "late") == []
    raised(alpha, "", instead=('settle = "1h"', 'settle = "0.1s"'))
    beta.start_daemon()
    until(lambda: f"{beta.tree}/late/file" in lines(words, "late"), "it runs")
