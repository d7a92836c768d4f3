"""A file that was half overwritten when the storage failed: it is finished as soon as the storage takes it."""

import os
from pathlib import Path

import pytest

from csfs.core.changes import ChangeKind
from csfs.core.objects import Stamp
from csfs.core.paths import RelPath
from csfs.mount.direct import Asking
from csfs.store import redo
from csfs.store.attributes import stamp_of
from csfs.store.hashing import BLOCK_SIZE, block_hash
from csfs.store.overwriting import write_log
from csfs.wire.control import STAGE, Commit, Outcome, Overwrite
from tests.mount.test_direct import Asked, asked

__all__ = ["asked"]
OLD = b"old " * 50_000
PIECES = ((0, b"new "), (100_000, b"more"))
NEW = PIECES[0][1] + OLD[4:100_000] + PIECES[1][1] + OLD[100_004:]


def take_half(asked: Asked, tmp_path: Path, patched: pytest.MonkeyPatch) -> Stamp:
    """Have a commit fail after its first piece, and take nothing back; return what the file showed before."""
    stage = tmp_path / os.fsdecode(STAGE)
    stage.mkdir(parents=True)
    (tmp_path / "file").write_bytes(OLD)
    stamp = stamp_of((tmp_path / "file").stat())
    hashes = enumerate(block_hash(NEW[at : at + BLOCK_SIZE]) for at in range(0, len(NEW), BLOCK_SIZE))
    steps = (redo.Written(PIECES, len(NEW)),)
    log = redo.Redo(RelPath(b"file"), redo.boot_id(), stamp, steps, 10**18, BLOCK_SIZE, tuple(hashes))
    descriptor = os.open(stage, os.O_RDONLY)
    write_log(descriptor, b"1.1", log)
    os.close(descriptor)
    write, left = os.pwrite, [1]

    def broken(descriptor: int, data: bytes, offset: int) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(5, "Input/output error")
        return write(descriptor, data, offset)

    patched.setattr(os, "pwrite", broken)
    (result,) = asked.handlers.gate.take(Commit(1, 0, RelPath(b"file"), stamp, Overwrite(b"1.1")))
    assert (result.outcome, result.error) == (Outcome.FAILED, 5)
    return stamp


def test_it_is_finished_and_looked_at(asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage, overwriting = tmp_path / os.fsdecode(STAGE), asked.handlers.gate.overwriting
    refreshed: list[int] = []
    monkeypatch.setattr(type(asked.handlers.gate.refresher), "overwritten", lambda self, inode: refreshed.append(inode))
    with monkeypatch.context() as patched:
        stamp = take_half(asked, tmp_path, patched)
        overwriting.finish_torn()
        assert (tmp_path / "file").read_bytes() not in (OLD, NEW)
        assert asked.rows == []
    overwriting.finish_torn()
    assert (tmp_path / "file").read_bytes() == NEW
    assert (asked.rows, refreshed) == ([ChangeKind.CONTENT], [stamp.inode])
    assert os.listdir(stage) == ["done.1.1"]
    overwriting.finish_torn()
    assert asked.rows == [ChangeKind.CONTENT]


def test_what_somebody_writes_meanwhile_stays(asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, overwriting = tmp_path / "file", asked.handlers.gate.overwriting
    # There is no kernel here that could be told, which is done in a thread.
    monkeypatch.setattr(type(asked.handlers.gate.refresher), "overwritten", lambda self, inode: None)
    with monkeypatch.context() as patched:
        stamp = take_half(asked, tmp_path, patched)
        overwriting.finish_torn()
    assert asked.looked_up(b"file") == stamp.inode
    handle, _ = asked.handlers.open(stamp.inode, os.O_RDWR, Asking())
    overwriting.finish_torn()
    assert file.read_bytes() != NEW, "he has it open"
    offset = PIECES[1][0]
    asked.handlers.write_from(handle, offset, memoryview(b"SOME"), None, appends=False)
    asked.handlers.release(handle)
    theirs = file.read_bytes()
    assert theirs[offset:][:4] == b"SOME"
    overwriting.finish_torn()
    assert file.read_bytes() == theirs
    assert os.listdir(tmp_path / os.fsdecode(STAGE)) == ["done.1.1"]
