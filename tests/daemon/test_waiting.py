"""Whom, and what, `csfs wait` waits for."""

import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from csfs.daemon import waiting
from csfs.daemon.mounts import MountedVolume
from csfs.daemon.waiting import check_going_on, wait_applied
from csfs.errors import ConfigError
from csfs.replicate.exchange import PeerSession
from csfs.replicate.volume import Root
from csfs.replicate.watcher import Watcher
from csfs.wire.messages import PeerMessage
from tests.daemon.handing import held
from tests.replicate.test_exchange import VOLUME, Greeting, Pipe, Side

MOUNT = 4_000_011


async def test_a_peer_that_is_linked_and_has_not_said_what_it_has_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "HANDED_OVER_S_MAX", 0.0)  # nothing is mounted here
    alpha, beta = Side(tmp_path, "alpha", "alpha", "beta"), Side(tmp_path, "beta", "alpha", "beta")
    mounted = MountedVolume(alpha.worker, str(tmp_path / "journal.db"), Watcher())
    there, here = trio.open_memory_channel[PeerMessage](100), trio.open_memory_channel[PeerMessage](100)
    ours, theirs = Pipe(there[0], here[1]), Pipe(here[0], there[1])
    waited = trio.Event()

    async def wait() -> None:
        await wait_applied(mounted, ["beta"], False, lambda peer: ours.is_meeting)
        waited.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(PeerSession("beta", ours, {VOLUME: alpha.worker}, Greeting("alpha")).run)
        await trio.testing.wait_all_tasks_blocked()
        alpha.sees(b"f")
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not waited.is_set()
        nursery.start_soon(PeerSession("alpha", theirs, {VOLUME: beta.worker}, Greeting("beta")).run)
        with trio.fail_after(5):
            await beta.volume.progress.wait_until(lambda: beta.knows(b"f"))
        await trio.testing.wait_all_tasks_blocked()
        assert not waited.is_set(), "it is not mounted there, and shows nothing"
        nursery.cancel_scope.cancel()
    with trio.fail_after(5):
        await wait()  # nobody is linked any more
    assert waited.is_set()


async def test_what_was_changed_underneath_is_waited_for(tmp_path: Path) -> None:
    async with held(tmp_path, [("f", b"before"), ("g", b"before")], watched=True) as one:
        await one.handed_over(MOUNT)
        await one.began(MOUNT, 0)
        await one.compared()
        assert one.worker.underneath.unwatched == ""
        for name in ("f", "g"):  # of the first the watch tells at once, and then lets more gather
            write = f"open({str(one.tree / name)!r}, 'w').write('written without the mount')"
            subprocess.run([sys.executable, "-c", write], check=True)
            with trio.fail_after(10):
                await wait_applied(one.mounted, [], False, lambda peer: False)
            assert one.recorded(name.encode()) == one.there(name.encode())


async def test_who_waits_already_goes_on_when_the_volume_comes_to_stand_still(tmp_path: Path) -> None:
    async with held(tmp_path, [("f", b"before")]) as one, trio.open_nursery() as nursery:
        await one.handed_over(MOUNT)
        await one.began(MOUNT, 0)
        await one.compared()
        waited = trio.Event()

        async def wait() -> None:
            await wait_applied(one.mounted, ["beta"], True, lambda peer: False)
            waited.set()

        nursery.start_soon(wait)
        await trio.sleep(0.2)
        assert not waited.is_set(), "beta is not there"
        (one.tree / ".csfs" / "identity").unlink()
        with pytest.raises(trio.ClosedResourceError, match="lost"):
            await one.volume.with_root(Root.check)
        with trio.fail_after(10):
            await waited.wait()
        with pytest.raises(ConfigError, match=r"stands still: .*lost"):
            check_going_on([one.mounted])
