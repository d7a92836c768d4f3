"""The inode table on a real directory, with and without file handles."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.mount import inodes as inodes_module
from csfs.mount.inodes import ROOT_INODE, Inodes


@pytest.fixture(params=["handles", "names", "packed"])
def table(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inodes]:
    if request.param == "names":
        monkeypatch.setattr(inodes_module, "_has_handles", lambda root: False)
    root = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    inodes = Inodes(root, awake_max=0) if request.param == "packed" else Inodes(root)
    yield inodes
    inodes.close()
    os.close(root)


def looked_up(table: Inodes, *names: bytes) -> inodes_module.Node:
    node = table.node(ROOT_INODE)
    for name in names:
        node, _ = table.found(node, name)
        node.lookups += 1
    return node


def test_paths_follow_renames_of_directories_above(table: Inodes, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "f").touch()
    node = looked_up(table, b"a", b"b", b"f")
    assert table.path_of(node) == b"a/b/f"
    (tmp_path / "a").rename(tmp_path / "c")
    table.renamed(looked_up(table, b"c"), (ROOT_INODE, b"a"), (ROOT_INODE, b"c"))
    assert table.path_of(node) == b"c/b/f"
    os.close(table.opened(node))


def test_all_names_of_a_hard_link_are_known_as_they_are_seen(table: Inodes, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    os.link(tmp_path / "a", tmp_path / "b")
    node = looked_up(table, b"a")
    assert looked_up(table, b"b") is node
    assert table.paths_of(node) == (b"a", b"b")
    table.unnamed(node, (ROOT_INODE, b"a"))
    assert table.path_of(node) == b"b"


def test_a_forgotten_node_is_gone_with_its_last_lookup(table: Inodes, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    node = looked_up(table, b"a")
    looked_up(table, b"a")
    table.forget(node.inode, 1)
    assert table.known(os.stat(tmp_path / "a")) is node
    table.forget(node.inode, 1)
    assert table.known(os.stat(tmp_path / "a")) is None
    assert len(table) == 1


def test_what_is_forgotten_in_the_order_of_a_walk_leaves_nothing(table: Inodes, tmp_path: Path) -> None:
    seen = []
    for number in range(20):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "f").touch()
        seen += [looked_up(table, b"%d" % number).inode, looked_up(table, b"%d" % number, b"f").inode]
    assert len(table) == 41
    for inode in seen:
        table.forget(inode, 1 if inode in seen[1::2] else 2)
    assert len(table) == 1


def test_a_pinned_object_is_reached_without_a_name(table: Inodes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    node = looked_up(table, b"a")
    assert table.pin(node)
    (tmp_path / "a").unlink()
    table.unnamed(node, (ROOT_INODE, b"a"))
    descriptor = table.opened(node, os.O_RDONLY)
    assert os.read(descriptor, 1) == b"x"
    os.close(descriptor)
    assert table.path_of(node) is None


def test_an_object_that_is_gone_is_stale(table: Inodes, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    node = looked_up(table, b"a")
    (tmp_path / "a").unlink()
    with pytest.raises(OSError, match="Stale"):
        table.opened(node)
    with pytest.raises(OSError, match="Stale"):
        table.node(999_999_999)


def test_another_object_with_the_same_number_is_a_new_generation(tmp_path: Path) -> None:
    root = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    table = Inodes(root)
    (tmp_path / "a").touch()
    node = looked_up(table, b"a")
    for _ in range(200):
        (tmp_path / "a").unlink()
        (tmp_path / "a").touch()
        if (tmp_path / "a").stat().st_ino == node.inode:
            break
    else:
        pytest.skip("this file system does not use numbers again soon")
    again = looked_up(table, b"a")
    assert again is not node
    assert again.generation != node.generation
    assert again.lookups == node.lookups + 1
    table.close()
    os.close(root)


def test_many_directories_share_few_descriptors(table: Inodes, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(inodes_module.DIRECTORIES_OPEN_MAX + 50):
        (tmp_path / f"{number}").mkdir()
        table.descriptor(looked_up(table, b"%d" % number))
    assert len(os.listdir("/proc/self/fd")) - before < inodes_module.DIRECTORIES_OPEN_MAX + 40


def test_what_lies_in_the_reserved_directory_has_no_path(table: Inodes, tmp_path: Path) -> None:
    (tmp_path / ".csfs" / "stage").mkdir(parents=True)
    (tmp_path / ".csfs" / "stage" / "x").touch()
    node = looked_up(table, b".csfs", b"stage", b"x")
    assert node.hidden
    assert table.path_of(node) is None


def test_of_very_many_names_the_latest_are_known(table: Inodes, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for number in range(inodes_module.NAMES_MAX + 5):
        os.link(tmp_path / "file", tmp_path / f"{number}")
        node = looked_up(table, b"%d" % number)
    assert len(node.names) == inodes_module.NAMES_MAX
    assert node.names[-1] == (ROOT_INODE, b"%d" % number)
    assert table.path_of(node) == b"5"


def test_what_has_no_name_any_more_takes_no_more_than_its_share_of_descriptors(
    table: Inodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inodes_module, "PINNED_MAX", 3)
    nodes = []
    for name in (b"a", b"b", b"c", b"d"):
        (tmp_path / os.fsdecode(name)).touch()
        nodes.append(looked_up(table, name))
    assert [table.pin(node) for node in nodes] == [True, True, True, False]
    table.forget(nodes[0].inode, 1)
    assert table.pin(nodes[3])
    table.unpin(nodes[1])
    assert table.pin(nodes[1])
    assert not table.pin(nodes[1]), "it is already"
