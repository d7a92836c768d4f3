"""The demonstration is what a newcomer runs first: it has to work, and to leave nothing behind."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.mount import mountinfo

TOP = Path(__file__).parent.parent.parent
COMMAND = (sys.executable, "-m", "scripts.demonstration")
S_MAX = 240


def base_in(line: str) -> Path | None:
    """Return the directory that the demonstration says it works below."""
    found = re.search(r"^  below (\S+)$", line.rstrip("\n"))
    return Path(found[1]) if found else None


def command_lines() -> Iterator[bytes]:
    """Yield how every process was started."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield process.read_bytes()


def expect_nothing_left(base: Path) -> None:
    """No directory, no mount, no process."""
    assert not base.exists()
    assert [mount.path for mount in mountinfo.current() if mount.path.startswith(str(base))] == []
    assert [line for line in command_lines() if os.fsencode(base) in line] == []


@pytest.mark.mount
@pytest.mark.cluster
@pytest.mark.slow
def test_the_demonstration_ends_with_equal_trees_and_is_ended_when_it_was_kept() -> None:
    done = subprocess.run([*COMMAND, "--keep"], cwd=TOP, capture_output=True, text=True, timeout=S_MAX, check=False)
    bases = [base for line in done.stdout.splitlines() if (base := base_in(line))]
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert "all equal, all there" in done.stdout
        for name in ("alpha", "beta"):
            assert os.path.ismount(bases[0] / name / "etc")
    finally:
        for base in bases:
            subprocess.run([*COMMAND, "--end", str(base)], cwd=TOP, timeout=S_MAX, check=True)
    expect_nothing_left(bases[0])


@pytest.mark.mount
@pytest.mark.cluster
@pytest.mark.slow
def test_an_interrupt_ends_the_demonstration_and_leaves_nothing() -> None:
    with subprocess.Popen(COMMAND, cwd=TOP, stdout=subprocess.PIPE, text=True, start_new_session=True) as running:
        assert running.stdout is not None
        base = None
        for line in running.stdout:
            base = base or base_in(line)
            if "sed -i" in line:
                break
        os.killpg(running.pid, signal.SIGINT)
        rest = running.stdout.read()
        assert running.wait(S_MAX) == 130
    assert base is not None
    assert "interrupted" in rest
    expect_nothing_left(base)


def test_only_a_directory_of_a_demonstration_is_ended(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "--end", str(tmp_path)], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr
    assert tmp_path.is_dir()
