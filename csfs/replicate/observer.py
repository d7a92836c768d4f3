"""From changes to versions: looks at every path that a change names, and has the engine compare it with what is known.

A change says where to look, never what is there: repeated, merged or late changes do no harm, and a comparison of the
whole tree is the same code over every path whose stamp moved.
"""

import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace

import trio

from csfs.core.changes import Change, ChangeKind
from csfs.core.objects import Observation
from csfs.core.paths import ROOT, RelPath, concern, is_below, parent_of, shown
from csfs.errors import CsfsError
from csfs.replicate import doubts
from csfs.replicate.aside import Aside
from csfs.replicate.directories import Directories
from csfs.replicate.emptied import Emptied
from csfs.replicate.gathering import Gathering
from csfs.replicate.keeping import note_local
from csfs.replicate.looking import (
    ATTRIBUTES,
    NO_REASON,
    Reason,
    all_before,
    is_directory,
    is_little,
    is_racy,
    look_at,
    showed_directory,
)
from csfs.replicate.looking_again import looked_again
from csfs.replicate.moved_on import MovedOn
from csfs.replicate.moves import Move, Moves
from csfs.replicate.names import Found, Touched, names_by_path, note_across, overtaken, reason_now, shown_at, with_names
from csfs.replicate.reading import Reading
from csfs.replicate.remembering import hashes_read, remember_content
from csfs.replicate.signals import Signal, wait_any
from csfs.replicate.since import Since
from csfs.replicate.spreading import is_in_doubt, spread
from csfs.replicate.unexplained import Unexplained
from csfs.replicate.volume import Volume
from csfs.store.tree import Look

log = logging.getLogger(__name__)

LOOKS_MAX = 500
"""Paths looked at between two transactions."""
SORTED_MAX = 10 * LOOKS_MAX
UNSTABLE_RETRY_S = 0.1
UNREADABLE_RETRY_S_MAX = 300.0


class Observer:
    """Digests one volume's changes in order."""

    def __init__(self, volume: Volume, directories: Directories) -> None:
        self._volume, self._directories = volume, directories
        self._looks: dict[RelPath, Reason] = {}
        self._since = Since()
        """While a path is looked at, too."""
        self._under_way: set[RelPath] = set()
        """Paths that are being looked at."""
        self._tries: dict[RelPath, int] = {}
        """How often in a row a path could not be read."""
        self._emptied = Emptied(volume, self)
        """Directories that are gone, or something else, while what was in them waits to be looked at."""
        self.aside, self._moved_on = Aside(volume, self.look), MovedOn(volume, self.look)
        self._moves = Moves(volume, self._looks, self._tries, self._moved_on, self.look)
        self._unexplained = Unexplained(self._looks, self._moves, self.look, lambda: self.hear_mount())
        self._wanted, self._gathering, self._reading = Signal(), Gathering(), Reading(volume)
        self._journal, self._last, self._taking, self.digested = b"", 0, 0, 0
        self.compare_wanted: set[RelPath] = set()
        self.hear_mount: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint
        """Returns when all that was done through the mount so far is taken in: rows are a little behind the disk."""

    # ------------------------------------------------------------------------------------------------- what to look at

    def start_journal(self, journal: bytes, digested: int) -> None:
        """A mount connected: its rows are counted in this journal, and everything up to `digested` is done."""
        if journal != self._journal:
            # Another journal counts anew; what the old one held and nobody has looked at is found by comparing.
            self._since.clear()
            self._moves.clear()
            self.aside.renumber(digested + 1)
        self._journal = journal
        self._last = self.digested = digested
        if self._volume.evidence is not None:
            self._volume.evidence.count_in(journal)

    def take(self, changes: Sequence[Change]) -> None:
        """Take in rows as the mount tells them, ascending."""
        for change in changes:
            self._taking = change.sequence
            self._take(change)
            self._volume.told(change)
        self._taking = 0
        self._unexplained.rows_came()
        if changes:
            self._last = max(self._last, changes[-1].sequence)
            self._wanted.notify()

    def take_unjournalled(self, changes: Sequence[Change]) -> None:
        """Take in changes that no mount told of; a daemon that is killed before it has looked finds them by comparing."""
        for change in changes:
            self._take(change)
        self._wanted.notify()

    def _take(self, change: Change) -> None:
        path, target = change.path, change.target
        doubts.note(self._volume, change)
        match change.kind:
            case ChangeKind.CONTENT:
                # What a row without a number says comes from a watch, which sees no extents; nor does an empty row.
                self.look(path, Reason(True, change.extents or None))
                self.aside.written(change)
            case ChangeKind.META:
                self.look(path, ATTRIBUTES)
            case ChangeKind.CREATE | ChangeKind.REMOVE:
                if self._volume.is_followed(path):
                    self.look(path, Reason(content=True))
                self._directories.mark(parent_of(path), local=True)
            case ChangeKind.LINK:
                self._moves.before(path, target or path)
                self.look(path, ATTRIBUTES)
                # What came there a moment ago, and was not looked at yet, is known by the name that it had first.
                came = self._looks.get(path, NO_REASON)
                first = came.moved_from or came.linked_from or path
                self.look(target or path, Reason(content=True, linked_from=first))
                self._directories.mark(parent_of(target or path), local=True)
            case ChangeKind.RENAME | ChangeKind.EXCHANGE if target is not None:
                move = self._moves.rename if change.kind is ChangeKind.RENAME else self._moves.exchange
                move(path, target, self._taking)
                self._directories.mark(parent_of(path), local=True)
                self._directories.mark(parent_of(target), local=True)
            case ChangeKind.COMPARE:
                self.compare_wanted.add(path)
                self._volume.comparison.notify()
            case ChangeKind.DISPLACED | ChangeKind.KEPT:
                self.aside.take(change)
            case kind if kind is not ChangeKind.SYNCED:  # which says that nothing has changed
                self.look(path, Reason(content=True))

    def look(self, path: RelPath, reason: Reason = NO_REASON, *, sequence: int = 0) -> None:
        """Have a path looked at; `sequence`: for a row that was taken in before."""
        if path in self._tries:
            # What made the last look fail may have had extents of its own.
            reason = replace(reason, extents=None)
        earlier = self._looks.get(path)
        self._looks[path] = reason if earlier is None else earlier.merged(reason)
        if earlier is None:
            self._moves.looked(path)
        if sequence or self._taking:
            self._since.note(path, sequence or self._taking)
        self._wanted.notify()

    def wanted(self, path: RelPath) -> Reason | None:
        """Return why a path is to be looked at: another object each time that somebody has told of it."""
        return self._looks.get(path)

    def forget_origin(self, path: RelPath) -> None:
        """What was at a path has gone, and is told of where it is."""
        self._moves.forget_origin(path)

    @property
    def last(self) -> int:
        """The last sequence taken in."""
        return self._last

    @property
    def looks(self) -> int:
        """How many paths wait to be looked at, or are being looked at."""
        return len(self._looks) + len(self._under_way) + len(self._moved_on.names)

    def is_unseen(self, path: RelPath) -> bool:
        """Whether somebody here has changed what is at a path, and nobody has looked at it yet."""
        spreading = any(is_below(path, one) for one in self._moves.directories())
        return spreading or path in self._looks or path in self._under_way or path in self._moved_on.names

    def is_unseen_below(self, *directories: RelPath, but: Collection[RelPath] = ()) -> bool:
        """Whether what is at or below a directory is being changed here, or could not be read; `but` paths aside."""
        told = self._volume.in_flight.union(self._looks, self._under_way, self._tries, self._moved_on.names)
        told.update(self._moves.directories())
        left = told.difference(but)
        return bool(self.compare_wanted) or any(p == d or is_below(p, d) for p in left for d in directories)

    def is_only_moved(self, source: RelPath, target: RelPath) -> bool:
        """Whether that move, the next to be looked into, is all that anybody has told of what is at and below these paths."""
        came, went = Reason(False, (), moved_from=source), Reason(False, (), moved_to=target)
        moves = [one for one in self._moves if not {source, target}.isdisjoint((one.source, one.target))]
        is_told = (self._looks.get(target), self._looks.get(source)) == (came, went)
        return is_told and len(moves) == 1 and not self.is_unseen_below(source, target, but=(source, target))

    def was_moved(self, move: Move) -> None:
        """All that came of the move is known: neither name has to be looked at any more, nor anything below."""
        self._moves.done(move)
        for path in (move.source, move.target):
            self._looks.pop(path, None)
            self._since.drop(path)

    @property
    def idle(self) -> bool:
        """Whether everything taken in is digested."""
        return not self.looks and self.digested >= self._last

    def has_looked(self, paths: Sequence[RelPath], sequence: int, *, below: bool) -> bool:
        """Return whether rows up to `sequence` are versions at `paths`; with `below`, whatever they say of what is below, too."""
        volume = self._volume
        if self._last < sequence or volume.uncompared or volume.stopped or volume.index.ledger.pulling:
            return False
        if not below:
            return not any(path in self._tries or self.is_unseen(path) for path in paths)
        busy = {*self._looks, *self._under_way, *self._tries, *self._moved_on.names, *self.compare_wanted}
        busy.update(self._moves.directories())
        return not (volume.comparing or any(concern(one, path) for one in busy for path in paths))

    # ---------------------------------------------------------------------------------------------------- looking

    async def run(self) -> None:
        """Look at what is wanted, for ever: of what was moved on from where a commit had put it, once stock was taken there."""
        volume = self._volume
        while True:
            await self._wanted.wait_until(self._has_work)
            await volume.ready.wait_until(lambda: volume.root is not None and not (volume.stopped or volume.stock_due))
            await trio.lowlevel.checkpoint()  # a round may wait for nothing: all else has its turn between two of them
            try:
                if volume.index.ledger.pulling and not volume.comparing:
                    # What is here has nothing to say before the others were heard (R14): the comparison then finds it.
                    await self.aside.look()
                    self._looks.clear()
                    self._since.clear()
                    self._moves.clear()
                    self._finish([])
                    continue
                if len(self._looks) < LOOKS_MAX and not volume.rules.wait:
                    await self._gathering.wait()
                await self._round()
            except trio.ClosedResourceError:
                continue  # unmounted in the middle; the looks wait for the next mount

    def _has_work(self) -> bool:
        return bool(self._looks or self._moves or self.aside.has_work) or self.digested < self._oldest_wanted() - 1

    async def _round(self) -> None:
        while (move := next(iter(self._moves), None)) is not None:
            await spread(self._volume, self, move)
            self._moves.done(move)
        await self.aside.look()
        batch = self._next_batch()
        self._gathering.began(len(batch))
        if self._looks and not batch:
            await wait_any(self._volume.progress, self._wanted)
            return
        complete = not (self._volume.uncompared or self.compare_wanted)
        with looked_again(batch, self.look, self._since):
            known, read = all_before(self._volume, batch, complete=complete), list(map(self._reading.taken, batch))
            shown_before = [shown_at(self._volume, path) for path, _ in batch]
            self._under_way = {path for path, _ in batch}
            try:
                with Touched(self._volume) as touched:
                    found = await self._volume.with_root(
                        look_at, batch, known, read, inline=is_little(self._volume, batch)
                    )
                    found, shown_before = self._reading.apart(found, shown_before, self.look, self.wanted)
                    found, shown_before = await with_names(self._volume, found, shown_before, self.look)
                    found, shown_before = await self._unexplained.heard(found, shown_before)
            finally:
                self._under_way = set()
            doubts.judge(self._volume, found)
            self._finish(self._volume.left_out.counted(self._current(found, shown_before, touched)))

    def _next_batch(self) -> list[tuple[RelPath, Reason]]:
        """Return the next paths: parents before children, what moves leave behind after where it went, what is emptied at last."""
        # A directory that is gone is not looked at before them either: that would go on, again and again, and let nobody else go on.
        busy = self._volume.in_flight | self._reading.waiting(self._looks)
        # Of a great many, those that wait longest: to sort all of them would cost more than the looking.
        ready = itertools.islice((item for item in self._looks.items() if item[0] not in busy), SORTED_MAX)
        order = sorted(ready, key=lambda item: self._emptied.turn(*item))
        batch = [item for item in order if not self._emptied.has_to_wait(busy, item[0])][:LOOKS_MAX]
        for path, _ in batch:
            del self._looks[path]
        return batch

    def _current(self, found: Sequence[Found], before: Sequence[Observation | None], touched: Touched) -> list[Found]:
        """Return what was found but for what was overtaken, and directories that have to wait: those are looked at again."""
        current, stale = list[Found](), overtaken(self._volume, found, before, touched)
        going, in_doubt = set[RelPath](), is_in_doubt(self._volume)
        for item in found:
            path, reason, result = item
            if path in stale or self._emptied.is_left_for_last(path, reason, result, going):
                self.look(path, reason)
            elif not self._moved_on.holds(path, reason, result):
                current.append(item)
                if result is None and not in_doubt:
                    going.add(path)
        return current

    def _finish(self, found: Sequence[Found]) -> None:
        """Have the engine compare everything found, in one transaction with how far the journal is digested."""
        volume = self._volume
        for path in {path for path, _, _ in found} - self._looks.keys():
            self._since.drop(path)
        digested, position, names = self._oldest_wanted() - 1, volume.index.rows.position(), names_by_path(found)
        note_across(volume, found, names)
        looks = {path: result for path, _, result in found}
        volume.index.rows.ask_ahead(looks, hashes_read(looks.values()))
        moved = [(p, r.observation, one.moved_from) for p, one, r in found if isinstance(r, Look)]
        with volume.index.transaction():
            volume.engine.find(moved if volume.evidence is None else [])
            for path, reason, result in found:
                if isinstance(result, OSError | CsfsError):
                    self._not_seen(path, result)
                else:
                    now = reason_now(self._volume, self._looks, path, reason, looks)
                    self._observe(path, now, result, names.get(path, ()))
            followed = volume.engine.follow(looks, time.time_ns(), self.is_unseen)
            if digested > self.digested and self._journal:
                volume.index.ledger.set_digested(self._journal, digested)
        self.digested = max(self.digested, digested)
        volume.apply_soon([*filter(volume.is_pending, looks), *volume.engine.woken(), *followed])
        volume.merge_soon([*looks, *followed])
        if volume.index.rows.position() != position:
            volume.changed.notify()
        volume.progress.notify()
        if any(exchange.arrived for exchange in volume.exchanges.values()):
            volume.settled.notify()

    def _oldest_wanted(self) -> int:
        """Return the oldest row of which something is still to be looked at; the next one if there is none."""
        others = (*(one.sequence for one in self._moves), *self.aside.sequences)
        return min((self._since.oldest or self._last + 1, *others))

    def _observe(self, path: RelPath, reason: Reason, look: Look | None, names: Sequence[RelPath]) -> None:
        volume, found = self._volume, look.observation if look is not None else None
        self._tries.pop(path, None)
        volume.settle_problem(path)
        if doubts.is_taken(volume, path, found, reason):
            self._observe(path, reason, None, ())
        known = volume.index.rows.row(path)
        if doubts.holds(volume, path, found, reason):
            return
        volume.findings.looked(path, shown_at(self._volume, path), found, compared=reason.compared)
        if look is None and known is None:
            self.aside.settle(path, None, None)
            return
        if look is not None and not remember_content(volume, look, known.applied if known is not None else None):
            # What its table was made from is known in part alone by now: it is read whole.
            self.look(path, Reason(True, moved_from=reason.moved_from))
            return
        if look is not None and reason.compared and self._directories.is_disturbed(path):
            # Nobody says that its time was set: it is what a commit in it left, and is settled apart.
            volume.engine.disturbed(path, look.observation.stamp, look.observation.mtime_ns)
        changed = volume.engine.observe(
            path,
            found,
            time.time_ns(),
            moved_from=reason.moved_from,
            moved_to=reason.moved_to,
            joining=reason.joining,
            extra=volume.extra,
            racy=look is not None and is_racy(volume, look, known, reason),
            names=names,
            linked_from=reason.linked_from,
        )
        doubts.recorded(volume, path, is_unseen=self.is_unseen(path))
        applied = known.applied if known is not None else None
        is_kept = self.aside.settle(path, applied.observation if applied is not None else None, found)
        if changed:
            note_local(volume, path, applied, found, is_kept=is_kept)
            if known is None and path and volume.index.rows.row(parent_of(path)) is None:
                self.look(parent_of(path))  # which was to stay here alone, and no longer does with what was made in it
        if reason.joining and known is None and look is not None and not changed and path != ROOT:
            volume.index.ledger.hold([path])
        if changed and not reason.joining and is_directory(look) and not showed_directory(known):
            # What was made in it since the look was marked, perhaps, before anybody knew the directory.
            self._directories.mark(path, local=True)

    def _not_seen(self, path: RelPath, error: OSError | CsfsError) -> None:
        log.info("%s: %s not read: %s", self._volume.name, shown(path), error)
        self._volume.set_problem(path, f"cannot be read: {error}")
        tries = self._tries[path] = self._tries.get(path, 0) + 1
        delay_s = min(UNREADABLE_RETRY_S_MAX, UNSTABLE_RETRY_S * 2 ** min(tries, 16))
        self._volume.later(delay_s, lambda: self.look(path, Reason(content=True)))
