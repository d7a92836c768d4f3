"""Renaming a directory in which there may be what must not be changed: it is looked through, but not for long."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.config.settings import VolumeRules
from csfs.core.groups import GroupRule, Rules
from csfs.core.synchrony import Mode, Synchrony
from csfs.mount import read_only as read_only_module
from csfs.mount.inodes import ROOT_INODE, Inodes
from csfs.mount.read_only import ReadOnly

MEMBERS = ("alpha", "beta", "gamma")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[ReadOnly]:
    """A directory of which all may be changed but `*/in`, for which most members would have to be there."""
    groups = (GroupRule(MEMBERS, include=("/*/in",), synchrony=Synchrony(Mode.QUORUM)), GroupRule(MEMBERS))
    root = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    inodes = Inodes(root)
    yield ReadOnly(Rules.compiled(VolumeRules("v", groups), "alpha"), inodes, {})
    inodes.close()
    os.close(root)


def moved(read_only: ReadOnly) -> int:
    """Return the errno of renaming `d`, 0 for none."""
    try:
        read_only.check_move((ROOT_INODE, b"d"), (ROOT_INODE, b"e"))
    except OSError as error:
        return error.errno or -1
    return 0


def test_a_directory_with_nothing_in_it_that_must_stay_can_be_renamed(read_only: ReadOnly, tmp_path: Path) -> None:
    (tmp_path / "d/a/in").mkdir(parents=True)
    (tmp_path / "d/a/link").symlink_to(tmp_path)
    assert moved(read_only) == 0
    (tmp_path / "d/in").mkdir()
    assert moved(read_only) == errno.EROFS


def test_a_directory_with_too_much_in_it_cannot_be_renamed(
    read_only: ReadOnly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d").mkdir()
    for number in range(300):
        (tmp_path / "d" / str(number)).touch()
    assert moved(read_only) == 0
    looked_at: list[bytes] = []
    monkeypatch.setattr(ReadOnly, "_refuses", lambda self, path: looked_at.append(path))
    monkeypatch.setattr(read_only_module, "NAMES_LOOKED_AT_MAX", 20)
    assert moved(read_only) == errno.EXDEV
    assert len(looked_at) == 2 * 20, "both paths of each name, and not all that is there"


def test_a_deep_directory_cannot_be_renamed(read_only: ReadOnly, tmp_path: Path) -> None:
    path = tmp_path.joinpath("d", *["x"] * read_only_module.DEPTH_LOOKED_AT_MAX)
    path.mkdir(parents=True)
    assert moved(read_only) == 0
    (path / "y").touch()
    assert moved(read_only) == errno.EXDEV


def test_a_look_ends_when_others_have_waited_long_enough(
    read_only: ReadOnly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d/a").mkdir(parents=True)
    monkeypatch.setattr(read_only_module, "LOOKED_AT_S_MAX", -1.0)
    assert moved(read_only) == errno.EXDEV
