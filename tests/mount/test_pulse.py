"""The parent's end of a heartbeat: who beats is left alone, who no longer does is lost, and nothing is looked at in between."""

import os
from collections.abc import Iterator

import pytest

from csfs.mount import pulse
from csfs.mount.pulse import BEAT_S, GRACE_S, SILENT_S_MAX, Pulse

BEGUN = 1_000.0


@pytest.fixture
def parent() -> Iterator[Pulse]:
    parent = Pulse()
    yield parent
    parent.close()


@pytest.fixture
def beats(parent: Pulse) -> Iterator[int]:
    """The mount process's end; the process is this one, which neither waits for a disk nor is traced."""
    descriptor = os.dup(parent.writer)
    parent.started(os.getpid(), BEGUN)
    yield descriptor
    os.close(descriptor)


def due(parent: Pulse, now: float) -> float:
    timeout_s = parent.timeout_s(now)
    assert timeout_s is not None
    return now + timeout_s


def test_before_it_serves_there_is_nothing_to_wait_for(parent: Pulse) -> None:
    assert parent.timeout_s(BEGUN) is None
    assert not parent.is_lost(BEGUN + 1_000 * SILENT_S_MAX)


def test_who_beats_is_never_lost_and_seldom_looked_at(parent: Pulse, beats: int) -> None:
    looks, beaten_at = 0, BEGUN
    while beaten_at < BEGUN + 3_600:
        beaten_at += BEAT_S
        if due(parent, beaten_at) <= beaten_at:
            looks += 1
            assert not parent.is_lost(beaten_at)
        pulse.beat(beats, beaten_at)
    assert looks <= 3_600 / (SILENT_S_MAX - BEAT_S)


def test_silence_counts_from_the_last_beat(parent: Pulse, beats: int) -> None:
    pulse.beat(beats, BEGUN + 5)
    pulse.beat(beats, BEGUN + 15)
    now = due(parent, BEGUN + 15)
    assert now == BEGUN + SILENT_S_MAX
    assert not parent.is_lost(now)
    now = due(parent, now)
    assert now == BEGUN + 15 + SILENT_S_MAX
    assert not parent.is_lost(now), "it has a moment after a host was frozen"
    now = due(parent, now)
    assert now == BEGUN + 15 + SILENT_S_MAX + GRACE_S
    assert parent.is_lost(now)


def test_who_beats_in_the_moment_that_it_has_is_left_alone(parent: Pulse, beats: int) -> None:
    now = due(parent, BEGUN)
    assert not parent.is_lost(now)
    pulse.beat(beats, now + GRACE_S / 2)
    assert not parent.is_lost(now + GRACE_S)
    assert due(parent, now + GRACE_S) == now + GRACE_S / 2 + SILENT_S_MAX


def test_a_parent_that_was_stopped_for_long_waits_for_the_next_beat(parent: Pulse, beats: int) -> None:
    last = BEGUN
    for _ in range(100_000):  # more than the pipe holds
        last += BEAT_S
        pulse.beat(beats, last)
    assert not parent.is_lost(last)
    now = due(parent, last)
    assert now == last + BEAT_S
    pulse.beat(beats, now - 0.001)
    assert not parent.is_lost(now)
    assert due(parent, now) == now - 0.001 + SILENT_S_MAX


def test_a_beat_that_nobody_reads_any_more_is_no_error(parent: Pulse, beats: int) -> None:
    parent.close()
    pulse.beat(beats, BEGUN)
    with pytest.raises(BrokenPipeError):
        os.write(beats, b"what is really said by the kernel")
