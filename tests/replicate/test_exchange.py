"""Two members' sessions over a link in memory, with real indexes: what one knows, the other gets, whatever rules are in force when."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import trio

from csfs.core.groups import GroupRule, Rules
from csfs.core.moves import WholeMove
from csfs.core.objects import Kind, Observation, Stamp
from csfs.core.paths import RelPath
from csfs.core.versions import Dot, Hlc, Incarnation
from csfs.errors import RemoteProtocolError
from csfs.index.index import Index
from csfs.replicate.exchange import ANSWERS_MAX, MIDSTREAM_S_MAX, PeerSession
from csfs.replicate.memory import outlived
from csfs.replicate.volume import Volume
from csfs.replicate.worker import VolumeWorker
from csfs.store.owners import FixedAccounts, Owners
from csfs.wire.messages import (
    PROTOCOL,
    Followed,
    Goodbye,
    Heartbeat,
    Hello,
    Moved,
    PeerMessage,
    Records,
    Settings,
    VolumeHello,
)

VOLUME = "files"
HOUR_NS = 3_600_000_000_000


@dataclass(frozen=True)
class Shared:
    """A volume's rules, as the configuration has them."""

    rules: tuple[GroupRule, ...]
    name: str = VOLUME


class Pipe:
    """One end of a link."""

    is_held_back, is_meeting = False, True

    def __init__(self, send: trio.MemorySendChannel[PeerMessage], receive: trio.MemoryReceiveChannel[PeerMessage]):
        self._send, self._receive = send, receive
        self.said: list[bytes] = []
        """Paths of which records were sent."""

    async def send(self, message: PeerMessage) -> None:
        if isinstance(message, Records):
            self.said += [update.path for update in message.updates]
        await self._send.send(message)

    async def receive(self) -> PeerMessage:
        return await self._receive.receive()


class Greeting:
    """A member without a configuration of its own to tell."""

    def __init__(self, member: str) -> None:
        self._member = member

    def hello(self, volumes: tuple[VolumeHello, ...], incarnations: dict[int, str]) -> Hello:
        return Hello(PROTOCOL, "test", "cluster", self._member, 0, 1, b"", incarnations, volumes)

    async def settings_received(self, peer: str, message: Settings) -> None:
        raise AssertionError("nobody sends settings")

    def settings_for(self, hello: Hello) -> Settings | None:
        return None

    def goes_by(self, settings_digest: bytes) -> bool:
        return True

    def skew(self, peer: str, skew_ns: int) -> None:
        pass


class Side:
    """One member: a volume that is not mounted."""

    def __init__(self, directory: Path, name: str, *members: str) -> None:
        self.name = name
        index = Index(str(directory / f"{name}.db"), member=name, boot=b"boot", founding=True)
        owners = Owners(FixedAccounts({"root": 0}, {"root": 0}))
        self.volume = Volume(VOLUME, index=index, rules=rules_of(name, *members), member=name, owners=owners)
        self.worker = VolumeWorker(self.volume)

    def sees(self, path: bytes) -> None:
        """A look at the disk finds a new file."""
        status = Observation(
            stamp=Stamp(1, 0, 1, 1), kind=Kind.FIFO, mode=0o644, uid=0, gid=0, owner="root", group="root", mtime_ns=1
        )
        with self.volume.index.transaction():
            self.volume.engine.observe(RelPath(path), status, 1)

    def knows(self, path: bytes) -> bool:
        """Whether it has a record of the path."""
        row = self.volume.index.rows.row(RelPath(path))
        return row is not None and bool(row.record.content.entries)

    def has_refused(self, peer: str) -> bool:
        """Whether something that the peer sent on this link was refused."""
        exchange = self.volume.exchanges.get(peer)
        return exchange is not None and bool(exchange.refused)


def rules_of(member: str, *members: str) -> Rules:
    """Return rules with one group of these members."""
    return Rules.compiled(Shared((GroupRule(members),)), member)


@asynccontextmanager
async def linked(first: Side, second: Side) -> AsyncIterator[tuple[Pipe, Pipe]]:
    """Have two members converse."""
    there, here = trio.open_memory_channel[PeerMessage](100), trio.open_memory_channel[PeerMessage](100)
    pipes = Pipe(there[0], here[1]), Pipe(here[0], there[1])
    async with trio.open_nursery() as nursery:
        for side, other, pipe in ((first, second, pipes[0]), (second, first, pipes[1])):
            session = PeerSession(other.name, pipe, {VOLUME: side.worker}, Greeting(side.name))
            nursery.start_soon(session.run)
        yield pipes
        nursery.cancel_scope.cancel()


async def test_records_that_came_before_the_rules_they_follow_are_sent_again(tmp_path: Path) -> None:
    alpha, beta = Side(tmp_path, "alpha", "alpha", "beta", "gamma"), Side(tmp_path, "beta", "alpha", "beta")
    alpha.sees(b"f")
    with trio.fail_after(5):
        async with linked(alpha, beta):
            await beta.volume.progress.wait_until(lambda: beta.has_refused("alpha"))
            assert not beta.knows(b"f")
        beta.volume.set_rules(rules_of("beta", "alpha", "beta", "gamma"))
        async with linked(alpha, beta):
            await beta.volume.progress.wait_until(lambda: beta.knows(b"f"))


async def test_a_mark_says_nothing_after_something_was_refused_on_the_same_link(tmp_path: Path) -> None:
    alpha, beta = Side(tmp_path, "alpha", "alpha", "beta", "gamma"), Side(tmp_path, "beta", "alpha", "beta")
    alpha.sees(b"f")
    with trio.fail_after(5):
        async with linked(alpha, beta):
            await beta.volume.progress.wait_until(lambda: beta.has_refused("alpha"))
            beta.volume.set_rules(rules_of("beta", "alpha", "beta", "gamma"))
            alpha.sees(b"g")
            alpha.volume.records_changed()
            await beta.volume.progress.wait_until(lambda: beta.knows(b"g"))
        async with linked(alpha, beta):
            await beta.volume.progress.wait_until(lambda: beta.knows(b"f"))


def three(directory: Path) -> list[Side]:
    """Return three members of one group."""
    names = ("alpha", "beta", "gamma")
    return [Side(directory, name, *names) for name in names]


async def test_what_a_member_hears_from_its_author_nobody_else_tells_it(tmp_path: Path, autojump_clock: object) -> None:
    alpha, beta, gamma = three(tmp_path)
    async with linked(alpha, beta) as ab, linked(alpha, gamma) as ac, linked(beta, gamma) as bc:
        for number, side in enumerate((alpha, beta, gamma, beta, alpha)):
            side.sees(b"%d" % number)
            side.volume.records_changed()
            await trio.sleep(1)
        assert all(side.knows(b"%d" % number) for side in (alpha, beta, gamma) for number in range(5))
    said = sorted(path for pipe in (*ab, *ac, *bc) for path in pipe.said)
    assert said == sorted([b"0", b"1", b"2", b"3", b"4"] * 2)


async def test_what_a_member_hears_from_nobody_else_is_forwarded(tmp_path: Path, autojump_clock: object) -> None:
    alpha, beta, gamma = three(tmp_path)
    async with linked(alpha, beta), linked(beta, gamma) as bc:
        alpha.sees(b"f")
        alpha.volume.records_changed()
        await trio.sleep(1)
        assert gamma.knows(b"f")
        beta.sees(b"g")
        beta.volume.records_changed()
        await trio.sleep(0.05)
        assert gamma.knows(b"g"), "what a member made itself waits for nothing"
    assert [pipe.said for pipe in bc] == [[b"f", b"g"], []]


async def test_two_that_are_both_in_the_middle_of_telling_do_not_wait_for_each_other(
    tmp_path: Path, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("csfs.replicate.exchange.UPDATES_MAX", 1)
    alpha, beta, _ = three(tmp_path)
    for number in range(10):
        alpha.sees(b"a%d" % number)
        beta.sees(b"b%d" % number)
    begun = trio.current_time()
    async with linked(alpha, beta):
        for side, last in ((alpha, b"b9"), (beta, b"a9")):
            await side.volume.progress.wait_until(lambda side=side, last=last: side.knows(last))  # type: ignore[misc]
    assert trio.current_time() - begun < 2 * MIDSTREAM_S_MAX


async def test_what_a_receiver_let_go_of_while_who_had_told_it_was_away_is_told_again(tmp_path: Path) -> None:
    alpha, beta, gamma = three(tmp_path)
    for side in (alpha, beta, gamma):
        side.volume.set_rules(Rules.compiled(Shared((GroupRule(("alpha", "beta"), ("gamma",)),)), side.name))
    alpha.sees(b"f")
    beta.sees(b"g")
    with trio.fail_after(20):
        async with linked(alpha, gamma):
            await gamma.volume.progress.wait_until(lambda: gamma.knows(b"f"))
        # The connection to beta breaks in the middle of what it tells.
        batch = beta.volume.engine.outgoing(0, {}, 100, "gamma")
        with gamma.volume.index.transaction():
            gamma.volume.engine.receive("beta", batch.scope, batch.updates, None, 1)
            gamma.volume.index.ledger.set_cursor("beta", beta.volume.index.ledger.index_id, batch.position)
        gamma.volume.engine.parted("beta")
        async with linked(alpha, gamma):
            await gamma.volume.apply_wanted.wait_until(lambda: not gamma.knows(b"g"))
        async with linked(beta, gamma):
            await gamma.volume.progress.wait_until(lambda: gamma.knows(b"g"))
    assert not gamma.volume.memory.alarms, "it had lost nothing"


async def test_a_receiver_is_told_what_may_be_stale_once_the_others_were_heard(tmp_path: Path) -> None:
    alpha, beta, gamma = three(tmp_path)
    for side in (alpha, beta, gamma):
        side.volume.set_rules(Rules.compiled(Shared((GroupRule(("alpha", "beta"), ("gamma",)),)), side.name))
    beta.sees(b"f")
    with trio.fail_after(20):
        async with linked(alpha, beta):
            await alpha.volume.progress.wait_until(lambda: alpha.knows(b"f"))
        with alpha.volume.index.transaction():
            alpha.volume.engine.outlived("beta")
        alpha.sees(b"g")
        async with linked(alpha, gamma) as pipes:
            await alpha.volume.progress.wait_until(lambda: "gamma" in alpha.volume.exchanges)
            theirs = alpha.volume.exchanges["gamma"]
            await alpha.volume.progress.wait_until(lambda: theirs.stands is not None)
            assert not pipes[0].said
            async with linked(alpha, beta):
                await gamma.volume.progress.wait_until(lambda: gamma.knows(b"f"))
    assert not alpha.volume.engine.is_in_quarantine


async def test_what_is_in_doubt_at_a_member_that_only_receives_is_told_again(tmp_path: Path) -> None:
    alpha, beta, _ = three(tmp_path)
    alpha.sees(b"f")
    with alpha.volume.index.transaction():
        alpha.volume.engine.observe(RelPath(b"f"), None, 2)
    with trio.fail_after(20):
        async with linked(alpha, beta):
            await beta.volume.progress.wait_until(lambda: beta.knows(b"f"))
        for side in (alpha, beta):
            side.volume.set_rules(Rules.compiled(Shared((GroupRule(("beta", "gamma"), ("alpha",)),)), side.name))
        async with linked(alpha, beta):
            told_up_to = beta.volume.index.rows.position()
            await alpha.volume.progress.wait_until(lambda: alpha.volume.index.ledger.cursor("beta")[1] == told_up_to)
        with alpha.volume.index.transaction():
            alpha.volume.index.rows.set_standings("beta", {})
        outlived(alpha.volume, "beta")
        assert not alpha.knows(b"f"), "as nobody was known to have stored it"
        # Nothing is live there, so that no walk finds it.
        async with linked(alpha, beta):
            await alpha.volume.progress.wait_until(lambda: alpha.knows(b"f"))


async def test_what_a_peer_tells_before_it_is_greeted_anew_is_not_all_that_is_in_doubt(tmp_path: Path) -> None:
    alpha, beta = Side(tmp_path, "alpha", "alpha", "beta"), Side(tmp_path, "beta", "alpha", "beta")
    beta.sees(b"f")
    with trio.fail_after(20):
        async with linked(alpha, beta):
            await alpha.volume.progress.wait_until(lambda: alpha.knows(b"f"))
            outlived(alpha.volume, "gamma")  # whereupon the link to beta ends a moment later
            beta.sees(b"g")
            beta.volume.changed.notify()
            await alpha.volume.progress.wait_until(lambda: alpha.knows(b"g"))
            assert alpha.volume.index.ledger.cursor("beta") == (b"", 0)
        async with linked(alpha, beta):
            beta.sees(b"h")
            beta.volume.changed.notify()
            index_id = beta.volume.index.ledger.index_id
            await alpha.volume.progress.wait_until(lambda: alpha.volume.index.ledger.cursor("beta")[0] == index_id)


async def test_under_rules_that_are_what_they_were_peers_tell_from_the_beginning_what_was_forgotten_in_between(
    tmp_path: Path,
) -> None:
    alpha, beta, _ = three(tmp_path)
    beta.sees(b"f")
    with trio.fail_after(20):
        async with linked(alpha, beta):
            await alpha.volume.progress.wait_until(lambda: alpha.knows(b"f"))
        before = alpha.volume.rules
        alpha.volume.set_rules(rules_of("alpha", "alpha", "gamma"))
        with alpha.volume.index.transaction():
            alpha.volume.index.rows.drop(RelPath(b"f"))  # removed, and settled by all that are in the group now
        alpha.volume.set_rules(before)
        async with linked(alpha, beta):
            await alpha.volume.progress.wait_until(lambda: alpha.knows(b"f"))
    assert not alpha.volume.memory.alarms, "it had lost nothing"


class Silent(Pipe):
    """A peer's end that takes everything but answers to moves."""

    async def send(self, message: PeerMessage) -> None:
        if isinstance(message, Followed):
            await trio.sleep_forever()


async def test_who_tells_of_moves_without_end_and_takes_no_answer_is_cut_off(tmp_path: Path) -> None:
    alpha = Side(tmp_path, "alpha", "alpha", "beta")
    (scope,) = alpha.volume.scopes()
    send, receive = trio.open_memory_channel[PeerMessage](200)
    volume = VolumeHello(VOLUME, b"i" * 16, {}, b"", 0, False, b"", 7)
    await send.send(Greeting("beta").hello((volume,), {7: "beta"}))
    move = WholeMove(b"d", b"e", Dot(Incarnation(7), 1), Hlc(1), {}, b"")
    for request in range(ANSWERS_MAX + 1):
        await send.send(Moved(VOLUME, request, scope, 1, move))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            alpha.volume.nursery = nursery
            session = PeerSession("beta", Silent(send, receive), {VOLUME: alpha.worker}, Greeting("alpha"))
            with pytest.RaisesGroup(RemoteProtocolError, flatten_subgroups=True):
                await session.run()
            nursery.cancel_scope.cancel()


class Clocks(Greeting):
    """A member that notes how far a peer's clock is off, in hours."""

    def __init__(self, member: str) -> None:
        super().__init__(member)
        self.noted: list[int] = []

    def skew(self, peer: str, skew_ns: int) -> None:
        self.noted.append(round(skew_ns / HOUR_NS))


async def test_each_clock_that_a_peer_tells_is_compared_with_ours(tmp_path: Path) -> None:
    alpha, clocks = Side(tmp_path, "alpha", "alpha", "beta"), Clocks("alpha")
    there, here = trio.open_memory_channel[PeerMessage](100), trio.open_memory_channel[PeerMessage](100)
    hello = Greeting("beta").hello((), {7: "beta"})
    await there[0].send(msgspec.structs.replace(hello, time_ns=time.time_ns() + 3 * HOUR_NS))
    await there[0].send(Heartbeat(time.time_ns() - 2 * HOUR_NS))
    await there[0].send(Heartbeat(time.time_ns()))
    await there[0].send(Goodbye("enough"))
    with trio.fail_after(5):
        await PeerSession("beta", Pipe(here[0], there[1]), {VOLUME: alpha.worker}, clocks).run()
    assert clocks.noted == [3, -2, 0]
