"""Owners by name, by number, or one for everything, as the configuration says for each member."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.support.members import VOLUME, Member, two_members, until
from tests.cluster.conftest import expect_calm_logs

Pair = tuple[Member, Member]


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two members, at the second of which everything that arrives belongs to a certain user and group."""
    with two_members(tmp_path_factory.mktemp("members") / "m") as (alpha, beta):
        settings = alpha.home.settings_file
        lines = settings.read_text().replace(
            f"[volumes.{VOLUME}]", f'[volumes.{VOLUME}]\nowners.beta = "www-data:4321"'
        )
        settings.write_text(lines)
        alpha.csfs("config", "reload")
        until(lambda: "www-data" in beta.home.settings_file.read_text(), "beta has the configuration")
        beta.csfs("config", "check")
        until(lambda: arrived(alpha, beta, "probe") == (33, 4321), "beta follows it")
        yield alpha, beta
        expect_calm_logs(alpha, beta)


def arrived(alpha: Member, beta: Member, name: str) -> tuple[int, int]:
    """Make a file anew at alpha, and return whose it is at beta."""
    (alpha.tree / name).unlink(missing_ok=True)
    (alpha.tree / name).write_text("probe")
    alpha.wait()
    return owner(beta.tree / name)


def owner(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid


def test_everything_that_arrives_belongs_to_one_user_and_stays_whose_it_is_elsewhere(fixed: Pair) -> None:
    alpha, beta = fixed
    path = alpha.tree / "file"
    path.write_text("by root")
    os.chown(path, 1, 1)
    alpha.wait()
    assert owner(beta.tree / "file") == (33, 4321)
    (beta.tree / "file").write_text("edited where it belongs to somebody else")
    (beta.tree / "file").chmod(0o640)
    beta.wait()
    assert path.read_text() == "edited where it belongs to somebody else"
    assert owner(path) == (1, 1)
    assert path.stat().st_mode & 0o777 == 0o640


def test_what_is_given_away_there_is_given_away_everywhere(fixed: Pair) -> None:
    alpha, beta = fixed
    (alpha.tree / "given").mkdir()
    alpha.wait()
    assert owner(beta.tree / "given") == (33, 4321)
    os.chown(beta.tree / "given", 2, 2)
    beta.wait()
    assert owner(alpha.tree / "given") == (2, 2)


def test_who_is_not_known_here_is_a_complaint(fixed: Pair) -> None:
    beta = fixed[1]
    before = beta.home.settings_file.read_text()
    beta.home.settings_file.write_text(before.replace("www-data", "no-such-user"))
    try:
        done = beta.csfs("config", "check", check=False)
        assert done.returncode == 3
        assert "knows no no-such-user" in done.stderr
    finally:
        beta.home.settings_file.write_text(before)
