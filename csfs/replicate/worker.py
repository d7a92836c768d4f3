"""One volume's workers on this member, wired together: observer, directories, applier, fetcher, comparison, retention."""

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable

import trio

from csfs.core.groups import Rules
from csfs.core.objects import Applied
from csfs.core.paths import ROOT
from csfs.errors import CsfsError, UnwritableError
from csfs.index.ledger import Cause, KeptVersion
from csfs.replicate.acting import Actions
from csfs.replicate.applier import Applier
from csfs.replicate.compare import compare
from csfs.replicate.counting import Counting
from csfs.replicate.directories import Directories
from csfs.replicate.durability import Durability
from csfs.replicate.fetcher import Fetcher
from csfs.replicate.forgetting import Forgetting
from csfs.replicate.gate import Gate
from csfs.replicate.merging import Merger
from csfs.replicate.observer import Observer
from csfs.replicate.progress import Progress
from csfs.replicate.resting import Resting
from csfs.replicate.retention import Retention, awaited_contents
from csfs.replicate.sorting import Sorting
from csfs.replicate.sources import Sources
from csfs.replicate.strangers import Strangers
from csfs.replicate.sweeping import Sweeping, cleaned
from csfs.replicate.underneath import Underneath
from csfs.replicate.validating import Validation
from csfs.replicate.volume import Root, Volume
from csfs.store.boot import boot_id
from csfs.store.stage import Stage
from csfs.store.tree import Tree

log = logging.getLogger(__name__)

MAINTENANCE_S = 60.0
RESTART_S = 1.0
CHECKPOINT_S = 1.0
SIGHTS_AT_ONCE_MAX = 2
"""Answers to peers that ask what the disk shows: each holds a thread for as long as a file, which may be a whole disk, is read."""
UNKNOWN = Applied(observation=None)
"""Of what an earlier run left, nothing is known but its bytes."""


class VolumeWorker:
    """Runs one volume as long as the daemon lives, mounted or not."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self.directories = Directories(volume)
        self.observer = Observer(volume, self.directories)
        self.fetcher = Fetcher(volume)
        self.progress = Progress(volume.name, volume.progress, self.fetcher.reading)
        self.sources = Sources(volume, self.fetcher, self._discard_later)
        self.sweeping = Sweeping(volume, self.sources, self.observer.aside.is_told)
        self.validation = Validation(volume, self.sources.failed)
        self.applier = Applier(volume, self.directories, self.observer, self.sources, self.validation)
        self.merger = Merger(volume, self.sources, self.validation, self.observer.is_unseen)
        self.actions = Actions(volume)
        self.underneath = Underneath(volume, self.observer)
        self.durability = Durability(volume)
        self.forgetting = Forgetting(volume)
        self.counting = Counting(volume)
        self.sights_limit = trio.Semaphore(SIGHTS_AT_ONCE_MAX)
        self.failure = -float("inf"), ""  # when a worker failed last, by trio's clock, and how
        self._discarded: list[bytes] = []
        self.retention = Retention(volume)
        self._mount = b""
        self._compared = volume.index.ledger.compared
        # Written back by `close`: who is killed has forgotten what was still to be looked at.
        with volume.index.transaction():
            volume.index.ledger.set_compared(b"")

    def close(self) -> None:
        """End, after `run` was cancelled: with nothing left to look at, the next start need not compare the whole tree."""
        volume = self.volume
        if self._is_idle():
            with contextlib.suppress(UnwritableError), volume.index.transaction():
                volume.index.ledger.set_compared(self._compared)
        volume.index.close()

    def _is_idle(self) -> bool:
        volume, observer = self.volume, self.observer
        is_waiting = observer.compare_wanted or volume.comparing or volume.uncompared or volume.in_flight
        return not (is_waiting or volume.problems or volume.index.rows.pending()) and (
            observer.idle and self.directories.idle and self.applier.idle
        )

    async def run(self) -> None:
        """Run all workers, for ever."""
        volume = self.volume
        async with trio.open_nursery() as nursery:
            volume.nursery = nursery
            for task in (
                self.observer.run,
                self.directories.run,
                self.applier.run,
                self.applier.take_stock_when_due,
                self.merger.run,
                self._compare,
                self._maintain,
                self._keep_index,
                Resting(volume, lambda: self.observer.idle).run,
                Sorting(volume).run,
                Strangers(volume).run,
                self.progress.run,
                self.forgetting.run,
                self.counting.run,
                self.actions.run,
                self.actions.watch_conflicts,
                self.underneath.take,
                self.underneath.tell_mount,
                self.underneath.compare_at_times,
            ):
                nursery.start_soon(self._keep_running, task)

    async def _keep_running(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run a worker again after a bug, loudly: one volume's bug must not end what the host needs for the others."""
        while True:
            try:
                await task()
            except UnwritableError as error:
                log.error("%s: %s", self.volume.name, error)
                self.compare_all()
                await trio.sleep(RESTART_S)
            except Exception as error:
                self.failure = trio.current_time(), repr(error)
                log.exception("%s: unexpected error; goes on in %g s", self.volume.name, RESTART_S)
                self.compare_all()
                await trio.sleep(RESTART_S)

    # ----------------------------------------------------------------------------------------------- mounted, unmounted

    async def attach_root(self, descriptor: int) -> None:
        """The volume is mounted: look at it through `descriptor`, the directory underneath, which is ours now."""
        volume = self.volume
        tree = Tree(descriptor, treated=volume.treated)
        stage = await trio.to_thread.run_sync(Stage, tree)
        identity = await trio.to_thread.run_sync(stage.identity)
        volume.stopped = await self._checked_identity(stage, identity)
        if volume.stopped:
            log.error("%s: %s", volume.name, volume.stopped)
        # Of what was to be overwritten when the daemon ended, and was not, nobody noted the blocks.
        blocks = await trio.to_thread.run_sync(stage.settle_overwrites)
        if not volume.stopped:
            unknown = [name for name in blocks if not volume.index.ledger.is_kept(name)]
            await trio.to_thread.run_sync(stage.kept.delete_all, unknown)
            await self.sweeping.look_at_kept(stage)
        leftovers = await trio.to_thread.run_sync(stage.leftovers)
        # From here on nothing fails: who called would close a descriptor that is in use.
        volume.root = Root(descriptor, tree, stage, identity=volume.index.ledger.volume_identity or b"")
        if not volume.stopped:
            volume.apply_soon(volume.index.rows.pending())
        self.sources.adopt(leftovers)
        volume.ready.notify()
        volume.progress.notify()
        volume.comparison.notify()

    async def _checked_identity(self, stage: Stage, identity: bytes | None) -> str:
        """Return why this root must not be replicated, or nothing: a root that was swapped is not a mass delete."""
        known = self.volume.index.ledger.volume_identity
        if known is None:
            if identity is None:
                identity = secrets.token_bytes(16)
                await trio.to_thread.run_sync(stage.write_identity, identity)
            with self.volume.index.transaction():
                self.volume.index.ledger.set_volume_identity(identity)
            return ""
        if identity == known:
            return ""
        found = "no identity" if identity is None else "another identity"
        return (
            f"the directory underneath has {found} in .csfs/identity: is the right file system mounted below? "
            "Nothing is replicated, so that an empty root is not taken for a mass delete. To begin anew with what is "
            f"there, stop the daemon and remove the index of volume {self.volume.name!r}"
        )

    async def detach_root(self) -> None:
        """The volume was unmounted: close the directory underneath, once nothing uses it."""
        root, self.volume.root = self.volume.root, None
        self.volume.ready.notify()
        if root is None:
            return
        await self.volume.progress.wait_until(lambda: root.users == 0)
        root.stage.close()
        os.close(root.descriptor)

    def mount_began(self, *, mount: bytes, clean: bool) -> None:
        """A mount process said hello; `mount` names its life, in which the tree may have been compared before.

        If it was not, its rows do not tell all that was written since the last look: until it is, what they name is read whole.
        """
        self._mount = mount
        if not clean or self._compared != self._comparable:
            self.observer.compare_wanted.add(ROOT)
            self.volume.uncompared = True

    def attach_gate(self, gate: Gate) -> None:
        """The mount that has begun is all there: commits can be made through it, and it can be compared."""
        volume = self.volume
        volume.gate = gate
        volume.ready.notify()
        volume.progress.notify()
        volume.comparison.notify()

    def detach_gate(self, gate: Gate) -> None:
        """The mount process is gone."""
        gate.close()
        if self.volume.gate is gate:
            self.volume.gate = None
        self.volume.ready.notify()
        self.volume.progress.notify()

    # -------------------------------------------------------------------------------------------------------- comparing

    def follow(self, rules: Rules) -> bool:
        """Follow other rules from now on; return whether scopes differ. What they newly cover, or tell, is found by comparing."""
        flagged, differ = self.volume.rules.flagged, self.volume.set_rules(rules)
        if differ:
            self.merger.begin()
        if differ or rules.flagged - flagged:
            self.compare_all()
        return differ

    def compare_all(self) -> None:
        """Changes may be missing: compare the whole tree."""
        self.observer.compare_wanted.add(ROOT)
        self.volume.comparison.notify()

    async def _compare(self) -> None:
        volume = self.volume
        while True:
            await volume.comparison.wait_until(self._comparison_due)
            await volume.ready.wait_until(lambda: volume.root is not None and not volume.stopped)
            joining = volume.index.ledger.pulling
            wanted, self.observer.compare_wanted = self.observer.compare_wanted, set()
            volume.comparing = True
            try:
                if joining:
                    volume.engine.finish_pull()
                for path in [ROOT] if joining or ROOT in wanted else sorted(wanted):
                    await compare(volume, self.observer, path, joining=joining)
                is_whole = (ROOT in wanted or joining) and ROOT not in self.observer.compare_wanted
                with volume.index.transaction():
                    volume.index.ledger.set_pulling(False)
                    if is_whole:
                        volume.index.ledger.set_whole(boot_id())
                if is_whole and volume.evidence is not None:
                    # What is not believed is not to be proved by an fsync of this boot, should the power go again.
                    await trio.to_thread.run_sync(volume.index.sync, abandon_on_cancel=True)
                    volume.evidence = None
                if is_whole:
                    self._compared = self._comparable
                    volume.compared_at = trio.current_time()
                    volume.uncompared = False
            except (OSError, CsfsError, trio.ClosedResourceError) as error:
                log.error("%s: comparison failed: %s", volume.name, error)
                self.observer.compare_wanted |= wanted
                await trio.sleep(1)
            finally:
                volume.comparing = False
            volume.apply_soon(volume.index.rows.pending())
            volume.ready.notify()
            volume.progress.notify()

    @property
    def _comparable(self) -> bytes:
        """What one comparison holds for: a life of the mount, and groups that keep flags the same, of which no stamp tells."""
        return self._mount + b"".join(sorted(self.volume.rules.flagged))

    @property
    def is_compared(self) -> bool:
        """Whether no comparison is under way or about to begin, nor stock being taken before it, nor rows sorted by new rules."""
        volume = self.volume
        is_due = self._comparison_due() or (volume.stock_due and volume.mounted)
        return volume.is_sorted and not (volume.comparing or (is_due and not volume.stopped))

    def _comparison_due(self) -> bool:
        volume = self.volume
        if not volume.mounted or volume.stock_due:
            return False
        if volume.index.ledger.pulling:
            return volume.heard_all
        return bool(self.observer.compare_wanted)

    # ------------------------------------------------------------------------------------------------------- maintenance

    def _discard_later(self, staged: bytes) -> None:
        self._discarded.append(staged)

    async def _maintain(self) -> None:
        volume = self.volume
        while True:
            with trio.move_on_after(MAINTENANCE_S) as patience:
                await volume.cramped.wait()
            ledger, retention = volume.index.ledger, self.retention
            bytes_max, cramped = await retention.bytes_max(), volume.room_wanted > 0
            volume.room_wanted = 0
            added, is_due = ledger.kept_added, cramped or retention.is_due()
            surplus = await retention.surplus(bytes_max) if is_due else []
            discarded, self._discarded = self._discarded, []
            # What an earlier run left and nothing has asked for since may be the only copy of something.
            rescued = self.sources.unused() if patience.cancelled_caught and not volume.to_apply else []
            if surplus or discarded or rescued:
                awaited = await awaited_contents(volume.index)
                try:
                    gone, rescued = await volume.with_root(cleaned, surplus, discarded, rescued)
                except trio.ClosedResourceError:
                    continue
                with volume.index.transaction():
                    for name in gone:
                        ledger.drop_kept(name)
                    for left in rescued:
                        ledger.add_kept(
                            KeptVersion(
                                left.name, ROOT, time.time_ns(), left.size, left.hash, True, UNKNOWN, Cause.FOUND
                            )
                        )
                with volume.index.transaction():  # another one: what was kept just now has to be seen
                    volume.index.tables.prune(awaited | self.sources.fetching)
            with contextlib.suppress(trio.ClosedResourceError, OSError):  # the next time is soon enough
                if is_due:
                    await retention.share()
                await self._sweep()
            retention.looked(added)
            if cramped and surplus:
                volume.apply_soon(volume.index.rows.pending())

    async def _sweep(self) -> None:
        """Remove what was left of contents and versions that nobody will ask for, once it is known what is here."""
        if self.volume.may_apply:
            await self.sweeping.settle_kept()
            await self.sweeping.partials(await awaited_contents(self.volume.index))

    async def _keep_index(self) -> None:
        """Keep the index's log short, and find out when a disk that was full has room again."""
        index, written = self.volume.index, self.volume.written
        while True:
            if not (index.wants_checkpoint or index.trouble):
                await written.wait()
            await trio.sleep(CHECKPOINT_S)
            if index.wants_checkpoint:
                await trio.to_thread.run_sync(index.checkpoint)
                self.volume.progress.notify()
            if index.trouble:
                index.try_again()
                log.info("%s: the index can be written again", self.volume.name)
                self.compare_all()
