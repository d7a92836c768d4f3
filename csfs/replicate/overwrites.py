"""Which files are overwritten where they are instead of being replaced: large ones of which little changes, and nobody has open."""

import logging
from collections.abc import Callable

import trio

from csfs.core.objects import Kind
from csfs.core.paths import RelPath, shown
from csfs.core.rows import Plan
from csfs.errors import CsfsError
from csfs.replicate.volume import Root, Volume
from csfs.replicate.works import is_dressed
from csfs.store.overwriting import can_overwrite
from csfs.store.patching import FromPatches
from csfs.store.stage import Source

log = logging.getLogger(__name__)

COPY_SIZE_MAX = 8 * 1024 * 1024
"""To copy that much takes no longer than to be careful."""
REFUSED_MAX = 10_000
_CAPABILITY = b"security.capability"


class Overwrites:
    """Decides for one volume's applier, and cleans up behind it."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._refused: set[RelPath] = set()
        """Paths that could not be overwritten the last time: they are replaced the next."""
        self._settling: set[RelPath] = set()
        """Paths of which a log is not settled: of two logs of one file, a crash would have the older one carried out as well."""

    def is_chosen(self, plan: Plan, source: Source | None, *, is_promised: bool) -> bool:
        """Return whether a plan is to be carried out in place. `is_promised`: all of what goes must be kept."""
        mode, base, root = self._volume.apply_mode, plan.base, self._volume.root
        if mode == "atomic" or not isinstance(source, FromPatches) or root is None or base is None:
            return False
        if base.links > 1:
            return False  # other names may be meant to show something else, and are recorded one by one
        if plan.keep or is_promised or plan.path in self._refused or plan.content.kind is not Kind.FILE:
            return False
        if mode == "auto" and (root.stage.can_clone or base.size <= COPY_SIZE_MAX):
            return False
        # The kernel takes a capability away from what is written to.
        has_capability = any(name == _CAPABILITY for name, _ in base.xattrs)
        if has_capability or plan.mtime_ns is None or not is_dressed(plan, base, self._volume.treated(plan.path)):
            return False
        return can_overwrite(plan.content, source)

    def is_settling(self, path: RelPath) -> bool:
        """Return whether nothing may be done at a path yet; it is applied later."""
        return path in self._settling

    def done(self, path: RelPath, log_name: bytes) -> None:
        """It was overwritten: that is to be on the disk before its log goes."""
        self._later(path, lambda root: root.stage.settle_overwrite(log_name))

    def not_done(self, path: RelPath, log_name: bytes, kept: bytes) -> None:
        """It was not overwritten, and is replaced the next time."""
        if len(self._refused) >= REFUSED_MAX:
            self._refused.clear()
        self._refused.add(path)
        self._later(path, lambda root: root.stage.drop_overwrite(log_name, kept))

    def replaced(self, path: RelPath) -> None:
        """What is there now was put there as a whole: the next one may be another matter."""
        self._refused.discard(path)

    def _later(self, path: RelPath, work: Callable[[Root], None]) -> None:
        assert self._volume.nursery is not None
        self._settling.add(path)
        self._volume.nursery.start_soon(self._do, path, work)

    async def _do(self, path: RelPath, work: Callable[[Root], None]) -> None:
        try:
            await self._volume.with_root(work)
        except (OSError, CsfsError, trio.ClosedResourceError) as error:
            log.warning("%s: %s: left for the next mount: %s", self._volume.name, shown(path), error)
        finally:
            self._settling.discard(path)
            if self._volume.is_pending(path):
                self._volume.apply_soon([path])
