"""The brake at work: which of the applier's plans wait for a person, and what he is told of them."""

import time
from collections.abc import Sequence

import trio

from csfs.core.paths import RelPath
from csfs.core.rows import Plan, Waiting
from csfs.engine.brake import Brake, Limits, Verdict
from csfs.index.braked import Braked
from csfs.replicate.volume import Volume


class Braking:
    """Weighs one volume's plans before they are carried out."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._brake = Brake(volume.index.braked)

    def configure(self, limits: Limits | None) -> None:
        """Follow the volume's settings. What waits already goes on waiting, unless nothing is to wait any more."""
        was_on, self._brake.limits = self._brake.limits is not None, limits
        if was_on and limits is None:
            self._volume.apply_soon(waiting.path for waiting in self._volume.index.braked.below(RelPath(b"")))

    def sorted(self, batch: Sequence[RelPath], plans: Sequence[Plan]) -> tuple[list[Plan], list[RelPath]]:
        """Return the plans to be carried out now, and the paths to be planned again in a moment. In a transaction."""
        engine, braked, suspects = self._volume.engine, self._volume.index.braked, self._volume.index.suspects
        losses = {plan.path: loss for plan in plans if (loss := engine.loss(plan)) is not None}
        for path in batch:
            if path not in losses:
                braked.drop(path)  # what waited there was superseded, or is so already
            if path not in suspects:
                suspects.drop(path)
        if not losses:
            return list(plans), []
        live = self._volume.index.rows.live_count()
        verdicts = self._brake.verdicts(losses, live, trio.current_time(), time.time_ns())
        go = [plan for plan in plans if verdicts.get(plan.path, Verdict.GO) is Verdict.GO]
        return go, [path for path, verdict in verdicts.items() if verdict is Verdict.SOON]

    def is_left(self, path: RelPath) -> bool:
        """Return whether nothing is done at a path before a person says so."""
        waiting = self._volume.index.braked.at(path)
        return waiting is not None and not waiting.approved

    def approve(self, waiting: Sequence[Waiting]) -> None:
        """A person lets these through."""
        braked = self._volume.index.braked
        with self._volume.index.transaction():
            for one in waiting:
                braked.approve(one)
        self._forget(waiting)

    def turned_down(self, waiting: Sequence[Waiting]) -> None:
        """A person has decided against these: what supersedes them is known."""
        self._forget(waiting)

    def _forget(self, waiting: Sequence[Waiting]) -> None:
        for member in {one.loss.member for one in waiting}:
            self._brake.forget(member)
        self._volume.apply_soon(one.path for one in waiting)


def alarm(braked: Braked) -> str:
    """Return what a person has to know of one member's changes that wait."""
    parts = [
        f"{done} {count} path{'s' * (count > 1)}"
        for done, count in (("removes", braked.removed), ("replaces", braked.replaced))
        if count
    ]
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(braked.since_ns / 1e9))
    return (
        f"{braked.member or 'a member that is not known yet'} {' and '.join(parts)} in one go: that waits since {since}; "
        "csfs approve lists it, lets it through or turns it down"
    )
