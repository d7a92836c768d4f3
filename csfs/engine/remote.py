"""What peers say: checked, joined with what is known, and knowledge at the marks (R2, R9, R10)."""

from collections.abc import Iterable, Sequence
from typing import Final

from csfs.core import versions
from csfs.core.paths import ROOT, RelPath, checked
from csfs.core.records import NOTHING_KNOWN, E, Half, Record, halves_joined, times_joined
from csfs.core.versions import Hlc, Scope, Vector
from csfs.engine.live import is_live, new_row
from csfs.engine.ports import Connected, Received
from csfs.engine.rules import GroupRules, may_send
from csfs.engine.state import State
from csfs.engine.validation import AheadError, RefusedError, check_mark, check_update
from csfs.wire.messages import Update

SKEW_NS_MAX: Final = 3_600 * 1_000_000_000
"""A peer's clock moves ours ahead by no more than this."""


class Remote(State):
    """Updates from peers."""

    def receive(
        self,
        peer: str,
        scope: Scope,
        updates: Sequence[Update],
        mark: Vector | None,
        now_ns: int,
        *,
        mending: bool = False,
    ) -> Received:
        """Take in one batch; to be stored together with the cursor, in one transaction.

        `mending`: these are whole records of paths at which two members differ that know the same, so that what is known and not
        here was lost. Otherwise it was removed, and that forgotten: it is let go.

        `touched` are paths to be planned: those whose record changed, and directories that may have to come or may go with
        them. What is refused is left out and keeps knowledge from advancing until the peer is `greeted` again.
        """
        group = next((group for group in self._rules.groups if group.scope == scope), None)
        if group is None or self._member not in group.members:
            reason = "records of a group, or a revision of its rules, that this member is not in"
            return Received((), ((b"", reason),), is_foreign=True)
        if not may_send(group, peer):
            return Received((), ((b"", f"{peer} may not change paths of this group"),))
        touched: dict[RelPath, None] = {}
        turned: dict[RelPath, bool] = {}
        refused: list[tuple[bytes, str]] = []
        is_ahead = False
        for update in updates:
            try:
                self._take_in(update, group, touched, turned, mending=mending)
            except ValueError as error:
                refused.append((update.path, str(error)))
                is_ahead = is_ahead or isinstance(error, AheadError)
        self._advance_clock(updates, now_ns)
        self._turn_ancestors(turned, touched)
        touched.update(dict.fromkeys(self.woken()))
        link = self._connected.setdefault(peer, Connected())
        if refused:
            link.tainted.add(scope)
        if mark is not None:
            link.midstream.discard(scope)
        elif updates and not mending:
            link.midstream.add(scope)
        if mark is not None and scope not in link.tainted:
            self._learn(scope, mark, refused)
        return Received(tuple(touched), tuple(refused), is_ahead)

    def _remembered(self, update: Update, group: GroupRules) -> Update:
        """Return an update without what is known and gone: a path without a record stands for a tombstone that was forgotten (R12)."""
        if update.path == ROOT or self._index.row(RelPath(update.path)) is not None:
            return update  # nobody removes the root
        known, speaks = self._index.knowledge(group.scope), self._may_write(group)
        content = _without_known(update.content, known, speaks=speaks)
        meta = _without_known(update.meta, known, speaks=speaks)
        # A directory's time has no context, and is no edit: it comes back with a directory that somebody makes, or not at all.
        return Update(update.path, content, meta, update.time if content is not None else None)

    def _take_in(
        self,
        update: Update,
        group: GroupRules,
        touched: dict[RelPath, None],
        turned: dict[RelPath, bool],
        *,
        mending: bool,
    ) -> None:
        path = checked(update.path)
        belongs = self._rules.group_of(path)
        if belongs is None or belongs.scope != group.scope:
            raise RefusedError("the path belongs to another group here")
        check_update(update)
        row = self._index.row(path) or new_row(group)
        # Who only receives may have let go of some that he had made before.
        self._check_our_dots(update, row.record if self._may_write(group) else NOTHING_KNOWN, group.scope)
        if not mending:
            update = self._remembered(update, group)
        record = joined_with(row.record, update)
        if record == row.record:
            return
        self._store(path, row, record, row.applied, group, True)
        touched[path] = None
        live = is_live(record)
        if live != row.live:
            turned[path] = live

    def _check_our_dots(self, update: Update, known: Record, scope: Scope) -> None:
        """Nobody knows a change of ours that we do not: what shows one was made by a clone of this member (R8)."""
        counted = self._index.last_counter(scope)
        content, meta, time = update.content, update.meta, update.time
        is_made = (
            (content is None or self._is_made(content, known.content, counted))
            and (meta is None or self._is_made(meta, known.meta, counted))
            and (time is None or time.dot.incarnation != self._incarnation or time.dot.counter <= counted)
        )
        if not is_made:
            raise AheadError("a change of this member that it has not made: was it cloned or restored?")

    def _is_made(self, half: Half[E], known: Half[E], counted: int) -> bool:
        """Return whether all that a half has, and has seen, of this life may have been made here, where so many changes were.

        A change that we made has seen all that we had made there, and so has what is known of the path while it stands. Without
        one that stands, that may come from a member that was restored, after all was forgotten here (R12). But counting goes on
        beyond what a path has seen.
        """
        made = [entry.dot for entry in half.entries if entry.dot.incarnation == self._incarnation]
        is_ours = any(entry.dot.incarnation == self._incarnation for entry in known.entries)
        if is_ours and not all(versions.covers(known.seen, dot) for dot in made):
            return False
        return half.seen.get(self._incarnation, 0) <= counted

    def _advance_clock(self, updates: Iterable[Update], now_ns: int) -> None:
        limit = now_ns + SKEW_NS_MAX
        clock = self._index.clock()
        latest = max((hlc for update in updates for hlc in _clocks(update) if hlc <= limit), default=clock)
        if latest > clock:
            self._index.set_clock(Hlc(latest))

    def _learn(self, scope: Scope, mark: Vector, refused: list[tuple[bytes, str]]) -> None:
        try:
            check_mark(mark)
        except RefusedError as error:
            refused.append((b"", str(error)))
            return
        ours = self._index.knowledge(scope)
        # What others claim to know of our own changes is no news (R9).
        news = {incarnation: counter for incarnation, counter in mark.items() if incarnation != self._incarnation}
        knowledge = versions.joined(ours, news)
        if knowledge is not ours:
            self._index.set_knowledge(scope, knowledge)


def _without_known(half: Half[E] | None, known: Vector, *, speaks: bool) -> Half[E] | None:
    """Return a half without entries that are known; it has seen them, but at a member that only receives.

    Nobody would hear from such a member that they are gone. If they are not, because the record was lost here, a walk brings them
    back, which they could not be if they had been seen (R13).
    """
    if half is None:
        return None
    left = tuple(entry for entry in half.entries if not versions.covers(known, entry.dot))
    if len(left) == len(half.entries):
        return half
    seen = half.seen if speaks else _seen_without(half, left)
    return Half(left, seen) if left else None


def _seen_without(half: Half[E], left: tuple[E, ...]) -> Vector:
    """Return what a half has seen without the entries that are not `left`. Those of one incarnation follow each other."""
    seen = dict(half.seen)
    for entry in half.entries:
        if entry not in left:
            seen[entry.dot.incarnation] = entry.dot.counter - 1
    return {incarnation: counter for incarnation, counter in seen.items() if counter}


def joined_with(record: Record, update: Update) -> Record:
    """Return the join of what is known of a path with what a peer says of it."""
    content, meta = record.content, record.meta
    if update.content is not None:
        content = halves_joined(content, update.content)
    if update.meta is not None:
        meta = halves_joined(meta, update.meta)
    return Record(content, meta, times_joined(record.time, update.time))


def _clocks(update: Update) -> Iterable[int]:
    if update.content is not None:
        for entry in update.content.entries:
            yield entry.hlc
    if update.meta is not None:
        for meta in update.meta.entries:
            yield meta.hlc
    if update.time is not None:
        yield update.time.hlc
