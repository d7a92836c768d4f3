import os
from pathlib import Path

import trio
import trio.testing

from csfs.core.paths import RelPath
from csfs.index.index import Index
from csfs.replicate.commit_thread import CommitThread
from csfs.replicate.gate import Gate
from csfs.replicate.volume import Volume
from csfs.replicate.worker import VolumeWorker
from csfs.store.owners import Owners
from tests.replicate.alone import rules_of


async def nothing_sent(message: object) -> None:
    """The mount hears what it is told; here it has nothing to say."""


async def test_a_volume_whose_gate_comes_before_its_root_is_compared(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"content")
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"boot", founding=True)
    volume = Volume("files", index=index, rules=rules_of("files"), member="alpha", owners=Owners())
    worker = VolumeWorker(volume)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.testing.wait_all_tasks_blocked()
        clone = os.open(tmp_path / "tree", os.O_RDONLY)
        thread = CommitThread("commits")
        gate = Gate(nothing_sent, clone, thread)
        worker.attach_gate(gate, mount=b"mount", clean=False)
        await trio.testing.wait_all_tasks_blocked()
        assert worker.is_compared, "nothing can be compared before there is a root"
        await worker.attach_root(os.open(tmp_path / "tree", os.O_RDONLY))
        assert not worker.is_compared
        with trio.fail_after(5):
            await volume.progress.wait_until(lambda: worker.is_compared)
        assert index.rows.row(RelPath(b"file")) is not None
        assert volume.mounted
        nursery.cancel_scope.cancel()
    await gate.release()
    thread.stop()
    os.close(clone)
    await worker.detach_root()
    index.close()
