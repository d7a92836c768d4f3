"""What was moved, and not looked at yet, is known by the name that it had first, however often it is moved.

What is in a directory that was moved is looked into later, on the disk, and often goes along in one step (`spreading`). Before anything
else is moved there, or linked from there, it is told of each path below instead: the disk is ahead of the rows, and shows it no more.
"""

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace

from csfs.core.paths import RelPath, ancestors_of, concern, is_below, parent_of
from csfs.replicate.looking import ATTRIBUTES, NO_REASON, Reason
from csfs.replicate.moved_on import MovedOn
from csfs.replicate.names import shown_at
from csfs.replicate.volume import Volume

COMPARED_MAX = 100
"""With how many moves one is compared; of more, all count as concerned by it."""


@dataclass(slots=True, eq=False)
class Move:
    """A move, perhaps of a directory, and the row that said so, 0 for none. `is_told`: it is told of each path that is known below."""

    source: RelPath
    target: RelPath
    sequence: int
    is_told: bool = False


class Moves:
    """The moves of one volume's observer. `looks` are its own: why each path is to be looked at; `look` adds to them.

    `tries` are paths that could not be read.
    """

    def __init__(
        self,
        volume: Volume,
        looks: dict[RelPath, Reason],
        tries: Container[RelPath],
        moved_on: MovedOn,
        look: Callable[[RelPath, Reason], None],
    ) -> None:
        self._volume, self._looks, self._tries, self._moved_on, self._look = volume, looks, tries, moved_on, look
        self._untold: list[Move] = []
        self._told: list[Move] = []
        self._names: set[RelPath] = set()
        """Of moves of which it is not told what is below, and perhaps of others."""
        self._above: set[RelPath] = set()
        """Directories above these names."""
        self._looked_in: set[RelPath] = set()
        """Directories above all paths that are to be looked at, and perhaps others."""

    def __bool__(self) -> bool:
        return bool(self._told or self._untold)

    def __iter__(self) -> Iterator[Move]:
        """Iterate over all moves whose directories are to be looked into."""
        yield from self._told
        yield from self._untold

    def clear(self) -> None:
        """Forget all: what is being looked into is of no row any more."""
        for move in self:
            move.sequence = 0
        self._told.clear()
        self._leave([])

    def directories(self) -> Iterator[RelPath]:
        """Yield both names of what was moved."""
        for move in self:
            yield move.source
            yield move.target

    def taken(self, paths: Iterable[RelPath]) -> set[RelPath]:
        """Return those paths of which it was told that what was shown there, or a directory above it, was moved away."""
        names = set(self.directories())  # a journal may have told of very many

        def is_taken(path: RelPath) -> bool:
            return self._looks.get(path, NO_REASON).moved_to is not None or not names.isdisjoint(ancestors_of(path))

        return {path for path in paths if is_taken(path)}

    def done(self, move: Move) -> None:
        """It was looked into the directory, unless all was forgotten meanwhile."""
        moves = self._told if move.is_told else self._untold
        if move in moves:
            moves.remove(move)
        if not self._untold:
            self._leave([])

    def rename(self, source: RelPath, target: RelPath, sequence: int) -> None:
        """Something was renamed."""
        self.before(source, target)
        self.forget_origin(target)
        self._carry(source, target, self.forget_origin(source))
        self._untold.append(Move(source, target, sequence))
        self._note(source, target)

    def exchange(self, source: RelPath, target: RelPath, sequence: int) -> None:
        """Something was exchanged with something else."""
        self.before(source, target)
        there, back = self.forget_origin(source), self.forget_origin(target)
        self._carry(source, target, there)
        self._carry(target, source, back)
        self._tell_below(Move(source, target, sequence), Move(target, source, sequence))

    def before(self, *names: RelPath) -> None:
        """Something is about to be done to names: what moves have brought there, or taken away, is told of each path."""
        if not any(name in self._above or not self._names.isdisjoint((name, *ancestors_of(name))) for name in names):
            return
        moves = self._untold
        if len(moves) <= COMPARED_MAX:
            moves = [one for one in moves if any(concern(n, name) for n in (one.source, one.target) for name in names)]
        for move in moves:
            self._tell_below(move)
        self._leave([move for move in self._untold if not move.is_told])

    def forget_origin(self, path: RelPath) -> Reason | None:
        """Return what is told of a path from which an object goes: where it came from says nothing of what comes there next."""
        told = self._looks.get(path)
        if told is not None:
            self._looks[path] = replace(told, moved_from=None, linked_from=None)
        return told

    def _leave(self, untold: list[Move]) -> None:
        self._untold = untold
        self._names.clear()
        self._above.clear()
        for move in untold:
            self._note(move.source, move.target)

    def _note(self, *names: RelPath) -> None:
        self._names.update(names)
        for name in names:
            if parent_of(name) not in self._above:
                self._above.update(ancestors_of(name))

    def _carry(self, source: RelPath, target: RelPath, told: Reason | None) -> None:
        """An object was moved; `told`: why it was to be looked at where it was before. It is to be read where it is now."""
        written = self._moved_on.taken(source, told) or ATTRIBUTES
        first = written.moved_from or source
        is_written, extents = written.content is True, written.extents
        if source in self._tries or first in self._tries:
            is_written, extents = True, None
        moved_from = None if first == target else first
        self._look(target, Reason(is_written, extents, moved_from=moved_from, linked_from=written.linked_from))
        for path in {source, first} - {target}:
            # What was shown here has gone elsewhere before this came, or this took its place.
            there = self._looks.get(path, NO_REASON)
            is_gone = path != first and (there.moved_to is not None or shown_at(self._volume, path) is not None)
            self._look(path, ATTRIBUTES if is_gone else Reason(False, (), moved_to=target))

    def _tell_below(self, *moves: Move) -> None:
        """Tell of each path that is known below what was moved, at once below both where two were exchanged, where it is now."""
        told: dict[RelPath, Reason | None] = {}
        known: list[tuple[RelPath, RelPath]] = []
        for move in moves:
            below = {*self._volume.index.rows.shown_paths(move.source), *self._looked_below(move.source)}
            told.update((path, self.forget_origin(path)) for path in below)
            known += [(path, RelPath(move.target + path[len(move.source) :])) for path in sorted(below)]
            move.is_told = True
            self._told.append(move)
        for move in moves:
            for path in self._looked_below(move.target):
                self.forget_origin(path)
        for path, target in known:
            if self._is_there(path, told[path]):
                self._carry(path, target, told[path])

    def _is_there(self, path: RelPath, told: Reason | None) -> bool:
        """Return whether something may be at a path that the index knows: what it shows there, or what came there since."""
        if told is not None and (told.moved_from or told.linked_from):
            return True
        return (told is None or told.moved_to is None) and shown_at(self._volume, path) is not None

    def looked(self, path: RelPath) -> None:
        """A path is to be looked at that was not before."""
        if len(self._looks) == 1:
            self._looked_in.clear()
        if parent_of(path) not in self._looked_in:
            self._looked_in.update(ancestors_of(path))

    def _looked_below(self, directory: RelPath) -> list[RelPath]:
        return [p for p in self._looks if is_below(p, directory)] if directory in self._looked_in else []
