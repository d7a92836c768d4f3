"""Answering a peer: what it asks for holds up nobody else."""

import queue
import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from csfs.core.digests import Range
from csfs.core.paths import RelPath
from csfs.core.versions import Scope
from csfs.replicate.serving import Serving
from csfs.replicate.sights import sights
from csfs.replicate.volume import Root, Volume
from csfs.replicate.worker import SIGHTS_AT_ONCE_MAX, VolumeWorker
from csfs.wire.messages import GetSights, PeerMessage, Sights
from tests.replicate.test_fetcher import made_volume


async def test_peers_that_ask_what_the_disk_shows_take_no_threads_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = made_volume(tmp_path)
    go_on, reading = threading.Event(), queue.SimpleQueue[Scope]()

    def slow(volume: Volume, root: Root, scope: Scope, asked: Range) -> tuple[bytes, tuple[()]]:
        reading.put(scope)
        go_on.wait(10)
        return b"", ()

    monkeypatch.setattr("csfs.replicate.serving.sights", slow)
    serving = Serving(VolumeWorker(volume), "beta")
    (scope,) = volume.scopes("beta")
    answers: list[PeerMessage] = []

    async def send(message: PeerMessage) -> None:
        answers.append(message)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(serving.answer, GetSights("files", number, scope, b"", b""), send)
        with trio.fail_after(5):
            for _ in range(SIGHTS_AT_ONCE_MAX):
                await trio.to_thread.run_sync(reading.get)
        await trio.testing.wait_all_tasks_blocked()
        assert reading.empty()
        go_on.set()
    assert sorted(answer.request for answer in answers if isinstance(answer, Sights)) == [0, 1, 2, 3, 4]


def test_while_a_file_is_read_the_log_of_the_index_can_be_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = made_volume(tmp_path)
    for name in ("a", "b"):
        (tmp_path / "tree" / name).write_bytes(b"content")
        with volume.index.transaction():
            assert volume.root is not None
            found = volume.root.tree.observe(RelPath(name.encode()))
            volume.engine.observe(RelPath(name.encode()), found, 1)
    (scope,) = volume.scopes("beta")
    open_connections: list[int] = []
    shown = volume.index.shown

    class Counted:
        def __enter__(self) -> object:
            open_connections.append(1)
            self._found = shown()
            return self._found.__enter__()

        def __exit__(self, *error: object) -> None:
            open_connections.pop()
            self._found.__exit__(None, None, None)

    observe, during = volume.root.tree.observe, list[int]()

    def watched(*arguments: object) -> object:
        during.append(len(open_connections))
        return observe(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(volume.index, "shown", Counted)
    monkeypatch.setattr(volume.root.tree, "observe", watched)
    reached, seen = sights(volume, volume.root, scope, Range())
    assert (reached, [sight.path for sight in seen]) == (b"", [b"a", b"b"])
    assert during == [0, 0]
