"""What works at the members: a storm and people's programs at each, on sides of the tree that never touch each other's paths."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from scripts.soaking.hosts import Host

TOP = Path(__file__).parent.parent.parent
COUNT_MAX = 10**9
PAUSE_S = 0.05
"""Between two things that a storm does: faster than this, and the members of a small machine do nothing but catch up."""
END_S_MAX = 180.0


class Worker:
    """One process that works at a member until it is told to end, or until its time is over."""

    def __init__(self, host: Host, what: str, report: Path, line: list[str]) -> None:
        self.name = f"{what} at {host.name}"
        self._report = report
        self._errors = report.with_suffix(".errors")
        report.unlink(missing_ok=True)
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *line],
                cwd=TOP,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def say(self, line: str) -> None:
        """Write a line to it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; `finished` says how

    def wait_ready(self) -> None:
        """Return when it has looked around; from now on nobody reads what it prints."""
        assert self._process.stdout is not None
        self._process.stdout.readline()
        threading.Thread(target=self._process.stdout.read, daemon=True).start()

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return self._process.poll() is None

    def finished(self) -> tuple[dict[str, Any] | None, str]:
        """Wait for its end; return its report, and what is wrong with it.

        A program that has a file mapped whose mount dies gets SIGBUS, as it would from a disk that is pulled out: its report is lost
        with it, and nothing is wrong.
        """
        try:
            code = self._process.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            return None, f"{self.name} hangs"
        if code == 0:
            return json.loads(self._report.read_text()), ""
        return None, "" if code == -7 else f"{self.name} ended with {code}: {self._errors.read_text()[-2000:]}"

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()


def storm(host: Host, side: int, seed: int, seconds: float) -> Worker:
    """Prepare a storm for that long at the host; it begins when told anything."""
    report = host.member.directory / f"storm-{side}.json"
    line = ["scripts.support.storm", str(host.member.tree), str(report), "--side", str(side), "--seed", str(seed)]
    line += ["--count", str(COUNT_MAX), "--seconds", str(seconds), "--pause", str(PAUSE_S), "--rough"]
    return Worker(host, f"storm {side}", report, line)


def programs(host: Host, side: int, seed: int, archive: Path) -> Worker:
    """Begin to run people's programs at the host."""
    report = host.member.directory / f"programs-{side}.json"
    line = ["scripts.soaking.programs", str(host.member.tree), str(report), str(archive), "--side", str(side)]
    return Worker(host, f"programs {side}", report, [*line, "--seed", str(seed)])
