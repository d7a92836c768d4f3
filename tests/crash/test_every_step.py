"""A daemon, or a mount process, is killed before every single step of what it does: the next one goes on as if nothing had been.

After each kill both trees are equal and as they have to be, nothing is lost, nothing is read or fetched again that was there, and who
only received has made no versions.
"""

from collections import defaultdict

import pytest

from scripts.crashing.members import MOUNT
from scripts.crashing.trials import Trial, Verdict, all_trials, run

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
LANES = 3
REDO_STEPS = {"renameat2 in store.redo.carry_out", "os.pwrite in store.redo.write_at"}
"""Some of what a mount process does that overwrites a file."""
KILLED_MIN = 2
"""Steps that any scenario has at least."""


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[Trial, list[Verdict]]:
    """What came of the trials that are asked for, run on a few pairs of members at once."""
    found: dict[Trial, list[Verdict]] = defaultdict(list)
    items = (item for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec"))
    wanted = {trial for item in items if isinstance(trial := item.callspec.params.get("trial"), Trial)}
    trials = all_trials(lambda trial: trial in wanted)
    run(trials, tmp_path_factory.mktemp("crashing"), LANES, lambda trial, verdict: found[trial].append(verdict))
    return found


@pytest.mark.parametrize("trial", all_trials(), ids=str)
def test_a_process_killed_before_any_step_goes_on_as_if_nothing_had_been(
    verdicts: dict[Trial, list[Verdict]], trial: Trial
) -> None:
    bad = [str(verdict) for verdict in verdicts[trial] if verdict.complaints]
    assert not bad, "\n".join(bad)
    assert sum(bool(verdict.label) for verdict in verdicts[trial]) >= KILLED_MIN
    if (trial.scenario, trial.actor, trial.role) == ("overwrites", "beta", MOUNT):
        labels = {verdict.label for verdict in verdicts[trial]}
        assert {label for label in labels if "store.redo" in label} >= REDO_STEPS, labels
