"""`apply` of a volume on real members: whether what a peer changes in part is overwritten where it is, or replaced."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.benchmarks.large import fill, patch
from scripts.benchmarks.measuring import fresh_filesystem
from scripts.support.members import VOLUME, Member, two_members, until
from tests.cluster.conftest import expect_calm_logs

MIB = 1024 * 1024
LARGE, SMALL = 24 * MIB, 2 * MIB
"""Of the first a copy takes too long to be made for a change of a part; of the second it does not."""


@pytest.fixture(scope="module")
def members() -> Iterator[tuple[Member, Member]]:
    """Two members on ext4, which cannot have files share blocks."""
    with fresh_filesystem(2048) as place, two_members(place / "members") as pair:
        yield pair
        expect_calm_logs(*pair)


def have_mode(members: tuple[Member, Member], mode: str) -> None:
    """Have both members apply so."""
    alpha, beta = members
    settings = alpha.home.settings_file
    lines = [line for line in settings.read_text().splitlines() if not line.startswith("apply = ")]
    lines.insert(lines.index(f"[volumes.{VOLUME}]") + 1, f'apply = "{mode}"')
    settings.write_text("\n".join(lines) + "\n")
    alpha.csfs("config", "reload")
    # What the mode "auto" is, is not written down.
    written = [] if mode == "auto" else [f'apply = "{mode}"']
    until(lambda: _modes(beta) == written, "beta has the mode")
    applied_by(alpha, beta)


def applied_by(member: Member, other: Member) -> None:
    """Return when the other has what was written here, also if it is not connected yet: new configuration makes a new link."""
    member.ask("wait", 65, path=None, peers=[other.name], timeout=60)


def _modes(member: Member) -> list[str]:
    return [line for line in member.home.settings_file.read_text().splitlines() if line.startswith("apply = ")]


def keeps_its_inode(members: tuple[Member, Member], name: str, size: int) -> bool:
    """Change a part of a file at the first member; return whether it stays the same object at the other."""
    alpha, beta = members
    ours, theirs = alpha.tree / name, beta.tree / name
    fill(ours, size, hash(name))
    applied_by(alpha, beta)
    before = _inode(theirs)
    for offset in (MIB + 4096, size - 4096):
        patch(ours, offset, os.urandom(4096))
        applied_by(alpha, beta)  # which nobody looks for meanwhile: what somebody has open is replaced
    applied_by(beta, alpha)
    assert ours.read_bytes() == theirs.read_bytes()
    return _inode(theirs) == before


def _inode(path: Path) -> int:
    return path.stat().st_ino


@pytest.mark.parametrize(
    ("mode", "large", "small"), [("auto", True, False), ("atomic", False, False), ("in-place", True, True)]
)
def test_what_is_changed_in_part_is_overwritten_or_replaced_as_the_volume_says(
    members: tuple[Member, Member], mode: str, large: bool, small: bool
) -> None:
    have_mode(members, mode)
    found = {size: keeps_its_inode(members, f"{mode}-{size}", size) for size in (LARGE, SMALL)}
    assert found == {LARGE: large, SMALL: small}
