"""Comparing a tree with the index: whatever differs is come upon, whatever is equal is not."""

import os
import subprocess
import tempfile
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from csfs.core.objects import Applied, Kind, Observation, Stamp
from csfs.core.paths import RESERVED, ROOT, RelPath, is_below
from csfs.core.records import NOTHING_KNOWN
from csfs.core.rows import Row
from csfs.core.versions import Scope
from csfs.index import database, shown
from csfs.replicate.compare import Differences, compare, differences
from csfs.replicate.volume import Volume
from csfs.store import scanning
from csfs.store.owners import Owners
from tests.replicate.alone import close_roots, root_at
from tests.replicate.test_fetcher import made_volume
from tests.replicate.test_observer import observer_of

names = st.text("ab.0-\N{LATIN SMALL LETTER E WITH ACUTE}", min_size=1, max_size=3).filter(
    lambda n: n not in (".", "..")
)
states = st.sampled_from(["equal", "racy", "inode", "size", "mtime", "ctime", "unknown", "nothing shown", "held"])


def found(volume: Volume, below: RelPath = ROOT) -> Differences:
    """Return all differences together."""
    assert volume.root is not None
    total = Differences(skipped=[])
    with volume.index.shown() as reader:
        for part in differences(volume.root, reader, below):
            total.count += part.count
            total.skipped = [*total.skipped, *part.skipped]
            for mine, its in ((total.changed, part.changed), (total.racy, part.racy), (total.gone, part.gone)):
                mine.extend(its)
    return total


def remember(volume: Volume, path: RelPath, stamp: Stamp | None, racy: bool = False) -> None:
    """Have the index show that stamp at a path; None: it knows of the path, and shows nothing."""
    observation = Observation(stamp=stamp, kind=Kind.FILE, mode=0, uid=0, gid=0) if stamp is not None else None
    applied = Applied(observation=observation, racy=racy)
    row = Row(record=NOTHING_KNOWN, applied=applied, scope=Scope(b""), live=True, pending=False)
    with volume.index.transaction():
        volume.index.rows.put(path, row)


def made_tree(directory: Path, leaves: list[list[str]]) -> list[RelPath]:
    """Make files at these places, as far as no file is in the way of a directory; return all paths, directories among them."""
    for parts in leaves:
        path = directory.joinpath(*parts)
        if not any(parent.is_file() for parent in path.parents) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    walked = [os.path.join(top, name) for top, dirs, files in os.walk(directory) for name in (*dirs, *files)]
    paths = [RelPath(os.fsencode(os.path.relpath(path, directory))) for path in walked]
    return [path for path in paths if not path.startswith(RESERVED)]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.lists(st.lists(names, min_size=1, max_size=3), min_size=1, max_size=12), st.integers(1, 4))
def test_what_differs_is_come_upon_and_nothing_else(data: st.DataObject, leaves: list[list[str]], portion: int) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanning, "CHUNK_SIZE", 3)
        patch.setattr(shown, "PORTION_MAX", portion)
        volume = made_volume(Path(place))
        paths = made_tree(Path(place, "tree"), leaves)
        changed, racy, held = set[RelPath](), set[RelPath](), list[RelPath]()
        assert volume.root is not None
        for path in paths:
            stamp, state = volume.root.tree.stamp(path), data.draw(states)
            assert stamp is not None
            if state in ("equal", "racy"):
                remember(volume, path, stamp, racy=state == "racy")
            elif state == "nothing shown":
                remember(volume, path, None)
            elif state not in ("unknown", "held"):
                field = state if state in ("inode", "size") else f"{state}_ns"
                remember(volume, path, msgspec.structs.replace(stamp, **{field: getattr(stamp, field) + 1}))
            if state == "held":
                held.append(path)
            elif state != "equal":
                (racy if state == "racy" else changed).add(path)
        with volume.index.transaction():
            volume.index.ledger.hold(held)
        absent = data.draw(st.lists(st.lists(names, min_size=1, max_size=4), max_size=8))
        gone = {RelPath("/".join(parts).encode()) for parts in absent} - set(paths)
        for path in gone:
            remember(volume, path, Stamp(1, 2, 3, 4), racy=data.draw(st.booleans()))
        below = data.draw(st.sampled_from([ROOT, *paths, *sorted(gone)]))
        total = found(volume, below)
        for mine, expected in ((total.changed, changed), (total.racy, racy), (total.gone, gone)):
            assert sorted(mine) == sorted(path for path in expected if is_below(path, below))
        assert total.count == sum(is_below(path, below) for path in paths)
        volume.index.close()
        close_roots()


async def test_each_kind_of_change_is_taken_in_and_then_nothing(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, tree = made_volume(tmp_path), tmp_path / "tree"
    observer = observer_of(volume)
    volume.comparing = True
    for name in ("same", "changed", "mode", "gone", "kind", "replaced"):
        (tree / name).write_bytes(b"old")
    (tree / "deep" / "er").mkdir(parents=True)
    (tree / "deep" / "er" / "file").write_bytes(b"old")
    nursery.start_soon(observer.run)
    with trio.fail_after(5):
        await compare(volume, observer, ROOT)
    before = (tree / "replaced").stat()
    (tree / "changed").write_bytes(b"new and longer")
    (tree / "mode").chmod(0o600)
    (tree / "gone").unlink()
    (tree / "kind").unlink()
    (tree / "kind").mkdir()
    (tree / "kind" / "inside").touch()
    (tree / "other").write_bytes(b"NEW")
    os.utime(tree / "other", ns=(before.st_atime_ns, before.st_mtime_ns))
    (tree / "other").rename(tree / "replaced")
    (tree / "deep" / "er" / "file").unlink()
    (tree / "deep" / "er").rmdir()
    (tree / "deep" / "er").symlink_to("nowhere")
    same = volume.index.rows.row(RelPath(b"same"))
    with trio.fail_after(5):
        await compare(volume, observer, ROOT)
    for path in (b"changed", b"mode", b"gone", b"kind", b"kind/inside", b"replaced", b"deep/er", b"deep/er/file"):
        row, root = volume.index.rows.row(RelPath(path)), volume.root
        assert row is not None
        assert root is not None
        assert row.applied.observation == root.tree.observe(RelPath(path))
    monkeypatch.setattr(scanning, "CHUNK_SIZE", 2)
    position = volume.index.rows.position()
    with trio.fail_after(5):
        assert await compare(volume, observer, ROOT) == 8
    assert volume.index.rows.position() == position
    again = volume.index.rows.row(RelPath(b"same"))
    assert same is not None
    assert again is not None
    assert again.record == same.record


async def test_a_comparison_ends_when_the_volume_is_mounted_anew_in_its_middle(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "CHUNK_SIZE", 1)
    monkeypatch.setattr("csfs.replicate.compare.LOOKS_MAX", 1)
    volume, ended = made_volume(tmp_path), trio.Event()
    for name in ("a", "b", "c"):
        (tmp_path / "tree" / name).mkdir()
    observer = observer_of(volume)

    async def compare_all() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await compare(volume, observer, ROOT)
        ended.set()

    nursery.start_soon(compare_all)
    await trio.testing.wait_all_tasks_blocked(0.1)
    assert observer.looks == 1
    before = volume.root
    assert before is not None
    volume.root = root_at(tmp_path / "tree", Owners())
    before.descriptor = os.dup(before.descriptor)  # which is closed after the test, and this one now
    os.close(before.tree.root)
    nursery.start_soon(observer.run)
    with trio.fail_after(5):
        await ended.wait()
    assert volume.problems == {}


async def test_a_comparison_lets_the_index_begin_its_log_anew(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "CHUNK_SIZE", 10)
    monkeypatch.setattr(database, "LOG_PAGES_MAX", 20)
    volume, done = made_volume(tmp_path), trio.Event()
    for number in range(100):
        (tmp_path / "tree" / f"{number}").touch()
    observer = observer_of(volume)
    nursery.start_soon(observer.run)

    async def compare_all() -> None:
        await compare(volume, observer, ROOT)
        done.set()

    nursery.start_soon(compare_all)
    with trio.fail_after(10):
        await volume.progress.wait_until(lambda: volume.index.is_log_long and not observer.looks)
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert volume.index.rows.counts()[0] < 101
        while not done.is_set():
            volume.index.checkpoint()
            assert not volume.index.is_log_long
            volume.progress.notify()
            await trio.testing.wait_all_tasks_blocked()
    assert volume.index.rows.counts() == (101, 0)


def test_nothing_is_gone_below_what_cannot_be_looked_into(tmp_path: Path) -> None:
    volume, mounted = made_volume(tmp_path), tmp_path / "tree" / "b"
    mounted.mkdir()
    for path in (b"a", b"b", b"b/x", b"b/y/z", b"c"):
        remember(volume, RelPath(path), Stamp(1, 2, 3, 4))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mounted)], check=True)
    try:
        total = found(volume)
    finally:
        subprocess.run(["umount", str(mounted)], check=True)
    assert total.gone == [b"a", b"c"]
    assert [item.path for item in total.skipped] == [b"b"]
    assert not total.changed
