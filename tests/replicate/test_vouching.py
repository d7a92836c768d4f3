"""A member says that it has a version once it has: its record and its content, wherever that had to be put."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from csfs.core.groups import GroupRule, Rules
from csfs.core.objects import Content, Kind, Meta
from csfs.core.paths import RelPath
from csfs.core.records import ContentEntry, Half, MetaEntry, Move
from csfs.core.versions import Dot, Hlc, Incarnation, Vector
from csfs.replicate import vouching
from csfs.replicate.commit_thread import CommitThread
from csfs.replicate.fetcher import Requester
from csfs.replicate.gate import Gate
from csfs.replicate.vouching import Vouchers, Vouching
from csfs.replicate.worker import VolumeWorker
from csfs.store.hashing import hash_bytes
from csfs.wire.messages import Claim, PeerMessage, Update, Vouch, Vouched
from tests.replicate.test_exchange import Shared
from tests.replicate.test_fetcher import made_volume
from tests.replicate.test_worker import nothing_sent

BETA = Incarnation(7)
DATA = b"what a program at beta waits for"
LATER = b"what came after it"
ROOT_META = Meta(0o600, 0, 0, "root", "root")
FIRST, SECOND = Dot(BETA, 1), Dot(BETA, 2)


class Author:
    """A peer that has contents, and is asked for them."""

    def __init__(self, *contents: bytes) -> None:
        self._contents = {hash_bytes(data)[0]: data for data in contents}

    async def table(self, volume: str, content_hash: bytes, count: int) -> bytes | None:
        return None

    async def blocks(self, volume: str, content_hash: bytes, first: int, count: int) -> Sequence[bytes] | None:
        data = self._contents.get(content_hash)
        return None if data is None else (data,)


@pytest.fixture
def worker(tmp_path: Path, nursery: trio.Nursery) -> VolumeWorker:
    """A volume with a root underneath, through which nothing can be committed: no mount process is there."""
    volume = made_volume(tmp_path)
    volume.nursery = nursery
    volume.authors[BETA] = "beta"
    return VolumeWorker(volume)


def asked(*dots: Dot, path: bytes = b"f", durable: bool = True) -> Vouch:
    return Vouch("files", 1, tuple(Claim(path, dot, dot) for dot in dots), durable)


def receives(worker: VolumeWorker, data: bytes, dot: Dot, *seen: Dot) -> None:
    """Take in a version of `f` that beta made, having seen others."""
    content = Content(Kind.FILE, len(data), hash_bytes(data)[0], dot.counter)
    vector = {BETA: max(one.counter for one in (dot, *seen))} if seen or dot == FIRST else {}
    halves = (
        Half((ContentEntry(dot, Hlc(dot.counter), content, ROOT_META),), vector or {BETA: dot.counter}),
        Half((MetaEntry(dot, Hlc(dot.counter), ROOT_META, Kind.FILE),), vector or {BETA: dot.counter}),
    )
    (group,) = worker.volume.rules.groups
    with worker.volume.index.transaction():
        received = worker.volume.engine.receive("beta", group.scope, (Update(b"f", *halves),), None, 1)
    assert not received.refused
    worker.volume.progress.notify()


def kept(worker: VolumeWorker) -> list[tuple[bytes, bool]]:
    """Return what is in the kept store, and whether retention never takes it."""
    root = worker.volume.root
    assert root is not None
    found = []
    for version in worker.volume.index.ledger.kept():
        with root.stage.kept.open_file(version.name) as descriptor, open(descriptor, "rb", closefd=False) as file:
            found.append((file.read(), version.loser))
    return found


async def test_it_is_said_when_record_and_content_are_on_the_disk_and_not_before(
    worker: VolumeWorker, nursery: trio.Nursery
) -> None:
    said: list[bool] = []
    over = trio.Event()

    async def ask() -> None:
        said.append(await Vouching(worker, "beta").has(asked(FIRST)))
        over.set()

    nursery.start_soon(ask)
    await trio.testing.wait_all_tasks_blocked()
    receives(worker, DATA, FIRST)
    for _ in range(20):
        await trio.sleep(0.01)
    assert said == []  # nobody has the content
    author: Requester = Author(DATA)
    worker.fetcher.requesters["beta"] = author
    with trio.fail_after(5):
        await over.wait()
    assert said == [True]
    assert kept(worker) == [(DATA, False)]


async def test_what_is_only_to_be_received_is_on_disk_as_well_while_nothing_can_be_shown(worker: VolumeWorker) -> None:
    worker.volume.contents.put(hash_bytes(DATA)[0], DATA)
    receives(worker, DATA, FIRST)
    with trio.fail_after(5):
        assert await Vouching(worker, "beta").has(asked(FIRST, durable=False))
    assert kept(worker) == [(DATA, False)]


@contextmanager
def gated(worker: VolumeWorker, tree: Path) -> Iterator[None]:
    """What is known may be committed, and nobody does."""
    clone, thread = os.open(tree, os.O_RDONLY), CommitThread("commits")
    worker.volume.gate = Gate(nothing_sent, clone, thread)
    yield
    thread.stop()
    os.close(clone)


async def test_what_was_said_to_be_received_is_on_disk_soon_after(worker: VolumeWorker, tmp_path: Path) -> None:
    worker.volume.contents.put(hash_bytes(DATA)[0], DATA)
    receives(worker, DATA, FIRST)
    kept_when_said: list[object] = []

    async def say(message: PeerMessage) -> None:
        assert isinstance(message, Vouched)
        kept_when_said.append(kept(worker))

    with gated(worker, tmp_path / "tree"), trio.fail_after(5):
        await Vouchers("beta", say).answer(worker, asked(FIRST, durable=False))
    assert kept_when_said == [[]], "a program does not wait for that"
    assert kept(worker) == [(DATA, False)]


async def test_what_was_superseded_meanwhile_counts_by_what_did_it_once_that_is_here(
    worker: VolumeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vouching, "AGAIN_S", 0.01)
    receives(worker, DATA, FIRST)
    receives(worker, LATER, SECOND, FIRST)
    question = Vouch("files", 1, (Claim(b"f", FIRST, None, hash_bytes(DATA)[0]),), True)
    said: list[bool] = []

    async def ask() -> None:
        said.append(await Vouching(worker, "beta").has(question))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            for _ in range(5):
                await trio.sleep(0.01)
                assert said == [], "nobody has either content"
            worker.volume.contents.put(hash_bytes(LATER)[0], LATER)
    assert said == [True]
    assert kept(worker) == [(LATER, False)]


async def test_the_loser_of_a_conflict_is_kept_for_good(worker: VolumeWorker) -> None:
    volume = worker.volume
    gamma = Dot(Incarnation(9), 1)
    (group,) = volume.rules.groups
    volume.contents.put(hash_bytes(DATA)[0], DATA)
    receives(worker, DATA, FIRST)
    winner = Content(Kind.FILE, len(LATER), hash_bytes(LATER)[0], 10**18)
    half = Half((ContentEntry(gamma, Hlc(99), winner, ROOT_META),), {gamma.incarnation: 1})
    with volume.index.transaction():
        volume.engine.receive("beta", group.scope, (Update(b"f", half),), None, 1)
    with trio.fail_after(5):
        assert await Vouching(worker, "beta").has(asked(FIRST))
    assert kept(worker) == [(DATA, True)]


async def test_nothing_is_said_of_what_is_none_of_the_peers_business(worker: VolumeWorker) -> None:
    receives(worker, DATA, FIRST)
    mine = Rules.compiled(Shared((GroupRule(("alpha", "gamma")),)), "alpha")
    worker.volume.rules = mine
    with trio.fail_after(5):
        assert not await Vouching(worker, "beta").has(asked(FIRST))


async def test_without_a_claim_it_is_said_that_the_volume_is_mounted(worker: VolumeWorker) -> None:
    root, worker.volume.root = worker.volume.root, None
    with trio.move_on_after(0.1) as scope:
        await Vouching(worker, "beta").has(asked())
    assert scope.cancelled_caught
    worker.volume.root = root
    worker.volume.ready.notify()
    with trio.fail_after(5):
        assert await Vouching(worker, "beta").has(asked())


async def test_one_sync_serves_all_who_ask_meanwhile(worker: VolumeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    root = worker.volume.root
    assert root is not None
    synced = []
    monkeypatch.setattr(root.stage, "sync", lambda: synced.append(1))
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(worker.durability.reach)
    assert 1 <= len(synced) <= 2


async def test_a_loser_that_was_superseded_before_it_came_is_not_said_to_be_here(
    worker: VolumeWorker, autojump_clock: object
) -> None:
    volume = worker.volume
    gamma = Dot(Incarnation(9), 1)
    (group,) = volume.rules.groups
    receives(worker, DATA, FIRST)
    winner = Content(Kind.FILE, len(LATER), hash_bytes(LATER)[0], 10**18)
    entry = ContentEntry(gamma, Hlc(99), winner, ROOT_META, overruled=(FIRST,))
    half = Half((entry,), {gamma.incarnation: 1, BETA: 1})
    with volume.index.transaction():
        volume.engine.receive("beta", group.scope, (Update(b"f", half),), None, 1)
    question = Vouch("files", 1, (Claim(b"f", FIRST, None, hash_bytes(DATA)[0]),), True)
    assert not await Vouching(worker, "beta").has(question)


async def test_what_was_moved_on_is_said_to_be_here_once_it_is_under_its_new_name(
    worker: VolumeWorker, nursery: trio.Nursery
) -> None:
    volume, gamma = worker.volume, Incarnation(9)
    (group,) = volume.rules.groups
    receives(worker, DATA, FIRST)
    content = Content(Kind.FILE, len(DATA), hash_bytes(DATA)[0], 1)
    there, gone = Dot(gamma, 1), Dot(gamma, 2)
    arrived = ContentEntry(there, Hlc(8), content, ROOT_META, birth=FIRST, origin=FIRST, carried=True)
    left = ContentEntry(gone, Hlc(9), Content(Kind.ABSENT), ROOT_META, moves=(Move(FIRST, RelPath(b"g")),))
    question = Vouch("files", 1, (Claim(b"f", FIRST, None, hash_bytes(DATA)[0], FIRST),), True)
    said: list[bool] = []
    over = trio.Event()

    async def ask() -> None:
        said.append(await Vouching(worker, "beta").has(question))
        over.set()

    def hears(path: bytes, entry: ContentEntry, mark: Vector | None = None) -> None:
        update = Update(path, Half((entry,), {gamma: entry.dot.counter, BETA: 1}))
        with volume.index.transaction():
            assert not volume.engine.receive("beta", group.scope, (update,), mark, 1).refused
        volume.progress.notify()

    volume.contents.put(hash_bytes(DATA)[0], DATA)
    hears(b"f", left)
    nursery.start_soon(ask)
    for _ in range(20):
        await trio.sleep(0.01)
    assert said == [], "nobody has told yet what became of it"
    hears(b"g", arrived, {gamma: 2, BETA: 1})
    with trio.fail_after(5):
        await over.wait()
    assert said == [True]
    assert [version.path for version in volume.index.ledger.kept()] == [b"g"]
