"""Requests that are answered without pyfuse3, as bytes in a buffer: no kernel, the real handlers over a real directory."""

import errno
import os
import stat
import struct
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.core.changes import ChangeKind
from csfs.core.paths import RelPath
from csfs.core.treatment import USUAL, Treatment
from csfs.journal.journal import IN_MEMORY, Journal
from csfs.mount import protocol as p
from csfs.mount.capture import Capture
from csfs.mount.direct import Direct
from csfs.mount.gate import Gate
from csfs.mount.inodes import ROOT_INODE, Inodes
from csfs.mount.operations.passthrough import Handlers
from csfs.mount.recent import Recent

UNIQUE = 77
FALLOCATE = 43


class AllSynced:
    def is_synced(self, path: RelPath) -> bool:
        return True

    def treatment_of(self, path: RelPath) -> Treatment:
        return USUAL


class Asked:
    """Direct handlers over a directory, and somebody who asks."""

    def __init__(self, directory: Path) -> None:
        self.inodes = Inodes(os.open(directory, os.O_RDONLY))
        self.journal = Journal(IN_MEMORY, time.time_ns)
        self.capture = capture = Capture(self.journal, self.inodes, AllSynced())
        self.rows: list[ChangeKind] = []
        capture.listen(lambda change, *rest: self.rows.append(change.kind))
        self.handlers = Handlers(self.inodes, capture, Gate(self.inodes, capture, Recent()))
        self._buffer = bytearray(1 << 20)
        self.direct = Direct(self.handlers, self._buffer)

    def sent(self, opcode: int, inode: int, body: bytes, uid: int = 0) -> bytes | None:
        """Return the reply to a request, empty if there is none, None if the request is for libfuse."""
        request = p.REQUEST.pack(p.BODY + len(body), opcode, UNIQUE, inode, uid, uid, os.getpid()) + body
        self._buffer[: len(request)] = request
        with tempfile.TemporaryFile(buffering=0) as replies:
            if not self.direct.answered(replies.fileno()):
                return None
            replies.seek(0)
            return replies.read()

    def answer(self, opcode: int, inode: int, body: bytes) -> bytes:
        """Return the body of the reply to a request that succeeds."""
        error, rest = self.outcome(opcode, inode, body)
        assert error == 0, os.strerror(error)
        return rest

    def outcome(self, opcode: int, inode: int, body: bytes) -> tuple[int, bytes]:
        """Return errno and body of a reply, whose header must be right."""
        reply = self.sent(opcode, inode, body)
        assert reply
        length, error, unique = p.STATUS_ONLY.unpack_from(reply)
        assert (length, unique) == (len(reply), UNIQUE)
        return -error, reply[p.STATUS_ONLY.size :]

    def looked_up(self, name: bytes) -> int:
        """Return the inode of a name in the root."""
        return int(struct.unpack_from("=Q", self.answer(p.LOOKUP, ROOT_INODE, name + b"\0"))[0])


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    asking = Asked(tmp_path)
    before = os.umask(0o022)
    os.umask(before)
    yield asking  # as in a mount process, each caller's umask is taken on, and then none
    os.umask(before)
    asking.handlers.close_all()
    asking.inodes.close()
    os.close(asking.inodes.root)


def attributes_of(body: bytes) -> tuple[int, ...]:
    return struct.unpack("=QQQqqqIIIIIIIIII", body[-88:])


def test_attributes_are_those_underneath(asked: Asked, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 5000)
    os.chown(path, 12, 34)
    os.utime(path, ns=(-1, -1_500_000_000))  # before 1970, to the nanosecond
    status = path.stat()
    inode = asked.looked_up(b"file")
    assert inode == status.st_ino
    found = attributes_of(asked.answer(p.GETATTR, inode, bytes(16)))
    assert found[:3] == (status.st_ino, 5000, status.st_blocks)
    assert found[3:5] + found[6:8] == (-1, -2, 999_999_999, 500_000_000)
    assert found[9:13] == (stat.S_IFREG | 0o644, 1, 12, 34)
    assert asked.answer(p.LOOKUP, ROOT_INODE, b"file\0")[-88:] == asked.answer(p.GETATTR, inode, bytes(16))[-88:]


def test_a_file_is_made_written_read_and_closed(asked: Asked, tmp_path: Path) -> None:
    body = p.CREATE_IN.pack(os.O_RDWR | os.O_CREAT, stat.S_IFREG | 0o666, 0o027, 0) + b"new\0"
    reply = asked.answer(p.CREATE, ROOT_INODE, body)
    inode, (handle, _) = struct.unpack_from("=Q", reply)[0], p.OPENED_TAIL.unpack(reply[-16:])
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    data = os.urandom(100_000)
    written = asked.answer(p.WRITE, inode, p.WRITE_IN.pack(handle, 5, len(data), 0, os.O_RDWR) + data)
    assert struct.unpack_from("=I", written) == (len(data),)
    assert asked.answer(p.READ, inode, p.READ_IN.pack(handle, 0, 200_000) + bytes(20)) == bytes(5) + data
    assert asked.answer(p.RELEASE, inode, p.RELEASE_IN.pack(handle) + bytes(16)) == b""
    assert asked.rows == [ChangeKind.CREATE, ChangeKind.CONTENT]
    assert asked.outcome(p.READ, inode, p.READ_IN.pack(handle, 0, 10) + bytes(20))[0] == errno.EIO  # no such handle


def test_names_go_and_move(asked: Asked, tmp_path: Path) -> None:
    asked.answer(p.MKDIR, ROOT_INODE, p.MKDIR_IN.pack(0o755, 0) + b"d\0")
    (tmp_path / "f").touch()
    directory, file = asked.looked_up(b"d"), asked.looked_up(b"f")
    asked.answer(p.RENAME2, ROOT_INODE, p.RENAME2_IN.pack(directory, 0) + b"f\0g\0")
    assert (tmp_path / "d" / "g").stat().st_ino == file
    asked.answer(p.RENAME, directory, p.RENAME_IN.pack(ROOT_INODE) + b"g\0h\0")
    assert asked.outcome(p.RMDIR, ROOT_INODE, b"h\0")[0] == errno.ENOTDIR
    asked.answer(p.UNLINK, ROOT_INODE, b"h\0")
    asked.answer(p.RMDIR, ROOT_INODE, b"d\0")
    assert list(tmp_path.iterdir()) == []
    assert asked.rows == [
        ChangeKind.CREATE,
        ChangeKind.RENAME,
        ChangeKind.RENAME,
        ChangeKind.REMOVE,
        ChangeKind.REMOVE,
    ]


def test_an_absent_name_may_be_remembered_as_absent(asked: Asked) -> None:
    inode, _, seconds = struct.unpack_from("=QQQ", asked.answer(p.LOOKUP, ROOT_INODE, b"none\0"))
    assert inode == 0
    assert seconds > 3600


def test_forgetting_is_not_answered_and_is_honoured(asked: Asked, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).touch()
    first, second = asked.looked_up(b"a"), asked.looked_up(b"b")
    asked.looked_up(b"b")
    assert asked.sent(p.FORGET, first, p.FORGETS.pack(1)) == b""
    assert asked.sent(p.BATCH_FORGET, 0, p.FORGET_COUNT.pack(1) + p.FORGET_ONE.pack(second, 1)) == b""
    assert asked.outcome(p.GETATTR, first, bytes(16))[0] == errno.ESTALE
    assert asked.outcome(p.GETATTR, second, bytes(16))[0] == 0
    assert asked.sent(p.BATCH_FORGET, 0, p.FORGET_COUNT.pack(1) + p.FORGET_ONE.pack(second, 1)) == b""
    assert asked.outcome(p.GETATTR, second, bytes(16))[0] == errno.ESTALE


def test_times_are_set_to_now_and_to_what_is_given(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    inode = asked.looked_up(b"f")
    valid = p.SET_ATIME | p.SET_MTIME | p.SET_MTIME_NOW
    (tmp_path / "clock").touch()
    before = (tmp_path / "clock").stat().st_mtime_ns  # the file system's own clock, which others see as well
    asked.answer(p.SETATTR, inode, p.SETATTR_IN.pack(valid, 0, 0, -7, 0, 0, 250, 0, 0, 0, 0, 0))
    status = (tmp_path / "f").stat()
    assert status.st_atime_ns == -7 * p.NS_PER_S + 250
    (tmp_path / "later").touch()
    assert before <= status.st_mtime_ns <= (tmp_path / "later").stat().st_mtime_ns


def test_a_value_that_does_not_fit_is_refused_and_its_size_is_told(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    os.setxattr(tmp_path / "f", "user.x", b"12345")
    inode = asked.looked_up(b"f")
    name = b"user.x\0"
    assert struct.unpack_from("=I", asked.answer(p.GETXATTR, inode, p.GETXATTR_IN.pack(0) + name)) == (5,)
    assert asked.answer(p.GETXATTR, inode, p.GETXATTR_IN.pack(5) + name) == b"12345"
    assert asked.outcome(p.GETXATTR, inode, p.GETXATTR_IN.pack(4) + name) == (errno.ERANGE, b"")
    assert struct.unpack_from("=I", asked.answer(p.LISTXATTR, inode, p.GETXATTR_IN.pack(0))) == (7,)
    assert asked.answer(p.LISTXATTR, inode, p.GETXATTR_IN.pack(7)) == name
    assert asked.outcome(p.LISTXATTR, inode, p.GETXATTR_IN.pack(6)) == (errno.ERANGE, b"")
    for _ in range(2):  # the second time from memory
        capability = p.GETXATTR_IN.pack(0) + b"security.capability\0"
        assert asked.outcome(p.GETXATTR, inode, capability) == (errno.ENODATA, b"")


def test_what_is_not_answered_here_is_libfuses(asked: Asked) -> None:
    assert asked.sent(FALLOCATE, ROOT_INODE, bytes(32)) is None
    assert asked.sent(p.INIT, 0, bytes(16)) is None


def test_a_handler_that_fails_is_answered_with_eio(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(asked.handlers, "getattr", broken)
    assert asked.outcome(p.GETATTR, ROOT_INODE, bytes(16)) == (errno.EIO, b"")
    assert asked.outcome(p.LOOKUP, ROOT_INODE, b"none\0")[0] == 0  # and the next one as ever
