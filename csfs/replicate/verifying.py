"""Compares what the disk shows, read anew, here and at a peer, and repairs what is wrong here (`csfs verify`)."""

import time
from collections.abc import Callable, Iterable, Sequence

import msgspec
import trio

from csfs.core.digests import Range
from csfs.core.objects import Observation
from csfs.core.paths import ROOT, RelPath
from csfs.core.versions import Scope
from csfs.errors import CsfsError
from csfs.replicate.looking import Reason
from csfs.replicate.sights import State, sights
from csfs.replicate.standing import PeerStanding
from csfs.replicate.volume import Root, Volume
from csfs.replicate.worker import VolumeWorker
from csfs.wire.messages import Sight

AGAIN_S = 1.0
"""What differs is looked at once more: it may have been on its way."""
REPAIR_S_MAX = 60.0


class Difference(msgspec.Struct, frozen=True):
    """One path at which two members differ; None: nothing is there."""

    path: RelPath
    scope: Scope
    ours: State | None
    theirs: State | None

    @property
    def what(self) -> str:
        """What is wrong, for a person."""
        words = {State.DAMAGED: "damaged", State.CHANGED: "changed, and not noticed", State.UNREADABLE: "unreadable"}
        said = [f"{words[state]} {at}" for state, at in ((self.ours, "here"), (self.theirs, "there")) if state in words]
        if said:
            return "; ".join(said)
        if State.PENDING in (self.ours, self.theirs):
            return "not applied yet"
        if self.ours is None or self.theirs is None:
            return f"missing {'here' if self.ours is None else 'there'}"
        return "different"


def ranges_of(path: RelPath) -> list[Range]:
    """Return the ranges that hold a path and everything below it, and hardly anything else."""
    if path == ROOT:
        return [Range()]
    before = path[:-1] + bytes([max(0, path[-1] - 1)]) + b"\xff" * 8
    return [Range(before, path), Range(path + b"/", path + b"/" + b"\xff" * 255)]


class Verifying:
    """Compares one volume with one connected peer."""

    def __init__(self, worker: VolumeWorker, standing: PeerStanding, tell: Callable[[int], None]) -> None:
        self._worker = worker
        self._volume = worker.volume
        self._standing = standing
        self._tell = tell
        self.paths = 0
        self._found: list[tuple[Range, Difference]] = []
        """What differed last, each with a range that holds nothing else."""

    async def differences(self, path: RelPath) -> list[Difference] | None:
        """Return where this member and the peer differ at a path and below it; None: the peer did not answer to the end."""
        found: list[tuple[Range, Difference]] = []
        for scope in sorted(self._volume.scopes(self._standing.peer)):
            for asked in ranges_of(path):
                if not await self._range(scope, asked, path, found):
                    return None
        self._found = found
        if not found:
            return []
        await trio.sleep(AGAIN_S)
        return await self.again()

    async def again(self) -> list[Difference] | None:
        """Return what still differs of what differed before."""
        found: list[tuple[Range, Difference]] = []
        for asked, one in self._found:
            if not await self._range(one.scope, asked, one.path, found):
                return None
        self._found = found
        return [difference for _, difference in found]

    async def _range(self, scope: Scope, asked: Range, wanted: RelPath, found: list[tuple[Range, Difference]]) -> bool:
        volume, above = self._volume, asked.above
        while True:
            theirs = await self._standing.asking.sights(volume.name, scope, above, asked.last)
            if theirs is None:
                return False
            reached, there = theirs
            here = await self._here(scope, Range(above, reached or asked.last))
            found += _differing(above, wanted, scope, here, there)
            self.paths += len(here)
            self._tell(self.paths)
            if not reached:
                return True
            above = reached

    async def _here(self, scope: Scope, asked: Range) -> list[Sight]:
        found = list[Sight]()
        while True:
            reached, some = await self._volume.with_root(_sights_of, self._volume, scope, asked)
            found += some
            if not reached:
                return found
            asked = Range(reached, asked.last)

    async def repair(self, differences: Sequence[Difference]) -> None:
        """Have what differs go the ways that any change goes; what is nobody's version is kept when it is replaced."""
        volume = self._volume
        for one in differences:
            if one.ours in (State.DAMAGED, State.UNREADABLE):
                await self._take_known(one.path)
            elif one.ours is State.CHANGED:
                self._worker.observer.look(one.path, Reason(content=True))
            else:
                await self._standing.walking.exchange(one.scope, [one.path], None)
                with volume.index.transaction():
                    volume.engine.reconsider([one.path])
            volume.apply_soon([one.path])
        with trio.move_on_after(REPAIR_S_MAX):
            paths = [one.path for one in differences]
            await volume.progress.wait_until(
                lambda: self._worker.observer.idle and all(volume.is_settled(path) for path in paths)
            )

    async def _take_known(self, path: RelPath) -> None:
        """Have the known version installed over what the disk returns now, as over what nobody knows."""
        volume = self._volume
        try:
            found = await volume.with_root(_observed, path)
        except (OSError, CsfsError):
            return  # nothing can be put over what cannot even be looked at
        with volume.index.transaction():
            volume.engine.observe(path, found, time.time_ns(), joining=True)
        volume.apply_soon([path])


def _sights_of(root: Root, volume: Volume, scope: Scope, asked: Range) -> tuple[bytes, tuple[Sight, ...]]:
    return sights(volume, root, scope, asked)


def _observed(root: Root, path: RelPath) -> Observation | None:
    return root.tree.observe(path, None, True)


def _differing(
    above: bytes, wanted: RelPath, scope: Scope, here: Sequence[Sight], there: Sequence[Sight]
) -> Iterable[tuple[Range, Difference]]:
    """Yield what differs, each with a range that holds nothing else."""
    ours, theirs = {one.path: one for one in here}, {one.path: one for one in there}
    for path in sorted(ours.keys() | theirs.keys()):
        asked, above = Range(above, path), path
        mine, other = ours.get(path), theirs.get(path)
        if wanted and path != wanted and not path.startswith(wanted + b"/"):
            continue
        states = _state_of(mine), _state_of(other)
        is_same = states == (State.FINE, State.FINE) and mine is not None and other is not None
        if is_same and mine is not None and other is not None and mine.digest == other.digest:
            continue
        if (
            (mine is None or not mine.digest)
            and (other is None or not other.digest)
            and set(states) <= {None, State.FINE}
        ):
            continue  # both show nothing
        yield asked, Difference(RelPath(path), scope, *states)


def _state_of(sight: Sight | None) -> State | None:
    try:
        return State(sight.state) if sight is not None and (sight.digest or sight.state) else None
    except ValueError:
        return State.UNREADABLE
