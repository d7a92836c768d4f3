"""`csfs log` at real members: what programs did here, and what peers' changes did, as it happens."""

import json
import subprocess
from pathlib import Path

from scripts.support.members import Member
from tests.cluster.test_versions import ran

Pair = tuple[Member, Member]


def lines(member: Member, *arguments: str) -> list[dict[str, object]]:
    """Return what the command says to programs."""
    done = ran(member, "log", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def told(member: Member, directory: Path) -> list[tuple[object, ...]]:
    """Return what was said of a directory's files: name, what happened, and at which member."""
    found = [(str(one["path"]), one["what"], one["member"]) for one in lines(member, str(directory))]
    return [(Path(path).name, what, by) for path, what, by in found if path != str(directory)]


def test_what_programs_do_here_and_at_peers_is_told_at_both(pair: Pair) -> None:
    alpha, beta = pair
    (alpha.tree / "logged").mkdir()
    (alpha.tree / "logged" / "f").write_text("one")
    alpha.wait()
    (beta.tree / "logged" / "f").write_text("two, longer")
    beta.wait()
    (alpha.tree / "logged" / "f").chmod(0o600)
    alpha.wait()
    (beta.tree / "logged" / "f").unlink()
    beta.wait()
    for member in pair:
        made, *later = told(member, member.tree / "logged")
        assert made == ("f", "made", "alpha")
        # Who looks between the file's creation and its close sees it twice.
        assert later[later[0] == ("f", "written", "alpha") :] == [
            ("f", "written", "beta"),
            ("f", "attributes", "alpha"),
            ("f", "removed", "beta"),
        ]
    told_of = lines(alpha, str(alpha.tree / "logged" / "f"))
    own = {one["program"] for one in told_of if one["member"] == "alpha"}
    assert len(own) == 1
    assert own != {""}
    assert {one["program"] for one in told_of if one["member"] == "beta"} == {""}, "a peer's programs are its own"
    shown = ran(beta, "log", str(beta.tree / "logged"), "--limit", "1").stdout
    assert "removed" in shown
    assert shown.count("\n") == 1
    assert ran(alpha, "log", "/nowhere").returncode == 3


def test_who_follows_hears_of_each_change_as_it_happens(pair: Pair) -> None:
    alpha, beta = pair
    (beta.tree / "followed").mkdir()
    beta.wait()
    line = alpha.command("log", str(alpha.tree / "followed"), "--follow", "--json")
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert json.loads(following.stdout.readline())["what"] == "made"
        for number in range(3):
            (beta.tree / "followed" / f"{number}").write_text("x")
            while (one := json.loads(following.stdout.readline()))["path"] != str(
                alpha.tree / "followed" / f"{number}"
            ):
                pass
            assert (one["what"], one["member"]) == ("made", "beta")
        following.kill()
