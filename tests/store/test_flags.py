"""Flags that forbid changes: read without opening anything, set exactly, and where there are none."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.core.objects import Kind, Meta
from csfs.core.paths import RelPath
from csfs.core.treatment import FLAGS, carried_by
from csfs.store.attributes import link_path, read_xattrs
from csfs.store.dressing import Dressing
from csfs.store.flags import NONE, UNKNOWN, flags_of, put
from csfs.store.owners import Owners
from csfs.store.treating import Treated
from csfs.store.tree import Tree

KEPT = carried_by(("user.*",), flags=True)


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    """A file open for reading, that may be given flags."""
    (tmp_path / "file").write_bytes(b"content")
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        put(descriptor, b"a")
    except OSError as error:
        pytest.skip(f"no such flags here: {error}")
    yield descriptor
    put(descriptor, NONE)
    os.close(descriptor)


@pytest.mark.parametrize("before", [b"", b"a", b"ai", b"i"])
@pytest.mark.parametrize("after", [b"", b"a", b"ai", b"i"])
def test_flags_are_exactly_those_that_were_put(descriptor: int, before: bytes, after: bytes) -> None:
    put(descriptor, before)
    put(descriptor, after)
    assert flags_of(descriptor) == flags_of(link_path(descriptor)) == after


def test_other_flags_stay_and_what_are_none_are_refused(descriptor: int, tmp_path: Path) -> None:
    put(descriptor, NONE)
    subprocess.run(["chattr", "+d", tmp_path / "file"], check=True)
    put(descriptor, b"i")
    put(descriptor, b"a")
    listed = subprocess.run(["lsattr", tmp_path / "file"], check=True, capture_output=True, text=True).stdout
    assert set("da") <= set(listed.split()[0])
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        put(descriptor, b"ia")
    assert flags_of(descriptor) == b"a"


def test_flags_are_read_among_attributes_where_they_count(descriptor: int, tmp_path: Path) -> None:
    put(descriptor, NONE)
    os.setxattr(descriptor, "user.a", b"1")
    put(descriptor, b"i")
    assert read_xattrs(descriptor, KEPT) == ((FLAGS, b"i"), (b"user.a", b"1"))
    assert read_xattrs(descriptor) == ((b"user.a", b"1"),)
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        tree = Tree(root, treated=lambda path: Treated(Owners(), KEPT))
        assert tree.flags(RelPath(b"file")) == b"i"
        assert tree.flags(RelPath(b"nothing")) == Tree(root).flags(RelPath(b"file")) == b""
        found = tree.observe(RelPath(b"file"))
        assert found is not None
        assert found.xattrs[0] == (FLAGS, b"i")
    finally:
        os.close(root)


def test_what_is_staged_has_no_flags_yet(tmp_path: Path) -> None:
    with (tmp_path / "staged").open("w+b") as file:
        meta = Meta(0o640, 0, 0, xattrs=((FLAGS, b"i"), (b"user.a", b"1")))
        problems, xattrs = Dressing(meta, 5, Treated(Owners(), KEPT), ()).put_on(file.fileno(), Kind.FILE)
        assert (problems, xattrs) == ((), ((b"user.a", b"1"),))
        assert flags_of(file.fileno()) == b""


def test_a_file_system_without_flags_shows_none_and_refuses_them_for_good(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "ramfs", "ramfs", tmp_path], check=False, capture_output=True).returncode:
        pytest.skip("no file system of its own can be mounted here")
    try:
        with (tmp_path / "file").open("w+b") as file:
            assert flags_of(file.fileno()) == b""
            with pytest.raises(OSError, match=r".+") as refused:
                put(file.fileno(), b"i")
            assert refused.value.errno in UNKNOWN
    finally:
        subprocess.run(["umount", tmp_path], check=True)
