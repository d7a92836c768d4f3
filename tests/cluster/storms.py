"""Storms at both members, and what must hold after them."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.support.members import Member, all_have_applied
from tests.trees import differences

STORM_S_MAX = 120
SEED = int(os.environ.get("CSFS_STORM_SEED", "0"))
"""Set it to have other storms than every other run."""
TOP = Path(__file__).parent.parent.parent


class Storm:
    """One side's storm under way at a member."""

    def __init__(self, member: Member, side: int, seed: int, count: int, *, rough: bool = False) -> None:
        self.member = member
        seed += SEED
        self._report = member.directory / f"storm-{side}-{seed}.json"
        line = [sys.executable, "-m", "scripts.support.storm", str(member.tree), str(self._report)]
        line += ["--side", str(side), "--seed", str(seed), "--count", str(count), *(["--rough"] if rough else [])]
        self._process = subprocess.Popen(
            line, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def begin(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def wait_progress(self, number: int) -> None:
        """Return when it has done `number` things."""
        while (line := self._line()) and int(line) < number:
            pass

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return self._process.poll() is None

    def finished(self) -> dict[str, Any]:
        """Wait for its end and return its report."""
        _, errors = self._process.communicate(timeout=STORM_S_MAX)
        assert self._process.returncode == 0, f"storm at {self.member.name}: {errors}"
        report: dict[str, Any] = json.loads(self._report.read_text())
        return report


def storm(alpha: Member, beta: Member, seed: int, count: int) -> list[dict[str, Any]]:
    """Storm at both members at once, and return both reports; which side is whose depends on the seed."""
    storms = [
        Storm(member, (number + seed) % 2, 2 * seed + number, count) for number, member in enumerate((alpha, beta))
    ]
    for one in storms:
        one.begin()
    return [one.finished() for one in storms]


def expect_equal(alpha: Member, beta: Member, reports: Sequence[dict[str, Any]] = ()) -> None:
    """Once both have applied what the other has, their trees are equal, and what the storms left is in them."""
    for _ in range(2):  # what either makes of what it has heard, the other one has then, too
        all_have_applied(alpha, beta)
    found = differences(str(alpha.tree), str(beta.tree))
    assert not found, f"{len(found)} differences:\n" + "\n".join(found[:20])
    for report in reports:
        lost = missing(beta.tree, report)
        assert not lost, f"{len(lost)} lost:\n" + "\n".join(lost[:20])
    for member in (alpha, beta):
        volume = member.volume()
        assert (volume["problems"], volume["conflicts"], volume["pending"]) == ([], 0, 0)


def missing(tree: Path, report: dict[str, Any]) -> list[str]:
    """Return what is not as a storm has left it."""
    wrong = [f"{path!r} is not there" for path in report["present"] if not os.path.lexists(tree / path)]
    wrong += [f"{path!r} is there again" for path in report["gone"] if os.path.lexists(tree / path)]
    for path, digest in report["files"].items():
        try:
            data = (tree / path).read_bytes()
        except OSError as error:
            wrong.append(f"{path!r}: {error}")
            continue
        if hashlib.sha256(data).hexdigest() != digest:
            wrong.append(f"{path!r} has another content, of {len(data)} bytes")
    for path, link in report["links"].items():
        if os.path.islink(tree / path) and os.readlink(tree / path) != link:
            wrong.append(f"{path!r} leads elsewhere")
    return wrong
