"""What a peer says and is refused: reported, and bounded. Tokens leave in the order in which they are given."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from csfs.core.paths import RelPath
from csfs.core.versions import Scope
from csfs.engine.ports import Received
from csfs.replicate import standing as module
from csfs.replicate.asking import Asking
from csfs.replicate.standing import REFUSED_MAX, PeerStanding, likeness
from csfs.replicate.volume import Exchange, Volume
from csfs.wire.messages import PeerMessage, Stands
from tests.replicate.test_fetcher import made_volume


def standing_of(
    volume: Volume, is_alike: Callable[[], bool] = lambda: True, sent: list[PeerMessage] | None = None
) -> PeerStanding:
    """Return how a volume stands to a peer, to whom everything that is `sent` goes."""

    async def send(message: PeerMessage) -> None:
        if sent is not None:
            sent.append(message)

    return PeerStanding(volume, Exchange("beta", 0, {}), Asking(send), send, lambda time_ns: None, is_alike)


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
