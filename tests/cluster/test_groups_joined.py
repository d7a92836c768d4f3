"""Joining a volume of several groups: one of which nobody has anything, and one that the new member has for itself."""

from pathlib import Path

from scripts.support.members import VOLUME, Member, free_port, replicating

GROUPS = f"""
[[volumes.{VOLUME}.groups]]
members = ["beta"]
include = ["/own"]

[[volumes.{VOLUME}.groups]]
include = ["/empty"]

[[volumes.{VOLUME}.groups]]
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
