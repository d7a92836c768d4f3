"""Directories that a simulated member moves as a whole, its own programs' and its peers'."""

from typing import TYPE_CHECKING

from csfs.core.moves import WholeMove
from csfs.core.objects import Observation, Stamp
from csfs.core.paths import ROOT, RelPath, is_below, parent_of
from csfs.core.policies import merges
from csfs.core.versions import Scope
from scripts.simulation.telling import Look

if TYPE_CHECKING:
    from scripts.simulation.member import Member


class HostWholes:
    """What a member does with moves of directories."""

    def __init__(self, host: "Member") -> None:
        self._host = host
        self.moving: tuple[Scope, WholeMove, bool] | None = None
        """What is being renamed here, and whose outcome nobody recorded yet."""
        self.made = self.followed = 0
        """How many directories were moved as a whole here, and after a peer."""

    # ------------------------------------------------------------------------------------------------ by its programs

    def take_along(self, looks: dict[RelPath, Look], now_ns: int) -> None:
        """Make all versions of directories at once that programs moved, and did nothing else below; no look is left of them then."""
        host = self._host
        moved, host.programs.moved = host.programs.moved, []
        for source, target, looked in moved:
            told = {path: look for path, look in looks.items() if _is_at_or_below(path, (source, target))}
            found = host.tree.observed(target)
            is_quiet = told == looked and host.evidence is None and not (host.intents or self.moving or host.suspects)
            if not is_quiet or found is None or not self._is_all(source, target):
                continue
            if host.engine.move_whole(source, target, found, now_ns):
                self.made += 1
                for path in told:
                    del looks[path]
                    host.note_made(path)
                    host.merging.hold(path)
                host.engine.follow(told, now_ns)

    def _is_all(self, source: RelPath, target: RelPath) -> bool:
        """Return whether all that is followed below the target is what was shown below the source, unchanged, and all of it."""
        host, shown = self._host, {RelPath(target + p[len(source) :]): s for p, s in self._stamps(source).items()}
        return shown == {p: host.tree.stamp(p) for p in host.tree.below(target) if p in shown or host.follows(p)}

    def _stamps(self, source: RelPath) -> dict[RelPath, Stamp]:
        """Return the stamps that the index has of what is shown below a directory."""
        shown = self._host.engine.shown_at_and_below(source).items()
        return {p: one.observation.stamp for p, one in shown if one.observation is not None and p != source}

    # ------------------------------------------------------------------------------------------------------- by a peer

    def follow(self, peer: str, scope: Scope, move: WholeMove, now_ns: int) -> bool:
        """Rename a directory as a peer has moved it; return whether all of its versions are known then."""
        if not self.may_follow(peer, scope, move, now_ns):
            return False
        moving, marks = self.agreed(scope, move), self._host.programs.marks
        before, local = self._host._shown_at(RelPath(move.source)), marks.pop(RelPath(move.source), None)
        found = self.rename(move, now_ns)
        assert before is not None, "what is moved is shown"
        if found.mtime_ns == before.mtime_ns and local is None:
            return self._record(moving, found, peer)
        # What commits or programs have made of its time is settled where it is now.
        marks[RelPath(move.target)] = marks.get(RelPath(move.target), False) or local is not False
        return self._record(moving, found if found.mtime_ns == before.mtime_ns else before, peer)

    def agreed(self, scope: Scope, move: WholeMove) -> tuple[Scope, WholeMove, bool]:
        """Return what is to be remembered of a move that is about to be made."""
        (policy,) = [group.policy for group in self._host.rules.groups if group.scope == scope]
        return scope, move, merges(policy)

    def may_follow(self, peer: str, scope: Scope, move: WholeMove, now_ns: int) -> bool:
        """Return whether a directory may be renamed here as a peer has moved it."""
        host, source, target = self._host, RelPath(move.source), RelPath(move.target)
        if host.intents or self.moving or host.evidence is not None or host.suspects:
            return False
        paths = host.engine.agrees(peer, scope, move, now_ns)
        if not paths or self._stamps(source) != {path: host.tree.stamp(path) for path in host.tree.below(source)}:
            return False
        near = {source, target, *_above(source), *_above(target)}
        if any(one in near or _is_at_or_below(one, (source, target)) for one in host.programs.looks):
            return False
        row = host.index.row(source)
        shown, found = row.applied.observation if row is not None else None, host.tree.stamp(source)
        is_there = shown is not None and found is not None and shown.stamp.inode == found.inode
        return is_there and target not in host.tree.nodes and host.tree.is_directory(parent_of(target))

    def rename(self, move: WholeMove, now_ns: int) -> Observation:
        """Carry it out on the disk; nobody's row tells of it."""
        host, source, target = self._host, RelPath(move.source), RelPath(move.target)
        for path in [source, *host.tree.below(source)]:
            host.tree.nodes[move.target_of(path)] = host.tree.nodes.pop(path)
        host.tree.changed(host.tree.nodes[target])
        for path in (source, target):
            host.tree.move_time(parent_of(path), now_ns)
            host.programs.marks.setdefault(parent_of(path), False)
        observation = host.tree.observed(target)
        assert observation is not None
        return observation

    def take_stock(self) -> None:
        """Find out what became of a rename that nobody recorded."""
        if self.moving is None:
            return
        moving, self.moving = self.moving, None
        move = moving[1]
        host, source, target = self._host, RelPath(move.source), RelPath(move.target)
        row, left, came = host.index.row(source), host.tree.stamp(source), host.tree.stamp(target)
        before = row.applied.observation if row is not None else None
        is_there, is_left = (
            before is not None and stamp is not None and stamp.inode == before.stamp.inode for stamp in (came, left)
        )
        if before is None or not (is_there or not is_left):
            return
        if not is_there:
            # Somebody has moved it on, or removed it, by whichever name he knew it.
            paths = {move.target_of(path) for path in host.engine.shown_at_and_below(source)}
            host.programs.touched |= paths
            host.ledger.taken |= paths
        self._record(moving, before)
        for path in (target, *(path for path, _ in host.index.rows_below(target))):
            host.programs.look_again(path)  # everything is compared once stock was taken
        for path in (source, target):
            host.programs.marks.setdefault(parent_of(path), False)

    def _record(self, moving: tuple[Scope, WholeMove, bool], observation: Observation, peer: str = "") -> bool:
        scope, move, merging = moving
        paths = self._host.engine.shown_at_and_below(RelPath(move.source))
        is_known = self._host.engine.moved_whole(scope, move, observation, peer, merging=merging)
        self.followed += 1
        for path in paths:
            self._host.merging.hold(move.target_of(path))
        self._host.index.commit()
        return is_known


def _is_at_or_below(path: RelPath, directories: tuple[RelPath, ...]) -> bool:
    return any(path == one or is_below(path, one) for one in directories)


def _above(path: RelPath) -> set[RelPath]:
    return {parent_of(path)} - {ROOT}
