"""What a removed tree costs: each of its directories is looked at once more, and not once for each directory above it."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from csfs.core.paths import RelPath
from csfs.replicate import observer as observers
from csfs.replicate.directories import Directories
from csfs.replicate.observer import Observer
from csfs.replicate.volume import Volume
from csfs.store.tree import Look
from tests.replicate.test_fetcher import made_volume

DEPTH = 120
ROUNDS_MAX = 12


class Rounds:
    """Counts rounds of looks, and the paths that were looked at in them."""

    def __init__(self) -> None:
        self.count = self.paths = 0


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    counted, look_at = Rounds(), observers.look_at

    def counting(root: Any, batch: Sequence[Any], *rest: Any) -> list[tuple[RelPath, Any, Look | Any]]:
        counted.count += 1
        counted.paths += len(batch)
        return look_at(root, batch, *rest)

    monkeypatch.setattr(observers, "look_at", counting)
    return counted


def shown(volume: Volume, path: RelPath) -> bool:
    row = volume.index.rows.row(path)
    return row is not None and row.applied.observation is not None


def chain_in(volume: Volume, tree: Path, nursery: trio.Nursery) -> tuple[Observer, list[RelPath]]:
    """Make directories in one another; return who looks at them from now on, and their paths, the topmost first."""
    volume.nursery = nursery
    observer = Observer(volume, Directories(volume))
    nursery.start_soon(observer.run)
    chain = [RelPath(b"/".join([b"d"] * depth)) for depth in range(1, DEPTH + 1)]
    os.makedirs(tree / os.fsdecode(chain[-1]))
    return observer, chain


async def looked_at(observer: Observer, volume: Volume, paths: Sequence[RelPath]) -> None:
    for path in paths:
        observer.look(path)
    with trio.fail_after(20):
        await volume.progress.wait_until(lambda: observer.looks == 0)


@pytest.mark.parametrize("backwards", [False, True])
async def test_a_deep_tree_that_is_removed_takes_few_rounds(
    tmp_path: Path, nursery: trio.Nursery, rounds: Rounds, backwards: bool
) -> None:
    volume = made_volume(tmp_path)
    observer, chain = chain_in(volume, tmp_path / "tree", nursery)
    (tmp_path / "tree" / os.fsdecode(chain[DEPTH // 2]) / "f").write_bytes(b"in the middle")
    paths = [*chain, RelPath(chain[DEPTH // 2] + b"/f")]
    await looked_at(observer, volume, paths)
    assert all(shown(volume, path) for path in paths)
    rounds.count = rounds.paths = 0
    shutil.rmtree(tmp_path / "tree" / "d")
    await looked_at(observer, volume, paths[::-1] if backwards else paths)
    assert not any(shown(volume, path) for path in paths)
    assert not any(volume.index.rows.row(path).live for path in paths)  # type: ignore[union-attr]
    assert rounds.count <= ROUNDS_MAX
    assert rounds.paths <= 4 * len(paths)


async def test_what_is_made_in_it_meanwhile_is_there_with_all_directories_above(
    tmp_path: Path, nursery: trio.Nursery, rounds: Rounds
) -> None:
    volume = made_volume(tmp_path)
    observer, chain = chain_in(volume, tmp_path / "tree", nursery)
    await looked_at(observer, volume, chain)
    shutil.rmtree(tmp_path / "tree" / "d")
    for path in chain[:10]:
        observer.look(path)
    os.makedirs(tmp_path / "tree" / os.fsdecode(chain[20]))
    await looked_at(observer, volume, chain)
    assert [shown(volume, path) for path in chain] == [True] * 21 + [False] * (DEPTH - 21)
