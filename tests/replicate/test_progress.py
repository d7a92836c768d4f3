"""How far a volume is: rates and times of what is left, and what peers are told of it."""

import trio

from csfs.cli import output
from csfs.cli.status import progress_lines
from csfs.core.rows import Amount
from csfs.replicate.progress import Meter, Progress
from csfs.replicate.signals import Signal
from csfs.wire.messages import Remaining

MIB = 1024 * 1024


def test_a_round_begins_when_something_is_left_and_ends_when_nothing_is() -> None:
    meter = Meter()
    assert meter.shown() is None
    meter.note(0, Amount(10, 10 * MIB), Amount(5, 50 * MIB))
    shown = meter.shown()
    assert shown is not None
    assert (shown["paths"], shown["bytes"], shown["bytes_per_s"], shown["seconds_left"]) == (10, 10 * MIB, None, None)
    meter.note(2, Amount(6, 6 * MIB), Amount(9, 54 * MIB))
    shown = meter.shown()
    assert shown is not None
    assert (shown["paths"], shown["paths_left"], shown["bytes"]) == (10, 6, 10 * MIB)
    assert (shown["paths_per_s"], shown["bytes_per_s"], shown["seconds_left"]) == (2, 2 * MIB, 3)
    meter.note(5, Amount(0, 0), Amount(15, 60 * MIB))
    assert meter.shown() is None
    meter.note(100, Amount(1, 0), Amount(15, 60 * MIB))
    shown = meter.shown()
    assert shown is not None
    assert (shown["paths"], shown["bytes"]) == (1, 0), "what was done before counts no more"


def test_the_rate_is_that_of_the_last_seconds() -> None:
    meter = Meter()
    for second in range(60):
        done = min(second, 40) * MIB
        meter.note(second, Amount(1, 100 * MIB - done), Amount(0, done))
    shown = meter.shown()
    assert shown is not None
    assert (shown["bytes_per_s"], shown["seconds_left"]) == (0, None), "it stands still, whatever it did before"


def test_the_slower_of_paths_and_bytes_says_how_long_it_takes() -> None:
    meter = Meter()
    meter.note(0, Amount(1000, MIB), Amount(0, 0))
    meter.note(1, Amount(990, MIB // 2), Amount(10, MIB // 2))
    shown = meter.shown()
    assert shown is not None
    assert shown["seconds_left"] == 99


async def test_peers_are_told_once_a_second_while_there_is_news_and_of_nothing_quick(nursery, autojump_clock) -> None:
    state, changed, said = [Amount(0, 0), Amount(0, 0)], Signal(), []

    async def send(message) -> None:
        said.append((trio.current_time(), message))

    progress = Progress("files", changed, lambda: (state[0], state[1]))
    nursery.start_soon(progress.run)
    nursery.start_soon(progress.tell, send)
    await trio.sleep(10)
    state[0] = Amount(1, 5)
    changed.notify()
    await trio.sleep(0.5)
    state[0] = Amount(0, 0)
    await trio.sleep(10)
    assert said == []
    begin = trio.current_time()
    for second in range(5):
        state[:] = Amount(5 - second, 0), Amount(second, 0)
        for _ in range(10):
            changed.notify()
            await trio.sleep(0.1)
    await trio.sleep(60)
    state[:] = Amount(0, 0), Amount(5, 0)
    changed.notify()
    await trio.sleep(60)
    assert 3 <= len(said) <= 6
    assert said[0][0] - begin >= 1
    assert said[-1][1] == Remaining("files", Amount(0, 0), Amount(5, 0))
    assert progress.meter.shown() is None


def test_progress_is_a_line_for_people() -> None:
    meter = Meter()
    meter.note(0, Amount(12_000, 10 * MIB), Amount(0, 0))
    meter.note(2, Amount(9_000, 6 * MIB), Amount(3_000, 4 * MIB))
    shown = meter.shown()
    assert shown is not None
    line = "3,000 of 12,000 paths, 4.0 MiB of 10.0 MiB, 2.0 MiB/s, 6.0 s left"
    assert output.progress(shown) == line
    status = {
        "volumes": [{"name": "web", "progress": shown}, {"name": "etc", "progress": None}],
        "peers": [{"name": "beta", "progress": {"web": shown, "other": shown}}],
    }
    assert progress_lines(status) == [f"web: {line}", f"web at beta: {line}"]
