"""Not one of the tests: it is run by test_beside.py, which interrupts it while something of its runs and is mounted."""

import os
import subprocess
from pathlib import Path


def test_never_ends(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
    left = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path(os.environ["LEAVING_TO"]).write_text(f"{left.pid} {tmp_path}\n")
    left.wait()
