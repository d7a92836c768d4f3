"""What was followed once and is excluded now: it stays where it is, and nothing comes back for its sake."""

import shutil
from pathlib import Path

from csfs.errors import ExitCode
from scripts.support.members import VOLUME, Member, replicating, two_members, until
from tests.cluster.conftest import expect_calm_logs

EXCLUDING = f'\n[[volumes.{VOLUME}.groups]]\nexclude = ["*.bak"]\n'


def expect_refusal(member: Member, name: str, word: str) -> None:
    """What nobody follows is not said to be equal everywhere."""
    for command in ("verify", "compare"):
        done = member.csfs(command, str(member.tree / name), check=False)
        assert (done.returncode, done.stdout) == (ExitCode.REFUSED, ""), done.stdout
        assert word in done.stderr


def test_a_directory_with_something_excluded_in_it_stays_removed_and_goes_where_that_goes(tmp_path: Path) -> None:
    with two_members(tmp_path / "m") as (alpha, beta):
        (alpha.tree / "d/e").mkdir(parents=True)
        for name in ("d/f", "d/e/left.bak"):
            (alpha.tree / name).write_text(name)
        alpha.wait()
        assert (beta.tree / "d/e/left.bak").read_text() == "d/e/left.bak"
        expect_refusal(alpha, "typo", "nothing is known")
        with alpha.home.settings_file.open("a") as settings:
            settings.write(EXCLUDING)
        alpha.csfs("config", "reload")
        until(lambda: "*.bak" in beta.home.settings_file.read_text(), "beta has the rules")
        replicating(alpha, beta)
        (alpha.tree / "d/f").write_text("written under the new rules")
        until(lambda: (beta.tree / "d/f").read_text() == "written under the new rules", "both follow them")
        expect_refusal(alpha, "d/e/left.bak", "not kept the same")

        shutil.rmtree(alpha.tree / "d")
        until(lambda: not (beta.tree / "d/f").exists(), "what beta follows is gone")
        (alpha.tree / "after").write_text("after")
        until(lambda: (beta.tree / "after").exists(), "all else goes on")
        assert (beta.tree / "d/e/left.bak").read_text() == "d/e/left.bak", "beta's own by now"
        assert not (alpha.tree / "d").exists(), "what somebody removed does not come back"

        until(lambda: "not empty" in str(beta.volume()["problems"]), "beta says what keeps it")

        (beta.tree / "d/e/left.bak").unlink()
        until(lambda: not (beta.tree / "d").exists(), "the directory goes with what was in its way", 60)
        alpha.wait()
        assert not (alpha.tree / "d").exists()
        for member in (alpha, beta):
            assert not member.volume()["problems"]
        expect_calm_logs(alpha, beta)
