"""A member that only receives: its programs cannot write, as on a read-only file system, or what they write is put back."""

import contextlib
import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.support.members import VOLUME, Member, replicating, two_members, until
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.mutations.calls import Case, opened, prepared
from tests.cluster.test_mutations import ALL, look
from tests.cluster.test_partition import kept
from tests.trees import differences

Pair = tuple[Member, Member]
OWN = f"""
[[volumes.{VOLUME}.groups]]
include = ["/own"]
exclude = ["/own/*/received"]
"""
RECEIVED = f"""
[[volumes.{VOLUME}.groups]]
members = ["alpha"]
receive_only = ["beta"]
exclude = ["/outside"]
"""
REVERTED = RECEIVED + 'on_local_change = "revert"\n'


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two members that may both write, until a test says otherwise."""
    tree = tmp_path_factory.mktemp("cases") / "tree"
    for name in ("own/x/received", "own/y/z", "outside", "all"):
        (tree / name).mkdir(parents=True)
    (tree / "own/x/received/file").write_text("received")
    prepared(tree / "all/case")
    with two_members(tmp_path_factory.mktemp("members") / "m", tree) as members:
        yield members
        expect_calm_logs(*members)


@contextlib.contextmanager
def grouped(pair: Pair, groups: str, refused: str, stopped: Member | None = None) -> Iterator[None]:
    """Have the cluster follow these groups; `refused` is a directory that beta's programs then cannot change, if there is one.

    `stopped`: whose daemon does not run; it is started when the configuration has changed.
    """
    alpha, beta = pair
    before = alpha.home.settings_file.read_text()
    alpha.home.settings_file.write_text(before + groups)
    if stopped is not alpha:
        alpha.csfs("config", "reload")
    if stopped is not None:
        stopped.start_daemon()
    until(lambda: "receive_only" in beta.home.settings_file.read_text(), "beta has the groups")
    follows(alpha, beta)
    until(lambda: not can_write(beta.tree / refused) if refused else True, "its mount does")
    try:
        yield
    finally:
        alpha.home.settings_file.write_text(before)
        alpha.csfs("config", "reload")
        until(lambda: "receive_only" not in beta.home.settings_file.read_text(), "beta has no groups")
        follows(alpha, beta)
        until(lambda: can_write(beta.tree / "all"), "beta may write")


def follows(alpha: Member, beta: Member) -> None:
    """Return when beta goes by the configuration that it has, and both have greeted each other anew."""
    beta.csfs("config", "reload")
    replicating(alpha, beta)


def can_write(directory: Path) -> bool:
    """Return whether programs can set a directory's mode, which then is what it was."""
    try:
        directory.chmod(directory.stat().st_mode & 0o7777)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return False
    return True


def expect_refused(case: Case, directory: Path) -> None:
    """Nothing comes of a case but the error of a read-only file system."""
    name, act = case
    before = look(directory)
    try:
        act(directory)
        outcome = 0
    except OSError as error:
        outcome = error.errno or 0
    except (subprocess.CalledProcessError, AssertionError):
        outcome = (
            errno.EROFS
        )  # a program has met it, and said so on standard error; or nothing came of what a process did
    assert outcome == errno.EROFS, name
    assert look(directory) == before, name


def test_no_call_changes_what_is_only_received(pair: Pair) -> None:
    alpha, beta = pair
    with grouped(pair, OWN + RECEIVED, "all"):
        for case in ALL:
            expect_refused(case, beta.tree / "all/case")
        with opened(beta.tree / "all/case/file", os.O_RDONLY) as descriptor:  # chattr needs no more than that
            before = look(beta.tree / "all/case")
            assert subprocess.run(["chattr", "+d", beta.tree / "all/case/file"], check=False).returncode != 0
            assert os.read(descriptor, 3) == bytes(range(3))
        assert look(beta.tree / "all/case") == before
        # What the others write still arrives, of all kinds.
        prepared(alpha.tree / "all/more")
        (alpha.tree / "all/case/file").unlink()
        (alpha.tree / "all/case/full").rename(alpha.tree / "all/case/moved")
        (alpha.tree / "all/case/other").chmod(0o600)
        alpha.wait()
        assert differences(str(alpha.tree), str(beta.tree)) == []


def test_what_belongs_to_other_groups_or_to_none_stays_writable(pair: Pair) -> None:
    alpha, beta = pair
    with grouped(pair, OWN + RECEIVED, "all"):
        (beta.tree / "own/file").write_text("beta's")
        (beta.tree / "own/y").rename(beta.tree / "own/moved")
        (beta.tree / "outside/file").write_text("beta's alone")
        beta.wait()
        assert (alpha.tree / "own/file").read_text() == "beta's"
        assert (alpha.tree / "own/moved/z").is_dir()
        assert not (alpha.tree / "outside/file").exists()
        moves = [
            ("own/x", "own/other"),  # with what is only received below it
            ("own/moved", "all/moved"),
            ("outside", "all/outside"),
            ("own/file", "all/file"),
        ]
        for source, target in moves:
            with pytest.raises(OSError, match="Read-only file system"):
                (beta.tree / source).rename(beta.tree / target)
        for source, target in [("own/file", "all/link"), ("all/case/other", "own/link")]:
            with pytest.raises(OSError, match="Read-only file system"):
                os.link(beta.tree / source, beta.tree / target)
        (beta.tree / "outside").rename(beta.tree / "own/outside")
        beta.wait()
        assert (alpha.tree / "own/outside/file").read_text() == "beta's alone"


def test_what_a_program_writes_that_had_it_open_is_put_back_and_kept(pair: Pair) -> None:
    alpha, beta = pair
    (alpha.tree / "held").write_text("alpha's")
    alpha.wait()
    with open(beta.tree / "held", "r+", encoding="utf-8") as held, grouped(pair, OWN + RECEIVED, "all"):
        held.write("beta's, through a descriptor from before")
        held.close()
        until(lambda: (beta.tree / "held").read_text() == "alpha's", "it is put back")
        assert "beta's, through a descriptor from before" in kept(beta)


def test_where_it_is_not_refused_it_is_put_back_and_kept(pair: Pair) -> None:
    alpha, beta = pair
    (alpha.tree / "d").mkdir()
    (alpha.tree / "d/changed").write_text("alpha's")
    alpha.wait()
    with grouped(pair, REVERTED, ""):
        # What is written here before beta has the new groups is sent: only what comes after counts.
        (beta.tree / "d/changed").write_text("reverted: changed")
        (beta.tree / "d/made").write_text("reverted: made")
        (beta.tree / "d").chmod(0o700)
        until(lambda: (beta.tree / "d/changed").read_text() == "alpha's", "it is put back")
        until(lambda: not (beta.tree / "d/made").exists(), "what was made goes")
        until(lambda: differences(str(alpha.tree), str(beta.tree)) == [], "all is put back")
        assert {"reverted: changed", "reverted: made"} <= kept(beta)


@pytest.mark.parametrize("name", ["alpha", "beta"])
@pytest.mark.parametrize("groups", [RECEIVED, REVERTED], ids=["refused", "reverted"])
def test_what_nobody_has_heard_of_is_kept_and_the_others_state_shown(pair: Pair, groups: str, name: str) -> None:
    """The two are apart because the daemon of the one who turns, or of the one whose configuration says so, does not run."""
    alpha, beta = pair
    top = f"unheard/{name}/{'refused' if groups == RECEIVED else 'reverted'}"
    ours, theirs = alpha.tree / top, beta.tree / top
    (ours / "d").mkdir(parents=True)
    for file in ("edited", "removed", "mode", "moved", "both", "d/below"):
        (ours / file).write_text(f"alpha's {file}")
    alpha.wait()
    stopped = next(member for member in pair if member.name == name)
    logged = [member.home.daemon_log.read_text() for member in pair]
    stopped.stop_daemon()
    until(lambda: not (beta if stopped is alpha else alpha).peer()["connected"], "they are apart")
    unheard = {f"{file} of {top}, which alpha has not heard of" for file in ("edited", "both", "made", "d/made")}
    for text in unheard:
        (theirs / text.split()[0]).write_text(text)
    (theirs / "removed").unlink()
    (theirs / "mode").chmod(0o600)
    (theirs / "moved").rename(theirs / "moved away")
    shutil.rmtree(theirs / "d")
    (theirs / "d").write_text("a file now")
    if stopped is beta:
        (ours / "both").write_text("alpha's, after beta's")
    with grouped(pair, groups, "all" if groups == RECEIVED else "", stopped):
        until(lambda: differences(str(alpha.tree), str(beta.tree)) == [], "beta has alpha's state")
        found = {str(path.relative_to(ours)) for path in ours.rglob("*")}
        assert found == {"d", "d/below", "edited", "removed", "mode", "moved", "both"}
        assert (ours / "both").read_text() == ("alpha's both" if stopped is alpha else "alpha's, after beta's")
        assert {text for text in unheard if not text.startswith("d/")} | {"a file now"} <= kept(beta)
        for member in pair:
            assert (member.volume()["problems"], member.volume()["pending"]) == ([], 0)
            assert (member.volume()["alarms"], member.peer()["alarms"]) == ([], [])
            lines = member.home.daemon_log.read_text().removeprefix(logged[pair.index(member)]).splitlines()
            assert [line for line in lines if "WARNING" in line] == []
