"""What a peer says and is refused: reported, and bounded. Tokens leave in the order in which they are given."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from csfs.core.groups import GroupRule, Rules
from csfs.core.objects import Content, Kind, Meta
from csfs.core.paths import RelPath
from csfs.core.records import ContentEntry, Half, Move
from csfs.core.versions import Dot, Hlc, Incarnation, Scope
from csfs.engine import mending
from csfs.engine.ports import Received, Standing
from csfs.replicate import standing as module
from csfs.replicate.asking import Asking
from csfs.replicate.standing import REFUSED_MAX, PeerStanding, likeness
from csfs.replicate.volume import Exchange, Volume
from csfs.wire.messages import GetParts, GetRecords, Mend, PeerMessage, Stands, Told, Update
from scripts.simulation.tree import hash_of
from tests.engine.members import NOW_NS, directory, found
from tests.replicate.test_exchange import Shared
from tests.replicate.test_fetcher import made_volume

F, G = RelPath(b"f"), RelPath(b"g")


def standing_of(
    volume: Volume, is_alike: Callable[[], bool] = lambda: True, sent: list[PeerMessage] | None = None
) -> PeerStanding:
    """Return how a volume stands to a peer, to whom everything that is `sent` goes."""

    async def send(message: PeerMessage) -> None:
        if sent is not None:
            sent.append(message)

    return PeerStanding(
        volume, Exchange("beta", 0, {}), Asking(send), send, lambda time_ns: None, is_alike, lambda path: False
    )


async def test_records_of_other_rules_are_refused_with_a_warning_only_where_the_configuration_is_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.log, "disabled", False)  # tools that tests run switch loggers off
    volume, ours = made_volume(tmp_path), [b"old"]

    def goes_by(digest: bytes) -> bool:
        return digest == ours[-1]

    foreign = volume.engine.receive("beta", Scope(b"of-other"), (), {}, 0)
    assert foreign.refused
    standing = standing_of(volume, likeness(goes_by, b"old"))
    is_like_the_new = likeness(goes_by, b"new")
    levels = []
    for digest in (b"old", b"new", b"new"):
        ours.append(digest)
        with caplog.at_level(logging.INFO):
            standing.note_refused(foreign)
        levels.append([record.levelname for record in caplog.records])
        caplog.clear()
    assert levels == [["WARNING"], ["INFO"], []]
    assert not is_like_the_new(), "its volumes learn one after the other of what came from the peer"


async def test_a_peer_that_says_what_is_refused_for_ever_takes_no_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volume = made_volume(tmp_path)
    with caplog.at_level(logging.CRITICAL):
        standing_of(volume).note_refused(Received((), tuple((b"%d" % n, "why") for n in range(REFUSED_MAX + 100))))
    assert len(volume.problems) == REFUSED_MAX
    assert volume.problems[RelPath(b"0")].reason == "refused from beta: why"


async def test_no_token_is_given_to_a_peer_after_a_later_one(tmp_path: Path) -> None:
    volume, sent = made_volume(tmp_path), list[PeerMessage]()
    standing = standing_of(volume, sent=sent)
    assert await standing._say_once()
    (stands,) = sent
    assert isinstance(stands, Stands)
    records = standing.take_token()
    assert not records or records > stands.token, "whoever keeps the last one that it got would seem to be set back"


def received(path: bytes, counter: int, content: Content, **fields: Any) -> Update:
    """Return what a peer tells of a path, made in a life of which no knowledge says anything; `fields` are those of the entry."""
    life = Incarnation(9)
    entry = ContentEntry(Dot(life, counter), Hlc(counter), content, Meta(0o700, 0, 0, "root", "root"), **fields)
    return Update(path, Half((entry,), {life: counter}))


@pytest.mark.parametrize("is_asked", [False, True])
async def test_an_edit_follows_a_move_that_is_found_by_a_walk(tmp_path: Path, *, is_asked: bool) -> None:
    volume = made_volume(tmp_path)
    engine, scope, standing = volume.engine, volume.rules.groups[0].scope, standing_of(volume)
    link, moved = Content(Kind.SYMLINK, target=b"there"), Dot(Incarnation(9), 1)
    with volume.index.transaction():
        engine.receive("beta", scope, [received(b"f", 1, link, birth=moved)], {}, NOW_NS)
        plan = engine.plan(F)
        assert plan is not None
        engine.applied(plan, found(b"there", kind=Kind.SYMLINK))
        assert engine.observe(F, found(b"edited", kind=Kind.SYMLINK, mtime_ns=5), NOW_NS)
    gone = received(b"f", 2, Content(Kind.ABSENT), birth=moved, moves=(Move(moved, G),))
    there = received(b"g", 3, link, birth=moved, origin=moved, carried=True)
    if is_asked:

        async def records(volume: str, scope: Scope, paths: Sequence[RelPath]) -> list[Update]:
            return [gone, there]

        standing.walking._asking.records = records  # type: ignore[method-assign,assignment]
        assert await standing.walking.exchange(scope, [F, G], None)
    else:
        standing._hear_mend(Mend("files", scope, (gone, there), b""))
    live = engine.live(F), engine.live(G)
    assert [one.content.target if one is not None else None for one in live] == [b"", b"edited"]


@pytest.mark.parametrize("is_asked", [False, True])
async def test_a_conflict_that_is_found_by_a_walk_is_merged_though_nothing_is_to_be_shown(
    tmp_path: Path, *, is_asked: bool
) -> None:
    rules = Rules.compiled(Shared((GroupRule(("alpha", "beta"), policy=("merge", "younger")),)), "alpha")
    volume = made_volume(tmp_path, rules)
    scope, standing = volume.rules.groups[0].scope, standing_of(volume)
    with volume.index.transaction():
        assert volume.engine.observe(F, found(b"ours", mtime_ns=5), NOW_NS)
    theirs = received(b"f", 1, Content(Kind.FILE, 6, hash_of(b"theirs"), 1))
    if is_asked:

        async def records(volume: str, scope: Scope, paths: Sequence[RelPath]) -> list[Update]:
            return [theirs]

        standing.walking._asking.records = records  # type: ignore[method-assign,assignment]
        assert await standing.walking.exchange(scope, [F], None)
    else:
        standing._hear_mend(Mend("files", scope, (theirs,), b""))
    row = volume.index.rows.row(F)
    assert row is not None
    assert len(row.record.content.entries) == 2
    assert volume.to_merge == {F}


async def test_what_a_receiver_has_too_much_to_do_to_find_is_compared_once_that_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(mending, "UNSETTLED_MAX", 1)
    volume, sent = (
        made_volume(tmp_path, Rules.compiled(Shared((GroupRule(("beta",), ("alpha",)),)), "alpha")),
        list[PeerMessage](),
    )
    engine, scope, standing = volume.engine, volume.rules.groups[0].scope, standing_of(volume, sent=sent)
    link = Content(Kind.SYMLINK, target=b"there")
    contents = {b"a": link, b"d": Content(Kind.ABSENT), b"d/in": link}
    updates = [received(path, counter, content) for counter, (path, content) in enumerate(contents.items(), 1)]
    with volume.index.transaction():
        assert not engine.receive("beta", scope, updates, {}, NOW_NS).refused
    standing._exchange.stands = Stands("files", {scope: Standing()}, engine.digests(), 0)
    with volume.index.transaction():
        engine.stands("beta", standing._exchange.stands.standings, standing._exchange.stands.digests)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(standing.follow)
        await trio.sleep(1)
        assert sent == [], "it has more to do than it can look through"
        with volume.index.transaction():
            for path in map(RelPath, contents):
                plan = engine.plan(path)
                assert plan is not None
                engine.applied(plan, directory() if path == b"d" else found(b"there", kind=Kind.SYMLINK))
        assert await standing._say_once()
        await trio.sleep(1)
        assert [type(message) for message in sent] == [Stands, GetParts], "it begins to compare"
        nursery.cancel_scope.cancel()


def told_since(volume: Volume) -> Update:
    """Return what others have heard of a file of this member: its removal, in a life that is lost."""
    scope, life = volume.rules.groups[0].scope, volume.index.incarnation
    for number, path in enumerate((b"f", b"g", b"h"), 1):
        with volume.index.transaction():
            volume.engine.observe(RelPath(path), found(b"there", kind=Kind.SYMLINK, inode=number), NOW_NS)
    (update,) = volume.engine.records(scope, [RelPath(b"f")])
    assert update.content is not None
    (entry,) = update.content.entries
    dot = Dot(life, volume.index.rows.last_counter(scope))
    assert dot.counter > entry.dot.counter, "as many changes were made since"
    removed = ContentEntry(dot, entry.hlc, Content(Kind.ABSENT))
    return Update(b"f", Half((removed,), {life: dot.counter}))


@pytest.mark.parametrize("is_asked", [True, False], ids=["answered", "told"])
async def test_who_hears_at_a_walk_what_it_has_not_made_is_another_incarnation(tmp_path: Path, is_asked: bool) -> None:
    volume, renewed = made_volume(tmp_path), list[bool]()
    volume.memory.renewed = lambda: renewed.append(True)
    scope, life, update = volume.rules.groups[0].scope, volume.index.incarnation, told_since(volume)
    sent = list[PeerMessage]()

    async def answer(message: PeerMessage) -> None:
        sent.append(message)
        if isinstance(message, GetRecords):
            standing.asking.answered(Told(message.request, 1, (update,)))

    standing = PeerStanding(
        volume, Exchange("beta", 0, {}), Asking(answer), answer, lambda time_ns: None, lambda: True, lambda path: False
    )
    if is_asked:
        assert not await standing.walking.exchange(scope, [RelPath(b"f")], None)
    else:
        standing.hear(Mend(volume.name, scope, (update,), b""))
    assert not any(isinstance(message, Mend) for message in sent), "what it knows is in doubt"
    assert volume.engine.is_in_quarantine
    assert (volume.index.incarnation != life, renewed) == (True, [True])
    with volume.index.transaction():
        healed = volume.engine.healed("beta", scope, [RelPath(b"f")], [update], NOW_NS)
    assert (healed.received.refused, healed.received.is_ahead) == ((), False)
    row = volume.index.rows.row(RelPath(b"f"))
    assert row is not None
    assert row.record.content == update.content, "it is told so, like anybody"
