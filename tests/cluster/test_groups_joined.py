"""A volume of several groups: one of which nobody has anything, one that a member has for itself, one in a directory of others."""

from pathlib import Path

from scripts.support.members import VOLUME, Member, free_port, replicating, two_members, until
from tests.cluster.networks import switched

PORT = 30866

GROUPS = f"""
[[volumes.{VOLUME}.groups]]
members = ["beta"]
include = ["/own"]

[[volumes.{VOLUME}.groups]]
include = ["/empty"]

[[volumes.{VOLUME}.groups]]
"""
LATER = f"""
[[volumes.{VOLUME}.groups]]
members = ["beta", "gamma"]
include = ["/later"]

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
        until(lambda: "/own" in beta.home.settings_file.read_text(), "beta has the groups")
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


def test_members_that_join_at_once_have_a_group_without_the_first(tmp_path: Path) -> None:
    with switched(3) as net:
        members = [
            Member(tmp_path / "m", name, PORT, net.prefixes[number], net.addresses[number])
            for number, name in enumerate(("alpha", "beta", "gamma"))
        ]
        alpha, beta, gamma = members
        try:
            alpha.found()
            beta.join(alpha)
            gamma.join(alpha)
            with alpha.home.settings_file.open("a") as settings:
                settings.write(LATER)
            alpha.csfs("config", "reload")
            for member in members:
                until(lambda m=member: "/later" in m.home.settings_file.read_text(), f"{member.name} has the groups")  # type: ignore[misc]
                member.mount()
            for member in members:
                until(lambda m=member: m.volume()["state"] == "replicating", f"{member.name} replicates")  # type: ignore[misc]
            (alpha.tree / "file").write_text("for all")
            (beta.tree / "later").mkdir()
            (beta.tree / "later/file").write_text("for the later ones")
            until(lambda: (gamma.tree / "later/file").read_text() == "for the later ones", "gamma has what beta made")
            until(lambda: (gamma.tree / "file").read_text() == "for all", "gamma has what alpha made")
            assert not (alpha.tree / "later").exists()
        finally:
            for member in members:
                member.stop()
