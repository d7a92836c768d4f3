"""Looking at objects: complete, consistent, and never outside the volume."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from csfs.core import acls
from csfs.core.objects import Kind, Observation
from csfs.core.paths import ROOT, RelPath
from csfs.errors import ForeignError, UnstableError
from csfs.store import observing
from csfs.store.hashing import BLOCK_SIZE, block_hash, hash_bytes
from csfs.store.observing import Limits
from csfs.store.tree import Tree

from .conftest import CAPABILITY, access_acl


def seen(tree: Tree, path: bytes) -> Observation:
    found = tree.observe(RelPath(path))
    assert found is not None
    return found


def test_a_file_is_seen_with_everything_it_has(tree: Tree, volume: Path) -> None:
    file = volume / "f"
    file.write_bytes(b"content")
    os.chown(file, 1001, 2001)
    file.chmod(0o6750)
    os.setxattr(file, "user.b", b"2")
    os.setxattr(file, "user.a", b"1")
    os.setxattr(file, "system.posix_acl_access", access_acl(1002))
    os.setxattr(file, "security.capability", CAPABILITY)
    os.utime(file, ns=(5, 1_600_000_000_123_456_789))
    os.link(file, volume / "g")
    found = seen(tree, b"f")
    assert found.kind is Kind.FILE
    assert (found.uid, found.gid, found.owner, found.group) == (1001, 2001, "alice", "staff")
    assert (found.size, found.hash, found.links) == (7, block_hash(b"content"), 2)
    assert found.mtime_ns == found.stamp.mtime_ns == 1_600_000_000_123_456_789
    assert found.mode == stat.S_IMODE(file.stat().st_mode)
    assert [name for name, _ in found.xattrs] == [
        b"security.capability",
        b"system.posix_acl_access",
        b"user.a",
        b"user.b",
    ]
    told = dict(found.xattrs)[b"system.posix_acl_access"]
    assert [entry.name for entry in acls.entries_of(told) or ()] == ["", "bob", "", "", ""]
    assert acls.without_names(((acls.ACCESS_ACL, told),)) == ((acls.ACCESS_ACL, access_acl(1002)),)
    assert file.stat().st_atime_ns == 5, "looking leaves the access time alone"


def test_every_other_kind_is_seen(tree: Tree, volume: Path) -> None:
    (volume / "d").mkdir()
    (volume / "l").symlink_to(b"target \xff".decode("utf-8", "surrogateescape"))
    os.mkfifo(volume / "p")
    os.mknod(volume / "c", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod(volume / "b", stat.S_IFBLK | 0o600, os.makedev(7, 300))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fsencode(volume / "s"))
    kinds = {name: seen(tree, name).kind for name in (b"d", b"l", b"p", b"c", b"b", b"s")}
    assert kinds == {
        b"d": Kind.DIRECTORY,
        b"l": Kind.SYMLINK,
        b"p": Kind.FIFO,
        b"c": Kind.CHARACTER_DEVICE,
        b"b": Kind.BLOCK_DEVICE,
        b"s": Kind.SOCKET,
    }
    assert seen(tree, b"l").target == b"target \xff"
    assert seen(tree, b"b").device == os.makedev(7, 300)
    assert seen(tree, b"d").size == 0
    assert seen(tree, ROOT).kind is Kind.DIRECTORY


def test_nothing_is_seen_where_nothing_is(tree: Tree, volume: Path) -> None:
    (volume / "f").write_bytes(b"")
    assert tree.observe(RelPath(b"nothing")) is None
    assert tree.observe(RelPath(b"nothing/below")) is None
    assert tree.observe(RelPath(b"f/below")) is None
    assert tree.stamp(RelPath(b"nothing")) is None


def test_names_that_are_not_utf8_and_long_paths_are_seen(tree: Tree, volume: Path) -> None:
    name = bytes(range(1, 47)) + bytes(range(48, 256))
    (Path(os.fsdecode(os.fsencode(volume) + b"/" + name))).write_bytes(b"odd")
    assert seen(tree, name).hash == block_hash(b"odd")
    directory = os.dup(tree.root)
    for _ in range(40):
        os.mkdir(b"d" * 250, dir_fd=directory)
        deeper = os.open(b"d" * 250, os.O_DIRECTORY, dir_fd=directory)
        os.close(directory)
        directory = deeper
    os.close(directory)
    deep = b"/".join([b"d" * 250] * 40)
    assert seen(tree, deep).kind is Kind.DIRECTORY
    assert max(len(path) for chunk in tree.scan() for path in chunk.found) == len(deep)


def test_a_parent_that_became_a_symlink_shows_nothing(tree: Tree, volume: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    (volume / "d").symlink_to(tmp_path / "outside")
    (volume / "inside").mkdir()
    (volume / "to-inside").symlink_to("inside")
    assert tree.observe(RelPath(b"d/secret")) is None
    assert tree.observe(RelPath(b"to-inside/f")) is None
    with pytest.raises(OSError), tree.open_parent(RelPath(b"d/secret")):
        pass


@pytest.mark.parametrize("path", [b"../outside", b"d/../../outside", b"/etc/passwd", b"d/../../volume/../outside"])
def test_no_path_leads_out(tree: Tree, volume: Path, tmp_path: Path, path: bytes) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    (volume / "d").mkdir()
    with pytest.raises((ForeignError, OSError)):
        tree.observe(RelPath(path))


def test_what_is_mounted_below_is_foreign_and_not_absent(
    tree: Tree, volume: Path, mounted_tmpfs: Callable[..., None]
) -> None:
    (volume / "m").mkdir()
    (volume / "m" / "covered").write_bytes(b"still ours")
    (volume / "plain").write_bytes(b"1")
    mounted_tmpfs(volume / "m")
    for path in (b"m", b"m/covered", b"m/other"):
        with pytest.raises(ForeignError):
            tree.observe(RelPath(path))
    chunks = list(tree.scan())
    assert [path for chunk in chunks for path in chunk.found] == [b"plain"]
    assert [skipped.path for chunk in chunks for skipped in chunk.skipped] == [b"m"]


def test_a_file_bound_over_a_file_of_the_same_file_system_is_foreign(tree: Tree, volume: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"another host's resolv.conf")
    (volume / "resolv.conf").write_bytes(b"ours")
    os.system(f"mount --bind {tmp_path}/other {volume}/resolv.conf")
    try:
        with pytest.raises(ForeignError):
            tree.observe(RelPath(b"resolv.conf"))
    finally:
        os.system(f"umount {volume}/resolv.conf")
    assert seen(tree, b"resolv.conf").hash == block_hash(b"ours")


def test_the_previous_hash_is_taken_as_far_as_it_may_be_believed(tree: Tree, volume: Path) -> None:
    file = volume / "f"
    file.write_bytes(b"content")
    os.utime(file, ns=(0, 1000))
    found = seen(tree, b"f")
    invented = Observation(**{**{f: getattr(found, f) for f in found.__struct_fields__}, "hash": b"invented"})
    path = RelPath(b"f")

    def hash_seen(content_changed: bool | None) -> bytes:
        again = tree.observe(path, invented, content_changed)
        assert again is not None
        return again.hash

    assert hash_seen(None) == b"invented"
    assert hash_seen(False) == b"invented"
    assert hash_seen(True) == found.hash
    file.chmod(0o600)
    assert hash_seen(None) == found.hash
    assert hash_seen(False) == b"invented"
    os.utime(file, ns=(0, 2000))
    assert hash_seen(False) == found.hash


def test_a_small_content_comes_along_and_a_large_one_brings_its_table(tree: Tree, volume: Path) -> None:
    (volume / "small").write_bytes(b"12345")
    large = os.urandom(3 * BLOCK_SIZE)
    (volume / "large").write_bytes(large)
    small = tree.look(RelPath(b"small"), limits=Limits(5))
    assert small is not None
    assert (small.content, small.table) == (b"12345", None)
    assert (tree.look(RelPath(b"small"), limits=Limits(4)) or small).content is None
    found = tree.look(RelPath(b"large"), limits=Limits(5))
    assert found is not None
    assert found.content is None
    assert found.table is not None
    assert (found.observation.hash, found.table.whole()) == hash_bytes(large)
    known = tree.look(RelPath(b"large"), found.observation)
    assert known is not None
    assert not known.is_read


def test_extents_build_on_the_table_of_the_same_inode_alone(tree: Tree, volume: Path) -> None:
    path = RelPath(b"f")
    data = bytearray(os.urandom(3 * BLOCK_SIZE))
    (volume / "f").write_bytes(data)
    before = tree.look(path)
    assert before is not None
    assert before.table
    with (volume / "f").open("r+b") as file:
        file.seek(BLOCK_SIZE)
        file.write(b"patched")
    data[BLOCK_SIZE : BLOCK_SIZE + 7] = b"patched"
    after = tree.look(
        path, before.observation, True, table=before.table, extents=((BLOCK_SIZE, 7),), limits=Limits(0, 10)
    )
    assert after is not None
    assert after.table is not None
    assert (after.observation.hash, after.table.whole()) == hash_bytes(bytes(data))
    assert after.is_partly_read
    assert (after.written, after.base) == (((BLOCK_SIZE, b"patched"),), before.observation.hash)
    os.rename(volume / "f", volume / "old")
    fresh = os.urandom(3 * BLOCK_SIZE)
    (volume / "f").write_bytes(fresh)
    replaced = tree.look(path, before.observation, True, table=before.table, extents=((0, 7),))
    assert replaced is not None
    assert not replaced.is_partly_read
    assert replaced.observation.hash == hash_bytes(fresh)[0]


def test_a_file_that_changes_while_it_is_read_is_read_again(
    tree: Tree, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = volume / "f"
    file.write_bytes(b"0")
    reads = []

    def disturbed(content: bytes) -> bytes:
        reads.append(content)
        if len(reads) < disturbances:
            file.write_bytes(b"%d" % len(reads) * 10)
            os.utime(file, ns=(0, len(reads)))
        return block_hash(content)

    monkeypatch.setattr(observing, "block_hash", disturbed)
    disturbances = 3
    assert seen(tree, b"f").hash == block_hash(b"2" * 10)
    assert len(reads) == 3
    disturbances = 99
    with pytest.raises(UnstableError, match="f: changed"):
        tree.observe(RelPath(b"f"))


def test_a_host_without_the_name_shows_the_number_alone(tree: Tree, volume: Path) -> None:
    (volume / "f").write_bytes(b"")
    os.chown(volume / "f", 4242, 4343)
    found = seen(tree, b"f")
    assert (found.uid, found.gid, found.owner, found.group) == (4242, 4343, "", "")


def test_reading_blocks_opens_regular_files_only(tree: Tree, volume: Path) -> None:
    (volume / "f").write_bytes(b"block")
    os.mkfifo(volume / "p")
    (volume / "l").symlink_to("f")
    assert tree.read_blocks(RelPath(b"f"), 0, 8) == [b"block"]
    for path in (b"p", b"l"):
        with pytest.raises(FileNotFoundError):
            tree.read_blocks(RelPath(path), 0, 1)


def test_a_scan_meets_everything_once_parents_first(tree: Tree, volume: Path) -> None:
    for directory in ("a", "a/b", "c", ".csfs", "a/.csfs"):
        (volume / directory).mkdir()
        for number in range(600):
            (volume / directory / f"f{number}").write_bytes(b"")
    (volume / "dangling").symlink_to("nowhere")
    chunks = list(tree.scan())
    met = [path for chunk in chunks for path in chunk.found]
    assert met == sorted(met)
    assert len(met) == len(set(met)) == 4 + 600 * 4 + 1
    assert all(met.index(RelPath(path)) < met.index(RelPath(path + b"/f7")) for path in (b"a", b"a/b", b"a/.csfs"))
    assert [len(chunk.found) for chunk in chunks] == [2000, 405]
    assert not any(chunk.skipped for chunk in chunks)
    below = {path for chunk in tree.scan(RelPath(b"a")) for path in chunk.found}
    assert below == {path for path in met if path.startswith(b"a/")}
    stamp = tree.stamp(RelPath(b"c/f1"))
    assert stamp is not None
    assert [chunk.found[RelPath(b"c/f1")] for chunk in chunks if b"c/f1" in chunk.found] == [stamp.packed()]


def test_a_scan_survives_what_vanishes_under_it(tree: Tree, volume: Path) -> None:
    for number in range(3):
        (volume / f"d{number}").mkdir()
        for name in range(2100):
            (volume / f"d{number}" / str(name)).write_bytes(b"")
    walk = tree.scan()
    first = next(walk)
    for number in range(3):
        for name in range(2100):
            (volume / f"d{number}" / str(name)).unlink()
        (volume / f"d{number}").rmdir()
    (volume / "d1").symlink_to("/etc")
    rest = [path for chunk in walk for path in chunk.found]
    assert len(first.found) == 2000
    assert not any(path.endswith(b"passwd") for path in rest)
    assert list(tree.scan(RelPath(b"d1"))) == []
