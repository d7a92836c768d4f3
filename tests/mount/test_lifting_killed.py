"""What a mount process that is killed has lifted, and left in the stage: the next one sees to it before it serves."""

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from csfs.config.settings import VolumeRules
from csfs.core.groups import Rules
from csfs.core.paths import RelPath
from csfs.core.treatment import FLAGS
from csfs.mount import lifting, syscalls
from csfs.mount.displaced import Displaced
from csfs.store import attributes, redo
from csfs.wire.control import Attributes, Install, Link, Remove
from tests.mount.underneath import Underneath, chattr, flags_at

KILLED = 9


def test_a_reserved_directory_of_somebody_else_is_not_believed(tree: Underneath) -> None:
    (tree.path / "victim").write_bytes(b"")
    note = f"{(tree.path / 'victim').stat().st_ino}=i /victim"
    (tree.path / ".csfs/lifted").symlink_to(note)
    os.chown(tree.path / ".csfs", 1, 1)
    (told,) = tree.recovered()
    assert "somebody else's" in told
    assert flags_at(tree.path / "victim") == b""
    os.chown(tree.path / ".csfs", 0, 0)
    assert len(tree.recover()) == 1
    assert flags_at(tree.path / "victim") == b"i"


def test_what_is_no_reserved_directory_keeps_no_mount_from_serving(tmp_path: Path) -> None:
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        lifting.Lifting(root, Rules.compiled(VolumeRules("v", ()), "alpha")).recover(pytest.fail)
        (tmp_path / ".csfs").write_bytes(b"")
        lifting.Lifting(root, Rules.compiled(VolumeRules("v", ()), "alpha")).recover(pytest.fail)
    finally:
        os.close(root)


def test_what_a_file_system_without_handles_keeps_in_the_stage_is_told(
    tree: Underneath, monkeypatch: pytest.MonkeyPatch
) -> None:
    chattr("-i", tree.path / "d/old")
    os.link(tree.path / "d/old", tree.path / ".csfs/stage/0.2")
    chattr("+i", tree.path / "d/old")

    def without(directory: int, name: bytes) -> bytes:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr("csfs.mount.lifting.syscalls.handle_at", without)
    (told,) = tree.recover()
    assert "0.2" in told
    assert flags_at(tree.path / "d/old") == b"i"


def test_what_came_in_the_place_of_what_had_flags_gets_none(tree: Underneath) -> None:
    directory, old = tree.path / "d", tree.path / "d/old"
    chattr("-i", old)
    note = f"^{directory.stat().st_ino}=i {old.stat().st_ino}=i /d/old"
    directory.rename(tree.path / "away")
    directory.mkdir()
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as there:
        there.bind(str(old))  # which cannot be opened
    (tree.path / ".csfs/lifted").symlink_to(note)
    assert len(tree.recover()) == 1
    assert flags_at(directory) == b""


def test_what_somebody_set_since_the_kill_stays(tree: Underneath) -> None:
    old = tree.path / "d/old"
    chattr("-i", old)
    (tree.path / ".csfs/lifted").symlink_to(f"{old.stat().st_ino}=i /d/old")
    chattr("+a", old)
    tree.recover()
    assert flags_at(old) == b"a"


def test_one_word_that_cannot_be_done_keeps_no_other_from_being(tree: Underneath) -> None:
    old = tree.path / "d/old"
    chattr("-i", old)
    (tree.path / ".csfs/lifted").symlink_to(f"@{bytes(8).hex()}=i {old.stat().st_ino}=i /d/old")
    (told,) = tree.recovered()
    assert "not put on" in told
    assert flags_at(old) == b"i"


def test_what_a_kill_left_in_the_stage_alone_has_no_flags_there(tree: Underneath) -> None:
    """A file with two names was displaced at one; before the restart somebody removed the other one."""
    left = tree.path / ".csfs/stage/0.1"
    chattr("-i", tree.path / "d/old")
    (tree.path / "d/old").rename(left)
    chattr("+i", left)
    assert tree.recover() == []
    assert (left.read_bytes(), flags_at(left)) == (b"old", b"")


def _killed_at(step: int, act: Callable[[], object]) -> bool:
    """Do something in a process that is killed before its call number `step` that changes anything; return whether it came to that."""
    pid = os.fork()
    if pid == 0:
        try:
            steps = iter(range(step))

            def before(call: Callable[..., object]) -> Callable[..., object]:
                def stepped(*arguments: object, **options: object) -> object:
                    if next(steps, None) is None:
                        os._exit(KILLED)
                    return call(*arguments, **options)

                return stepped

            lifting.put = before(lifting.put)  # type: ignore[assignment]
            attributes.os.chmod = before(os.chmod)  # type: ignore[assignment]
            os.symlink, os.unlink, os.link = before(os.symlink), before(os.unlink), before(os.link)  # type: ignore[assignment]
            redo.write_at = before(redo.write_at)  # type: ignore[assignment]
            redo.syscalls.renameat2 = before(redo.syscalls.renameat2)  # type: ignore[assignment]
            Displaced.install = before(Displaced.install)  # type: ignore[method-assign, assignment]
            Displaced.remove = before(Displaced.remove)  # type: ignore[method-assign, assignment]
            act()
            os._exit(0)
        except BaseException:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, KILLED)
    return code == KILLED


def _replaced(tree: Underneath) -> None:
    assert flags_at(tree.path / "d") == b"i"
    old, name = tree.path / "d/old", tree.path / "d/name"
    assert (old.read_bytes(), flags_at(old)) in ((b"old", b"i"), (b"new", b"a"))
    assert (name.read_bytes(), flags_at(name)) == (b"old", b"i")


def _removed(tree: Underneath) -> None:
    assert flags_at(tree.path / "d") == b"i"
    old = tree.path / "d/old"
    assert not old.exists() or flags_at(old) == b"i"
    assert flags_at(tree.path / "d/name") == b"i"


def _changed(tree: Underneath) -> None:
    assert flags_at(tree.path / "d/old") in (b"i", b"a")


def _overwritten(tree: Underneath) -> None:
    old = tree.path / "d/old"
    begun = (tree.path / ".csfs/stage/begun.1.1").exists()
    assert (old.read_bytes() in (b"old", b"new"), flags_at(old), begun) == (True, b"i", False)


def _linked(tree: Underneath) -> None:
    assert (flags_at(tree.path / "d"), flags_at(tree.path / "d/old")) == (b"i", b"i")


@pytest.mark.parametrize(
    ("action", "check"),
    [
        (lambda tree: tree.take("d/old", Install(tree.stage(), b"", b"a")), _replaced),
        (lambda tree: tree.take("d/old", Remove()), _removed),
        (lambda tree: tree.take("d/old", Attributes(mode=0o600, xattrs=((FLAGS, b"a"),))), _changed),
        (lambda tree: tree.take("d/new", Link(RelPath(b"d/old"), tree.stamp("d/old"), b"0.2")), _linked),
        (lambda tree: tree.take("d/old", tree.prepare("d/old", b"new")), _overwritten),
    ],
    ids=["install", "remove", "attributes", "link", "overwrite"],
)
def test_what_a_killed_mount_has_lifted_the_next_one_puts_on(
    tmp_path: Path, action: Callable[[Underneath], object], check: Callable[[Underneath], None]
) -> None:
    step, is_killed = 0, True
    while is_killed:
        (tmp_path / str(step)).mkdir()
        with contextlib.closing(Underneath(tmp_path / str(step))) as tree:
            if check is not _overwritten:  # what has other names is not
                os.link(tree.path / "d/old", tree.path / "d/name")
            chattr("+i", tree.path / "d/old", tree.path / "d")
            is_killed = _killed_at(step, lambda tree=tree: action(tree))  # type: ignore[misc]
            tree.recover()
            check(tree)
            extra = [one for one in (tree.path / ".csfs/stage").iterdir() if flags_at(one)]
            assert extra == [], "the daemon could not remove it"
        step += 1
    assert step > 4


def test_a_kill_carries_out_nothing_that_a_peer_calls_flags(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"not in the volume")
    above = os.open(tmp_path, os.O_RDONLY)
    value = b"i @%s=i " % syscalls.handle_at(above, b"victim").hex().encode()
    os.close(above)
    step, is_killed = 0, True
    while is_killed:
        (tmp_path / str(step)).mkdir()
        with contextlib.closing(Underneath(tmp_path / str(step))) as tree:
            chattr("+i", tree.path / "d")

            def install(tree: Underneath = tree) -> object:
                return tree.take("d/new", Install(tree.stage(), b"", value))

            is_killed = _killed_at(step, install)
            tree.recover()
            found, _ = flags_at(victim), chattr("-i", victim)
            assert found == b""
        step += 1
    assert step > 4
