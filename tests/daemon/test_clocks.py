"""A peer's clock that is off is an alarm while it is off, and said once each way in the log."""

import logging

import pytest

from csfs.cli.status import has_trouble
from csfs.daemon.cluster import SKEW_S_MAX, Cluster
from csfs.daemon.commands import clock_alarm

SECOND_NS = 1_000_000_000


class Clocks(Cluster):
    """What a cluster notes of clocks, without a configuration."""

    def __init__(self) -> None:
        self.skews = {}


def alarm(cluster: Cluster) -> str:
    return clock_alarm(cluster.skews["beta"])


def test_more_than_two_seconds_are_an_alarm_that_ends_with_them(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    cluster = Clocks()
    for skew_ns in (SECOND_NS, -3 * SECOND_NS, -3 * SECOND_NS, 2 * SECOND_NS - 1):
        cluster.skew("beta", skew_ns)
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
