"""Two members that cannot reach each other change the same files; afterwards both have what both did."""

import contextlib
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator

import pytest

from scripts.support.members import VOLUME, Member, replicating, two_members, until
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.test_versions import apart, history, ran, write
from tests.trees import differences

ACCOUNTS = ("passwd", "group", "shadow", "gshadow")
# As the profile `etc` has them: backups, locks and unfinished files of the password tools.
OWN = ("*-", "*+", "*.lock", ".pwd.lock", "passwd.*", "group.*", "shadow.*", "gshadow.*")
OPTIONS = ("--policy", "merge", "--policy", "younger", *(part for name in OWN for part in ("--exclude", name)))
LINES = "".join(f"line {number}\n" for number in range(20))


@pytest.fixture(scope="module")
def merging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Member, Member]]:
    """Two members of a group that merges, with copies of this host's accounts below `host/etc`."""
    base = tmp_path_factory.mktemp("members")
    etc = base / "tree" / "host" / "etc"
    etc.mkdir(parents=True)
    for name in ACCOUNTS:
        shutil.copy2(f"/etc/{name}", etc)
    with two_members(base / "m", base / "tree", options=OPTIONS) as members:
        yield members
        expect_calm_logs(*members)


def useradd(member: Member, name: str, number: int) -> None:
    """Add a user to a member's copies, as the password tools do it."""
    command = ["useradd", "--prefix", str(member.tree / "host"), "--no-create-home", "--user-group"]
    command += ["--uid", str(number), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def names_in(member: Member, file: str) -> list[str]:
    """Return the names in one of a member's account files."""
    return [line.split(":")[0] for line in (member.tree / "host/etc" / file).read_text().splitlines()]


def told_conflicts(member: Member) -> list[str]:
    """Return the names of the paths that a member says are in conflict."""
    return [str(found["path"]).rpartition("/")[2] for found in member.ask("conflicts", paths=None)]


def expect_merged(alpha: Member, beta: Member, *names: str) -> None:
    """No conflict of these files is left, and both have the same."""
    until(lambda: not {*told_conflicts(alpha), *told_conflicts(beta)}.intersection(names), "all is merged")
    replicating(alpha, beta)
    assert differences(str(alpha.tree), str(beta.tree)) == []


def test_a_user_added_here_and_one_added_there_are_on_both(merging: tuple[Member, Member]) -> None:
    alpha, beta = merging
    before = {file: names_in(alpha, file) for file in ("passwd", "group", "shadow", "gshadow")}
    with apart(alpha, beta):
        useradd(alpha, "ann", 5001)
        useradd(beta, "bob", 5002)
    expect_merged(alpha, beta, *ACCOUNTS)
    for file, names in before.items():
        for member in merging:
            assert sorted(names_in(member, file)) == sorted([*names, "ann", "bob"]), file
    for file in ("passwd", "group"):
        check = ["pwck" if file == "passwd" else "grpck", "-r", "-q"]
        files = [alpha.tree / "host/etc" / name for name in (file, "shadow" if file == "passwd" else "gshadow")]
        done = subprocess.run([*check, *files], capture_output=True, text=True, check=False)
        assert "invalid" not in done.stdout + done.stderr, done


def test_one_number_given_to_two_users_is_a_conflict_and_nothing_is_lost(merging: tuple[Member, Member]) -> None:
    alpha, beta = merging
    with apart(alpha, beta):
        useradd(alpha, "cid", 6001)
        useradd(beta, "dee", 6001)
    replicating(alpha, beta)
    assert names_in(alpha, "passwd") == names_in(beta, "passwd")
    assert {"passwd", "group"} <= set(told_conflicts(alpha))
    assert ("cid" in names_in(alpha, "passwd")) != ("dee" in names_in(alpha, "passwd"))
    assert ran(beta, "resolve", str(beta.tree), "--keep-all", "alpha").returncode == 0
    expect_merged(alpha, beta, *ACCOUNTS)
    assert "cid" in names_in(beta, "passwd")


def test_lines_that_lie_apart_are_merged_and_what_was_merged_is_in_the_history(merging: tuple[Member, Member]) -> None:
    alpha, beta = merging
    write(alpha.tree / "text", LINES)
    with apart(alpha, beta):
        write(alpha.tree / "text", LINES.replace("line 3\n", "by alpha\n"))
        write(beta.tree / "text", LINES.replace("line 15\n", "by beta\n"))
        write(beta.tree / "text", (beta.tree / "text").read_text().replace("line 17\n", "by beta, later\n"))
    expect_merged(alpha, beta, "text")
    wanted = LINES.replace("line 3\n", "by alpha\n").replace("line 15\n", "by beta\n")
    for member in merging:
        assert (member.tree / "text").read_text() == wanted.replace("line 17\n", "by beta, later\n")
        assert len(history(member, "text")) > 1


def test_the_same_line_is_decided_by_the_next_policy(merging: tuple[Member, Member]) -> None:
    alpha, beta = merging
    write(alpha.tree / "disputed", LINES)
    with apart(alpha, beta):
        write(alpha.tree / "disputed", LINES.replace("line 3\n", "by alpha\n"), 1_000)
        write(beta.tree / "disputed", LINES.replace("line 3\n", "by beta\n"), 2_000)
    replicating(alpha, beta)
    for member in merging:
        assert "by beta\n" in (member.tree / "disputed").read_text()
    assert [version["cause"] for version in history(alpha, "disputed") if version["cause"] == "conflict"]


def test_a_member_that_was_killed_merges_what_it_wrote_before(merging: tuple[Member, Member]) -> None:
    alpha, beta = merging
    write(alpha.tree / "killed", LINES)
    alpha.wait()
    beta.stop_daemon()
    write(alpha.tree / "killed", LINES.replace("line 3\n", "by alpha\n"))
    alpha.wait()
    alpha.kill_daemon()
    write(beta.tree / "killed", LINES.replace("line 15\n", "by beta\n"))
    beta.start_daemon()
    alpha.start_daemon()
    replicating(alpha, beta)
    until(lambda: "by beta" in (alpha.tree / "killed").read_text(), "beta's edit is at alpha")
    expect_merged(alpha, beta, "killed")
    assert "by alpha\n" in (beta.tree / "killed").read_text()


def test_a_base_that_is_held_elsewhere_alone_is_asked_for(merging: tuple[Member, Member]) -> None:
    alpha, beta = merging
    write(alpha.tree / "base", LINES)
    with apart(alpha, beta):
        write(alpha.tree / "base", LINES.replace("line 3\n", "by alpha\n"))
        write(beta.tree / "base", LINES.replace("line 15\n", "by beta\n"))
        alpha.wait()
        alpha.stop_daemon()
        with contextlib.closing(sqlite3.connect(alpha.home.index(VOLUME))) as index, index:
            assert index.execute("DELETE FROM bases WHERE path = 'base' OR path = CAST('base' AS BLOB)").rowcount
        alpha.start_daemon()
    expect_merged(alpha, beta, "base")
    for member in merging:
        assert {"by alpha", "by beta"} <= set((member.tree / "base").read_text().splitlines())
