"""The soak is run by hand; here it is shown that it works, finds nothing in a few seconds, and leaves nothing behind."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from csfs.mount import mountinfo

TOP = Path(__file__).parent.parent.parent
S_MAX = 240


@pytest.mark.cluster
def test_a_short_soak_passes_and_leaves_nothing_behind() -> None:
    with tempfile.TemporaryDirectory() as short:  # sockets lie below, whose paths have a limit
        _soak(Path(short))


def _soak(below: Path) -> None:
    line = [sys.executable, "-m", "scripts.soaking", "0.05", "--every", "1.5", "--seed", "5", "--below", str(below)]
    done = subprocess.run(line, cwd=TOP, capture_output=True, text=True, timeout=S_MAX, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("passed: ")
    assert "0 things wrong" in done.stdout
    assert list(below.iterdir()) == []
    assert [mount.path for mount in mountinfo.current() if mount.path.startswith(str(below))] == []
