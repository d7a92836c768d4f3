"""Somebody looks where a file was that has just been moved, before that is told: rows are a little behind the disk."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import RelPath
from csfs.core.records import Move
from csfs.replicate.observer import Observer
from csfs.replicate.volume import Volume
from tests.replicate.test_moved_again import births_at, moves_from
from tests.replicate.test_observer import FILE, observer_of, settled, volume_with_file

OTHER, DIRECTORY, INSIDE = RelPath(b"g"), RelPath(b"d"), RelPath(b"d/x")


@pytest.fixture
def volume(tmp_path: Path, nursery: trio.Nursery) -> Volume:
    """A volume with a root underneath, `f` and `d/x` in it."""
    made = volume_with_file(tmp_path, nursery)
    (tmp_path / "tree/d").mkdir()
    (tmp_path / "tree/d/x").write_bytes(b"inside")
    return made


class LateMount:
    """A mount that tells of what comes last when it is asked."""

    def __init__(self, observer: Observer) -> None:
        self._observer, self._late = observer, tuple[Change, ...]()
        observer.hear_mount = self.hear

    async def hear(self) -> None:
        """Take in the rest."""
        await trio.lowlevel.checkpoint()
        late, self._late = self._late, ()
        self._observer.take(late)

    def tell(self, told: Change, late: Sequence[Change] = ()) -> None:
        """Tell of one change, and of others when asked."""
        self._late = tuple(late)
        self._observer.take([told])


async def begun(volume: Volume, nursery: trio.Nursery) -> LateMount:
    """Return a mount; everything that is there is known."""
    observer = observer_of(volume)
    for path in (FILE, DIRECTORY, INSIDE):
        observer.look(path)
    nursery.start_soon(observer.run)
    await settled(observer, volume)
    return LateMount(observer)


async def quiet(volume: Volume, mount: LateMount) -> None:
    with trio.fail_after(5):
        await volume.progress.wait_until(lambda: mount._observer.idle and not mount._late)


@pytest.mark.parametrize("kind", [ChangeKind.CONTENT, ChangeKind.META])
@pytest.mark.parametrize("is_made_anew", [False, True])
async def test_what_is_changed_and_moved_at_once_is_the_same_object_where_it_went(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery, kind: ChangeKind, is_made_anew: bool
) -> None:
    mount, tree = await begun(volume, nursery), tmp_path / "tree"
    born = births_at(volume, FILE)
    if kind is ChangeKind.CONTENT:
        (tree / "f").write_bytes(b"new")
    else:
        (tree / "f").chmod(0o600)
    os.rename(tree / "f", tree / "g")
    late = [Change(sequence=2, kind=ChangeKind.RENAME, path=FILE, target=OTHER)]
    if is_made_anew:
        (tree / "f").write_bytes(b"made anew")
        late.append(Change(sequence=3, kind=ChangeKind.CREATE, path=FILE))
    mount.tell(Change(sequence=1, kind=kind, path=FILE), late)
    await quiet(volume, mount)
    assert births_at(volume, OTHER) == born
    assert moves_from(volume, FILE) == [Move(born[0], OTHER)]
    assert is_made_anew == (births_at(volume, FILE) != born)
    row = volume.index.rows.row(OTHER)
    assert row is not None
    assert row.applied.observation is not None
    assert row.applied.observation.size == (3 if kind is ChangeKind.CONTENT else len(b"old"))
    assert row.applied.observation.mode == (tree / "g").stat().st_mode & 0o7777


async def test_what_is_changed_in_a_directory_that_is_moved_at_once_goes_along(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery
) -> None:
    mount, tree, there = await begun(volume, nursery), tmp_path / "tree", RelPath(b"e/x")
    born = births_at(volume, INSIDE)
    (tree / "d/x").chmod(0o600)
    os.rename(tree / "d", tree / "e")
    renamed = Change(sequence=2, kind=ChangeKind.RENAME, path=DIRECTORY, target=RelPath(b"e"))
    mount.tell(Change(sequence=1, kind=ChangeKind.META, path=INSIDE), [renamed])
    await quiet(volume, mount)
    assert births_at(volume, there) == born
    assert moves_from(volume, INSIDE) == [Move(born[0], there)]


async def test_what_is_moved_to_where_something_was_just_removed_is_no_version_of_that(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery
) -> None:
    mount, tree = await begun(volume, nursery), tmp_path / "tree"
    born = births_at(volume, INSIDE)
    (tree / "f").unlink()
    os.rename(tree / "d/x", tree / "f")
    renamed = Change(sequence=2, kind=ChangeKind.RENAME, path=INSIDE, target=FILE)
    mount.tell(Change(sequence=1, kind=ChangeKind.REMOVE, path=FILE), [renamed])
    await quiet(volume, mount)
    assert births_at(volume, FILE) == born
    assert moves_from(volume, INSIDE) == [Move(born[0], FILE)]


async def test_what_was_removed_is_gone_whatever_else_is_told_meanwhile(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery
) -> None:
    mount, tree = await begun(volume, nursery), tmp_path / "tree"
    (tree / "f").unlink()
    mount.tell(
        Change(sequence=1, kind=ChangeKind.REMOVE, path=FILE), [Change(sequence=2, kind=ChangeKind.META, path=FILE)]
    )
    await quiet(volume, mount)
    row = volume.index.rows.row(FILE)
    assert row is not None
    assert not row.live
    assert moves_from(volume, FILE) == []


async def test_a_mount_that_does_not_answer_holds_up_no_removal(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("csfs.replicate.unexplained.HEARD_S_MAX", 0.01)
    mount = await begun(volume, nursery)
    mount._observer.hear_mount = trio.sleep_forever
    (tmp_path / "tree/f").unlink()
    mount.tell(Change(sequence=1, kind=ChangeKind.REMOVE, path=FILE))
    await quiet(volume, mount)
    row = volume.index.rows.row(FILE)
    assert row is not None
    assert not row.live


async def test_a_journal_that_tells_of_much_before_a_move_is_heard_to_its_end(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("csfs.replicate.unexplained.HEARD_S_MAX", 0.2)
    mount, tree = await begun(volume, nursery), tmp_path / "tree"
    born, observer = births_at(volume, FILE), mount._observer

    async def hear_much() -> None:
        for sequence in range(2, 7):
            await trio.sleep(0.1)
            observer.take([Change(sequence=sequence, kind=ChangeKind.META, path=INSIDE)])
        observer.take([Change(sequence=7, kind=ChangeKind.RENAME, path=FILE, target=OTHER)])

    observer.hear_mount = hear_much
    (tree / "f").chmod(0o600)
    os.rename(tree / "f", tree / "g")
    mount.tell(Change(sequence=1, kind=ChangeKind.META, path=FILE))
    with trio.fail_after(5):
        await volume.progress.wait_until(lambda: observer.idle and observer.last == 7)
    assert births_at(volume, OTHER) == born
