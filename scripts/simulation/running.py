"""One run from a plan: what became of it, and what failed."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass

from scripts.simulation.checks import check
from scripts.simulation.cluster import Cluster
from scripts.simulation.plan import Plan


@dataclass(frozen=True)
class Failure:
    """What a run failed of: the complaint, the kind of it (what stays the same when the plan is shortened), and where."""

    complaint: str
    kind: str
    where: str


def failure_of(plan: Plan, trace: Callable[[str], None] | None = None) -> Failure | None:
    """Carry out a plan, heal and check; return what failed, None for nothing."""
    try:
        healed(plan, trace)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        kind = f"{type(error).__name__} in {frames[-1].name}"
        return Failure(str(error), kind, "".join(traceback.format_list(frames[-4:])))
    return None


def healed(plan: Plan, trace: Callable[[str], None] | None = None) -> Cluster:
    """Return a cluster that was run, healed and checked."""
    cluster = Cluster(plan, trace)
    cluster.begin()
    cluster.run()
    cluster.heal()
    check(cluster)
    return cluster
