"""Shorter plans that fail in the same way: leaves out ever smaller pieces, then simplifies what is left (ddmin, Zeller 1999)."""

import time
from collections.abc import Callable, Iterator

import msgspec

from scripts.simulation.plan import LINKED, NAMES, Action, Plan, Setup

TRIES_MAX = 4_000


class Shrinker:
    """Finds the shortest plan for which `fails` holds, within a time."""

    def __init__(self, fails: Callable[[Plan], bool], seconds: float) -> None:
        self._fails = fails
        self._until = time.monotonic() + seconds
        self._tries = 0

    def shortest(self, plan: Plan) -> Plan:
        """Return the shortest plan found."""
        before = None
        while before is None or (before != plan and not self._is_over):
            before = plan
            plan = self._without_pieces(plan)
            plan = self._with_simpler_setup(plan)
        return plan

    @property
    def _is_over(self) -> bool:
        return self._tries >= TRIES_MAX or time.monotonic() > self._until

    def _try(self, plan: Plan) -> bool:
        self._tries += 1
        return self._fails(plan)

    def _without_pieces(self, plan: Plan) -> Plan:
        size = max(1, len(plan.actions) // 2)
        while True:
            start = 0
            while start < len(plan.actions) and not self._is_over:
                shorter = msgspec.structs.replace(plan, actions=plan.actions[:start] + plan.actions[start + size :])
                if self._try(shorter):
                    plan = shorter
                else:
                    start += size
            if size == 1 or self._is_over:
                return plan
            size //= 2

    def _with_simpler_setup(self, plan: Plan) -> Plan:
        for setup in _simpler(plan.setup):
            if self._is_over:
                break
            simpler = Plan(plan.seed, setup, tuple(_actions_of(plan, setup.count)))
            if simpler != plan and self._try(simpler):
                return simpler
        return plan


def _actions_of(plan: Plan, count: int) -> Iterator[Action]:
    """Yield what can happen among the first `count` members."""
    for action in plan.actions:
        if action.member < count and (action.other < count or action.act not in LINKED):
            yield msgspec.structs.replace(action, other=action.other % count)


def _simpler(setup: Setup) -> list[Setup]:
    """Return setups with less in them, the simplest first."""
    replaced = msgspec.structs.replace
    found = [replaced(setup, skews_ns=(0,) * setup.count)] if any(setup.skews_ns) else []
    if setup.policy != ("younger",):
        found.append(replaced(setup, policy=("younger",)))
    if setup.receive_only:
        found.append(replaced(setup, receive_only=""))
    if setup.private:
        found.append(replaced(setup, private=False, apart=False))
    if setup.count > 2:
        fewer = setup.count - 1
        late = tuple(number for number in setup.late if number < fewer)
        receive_only = setup.receive_only.replace(NAMES[fewer], "")
        found.append(
            replaced(setup, count=fewer, late=late, receive_only=receive_only, skews_ns=setup.skews_ns[:fewer])
        )
    return found
