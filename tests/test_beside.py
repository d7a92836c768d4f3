"""Tests that run beside each other leave nothing on the host, also when all are interrupted."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from csfs.mount import mountinfo
from scripts.support.members import until
from tests.mount.mounting import has_ended

TOP = Path(__file__).parent.parent
END_S_MAX = 60


@pytest.mark.mount
@pytest.mark.slow
def test_an_interrupt_of_all_ends_what_they_started_and_mounted(tmp_path: Path) -> None:
    told = tmp_path / "told"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "1",
        "--basetemp",
        tmp_path / "tests",
        "-p",
        "no:cacheprovider",
    ]
    with subprocess.Popen(
        [*command, "tests/leaving.py"],
        cwd=TOP,
        env=os.environ | {"LEAVING_TO": str(told)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        until(lambda: told.read_text().endswith("\n"), "the test has begun")
        pid, mounted = told.read_text().split()
        os.killpg(running.pid, signal.SIGINT)
        out, _ = running.communicate(timeout=END_S_MAX)
    assert running.returncode == pytest.ExitCode.INTERRUPTED, out
    assert out.endswith("ended, which tests had left:\n  sleep 600 \n"), out
    assert has_ended(int(pid))
    assert mountinfo.top_at(mountinfo.current(), mounted) is None
