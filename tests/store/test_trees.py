"""The comparison that other tests rely on notices every kind of difference."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trees import differences

from .conftest import CAPABILITY


def populate(root: Path) -> None:
    (root / "d").mkdir(parents=True)
    (root / "d" / "f").write_bytes(b"content")
    os.link(root / "d" / "f", root / "hard")
    (root / "l").symlink_to("d/f")
    os.mknod(root / "c", 0o20600, os.makedev(1, 3))
    os.utime(root / "d", ns=(0, 5))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    populate(tmp_path / "a")
    subprocess.run(["cp", "-a", str(tmp_path / "a"), str(tmp_path / "b")], check=True)
    return tmp_path / "a", tmp_path / "b"


def test_a_faithful_copy_has_no_differences(pair: tuple[Path, Path]) -> None:
    (pair[0] / ".csfs").mkdir()
    assert differences(str(pair[0]), str(pair[1]), ignore={"mtime"}) == []


def remade_link(root: Path) -> None:
    (root / "hard").unlink()
    (root / "hard").write_bytes(b"content")


def remade_device(root: Path) -> None:
    (root / "c").unlink()
    os.mknod(root / "c", 0o20600, os.makedev(1, 5))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda root: (root / "new").write_bytes(b""), "new: only in"),
        (lambda root: (root / "d" / "f").write_bytes(b"CONTENT"), "d/f: content"),
        (lambda root: (root / "d" / "f").chmod(0o600), "d/f: mode"),
        (lambda root: os.chown(root / "l", 5, 5, follow_symlinks=False), "l: owner"),
        (lambda root: os.utime(root / "d", ns=(0, 6)), "d: mtime 5 and 6"),
        (lambda root: os.setxattr(root / "d" / "f", "security.capability", CAPABILITY), "d/f: xattrs"),
        (lambda root: os.replace(root / "d" / "f", root / "l"), "l: kind"),
        (remade_link, "linked in one tree only"),
        (remade_device, "c: rdev"),
    ],
)
def test_every_difference_is_told(pair: tuple[Path, Path], change: Callable[[Path], object], told: str) -> None:
    change(pair[1])
    assert any(told in line for line in differences(str(pair[0]), str(pair[1])))


def test_an_unknown_field_to_ignore_is_refused(pair: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError):
        differences(str(pair[0]), str(pair[1]), ignore={"ctime"})


def test_two_files_are_compared_like_two_trees(pair: tuple[Path, Path]) -> None:
    first, second = (str(root / "d" / "f") for root in pair)
    assert differences(first, second) == []
    (pair[1] / "d" / "f").chmod(0o600)
    assert differences(first, second) == [".: mode '0o644' and '0o600'"]
    assert differences(first, str(pair[1] / "l")) == [".: kind - and l"]
