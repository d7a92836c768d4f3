"""A root that is suddenly empty, or another one, is not a mass delete: replication stands still, both ways."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from csfs.core.paths import ROOT, RelPath
from csfs.index.index import Index
from csfs.replicate.commit_thread import CommitThread
from csfs.replicate.gate import Gate
from csfs.replicate.looking import Reason
from csfs.replicate.volume import Volume
from csfs.replicate.worker import VolumeWorker
from csfs.store.owners import Owners
from tests.replicate.alone import rules_of
from tests.replicate.test_linking import settle, two
from tests.replicate.test_worker import nothing_sent

F = RelPath(b"d/file")


@asynccontextmanager
async def mounted(index: Index, tree: Path) -> AsyncIterator[VolumeWorker]:
    """Run a worker on a tree, as if it were mounted and the mount had nothing to say."""
    worker = VolumeWorker(Volume("files", index=index, rules=rules_of("files"), member="alpha", owners=Owners()))
    thread, clone = CommitThread("commits"), os.open(tree, os.O_RDONLY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        gate = Gate(nothing_sent, clone, thread)
        worker.mount_began(mount=b"mount", clean=False)
        worker.attach_gate(gate)
        await worker.attach_root(os.open(tree, os.O_RDONLY))
        with trio.fail_after(60):
            await worker.volume.progress.wait_until(lambda: worker.is_compared and worker.observer.idle)
            # The times of directories are told of a moment after what is in them.
            worker.directories.hurry()
            await worker.volume.progress.wait_until(lambda: worker.directories.idle and worker.applier.idle)
        yield worker
        nursery.cancel_scope.cancel()
    await gate.release()
    thread.stop()
    os.close(clone)
    await worker.detach_root()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / F.decode()).write_bytes(b"content")
    return tree


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(str(tmp_path / "index.db"), member="alpha", boot=b"boot", founding=True)


def check_untouched(index: Index, position: int) -> None:
    row = index.rows.row(F)
    assert row is not None
    assert row.live, "taken for deleted"
    assert index.rows.position() == position, "something is to be sent"


def emptied(tree: Path) -> None:
    for path in tree.iterdir():
        shutil.rmtree(path)


@pytest.mark.parametrize("look", ["comparison", "row"])
async def test_a_root_that_is_emptied_while_it_is_mounted_is_noticed_before_anything_is_believed(
    tree: Path, index: Index, look: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with mounted(index, tree) as worker:
        volume, position = worker.volume, index.rows.position()
        assert volume.may_apply
        emptied(tree)
        if look == "comparison":
            worker.compare_all()
        else:
            worker.observer.look(F, Reason(content=True))
        with trio.fail_after(10):
            await volume.ready.wait_until(lambda: bool(volume.stopped))
        await trio.testing.wait_all_tasks_blocked()
        assert "lost .csfs/identity" in volume.stopped
        assert not volume.may_apply, "what peers say would be put into the wrong place"
        check_untouched(index, position)
    assert "nothing is replicated" in caplog.text
    caplog.clear()
    index.close()


@pytest.mark.parametrize("other", ["empty", "of another volume"])
async def test_another_root_is_neither_looked_at_nor_written_to(
    tree: Path, index: Index, tmp_path: Path, other: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with mounted(index, tree):
        pass
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if other != "empty":
        second = Index(str(tmp_path / "second.db"), member="alpha", boot=b"boot", founding=True)
        async with mounted(second, elsewhere):
            pass
        second.close()
    position = index.rows.position()
    async with mounted(index, elsewhere) as worker:
        worker.compare_all()
        worker.observer.look(F, Reason(content=True))
        await trio.testing.wait_all_tasks_blocked()
        assert "identity" in worker.volume.stopped
        assert not worker.volume.may_apply
        check_untouched(index, position)
    caplog.clear()
    async with mounted(index, tree) as worker:
        assert not worker.volume.stopped, "the right one is back"
        check_untouched(index, position)
    index.close()


async def test_one_file_that_is_gone_is_gone(tree: Path, index: Index) -> None:
    async with mounted(index, tree) as worker:
        (tree / F.decode()).unlink()
        worker.observer.look(F, Reason(content=True))
        with trio.fail_after(10):
            await worker.volume.progress.wait_until(lambda: not index.rows.row(F).live)  # type: ignore[union-attr]
        assert not worker.volume.stopped
    index.close()


async def test_a_root_that_peers_know_first_is_looked_at_then(tmp_path: Path) -> None:
    async with two(tmp_path) as (alpha, beta):
        await settle(alpha, beta)
        with beta.volume.index.transaction():
            beta.volume.index.rows.drop(ROOT)  # as with a member that has joined when nobody knew anything
        os.utime(alpha.tree, ns=(1, 1_000_000_007))
        alpha.worker.directories.mark(ROOT, local=True)
        await settle(alpha, beta)
        assert beta.tree.stat().st_mtime_ns == 1_000_000_007
        assert not beta.volume.index.ledger.held()
