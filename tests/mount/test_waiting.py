"""Answers that are put aside: until enough members have what was changed, or time is over."""

import errno
import os
import struct
import time
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from csfs.config.settings import VolumeRules
from csfs.core.groups import GroupRule, Rules
from csfs.core.paths import RelPath, parent_of
from csfs.core.synchrony import Mode, Synchrony
from csfs.mount import protocol as p
from csfs.mount.capture import NOBODY
from csfs.mount.gate import Gate
from csfs.mount.inodes import ROOT_INODE
from csfs.mount.read_only import ReadOnly
from csfs.mount.recent import Recent
from csfs.mount.waiting import Waiting
from csfs.store.attributes import stamp_of
from csfs.wire.control import Commit, ControlMessage, Install, Move, Outcome, Secure
from tests.mount.test_direct import UNIQUE, Asked, asked

__all__ = ["asked"]

OTHERS = ("alpha", "beta", "gamma")
TIMEOUT_S = 7.0


def rules_of(synchrony: Synchrony) -> Rules:
    """Return rules by which all but what is in `other` is waited for."""
    groups = (GroupRule(OTHERS, include=("/other",)), GroupRule(OTHERS, synchrony=synchrony))
    return Rules.compiled(VolumeRules("v", groups), "alpha")


class Served:
    """Handlers over a directory whose programs wait, and what the daemon and the kernel are told."""

    def __init__(self, asking: Asked, place: Path, *, fails: bool = False) -> None:
        self.asked = asking
        self.said: list[Secure] = []
        self._replies = os.open(place, os.O_RDWR | os.O_CREAT)
        self.waiting = Waiting(asking.inodes, lambda: asking.journal.last, self._say, self._count)
        self.waiting.descriptor = self._replies
        rules = rules_of(Synchrony(Mode.RECEIVED, 1, TIMEOUT_S, fails))
        assert self.waiting.follow(rules)
        asking.capture.listen(self.waiting.note)
        asking.handlers.waiting_for = self.waiting
        asking.direct.follow(self.waiting)

    def _say(self, message: ControlMessage) -> None:
        assert isinstance(message, Secure)
        self.said.append(message)

    def _count(self, more: int) -> None:
        self.asked.handlers.waiting += more

    def replies(self) -> list[int]:
        """Return the errnos that the kernel was answered since the last call, for requests that had waited."""
        data = os.pread(self._replies, 1 << 20, 0)
        os.ftruncate(self._replies, 0)
        os.lseek(self._replies, 0, os.SEEK_SET)
        found = []
        while data:
            length, error, unique = p.STATUS_ONLY.unpack_from(data)
            assert unique == UNIQUE
            found.append(-error)
            data = data[length:]
        return found

    def create(self, name: bytes) -> bytes | None:
        body = p.CREATE_IN.pack(os.O_RDWR | os.O_CREAT, 0o100644, 0, 0) + name + b"\0"
        return self.asked.sent(p.CREATE, ROOT_INODE, body)

    def opened(self, path: Path) -> tuple[int, int, int]:
        """Open a file for writing; return inode, handle and what the kernel is told of it."""
        inode = self.asked.looked_up(path.name.encode())
        handle, how = struct.unpack_from("=QI", self.asked.answer(p.OPEN, inode, p.OPEN_IN.pack(os.O_RDWR, 0)))
        return inode, handle, how


@pytest.fixture
def served(asked: Asked, tmp_path_factory: pytest.TempPathFactory) -> Served:
    return Served(asked, tmp_path_factory.mktemp("replies") / "replies")


async def test_that_something_was_kept_is_waited_for_by_nobody(served: Served, tmp_path: Path) -> None:
    stamp, path = stamp_of(tmp_path.stat()), RelPath(b"f")
    served.waiting.begin()
    served.asked.capture.kept(path, b"1.1", stamp, NOBODY, writing=True)
    assert served.waiting.parked(UNIQUE, b"reply", of_content=False) == b"reply"
    served.asked.capture.doubted(path)
    assert served.waiting.parked(UNIQUE, b"reply", of_content=False) is None


async def test_a_call_is_answered_once_the_daemon_says_so(served: Served, tmp_path: Path) -> None:
    assert served.create(b"new") == b""
    assert (tmp_path / "new").exists()
    assert served.replies() == []
    assert served.asked.handlers.waiting == 1
    (question,) = served.said
    assert (question.sequence, question.paths, question.moved, question.overdue) == (1, (b"new",), False, False)
    assert served.waiting.is_parked(UNIQUE)
    served.waiting.secured(question.token)
    served.waiting.secured(question.token)  # again: nobody waits any more
    assert served.replies() == [0]
    assert served.asked.handlers.waiting == 0
    assert served.asked.rows, "and the row was told"


async def test_each_call_that_changes_something_waits_and_no_other(served: Served, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "d").mkdir()
    inode, directory = served.asked.looked_up(b"f"), served.asked.looked_up(b"d")
    mode = p.SETATTR_IN.pack(p.SET_MODE, 0, 0, 0, 0, 0, 0, 0, 0, 0o100600, 0, 0)
    changing = [
        (p.SETATTR, inode, mode, (b"f",)),
        (p.SETXATTR, inode, p.SETXATTR_IN.pack(1, 0) + b"user.x\0y", (b"f",)),
        (p.REMOVEXATTR, inode, b"user.x\0", (b"f",)),
        (p.OPEN, inode, p.OPEN_IN.pack(os.O_RDWR | os.O_TRUNC, 0), ()),
        (p.MKDIR, ROOT_INODE, p.MKDIR_IN.pack(0o755, 0) + b"made\0", (b"made",)),
        (p.MKNOD, ROOT_INODE, p.MKNOD_IN.pack(0o010644, 0, 0) + b"fifo\0", (b"fifo",)),
        (p.SYMLINK, ROOT_INODE, b"link\0nowhere\0", (b"link",)),
        (p.LINK, ROOT_INODE, p.LINK_IN.pack(inode) + b"second\0", (b"f", b"second")),
        (p.RENAME, ROOT_INODE, p.RENAME_IN.pack(directory) + b"second\0moved\0", (b"second", b"d/moved")),
        (p.UNLINK, ROOT_INODE, b"fifo\0", (b"fifo",)),
        (p.RMDIR, ROOT_INODE, b"made\0", (b"made",)),
    ]
    for opcode, where, body, paths in changing:
        reply = served.asked.sent(opcode, where, body)
        if not paths:  # what a truncation has changed is told when the file is closed
            assert reply
            continue
        assert reply == b"", opcode
        question = served.said.pop()
        assert set(paths) <= set(question.paths), opcode
        assert question.moved == (opcode == p.RENAME)
        served.waiting.secured(question.token)
        assert served.replies() == [0], opcode
    assert os.readlink(tmp_path / "link") == "nowhere"
    assert served.asked.sent(p.GETATTR, inode, bytes(16))
    assert served.asked.sent(p.LOOKUP, ROOT_INODE, b"f\0")
    assert served.said == []


async def test_what_belongs_to_another_group_does_not_wait_and_its_files_are_not_flushed(
    served: Served, tmp_path: Path
) -> None:
    assert served.create(b"other")  # answered at once
    _, handle, how = served.opened(tmp_path / "other")
    assert how & p.FILE_NOT_FLUSHED
    assert served.asked.answer(p.FLUSH, 2, p.FLUSH_IN.pack(handle)) == b""
    assert served.said == []


async def test_closing_waits_for_what_was_written_and_told_before(served: Served, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    inode, handle, how = served.opened(tmp_path / "f")
    assert not how & p.FILE_NOT_FLUSHED
    served.asked.answer(p.WRITE, inode, p.WRITE_IN.pack(handle, 0, 3, 0, os.O_RDWR) + b"new")
    served.asked.capture.tell_all()  # it has been open for a while
    assert served.asked.sent(p.FLUSH, inode, p.FLUSH_IN.pack(handle)) == b""
    (question,) = served.said
    assert (question.paths, question.sequence) == ((b"f",), served.asked.journal.last)
    assert not served.waiting.holds(RelPath(b"g")), "closing holds no directory"
    served.waiting.secured(question.token)
    assert served.replies() == [0]


@pytest.mark.parametrize("fails", [False, True])
async def test_when_time_is_over_close_goes_on_or_fails_and_the_daemon_goes_on_watching(
    asked: Asked, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, autojump_clock: MockClock, fails: bool
) -> None:
    served = Served(asked, tmp_path_factory.mktemp("replies") / "replies", fails=fails)
    (tmp_path / "f").write_bytes(b"x")
    inode, handle, _ = served.opened(tmp_path / "f")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.waiting.run)
        await wait_all_tasks_blocked()
        assert served.asked.sent(p.FLUSH, inode, p.FLUSH_IN.pack(handle)) == b""
        assert served.create(b"new") == b""  # which cannot fail any more
        await trio.sleep(TIMEOUT_S - 0.1)
        assert served.replies() == []
        await trio.sleep(0.2)
        assert served.asked.handlers.waiting == 0
        assert sorted(served.replies()) == ([0, errno.EIO] if fails else [0, 0])
        again = served.waiting.open_questions()
        assert [(one.token, one.overdue) for one in again] == [(one.token, True) for one in served.said]
        for one in again:
            served.waiting.secured(one.token)
        assert served.waiting.open_questions() == []
        assert served.replies() == []
        nursery.cancel_scope.cancel()


async def test_commits_are_kept_away_from_directories_that_are_held(served: Served) -> None:
    assert not served.waiting.holds(RelPath(b"beside"))
    served.create(b"new")
    assert served.waiting.holds(RelPath(b"beside"))
    assert served.waiting.holds(RelPath(b"")), "the directory itself"
    assert not served.waiting.holds(RelPath(b"d/elsewhere"))
    served.asked.sent(p.RENAME, ROOT_INODE, p.RENAME_IN.pack(ROOT_INODE) + b"new\0newer\0")
    assert served.waiting.holds(RelPath(b"d/elsewhere")), "a rename may hold all directories"
    for question in served.said:
        served.waiting.secured(question.token)
    assert not served.waiting.holds(RelPath(b"beside"))


async def test_commits_are_kept_away_from_what_is_itself_held(served: Served, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    directory = served.asked.looked_up(b"d")
    mode = p.SETATTR_IN.pack(p.SET_MODE, 0, 0, 0, 0, 0, 0, 0, 0, 0o040700, 0, 0)
    assert served.asked.sent(p.SETATTR, directory, mode) == b""
    assert served.waiting.holds(RelPath(b"d"))
    assert served.waiting.holds(RelPath(b"d/in it")), "nothing can be put in a directory whose attributes are being set"
    assert not served.waiting.holds(RelPath(b"d/deeper/in it"))
    served.waiting.secured(served.said.pop().token)
    assert not served.waiting.holds(RelPath(b"d"))
    (tmp_path / "f").write_bytes(b"x")
    served.waiting.owe(served.asked.inodes.node(served.asked.looked_up(b"f")))
    assert served.waiting.parked(UNIQUE, p.done(UNIQUE), of_content=True) is None, "as fsync does"
    assert served.waiting.holds(RelPath(b"f")), "nobody can rename over a file that is being synced, nor remove it"
    assert not served.waiting.holds(RelPath(b"beside"))
    served.waiting.secured(served.said.pop().token)
    assert not served.waiting.holds(RelPath(b"f"))


@pytest.mark.parametrize(
    ("held", "answer"),
    [
        ("", Outcome.THROUGH),
        ("t", Outcome.BUSY),
        ("s/waiting", Outcome.BUSY),  # in the directory that it comes from
        ("s/f", Outcome.BUSY),  # a file that is being synced
        ("waiting", Outcome.THROUGH),  # in the root, to which a move need not come
    ],
)
def test_a_move_is_kept_away_from_what_holds_either_of_its_ends(
    asked: Asked, tmp_path: Path, held: str, answer: Outcome
) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "t").mkdir()
    (tmp_path / "s/f").write_bytes(b"x")
    asked.looked_up(b"s")
    asked.looked_up(b"t")
    locked = (
        {RelPath(b"s"), RelPath(b"s/waiting")} if held == "s/waiting" else {RelPath(held.encode())} - {RelPath(b"")}
    )
    gate = Gate(asked.inodes, asked.capture, Recent(), lambda path: not locked.isdisjoint((path, parent_of(path))))
    stamp = stamp_of((tmp_path / "s/f").stat())
    (result,) = gate.take(Commit(1, 0, RelPath(b"t/f"), None, Move(RelPath(b"s/f"), stamp)))
    assert result.outcome == answer


def test_the_first_commit_through_the_stage_is_kept_away_from_who_holds_the_root(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / ".csfs/stage").mkdir(parents=True)
    (tmp_path / "t").mkdir()
    (tmp_path / ".csfs/stage/0.1").write_bytes(b"x")
    asked.looked_up(b"t")
    held = {RelPath(b""), RelPath(b"waiting")}
    gate = Gate(asked.inodes, asked.capture, Recent(), lambda path: not held.isdisjoint((path, parent_of(path))))
    install = Commit(1, 0, RelPath(b"t/f"), None, Install(b"0.1"))
    assert [one.outcome for one in gate.take(install)] == [Outcome.BUSY]
    held.clear()
    assert [one.outcome for one in gate.take(install)] == [Outcome.THROUGH]
    root = asked.inodes.node(ROOT_INODE)
    reserved, _ = asked.inodes.found(root, b".csfs")
    stage, _ = asked.inodes.found(reserved, b"stage")
    target, _ = asked.inodes.found(root, b"t")
    gate.renamed_through(stage, b"0.1", target, b"f")
    held.add(RelPath(b""))
    (tmp_path / ".csfs/stage/0.2").write_bytes(b"y")
    again = Commit(2, 0, RelPath(b"t/g"), None, Install(b"0.2"))
    assert [one.outcome for one in gate.take(again)] == [Outcome.THROUGH], "the stage is open by now"


async def test_who_waits_is_not_interrupted(served: Served) -> None:
    interrupt = p.INTERRUPT_IN.pack(UNIQUE)
    assert served.asked.sent(p.INTERRUPT, 0, interrupt) is None, "libfuse's"
    served.create(b"new")
    assert served.asked.sent(p.INTERRUPT, 0, interrupt) == b""
    assert served.replies() == []


async def test_where_nothing_waits_the_kernel_need_not_ask_when_a_file_is_closed(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    handle, how = struct.unpack_from("=QI", asked.answer(p.OPEN, asked.looked_up(b"f"), p.OPEN_IN.pack(os.O_RDWR, 0)))
    assert how & p.FILE_NOT_FLUSHED
    assert asked.outcome(p.FLUSH, 2, p.FLUSH_IN.pack(handle)) == (errno.ENOSYS, b"")


async def test_a_file_that_was_opened_while_others_were_waited_for_does_not_end_the_asking(
    served: Served, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(b"x")
    inode, handle, _ = served.opened(tmp_path / "f")
    served.asked.handlers.waiting_for = None
    served.asked.direct.follow(None)
    assert served.asked.outcome(p.FLUSH, inode, p.FLUSH_IN.pack(handle)) == (0, b"")


async def test_with_a_quorum_nothing_is_changed_without_a_lease(asked: Asked, tmp_path: Path) -> None:
    rules = rules_of(Synchrony(Mode.QUORUM))
    leases = {rules.groups[1].scope: time.monotonic() - 0.001}
    asked.handlers.read_only = ReadOnly(rules, asked.inodes, leases)
    (tmp_path / "f").write_bytes(b"x")
    inode = asked.looked_up(b"f")
    writing, made = p.OPEN_IN.pack(os.O_WRONLY, 0), p.MKDIR_IN.pack(0o755, 0)
    assert asked.outcome(p.OPEN, inode, writing)[0] == errno.EROFS
    assert asked.outcome(p.OPEN, inode, p.OPEN_IN.pack(os.O_RDONLY, 0))[0] == 0
    assert asked.outcome(p.MKDIR, ROOT_INODE, made + b"d\0")[0] == errno.EROFS
    assert asked.outcome(p.MKDIR, ROOT_INODE, made + b"other\0")[0] == 0, "which belongs to another group"
    leases[rules.groups[1].scope] = time.monotonic() + 60
    assert asked.outcome(p.OPEN, inode, writing)[0] == 0
    assert asked.outcome(p.MKDIR, ROOT_INODE, made + b"d\0")[0] == 0
