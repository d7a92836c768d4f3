"""Where the content of a file to install comes from: memory, a file that is here under any name, a kept version, a peer."""

import errno
import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import msgspec

from csfs.core.objects import Content, Kind, Observation
from csfs.core.paths import RelPath, shown
from csfs.core.rows import Plan, Step
from csfs.core.versions import Dot
from csfs.errors import ContentMismatchError, CsfsError
from csfs.replicate.fetcher import Fetcher
from csfs.replicate.volume import Volume
from csfs.store.blocks import touched_pages
from csfs.store.hashing import BLOCK_SIZE, FILE_SIZE_MAX, page_count
from csfs.store.patching import FromPatches, extents_of
from csfs.store.stage import FromBytes, FromKept, FromPartial, FromStage, FromTree, Leftover, Source

log = logging.getLogger(__name__)

LARGE_FETCHES_MAX = 8
SMALL_FETCHES_MAX = 16
"""Contents of one block that are asked for at once; they do not wait for larger ones."""
REFETCH_S_MIN = 0.25
REFETCH_S_MAX = 5.0
"""Who has just connected may not be mounted yet; who has a content no more is not to be asked all the time."""
MISSES_MAX = 10_000
COPIED_SIZE_MAX = 8 * 1024 * 1024
"""To copy that much takes a few milliseconds, for which others may wait."""
_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(slots=True)
class _Queue:
    """Contents that are to be fetched, by as many tasks at once at most: a task for each would take much memory."""

    tasks_max: int
    tasks: int = 0
    plans: deque[Plan] = field(default_factory=deque)


class Sources:
    """Finds contents for one volume's applier, and fetches what is not here."""

    def __init__(self, volume: Volume, fetcher: Fetcher, discard: Callable[[bytes], None]) -> None:
        self._volume = volume
        self._fetcher = fetcher
        self.discard_later = discard
        self._finished: dict[bytes, bool] = {}
        """Contents whose partial file is complete, and whether each of its blocks was verified."""
        self._left: dict[bytes, Leftover] = {}
        self._wrong: set[Source] = set()
        self._fetching: dict[bytes, set[RelPath]] = {}
        self._misses: dict[bytes, int] = {}
        """How often nobody had a content that is still wanted."""
        self._small, self._large = _Queue(SMALL_FETCHES_MAX), _Queue(LARGE_FETCHES_MAX)

    def plan(self, path: RelPath) -> Plan | None:
        """Return the plan for a path: what is next best where nobody who could be asked last has the content of what is best (R21)."""
        plan = self._volume.engine.plan(path, undressed=path in self._volume.shortcomings.undressed)
        needed = plan.needed if plan is not None else None
        if plan is None or needed is None or needed.hash not in self._misses or self.supply(plan) is not None:
            return plan
        return self._volume.engine.plan(path, self._misses.keys()) or plan

    def supply(self, plan: Plan) -> Source | None:
        """Return where to find what a plan needs; have it fetched if it is not here, or takes long to copy."""
        assert plan.needed is not None, "a plan that needs nothing"
        wanted = msgspec.structs.replace(plan, content=plan.needed)
        source = self.find(wanted)
        if source is None or self._takes_long(source, wanted):
            self.fetch(wanted)
            return None
        return source

    def _takes_long(self, source: Source, plan: Plan) -> bool:
        """Return whether a content is to be copied beside the rounds, in which everything else of the volume would wait for it."""
        content = plan.content
        if content.size <= COPIED_SIZE_MAX or not isinstance(source, FromTree | FromKept):
            return False
        # Without its table, or where it came to nothing, it is copied as a whole.
        return content.hash not in self._misses and bool(self._volume.index.tables.summary(content.hash))

    def find(self, plan: Plan) -> Source | None:
        """Return where the content of `plan` can be had at once, None if it has to be fetched."""
        content = plan.content
        if content.size == 0:
            return FromBytes(b"")
        data = self._volume.contents.get(content.hash)
        if data is not None:
            return FromBytes(data)
        if content.hash in self._finished:
            return FromPartial(self._finished[content.hash])
        if content.hash in self._left:
            return FromStage(self._left[content.hash].name)
        elsewhere: list[Source] = [FromTree(p) for p in self._volume.index.rows.paths_with_hash(content.hash)]
        elsewhere += [FromKept(n) for n, _ in self._volume.index.ledger.kept_with_hash(content.hash)]
        found = next((source for source in elsewhere if source not in self._wrong), None)
        return found or self._held(content.hash) or self._patched(plan)

    def _held(self, content_hash: bytes) -> FromBytes | None:
        """Return what is held for merges."""
        data = self._volume.index.bases.content(content_hash)
        return FromBytes(data) if data is not None else None

    def _patched(self, plan: Plan) -> FromPatches | None:
        """Return how to make the content of what is shown, if all that was written to that is at hand."""
        base = plan.base
        if base is None or base.kind is not Kind.FILE:
            return None
        patches = self._volume.patches.chain(base.hash, plan.content.hash)
        if not patches or patches[-1].size != plan.content.size:
            return None
        if max(base.size, *(patch.size for patch in patches)) > FILE_SIZE_MAX:
            return None
        table = None
        if base.size > BLOCK_SIZE:
            # Of what was cut off and is zeros now nothing is read; of what is behind the old end there are no pages.
            touched = touched_pages(base.size, plan.content.size, extents_of(base.size, patches))
            pages = sorted(number for number in touched if number < page_count(base.size))
            table = self._volume.index.tables.part(base.hash, base.size, pages)
            if table is None:
                return None
        return FromPatches(plan.path, base, table, patches)

    def is_copied_from(self, plan: Plan) -> bool:
        """Return whether a plan takes away what is being copied to where it is to be shown: it waits until that is done.

        Not for what could not be copied once: that is asked of peers, again and again.
        """
        base = plan.base
        if plan.step is not Step.REMOVE or base is None or base.hash in self._misses:
            return False
        waiting = self._fetching.get(base.hash)
        if waiting is None:
            return False
        waiting.add(plan.path)
        return True

    async def obtained(self, plan: Plan) -> bool:
        """Have the content of `plan` fetched if it is not here; return whether it is here then."""
        if self.find(plan) is None:
            self.fetch(plan)
            await self._volume.progress.wait_until(lambda: plan.content.hash not in self._fetching)
        return self.find(plan) is not None

    def arrived(self, content_hash: bytes, *, verified: bool = False) -> None:
        """All of a content was written to its partial file; `verified`: and each block was what its hash says."""
        self._finished[content_hash] = verified

    @property
    def fetching(self) -> set[bytes]:
        """The hashes of the contents that are being fetched."""
        return set(self._fetching)

    def adopt(self, left: Sequence[Leftover]) -> None:
        """Take over what an earlier run, or an earlier mount in this one, left in the stage."""
        for leftover in left:
            known = self._left.get(leftover.hash)
            if leftover.kind is Kind.FILE and known is None:
                self._left[leftover.hash] = leftover
            elif known is None or known.name != leftover.name:
                self.discard_later(leftover.name)

    def left_stage(self, names: Collection[bytes]) -> None:
        """What was left in the stage under these names is among the kept versions now."""
        self._left = {content: left for content, left in self._left.items() if left.name not in names}

    def unused(self) -> list[Leftover]:
        """Return, once, what an earlier run left and nothing used."""
        left, self._left = list(self._left.values()), {}
        return left

    def used(self, content_hash: bytes) -> None:
        """The content is on disk now: what was held for it may go."""
        self._volume.contents.drop(content_hash)
        self._finished.pop(content_hash, None)
        self._left.pop(content_hash, None)
        self._fetcher.arrived.pop(content_hash, None)

    def failed(self, source: Source, content_hash: bytes) -> None:
        """What was there did not have the content after all."""
        self._finished.pop(content_hash, None)
        self._left.pop(content_hash, None)
        self._fetcher.arrived.pop(content_hash, None)
        self._volume.contents.drop(content_hash)
        if isinstance(source, FromPatches):
            self._volume.patches.drop(content_hash)
        else:
            self._wrong.add(source)

    def fetch(self, plan: Plan) -> None:
        """Have the content of `plan` fetched, once for all paths that want it; the path is applied when it is here."""
        waiting = self._fetching.get(plan.content.hash)
        if waiting is not None:
            waiting.add(plan.path)
            return
        self._fetching[plan.content.hash] = {plan.path}
        queue = self._small if plan.content.size <= BLOCK_SIZE else self._large
        queue.plans.append(plan)
        if queue.tasks < queue.tasks_max:
            queue.tasks += 1
            assert self._volume.nursery is not None
            self._volume.nursery.start_soon(self._fetch_queued, queue)

    async def _fetch_queued(self, queue: "_Queue") -> None:
        while queue.plans:
            await self._fetch(queue.plans.popleft())
        queue.tasks -= 1

    async def _fetch(self, plan: Plan) -> None:
        content = plan.content
        arrived = False
        try:
            arrived = await self._fetcher.fetch(plan)
        except Exception:
            # One content's bug must not end what the volume needs for the others.
            log.exception("%s: unexpected error fetching %s", self._volume.name, shown(plan.path))
        finally:
            paths = self._fetching.pop(content.hash)
            self._volume.progress.notify()
        if arrived:
            self._misses.pop(content.hash, None)
            self._wrong.clear()
            if content.size > BLOCK_SIZE:
                self.arrived(content.hash, verified=True)
            self._volume.apply_soon(paths)
            return
        self._fetcher.arrived.pop(content.hash, None)
        # It stays wanted until somebody who has the content is reachable; what is next best is live meanwhile (R21).
        if len(self._misses) >= MISSES_MAX:
            self._misses.clear()
        misses = self._misses[content.hash] = self._misses.get(content.hash, 0) + 1
        if misses == 1:
            self._volume.apply_soon(paths)
            log.info("%s: nobody reachable has the content of %s", self._volume.name, shown(plan.path))
        if self._fetcher.requesters:  # else whoever connects next has all that is pending applied
            delay_s = min(REFETCH_S_MAX, REFETCH_S_MIN * 2 ** min(misses - 1, 8))
            self._volume.later(delay_s, lambda: self._volume.apply_soon(paths))


def wanting(path: RelPath, content: Content, author: Dot | None, base: Observation | None = None) -> Plan:
    """Return a plan that stands for a content that is wanted here, whatever becomes of it; `author` is asked for it first."""
    return Plan(
        path=path,
        step=Step.INSTALL,
        expected=None,
        base=base,
        content=content,
        meta=None,
        mtime_ns=None,
        keep=False,
        content_dot=author,
        content_seen={},
        meta_dot=None,
        meta_seen={},
    )


def is_at_fault(source: Source, error: OSError | CsfsError) -> bool:
    """Return whether a content could not be built because of where it was to come from, not of where it was to go."""
    if isinstance(error, ContentMismatchError | FileNotFoundError):
        return True
    # A file of the tree may be anything by now: a directory, a link, below what is a file.
    is_elsewhere = isinstance(source, FromTree | FromKept | FromPatches)
    return is_elsewhere and isinstance(error, OSError) and error.errno not in _ROOM
