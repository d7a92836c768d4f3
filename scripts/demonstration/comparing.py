"""When the other side is equal: looked at from outside, by a comparison that shares nothing with csfs."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

from tests.trees import differences

PAUSE_S = 0.0005
IGNORED = {"/.csfs"}
SAMPLE = 10
"""Differences that are worth a line each."""


class DifferentError(Exception):
    """The members are not equal; the text says in what."""


def compared(first: Path, second: Path, paths: Iterable[str]) -> list[str]:
    """Return how two trees differ at these paths and below them; a path that neither has is no difference."""
    found = []
    for path in paths:
        ours, theirs = str(first / path), str(second / path)
        there = os.path.lexists(ours), os.path.lexists(theirs)
        try:
            if there == (True, True):
                found += [f"{path}: {line}" for line in differences(ours, theirs, ignore=IGNORED)]
            elif there != (False, False):
                found.append(f"{path}: only in {ours if there[0] else theirs}")
        except OSError as error:  # it was replaced or removed while we looked
            found.append(f"{path}: {error}")
    return found


def wait_equal(first: Path, second: Path, paths: tuple[str, ...], timeout_s: float = 60.0) -> None:
    """Return when both trees have been found equal at these paths.

    Raises:
        DifferentError: they are not, after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    pause_s = PAUSE_S
    while found := compared(first, second, paths):
        if time.monotonic() > deadline:
            raise DifferentError(f"not equal after {timeout_s:g} s:\n{sample(found)}")
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.2, 0.05)  # looking costs time that csfs could use


def assert_equal(first: Path, second: Path) -> int:
    """Compare two trees whole; return of how many objects they consist.

    Raises:
        DifferentError: they differ.
    """
    if found := differences(str(first), str(second), ignore=IGNORED):
        raise DifferentError(f"the trees differ:\n{sample(found)}")
    return sum(len(directories) + len(files) for _, directories, files in os.walk(first))


def sample(found: list[str]) -> str:
    """Return the first differences, a line each."""
    more = [f"  and {len(found) - SAMPLE} more"] if len(found) > SAMPLE else []
    return "\n".join([*(f"  {line}" for line in found[:SAMPLE]), *more])
