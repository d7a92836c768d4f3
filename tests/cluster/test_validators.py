"""What a validator refuses stays out at a member, and the one that made it hears of it; real members, real commands."""

import shutil
from collections.abc import Iterator

import pytest

from csfs.errors import ExitCode
from scripts.support.members import VOLUME, Member, replicating, two_members, until
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.test_merging import LINES, OPTIONS, told_conflicts
from tests.cluster.test_versions import apart, ran, write

VALIDATORS = f"""
[[volumes.{VOLUME}.validators]]
paths = ["/checked"]
command = ["/bin/sh", "-c", 'if grep -n BROKEN "$1"; then exit 1; fi', "sh", "{{file}}"]

[[volumes.{VOLUME}.validators]]
paths = ["/agreed"]
command = ["/bin/sh", "-c", '! {{ grep -q alpha "$1" && grep -q beta "$1"; }}', "sh", "{{file}}"]

[[volumes.{VOLUME}.validators]]
paths = ["/sudoers"]
command = ["visudo", "-c", "-f", "{{file}}"]
"""


@pytest.fixture(scope="module")
def validating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Member, Member]]:
    """Two members of a group that merges, with validators that came to beta with the signed configuration."""
    base = tmp_path_factory.mktemp("members")
    with two_members(base / "m", options=OPTIONS) as members:
        alpha, beta = members
        settings = alpha.home.settings_file
        text = settings.read_text()
        revision = next(line for line in text.splitlines() if line.startswith("revision = "))
        settings.write_text(text.replace(revision, f"revision = {int(revision.split()[-1]) + 1}") + VALIDATORS)
        alpha.csfs("config", "reload")
        until(lambda: "visudo" in beta.csfs("config", "show").stdout, "beta has the validators")
        replicating(alpha, beta)
        yield members
        expect_calm_logs(*members)


def reasons(member: Member, name: str) -> list[str]:
    """Return what a member says is wrong with a path."""
    return [problem["reason"] for problem in member.volume()["problems"] if problem["path"] == name]


def test_what_is_refused_stays_out_until_it_is_mended_and_both_sides_say_so(validating: tuple[Member, Member]) -> None:
    alpha, beta = validating
    write(alpha.tree / "checked/file", "good\n")
    alpha.wait()
    assert (beta.tree / "checked/file").read_text() == "good\n"
    write(alpha.tree / "checked/file", "good\nBROKEN\n")
    write(alpha.tree / "checked/other", "good, too\n")
    alpha.wait()
    until(lambda: bool(reasons(beta, "checked/file")), "beta refuses it")
    (here,) = reasons(beta, "checked/file")
    assert "/bin/sh refuses it (exit 1): 2:BROKEN" in here
    until(lambda: bool(reasons(alpha, "checked/file")), "alpha hears of it")
    (there,) = reasons(alpha, "checked/file")
    assert there.startswith("not applied at beta: ")
    assert "2:BROKEN" in there
    assert (beta.tree / "checked/file").read_text() == "good\n"
    assert (beta.tree / "checked/other").read_text() == "good, too\n", "nothing else is held up"
    for member in validating:
        assert ran(member, "status").returncode == ExitCode.FOUND
    beta.kill_daemon()
    beta.start_daemon()
    replicating(alpha, beta)
    until(lambda: bool(reasons(beta, "checked/file")) and bool(reasons(alpha, "checked/file")), "both still say so")
    beta.csfs("config", "reload")
    until(lambda: bool(reasons(beta, "checked/file")), "it is asked again, and refused again")
    write(alpha.tree / "checked/file", "mended\n")
    alpha.wait()
    assert (beta.tree / "checked/file").read_text() == "mended\n"
    until(lambda: not reasons(alpha, "checked/file") + reasons(beta, "checked/file"), "nothing is wrong any more")


def test_what_programs_write_here_is_nobodys_to_refuse_and_a_merge_is_asked_about(
    validating: tuple[Member, Member],
) -> None:
    alpha, beta = validating
    write(alpha.tree / "agreed", LINES)
    with apart(alpha, beta):
        write(alpha.tree / "agreed", LINES.replace("line 3\n", "alpha\n"), 1_000)
        write(beta.tree / "agreed", LINES.replace("line 15\n", "beta\n"), 2_000)
    replicating(alpha, beta)
    until(lambda: "alpha" not in (alpha.tree / "agreed").read_text(), "beta's, the younger one, is live")
    assert told_conflicts(alpha) == told_conflicts(beta) == ["agreed"]
    assert (alpha.tree / "agreed").read_text() == (beta.tree / "agreed").read_text()
    log = alpha.home.daemon_log.read_text()
    assert "agreed is not merged: /bin/sh refuses it" in log


def test_a_command_that_is_not_installed_is_said_not_to_be(validating: tuple[Member, Member]) -> None:
    _, beta = validating
    found = beta.volume()["unvalidated"]
    expected = (
        [] if shutil.which("visudo", path="/usr/sbin:/usr/bin") else [{"command": "visudo", "paths": ["/sudoers"]}]
    )
    assert found == expected


@pytest.mark.skipif(shutil.which("visudo") is None, reason="needs visudo")
def test_visudo_keeps_a_broken_sudoers_out(validating: tuple[Member, Member]) -> None:
    alpha, beta = validating
    write(alpha.tree / "sudoers", "root ALL=(ALL:ALL) ALL\n")
    alpha.wait()
    write(alpha.tree / "sudoers", "root ALL=(ALL:ALL ALL\n")
    alpha.wait()
    until(lambda: bool(reasons(beta, "sudoers")), "visudo refuses it")
    assert "syntax error" in reasons(beta, "sudoers")[0]
    assert (beta.tree / "sudoers").read_text() == "root ALL=(ALL:ALL) ALL\n"
    (alpha.tree / "sudoers").unlink()
    alpha.wait()
