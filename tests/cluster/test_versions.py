"""What was displaced can be listed, compared and brought back, and conflicts are settled for all members by one command."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def dispute(alpha: Member, beta: Member, name: str, mode: int | None = None) -> None:
    """Have both members write a file without having seen the other's; beta's is younger."""
    now_s = int(time.time())
    write(alpha.tree / name, "by alpha\n", now_s - 100)
    write(beta.tree / name, "by beta, later\n", now_s - 50)
    if mode is not None:
        (alpha.tree / name).chmod(mode)


def told(member: Member, *arguments: str, code: ExitCode = ExitCode.DONE) -> Any:
    """Return what a command says to programs."""
    done = member.csfs(*arguments, "--json", check=False)
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
            ("beta", True, 15),
            ("alpha", False, 9),
        ]
    (kept,) = [version for version in history(alpha, "listed/file") if version["kept_ns"]]
    assert ours["versions"][1]["kept"] == kept["version"]
    assert theirs["versions"][1]["kept"] == "", "alpha alone has what alpha wrote"
    for member in pair:
        shown = member.csfs("conflicts", check=False)
        assert shown.returncode == ExitCode.FOUND
        assert str(member.tree / "listed/file") in shown.stdout
    assert "at alpha" in beta.csfs("conflicts", check=False).stdout
    assert told(alpha, "conflicts", str(alpha.tree / "elsewhere")) == []


def test_a_history_says_what_was_when_by_whom_and_why_it_went(pair: Pair) -> None:
    alpha, beta = pair
    write(alpha.tree / "told/file", "one\n")
    (alpha.tree / "told/file").chmod(0o640)
    alpha.wait()
    write(beta.tree / "told/file", "two two\n")
    beta.wait()
    (live, kept) = history(alpha, "told/file")
    assert (live["version"], live["member"], live["size"], live["mode"]) == ("live", "beta", 8, "0640")
    assert (kept["member"], kept["size"], kept["cause"], kept["by"]) == ("alpha", 4, "replaced", "beta")
    assert (kept["mode"], kept["owner"], kept["kind"]) == ("0640", "root", "file")
    (beta.tree / "told/file").unlink()
    beta.wait()
    (gone, removed, replaced) = history(alpha, "told/file")
    assert (gone["kind"], gone["member"]) == ("absent", "beta")
    assert (removed["cause"], removed["by"], removed["size"]) == ("removed", "beta", 8)
    assert replaced == kept | {"gone": True}
    below = history(alpha, "told")
    assert [version["path"] for version in below] == [str(alpha.tree / "told"), *[str(alpha.tree / "told/file")] * 2]
    assert [version.get("gone") for version in below] == [None, True, True]
    assert "removed by beta" in alpha.csfs("history", str(alpha.tree / "told")).stdout
    assert told(alpha, "history", "--limit", "1", str(alpha.tree / "told"))["more"] is True
    unheard = alpha.csfs("history", str(alpha.tree / "never"), check=False)
    assert (unheard.returncode, unheard.stdout, unheard.stderr.count("\n")) == (ExitCode.REFUSED, "", 1)
