"""A volume of several groups: one of which nobody has anything, one that a member has for itself, one in a directory of others."""

from pathlib import Path

from scripts.support.members import VOLUME, Member, free_port, replicating, two_members, until

GROUPS = f"""
[[volumes.{VOLUME}.groups]]
members = ["beta"]
include = ["/own"]

[[volumes.{VOLUME}.groups]]
include = ["/empty"]

[[volumes.{VOLUME}.groups]]
"""
INSIDE = f"""
[[volumes.{VOLUME}.groups]]
include = ["/d/inside"]

[[volumes.{VOLUME}.groups]]
members = ["alpha"]
"""


def test_a_member_joins_groups_that_are_empty_or_its_own(tmp_path: Path) -> None:
    alpha, beta = (Member(tmp_path / "m", name, free_port()) for name in ("alpha", "beta"))
    try:
        alpha.tree.mkdir(parents=True)
        (alpha.tree / "shared").write_text("shared")
        alpha.found()
        (beta.tree / "own").mkdir(parents=True)
        (beta.tree / "own/file").write_text("own")
        beta.join(alpha)
        settings = alpha.home.settings_file
        settings.write_text(settings.read_text() + GROUPS)
        alpha.csfs("config", "reload")
        alpha.mount()
        beta.mount()
        replicating(alpha, beta)
        assert (beta.tree / "shared").read_text() == "shared"
        (beta.tree / "empty").mkdir()
        (beta.tree / "own/file").write_text("own, and nobody else's")
        beta.wait()
        assert (alpha.tree / "empty").is_dir()
        assert not (alpha.tree / "own").exists()
    finally:
        alpha.stop()
        beta.stop()


def test_what_is_in_a_directory_of_others_comes_once_that_is_there(tmp_path: Path) -> None:
    with two_members(tmp_path / "m") as (alpha, beta):
        settings = alpha.home.settings_file
        settings.write_text(settings.read_text() + INSIDE)
        alpha.csfs("config", "reload")
        until(lambda: "inside" in beta.home.settings_file.read_text(), "beta has the groups")
        (alpha.tree / "d/inside").mkdir(parents=True)
        (alpha.tree / "d/inside/file").write_text("for both")
        (alpha.tree / "d/other").write_text("for alpha alone")
        until(lambda: "make it here" in beta.csfs("status", check=False).stdout, "beta says what to do")
        (beta.tree / "d").mkdir()
        until(lambda: (beta.tree / "d/inside/file").exists(), "it comes")
        assert (beta.tree / "d/inside/file").read_text() == "for both"
        assert not (beta.tree / "d/other").exists()
        (beta.tree / "d/inside/file").write_text("and from both")
        until(lambda: (alpha.tree / "d/inside/file").read_text() == "and from both", "alpha has what beta wrote")
