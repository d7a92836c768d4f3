"""The soak is run by hand; here it is shown that it works, finds nothing in a few seconds, and leaves nothing behind."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.mount import mountinfo

TOP = Path(__file__).parent.parent.parent
S_MAX = 240


@pytest.fixture
def below() -> Iterator[Path]:
    """A directory with a short path: sockets lie in it, whose paths have a limit."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.mark.cluster
def test_a_short_soak_passes_and_leaves_nothing_behind(below: Path) -> None:
    line = [sys.executable, "-m", "scripts.soaking", "0.05", "--every", "1.5", "--seed", "5", "--below", str(below)]
    done = subprocess.run(line, cwd=TOP, capture_output=True, text=True, timeout=S_MAX, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("passed: ")
    assert "0 things wrong" in done.stdout
    assert list(below.iterdir()) == []
    assert [mount.path for mount in mountinfo.current() if mount.path.startswith(str(below))] == []
