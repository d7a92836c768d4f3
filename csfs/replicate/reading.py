"""Large files that have to be hashed as a whole: read beside the rounds of looks, which would all wait for them.

Such a path goes on waiting to be looked at, and what was read then stands for the reading, if nobody has told of it since and its
stamp is the same.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

import trio

from csfs.core.objects import Observation
from csfs.core.paths import RelPath, shown
from csfs.errors import CsfsError, LongReadError
from csfs.replicate.looking import UNLIMITED, Reason
from csfs.replicate.names import Found, Touched, shown_at
from csfs.replicate.volume import Root, Volume
from csfs.store.observing import Before
from csfs.store.tree import Look

log = logging.getLogger(__name__)

AT_ONCE_MAX = 2
Item = tuple[RelPath, Reason]
Read = Look | OSError | CsfsError


class Reading:
    """What one volume's observer has read beside its rounds."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._limit = trio.Semaphore(AT_ONCE_MAX)
        self._under_way: set[RelPath] = set()
        self._read: dict[RelPath, tuple[Reason, Read]] = {}

    def waiting(self, looks: Mapping[RelPath, Reason]) -> set[RelPath]:
        """Return the paths at which, or at where what was there went to, something is being read."""
        under_way = self._under_way
        if not under_way:
            return set()
        return {path for path, reason in looks.items() if path in under_way or reason.moved_to in under_way}

    def taken(self, item: Item) -> Read | None:
        """Return, once, what was read for this very reason; None if nothing was, or somebody has told more of the path since."""
        path, reason = item
        found = self._read.pop(path, None)
        return found[1] if found is not None and found[0] is reason else None

    def apart(
        self,
        found: Sequence[Found],
        shown_before: Sequence[Observation | None],
        look: Callable[[RelPath, Reason], None],
        wanted: Callable[[RelPath], Reason | None],
    ) -> tuple[list[Found], list[Observation | None]]:
        """Return what was found without what takes long to read, which is read beside, and looked at again.

        So is what was moved from elsewhere to there. `look` has a path looked at, and `wanted` says for which reasons, those
        that came meanwhile included.
        """
        long = {path for path, _, result in found if isinstance(result, LongReadError)}
        rest = list[tuple[Found, Observation | None]]()
        for one, before in zip(found, shown_before, strict=True):
            path, reason, _ = one
            if path not in long and reason.moved_to not in long:
                rest.append((one, before))
                continue
            look(path, reason)
            if path in long:
                assert self._volume.nursery is not None
                self._under_way.add(path)
                self._volume.nursery.start_soon(self._do, path, wanted(path) or reason)
        return [one for one, _ in rest], [before for _, before in rest]

    async def _do(self, path: RelPath, reason: Reason) -> None:
        try:
            async with self._limit:
                with Touched(self._volume) as touched:
                    found = await self._volume.with_root(_read, path)
            if found is not None and not touched.lifted(path, shown_at(self._volume, path), found):
                self._read[path] = reason, found
        except trio.ClosedResourceError:
            pass  # unmounted meanwhile: it is read again
        except Exception as error:
            # One file's bug must not end what the host needs for the others: it is a problem of that file.
            log.exception("%s: unexpected error reading %s", self._volume.name, shown(path))
            self._read[path] = reason, CsfsError(f"unexpected error: {error!r}")
        finally:
            self._under_way.discard(path)
            self._volume.progress.notify()


def _read(root: Root, path: RelPath) -> Read | None:
    """Look at a path, however long that takes; for a thread."""
    try:
        return root.tree.look_from(path, Before(content_changed=True), UNLIMITED)
    except (OSError, CsfsError) as error:
        return error
