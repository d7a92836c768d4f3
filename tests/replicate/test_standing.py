"""What a peer says and is refused: reported, and bounded."""

import logging
from pathlib import Path

import pytest

from csfs.core.paths import RelPath
from csfs.engine.ports import Received
from csfs.replicate.standing import REFUSED_MAX, note_refused
from tests.replicate.test_fetcher import made_volume


def test_a_peer_that_says_what_is_refused_for_ever_takes_no_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volume = made_volume(tmp_path)
    with caplog.at_level(logging.CRITICAL):
        note_refused(volume, "beta", Received((), tuple((b"%d" % n, "why") for n in range(REFUSED_MAX + 100))))
    assert len(volume.problems) == REFUSED_MAX
    assert volume.problems[RelPath(b"0")].reason == "refused from beta: why"
