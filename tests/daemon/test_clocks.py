"""A peer's clock that is off is an alarm while it is off, and said once each way in the log."""

import logging
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from csfs.cli.status import has_trouble
from csfs.daemon import cluster as cluster_room
from csfs.daemon.cluster import SKEW_S_MAX, Cluster
from csfs.daemon.commands import clock_alarm

SECOND_NS = 1_000_000_000


class Clocks(Cluster):
    """What a cluster notes of clocks, without a configuration."""

    def __init__(self) -> None:
        self.skews, self._told_skews = {}, {}


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass, in seconds."""
    now_s = [1_000.0]
    monkeypatch.setattr(cluster_room, "time", SimpleNamespace(monotonic=lambda: now_s[0]))

    def passed(seconds: float) -> None:
        now_s[0] += seconds

    return passed


def alarm(cluster: Cluster) -> str:
    return clock_alarm(cluster.skews["beta"])


def test_more_than_two_seconds_are_an_alarm_that_ends_with_them(
    caplog: pytest.LogCaptureFixture, passes: Callable[[float], None]
) -> None:
    caplog.set_level(logging.INFO)
    cluster = Clocks()
    for skew_ns in (-3 * SECOND_NS, -3 * SECOND_NS, 2 * SECOND_NS - 1):
        cluster.skew("beta", skew_ns)
        passes(5)
        off = abs(skew_ns) > SKEW_S_MAX * SECOND_NS
        assert bool(alarm(cluster)) == off
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    caplog.clear()


def test_an_alarm_says_which_way_and_is_trouble_while_the_peer_is_there() -> None:
    ahead, behind = clock_alarm(7_200.5), clock_alarm(-2.5)
    assert "7200.5 s ahead of" in ahead
    assert "2.5 s behind" in behind
    assert has_trouble({"volumes": [], "peers": [{"alarms": [ahead]}]})
    assert not has_trouble({"volumes": [], "peers": [{"alarms": []}]})


def test_what_a_cut_cable_has_held_up_says_nothing_of_a_clock(
    caplog: pytest.LogCaptureFixture, passes: Callable[[float], None]
) -> None:
    cluster = Clocks()
    cluster.skew("beta", 0)
    passes(14)
    for late_s in (13, 12.5, 8, 3):
        cluster.skew("beta", int(-late_s * SECOND_NS))
    passes(2)
    cluster.skew("beta", 0)
    assert not alarm(cluster)
    assert not caplog.records


def test_a_clock_that_is_set_back_is_noticed_when_the_peer_has_said_so_twice(
    caplog: pytest.LogCaptureFixture, passes: Callable[[float], None]
) -> None:
    cluster = Clocks()
    cluster.skew("beta", 0)
    for _ in range(2):
        passes(5)
        cluster.skew("beta", -7 * SECOND_NS)
    assert "7.0 s behind" in alarm(cluster)
    caplog.clear()
