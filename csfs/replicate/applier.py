"""Makes the disk show what is live: stages what is to be installed, and commits through the mount's gate.

In rounds: plan a batch, stage it in a thread, announce it, record what was done. Content that is not here is fetched beside
the rounds, so that a large file never holds up a small one.
"""

import errno
import heapq
import logging
import os
from collections.abc import Sequence

import msgspec
import trio

from csfs.core.objects import Observation
from csfs.core.paths import ROOT, RelPath, depth_of, parent_of, shown
from csfs.core.rows import Plan, Step
from csfs.engine.brake import QUIET_S
from csfs.engine.plans import is_carried_out
from csfs.errors import ContentMismatchError, CsfsError
from csfs.replicate import doubts
from csfs.replicate.announcing import commits_of, shown_after
from csfs.replicate.braking import Braking
from csfs.replicate.directories import Directories
from csfs.replicate.gate import COMMITS_MAX, staged_name
from csfs.replicate.keeping import Keeping
from csfs.replicate.linking import UNABLE, Leaders, is_taken_away, settled, shared_inode
from csfs.replicate.looking import ATTRIBUTES, Reason
from csfs.replicate.observer import Observer
from csfs.replicate.overwrites import Overwrites
from csfs.replicate.renames import Renames, plans_of, with_removals
from csfs.replicate.sources import Sources, is_at_fault
from csfs.replicate.validating import Validation
from csfs.replicate.volume import Volume
from csfs.replicate.wholes import Wholes
from csfs.replicate.works import Work, build, disturbed_by, is_little, is_racy, stock_of, stored_size
from csfs.store.dressing import as_problems
from csfs.store.overwriting import BLOCKS_ONLY
from csfs.store.stage import FromTree
from csfs.wire.control import CommitResult, Outcome

log = logging.getLogger(__name__)

PLANNED_MAX = COMMITS_MAX
RETRY_S_MAX = 60.0
REFUSED_RETRY_S_MAX = 1.0


class Applier:
    """Applies one volume's pending paths."""

    def __init__(
        self, volume: Volume, directories: Directories, observer: Observer, sources: Sources, validation: Validation
    ) -> None:
        self._volume = volume
        self._validation = validation
        self._directories = directories
        self._observer = observer
        self._sources = sources
        self.keeping = Keeping(volume)
        self.braking = Braking(volume)
        self._overwrites = Overwrites(volume)
        self.wholes = Wholes(volume, directories, observer, self._is_free)
        self._tries: dict[RelPath, int] = {}
        self._refused: set[RelPath] = set()
        """Paths that are looked at again in a moment."""
        self._busy = False

    @property
    def idle(self) -> bool:
        """Whether nothing is left to apply at the moment, or to try again soon."""
        is_left = self.braking.is_left
        self._refused = {path for path in self._refused if not (self._volume.is_settled(path) or is_left(path))}
        return not (self._busy or self._volume.to_apply or self._refused)

    async def run(self) -> None:
        """Apply what is pending, for ever."""
        volume = self._volume
        while True:
            await volume.apply_wanted.wait_until(lambda: bool(volume.to_apply))
            await volume.ready.wait_until(lambda: volume.may_apply)
            self._busy = True
            try:
                async with self.wholes.turn:
                    if volume.may_apply:
                        await self._round()
            except trio.ClosedResourceError:
                volume.apply_soon(volume.index.rows.pending())
            finally:
                self._busy = False
                volume.progress.notify()
                volume.settled.notify()

    async def _round(self) -> None:
        volume = self._volume
        batch = heapq.nsmallest(PLANNED_MAX, volume.to_apply, key=depth_of)
        volume.to_apply.difference_update(batch)
        works = self._planned(batch)
        if not works:
            return
        gate = volume.gate
        if gate is None:
            raise trio.ClosedResourceError("the mount went away")
        await volume.with_root(build, works, inline=is_little(works))
        ready = [work for work in works if work.error is None and self._are_current(work)]
        for work in works:
            if work.error is not None:
                self._not_built(work, work.error)
        if ready:
            commits, plans = commits_of(volume, ready, self._observer.digested), plans_of(ready)
            disturbed = disturbed_by(plans)
            with volume.index.transaction():
                volume.index.ledger.add_intents(plans)
                volume.index.ledger.disturb(disturbed)
            # Cancelled here, what is under way stays in flight: nobody knows what became of it.
            volume.in_flight, volume.disturbed = {plan.path for plan in plans}, disturbed
            try:
                ready, results = with_removals(ready, settled(await gate.commit(commits)))
                self._record(ready, results)
                outcomes = zip(ready, results, strict=True)
                await self._take_stock([w.plan for w, result in outcomes if result.outcome is Outcome.FAILED])
            except Exception:
                # What was sent may still be carried out: it stays in flight until stock is taken.
                volume.stock_due = True
                volume.ready.notify()
                raise
            volume.in_flight, volume.disturbed = set(), set()

    async def take_stock_when_due(self) -> None:
        """Take stock of the batch in whose middle the mount or the daemon went away, for ever.

        Only once a mount process has said hello: one that lost its connection still carries out what it had been sent, and
        the next begins when it has ended. Until then these paths stay in flight, and nothing is compared or applied.
        """
        volume = self._volume
        while True:
            await volume.ready.wait_until(lambda: volume.stock_due and volume.mounted and not volume.stopped)
            try:
                await self._take_stock(volume.index.ledger.intents())
                await self.wholes.take_stock()
            except trio.ClosedResourceError:
                continue  # unmounted again
            volume.in_flight, volume.disturbed = set(), set()
            volume.stock_due = False
            volume.apply_soon(volume.index.rows.pending())
            volume.ready.notify()
            volume.comparison.notify()
            volume.progress.notify()
            volume.settled.notify()

    async def _take_stock(self, plans: Sequence[Plan]) -> None:
        """Find out what became of commits whose outcome nobody recorded, before anything there is taken for somebody's change.

        What is known may have moved on since: what was installed would then be taken for a new version. What was left half
        set is completed (R20).
        """
        volume, plans = self._volume, sorted(plans, key=lambda plan: plan.link is not None)
        if not plans:
            return
        names = [volume.engine.other_names(plan) for plan in plans]
        found, kept, rescued = await volume.with_root(stock_of, plans, names)
        self._sources.left_stage(rescued)
        with volume.index.transaction():
            for plan, observation in zip(plans, found, strict=True):
                source = volume.engine.link_source(plan)
                is_done = is_carried_out(plan, observation, source, kept)
                self.keeping.take_stock(plan, kept, is_done=is_done)
                if is_done:
                    self._carried_out(plan, observation if plan.link is None else source)
                elif plan.step is Step.ATTRIBUTES and volume.engine.interrupted(plan, observation):
                    log.info("%s: %s was left half set, and is completed", volume.name, shown(plan.path))
            volume.index.ledger.drop_intents([plan.path for plan in plans])

    def _carried_out(self, plan: Plan, observation: Observation | None) -> None:
        self._volume.happenings.came(plan, observation, self._volume.authors)
        self._volume.apply_soon([plan.path, *self._volume.engine.applied(plan, observation, racy=True)])
        disturbed = disturbed_by([plan])
        self._volume.index.ledger.disturb(disturbed)
        for directory in disturbed:
            self._directories.mark(directory, local=False)

    def _is_free(self, source: RelPath, target: RelPath) -> bool:
        """Return whether what is at a path needs nothing but another name to be at another one."""
        is_promised = source in self.keeping.promises or target in self.keeping.promises
        return not (is_promised or self._overwrites.is_settling(source) or self._validation.asks_of(target))

    def _are_current(self, work: Work) -> bool:
        """Return whether a work is current, and the removal that it brings about; else both are planned anew."""
        if work.removal is None:
            return self._is_current(work)
        if self._is_current(work) and self._is_current(work.removal):
            return True
        self._volume.apply_soon([work.plan.path, work.removal.plan.path])
        return False

    def _is_current(self, work: Work) -> bool:
        """Return whether the index still shows what the plan was made on; else it is planned anew.

        What the mount is told that we have digested may be more than the plan was made with.
        """
        row = self._volume.index.rows.row(work.plan.path)
        if (row.applied.observation if row is not None else None) == work.plan.base:
            return True
        self._discard(work)
        self._volume.apply_soon([work.plan.path])
        return False

    def _discard(self, work: Work) -> None:
        """What was prepared for a plan is of no use."""
        if work.overwrites:
            self._overwrites.not_done(work.plan.path, work.staged, work.kept)
        elif work.staged:
            self._sources.discard_later(work.staged)
        if work.copied:
            self.keeping.drop_soon(work.kept)

    # -------------------------------------------------------------------------------------------------------- planning

    def _planned(self, batch: Sequence[RelPath]) -> list[Work]:
        """Return what can be done now: installs and attributes parents first, then removals children first."""
        volume = self._volume
        with volume.index.transaction():
            volume.index.rows.ask_ahead(batch)
            plans = [plan for path in batch if (plan := self._sources.plan(path)) is not None]
            plans, soon = self.braking.sorted(batch, plans)
        root = volume.index.rows.row(ROOT) if ROOT in batch else None
        if root is not None and root.applied.observation is None:
            # It was here before anybody knew of it: nothing is to be done but to see what it shows.
            self._observer.look(ROOT, Reason(joining=True))
        if soon:
            self._refused.update(soon)
            volume.later(QUIET_S, lambda: volume.apply_soon(soon))
        for path in batch:
            if path in self._tries and not volume.is_pending(path):
                # What could not be done is not wanted any more.
                del self._tries[path]
                volume.settle_problem(path)
        removals = [plan for plan in plans if plan.step is Step.REMOVE]
        others = [plan for plan in plans if plan.step is not Step.REMOVE]
        works: list[Work] = []
        self.keeping.begin(plans)
        leaders, renames = Leaders(), Renames(volume, removals, self._is_free)
        for plan in map(leaders.followed, [*others, *reversed(removals)]):
            if self._overwrites.is_settling(plan.path) or leaders.is_deferred(plan) or volume.left_out.objects(plan):
                continue
            if renames.is_taken(plan) or self._sources.is_copied_from(plan):
                continue
            work = Work(plan, volume.next_commit_id())
            removal = None if self._tries.get(plan.path) else renames.removal(plan)  # what was refused is built
            if plan.step is Step.INSTALL:
                work.staged = staged_name(self._observer.digested, work.commit_id)
            if plan.needed is not None:
                work.source = FromTree(removal.path) if removal is not None else self._sources.supply(plan)
                if work.source is None:
                    self._tries.setdefault(plan.path, 0)
                    continue  # what is there stays until what comes can be shown
                if plan.step is Step.INSTALL and not self._is_allowed(work):
                    continue
            if removal is not None:
                work.removal = Work(removal, volume.next_commit_id())
                renames.take(removal)
            work.kept = self.keeping.name(plan, work.commit_id)
            promised = plan.path in self.keeping.promises
            work.overwrites = self._overwrites.is_chosen(plan, work.source, is_promised=promised)
            if work.overwrites:
                work.kept += BLOCKS_ONLY if work.kept else b""
            elif work.kept:
                work.plan = msgspec.structs.replace(plan, kept=work.kept)
            work.copied = bool(work.kept) and self.keeping.is_copied(plan)
            leaders.lead(plan)
            works.append(work)
        volume.apply_soon(leaders.deferred)
        return works

    def _is_allowed(self, work: Work) -> bool:
        """Return whether no validator has anything against it; the path is planned anew once all were asked."""
        assert work.source is not None
        if self._validation.allows(work.plan, work.source):
            return True
        self._tries.setdefault(work.plan.path, 0)
        return False

    # ------------------------------------------------------------------------------------------------------- recording

    def _record(self, works: Sequence[Work], results: Sequence[CommitResult]) -> None:
        volume = self._volume
        position = volume.index.rows.position()
        outcomes = list(zip(works, results, strict=True))
        following: list[RelPath] = []
        with volume.index.transaction():
            volume.index.rows.ask_ahead([work.plan.path for work in works])
            for work, result in outcomes:
                if result.outcome is Outcome.DONE:
                    following += self._done(work, result)
            done = [work.plan for work, result in outcomes if result.outcome is Outcome.DONE]
            for directory in disturbed_by(done):
                self._directories.mark(directory, local=False)
            volume.merge_soon([plan.path for plan in done])
            volume.index.ledger.drop_intents([w.plan.path for w, r in outcomes if r.outcome is not Outcome.FAILED])
            untouched = disturbed_by([w.plan for w, r in outcomes if r.outcome is not Outcome.DONE])
            volume.index.ledger.calm(path for path in untouched if not self._directories.is_marked(path))
        for work, result in outcomes:
            if result.outcome is not Outcome.DONE:
                self._not_done(work, result)
        volume.apply_soon(following)
        self._look_at_others(works, results)
        if volume.index.rows.position() != position:
            volume.changed.notify()

    def _look_at_others(self, works: Sequence[Work], results: Sequence[CommitResult]) -> None:
        """What has lost a name shows another number of links, and another time of change, under its other names."""
        for work, result in zip(works, results, strict=True):
            number = shared_inode(work.plan.base) if is_taken_away(work.plan) else None
            if number is not None and result.outcome is Outcome.DONE:
                for name in self._volume.index.rows.paths_linked(number):
                    self._observer.look(name, ATTRIBUTES)

    def _done(self, work: Work, result: CommitResult) -> tuple[RelPath, ...]:
        volume, plan = self._volume, work.plan
        observation = shown_after(volume, work, result)
        if observation is None and plan.step is not Step.REMOVE:
            self._observer.look(plan.path)  # what it was linked to has been forgotten meanwhile
            return ()
        if result.refresh:  # it was renamed before the kernel could learn: programs go by the attributes that it had
            volume.findings.stale(plan.path, observation, named=False)
        self.keeping.note(plan, work.kept, stored_size(work))
        built = work.built.problems if work.built is not None else ()
        volume.shortcomings.installed(plan.path, (*built, *as_problems(result.left_out)))
        volume.happenings.came(plan, observation, volume.authors)
        if work.overwrites:
            self._overwrites.done(plan.path, work.staged)
        else:
            self._overwrites.replaced(plan.path)
        volume.index.suspects.drop(plan.path)
        self._tries.pop(plan.path, None)
        volume.settle_problem(plan.path)
        if work.source is not None:
            self._sources.used(plan.content.hash)
        table = work.built.table if work.built is not None else None
        if table is not None and not volume.index.tables.add(plan.content.hash, table):
            self._observer.look(plan.path, Reason(content=True))  # which reads all of it, and makes the table
        following = volume.engine.applied(plan, observation, racy=is_racy(work, observation))
        doubts.recorded(volume, plan.path, is_unseen=self._observer.is_unseen(plan.path))
        if volume.index.braked.at(plan.path) is not None and not volume.is_pending(plan.path):
            volume.index.braked.drop(plan.path)  # else it was the best to be had, and what is better goes on waiting
        return following

    # ---------------------------------------------------------------------------------------------------------- trouble

    def _not_built(self, work: Work, error: OSError | CsfsError) -> None:
        if work.copied and isinstance(error, ContentMismatchError):
            self._observer.look(work.plan.path, Reason(content=True))
        if work.source is not None and is_at_fault(work.source, error):
            # What was to be copied is not the content any more: get it elsewhere.
            self._sources.failed(work.source, work.plan.content.hash)
            self._volume.apply_soon([work.plan.path])
            return
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            self._volume.want_room(work.plan.content.size)
        self._failed(work.plan.path, str(error))

    def _not_done(self, work: Work, result: CommitResult) -> None:
        path = work.plan.path
        self._discard(work)
        match result.outcome:
            case Outcome.REFUSED if result.error == errno.ENOENT and self._is_outside(path):
                directory = shown(parent_of(path))
                self._failed(
                    path, f"no directory {directory} is there, and no group of this member has it: make it here"
                )
            case Outcome.REFUSED | Outcome.BUSY:
                # Somebody here was faster: look again, and decide anew.
                tries = self._tries[path] = self._tries.get(path, 0) + 1
                self._refused.add(path)
                log.debug("%s: %s refused: %s", self._volume.name, shown(path), result.reason)
                delay_s = min(REFUSED_RETRY_S_MAX, 0.001 * 2 ** min(tries, 16))
                self._volume.later(delay_s, lambda: self._observer.look(path, Reason()))
            case _ if work.plan.link is not None and work.plan.write is not None and result.error in UNABLE:
                log.warning(
                    "%s: %s is now a file of its own: %s", self._volume.name, shown(path), os.strerror(result.error)
                )
                self._volume.engine.unlinkable.add(work.plan.write)
                self._volume.apply_soon([path])
            case _:
                self._failed(
                    path, f"{os.strerror(result.error)} ({result.reason or 'the directory underneath refused'})"
                )

    def _is_outside(self, path: RelPath) -> bool:
        """Return whether the directory that a path is in is in no group of this member: nobody makes it here but a person."""
        parent = parent_of(path)
        return parent != ROOT and not self._volume.rules.is_synced(parent)

    def _failed(self, path: RelPath, reason: str) -> None:
        tries = self._tries[path] = self._tries.get(path, 0) + 1
        if (ending := self._volume.sparing.ending()) is not None:
            log.warning("%s: %s not applied: %s%s", self._volume.name, shown(path), reason, ending)
        self._volume.set_problem(path, f"not applied: {reason}")
        self._volume.later(min(RETRY_S_MAX, 2.0 ** min(tries, 6)), lambda: self._volume.apply_soon([path]))
