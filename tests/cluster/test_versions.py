"""What was displaced can be listed, compared and brought back, and conflicts are settled for all members by one command."""

import contextlib
import io
import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from csfs.cli import main
from csfs.errors import ExitCode
from scripts.support.members import Member, replicating

Pair = tuple[Member, Member]


@contextlib.contextmanager
def apart(alpha: Member, beta: Member) -> Iterator[None]:
    """Neither member hears of what the other one does in here."""
    alpha.wait()
    beta.wait()
    beta.stop_daemon()
    yield
    beta.start_daemon()
    replicating(alpha, beta)


def write(path: Path, text: str, mtime_s: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if mtime_s is not None:
        os.utime(path, (mtime_s, mtime_s))


def by_alpha(name: str) -> str:
    return f"{name} by alpha\n"


def by_beta(name: str) -> str:
    return f"{name} by beta, later\n"


def dispute(alpha: Member, beta: Member, name: str, mode: int | None = None) -> None:
    """Have both members write a file without having seen the other's; beta's is younger."""
    now_s = int(time.time())
    write(alpha.tree / name, by_alpha(name), now_s - 100)
    write(beta.tree / name, by_beta(name), now_s - 50)
    if mode is not None:
        (alpha.tree / name).chmod(mode)


def ran(member: Member, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as this member, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main.run(["--home", str(member.home.root), *arguments])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def told(member: Member, *arguments: str, code: ExitCode = ExitCode.DONE) -> Any:
    """Return what a command says to programs."""
    done = ran(member, *arguments, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def history(member: Member, name: str) -> list[dict[str, Any]]:
    versions: list[dict[str, Any]] = told(member, "history", str(member.tree / name))["versions"]
    return versions


def test_a_conflict_is_listed_at_both_members_with_who_made_what_and_where_it_is(pair: Pair) -> None:
    alpha, beta = pair
    with apart(alpha, beta):
        dispute(alpha, beta, "listed/file")
    (ours,) = told(alpha, "conflicts", str(alpha.tree / "listed"), code=ExitCode.FOUND)
    (theirs,) = told(beta, "conflicts", str(beta.tree / "listed/file"), code=ExitCode.FOUND)
    for found, tree in ((ours, alpha.tree), (theirs, beta.tree)):
        assert (found["path"], found["half"], found["policy"]) == (str(tree / "listed/file"), "content", ["younger"])
        assert [(v["member"], v["live"], v["size"]) for v in found["versions"]] == [
            ("beta", True, len(by_beta("listed/file"))),
            ("alpha", False, len(by_alpha("listed/file"))),
        ]
    (kept,) = [version for version in history(alpha, "listed/file") if version["kept_ns"]]
    assert ours["versions"][1]["kept"] == kept["version"]
    assert theirs["versions"][1]["kept"] == "", "alpha alone has what alpha wrote"
    for member in pair:
        shown = ran(member, "conflicts")
        assert shown.returncode == ExitCode.FOUND
        assert str(member.tree / "listed/file") in shown.stdout
    assert "at alpha" in ran(beta, "conflicts").stdout
    assert told(alpha, "conflicts", str(alpha.tree / "elsewhere")) == []


def test_a_history_says_what_was_when_by_whom_and_why_it_went(pair: Pair) -> None:
    alpha, beta = pair
    write(alpha.tree / "told/file", "one\n")
    (alpha.tree / "told/file").chmod(0o640)
    alpha.wait()
    write(beta.tree / "told/file", "two two\n")
    beta.wait()
    live, kept = history(alpha, "told/file")[:2]
    assert (live["version"], live["member"], live["size"], live["mode"]) == ("live", "beta", 8, "0640")
    assert (kept["member"], kept["size"], kept["cause"], kept["by"]) == ("alpha", 4, "replaced", "beta")
    assert (kept["mode"], kept["owner"], kept["kind"]) == ("0640", "root", "file")
    (beta.tree / "told/file").unlink()
    beta.wait()
    gone, removed, replaced = history(alpha, "told/file")[:3]
    assert (gone["kind"], gone["member"]) == ("absent", "beta")
    assert (removed["cause"], removed["by"], removed["size"]) == ("removed", "beta", 8)
    assert replaced == kept | {"gone": True}
    below = history(alpha, "told")
    assert [version["path"] for version in below[:3]] == [
        str(alpha.tree / "told"),
        *[str(alpha.tree / "told/file")] * 2,
    ]
    assert [version.get("gone") for version in below[:3]] == [None, True, True]
    assert "removed by beta" in ran(alpha, "history", str(alpha.tree / "told")).stdout
    assert told(alpha, "history", "--limit", "1", str(alpha.tree / "told"))["more"] is True
    unheard = ran(alpha, "history", str(alpha.tree / "never"))
    assert (unheard.returncode, unheard.stdout, unheard.stderr.count("\n")) == (ExitCode.REFUSED, "", 1)


def test_of_files_with_one_content_that_are_all_replaced_at_once_a_copy_is_kept(pair: Pair) -> None:
    alpha, beta = pair
    names = ["alike/a", "alike/b", "alike/c"]
    for name in names:
        write(alpha.tree / name, "what they had in common\n")
    with apart(alpha, beta):
        for name in names:
            write(alpha.tree / name, f"{name} alone\n")
    # What beta had in memory goes with its daemon.
    with apart(alpha, beta):
        pass
    assert [history(beta, name)[1]["here"] for name in names] == [True, True, True]


def test_a_large_version_whose_content_is_at_a_peer_is_compared(pair: Pair) -> None:
    alpha, _ = pair
    write(alpha.tree / "large", "line\n" * 100_000)
    alpha.wait()
    write(alpha.tree / "large", "line\n" * 100_000 + "more\n")
    alpha.wait()
    assert history(alpha, "large")[1]["here"] is False
    done = ran(alpha, "diff", str(alpha.tree / "large"))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (ExitCode.FOUND, "+more"), done.stderr


def resolved(member: Member, *arguments: str, code: ExitCode = ExitCode.DONE) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = told(member, "resolve", *arguments, code=code)["resolved"]
    return results


def expect_settled(alpha: Member, beta: Member, name: str, text: str) -> None:
    """All members show the same, and none speaks of a conflict."""
    for member in (alpha, beta):
        member.wait()
    for member in (alpha, beta):
        assert (member.tree / name).read_text() == text, member.name
        assert told(member, "conflicts", str(member.tree / name)) == []


def test_one_command_settles_a_conflict_for_all_whoever_has_the_content(pair: Pair) -> None:
    alpha, beta = pair
    with apart(alpha, beta):
        dispute(alpha, beta, "settled/file", mode=0o600)
    # beta has never had what alpha wrote.
    (planned,) = resolved(beta, str(beta.tree / "settled/file"), "--keep", "alpha", "--dry-run")
    assert (planned["kept"], planned["size"], planned["error"]) == ("alpha", len(by_alpha("settled/file")), "")
    assert (beta.tree / "settled/file").read_text() == by_beta("settled/file")
    (done,) = resolved(beta, str(beta.tree / "settled/file"), "--keep", "alpha")
    assert (done["kept"], done["error"]) == ("alpha", "")
    expect_settled(alpha, beta, "settled/file", by_alpha("settled/file"))
    for member in pair:
        assert (member.tree / "settled/file").stat().st_mode & 0o7777 == 0o600
        kept = history(member, "settled/file")[1]
        assert (kept["member"], kept["size"]) == ("beta", len(by_beta("settled/file")))
    assert history(beta, "settled/file")[1]["cause"] == "resolved"
    again = ran(beta, "resolve", str(beta.tree / "settled/file"))
    assert (again.returncode, again.stdout) == (ExitCode.REFUSED, "")
    assert "no conflict there" in again.stderr


def test_keeping_what_is_live_moves_nothing_and_ends_the_conflict(pair: Pair) -> None:
    alpha, beta = pair
    with apart(alpha, beta):
        dispute(alpha, beta, "live/file")
    before = (alpha.tree / "live/file").stat()
    assert "kept the version of beta" in ran(alpha, "resolve", str(alpha.tree / "live/file")).stdout
    expect_settled(alpha, beta, "live/file", by_beta("live/file"))
    after = (alpha.tree / "live/file").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_member_can_be_kept_wherever_it_made_one_of_the_versions(pair: Pair) -> None:
    alpha, beta = pair
    with apart(alpha, beta):
        for name in ("all/one", "all/below/two"):
            dispute(alpha, beta, name)
    refused = ran(alpha, "resolve", str(alpha.tree / "all"), "--keep", "gamma")
    assert refused.returncode == ExitCode.REFUSED
    assert "gamma made none of the versions: alpha, beta did" in refused.stderr
    left = resolved(alpha, str(alpha.tree / "all"), "--keep-all", "gamma", code=ExitCode.FOUND)
    assert [bool(result["error"]) for result in left] == [True, True]
    done = resolved(alpha, str(alpha.tree / "all"), str(alpha.tree / "all/one"), "--keep-all", "alpha")
    assert [result["path"] for result in done] == [str(alpha.tree / "all/below/two"), str(alpha.tree / "all/one")]
    for name in ("all/one", "all/below/two"):
        expect_settled(alpha, beta, name, by_alpha(name))


def test_all_conflicts_are_settled_by_one_command_which_can_be_tried_and_taken_back(pair: Pair) -> None:
    alpha, beta = pair
    names = ("every/one", "every/below/two")
    with apart(alpha, beta):
        for name in names:
            dispute(alpha, beta, name)
    planned = resolved(beta, "--keep-all", "alpha", "--dry-run")
    assert {str(beta.tree / name) for name in names} <= {one["path"] for one in planned}
    for name in names:
        assert (beta.tree / name).read_text() == by_beta(name), "nothing was done"
    done = resolved(beta, "--keep-all", "alpha")
    assert sorted(one["path"] for one in done) == sorted(one["path"] for one in planned)
    for name in names:
        expect_settled(alpha, beta, name, by_alpha(name))
    for member in pair:
        assert told(member, "conflicts") == [], "none is left anywhere"
    undo = {one["path"]: one["undo"] for one in done}
    for name in names:
        program, *arguments = shlex.split(undo[str(beta.tree / name)])
        assert (program, ran(beta, *arguments).returncode) == ("csfs", ExitCode.DONE)
        expect_settled(alpha, beta, name, by_beta(name))


def test_a_conflict_is_settled_with_a_new_content(pair: Pair, tmp_path: Path) -> None:
    alpha, beta = pair
    with apart(alpha, beta):
        dispute(alpha, beta, "merged/file", mode=0o640)
    merged = tmp_path / "merged"
    merged.write_text("by both\n" * 40_000)  # more than one block
    (done,) = resolved(alpha, str(alpha.tree / "merged/file"), "--file", str(merged))
    assert done["error"] == ""
    expect_settled(alpha, beta, "merged/file", merged.read_text())
    assert [version["cause"] for version in history(alpha, "merged/file")][:3] == ["", "resolved", "conflict"]


def test_a_link_against_a_file_is_settled_with_a_new_file(pair: Pair, tmp_path: Path) -> None:
    alpha, beta = pair
    with apart(alpha, beta):
        write(alpha.tree / "kinds", "a file\n", int(time.time()) - 100)
        os.symlink("somewhere", beta.tree / "kinds")
    (found,) = told(alpha, "conflicts", str(alpha.tree / "kinds"), code=ExitCode.FOUND)
    assert {(v["member"], v["kind"], v["target"]) for v in found["versions"]} == {
        ("alpha", "file", ""),
        ("beta", "symlink", "somewhere"),
    }
    (tmp_path / "new").write_text("decided\n")
    (done,) = resolved(alpha, str(alpha.tree / "kinds"), "--file", str(tmp_path / "new"))
    expect_settled(alpha, beta, "kinds", "decided\n")
    assert not (beta.tree / "kinds").is_symlink()
    assert (beta.tree / "kinds").stat().st_mode & 0o777 in (0o644, 0o600), "nothing of the link's 0777"
    program, *arguments = shlex.split(done["undo"])
    assert (program, ran(alpha, *arguments).returncode) == ("csfs", ExitCode.DONE)
    beta.wait()
    alpha.wait()
    assert os.readlink(beta.tree / "kinds") == "somewhere"


def test_what_changed_meanwhile_is_not_overruled_and_attributes_are_settled_too(pair: Pair) -> None:
    alpha, beta = pair
    write(alpha.tree / "modes", "same\n")
    with apart(alpha, beta):
        (alpha.tree / "modes").chmod(0o600)
        (beta.tree / "modes").chmod(0o664)
    (found,) = told(alpha, "conflicts", str(alpha.tree / "modes"), code=ExitCode.FOUND)
    assert (found["half"], {v["member"]: v["mode"] for v in found["versions"]}) == (
        "meta",
        {"alpha": "0600", "beta": "0664"},
    )
    (done,) = resolved(alpha, str(alpha.tree / "modes"), "--keep", "beta")
    assert (done["kept"], done["mode"]) == ("beta", "0664")
    expect_settled(alpha, beta, "modes", "same\n")
    assert {member.tree.joinpath("modes").stat().st_mode & 0o7777 for member in pair} == {0o664}
    assert done["undo"].startswith(f"csfs restore {alpha.tree}/modes@")
