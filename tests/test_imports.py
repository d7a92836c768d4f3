"""The rooms import each other as the drawing in pyproject.toml says."""

import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parent.parent
LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def test_the_rooms_import_downward_only() -> None:
    # In a process of its own: the linter configures logging, and takes it from tests that read logs.
    done = subprocess.run([sys.executable, "-c", LINT], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (
        f"{done.stdout}{done.stderr}\nsee which import goes up, and move the value it needs further down"
    )
