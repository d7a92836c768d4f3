"""Which object is where: what was moved here from another path, and where a version says that an object went (R15)."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from csfs.core import versions
from csfs.core.objects import Applied, Kind, Observation
from csfs.core.paths import RelPath
from csfs.core.policies import parents_with
from csfs.core.records import ContentEntry, MetaEntry, Move
from csfs.core.versions import Dot, Incarnation, Vector
from csfs.engine.ports import Row
from csfs.engine.rules import GroupRules
from csfs.engine.state import State

MOVES_MAX: Final = 16
"""Moves that an entry names; who has not seen the object since so many others had its name finds its edit under the old one."""


class Circumstances(msgspec.Struct, frozen=True):
    """What is known of a change beyond what the disk shows. `adopting`: it may be something known that was applied.

    `moved_from`: a rename put there what is found here. `moved_to`: another one took away what was shown here; it is there if
    something else is found here. `twin` is another name of what was found, which is recorded already as it was
    found, and its entry; `kin` is what is applied at another name of what has a new one here (R17). `anew`: it was made before,
    under a dot that is lost with all that it had replaced, which others may have (R8).
    """

    now_ns: int
    moved_from: RelPath | None = None
    moved_to: RelPath | None = None
    racy: bool = False
    adopting: bool = True
    twin: tuple[Row, ContentEntry] | None = None
    kin: Applied | None = None
    anew: bool = False


class Moving(State):
    """Knows what was shown where."""

    def _moved_here(self, observation: Observation | None, source: RelPath | None) -> Applied | None:
        """Return what was applied where the object found was moved from, None if nothing was moved here."""
        if source is None or observation is None:
            return None
        for applied in self._shown_at(source):
            shown = applied.observation
            if shown is not None and shown.stamp.inode == observation.stamp.inode:
                return applied
        return None

    def find(self, found: Sequence[tuple[RelPath, Observation | None, RelPath | None]]) -> None:
        """Take note of all that is to be observed in one transaction, each with where it was moved from.

        So what becomes of it is the same whichever is observed first: then something else is known of that path.
        """
        self._left.look_anew()
        for path, observation, _ in found:
            if observation is not None:
                self._left.found(path, observation.stamp)
        moved = [one for one in found if one[1] is not None and one[2] is not None and self._followed(one[0])]
        for path, observation, source in moved:
            self._turns_up(path, observation, source)
        for path, observation, source in moved:
            if observation is not None and self._moved_here(observation, source) is None:
                row = self._index.row(path)
                came = self._may_have_come(path, row.applied if row is not None else None, observation, source)
                self._left.may_have_come(path, observation.stamp, came)
                if observation.links == 1:
                    self._turns_up_rewritten(path, came, source)

    def _turns_up(self, path: RelPath, observation: Observation | None, source: RelPath | None) -> None:
        """Remember that what was found is here, and not what comes next from where it was moved from."""
        if observation is None:
            return
        self._left.found(path, observation.stamp)
        moved_here = self._moved_here(observation, source)
        if source is not None and moved_here is not None:
            self._left.turned_up(source, moved_here, path)

    def _turns_up_rewritten(self, path: RelPath, came: Sequence[Applied], source: RelPath | None) -> None:
        """Remember that what was found is one object that was shown where it was moved from, saved as another inode."""
        for applied in came if rewritten_of(came) is not None else ():
            if source is not None:
                self._left.turned_up(source, applied, path)

    def _source(self, source: RelPath | None, moved_here: Applied | None) -> Row | None:
        """Return the row of where the object found was moved from, None if nothing was moved here."""
        return self._index.row(source) if source is not None and moved_here is not None else None

    def _shown_at(self, path: RelPath) -> list[Applied]:
        """Return what is applied at a path, and what was before it."""
        row = self._index.row(path)
        shown = (row.applied if row is not None else None, self._left.at(path))
        return [applied for applied in shown if applied is not None]

    def _kin(self, before: Applied, observation: Observation | None, names: Iterable[RelPath]) -> Applied | None:
        """Return what was applied at another name of what was found, if this name is new: so it was represented here (R4)."""
        if observation is None or observation.kind is Kind.DIRECTORY or is_of_inode(before, observation):
            return None
        return next((a for name in names for a in self._shown_at(name) if is_of_inode(a, observation)), None)

    def _may_have_come(
        self, path: RelPath, here: Applied | None, observation: Observation | None, source: RelPath | None
    ) -> list[Applied]:
        """Return what was applied of a file that was moved here, and was then saved as another inode before anybody looked.

        Whatever was `here` before: what is found is that file, unless that has turned up elsewhere, or is what was here.
        Several, where something else was found since where it came from: nobody can tell which of them came.
        """
        if source is None or observation is None or observation.kind is not Kind.FILE:
            return []
        came = self._left.came(path, observation.stamp)
        if came is not None:
            return came
        left = [applied for applied in self._shown_at(source) if self._left.where(source, applied) is None]
        files = [a for a in left if a.observation is not None and a.observation.kind is Kind.FILE]
        files = [a for a in files if here is None or a.observation is None or not is_of_inode(here, a.observation)]
        return files if any(applied.lineage.birth is not None for applied in files) else []

    def _leave(self, path: RelPath, applied: Applied) -> None:
        """Remember what was shown at a path before something else was: it may turn up where it was moved to."""
        self._left.leave(path, applied)

    def forget_left(self) -> None:
        """Nothing is left to look at: what was shown before something else was will not turn up any more."""
        self._left.forget()

    def _moved_away(
        self,
        path: RelPath,
        applied: Applied,
        found: Observation | None,
        circumstances: Circumstances,
        group: GroupRules,
    ) -> Move | None:
        """Return where the object that was shown here went, None if nowhere in this group.

        Where it turned up, by its inode or saved as another one, whatever else was moved away from here since.
        """
        target, birth = self._left.where(path, applied) or circumstances.moved_to, applied.lineage.birth
        if target is None or birth is None or target == path or applied.observation is None:
            return None
        if found is not None and is_of_inode(applied, found):
            return None  # it is here
        there = self._followed(target)
        return Move(birth, target) if there is not None and there.scope == group.scope else None


def rewritten_of(came: Sequence[Applied]) -> Applied | None:
    """Return what a file was made from that is one of these; None if they are not one object: of another it was not made.

    Of several versions of that object, it has for sure seen but what all of them were made from.
    """
    if len({applied.lineage.birth for applied in came}) != 1:
        return None
    if len(came) == 1:
        return came[0]
    first, *others = (parents_with(applied.lineage.parents, applied.lineage.origin) for applied in came)
    common = tuple(dot for dot in first if all(dot in line for line in others))
    return msgspec.structs.replace(
        came[0], lineage=msgspec.structs.replace(came[0].lineage, origin=None, parents=common)
    )


def is_of_inode(applied: Applied, observation: Observation) -> bool:
    """Return whether what is applied is the object found, whatever it holds."""
    return applied.observation is not None and applied.observation.stamp.inode == observation.stamp.inode


def moves_after(
    row: Row, incarnation: Incarnation, birth: Dot | None, moved: Move | None, *, came: bool
) -> tuple[Move, ...]:
    """Return the moves that an entry names which replaces what is applied: those of what it replaces, and its own.

    `birth` is the object that it puts there, which is not away if it `came` there by a move, or if whoever changes it has seen
    that it went away. One that this member has taken along itself, and still shows, has to be taken along once more.
    """
    seen, entries = row.applied.content_seen, row.record.content.entries
    replaced = [entry for entry in entries if is_replaced(entry, seen, incarnation)]
    unseen = {move.object for entry in replaced if not versions.covers(seen, entry.dot) for move in entry.moves}
    return merged_moves(replaced, birth if came or birth not in unseen else None, moved)


def is_replaced(entry: ContentEntry | MetaEntry, seen: Vector, incarnation: Incarnation) -> bool:
    """Return whether a change of this incarnation on that context replaces an entry; no vector leaves out its own earlier ones."""
    return entry.dot.incarnation == incarnation or versions.covers(seen, entry.dot)


def merged_moves(replaced: list[ContentEntry], birth: Dot | None, moved: Move | None = None) -> tuple[Move, ...]:
    """Return the latest move of each object that one of these entries, or `moved`, says went away, but for `birth`."""
    told = [move for entry in sorted(replaced, key=lambda entry: (entry.hlc, entry.dot)) for move in entry.moves]
    found: dict[Dot, RelPath] = {}
    for move in (*told, *([moved] if moved is not None else [])):
        found.pop(move.object, None)
        found[move.object] = move.target
    return tuple(Move(one, target) for one, target in found.items() if one != birth)[-MOVES_MAX:]
