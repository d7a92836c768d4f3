"""Removes what nobody asks for any more: parts of contents that were superseded while they arrived, objects in the kept store that
no version stands for."""

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Sequence

import trio

from csfs.core.objects import Applied, Kind, Observation
from csfs.core.paths import ROOT, RelPath
from csfs.errors import CsfsError
from csfs.index.ledger import Cause, KeptVersion
from csfs.replicate.sources import Sources
from csfs.replicate.volume import Root, Volume
from csfs.replicate.works import delete_kept
from csfs.store.kept import KeptEntry
from csfs.store.overwriting import BLOCKS_ONLY
from csfs.store.stage import Leftover, Stage
from csfs.wire.control import KEPT

log = logging.getLogger(__name__)

WATCHED = b"displaced."
"""How the names begin under which the mount keeps files that somebody has open: it removes them, or tells of them."""


class Sweeping:
    """Sweeps for one volume."""

    def __init__(self, volume: Volume, sources: Sources, is_told: Callable[[bytes], bool]) -> None:
        """`is_told`: a row tells of that object, and it is going to be a version."""
        self._volume = volume
        self._is_told = is_told
        self._sources = sources
        self._unused: set[bytes] = set()
        """Partial contents that nobody wanted the last time."""
        self._unknown: dict[bytes, KeptEntry] = {}

    async def partials(self, awaited: Collection[bytes]) -> None:
        """Remove partial contents that are not `awaited`, nor were the last time: between, somebody may have been about to want one.

        Raises:
            trio.ClosedResourceError: the volume is not mounted.
        """
        held = await self._volume.with_root(_partials)
        unused = {content for content in held if content not in awaited and content not in self._sources.fetching}
        gone, self._unused = unused & self._unused, unused
        if gone:
            for content_hash in gone:
                self._sources.used(content_hash)
            await self._volume.with_root(_discard, gone)

    async def look_at_kept(self, stage: Stage) -> None:
        """Note what is in the kept store that no version stands for; before anything is committed through a new root.

        A stop between an object there and word of it left that.
        """
        ledger = self._volume.index.ledger
        under_way = {plan.kept for plan in ledger.intents()}
        self._unknown = {
            entry.name: entry
            for entry in await trio.to_thread.run_sync(_entries, stage)
            if not (ledger.is_kept(entry.name) or entry.name in under_way or entry.name.startswith(WATCHED))
        }

    async def settle_kept(self) -> None:
        """What was noted goes, unless it may be the only one of its content: then it is kept as something found.

        Raises:
            trio.ClosedResourceError: the volume is not mounted.
        """
        for entry in list(self._unknown.values()):
            try:
                await self._settle(entry)
            except (OSError, CsfsError) as error:
                log.warning("%s: kept version %r is looked at later: %s", self._volume.name, entry.name, error)
            else:
                self._unknown.pop(entry.name, None)

    async def _settle(self, entry: KeptEntry) -> None:
        volume, index = self._volume, self._volume.index
        if index.ledger.is_kept(entry.name) or self._is_told(entry.name):
            return
        found = await volume.with_root(_worth_keeping, entry)
        if found is None or (found.kind is Kind.FILE and await self._is_elsewhere(found.hash)):
            await volume.with_root(delete_kept, [entry.name])
            return
        log.info("%s: found among the kept versions, of nobody knows what: %r", volume.name, entry.name)
        applied, now_ns = Applied(observation=found), time.time_ns()
        with index.transaction():
            index.ledger.add_kept(
                KeptVersion(entry.name, ROOT, now_ns, found.size, found.hash, True, applied, Cause.FOUND)
            )

    async def _is_elsewhere(self, content_hash: bytes) -> bool:
        """Return whether a content is at another place, too. After a power cut the disk may lack what the index has: it is read."""
        index = self._volume.index
        kept = [_path_of(name) for name, _ in index.ledger.kept_with_hash(content_hash)]
        return await self._volume.with_root(_is_any, [*index.rows.paths_with_hash(content_hash), *kept], content_hash)


def _partials(root: Root) -> list[bytes]:
    return root.stage.partials.hashes()


def _discard(root: Root, hashes: Collection[bytes]) -> None:
    for content_hash in hashes:
        root.stage.partials.discard(content_hash)


def _path_of(name: bytes) -> RelPath:
    return RelPath(KEPT + b"/" + name)


def _worth_keeping(root: Root, entry: KeptEntry) -> Observation | None:
    """Return what is there; None for what has no content of its own, and for nothing."""
    if entry.kind is Kind.DIRECTORY or entry.name.endswith(BLOCKS_ONLY):
        return None
    found = root.tree.observe(_path_of(entry.name))
    return None if found is not None and found.kind is Kind.FILE and not found.size else found


def _is_any(root: Root, places: Sequence[RelPath], content_hash: bytes) -> bool:
    for place in places:
        with contextlib.suppress(OSError, CsfsError):
            found = root.tree.observe(place)
            if found is not None and found.hash == content_hash:
                return True
    return False


def _entries(stage: Stage) -> Sequence[KeptEntry]:
    with contextlib.suppress(FileNotFoundError):
        return list(stage.kept.entries())
    return []


def cleaned(
    root: Root, kept: Sequence[bytes], staged: Sequence[bytes], left: Sequence[Leftover]
) -> tuple[list[bytes], list[Leftover]]:
    """Delete kept versions that retention let go, and what was staged in vain; keep what was left. For a thread.

    Returns the versions that are gone, which is all that nobody has open for writing, and what was left and could be kept: a commit
    under way may have used some of it.
    """
    rescued = []
    for leftover in left:
        with contextlib.suppress(FileNotFoundError):
            root.stage.rescue(leftover.name, leftover.name)
            rescued.append(leftover)
    gone = root.stage.kept.delete_closed(kept)
    for name in staged:
        root.stage.discard(name)
    return gone, rescued
