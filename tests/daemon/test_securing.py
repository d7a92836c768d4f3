"""When the daemon says that enough members have what a program waits for, and up to when most can be reached."""

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from csfs.core.changes import Change, ChangeKind
from csfs.core.groups import GroupRule, Rules
from csfs.core.objects import Content, Kind
from csfs.core.paths import RelPath
from csfs.core.records import ContentEntry, Half, Move
from csfs.core.synchrony import Mode, Synchrony
from csfs.core.versions import Dot, Incarnation
from csfs.daemon.securing import LEASE_S, Securing
from csfs.engine.claims import claim_of
from csfs.errors import UnreachableError
from csfs.replicate.asking import Asking
from csfs.replicate.volume import Exchange
from csfs.replicate.worker import VolumeWorker
from csfs.wire.control import ControlMessage, Leases, Secure, Secured
from csfs.wire.messages import CLAIMS_MAX, Claim, PeerMessage, Unavailable, Update, Vouch, Vouched
from scripts.simulation.tree import hash_of
from tests.engine.members import found
from tests.replicate.test_exchange import Shared
from tests.replicate.test_fetcher import made_volume

FILE = RelPath(b"f")
MEMBERS = ("alpha", "beta", "gamma", "delta")


class Peer(Asking):
    """Somebody who says what he has once the test lets him."""

    def __init__(self) -> None:
        self.claimed: list[tuple[Claim, ...]] = []
        self.durable: list[bool] = []
        self.has = trio.Event()

    async def vouched(self, volume: str, claims: Sequence[Claim], *, durable: bool) -> bool:
        self.claimed.append(tuple(claims))
        self.durable.append(durable)
        await self.has.wait()
        return True


class Scene:
    """One member, peers that are connected to it, and what its mount is told."""

    def __init__(self, directory: Path, nursery: trio.Nursery, synchrony: Synchrony) -> None:
        self.volume = made_volume(directory)
        self.volume.nursery = nursery
        self.volume.rules = Rules.compiled(Shared((GroupRule(MEMBERS, synchrony=synchrony),)), "alpha")
        self.volume.engine = self.volume._new_engine(self.volume.rules)
        self.worker = VolumeWorker(self.volume)
        self.securing = Securing(self.worker)
        self.told: list[ControlMessage] = []
        self.peers = {name: Peer() for name in MEMBERS[1:]}
        (directory / "tree" / "f").write_text("content")
        self.worker.observer.start_journal(b"j", 0)

    async def send(self, message: ControlMessage) -> None:
        self.told.append(message)

    def connect(self, *names: str) -> None:
        for name in names:
            self.volume.exchanges[name] = Exchange(name, sent=0, knowledge={}, asking=self.peers[name])
        self.volume.progress.notify()

    def writes(self) -> None:
        self.worker.observer.take([Change(sequence=1, kind=ChangeKind.CONTENT, path=FILE)])

    def has(self, name: str) -> None:
        self.peers[name].has.set()


def question(*, overdue: bool = False) -> Secure:
    return Secure(5, 1, (FILE,), False, overdue)


async def quiet() -> None:
    """Let everything happen that can, threads included."""
    for _ in range(10):
        await trio.sleep(0.01)
        await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize(
    ("synchrony", "needed"),
    [(Synchrony(Mode.RECEIVED), 1), (Synchrony(Mode.DURABLE, 2), 2), (Synchrony(Mode.QUORUM), 2)],
)
async def test_it_is_said_when_as_many_members_have_it_and_not_before(
    tmp_path: Path, nursery: trio.Nursery, synchrony: Synchrony, needed: int
) -> None:
    scene = Scene(tmp_path, nursery, synchrony)
    scene.connect("beta", "gamma")
    nursery.start_soon(scene.securing.answer, question(), scene.send)
    await quiet()
    assert scene.peers["beta"].claimed == [], "nobody has looked at it yet"
    scene.writes()
    nursery.start_soon(scene.worker.observer.run)
    await quiet()
    row = scene.volume.index.rows.row(FILE)
    assert row is not None
    assert row.applied.content_dot is not None
    assert scene.peers["beta"].claimed == [(claim_of(FILE, row),)]
    assert scene.peers["beta"].durable == [synchrony.mode is not Mode.RECEIVED]
    for number, name in enumerate(("gamma", "beta"), 1):
        assert scene.told == []
        scene.has(name)
        await quiet()
        if number == needed:
            break
    assert scene.told == [Secured(5)]
    assert scene.securing.alarm == ""


async def test_what_followed_a_move_before_it_was_asked_for_is_claimed_where_it_is(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    scene, beta, other = Scene(tmp_path, nursery, Synchrony(Mode.DURABLE, 1)), Incarnation(7), RelPath(b"g")
    index, engine = scene.volume.index, scene.volume.engine
    scene.volume.authors[beta] = "beta"
    (group,) = scene.volume.rules.groups
    with index.transaction():
        engine.observe(FILE, found(b"one"), 1)
        known = index.rows.row(FILE)
        assert known is not None
        (entry,), before = known.record.content.entries, known.record.content.seen
        moved = msgspec.structs.replace(entry, dot=Dot(beta, 1), origin=entry.dot, carried=True)
        left = ContentEntry(Dot(beta, 2), entry.hlc, Content(Kind.ABSENT), moves=(Move(entry.dot, other),))
        updates = (Update(other, Half((moved,), {beta: 1})), Update(FILE, Half((left,), {**before, beta: 2})))
        assert not engine.receive("beta", group.scope, updates, {beta: 2}, 2).refused
        engine.observe(FILE, found(b"edited", mtime_ns=5), 3)
        assert engine.follow((FILE, other), 4)
        for path, observation in ((other, found(b"edited", mtime_ns=5, inode=2)), (FILE, None)):
            plan = engine.plan(path)
            assert plan is not None
            engine.applied(plan, observation)
    scene.connect("beta")
    with trio.move_on_after(0.05):
        await scene.securing._secured(Secure(5, 0, (FILE,), False, False))
    (claims,) = scene.peers["beta"].claimed
    assert [(claim.path, claim.hash) for claim in claims] == [(b"f", b""), (b"g", hash_of(b"edited"))]


async def test_who_comes_later_is_asked_then(tmp_path: Path, nursery: trio.Nursery) -> None:
    scene = Scene(tmp_path, nursery, Synchrony(Mode.DURABLE, 1))
    scene.writes()
    nursery.start_soon(scene.worker.observer.run)
    nursery.start_soon(scene.securing.answer, question(), scene.send)
    await quiet()
    scene.has("delta")
    scene.connect("delta")
    await quiet()
    assert scene.told == [Secured(5)]


@pytest.mark.parametrize("overdue", [False, True])
async def test_what_takes_too_long_is_an_alarm_until_enough_have_it(
    tmp_path: Path, nursery: trio.Nursery, overdue: bool
) -> None:
    scene = Scene(tmp_path, nursery, Synchrony(Mode.RECEIVED, 1, 0.02))
    scene.writes()
    nursery.start_soon(scene.worker.observer.run)
    nursery.start_soon(scene.securing.answer, question(overdue=overdue), scene.send)
    await quiet()
    assert "not on as many members" in scene.securing.alarm
    assert "f" in scene.securing.alarm
    scene.has("beta")
    scene.connect("beta")
    await quiet()
    assert (scene.told, scene.securing.alarm) == ([Secured(5)], "")


async def test_what_is_in_doubt_is_on_no_other_member(tmp_path: Path, nursery: trio.Nursery) -> None:
    scene = Scene(tmp_path, nursery, Synchrony(Mode.RECEIVED))
    scene.connect("beta")
    scene.has("beta")
    scene.writes()
    nursery.start_soon(scene.worker.observer.run)
    await quiet()
    with scene.volume.index.transaction():
        scene.volume.engine.distrust()
    nursery.start_soon(scene.securing.answer, question(), scene.send)
    await quiet()
    assert (scene.told, scene.peers["beta"].claimed) == ([], []), "it stands for no version"
    with scene.volume.index.transaction():
        scene.volume.engine.mint_anew(FILE, 1)
    scene.volume.records_changed()
    await quiet()
    assert scene.told == [Secured(5)]


async def test_a_file_that_cannot_be_read_is_on_no_other_member(tmp_path: Path, nursery: trio.Nursery) -> None:
    scene = Scene(tmp_path, nursery, Synchrony(Mode.RECEIVED))
    scene.connect("beta")
    scene.has("beta")
    scene.worker.observer._not_seen(FILE, OSError(5, "Input/output error"))
    scene.writes()
    assert not scene.worker.observer.has_looked([FILE], 1, below=False)
    nursery.start_soon(scene.worker.observer.run)
    nursery.start_soon(scene.securing.answer, question(), scene.send)
    await quiet()
    assert scene.told == [Secured(5)], "once it can be read"


async def test_the_lease_ends_five_seconds_after_most_members_were_asked(tmp_path: Path, nursery: trio.Nursery) -> None:
    scene = Scene(tmp_path, nursery, Synchrony(Mode.QUORUM))
    (group,) = scene.volume.rules.groups
    nursery.start_soon(scene.securing.keep_leases, scene.send)
    await quiet()
    (first,) = scene.told
    assert isinstance(first, Leases)
    assert first.until_s[group.scope] < time.monotonic(), "nobody has been heard of"
    before = time.monotonic()
    scene.has("beta")
    scene.connect("beta")
    await quiet()
    assert scene.securing._lease(group) < time.monotonic(), "two of four are not most"
    scene.has("delta")
    scene.connect("delta")
    await quiet()
    last = scene.told[-1]
    assert isinstance(last, Leases)
    assert before - 1 < last.until_s[group.scope] - LEASE_S <= time.monotonic()
    assert scene.peers["beta"].claimed[0] == ()


async def test_without_a_quorum_nobody_is_asked_all_the_time(tmp_path: Path, nursery: trio.Nursery) -> None:
    scene = Scene(tmp_path, nursery, Synchrony(Mode.RECEIVED))
    scene.connect("beta")
    nursery.start_soon(scene.securing.keep_leases, scene.send)
    await quiet()
    assert (scene.told, scene.peers["beta"].claimed) == ([], [])
    scene.volume.rules = Rules.compiled(Shared((GroupRule(MEMBERS, synchrony=Synchrony(Mode.QUORUM)),)), "alpha")
    scene.securing.rules_changed.notify()
    await quiet()
    assert scene.peers["beta"].claimed


async def test_a_link_that_is_lost_vouches_for_nothing() -> None:
    async def lost(message: PeerMessage) -> None:
        raise UnreachableError("the link is lost")

    assert not await Asking(lost).vouched("files", (), durable=False)


async def test_what_is_claimed_goes_in_portions_and_all_have_to_be_there() -> None:
    asked: list[Vouch] = []

    async def answered(message: PeerMessage) -> None:
        assert isinstance(message, Vouch)
        asked.append(message)
        if len(asked) != 4:
            asking.answered(Vouched(message.request))
        else:
            asking.answered(Unavailable(message.request))

    asking = Asking(answered)
    claims = [Claim(b"%d" % number, None, None) for number in range(CLAIMS_MAX + 1)]
    assert await asking.vouched("files", claims, durable=True)
    assert [len(one.claims) for one in asked] == [CLAIMS_MAX, 1]
    assert not await asking.vouched("files", claims, durable=True)
