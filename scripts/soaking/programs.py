"""What people run on a host, over and over, at one side: git, tar, sed -i, sqlite, programs that append to logs, cp -a, rm -rf.

Each remembers what has to be there once it has ended well. What it was doing when its mount died, or its disk was full, counts for
nothing: it begins anew. Told to end by a line on standard input, the program writes a report.
"""

import argparse
import contextlib
import json
import os
import random
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from scripts.support.share import APART

PROGRAM_S_MAX = 60
PAUSE_S = 0.5
BACK_S_MAX = 60.0
TREES_MAX = 3
LINES = 40
APPENDERS = 3
ROWS = 25
LOG_SIZE_MAX = 200_000
GIT = ("git", "-c", "user.name=soak", "-c", "user.email=soak@localhost", "-c", "gc.auto=20", "-c", "safe.directory=*")


class FailedError(Exception):
    """A program ended badly."""


class Programs:
    """The programs of one side, all in a directory of their own."""

    def __init__(self, tree: str, side: int, seed: int, archive: str) -> None:
        self.top = Path(tree) / APART[side]
        self.dice = random.Random(seed)
        self.archive = archive
        self.head = ""
        self.rows = 0
        self.lines: dict[str, list[str]] = {}
        self.settings: dict[str, str] = {}
        self.trees: list[str] = []
        self.gone: set[str] = set()
        self.done: dict[str, int] = {}
        self.failed = 0
        self._number = 0

    def run(self) -> None:
        """Run one program after the other until a line arrives."""
        operations: list[Callable[[], None]] = [self.git, self.tar, self.sed, self.sed, self.sqlite, self.append]
        operations += [self.append, self.copy, self.remove]
        self._retried(self._begin)
        while not select.select([sys.stdin], [], [], 0)[0]:
            time.sleep(PAUSE_S)
            operation = self.dice.choice(operations)
            try:
                operation()
                self.done[operation.__name__] = self.done.get(operation.__name__, 0) + 1
            except (OSError, FailedError, subprocess.TimeoutExpired):
                self.failed += 1
                self._wait_back()

    def _begin(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.top)
        self.top.mkdir()

    def _retried(self, operation: Callable[[], None]) -> None:
        for _ in range(20):
            with contextlib.suppress(OSError):
                return operation()
            self._wait_back()
        raise SystemExit(f"{self.top}: it cannot be begun")

    def _wait_back(self) -> None:
        deadline = time.monotonic() + BACK_S_MAX
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                os.listdir(self.top)
                return
            time.sleep(0.01)
        raise SystemExit(f"{self.top} did not come back")

    def _fresh(self, what: str) -> str:
        self._number += 1
        return f"{what}-{self._number}"

    # ----------------------------------------------------------------------------------------------------------- programs

    def git(self) -> None:
        """Commit a few changes to a repository; a repository in which something failed is thrown away."""
        repository = self.top / "repository"
        head, self.head = self.head, ""
        if not head:
            shutil.rmtree(repository, ignore_errors=True)
            ran(*GIT, "init", "-q", str(repository))
        for _ in range(3):
            (repository / f"file{self.dice.randrange(12)}").write_bytes(self.dice.randbytes(self.dice.randrange(4000)))
        ran(*GIT, "-C", str(repository), "add", "-A")
        ran(*GIT, "-C", str(repository), "commit", "-q", "--allow-empty", "-m", "soak")
        self.head = ran(*GIT, "-C", str(repository), "rev-parse", "HEAD").strip()

    def tar(self) -> None:
        """Unpack an archive into a new directory."""
        name = self._fresh("unpacked")
        (self.top / name).mkdir()
        ran("tar", "-x", "-f", self.archive, "-C", str(self.top / name))
        self.trees.append(name)

    def copy(self) -> None:
        """Copy an unpacked archive, and move the copy."""
        if not self.trees:
            return
        name = self._fresh("copy")
        ran("cp", "-a", str(self.top / self.dice.choice(self.trees)), str(self.top / f"{name}.part"))
        ran("mv", str(self.top / f"{name}.part"), str(self.top / name))
        self.trees.append(name)

    def remove(self) -> None:
        """Remove the oldest unpacked archives, and what was left half-done."""
        known = {*self.trees, *self.settings, *self.lines, "repository", "rows.db", "rows.db-wal", "rows.db-shm"}
        half_done = [name for name in sorted(os.listdir(self.top)) if name.startswith(("unpacked", "copy"))]
        while len(self.trees) > TREES_MAX:
            known.discard(self.trees.pop(0))
        for name in half_done:
            if name not in known:
                ran("rm", "-rf", str(self.top / name))
                self.gone.add(name)

    def sed(self) -> None:
        """Change a line of a file as an administrator does."""
        name = f"settings-{self.dice.randrange(8)}.conf"
        value = str(self.dice.randrange(10**6))
        known = self.settings.pop(name, None)
        if known is None:
            (self.top / name).write_text(f"# settings\nvalue = {value}\nlast = line\n")
        else:
            ran("sed", "-i", f"s/^value = .*/value = {value}/", str(self.top / name))
        self.settings[name] = f"# settings\nvalue = {value}\nlast = line\n"

    def sqlite(self) -> None:
        """Insert rows in one transaction; a new process each time, as its mount may die with the database mapped."""
        mode = self.dice.choice(("WAL", "DELETE"))
        values = ",".join(f"({self.dice.randrange(10**9)})" for _ in range(ROWS))
        script = (
            f"PRAGMA journal_mode={mode}; CREATE TABLE IF NOT EXISTS rows (value); INSERT INTO rows VALUES {values};"
        )
        ran("sqlite3", "-bail", str(self.top / "rows.db"), script)
        self.rows += ROWS

    def append(self) -> None:
        """Several programs append to one log; a large log is rotated."""
        name = "log"
        with contextlib.suppress(FileNotFoundError):
            if (self.top / name).stat().st_size > LOG_SIZE_MAX:
                rotated = self._fresh("log")
                known = self.lines.pop(name, [])
                os.rename(self.top / name, self.top / rotated)
                self.lines[rotated] = known
        self._number += 1
        tags = [f"{self._number}.{number}" for number in range(APPENDERS)]
        loop = 'i=0; while [ $i -lt "$2" ]; do echo "$1 $i" >>"$3" || exit 1; i=$((i + 1)); done'
        line = ("sh", "-c", loop, "sh")
        appenders = [
            subprocess.Popen([*line, tag, str(LINES), str(self.top / name)], stderr=subprocess.DEVNULL) for tag in tags
        ]
        codes = [appender.wait(PROGRAM_S_MAX) for appender in appenders]
        for tag, code in zip(tags, codes, strict=True):
            if code == 0:
                self.lines.setdefault(name, []).extend(f"{tag} {number}" for number in range(LINES))
        if any(codes):
            raise FailedError("append")

    def report(self) -> dict[str, object]:
        """Return what has to be there."""
        return {
            "head": self.head,
            "rows": self.rows,
            "lines": self.lines,
            "settings": self.settings,
            "trees": self.trees,
            "gone": sorted(self.gone),
            "done": self.done,
            "failed": self.failed,
        }


def ran(*line: str) -> str:
    """Run a program; return what it printed.

    Raises:
        FailedError: it ended badly.
    """
    done = subprocess.run(line, capture_output=True, text=True, timeout=PROGRAM_S_MAX, check=False, cwd="/")
    if done.returncode != 0:
        raise FailedError(f"{line[0]}: {done.stderr}")
    return done.stdout


def main() -> None:
    """Run the programs of one side until told to end; write the report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("tree")
    parser.add_argument("report")
    parser.add_argument("archive")
    parser.add_argument("--side", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    programs = Programs(options.tree, options.side, options.seed, options.archive)
    programs.run()
    Path(options.report).write_text(json.dumps(programs.report()))


if __name__ == "__main__":
    main()
