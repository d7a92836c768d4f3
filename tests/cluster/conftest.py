"""Clusters of two members, and the tree that they begin with."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.support.members import Member, two_members
from scripts.support.share import OWN

PATHS_MIN = 3_000
COPIES_MAX = 12
NOT_IN_A_LOG = ("Traceback", "unexpected error", "a bug in csfs", "fuse_reply")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is of one kind."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def etc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this host's /etc, with further copies in it so that each side has one for itself and there are thousands of paths."""
    tree = tmp_path_factory.mktemp("etc") / "tree"
    subprocess.run(["cp", "-a", "/etc", tree], check=True)
    count = sum(len(directories) + len(files) for _, directories, files in os.walk(tree))
    copies = min(COPIES_MAX, max(len(OWN), -(-PATHS_MIN // count)))
    for number in range(1, copies + 1):
        subprocess.run(["cp", "-a", "/etc", tree / f"copy{number}"], check=True)
    return tree


@pytest.fixture(scope="module")
def etc_pair(etc: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Member, Member]]:
    """Two members on copies of /etc; a module's tests share them."""
    with two_members(tmp_path_factory.mktemp("members") / "m", etc) as members:
        yield members
        expect_calm_logs(*members)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Member, Member]]:
    """Two members with empty directories; a module's tests share them, each in a directory of its own."""
    with two_members(tmp_path_factory.mktemp("members") / "m") as members:
        yield members
        expect_calm_logs(*members)


def expect_calm_logs(*members: Member) -> None:
    """Nothing that only a bug can cause may be in a log."""
    for member in members:
        lines = [line for line in member.logs().splitlines() if any(mark in line for mark in NOT_IN_A_LOG)]
        assert not lines, f"{member.name}:\n{member.logs()}"
