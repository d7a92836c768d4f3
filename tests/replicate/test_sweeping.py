"""What nobody asks for any more goes from the reserved directory, and nothing else does."""

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import trio

from csfs.core.changes import Change, ChangeKind
from csfs.core.objects import Applied, Kind
from csfs.core.paths import ROOT, RelPath
from csfs.daemon.versions import of_kept
from csfs.errors import UnstableError
from csfs.index.ledger import Cause, KeptVersion
from csfs.replicate.worker import VolumeWorker
from csfs.store.attributes import stamp_of
from csfs.store.hashing import BLOCK_SIZE, hash_bytes
from tests.replicate.test_fetcher import made_volume, plan

UNKNOWN = Applied(observation=None)


@pytest.fixture
async def worker(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[VolumeWorker]:
    """A worker of a volume with a root underneath."""
    volume = made_volume(tmp_path)
    volume.nursery = nursery
    yield VolumeWorker(volume)
    nursery.cancel_scope.cancel()


async def test_what_arrived_of_a_superseded_content_goes_and_what_is_wanted_stays(worker: VolumeWorker) -> None:
    assert worker.volume.root is not None
    partials = worker.volume.root.stage.partials
    awaited, fetched, superseded, late = (bytes([number]) * 32 for number in range(4))
    for content in (awaited, fetched, superseded):
        partials.begin(content, 5 * BLOCK_SIZE)
    worker.sources.arrived(superseded, verified=True)
    worker.fetcher.arrived[superseded] = BLOCK_SIZE
    worker.sources._fetching[fetched] = set()
    await worker.sweeping.partials({awaited})
    assert set(partials.hashes()) == {awaited, fetched, superseded}, "somebody may be about to want one"
    partials.begin(late, 5 * BLOCK_SIZE)
    await worker.sweeping.partials({awaited})
    assert set(partials.hashes()) == {awaited, fetched, late}
    wanted = msgspec.structs.replace(plan(), content=msgspec.structs.replace(plan().content, hash=superseded))
    assert worker.sources.find(wanted) is None, "nobody goes on believing that it is here"
    assert not worker.fetcher.arrived
    await worker.sweeping.partials({awaited, late})
    assert set(partials.hashes()) == {awaited, fetched, late}


async def test_what_no_version_stands_for_is_kept_unless_it_is_elsewhere(worker: VolumeWorker, tmp_path: Path) -> None:
    volume, ledger = worker.volume, worker.volume.index.ledger
    assert volume.root is not None
    store = tmp_path / "tree" / ".csfs" / "kept"
    contents = {
        "1.known": b"known",
        "2.same": b"known",
        "3.only": b"nowhere else",
        "4.live": b"live",
        "5.blocks": b"a block",
        "6.empty": b"",
        "7.intent": b"of a commit whose outcome is still to be found out",
        "8.late": b"noted after all",
        "displaced.9": b"somebody has it open",
    }
    for name, data in contents.items():
        (store / name).write_bytes(data)
    (tmp_path / "tree" / "live").write_bytes(b"live")
    look = volume.root.tree.look(RelPath(b"live"), content_changed=True)
    assert look is not None
    with volume.index.transaction():
        volume.engine.observe(RelPath(b"live"), look.observation, 1)
        ledger.add_kept(known(b"1.known", b"known"))
        ledger.add_intents([msgspec.structs.replace(plan(), kept=b"7.intent")])
    await worker.sweeping.look_at_kept(volume.root.stage)
    (store / "a.later").write_bytes(b"of a commit that is being made")
    with volume.index.transaction():
        ledger.add_kept(known(b"8.late", b"noted after all"))
    await worker.sweeping.settle_kept()
    gone = {"2.same", "4.live", "5.blocks", "6.empty"}
    assert {path.name for path in store.iterdir()} == {*contents, "a.later"} - gone
    found = [version for version in ledger.kept(ROOT) if version.cause is Cause.FOUND]
    assert [(one.name, one.size, one.hash, one.loser) for one in found] == [
        (b"3.only", 12, hash_bytes(b"nowhere else")[0], True)
    ]


async def test_what_a_row_tells_of_is_going_to_be_a_version(worker: VolumeWorker, tmp_path: Path) -> None:
    volume, store = worker.volume, tmp_path / "tree" / ".csfs" / "kept"
    assert volume.root is not None
    (store / "1.told").write_bytes(b"destroyed while no daemon was there")
    await worker.sweeping.look_at_kept(volume.root.stage)
    stamp = stamp_of((store / "1.told").stat())
    change = Change(sequence=1, kind=ChangeKind.KEPT, path=RelPath(b"f"), kept=b"1.told", stamp=stamp)
    worker.observer.take([change])
    await worker.sweeping.settle_kept()
    assert (store / "1.told").exists()
    assert volume.index.ledger.kept() == []


async def test_a_link_and_a_pipe_that_no_version_stands_for_are_kept(worker: VolumeWorker, tmp_path: Path) -> None:
    volume, store = worker.volume, tmp_path / "tree" / ".csfs" / "kept"
    assert volume.root is not None
    (store / "1.link").symlink_to("a target that lost")
    os.mkfifo(store / "2.pipe")
    (store / "3.directory").mkdir()
    await worker.sweeping.look_at_kept(volume.root.stage)
    await worker.sweeping.settle_kept()
    assert {path.name for path in store.iterdir()} == {"1.link", "2.pipe"}
    found = {version.name: version for version in volume.index.ledger.kept(ROOT)}
    assert all(one.is_lost and one.loser for one in found.values())
    assert found.keys() == {b"1.link", b"2.pipe"}
    content, meta = of_kept(found[b"1.link"])
    assert (content.kind, content.target) == (Kind.SYMLINK, b"a target that lost")
    assert meta is not None


@pytest.mark.parametrize("there", [b"", b"torn", None])
@pytest.mark.parametrize("name", ["live", ".csfs/kept/1.known"])
async def test_another_copy_that_the_disk_has_lost_is_none(
    worker: VolumeWorker, tmp_path: Path, name: str, there: bytes | None
) -> None:
    volume, data = worker.volume, b"here"
    assert volume.root is not None
    (tmp_path / "tree" / name).write_bytes(data)
    (tmp_path / "tree" / ".csfs" / "kept" / "2.only").write_bytes(data)
    with volume.index.transaction():
        if name == "live":
            look = volume.root.tree.look(RelPath(b"live"), content_changed=True)
            assert look is not None
            volume.engine.observe(RelPath(b"live"), look.observation, 1)
        else:
            volume.index.ledger.add_kept(known(b"1.known", data))
    if there is None:
        (tmp_path / "tree" / name).unlink()
    else:
        (tmp_path / "tree" / name).write_bytes(there)
    await worker.sweeping.look_at_kept(volume.root.stage)
    await worker.sweeping.settle_kept()
    assert (tmp_path / "tree" / ".csfs" / "kept" / "2.only").read_bytes() == data
    assert [version.name for version in volume.index.ledger.kept(ROOT)] == [b"2.only"]


async def test_what_cannot_be_read_holds_up_nothing_and_is_looked_at_again(
    worker: VolumeWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, store = worker.volume, tmp_path / "tree" / ".csfs" / "kept"
    assert volume.root is not None
    for name in ("1", "2", "3"):
        (store / name).write_bytes(name.encode())
    await worker.sweeping.look_at_kept(volume.root.stage)
    inodes = {
        (store / "1").stat().st_ino: OSError(errno.EIO, "bad"),
        (store / "3").stat().st_ino: UnstableError("moves"),
    }
    read = os.pread

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        failure = inodes.get(os.fstat(descriptor).st_ino)
        if failure is not None:
            raise failure
        return read(descriptor, size, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", pread)
        await worker.sweeping.settle_kept()
    assert {version.name for version in volume.index.ledger.kept(ROOT)} == {b"2"}
    await worker.sweeping.settle_kept()
    assert {version.name for version in volume.index.ledger.kept(ROOT)} == {b"1", b"2", b"3"}


async def test_who_is_unmounted_meanwhile_forgets_nothing(worker: VolumeWorker, tmp_path: Path) -> None:
    volume, store = worker.volume, tmp_path / "tree" / ".csfs" / "kept"
    assert volume.root is not None
    (store / "1").write_bytes(b"one")
    await worker.sweeping.look_at_kept(volume.root.stage)
    root, volume.root = volume.root, None
    with pytest.raises(trio.ClosedResourceError):
        await worker.sweeping.settle_kept()
    volume.root = root
    await worker.sweeping.settle_kept()
    assert [version.name for version in volume.index.ledger.kept(ROOT)] == [b"1"]


def known(name: bytes, data: bytes) -> KeptVersion:
    """Return a version that stands for an object in the kept store."""
    return KeptVersion(name, RelPath(b"f"), 1, len(data), hash_bytes(data)[0], False, UNKNOWN)
