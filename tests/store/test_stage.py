"""Building objects: complete, verified, and never half there."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from csfs.core import acls
from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.records import Content, Meta
from csfs.core.treatment import EVERYTHING, carried_by
from csfs.errors import ConfigError, ContentMismatchError
from csfs.store.attributes import stamp_of
from csfs.store.hashing import BLOCK_SIZE, hash_bytes
from csfs.store.owners import FixedAccounts, Owners
from csfs.store.stage import FromBytes, FromKept, FromPartial, FromStage, FromTree, Stage
from csfs.store.treating import Treated
from csfs.store.tree import Tree

from .conftest import CAPABILITY, GROUPS, USERS, access_acl
from .test_partials import lacking

MTIME_NS = 1_600_000_000_123_456_789
OWNERS = Owners(FixedAccounts(USERS, GROUPS))
PLAIN = Meta(0o640, 0, 0, "root", "root")


def file_of(data: bytes) -> Content:
    return Content(Kind.FILE, len(data), hash_bytes(data)[0], MTIME_NS)


def staged_path(volume: Path, name: str) -> Path:
    return volume / ".csfs" / "stage" / name


def test_a_file_is_staged_as_it_will_be_observed(tree: Tree, stage: Stage, volume: Path) -> None:
    xattrs = ((b"security.capability", CAPABILITY), (b"system.posix_acl_access", access_acl(1002)), (b"user.a", b"1"))
    meta = Meta(0o6660, 5, 6, "alice", "staff", xattrs)
    staged = stage.build(b"7.1", file_of(b"content"), meta, MTIME_NS, FromBytes(b"content"))
    assert staged.problems == ()
    os.rename(staged_path(volume, "7.1"), volume / "f")
    found = tree.observe(RelPath(b"f"))
    assert found is not None
    assert (found.uid, found.gid, found.owner, found.group) == (1001, 2001, "alice", "staff")
    assert (found.mode, acls.without_names(found.xattrs), found.mtime_ns) == (0o6660, xattrs, MTIME_NS)
    expected = staged.observation
    assert found.stamp.inode == expected.stamp.inode
    for field in ("kind", "mode", "uid", "gid", "owner", "group", "mtime_ns", "size", "hash", "xattrs", "links"):
        assert getattr(found, field) == getattr(expected, field), field


@pytest.mark.parametrize(
    "content",
    [
        Content(Kind.DIRECTORY),
        Content(Kind.SYMLINK, target=b"over/there \xff"),
        Content(Kind.FIFO),
        Content(Kind.SOCKET),
        Content(Kind.CHARACTER_DEVICE, device=os.makedev(1, 3)),
        Content(Kind.BLOCK_DEVICE, device=os.makedev(7, 300)),
    ],
    ids=lambda content: content.kind.name,
)
def test_every_kind_is_staged(tree: Tree, stage: Stage, volume: Path, content: Content) -> None:
    mode = 0o777 if content.kind is Kind.SYMLINK else 0o1751
    tree.treated = lambda _: Treated(OWNERS, EVERYTHING)
    staged = stage.build(b"7.1", content, Meta(mode, 0, 0, "bob", "staff", ((b"trusted.t", b"1"),)), MTIME_NS)
    assert staged.problems == ()
    os.rename(staged_path(volume, "7.1"), volume / "o")
    found = tree.observe(RelPath(b"o"))
    assert found is not None
    assert (found.kind, found.target, found.device) == (content.kind, content.target, content.device)
    assert (found.mode, found.owner, found.mtime_ns, found.xattrs) == (mode, "bob", MTIME_NS, ((b"trusted.t", b"1"),))


def test_an_empty_file_needs_no_source(stage: Stage) -> None:
    assert stage.build(b"7.1", file_of(b""), PLAIN, MTIME_NS).observation.size == 0


def test_wrong_bytes_are_never_staged(stage: Stage, volume: Path) -> None:
    (volume / "other").write_bytes(b"CONTENT")
    for source in (FromBytes(b"CONTENT"), FromBytes(b"short"), FromTree(RelPath(b"other")), None):
        with pytest.raises(ContentMismatchError):
            stage.build(b"7.1", file_of(b"content"), PLAIN, MTIME_NS, source)
    assert os.listdir(volume / ".csfs" / "stage") == []


def test_a_local_copy_is_a_copy_with_its_holes(stage: Stage, volume: Path) -> None:
    with (volume / "sparse").open("wb") as file:
        file.truncate(64 * BLOCK_SIZE + 5)
        file.seek(20 * BLOCK_SIZE)
        file.write(b"island")
    data = (volume / "sparse").read_bytes()
    stage.build(b"7.1", file_of(data), PLAIN, MTIME_NS, FromTree(RelPath(b"sparse")))
    copied = staged_path(volume, "7.1")
    assert copied.read_bytes() == data
    assert copied.stat().st_blocks * 512 <= 2 * BLOCK_SIZE
    assert copied.stat().st_ino != (volume / "sparse").stat().st_ino


def test_a_gone_or_linked_source_is_told(stage: Stage, volume: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"content")
    (volume / "link").symlink_to(tmp_path / "secret")
    for path in (b"gone", b"link"):
        with pytest.raises(FileNotFoundError):
            stage.build(b"7.1", file_of(b"content"), PLAIN, MTIME_NS, FromTree(RelPath(path)))


def test_a_kept_version_comes_back(stage: Stage, volume: Path) -> None:
    (volume / ".csfs" / "kept" / "old").write_bytes(b"content")
    stage.build(b"7.1", file_of(b"content"), PLAIN, MTIME_NS, FromKept(b"old"))
    assert staged_path(volume, "7.1").read_bytes() == b"content"
    assert stage.kept.read_blocks(b"old", 0, 1) == [b"content"]


def test_a_content_that_arrived_in_blocks_is_staged_when_complete(stage: Stage, volume: Path) -> None:
    data = os.urandom(BLOCK_SIZE) + bytes(BLOCK_SIZE) + b"end"
    root, table = hash_bytes(data)
    blocks = [data[at : at + BLOCK_SIZE] for at in range(0, len(data), BLOCK_SIZE)]
    assert not stage.partials.begin(root, len(data))
    for index in (2, 0):
        stage.partials.write_block(root, index, blocks[index], table[index * 32 : index * 32 + 32])
    assert lacking(stage, data) == set(), "a hole is the zeros that are wanted there"
    stage.build(b"7.1", file_of(data), PLAIN, MTIME_NS, FromPartial())
    assert staged_path(volume, "7.1").read_bytes() == data
    assert stage.partials.hashes() == []


def test_an_incomplete_content_stays_partial(stage: Stage) -> None:
    data = os.urandom(2 * BLOCK_SIZE)
    root, table = hash_bytes(data)
    stage.partials.begin(root, len(data))
    stage.partials.write_block(root, 1, data[BLOCK_SIZE:], table[32:])
    with pytest.raises(ContentMismatchError):
        stage.build(b"7.1", file_of(data), PLAIN, MTIME_NS, FromPartial())
    assert stage.partials.begin(root, len(data)), "what has arrived is still here"
    assert lacking(stage, data) == {0}
    assert stage.partials.hashes() == [root]


def test_an_earlier_runs_file_is_adopted_without_its_old_attributes(stage: Stage, volume: Path) -> None:
    left = stage.build(
        b"3.1", file_of(b"content"), Meta(0o666, 0, 0, xattrs=((b"user.a", b"1"),)), 5, FromBytes(b"content")
    )
    assert left.observation.xattrs == ((b"user.a", b"1"),)
    name = stage.adoptable()[hash_bytes(b"content")[0]]
    staged = stage.build(b"7.1", file_of(b"content"), PLAIN, MTIME_NS, FromStage(name))
    assert (staged.observation.mode, staged.observation.xattrs) == (0o640, ())
    assert staged.observation.stamp.inode == left.observation.stamp.inode
    assert os.listdir(volume / ".csfs" / "stage") == ["7.1"]


def test_what_a_crash_left_half_built_is_removed_and_the_rest_told(stage: Stage, volume: Path) -> None:
    staged_path(volume, "building.7.1").write_bytes(b"hal")
    staged_path(volume, "building.7.2").mkdir()
    staged_path(volume, "7.3").write_bytes(b"displaced")
    staged_path(volume, "7.4").symlink_to("away")
    found = {leftover.name: (leftover.kind, leftover.hash) for leftover in stage.leftovers()}
    assert found == {b"7.3": (Kind.FILE, hash_bytes(b"displaced")[0]), b"7.4": (Kind.SYMLINK, b"")}
    stage.rescue(b"7.3", b"rescued")
    stage.discard(b"7.4")
    stage.discard(b"7.4")
    assert (volume / ".csfs" / "kept" / "rescued").read_bytes() == b"displaced"
    assert os.listdir(volume / ".csfs" / "stage") == []


def test_what_a_commit_displaced_is_known_in_the_stage_by_what_it_looked_like(stage: Stage, volume: Path) -> None:
    displaced = {name: volume / name for name in ("plain", "linked", "rewritten", "live")}
    for path in displaced.values():
        path.write_text(f"of {path.name}")
    wanted = {f"kept {name}".encode(): stamp_of(path.lstat()) for name, path in displaced.items()}
    (volume / "another name").hardlink_to(displaced["linked"])
    for number, name in enumerate(("plain", "linked", "rewritten")):
        displaced[name].rename(staged_path(volume, f"7.{number}"))
    staged_path(volume, "7.2").write_text("something else")
    staged_path(volume, "7.3").write_text("of plain")
    assert stage.rescue_displaced({}) == {}
    assert stage.rescue_displaced(wanted) == {b"kept plain": b"7.0"}
    assert [path.read_text() for path in (volume / ".csfs" / "kept").iterdir()] == ["of plain"]
    assert sorted(os.listdir(volume / ".csfs" / "stage")) == ["7.1", "7.2", "7.3"]
    assert displaced["live"].exists()


def test_a_taken_name_is_never_overwritten(stage: Stage, volume: Path) -> None:
    stage.build(b"7.1", file_of(b"first"), PLAIN, MTIME_NS, FromBytes(b"first"))
    for content, source in ((file_of(b"second"), FromBytes(b"second")), (Content(Kind.DIRECTORY), None)):
        with pytest.raises(FileExistsError):
            stage.build(b"7.1", content, PLAIN, MTIME_NS, source)
    assert os.listdir(volume / ".csfs" / "stage") == ["7.1"]
    assert staged_path(volume, "7.1").read_bytes() == b"first"


@pytest.mark.parametrize("name", [b"../f", b"a/b", b"..", b"", b"a\0b"])
def test_a_staged_name_is_flat(stage: Stage, name: bytes) -> None:
    with pytest.raises(ValueError):
        stage.build(name, file_of(b""), PLAIN, MTIME_NS)


def test_files_without_an_unnamed_start_are_built_too(
    stage: Stage, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "O_TMPFILE", 0)  # opening a directory for writing: EISDIR, as old kernels answer
    stage.build(b"7.1", file_of(b"content"), PLAIN, MTIME_NS, FromBytes(b"content"))
    with pytest.raises(FileExistsError):
        stage.build(b"7.1", file_of(b"content"), PLAIN, MTIME_NS, FromBytes(b"content"))
    assert os.listdir(volume / ".csfs" / "stage") == ["7.1"]


def test_what_the_file_system_cannot_hold_is_told_and_not_fatal(stage: Stage) -> None:
    xattrs = ((b"system.posix_acl_access", b"no acl"), (b"user.huge", b"x" * 60_000), (b"user.ok", b"1"))
    staged = stage.build(b"7.1", file_of(b""), Meta(0o640, 0, 0, xattrs=xattrs), MTIME_NS)
    assert [problem.split(":")[0] for problem in staged.problems] == [
        "xattr user.huge",
        "xattr system.posix_acl_access",
    ]
    assert staged.observation.xattrs == ((b"user.ok", b"1"),)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, mounted_tmpfs: Callable[..., None]) -> None:
    mounted_tmpfs(tmp_path, "size=256k")
    root = os.open(tmp_path, os.O_DIRECTORY)
    tree = Tree(root, OWNERS)
    stage = Stage(tree)
    try:
        data = os.urandom(300_000)
        with pytest.raises(OSError) as caught:
            stage.build(b"7.1", file_of(data), PLAIN, MTIME_NS, FromBytes(data))
        assert caught.value.errno == errno.ENOSPC
        assert os.listdir(tmp_path / ".csfs" / "stage") == []
        stage.build(b"7.2", file_of(b"small"), PLAIN, MTIME_NS, FromBytes(b"small"))
    finally:
        stage.close()
        os.close(root)


def test_what_is_open_for_writing_is_not_removed(stage: Stage, volume: Path) -> None:
    for name in ("read", "written", "plain"):
        (volume / ".csfs" / "kept" / name).write_bytes(b"content")
    (volume / ".csfs" / "kept" / "link").symlink_to("anywhere")
    names = [b"read", b"written", b"plain", b"link", b"absent"]
    with open(volume / ".csfs/kept/read", "rb"), open(volume / ".csfs/kept/written", "ab"):
        assert stage.kept.delete_closed(names) == [b"read", b"plain", b"link", b"absent"]
        assert os.listdir(volume / ".csfs/kept") == ["written"]
    assert stage.kept.delete_closed([b"written"]) == [b"written"]
    assert os.listdir(volume / ".csfs/kept") == []


def test_one_of_two_goes_only_where_the_other_is_there_and_stays_as_it_is(stage: Stage, volume: Path) -> None:
    for name in ("1", "2", "3", "4", "5"):
        (volume / ".csfs" / "kept" / name).write_bytes(b"content")
    with open(volume / ".csfs/kept/4", "ab"):
        assert stage.kept.delete_doubled({b"1": b"2", b"3": b"4", b"5": b"absent"}) == [b"1"]
    assert sorted(os.listdir(volume / ".csfs/kept")) == ["2", "3", "4", "5"]


def test_what_lives_on_under_another_name_is_kept_as_a_copy(stage: Stage, volume: Path) -> None:
    (volume / "live").write_bytes(b"live")
    os.link(volume / "live", volume / "other")
    stage.keep_copy(RelPath(b"live"), b"1.1", file_of(b"live"))
    (volume / "other").write_bytes(b"written later")
    assert stage.kept.read_blocks(b"1.1", 0, 1) == [b"live"]
    with pytest.raises(ContentMismatchError):
        stage.keep_copy(RelPath(b"live"), b"1.2", file_of(b"live"))
    assert os.listdir(volume / ".csfs/kept") == ["1.1"]


def test_another_name_of_what_is_live_is_never_taken_for_a_content_left_behind(stage: Stage, volume: Path) -> None:
    (volume / "live").write_bytes(b"live")
    os.link(volume / "live", staged_path(volume, "7.1"))
    assert stage.leftovers() == []
    assert (volume / "live").stat().st_nlink == 1


def test_the_reserved_directory_is_roots_alone(volume: Path, tree: Tree) -> None:
    os.chown(volume, 1001, 2001)
    volume.chmod(0o2777)
    os.setxattr(volume, "system.posix_acl_default", access_acl(1002, 7))
    stage = Stage(tree)
    assert stage.identity() is None
    stage.write_identity(b"first")
    stage.write_identity(b"an identity")
    stage.sync()
    stage.close()
    again = Stage(tree)
    assert again.identity() == b"an identity"
    again.close()
    for name in (".csfs", ".csfs/stage", ".csfs/partial", ".csfs/kept"):
        status = (volume / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o700, 0)
        assert os.listxattr(volume / name) == []


def test_a_reserved_directory_that_is_not_ours_is_refused(volume: Path, tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (volume / ".csfs").symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigError):
        Stage(tree)
    (volume / ".csfs").unlink()
    (volume / ".csfs").mkdir()
    os.chown(volume / ".csfs", 1001, 1001)
    with pytest.raises(ConfigError):
        Stage(tree)
    assert os.listdir(tmp_path / "outside") == []


def test_what_this_host_alone_has_of_attributes_goes_on_to_what_takes_the_place_and_privileges_do_not(
    tree: Tree, stage: Stage, volume: Path
) -> None:
    (volume / "f").write_bytes(b"old")
    os.setxattr(volume / "f", "trusted.own", b"ours")
    os.setxattr(volume / "f", "user.old", b"goes")
    os.setxattr(volume / "f", "security.capability", CAPABILITY)
    tree.treated = lambda _: Treated(OWNERS, carried_by(("user.*",)))
    theirs = ((b"trusted.own", b"theirs"), (b"user.new", b"comes"))
    meta = Meta(0o640, 0, 0, "root", "root", theirs)
    staged = stage.build(b"7.1", file_of(b"new"), meta, MTIME_NS, FromBytes(b"new"), path=RelPath(b"f"), replaces=True)
    assert staged.observation.xattrs == ((b"user.new", b"comes"),)
    built = staged_path(volume, "7.1")
    assert sorted(os.listxattr(built)) == ["trusted.own", "user.new"]
    assert os.getxattr(built, "trusted.own") == b"ours"
