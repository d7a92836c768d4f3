"""What a reload takes up, and what it says of the rest."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.errors import ExitCode
from scripts.support.members import VOLUME, Member, replicating, two_members, until


@pytest.fixture(scope="module")
def unmounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Member, Member]]:
    """Two members whose daemons are connected."""
    with two_members(tmp_path_factory.mktemp("members") / "m", mounted=False) as members:
        for member in members:
            until(lambda m=member: m.peer()["connected"], f"{member.name} is connected")  # type: ignore[misc]
        yield members


def reloaded(member: Member) -> list[str]:
    """Have the daemon read its configuration; return what is said of it."""
    done = member.csfs("config", "reload")
    assert done.stdout == ""
    return done.stderr.splitlines()


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_log_level_counts_at_once(unmounted: tuple[Member, Member], tmp_path: Path) -> None:
    member = unmounted[1]
    edit(member.home.member_file, 'level = "info"', 'level = "error"')
    assert reloaded(member) == []
    before = member.logs()
    unmounted[0].csfs("volume", "add", "more", str(tmp_path))
    until(lambda: "more" in member.home.settings_file.read_text(), "the configuration has arrived")
    assert "INFO" not in member.logs().removeprefix(before)
    edit(member.home.member_file, 'level = "error"', 'level = "info"')
    assert reloaded(member) == []
    unmounted[0].csfs("volume", "remove", "more")
    until(lambda: "INFO" in member.logs().removeprefix(before), "it says again what it does")
    # Else it may arrive while a test after this one edits the file.
    until(lambda: "more" not in member.home.settings_file.read_text(), "the configuration has arrived")


def test_what_counts_later_is_said(unmounted: tuple[Member, Member]) -> None:
    member = unmounted[1]
    before = member.home.member_file.read_text()
    edit(member.home.member_file, f'listen = ["{member.address}"]', 'listen = ["127.0.0.1:1"]')
    (line,) = reloaded(member)
    assert line == f"csfs: {member.home.member_file}: listen counts from the daemon's next start on"
    member.home.member_file.write_text(before)
    assert reloaded(member) == []


def test_a_host_is_no_other_member_all_at_once(unmounted: tuple[Member, Member]) -> None:
    member = unmounted[1]
    for file, right, wrong in (
        (member.home.member_file, 'member = "beta"', 'member = "alpha"'),
        (member.home.settings_file, 'cluster = "csfs"', 'cluster = "other"'),
    ):
        before = file.read_text()
        edit(file, right, wrong)
        done = member.csfs("config", "reload", check=False)
        assert (done.returncode, done.stderr.count("\n")) == (ExitCode.REFUSED, 1), done.stderr
        assert f"correct {file.name}" in done.stderr
        assert (member.status()["member"], member.status()["cluster"]) == ("beta", "csfs")
        file.write_text(before)
    assert reloaded(member) == []


def test_an_edit_where_nobody_takes_it_from_is_said_until_it_is_undone(unmounted: tuple[Member, Member]) -> None:
    alpha, beta = unmounted
    edit(beta.home.settings_file, "revision = ", "revision = 99")
    (line,) = reloaded(beta)
    assert "changed for this host alone" in line
    until(lambda: any("another csfs.toml" in one for one in alpha.peer()["alarms"]), "alpha says so")
    until(lambda: any("where csfs init ran" in one for one in beta.peer()["alarms"]), "beta says so")
    assert alpha.csfs("status", check=False).returncode == ExitCode.FOUND
    edit(alpha.home.settings_file, "revision = ", "revision = 999")
    assert reloaded(alpha) == []
    until(lambda: alpha.home.settings_file.read_text() == beta.home.settings_file.read_text(), "both have one")
    for member in (alpha, beta):
        until(lambda m=member: m.peer()["connected"] and not m.peer()["alarms"], "nothing is said any more")  # type: ignore[misc]


def test_a_file_that_was_copied_here_counts_when_its_author_reloads_it(unmounted: tuple[Member, Member]) -> None:
    alpha, beta = unmounted
    before = alpha.home.settings_file.read_text()
    for text, names in (
        (before + '\n[volumes.copied]\npath = "/srv/copied"\n', {VOLUME, "copied"}),
        (before, {VOLUME}),
    ):
        for member in unmounted:
            member.home.settings_file.write_text(text)
        assert reloaded(alpha) == []
        for member in (alpha, beta):
            until(
                lambda m=member, n=names: {one["name"] for one in m.status()["volumes"]} == n,
                f"{member.name} follows it",
            )  # type: ignore[misc]


def test_other_rules_are_nothing_to_warn_of(pair: tuple[Member, Member]) -> None:
    alpha, beta = pair
    before = [member.home.daemon_log.read_text() for member in pair]
    text = alpha.home.settings_file.read_text()
    for name in ("a", "b", "c"):
        (beta.tree / name).write_text("told while the two go by different rules, or before, or after")
        group = f'\n[[volumes.{VOLUME}.groups]]\nexclude = ["/without-{name}"]\n'
        alpha.home.settings_file.write_text(text + group)
        assert reloaded(alpha) == []
        until(lambda n=name: f"/without-{n}" in beta.home.settings_file.read_text(), "the configuration has arrived")  # type: ignore[misc]
        assert reloaded(beta) == []
        replicating(alpha, beta)
        assert (alpha.tree / name).exists()
    for member, logged in zip(pair, before, strict=True):
        lines = member.home.daemon_log.read_text().removeprefix(logged).splitlines()
        assert [line for line in lines if "WARNING" in line or "ERROR" in line] == []
