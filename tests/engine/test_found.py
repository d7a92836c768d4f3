"""Plans in which a simulated cluster once failed, as short as they were found: each was mended, and stays so.

`scripts/simulate` writes such a plan where a seed fails; `scripts/simulate --replay FILE` says what happens in it.
"""

from pathlib import Path

import msgspec
import pytest

from scripts.simulation.plan import Plan
from scripts.simulation.running import failure_of

PLANS = sorted(Path(__file__).with_name("found").glob("*.json"))


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_what_failed_once_fails_no_more(path: Path) -> None:
    failure = failure_of(msgspec.json.decode(path.read_bytes(), type=Plan))
    assert failure is None, f"scripts/simulate --replay {path}: {failure.kind}: {failure.complaint}"


def test_there_are_plans() -> None:
    assert PLANS
