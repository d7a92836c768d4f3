"""Lines of the log that others bring about are few, however much they do."""

import logging
from pathlib import Path

import pytest

from csfs.engine.ports import Received
from csfs.index.index import Index
from csfs.replicate import standing
from csfs.replicate.sparing import LINES_MAX, MORE, PER_S, Sparing
from csfs.replicate.volume import Volume
from csfs.store.owners import Owners
from tests.replicate.alone import rules_of
from tests.replicate.test_standing import standing_of


def test_the_last_line_of_a_minute_says_that_there_is_more() -> None:
    sparing = Sparing()
    endings = [sparing.ending(5.0) for _ in range(3 * LINES_MAX)]
    assert endings == [*[""] * (LINES_MAX - 1), MORE, *[None] * (2 * LINES_MAX)]
    assert sparing.ending(5.0 + PER_S) == ""


async def test_what_a_peer_has_refused_is_logged_in_few_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing.log, "disabled", False)  # tools that tests run switch loggers off
    index = Index(str(tmp_path / "index.db"), member="alpha", boot=b"boot", founding=True)
    volume = Volume("files", index=index, rules=rules_of("files"), member="alpha", owners=Owners())
    told = standing_of(volume)
    with caplog.at_level(logging.WARNING):
        for message in range(100):
            refused = tuple((b"%d/%d" % (message, number), "not yours to change") for number in range(3))
            told.note_refused(Received((), refused))
    index.close()
    assert len(caplog.messages) == LINES_MAX
    assert caplog.messages[0] == "files: peer beta: 0/0 refused: not yours to change"
    assert caplog.messages[-1].endswith(MORE)
    assert len(volume.problems) == 300, "csfs status has them all"
