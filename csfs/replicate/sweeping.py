"""Removes what nobody asks for any more: parts of contents that were superseded while they arrived, objects in the kept store that
no version stands for."""

import contextlib
import logging
import time
from collections.abc import Collection, Sequence

import trio

from csfs.core.objects import Applied, Kind
from csfs.core.paths import ROOT
from csfs.index.ledger import Cause, KeptVersion
from csfs.replicate.sources import Sources
from csfs.replicate.volume import Root, Volume
from csfs.replicate.works import delete_kept
from csfs.store.blocks import hash_file
from csfs.store.kept import KeptEntry
from csfs.store.overwriting import BLOCKS_ONLY
from csfs.store.stage import Stage

log = logging.getLogger(__name__)

WATCHED = b"displaced."
"""How the names begin under which the mount keeps files that somebody has open: it removes them, or tells of them."""


class Sweeping:
    """Sweeps for one volume."""

    def __init__(self, volume: Volume, sources: Sources) -> None:
        self._volume = volume
        self._sources = sources
        self._unused: set[bytes] = set()
        """Partial contents that nobody wanted the last time."""
        self._unknown: list[KeptEntry] = []

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
        self._unknown = [
            entry
            for entry in await trio.to_thread.run_sync(_entries, stage)
            if not (ledger.is_kept(entry.name) or entry.name in under_way or entry.name.startswith(WATCHED))
        ]

    async def settle_kept(self) -> None:
        """What was noted goes, unless it may be the only one of its content: then it is kept as something found.

        Raises:
            trio.ClosedResourceError: the volume is not mounted.
        """
        while self._unknown:
            entry = self._unknown.pop()
            if not self._volume.index.ledger.is_kept(entry.name):
                with contextlib.suppress(FileNotFoundError):
                    await self._settle(entry)

    async def _settle(self, entry: KeptEntry) -> None:
        volume, index = self._volume, self._volume.index
        is_file = entry.kind is Kind.FILE and entry.stamp.size > 0 and not entry.name.endswith(BLOCKS_ONLY)
        digest = await volume.with_root(_hash_of, entry) if is_file else b""
        if not is_file or index.rows.paths_with_hash(digest) or index.ledger.kept_with_hash(digest):
            await volume.with_root(delete_kept, [entry.name])
            return
        log.info("%s: found among the kept versions, of nobody knows what: %s", volume.name, entry.name.decode())
        nothing, size = Applied(observation=None), entry.stamp.size
        with index.transaction():
            index.ledger.add_kept(
                KeptVersion(entry.name, ROOT, time.time_ns(), size, digest, True, nothing, Cause.FOUND)
            )


def _partials(root: Root) -> list[bytes]:
    return root.stage.partials.hashes()


def _discard(root: Root, hashes: Collection[bytes]) -> None:
    for content_hash in hashes:
        root.stage.partials.discard(content_hash)


def _hash_of(root: Root, entry: KeptEntry) -> bytes:
    with root.stage.kept.open_file(entry.name) as descriptor:
        return hash_file(descriptor, entry.stamp.size)[0]


def _entries(stage: Stage) -> Sequence[KeptEntry]:
    with contextlib.suppress(FileNotFoundError):
        return list(stage.kept.entries())
    return []
