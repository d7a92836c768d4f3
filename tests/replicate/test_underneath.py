"""What the watch tells of one volume, however often it does."""

from pathlib import Path

import pytest
import trio
import trio.testing

from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import RelPath
from csfs.replicate.findings import Culprit
from csfs.replicate.underneath import SETTLE_S, Underneath
from csfs.replicate.volume import Volume
from csfs.replicate.watcher import GATHER_S, Noticed
from tests.replicate.test_fetcher import made_volume
from tests.replicate.test_observer import observer_of

LOG = RelPath(b"log")


def written(volume: Volume) -> int:
    """Return how often the log is to be looked at anew, and take note of that."""
    return sum(stale.path == LOG for stale in volume.findings.taken_stale(10))


async def test_a_comparison_that_failed_is_begun_again(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Volume, "may_apply", True)
    volume, begun = made_volume(tmp_path), trio.Event()
    underneath = Underneath(volume, observer_of(volume))
    underneath.configure(watch=False, interval_s=0)
    failures = [OSError("a disk that fails"), trio.ClosedResourceError("unmounted")]

    async def compare(below: RelPath, pace: float) -> None:
        if failures:
            raise failures.pop()
        begun.set()

    monkeypatch.setattr(underneath, "compare", compare)
    underneath.compare_soon(LOG)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(underneath.compare_at_times)
        with trio.fail_after(600):
            await begun.wait()
        nursery.cancel_scope.cancel()
    volume.index.close()


async def test_a_log_that_is_written_all_the_time_waits_once_and_is_looked_at_now_and_then(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    volume = made_volume(tmp_path)
    underneath = Underneath(volume, observer_of(volume))
    once = Noticed(Change(sequence=0, kind=ChangeKind.CONTENT, path=LOG), Culprit(5, "logger"), False)
    seconds, looks = 60, 0
    async with trio.open_nursery() as nursery:
        volume.nursery = nursery
        nursery.start_soon(underneath.take)
        for _ in range(int(seconds / GATHER_S)):
            underneath.noticed([once])
            await trio.sleep(GATHER_S * 1.01)
            looks += written(volume)
        assert len(nursery.child_tasks) <= 2, "itself, and one that waits"
        assert seconds / 3 < looks <= 2 * seconds / SETTLE_S
        # The last of it is not lost.
        await trio.sleep(2 * SETTLE_S)
        written(volume)
        underneath.noticed([once])
        underneath.noticed([once])
        await trio.testing.wait_all_tasks_blocked()
        assert written(volume) == 1
        underneath.noticed([once])
        await trio.sleep(2 * SETTLE_S)
        assert written(volume) == 1
        nursery.cancel_scope.cancel()
    volume.index.close()
