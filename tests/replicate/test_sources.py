"""What is not where a content was to be copied from is looked for elsewhere; what does not fit is another matter."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from csfs.core.objects import Content, Kind, Meta
from csfs.core.paths import RelPath
from csfs.errors import CsfsError
from csfs.replicate.sources import is_at_fault
from csfs.store.hashing import block_hash
from csfs.store.owners import Owners
from csfs.store.stage import FromBytes, FromTree, Stage
from csfs.store.tree import Tree

DATA = b"content"
CONTENT = Content(kind=Kind.FILE, size=len(DATA), hash=block_hash(DATA))


def as_a_directory(path: Path) -> None:
    path.mkdir()


def as_a_loop(path: Path) -> None:
    path.symlink_to(path.name)


def as_a_fifo(path: Path) -> None:
    os.mkfifo(path)


def as_other_bytes(path: Path) -> None:
    path.write_bytes(b"CONTENT")


def as_nothing(path: Path) -> None:
    """Nobody is there."""


def below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_bytes(DATA)


@pytest.mark.parametrize(
    "become", [as_a_directory, as_a_loop, as_a_fifo, as_other_bytes, as_nothing, below_a_file], ids=lambda f: f.__name__
)
def test_a_source_that_became_something_else_is_at_fault(tmp_path: Path, become: Callable[[Path], None]) -> None:
    (tmp_path / "d").mkdir()
    become(tmp_path / "d" / "source")
    tree = Tree(os.open(tmp_path, os.O_RDONLY), Owners())
    stage = Stage(tree)
    source = FromTree(RelPath(b"d/source"))
    with pytest.raises((OSError, CsfsError)) as raised:
        stage.build(b"1.1", CONTENT, Meta(mode=0o600, uid=0, gid=0, owner="root", group="root"), 1, source)
    assert is_at_fault(source, raised.value)
    stage.close()
    os.close(tree.root)


def test_a_disk_without_room_is_not_the_sources_fault() -> None:
    assert not is_at_fault(FromTree(RelPath(b"source")), OSError(errno.ENOSPC, "full"))
    assert not is_at_fault(FromBytes(DATA), OSError(errno.EROFS, "read-only"))
