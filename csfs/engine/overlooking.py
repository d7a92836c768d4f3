"""Whether the disk shows what is known wherever nothing is pending: what nobody waits for, nobody would ever notice (R13).

Who knows the same as the others, which the set hashes tell, and shows what he knows, shows the same as they do. So each member judges
its own rows, and nothing has to travel. What is pending is not judged, be it wanted, refused, left out, or held back by the brake; nor
is what a policy leaves open.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from csfs.core.objects import Kind
from csfs.core.paths import ROOT, RelPath, ancestors_of
from csfs.engine.live import difference, is_plain_directory, live_of, new_row
from csfs.engine.plans import Plans
from csfs.engine.ports import Row
from csfs.engine.rules import GroupRules


class Overlooked(msgspec.Struct, frozen=True):
    """What was found, and is pending now: paths at which something else is shown than what is known; and those that are `apart`,
    each a file of its own where it should be another name of one.
    """

    differing: tuple[RelPath, ...]
    apart: tuple[RelPath, ...]


NOTHING_OVERLOOKED: Final = Overlooked((), ())


class Overlooking(Plans):
    """Takes up what was forgotten."""

    def take_up(self, paths: Iterable[RelPath]) -> Overlooked:
        """Have those of `paths`, and directories that they wait for, planned anew that need it, and of which nobody knows that."""
        differing, apart = dict[RelPath, None](), dict[RelPath, None]()
        for path in (one for named in paths for one in self._with_awaited(named)):
            group = self._followed(path)
            row = self._index.row(path) or (new_row(group) if group is not None else None)
            if group is None or row is None or not self._is_overlooked(path, row, group):
                continue
            live = self._live(path, row.record, row.applied, group)
            (differing if difference(row.applied, live) is not None else apart)[path] = None
            self._set_pending(path, row)
        return Overlooked(tuple(differing), tuple(apart))

    def _with_awaited(self, path: RelPath) -> Iterator[RelPath]:
        """Yield a path, and if nothing is shown there yet, the directories above that may have to come first."""
        yield path
        row = self._index.row(path)
        if row is None or not row.live or row.applied.observation is not None:
            return
        for directory in ancestors_of(path):
            above = self._index.row(directory)
            if directory == ROOT or (above is not None and is_plain_directory(above.record)):
                return
            yield directory

    def _is_overlooked(self, path: RelPath, row: Row, group: GroupRules) -> bool:
        if row.pending or self.pulling or self.is_in_quarantine:
            return False
        if path == ROOT and row.applied.observation is None:
            return False  # nobody has looked yet
        live = self._live(path, row.record, row.applied, group)
        return self._step(path, row.applied, live, group) is not None and not self._is_unknown(row, live, group)


def is_plainly_shown(row: Row) -> bool:
    """Return whether nothing can be overlooked at a path, as far as a glance at its row shows it: so it is for nearly all of them.

    What depends on other paths is not seen so, but for a directory that is to live by what is below it: that is taken up with what is
    not shown there.
    """
    contents, metas, shown = row.record.content.entries, row.record.meta.entries, row.applied.observation
    if not row.scope or (row.pending and shown is not None):
        return True
    if shown is None:
        return not row.live
    if len(contents) != 1 or len(metas) > 1:
        return False  # the policy decides, or what is below
    is_named = shown.links > 1 and shown.kind is not Kind.DIRECTORY
    if is_named or contents[0].write is not None:
        return False
    return difference(row.applied, live_of(row.record, row.applied, False, (), {})) is None
