"""Files that go from one path to another: where a batch takes away what it shows elsewhere, one rename does both.

Nothing is copied, and nothing is kept: the object lives on, for whoever has it open, too. Only what needs nothing but
another name is renamed. What is replaced by that, or has several names, or other attributes there, or flags that forbid it,
goes the usual way.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from csfs.core.objects import Kind
from csfs.core.paths import RelPath, parent_of
from csfs.core.rows import Plan, Step
from csfs.engine.live import shown_mtime_ns
from csfs.replicate.names import has_flags
from csfs.replicate.spreading import is_whole
from csfs.replicate.volume import Volume
from csfs.replicate.works import Work, is_dressed
from csfs.wire.control import CommitResult


class Renames:
    """What one batch of plans takes away, and may show elsewhere.

    `is_free` says of an old and a new name that what is there needs nothing but to be renamed.
    """

    def __init__(self, volume: Volume, removals: Iterable[Plan], is_free: Callable[[RelPath, RelPath], bool]) -> None:
        self._volume = volume
        self._is_free = is_free
        self._leaving: dict[bytes, list[Plan]] = {}
        self._taken: set[RelPath] = set()
        # Programs that wait for others may hold the directories of which the kernel has to learn; and what is in doubt is read.
        if volume.gate is not None and not volume.gate.asks_first and is_whole(volume):
            for plan in removals:
                base = plan.base
                is_loose = plan.room_for is None and not plan.keep
                if base is not None and base.kind is Kind.FILE and base.size and base.links == 1 and is_loose:
                    self._leaving.setdefault(base.hash, []).append(plan)

    def removal(self, plan: Plan) -> Plan | None:
        """Return the plan that takes away what this one is to show, all of it; None if there is none."""
        if plan.step is not Step.INSTALL or plan.expected is not None or plan.link is not None or plan.keep:
            return None
        for leaving in self._leaving.get(plan.content.hash, ()):
            base = leaving.base
            assert base is not None, "nothing is taken away"
            is_same = base.size == plan.content.size and self._is_of_time(leaving.path, plan.mtime_ns)
            treated = self._volume.treated(plan.path)
            # What is each member's own at the old name, and was not looked at, may be told at the new one.
            is_same = is_same and treated == self._volume.treated(leaving.path)
            is_all = is_same and is_dressed(plan, base, treated)
            names = leaving.path, parent_of(leaving.path), parent_of(plan.path)
            is_let = is_all and leaving.path not in self._taken and not has_flags(self._volume, *names)
            if is_let and self._is_free(leaving.path, plan.path):
                return leaving
        return None

    def _is_of_time(self, path: RelPath, wanted_ns: int | None) -> bool:
        """Return whether what a path shows has, or stands for, just this time: another one that a disk could show so is another one."""
        row = self._volume.index.rows.row(path)
        return wanted_ns is None or (row is not None and shown_mtime_ns(row.applied) == wanted_ns)

    def take(self, removal: Plan) -> None:
        """What it takes away is shown elsewhere."""
        self._taken.add(removal.path)

    def is_taken(self, plan: Plan) -> bool:
        """Return whether what a plan takes away is shown elsewhere, by another plan's rename."""
        return plan.step is Step.REMOVE and plan.path in self._taken


def plans_of(works: Iterable[Work]) -> list[Plan]:
    """Return the plans that works carry out, those of the names that renames take away among them."""
    return [work.plan for one in works for work in (one.removal, one) if work is not None]


def with_removals(works: Sequence[Work], results: Sequence[CommitResult]) -> tuple[list[Work], list[CommitResult]]:
    """Return works and their outcomes with those of the names that renames took away, each before what took it."""
    all_works, all_results = list[Work](), list[CommitResult]()
    for work, result in zip(works, results, strict=True):
        if work.removal is not None:
            all_works.append(work.removal)
            all_results.append(msgspec.structs.replace(result, id=work.removal.commit_id, stamp=None, refresh=False))
        all_works.append(work)
        all_results.append(result)
    return all_works, all_results
