"""What has gone from where it was, though nobody has told of a move: rows are a few milliseconds behind the disk.

Who looks because of an earlier row, or for another reason, may find a file gone whose rename is about to be told. Believed at once,
that would be a removal, and edits of others would stay under the old name (R15).
"""

from collections.abc import Awaitable, Callable, Mapping

import trio

from csfs.core.objects import Observation
from csfs.core.paths import RelPath
from csfs.replicate.looking import Reason
from csfs.replicate.moves import Moves
from csfs.replicate.names import Found

HEARD_S_MAX = 5.0
"""How long nothing may come: a mount answers within milliseconds, or after what its journal tells, which may be much. One that hangs
holds up nothing but its own rows."""


class Unexplained:
    """Asks the mount of one volume's observer before anything is taken for gone.

    `looks` are the observer's own: why each path is to be looked at; `look` adds to them. `hear` returns when all that was done through
    the mount so far is taken in.
    """

    def __init__(
        self,
        looks: dict[RelPath, Reason],
        moves: Moves,
        look: Callable[[RelPath, Reason], None],
        hear: Callable[[], Awaitable[object]],
    ) -> None:
        self._looks, self._moves, self._look, self._hear = looks, moves, look, hear
        self._patience = trio.CancelScope()

    def rows_came(self) -> None:
        """The mount, or its journal, goes on telling what comes before its answer."""
        self._patience.deadline = trio.current_time() + HEARD_S_MAX

    async def heard(
        self, found: list[Found], before: list[Observation | None]
    ) -> tuple[list[Found], list[Observation | None]]:
        """Return what was found but for what is told by now to have been moved, away or there: that is looked at again."""
        gone = {one[0]: one[1] for one, there in zip(found, before, strict=True) if _is_unexplained(one, there)}
        if not gone:
            return found, before
        moved = await self._moved(gone)
        kept = [(one, there) for one, there in zip(found, before, strict=True) if one[0] not in moved]
        return [one for one, _ in kept], [there for _, there in kept]

    async def _moved(self, gone: Mapping[RelPath, Reason]) -> set[RelPath]:
        told_before = gone.keys() & self._looks.keys()
        for path, reason in gone.items():
            self._look(path, reason)  # where it went it is looked at for the same reason
        waiting = {path: self._looks[path] for path in gone}
        with trio.move_on_after(HEARD_S_MAX) as self._patience:
            await self._hear()
        moved = self._moves.taken(gone) | {path for path, reason in gone.items() if self._has_come(path, reason)}
        for path in gone.keys() - moved - told_before:
            if self._looks.get(path) is waiting[path]:
                del self._looks[path]
        return moved

    def _has_come(self, path: RelPath, reason: Reason) -> bool:
        """Return whether it was told since that what is at a path is another object: else it would be a version of what was there."""
        told = self._looks.get(path, reason)
        return (told.moved_from, told.linked_from) != (reason.moved_from, reason.linked_from)


def _is_unexplained(found: Found, before: Observation | None) -> bool:
    """Return whether something is not what was shown before, and no row has said that it was moved."""
    _, reason, result = found
    if before is None or reason.moved_to is not None or isinstance(result, Exception):
        return False
    return result is None or (reason.moved_from is None and result.observation.stamp.inode != before.stamp.inode)
