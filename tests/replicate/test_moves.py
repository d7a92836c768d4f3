"""Directories that are moved, and moved again, or into or out of which something is moved, before anybody has looked at any of it."""

import os
import random
from pathlib import Path

import pytest
import trio

from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import RelPath
from csfs.core.records import Move
from csfs.core.versions import Dot
from csfs.replicate import observer as observer_module
from csfs.replicate.observer import Observer
from csfs.replicate.volume import Volume
from tests.replicate.test_fetcher import made_volume
from tests.replicate.test_observer import observer_of, settled

FILES = ("f", "g", "d/f", "d/g", "e/f")
NAMES = ("d", "e", *FILES, "h", "d/h", "e/g")
Act = tuple[str, ...]


class Programs:
    """What is done to a tree, and the rows that tell of it."""

    def __init__(self, tree: Path) -> None:
        self.tree, self.rows = tree, list[Change]()

    def do(self, kind: ChangeKind, *names: str) -> None:
        """Do something to paths; what is not possible is refused with an OSError."""
        paths = [self.tree / name for name in names]
        match kind:
            case ChangeKind.CREATE:
                paths[0].touch(exist_ok=False)
            case ChangeKind.RENAME:
                os.rename(*paths)
            case _:
                self._exchange(*paths)
        source, *others = [RelPath(name.encode()) for name in names]
        target = others[0] if others else None
        self.rows.append(Change(sequence=len(self.rows) + 1, kind=kind, path=source, target=target))

    def _exchange(self, one: Path, other: Path) -> None:
        if not (one.exists() and other.exists()) or one.is_relative_to(other) or other.is_relative_to(one):
            raise FileNotFoundError
        aside = self.tree.parent / "aside"
        one.rename(aside)
        other.rename(one)
        aside.rename(other)

    def names(self, text: str) -> list[str]:
        """Return the names of the file that holds a text."""
        found = [Path(directory, name) for directory, _, names in os.walk(self.tree) for name in names]
        return [str(path.relative_to(self.tree)) for path in found if path.read_text() == text]


def _births(volume: Volume, name: str) -> list[Dot | None]:
    row = volume.index.rows.row(RelPath(name.encode()))
    assert row is not None, name
    return [entry.birth for entry in row.record.content.entries]


def _targets(volume: Volume, name: str, birth: Dot | None) -> list[str]:
    """Return where an object went that was at a path, by what is known."""
    row = volume.index.rows.row(RelPath(name.encode()))
    assert row is not None, name
    moves: list[Move] = [move for entry in row.record.content.entries for move in entry.moves]
    return [os.fsdecode(move.target) for move in moves if move.object == birth]


async def _sown(volume: Volume, observer: Observer, tree: Path) -> None:
    for name in ("d", "e"):
        (tree / name).mkdir()
    for name in FILES:
        (tree / name).write_text(name)
    for name in ("d", "e", *FILES):
        observer.look(RelPath(name.encode()))
    await settled(observer, volume)


async def _expect_same(tmp_path: Path, nursery: trio.Nursery, acts: list[Act]) -> None:
    """Do things, and expect that each file is known for what it was wherever it is, and that its first name says where."""
    volume, tree = made_volume(tmp_path), tmp_path / "tree"
    volume.nursery = nursery
    observer, programs = observer_of(volume), Programs(tree)
    nursery.start_soon(observer.run)
    await _sown(volume, observer, tree)
    births = {name: _births(volume, name) for name in FILES}
    for kind, *names in acts:
        try:
            programs.do(ChangeKind[kind.upper()], *names)
        except OSError:
            continue
    observer.take(programs.rows)
    with trio.fail_after(5):
        await volume.progress.wait_until(lambda: observer.idle)
    for first, born in births.items():
        names = programs.names(first)
        for name in names:
            assert _births(volume, name) == born, f"{name} was {first}"
        if len(names) == 1 and names != [first]:
            assert _targets(volume, first, born[0]) == names


@pytest.mark.parametrize(
    "acts",
    [
        ["rename g d/h", "rename d h"],
        ["rename d e/g", "rename e h"],
        ["rename d h", "rename h/f k"],
        ["rename d h", "rename g h/f", "rename h k"],
        ["exchange d e", "rename e d/h"],
        ["exchange d e", "rename e/g d/h"],
        ["exchange d f", "exchange f e"],
        ["exchange f e/f", "exchange e d"],
        ["rename g d/h", "exchange f d"],
    ],
    ids=", ".join,
)
async def test_what_was_in_a_directory_is_the_same_object_wherever_it_went_before_anybody_looked(
    tmp_path: Path, nursery: trio.Nursery, acts: list[str]
) -> None:
    await _expect_same(tmp_path, nursery, [tuple(act.split()) for act in acts])


async def test_a_row_waits_until_all_is_looked_at_that_was_in_a_directory_in_whose_place_there_is_another(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observer_module, "LOOKS_MAX", 2)
    volume, tree = made_volume(tmp_path), tmp_path / "tree"
    volume.nursery = nursery
    observer, programs = observer_of(volume), Programs(tree)
    nursery.start_soon(observer.run)
    await _sown(volume, observer, tree)
    observer.start_journal(b"journal", 0)
    programs.do(ChangeKind.RENAME, "d", "h")
    (tree / "d").mkdir()
    programs.rows.append(Change(sequence=2, kind=ChangeKind.CREATE, path=RelPath(b"d")))
    waiting = list[int]()
    monkeypatch.setattr(volume.index.ledger, "set_digested", lambda *_: waiting.append(observer.looks))
    observer.take(programs.rows)
    with trio.fail_after(5):
        await volume.progress.wait_until(lambda: observer.idle)
    assert waiting == [0], "a kill between two rounds would have lost the rest"


@pytest.mark.parametrize("seed", range(60))
async def test_what_is_moved_in_any_way_before_anybody_looked_is_the_same_object(
    tmp_path: Path, nursery: trio.Nursery, seed: int
) -> None:
    dice = random.Random(seed)
    kinds = dice.choices(("create", "rename", "exchange"), (1, 4, 2), k=6)
    await _expect_same(tmp_path, nursery, [(kind, *dice.sample(NAMES, 1 + (kind != "create"))) for kind in kinds])
