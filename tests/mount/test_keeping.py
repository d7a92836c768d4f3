"""What programs overwrite or remove is kept before they do, in groups that want it, and a row says so before the file's own."""

import ctypes
import mmap
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csfs.core.changes import Change, ChangeKind
from csfs.mount.keeping import COPIED_SIZE_MAX, KEPT_SIZE_MAX
from csfs.store.syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, RENAME_EXCHANGE, renameat2
from scripts.benchmarks.measuring import fresh_filesystem
from tests.disks import disk
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted, wait_ended, wait_mounts

pytestmark = pytest.mark.mount
OLD = b"what was closed last\n" * 300
MTIME_NS = 1_600_000_000_123_456_789
ZERO_RANGE = 0x10
LARGE = COPIED_SIZE_MAX + 4096

_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)


class Keeping:
    """A mounted volume with a directory of which everything that programs destroy is kept, and what a daemon hears of it."""

    def __init__(self, volume: Mounted, daemon: FakeDaemon) -> None:
        self.volume, self.daemon = volume, daemon
        self.path = volume.path / "keeping"
        self.path.mkdir()
        daemon.flushed()

    def made(self, name: str = "file", content: bytes = OLD) -> Path:
        """Return a file that nobody has open."""
        file = self.path / name
        file.write_bytes(content)
        file.chmod(0o640)
        os.chown(file, 12, 34)
        os.setxattr(file, "user.note", b"mine")
        os.utime(file, ns=(1, MTIME_NS))
        assert self.kept() == []
        return file

    def kept(self) -> list[tuple[Change, bytes]]:
        """Return the rows since the last call that say what was kept, each with what is in the store, which holds nothing else.

        The row of what destroyed it comes right after it.
        """
        rows = self.daemon.flushed()
        told = [row for row in rows if row.kind is ChangeKind.KEPT]
        assert sorted(os.listdir(self.store)) == sorted(os.fsdecode(row.kept) for row in told)
        found = [(row, (self.store / os.fsdecode(row.kept)).read_bytes()) for row in told]
        for row, content in found:
            after = rows[rows.index(row) + 1]
            assert after.path.startswith(b"keeping/")
            assert row.stamp is not None
            assert row.stamp.size == len(content)
            (self.store / os.fsdecode(row.kept)).unlink()
        return found

    @property
    def store(self) -> Path:
        """The kept versions, underneath."""
        return Path(f"/proc/self/fd/{self.volume.underneath}/.csfs/kept")


@pytest.fixture
def keeping(served: tuple[Mounted, FakeDaemon]) -> Keeping:
    return Keeping(*served)


@pytest.fixture(scope="module")
def xfs() -> Iterator[Path]:
    """A file system that can have files share blocks."""
    if shutil.which("mkfs.xfs") is None:
        pytest.skip("no mkfs.xfs here")
    with fresh_filesystem(512, kind="xfs") as place:
        yield place


@pytest.fixture
def sharing(xfs: Path, tmp_path: Path) -> Iterator[Keeping]:
    """The same, where blocks can be shared."""
    base = xfs / tmp_path.name
    base.mkdir()
    volume = Mounted(base)
    daemon = FakeDaemon(volume.settings.control_socket)
    try:
        volume.start()
        daemon.wait_connected()
        daemon.prepare()
        yield Keeping(volume, daemon)
        volume.stop(lazy=True)
        assert "unexpected error" not in volume.log
    finally:
        daemon.close()
        volume.clear_away()


def rewritten(file: Path) -> None:
    file.write_bytes(b"new")


def overwritten(file: Path) -> None:
    with file.open("r+b", buffering=0) as opened:
        opened.write(b"W")
        opened.seek(100)
        opened.write(b"W")


def cut_by_name(file: Path) -> None:
    os.truncate(file, 10)


def cut_by_handle(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(10)


def emptied_for_reading(file: Path) -> None:
    os.close(os.open(file, os.O_RDONLY | os.O_TRUNC))


def edited_by_sed(file: Path) -> None:
    subprocess.run(["sed", "-i", "s/closed/changed/", file], check=True)


def replaced(file: Path) -> None:
    (file.parent / "new").write_bytes(b"new")
    os.rename(file.parent / "new", file)


def removed(file: Path) -> None:
    file.unlink()


def punched(file: Path, mode: int = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) -> None:
    with file.open("r+b") as opened:
        assert _fallocate(opened.fileno(), mode, 0, 4096) == 0


def zeroed(file: Path) -> None:
    punched(file, ZERO_RANGE)


def copied_over(file: Path) -> None:
    source = file.parent / "source"
    source.write_bytes(b"source")
    with source.open("rb") as reading, file.open("r+b") as writing:
        assert os.copy_file_range(reading.fileno(), writing.fileno(), 6, 0, 0) == 6


def mapped(file: Path) -> None:
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as memory:
        memory[:3] = b"new"


WAYS = [
    rewritten,
    overwritten,
    cut_by_name,
    cut_by_handle,
    emptied_for_reading,
    edited_by_sed,
    replaced,
    removed,
    punched,
    zeroed,
    copied_over,
    mapped,
]


@pytest.mark.parametrize("destroy", WAYS)
def test_whatever_destroys_a_content_it_is_kept_whole_first(keeping: Keeping, destroy: Callable[[Path], None]) -> None:
    file = keeping.made()
    before = file.stat()
    destroy(file)
    (name,) = os.listdir(keeping.store)
    status, noted = (keeping.store / name).stat(), os.getxattr(keeping.store / name, "user.note")
    ((row, content),) = keeping.kept()
    assert (row.path, content) == (b"keeping/file", OLD)
    assert row.stamp is not None
    assert (row.stamp.inode, row.stamp.mtime_ns, row.stamp.ctime_ns) == (
        before.st_ino,
        MTIME_NS,
        before.st_ctime_ns,
    )
    assert (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns) == (before.st_mode, 12, 34, MTIME_NS)
    assert noted == b"mine"
    if file.exists():
        assert file.read_bytes() != OLD


def test_what_destroys_nothing_has_nothing_kept(keeping: Keeping) -> None:
    file = keeping.made()
    for number in range(20):  # as a shell script that logs
        subprocess.run(["sh", "-c", f"echo line {number} >> {file}"], check=True)
    with file.open("ab") as opened:
        opened.write(b"more")
    os.truncate(file, file.stat().st_size + 10)
    file.chmod(0o600)
    os.rename(file, keeping.path / "moved")
    os.link(keeping.path / "moved", keeping.path / "other")
    (keeping.path / "moved").unlink()
    (keeping.path / "link").symlink_to("other")
    (keeping.path / "link").unlink()
    (keeping.path / "empty").touch()
    (keeping.path / "empty").write_bytes(b"filled")
    with (keeping.path / "new").open("w+b", buffering=0) as opened:
        opened.write(b"header")
        opened.seek(0)
        opened.write(b"HEADER")
        (keeping.path / "new").unlink()  # while it is written, and before it was ever closed
    directory = os.open(keeping.path, os.O_RDONLY)
    renameat2(directory, b"other", directory, b"empty", RENAME_EXCHANGE)
    os.close(directory)
    assert keeping.kept() == []


def test_where_a_group_does_not_want_it_nothing_is_kept(keeping: Keeping) -> None:
    for name in ("elsewhere", "unsynced"):
        file = keeping.volume.path / name
        file.write_bytes(OLD)
        for destroy in (overwritten, rewritten, replaced, removed):
            destroy(file)
    assert keeping.kept() == []


def test_a_file_is_kept_once_until_nobody_has_it_open_for_writing(keeping: Keeping) -> None:
    file = keeping.made()
    with file.open("r+b", buffering=0) as first:
        first.write(b"1")
        with file.open("r+b", buffering=0) as second:
            second.write(b"2")
        os.truncate(file, 3)
        first.write(b"3")
    assert [content for _, content in keeping.kept()] == [OLD]
    with file.open("rb"):  # a reader does not count
        for number in (b"4", b"5"):
            with file.open("r+b", buffering=0) as opened:
                opened.write(number)
    assert [content for _, content in keeping.kept()] == [b"23a", b"43a"]
    os.truncate(file, 2)
    os.truncate(file, 1)
    assert [content for _, content in keeping.kept()] == [b"53a", b"53"]


def test_what_is_removed_is_kept_whatever_its_size_and_never_written_to(keeping: Keeping) -> None:
    content = os.urandom(LARGE)
    file = keeping.made(content=content)
    with file.open("rb") as reading:
        inode = os.fstat(reading.fileno()).st_ino
        file.unlink()
        assert os.fstat(reading.fileno()).st_nlink == 0
        assert reading.read() == content
        ((row, kept),) = keeping.kept()
        assert (row.stamp and row.stamp.inode, kept) == (inode, content)
    file = keeping.made()
    with file.open("r+b", buffering=0) as writing:
        file.unlink()
        writing.write(b"of something that is gone")
        assert [kept for _, kept in keeping.kept()] == [OLD]
        assert os.fstat(writing.fileno()).st_nlink == 0


def test_of_a_file_with_several_names_one_copy_is_kept(keeping: Keeping) -> None:
    file = keeping.made()
    os.link(file, keeping.path / "other")
    overwritten(keeping.path / "other")
    ((row, content),) = keeping.kept()
    assert (row.path, content) == (b"keeping/file", OLD)
    file.unlink()
    assert keeping.kept() == []
    (keeping.path / "other").unlink()
    ((row, _),) = keeping.kept()
    assert row.path == b"keeping/other"


def test_what_would_be_too_much_to_copy_is_not_kept(keeping: Keeping) -> None:
    file = keeping.made(content=bytes(LARGE))
    overwritten(file)
    file.write_bytes(bytes(COPIED_SIZE_MAX))
    rewritten(file)
    assert [len(content) for _, content in keeping.kept()] == [COPIED_SIZE_MAX]
    os.truncate(file, KEPT_SIZE_MAX + 1)
    file.unlink()
    assert keeping.kept() == []
    assert "not kept" not in keeping.volume.log


@pytest.mark.slow
def test_where_blocks_can_be_shared_a_large_file_is_kept_too(sharing: Keeping) -> None:
    content = os.urandom(8 * LARGE)
    for destroy in (overwritten, rewritten, cut_by_name, removed):
        file = sharing.made(content=content)
        destroy(file)
        assert [kept for _, kept in sharing.kept()] == [content]
        file.unlink(missing_ok=True)
        sharing.daemon.flushed()
        for left in sharing.store.iterdir():
            left.unlink()


def test_a_full_disk_fails_no_program_and_is_said_once(volume: Mounted, daemon: FakeDaemon) -> None:
    with disk(volume.base / "image", volume.path) as small:
        volume.start()
        daemon.wait_connected()
        os.mkdir(volume.path / "keeping")
        names = [volume.path / "keeping" / str(number) for number in range(5)]
        for name in names:
            name.write_bytes(OLD)
        daemon.prepare()
        small.fill()
        daemon.flushed()
        for name in names[:3]:
            overwritten(name)
            assert name.read_bytes() == b"W" + OLD[1:100] + b"W" + OLD[101:]
        names[3].unlink()
        assert [row for row in daemon.flushed() if row.kind is ChangeKind.KEPT] == []
        assert os.listdir(f"/proc/self/fd/{daemon.root}/.csfs/kept") == []
        assert volume.log.count("is not kept") == 1
        small.make_room()
        overwritten(names[4])
        assert len([row for row in daemon.flushed() if row.kind is ChangeKind.KEPT]) == 1
        volume.stop(lazy=True)
    assert "unexpected error" not in volume.log


def test_where_no_daemon_ever_was_programs_go_on(mounted: Mounted) -> None:
    (mounted.path / "keeping").mkdir()
    file = mounted.path / "keeping" / "file"
    for _ in range(2):
        file.write_bytes(OLD)
    file.unlink()
    assert not os.path.lexists(f"/proc/self/fd/{mounted.underneath}/.csfs")


def test_a_mount_that_is_killed_before_it_tells_of_a_copy_leaves_it_and_the_file(
    volume: Mounted, daemon: FakeDaemon
) -> None:
    switch = volume.base / "switch"
    volume.prelude = f"""
import os
from csfs.mount.capture import Capture
def kept(*arguments, **keywords):
    if os.path.exists({str(switch)!r}):
        os.kill(os.getpid(), {int(signal.SIGKILL)})
Capture.kept = kept
"""
    volume.start()
    daemon.wait_connected()
    daemon.prepare()
    (volume.path / "keeping").mkdir()
    file = volume.path / "keeping/file"
    file.write_bytes(OLD)
    switch.touch()
    child = volume.pids()[1]
    with pytest.raises(OSError, match="Errno"):
        file.write_bytes(b"new")
    wait_ended(child)
    wait_mounts(lambda: volume.pids()[1] != child and volume.is_mounted)
    switch.unlink()
    assert file.read_bytes() == OLD
    store = f"/proc/self/fd/{volume.underneath}/.csfs/kept"
    (name,) = os.listdir(store)
    assert Path(store, name).read_bytes() == OLD
    volume.stop(lazy=True)
