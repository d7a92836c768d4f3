"""What nobody asks for any more goes from the reserved directory, and nothing else does."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import trio

from csfs.core.objects import Applied
from csfs.core.paths import ROOT, RelPath
from csfs.index.ledger import Cause, KeptVersion
from csfs.replicate.worker import VolumeWorker
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


def known(name: bytes, data: bytes) -> KeptVersion:
    """Return a version that stands for an object in the kept store."""
    return KeptVersion(name, RelPath(b"f"), 1, len(data), hash_bytes(data)[0], False, UNKNOWN)
