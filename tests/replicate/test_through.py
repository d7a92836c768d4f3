"""The commit thread's system calls, in a plain directory in place of a cloned mount."""

import errno
import os
from pathlib import Path

import pytest

from csfs.core.paths import RelPath
from csfs.replicate.through import Through
from csfs.wire.control import Action, Attributes, Commit, Overwrite, Remove


@pytest.mark.parametrize(
    ("action", "error"), [(Attributes(mode=0o600), errno.EINVAL), (Overwrite(b"log"), errno.EINVAL), (Remove(), 0)]
)
def test_nothing_but_a_removal_removes(tmp_path: Path, action: Action, error: int) -> None:
    path = tmp_path / "d" / "f"
    path.parent.mkdir()
    path.write_text("content")
    clone = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert Through(clone).call(Commit(1, 0, RelPath(b"d/f"), None, action)) == error
    finally:
        os.close(clone)
    assert path.exists() == bool(error)


def test_the_kernel_learns_of_the_file_that_was_meant_alone(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("content")
    clone, inode = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY), path.stat().st_ino
    commit = Commit(1, 0, RelPath(b"f"), None, Attributes(mode=0o600))
    try:
        assert Through(clone).call(commit, refresh=inode) == 0
        assert Through(clone).call(commit, refresh=inode + 1) == errno.ESTALE
    finally:
        os.close(clone)
