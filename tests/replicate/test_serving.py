"""Answering a peer: what it asks for holds up nobody else."""

import os
import queue
import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from csfs.core.digests import Range
from csfs.core.groups import GroupRule, Rules
from csfs.core.paths import RelPath
from csfs.core.versions import Scope
from csfs.errors import RemoteProtocolError
from csfs.replicate.serving import Serving
from csfs.replicate.sights import sights
from csfs.replicate.volume import Root, Volume
from csfs.replicate.worker import SIGHTS_AT_ONCE_MAX, VolumeWorker
from csfs.store.hashing import BLOCK_SIZE, hash_bytes, whole_table
from csfs.store.segments import cut
from csfs.wire.messages import GetBlocks, GetPages, GetSights, GetSummary, PeerMessage, Question, Sights, Unavailable
from csfs.wire.segments import EXTENTS_SIZE_MAX, Extents, GetExtents, GetSegments, Segments
from tests.replicate.test_exchange import Shared
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


async def answered(volume: Volume, question: Question) -> PeerMessage:
    """Return what beta is answered."""
    answers: list[PeerMessage] = []

    async def send(message: PeerMessage) -> None:
        answers.append(message)

    await Serving(VolumeWorker(volume), "beta").answer(question, send)
    (answer,) = answers
    return answer


def questions(content_hash: bytes) -> list[Question]:
    """Return everything that may be asked about a content of several blocks."""
    return [
        GetSummary("files", 1, content_hash),
        GetPages("files", 1, content_hash, (0,)),
        GetBlocks("files", 1, content_hash, 0, 2),
        GetSegments("files", 1, content_hash, 0, 3, 2048),
        GetExtents("files", 1, content_hash, ((5, 7), (BLOCK_SIZE - 1, 2))),
    ]


async def test_nothing_of_a_content_is_told_to_who_may_not_see_a_file_that_has_it(tmp_path: Path) -> None:
    volume = made_volume(tmp_path)
    assert volume.root is not None
    data = os.urandom(3 * BLOCK_SIZE)
    content_hash, table = hash_bytes(data)
    (tmp_path / "tree" / "ours").mkdir()
    (tmp_path / "tree" / "ours" / "file").write_bytes(data)
    look = volume.root.tree.look(RelPath(b"ours/file"), content_changed=True)
    assert look is not None
    with volume.index.transaction():
        volume.index.tables.add(content_hash, whole_table(len(data), table))
        volume.engine.observe(RelPath(b"ours/file"), look.observation, 1)
    for question in questions(content_hash):
        assert not isinstance(await answered(volume, question), Unavailable), question
    alone = GroupRule(("alpha",), include=("/ours",))
    volume.set_rules(Rules.compiled(Shared((alone, GroupRule(("alpha", "beta")))), "alpha"))
    for question in questions(content_hash):
        assert isinstance(await answered(volume, question), Unavailable), question


async def test_parts_and_segments_are_those_of_the_content_and_few(tmp_path: Path) -> None:
    volume = made_volume(tmp_path)
    assert volume.root is not None
    data = os.urandom(40 * BLOCK_SIZE)
    content_hash, table = hash_bytes(data)
    (tmp_path / "tree" / "file").write_bytes(data)
    look = volume.root.tree.look(RelPath(b"file"), content_changed=True)
    assert look is not None
    with volume.index.transaction():
        volume.index.tables.add(content_hash, whole_table(len(data), table))
        volume.engine.observe(RelPath(b"file"), look.observation, 1)
    at = 35 * BLOCK_SIZE - 3
    parts = await answered(volume, GetExtents("files", 1, content_hash, ((at, 9), (at + BLOCK_SIZE, 1))))
    assert isinstance(parts, Extents)
    assert parts.parts == (data[at : at + 9], data[at + BLOCK_SIZE :][:1])
    segments = await answered(volume, GetSegments("files", 1, content_hash, 4, 32, 4096))
    assert isinstance(segments, Segments)
    assert list(segments.sizes) == [size for size, _ in cut(data[4 * BLOCK_SIZE :][: 32 * BLOCK_SIZE], 4096)]
    for question in (
        GetSegments("files", 1, content_hash, 0, 33, 4096),
        GetSegments("files", 1, content_hash, 0, 2, 3),
        GetSegments("files", 1, content_hash, -1, 2, 4096),
        GetExtents("files", 1, content_hash, ((0, 1), (33 * BLOCK_SIZE, 1))),
        GetExtents("files", 1, content_hash, ((0, EXTENTS_SIZE_MAX), (5, 1))),
        GetExtents("files", 1, content_hash, ((5, 0),)),
        GetExtents("files", 1, content_hash, ((-5, 2),)),
    ):
        with pytest.raises(RemoteProtocolError):
            await answered(volume, question)
    beyond = GetExtents("files", 1, content_hash, ((40 * BLOCK_SIZE - 1, 2),))
    assert isinstance(await answered(volume, beyond), Unavailable)
