"""What is moved again before anybody has looked at it is the same object where it is then."""

import itertools
import os
from pathlib import Path

import pytest
import trio

from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import RelPath
from csfs.core.records import Move
from csfs.core.versions import Dot
from csfs.replicate.moved_on import TOLD_S_MAX
from csfs.replicate.volume import Volume
from tests.replicate.test_observer import FILE, observer_of, settled, volume_with_file


@pytest.fixture
def volume(tmp_path: Path, nursery: trio.Nursery) -> Volume:
    """A volume with a root underneath, and `f` in it."""
    return volume_with_file(tmp_path, nursery)


async def test_what_went_away_and_back_and_away_again_is_the_same_object(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery
) -> None:
    observer, tree = observer_of(volume), tmp_path / "tree"
    (tree / "g").write_bytes(b"other")
    observer.look(FILE)
    observer.look(RelPath(b"g"))
    nursery.start_soon(observer.run)
    await settled(observer, volume)
    with trio.fail_after(5):
        await volume.progress.wait_until(lambda: volume.index.rows.row(FILE) is not None)
    row = volume.index.rows.row(FILE)
    assert row is not None
    os.rename(tree / "f", tree / "h")
    there_and_back = [Change(sequence=n, kind=ChangeKind.EXCHANGE, path=FILE, target=RelPath(b"g")) for n in (1, 2)]
    observer.take([*there_and_back, Change(sequence=3, kind=ChangeKind.RENAME, path=FILE, target=RelPath(b"h"))])
    with trio.fail_after(5):
        await volume.progress.wait_until(lambda: volume.index.rows.row(RelPath(b"h")) is not None)
    moved = volume.index.rows.row(RelPath(b"h"))
    assert moved is not None
    births = [[entry.birth for entry in one.record.content.entries] for one in (row, moved)]
    assert births[0] == births[1]


def births_at(volume: Volume, path: RelPath) -> list[Dot | None]:
    """Return which objects are known at a path."""
    row = volume.index.rows.row(path)
    assert row is not None
    return [entry.birth for entry in row.record.content.entries]


def moves_from(volume: Volume, path: RelPath) -> list[Move]:
    """Return where what was at a path went, by what is known."""
    row = volume.index.rows.row(path)
    assert row is not None
    return [move for entry in row.record.content.entries for move in entry.moves]


async def test_what_is_put_on_a_name_from_which_something_was_moved_does_not_go_where_that_went(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery
) -> None:
    observer, tree, other = observer_of(volume), tmp_path / "tree", RelPath(b"g")
    (tree / "g").write_bytes(b"other")
    observer.look(FILE)
    observer.look(other)
    nursery.start_soon(observer.run)
    await settled(observer, volume)
    moves = [(b"f", b"h"), (b"g", b"f"), (b"f", b"i")]
    births = births_at(volume, FILE) + births_at(volume, other)
    for source, target in moves:
        os.rename(tree / os.fsdecode(source), tree / os.fsdecode(target))
    observer.take(
        [
            Change(sequence=number, kind=ChangeKind.RENAME, path=RelPath(source), target=RelPath(target))
            for number, (source, target) in enumerate(moves, 1)
        ]
    )
    await settled(observer, volume)
    assert births_at(volume, RelPath(b"h")) + births_at(volume, RelPath(b"i")) == births
    assert moves_from(volume, FILE) == [Move(births[0], RelPath(b"h"))]
    assert moves_from(volume, other) == [Move(births[1], RelPath(b"i"))]


@pytest.mark.parametrize("is_made_anew", [False, True])
async def test_what_was_replaced_does_not_go_where_what_took_its_place_went_on_to(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery, is_made_anew: bool
) -> None:
    observer, tree, other, last = observer_of(volume), tmp_path / "tree", RelPath(b"g"), RelPath(b"h")
    (tree / "g").write_bytes(b"other")
    observer.look(FILE)
    observer.look(other)
    nursery.start_soon(observer.run)
    await settled(observer, volume)
    replaced, moved = births_at(volume, FILE), births_at(volume, other)
    os.rename(tree / "g", tree / "f")
    os.rename(tree / "f", tree / "h")
    renames = [
        Change(sequence=1, kind=ChangeKind.RENAME, path=other, target=FILE),
        Change(sequence=2, kind=ChangeKind.RENAME, path=FILE, target=last),
    ]
    if is_made_anew:
        (tree / "f").write_bytes(b"made anew")
        renames.append(Change(sequence=3, kind=ChangeKind.CREATE, path=FILE))
    observer.take(renames)
    await settled(observer, volume)
    assert births_at(volume, last) == moved
    assert (moves_from(volume, FILE), moves_from(volume, other)) == ([], [Move(moved[0], last)])
    assert births_at(volume, FILE) == replaced


async def test_what_was_moved_within_a_directory_and_out_of_it_just_before_that_was_moved_is_the_same_object(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery
) -> None:
    observer, tree = observer_of(volume), tmp_path / "tree"
    paths = [RelPath(path) for path in (b"d", b"d/a", b"d/b", b"d/out")]
    (tree / "d").mkdir()
    for path in paths[1:]:
        (tree / os.fsdecode(path)).write_bytes(path)
    for path in paths:
        observer.look(path)
    nursery.start_soon(observer.run)
    await settled(observer, volume)
    births = [births_at(volume, path)[0] for path in paths[1:]]
    moves = [(b"d/out", b"out"), (b"d/a", b"t"), (b"d/b", b"d/a"), (b"t", b"d/b"), (b"d", b"e")]
    for source, target in moves:
        os.rename(tree / os.fsdecode(source), tree / os.fsdecode(target))
    told = [(ChangeKind.RENAME, *moves[0]), (ChangeKind.EXCHANGE, b"d/a", b"d/b"), (ChangeKind.RENAME, *moves[-1])]
    observer.take(
        [
            Change(sequence=number, kind=kind, path=RelPath(source), target=RelPath(target))
            for number, (kind, source, target) in enumerate(told, 1)
        ]
    )
    await settled(observer, volume)
    there = [RelPath(path) for path in (b"e/b", b"e/a", b"out")]
    assert [births_at(volume, path) for path in there] == [[birth] for birth in births]
    assert [moves_from(volume, path) for path in paths[1:]] == [
        [Move(birth, path)] for birth, path in zip(births, there, strict=True)
    ]


async def _rounds_until_quiet(volume: Volume) -> int:
    """Return how often something was done until nothing was for a while; less than what is held back waits for."""
    for number in range(1000):
        with trio.move_on_after(TOLD_S_MAX / 5) as quiet:
            await volume.progress.wait()
        if quiet.cancelled_caught:
            return number
    return 1000


@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize("at_once", [1, 2])
async def test_what_was_moved_on_before_anybody_looked_is_the_same_object_where_it_went(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery, at_once: int, is_told: bool
) -> None:
    observer, tree, last = observer_of(volume), tmp_path / "tree", RelPath(b"j")
    observer.look(FILE)
    nursery.start_soon(observer.run)
    await settled(observer, volume)
    births, names = births_at(volume, FILE), [FILE, RelPath(b"h"), RelPath(b"i"), last]
    rows = [
        Change(sequence=number, kind=ChangeKind.RENAME, path=source, target=target)
        for number, (source, target) in enumerate(itertools.pairwise(names), 1)
    ]
    os.rename(tree / "f", tree / "j")
    observer.take(rows[:at_once])
    with trio.fail_after(10):
        rounds = await _rounds_until_quiet(volume)
        assert (observer.looks, observer.digested) == (at_once + 1, 0), "something is still to be told"
        assert rounds < 5, "meanwhile there is nothing to do"
        if is_told:
            observer.take(rows[at_once:])
        await volume.progress.wait_until(lambda: observer.idle)
    assert not any(map(observer.is_unseen, names))
    assert moves_from(volume, FILE) == ([Move(births[0], last)] if is_told else [])
    assert not is_told or births_at(volume, last) == births
    row = volume.index.rows.row(FILE)
    assert row is not None
    assert not row.live


async def test_what_was_moved_on_and_removed_before_anybody_looked_is_gone_when_that_is_told(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery
) -> None:
    observer, through = observer_of(volume), RelPath(b"h")
    observer.look(FILE)
    nursery.start_soon(observer.run)
    await settled(observer, volume)
    os.unlink(tmp_path / "tree/f")
    observer.take([Change(sequence=1, kind=ChangeKind.RENAME, path=FILE, target=through)])
    await _rounds_until_quiet(volume)
    assert observer.is_unseen(FILE)
    observer.take([Change(sequence=2, kind=ChangeKind.REMOVE, path=through)])
    with trio.fail_after(TOLD_S_MAX / 2):
        await volume.progress.wait_until(lambda: observer.idle)
    assert not volume.index.rows.row(FILE).live  # type: ignore[union-attr]


async def test_what_comes_where_something_passed_through_takes_nothing_of_it_along(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """Somebody makes another thing where a file had passed through, and exchanges it with that file, which is back."""
    observer, tree, through = observer_of(volume), tmp_path / "tree", RelPath(b"g")
    observer.look(FILE)
    nursery.start_soon(observer.run)
    await settled(observer, volume)
    births = births_at(volume, FILE)
    os.rename(tree / "f", tree / "g")
    (tree / "f").mkdir()
    there = (ChangeKind.RENAME, FILE, through)
    back = (ChangeKind.RENAME, through, FILE)
    told = [there, back, (ChangeKind.CREATE, through, None), (ChangeKind.EXCHANGE, FILE, through)]
    observer.take(
        [
            Change(sequence=number, kind=kind, path=path, target=target)
            for number, (kind, path, target) in enumerate(told, 1)
        ]
    )
    await settled(observer, volume)
    assert births_at(volume, through) == births, "it is the same file"
    assert births[0] not in births_at(volume, FILE)


@pytest.mark.parametrize("saved", ["f", "g"])
async def test_what_was_exchanged_and_saved_as_another_inode_before_anybody_looked_is_the_same_object(
    volume: Volume, tmp_path: Path, nursery: trio.Nursery, saved: str
) -> None:
    observer, tree, other = observer_of(volume), tmp_path / "tree", RelPath(b"g")
    (tree / "g").write_bytes(b"other")
    observer.look(FILE)
    observer.look(other)
    nursery.start_soon(observer.run)
    await settled(observer, volume)
    births = births_at(volume, FILE) + births_at(volume, other)
    os.rename(tree / "f", tree / "h")
    os.rename(tree / "g", tree / "f")
    os.rename(tree / "h", tree / "g")
    (tree / "new").write_bytes(b"saved")
    os.rename(tree / "new", tree / saved)
    path = RelPath(os.fsencode(saved))
    exchanged = Change(sequence=1, kind=ChangeKind.EXCHANGE, path=FILE, target=other)
    observer.take([exchanged, Change(sequence=2, kind=ChangeKind.CREATE, path=path)])
    await settled(observer, volume)
    assert births_at(volume, FILE) + births_at(volume, other) == [births[1], births[0]]
    assert [move.target for move in moves_from(volume, FILE)] == [other]
    assert [move.target for move in moves_from(volume, other)] == [FILE]
