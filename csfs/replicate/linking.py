"""Plans for names of one inode, as they come together in a batch: one is built, and the others are linked to it (R17)."""

import errno
from collections import Counter
from collections.abc import Sequence

import msgspec

from csfs.core.objects import Content, Kind, Observation
from csfs.core.paths import RelPath
from csfs.core.rows import Plan, Step
from csfs.core.versions import Dot
from csfs.wire.control import CommitResult, Outcome

UNABLE = (errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV, errno.ENOSYS)
"""The file system, or a flag of what is to be linked to, will not have it: each name is then a file of its own here."""


class Leaders:
    """Which paths of one batch of plans lead those that are linked to them, or have their attributes set through them."""

    def __init__(self) -> None:
        self._installed: dict[tuple[Dot, Content], RelPath] = {}
        self._set: set[int] = set()
        self.deferred: list[RelPath] = []
        """Paths that show what another one has its attributes set: planned anew after that."""

    def followed(self, plan: Plan) -> Plan:
        """Return a plan, linked to what this batch installs before it if it is a name of that."""
        if plan.step is not Step.INSTALL or plan.write is None or plan.link is not None:
            return plan
        leader = self._installed.get((plan.write, plan.content))
        return plan if leader is None else msgspec.structs.replace(plan, link=leader)

    def lead(self, plan: Plan) -> None:
        """A plan is going to be carried out: what follows may be linked to it."""
        if plan.step is Step.INSTALL and plan.write is not None and plan.link is None:
            self._installed[plan.write, plan.content] = plan.path

    def is_deferred(self, plan: Plan) -> bool:
        """Return whether the plan sets attributes of an object that has them set already by another one."""
        number = shared_inode(plan.base) if plan.step is Step.ATTRIBUTES else None
        if number is None:
            return False
        if number in self._set:
            self.deferred.append(plan.path)
            return True
        self._set.add(number)
        return False


def shared_inode(observation: Observation | None) -> int | None:
    """Return the number of an object that has other names, None for others."""
    if observation is None or observation.links < 2 or observation.kind is Kind.DIRECTORY:
        return None
    return observation.stamp.inode


def is_taken_away(plan: Plan) -> bool:
    """Return whether what is shown loses this name."""
    return plan.step is not Step.ATTRIBUTES and plan.base is not None


class Shared:
    """Which objects a batch of plans takes all names from, as far as anybody knows, and which stay under others."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        taken = [plan.base for plan in plans if is_taken_away(plan)]
        self._names = Counter(number for base in taken if (number := shared_inode(base)) is not None)

    def stays(self, base: Observation) -> bool:
        """Return whether an object has names that are not taken from it."""
        number = shared_inode(base)
        return number is not None and base.links > self._names[number]


def settled(results: Sequence[CommitResult]) -> list[CommitResult]:
    """Return the outcomes of a batch, with the stamp that each object showed after the last of its names was committed."""
    last = {
        one.stamp.inode: one
        for one in results
        if one.outcome is Outcome.DONE and one.stamp is not None and one.links > 1
    }
    found = []
    for one in results:
        after = last.get(one.stamp.inode) if one.outcome is Outcome.DONE and one.stamp is not None else None
        found.append(one if after is None else msgspec.structs.replace(one, stamp=after.stamp, links=after.links))
    return found
