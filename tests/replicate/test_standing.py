"""What a peer says and is refused: reported, and bounded. Tokens leave in the order in which they are given."""

import logging
from pathlib import Path

import pytest

from csfs.core.paths import RelPath
from csfs.engine.ports import Received
from csfs.replicate.asking import Asking
from csfs.replicate.standing import REFUSED_MAX, PeerStanding, note_refused
from csfs.replicate.volume import Exchange
from csfs.wire.messages import PeerMessage, Stands
from tests.replicate.test_fetcher import made_volume


def test_a_peer_that_says_what_is_refused_for_ever_takes_no_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volume = made_volume(tmp_path)
    with caplog.at_level(logging.CRITICAL):
        note_refused(volume, "beta", Received((), tuple((b"%d" % n, "why") for n in range(REFUSED_MAX + 100))))
    assert len(volume.problems) == REFUSED_MAX
    assert volume.problems[RelPath(b"0")].reason == "refused from beta: why"


async def test_no_token_is_given_to_a_peer_after_a_later_one(tmp_path: Path) -> None:
    volume, sent = made_volume(tmp_path), list[PeerMessage]()

    async def send(message: PeerMessage) -> None:
        sent.append(message)

    standing = PeerStanding(volume, Exchange("beta", 0, {}), Asking(send), send, lambda time_ns: None)
    assert await standing._say_once()
    (stands,) = sent
    assert isinstance(stands, Stands)
    records = standing.take_token()
    assert not records or records > stands.token, "whoever keeps the last one that it got would seem to be set back"
