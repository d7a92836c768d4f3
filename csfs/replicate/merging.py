"""Merges of one volume: holds what they may need before somebody writes over it, and makes those that fall to this member.

What a merge makes is in the index before it is known to anybody, in one transaction with it: a content that everybody wants must
not be one that nobody has.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

import trio

from csfs.core.merging import MERGED_SIZE_MAX
from csfs.core.objects import Content, Kind
from csfs.core.paths import ROOT, RelPath, shown
from csfs.core.versions import Dot
from csfs.engine.merging import Merge
from csfs.errors import CsfsError
from csfs.replicate.sources import Sources, wanting
from csfs.replicate.validating import Validation
from csfs.replicate.volume import Root, Volume
from csfs.store.hashing import hash_bytes
from csfs.store.observing import Limits
from csfs.store.stage import Source

log = logging.getLogger(__name__)

PATHS_MAX = 200
"""Paths whose contents are held in one transaction."""
MERGES_MAX = 4
"""Merges under way at the same time."""
REMEMBERED_MAX = 1_000
RETRY_S_MAX = 300.0


class Merger:
    """Makes one volume's merges."""

    def __init__(
        self, volume: Volume, sources: Sources, validation: Validation, is_unseen: Callable[[RelPath], bool]
    ) -> None:
        self._volume = volume
        self._is_unseen = is_unseen
        self._sources = sources
        self._validation = validation
        self._limiter = trio.Semaphore(MERGES_MAX)
        self._is_new = True
        self._under_way: set[RelPath] = set()
        self._contradictions: dict[RelPath, Merge] = {}
        """By path, a merge that came to nothing: it would again."""
        self._misses: dict[RelPath, int] = {}
        """How often in a row nobody had what a merge takes."""

    def begin(self) -> None:
        """Have everything looked at that was there before these rules, or before the start."""
        self._is_new = True
        self._volume.merge_wanted.notify()

    async def run(self) -> None:
        """Hold what is to be held, and merge, for ever."""
        volume = self._volume
        while True:
            if self._is_new and volume.merges:
                self._is_new = False
                volume.merge_soon(volume.index.rows.contested())
                await self._hold_all()
            await volume.merge_wanted.wait_until(lambda: bool(volume.to_merge) or (self._is_new and volume.merges))
            await volume.ready.wait_until(lambda: volume.root is not None and not volume.stopped)
            paths = [volume.to_merge.pop() for _ in range(min(PATHS_MAX, len(volume.to_merge)))]
            try:
                await self._hold(paths)
            except trio.ClosedResourceError:
                volume.to_merge.update(paths)  # unmounted in the middle
                continue
            except BaseException:
                volume.to_merge.update(paths)
                raise
            for path in paths:
                self._merge_soon(path)

    # --------------------------------------------------------------------------------------------------------- holding

    async def _hold_all(self) -> None:
        """Hold what paths show since before this group merged, or this member was told to stop, until the limit is reached."""
        volume, after = self._volume, ROOT
        while volume.merges and not volume.index.bases.is_full:
            await trio.lowlevel.checkpoint()
            await volume.ready.wait_until(lambda: volume.root is not None and not volume.stopped)
            paths = volume.index.bases.missing(after, PATHS_MAX)
            if not paths:
                return
            try:
                await self._hold(paths)
            except trio.ClosedResourceError:
                continue
            after = paths[-1]

    async def _hold(self, paths: Sequence[RelPath]) -> None:
        """Hold what merges at these paths may need, and nothing else."""
        volume, bases = self._volume, self._volume.index.bases
        wanted = {path: volume.engine.held(path) for path in paths}
        lacking = {path: self._shown(path) for path in paths}
        lacking = {p: c for p, c in lacking.items() if c and c in wanted[p] and c not in bases.held(p)}
        if bases.is_full:
            # What is edited takes the place of what is not; what comes for the first time does not.
            lacking = {path: content for path, content in lacking.items() if len(wanted[path]) > 1 or bases.held(path)}
        found = await volume.with_root(_read, lacking) if lacking else {}
        with volume.index.transaction():
            for path in paths:
                for content_hash in bases.held(path) - volume.engine.held(path):
                    bases.release(path, content_hash)
            for path, data in found.items():
                # What has changed meanwhile is looked at again.
                if lacking[path] in volume.engine.held(path):
                    bases.hold(path, lacking[path], data if b"\0" not in data else b"")
            if found:
                bases.trim()

    def _shown(self, path: RelPath) -> bytes:
        row = self._volume.index.rows.row(path)
        found = row.applied.observation if row is not None else None
        return found.hash if found is not None and found.kind is Kind.FILE and found.size <= MERGED_SIZE_MAX else b""

    # --------------------------------------------------------------------------------------------------------- merging

    def _merge_soon(self, path: RelPath) -> None:
        due = self._volume.engine.merge_due(path)
        if due is None or path in self._under_way or self._contradictions.get(path) == due:
            return
        self._under_way.add(path)
        assert self._volume.nursery is not None
        self._volume.nursery.start_soon(self._merge, path, due)

    async def _merge(self, path: RelPath, due: Merge) -> None:
        volume = self._volume
        made = False
        try:
            async with self._limiter:
                made = await self._make(path, due)
        except trio.ClosedResourceError:
            pass  # unmounted: whoever connects, or mounts, next has it tried again
        except (OSError, CsfsError) as error:
            log.warning("%s: %s not merged: %s", volume.name, shown(path), error)
        except Exception:
            # One path's bug must not end what the volume needs for the others.
            log.exception("%s: unexpected error merging %s", volume.name, shown(path))
        finally:
            self._under_way.discard(path)
        if made or volume.engine.merge_due(path) not in (None, due):
            volume.merge_soon([path])

    async def _make(self, path: RelPath, due: Merge) -> bool:
        """Make a merge; return whether it was made."""
        volume = self._volume
        contents = await self._contents(path, due)
        if contents is None:
            self._missed(path)
            return False
        self._misses.pop(path, None)
        result = await trio.to_thread.run_sync(due.made, contents.__getitem__)
        reason = "the versions contradict each other" if result is None else ""
        if result is not None:
            reason = await self._validation.merge_verdict(path, result)
        if result is None or reason:
            log.info("%s: %s is not merged: %s", volume.name, shown(path), reason)
            if len(self._contradictions) >= REMEMBERED_MAX:
                self._contradictions.clear()
            self._contradictions[path] = due
            return False
        digest = hash_bytes(result)[0]
        with volume.index.transaction():
            if not volume.engine.merge(due, digest, len(result), time.time_ns()):
                return False
            volume.index.bases.hold(path, digest, result)
            # What was merged under a name from which others had moved it goes where it is.
            followed = volume.engine.follow([path], time.time_ns(), self._is_unseen)
        volume.contents.put(digest, result)
        volume.apply_soon([path, *volume.engine.woken(), *followed])
        volume.merge_soon(followed)
        volume.records_changed()
        log.info("%s: %s: %d versions merged", volume.name, shown(path), len(due.versions))
        return True

    def _missed(self, path: RelPath) -> None:
        """Try again in a while: who has what it takes may not be mounted yet. Whoever connects has it tried again, too."""
        volume = self._volume
        if len(self._misses) >= REMEMBERED_MAX:
            self._misses.clear()
        misses = self._misses[path] = self._misses.get(path, 0) + 1
        if misses == 1:
            log.info("%s: %s is not merged: nobody reachable has all that it takes", volume.name, shown(path))
        if volume.exchanges:
            volume.later(min(RETRY_S_MAX, 2.0 ** min(misses, 16)), lambda: volume.merge_soon([path]))

    async def _contents(self, path: RelPath, due: Merge) -> dict[bytes, bytes] | None:
        """Return the contents that a merge takes, None if one of them is not to be had."""
        authors: Mapping[bytes, Dot] = {entry.value.hash: entry.dot for entry in due.versions}
        contents: dict[bytes, bytes] = {}
        for content_hash, size in due.needed().items():
            plan = wanting(path, Content(Kind.FILE, size, content_hash), authors.get(content_hash))
            if not await self._sources.obtained(plan):
                return None
            source = self._sources.find(plan)
            if source is None:
                return None
            contents[content_hash] = await self._volume.with_root(_content, plan.content, source)
        return contents


def _read(root: Root, wanted: Mapping[RelPath, bytes]) -> dict[RelPath, bytes]:
    """Return the contents of those files that are still what they were; for a thread."""
    found = {}
    for path, content_hash in wanted.items():
        try:
            look = root.tree.look(path, content_changed=True, limits=Limits(MERGED_SIZE_MAX))
        except (OSError, CsfsError):
            continue
        if look is not None and look.content is not None and look.observation.hash == content_hash:
            found[path] = look.content
    return found


def _content(root: Root, content: Content, source: Source) -> bytes:
    return root.stage.read(content, source)
