"""What programs overwrite or remove is kept before they do, in groups that want it, and a row says so before the file's own."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from csfs.mount.keeping import COPIED_SIZE_MAX, KEPT_SIZE_MAX
from csfs.store.syscalls import RENAME_EXCHANGE, renameat2
from tests.mount.destroying import (
    LARGE,
    MTIME_NS,
    OLD,
    Keeping,
    copied_over,
    cut_by_handle,
    cut_by_name,
    edited_by_sed,
    emptied_for_reading,
    mapped,
    overwritten,
    punched,
    removed,
    replaced,
    rewritten,
    zeroed,
)
from tests.mount.fake_daemon import FakeDaemon
from tests.mount.mounting import Mounted

pytestmark = pytest.mark.mount


@pytest.fixture
def keeping(served: tuple[Mounted, FakeDaemon]) -> Keeping:
    return Keeping(*served)


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


def test_what_an_editor_moves_out_of_its_way_is_kept(keeping: Keeping) -> None:
    file, backup = keeping.made(), keeping.path / "file~"
    file.rename(backup)
    file.write_bytes(b"edited")
    assert keeping.kept() == [], "what has another name there is there"
    file.unlink()
    keeping.kept()
    for outside in ("unsynced~", "elsewhere~"):
        file, backup = keeping.made(), keeping.volume.path / outside
        file.rename(backup)
        file.write_bytes(b"edited")
        backup.unlink()
        ((row, content),) = keeping.kept()
        assert (row.path, content) == (b"keeping/file", OLD)
        file.rename(backup)
        backup.rename(file)
        assert [content for _, content in keeping.kept()] == [b"edited"]
        file.unlink()
        keeping.kept()
    with (keeping.path / "new").open("wb") as opened:
        opened.write(b"not closed yet")
        (keeping.path / "new").rename(keeping.volume.path / "unsynced")
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


def test_who_only_reads_does_not_keep_a_later_change_from_being_kept(keeping: Keeping) -> None:
    file = keeping.made()
    with file.open("rb"):
        overwritten(file)
        written = file.read_bytes()
        os.truncate(file, 3)
        emptied_for_reading(file)
    assert [content for _, content in keeping.kept()] == [OLD, written, written[:3]]


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
