"""Work that fails again and again is not in the log alone."""

import contextlib
from pathlib import Path

import apsw
import pytest
import trio
import trio.testing

from csfs.daemon.mounts import FAILURE_SHOWN_S, MountedVolume
from csfs.index.index import Index
from csfs.replicate.volume import Volume
from csfs.replicate.watcher import Watcher
from csfs.replicate.worker import VolumeWorker
from csfs.store.owners import Owners
from tests.replicate.alone import rules_of


async def test_a_volume_whose_work_fails_has_an_alarm_until_it_does_no_longer(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"boot", founding=True)
    worker = VolumeWorker(Volume("v", index=index, rules=rules_of("v"), member="alpha", owners=Owners()))
    mounted = MountedVolume(worker, str(tmp_path / "journal.db"), Watcher())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        await trio.testing.wait_all_tasks_blocked()
        assert mounted.alarms == []
        # By the same library: of two in one process, the one that closes the file takes the other's memory away.
        with contextlib.closing(apsw.Connection(str(tmp_path / "index.db"))) as other:
            other.execute("DROP TABLE kept")
        await trio.sleep(2 * FAILURE_SHOWN_S)
        (alarm,) = mounted.alarms
        assert "no such table: kept" in alarm
        nursery.cancel_scope.cancel()
    await trio.sleep(FAILURE_SHOWN_S)
    assert mounted.alarms == [], "it has not failed for a while"
    assert "unexpected error" in caplog.text
    worker.close()
