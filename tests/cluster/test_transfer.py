"""A first synchronisation over a link with a rate: how far it is can be seen, and another rate counts without a new connection."""

import contextlib
import json
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.benchmarks.measuring import memory_mib
from scripts.support.members import Member, free_port, replicating, until
from tests.cluster.conftest import expect_calm_logs
from tests.trees import differences

MIB = 1024 * 1024
SMALL, SMALL_SIZE = 60, 50_000
LARGE, LARGE_SIZE = 12, 4 * MIB
RATE = 4 * MIB


@pytest.fixture
def unequal(tmp_path: Path) -> Iterator[tuple[Member, Member]]:
    """Two members, one with files that the other is to get, one just joined and not mounted yet."""
    alpha, beta = Member(tmp_path, "alpha", free_port()), Member(tmp_path, "beta", free_port())
    try:
        alpha.tree.mkdir(parents=True)
        for number in range(SMALL):
            (alpha.tree / f"small-{number:03}").write_bytes(os.urandom(SMALL_SIZE))
        for number in range(LARGE):
            (alpha.tree / f"a-large-{number:03}").write_bytes(os.urandom(LARGE_SIZE))
        alpha.found()
        alpha.mount()
        alpha.wait()
        beta.join(alpha)
        yield alpha, beta
        expect_calm_logs(alpha, beta)
    finally:
        for member in (alpha, beta):
            member.stop()


def set_rate(member: Member, rate: str) -> None:
    """Have a member send at this rate."""
    file = member.home.member_file
    lines = [line for line in file.read_text().splitlines() if not line.startswith("send_rate")]
    file.write_text("\n".join(["", f'send_rate = "{rate}"', *lines]) + "\n")
    member.csfs("config", "check")
    member.csfs("config", "reload")


class Watch:
    """What `csfs status --watch --json` of one member says."""

    def __init__(self, member: Member) -> None:
        self.said: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            member.command("status", "--watch", "--json"), stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(json.loads(line))

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


def told(watch: Watch) -> list[dict[str, Any] | None]:
    """Return what was said of what is left here or at the peer, whichever has more to say: records alone are there in a moment."""
    here = [line["volumes"][0]["progress"] for line in watch.said]
    there = [line["peers"][0]["progress"].get("files") for line in watch.said]
    return max(here, there, key=lambda said: sum(bool(one) for one in said))


def test_a_first_synchronisation_is_slow_as_told_shown_and_then_fast(unequal: tuple[Member, Member]) -> None:
    alpha, beta = unequal
    set_rate(alpha, "4M")
    idle = memory_mib(alpha)
    watches = [Watch(alpha), Watch(beta)]
    try:
        begin = time.monotonic()
        beta.mount()
        idle_there = memory_mib(beta)
        until(lambda: bool(beta.volume()["progress"]), "something is left")
        # Small files are not behind the large ones, which are asked for at once with them.
        until(lambda: len(list(beta.tree.glob("small-*"))) == SMALL, "small ones are there", 60)
        small_s = time.monotonic() - begin
        assert len(list(beta.tree.glob("a-large-*"))) < LARGE
        until(lambda: alpha.peer()["bytes_sent"] > SMALL * SMALL_SIZE + 12 * MIB, "large ones are on their way", 60)
        until(lambda: all(is_progress_told(told(watch)) for watch in watches), "it is told how far it is")
        peak, peak_there = memory_mib(alpha) - idle, memory_mib(beta) - idle_there
        peer = alpha.peer()
        assert peer["send_rate"] == RATE
        assert peer["bytes_sent"] < RATE * (time.monotonic() - begin + 2) + 2 * MIB
        since = peer["since"]
        set_rate(alpha, "off")
        replicating(alpha, beta)
        assert alpha.peer()["since"] == since, "on the connection as it was"
        taken = time.monotonic() - begin
        until(lambda: all(bool(watch.said) and not any(told(watch)[-1:]) for watch in watches), "nothing is left")
    finally:
        for watch in watches:
            watch.end()
    assert differences(str(alpha.tree), str(beta.tree)) == []
    assert small_s < (SMALL * SMALL_SIZE + LARGE * LARGE_SIZE) / RATE
    assert taken < 60
    assert peak < 48, "what the link does not take is not read into memory"
    assert peak_there < 64
    for watch in watches:
        expect_progress(told(watch))


def is_progress_told(shown: list[dict[str, Any] | None]) -> bool:
    found = [one for one in shown if one is not None]
    return len(found) >= 3 and any(one["seconds_left"] for one in found)


def expect_progress(shown: list[dict[str, Any] | None]) -> None:
    """What was said must get less, have a rate, and end."""
    found = [one for one in shown if one is not None]
    assert is_progress_told(shown)
    assert shown[-1] is None
    left = [one["bytes_left"] for one in found]
    assert left == sorted(left, reverse=True)
    assert left[0] > left[-1]
    assert max(one["bytes"] for one in found) <= SMALL * SMALL_SIZE + LARGE * LARGE_SIZE
    rates = [one["bytes_per_s"] for one in found if one["bytes_per_s"]]
    assert rates
    assert min(rates) < 2 * RATE


@contextlib.contextmanager
def on_a_terminal(command: list[str]) -> Iterator[Callable[[Callable[[bytes], bool]], bytes]]:
    """Run a command on a terminal; gives what reads what it draws until that is enough."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs)
    os.close(theirs)

    def drawn(enough: Callable[[bytes], bool]) -> bytes:
        found, deadline = b"", time.monotonic() + 20
        while not enough(found):
            ready, _, _ = select.select([ours], [], [], max(0, deadline - time.monotonic()))
            assert ready, found.decode()
            found += os.read(ours, 65536)
        return found

    try:
        yield drawn
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_on_a_terminal_progress_is_drawn_over_what_was_drawn(unequal: tuple[Member, Member]) -> None:
    alpha, beta = unequal
    set_rate(alpha, "4M")
    beta.mount()
    with on_a_terminal(beta.command("status", "--watch")) as drawn:
        seen = drawn(lambda found: b" left" in found and found.count(b"daemon") >= 3)
        assert b"MiB/s" in seen
        assert b"\x1b[1A" in seen, "the cursor goes up"
    with on_a_terminal(alpha.command("wait")) as drawn:
        seen = drawn(lambda found: b"MiB/s" in found)
        assert b"\r\x1b[Kfiles at beta: " in seen
        assert b"\n" not in seen, "one line, over the one before"
