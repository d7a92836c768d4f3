"""An engine that notes what moves, and what follows."""

from collections.abc import Callable, Iterable
from typing import Any

from csfs.core.objects import Observation
from csfs.core.paths import RelPath
from csfs.core.records import Move
from csfs.core.versions import Dot
from csfs.engine.following import Edit
from csfs.engine.ports import Row
from csfs.engine.rules import GroupRules
from csfs.engine.volume import VolumeEngine
from csfs.engine.wholes import Moved
from scripts.simulation.index import Index
from scripts.simulation.ledger import Ledger
from scripts.simulation.programs import Programs


class NotingEngine(VolumeEngine):
    """An engine that notes what moves, and what follows."""

    def watched(self, ledger: Ledger, programs: Programs) -> None:
        """Say whose ledger this goes into, and whose programs may have changed what nobody looked at yet."""
        self.ledger, self.programs = ledger, programs

    @property
    def index(self) -> Index:
        """The index, which counts."""
        assert isinstance(self._index, Index)
        return self._index

    @property
    def left_count(self) -> int:
        """Of how many paths it remembers what they showed before they showed something else."""
        return len(self._left)

    def in_doubt_if_set_back(self) -> set[RelPath]:
        """Return the paths of which this member makes another version if it finds that it has lived on elsewhere (R8)."""
        return {path for path, row in self._rows() if self._doubted(row, self._trusted(row.scope)) != row}

    def follow(
        self, paths: Iterable[RelPath], now_ns: int, is_unseen: Callable[[RelPath], bool] | None = None
    ) -> tuple[RelPath, ...]:
        """Take edits along."""
        index = self.index
        minted = index.minted
        touched = super().follow(paths, now_ns, is_unseen or self.programs.looks.__contains__)
        index.minted_following += index.minted - minted
        return touched

    def distrust(self) -> None:
        """Put in doubt what nobody else has stored. What goes with that is found by a look, as if somebody had just made it."""
        before, moves = self.index.rows().keys(), self._moves_told()
        # Nor is it a move to anybody what will be found to come from where only this member knew what was there.
        doubted, looks = self.in_doubt_if_set_back(), self.programs.looks.items()
        unseen = {(look.moved_from, path) for path, look in looks if look.moved_from in doubted}
        super().distrust()
        self.programs.touched |= before - self.index.rows().keys()
        self.ledger.untold |= moves - self._moves_told() | unseen

    def _put_known(self, path: RelPath, before: Row, after: Row, group: GroupRules | None) -> None:
        super()._put_known(path, before, after, group)
        half = after.record.content
        if not before.record.content.entries and any(one.dot.incarnation == self._incarnation for one in half.entries):
            others = {life: counter for life, counter in half.seen.items() if life != self._incarnation}
            self.ledger.from_nothing.append((path, others))

    def _moves_told(self) -> set[tuple[RelPath, RelPath]]:
        """Return from where to where something was moved, by what this member would tell."""
        entries = ((path, entry) for path, row in self._rows() for entry in row.record.content.entries)
        return {(path, move.target) for path, entry in entries for move in entry.moves}

    def _arrive(self, edit: Edit, leaving: set[Dot], now_ns: int) -> None:
        super()._arrive(edit, leaving, now_ns)
        self.index.following.append((self._incarnation, edit))
        self.ledger.followed(edit.path, edit.target, edit.content.value if edit.content is not None else None)

    def _moved_away(self, path: RelPath, *arguments: Any) -> Move | None:
        move = super()._moved_away(path, *arguments)
        if move is not None:
            self.ledger.moves[move.object, path] += 1
        return move

    def move_whole(self, source: RelPath, target: RelPath, observation: Observation, now_ns: int) -> Moved:
        """Move a directory as a whole."""
        moved = super().move_whole(source, target, observation, now_ns)
        for path, row in moved:
            if row.applied.lineage.birth is not None:
                self.ledger.moves[row.applied.lineage.birth, path] += 1
        return moved
