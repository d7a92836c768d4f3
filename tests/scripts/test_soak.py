"""The soak is run by hand; here it is shown that it works, finds nothing in a few seconds, and leaves nothing behind."""

import subprocess
import sys
from pathlib import Path

import pytest

from csfs.mount import mountinfo

TOP = Path(__file__).parent.parent.parent
S_MAX = 240


@pytest.mark.cluster
def test_a_short_soak_passes_and_leaves_nothing_behind(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "scripts.soaking", "0.05", "--every", "1.5", "--seed", "5", "--below", str(tmp_path)]
    done = subprocess.run(line, cwd=TOP, capture_output=True, text=True, timeout=S_MAX, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("passed: ")
    assert "0 things wrong" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert [mount.path for mount in mountinfo.current() if mount.path.startswith(str(tmp_path))] == []
