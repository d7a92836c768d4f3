"""A member that was restored from an older copy of itself, or cloned: how it finds its way back (R8, R11).

A peer shows a token that this member does not remember giving. Then its last dots may have been given out before, with
another meaning, and tombstones that it had known may be forgotten everywhere. So

1. `distrust` takes out of the index whatever it made under dots that no peer is known to have stored, and marks it as in doubt.
   From then on this member is another incarnation (its caller draws it) and another index to its peers.
2. It greets its peers anew and hears what they know. Nothing is applied meanwhile.
3. Where the peer that showed the token knows of no record, and knows every change that ours is made of, ours is `stale`: it was
   removed, and that forgotten. It goes from this disk, too, and is kept.
   What is left of a record beside what is in doubt goes from the index alone.
4. What was in doubt and is still on disk is `mint_anew`: as a change on what was applied before, unless a peer has told the same.
"""

from collections.abc import Collection, Mapping

import msgspec

from csfs.core import versions
from csfs.core.objects import Kind, Observation
from csfs.core.paths import RelPath
from csfs.core.records import NOTHING_KNOWN, ContentEntry, DirectoryTime, E, Half, Record
from csfs.core.rows import MADE, Doubt
from csfs.core.tokens import Owed, Verdict, checked
from csfs.core.versions import Dot, Scope, Vector
from csfs.engine.forgetting import dots_of
from csfs.engine.live import content_entry, holds_directory, is_live
from csfs.engine.minting import Change, Circumstances, Minting
from csfs.engine.ports import Connected, Row, Standing
from csfs.engine.rules import GroupRules


class Quarantine(Minting):
    """Steps of a member that has lost its memory."""

    def shown(self, peer: str, key: bytes, token: bytes) -> Verdict:
        """A peer shows, at a greeting, the last token that we gave it."""
        before = self._index.tokens(peer)
        after, verdict = checked(before, peer, key, token)
        if after.owed is Owed.LATER:
            after = msgspec.structs.replace(after, owed=Owed.NOW)
        if after != before:
            self._index.set_tokens(peer, after)
        return verdict

    def outlived(self, peer: str) -> None:
        """A peer has told changes of ours that we have not made: as if it had shown a token that we do not remember giving."""
        self._owe(peer, Owed.NOW)
        self.distrust()

    def distrust(self) -> None:
        """Put everything in doubt that this member made and no peer is known to have stored. Another incarnation follows at once.

        That of earlier incarnations, too: since it was restored it may have made something before a boot.
        """
        trusted = {group.scope: self._trusted(group.scope) for group in self._rules.groups}
        for scope, counters in trusted.items():
            knowledge = self._index.knowledge(scope)
            self._index.set_knowledge(scope, _seen_trusted(knowledge, counters))
        unknown = {self._incarnation: 0}
        named = [path for path, row in self._rows() if self._doubted(row, trusted.get(row.scope, unknown)) != row]
        turned: dict[RelPath, bool] = {}
        for path in named:
            row = self._index.row(path)
            assert row is not None, "a row that was just read"
            doubted = self._doubted(row, trusted.get(row.scope, unknown))
            if row.live and not is_live(doubted.record):
                turned[path] = False
            if row.scope:
                self._put_known(path, row, doubted, self._followed(path))
            else:
                # Nobody follows it: whoever does one day finds it by looking.
                self._index.drop(path)
        self._turn_ancestors(turned, {})

    def _trusted(self, scope: Scope) -> Vector:
        """Return up to which counters our changes mean the same to all: a peer had stored them before the copy was made."""
        standings = [self._index.standings(peer).get(scope, Standing()) for peer in self._peers]
        lives = {life for life, member in self._authors.items() if member == self._member} | {self._incarnation}
        said = {life: max((one.known.get(life, 0) for one in standings), default=0) for life in lives}
        said[self._incarnation] = min(said[self._incarnation], self._index.last_counter(scope))
        return said

    def _doubted(self, row: Row, trusted: Vector) -> Row:
        """Return the row without what our incarnations made after `trusted`, which is in doubt from now on."""
        record, applied = row.record, row.applied
        content, content_doubt = self._half_trusted(record.content, applied.content_dot, trusted, Doubt.CONTENT)
        meta, meta_doubt = self._half_trusted(record.meta, applied.meta_dot, trusted, Doubt.META)
        if not _is_directory(applied.observation):
            # What a power cut has left is no version, whatever is known of the path, and does not become one now (R24).
            content_doubt = content_doubt if applied.content_dot is not None else Doubt.NONE
            meta_doubt = meta_doubt if applied.meta_dot is not None else Doubt.NONE
        time, doubt = record.time, row.doubt | content_doubt | meta_doubt
        if time is not None and _is_doubtful(time.dot, trusted):
            time, doubt = None, doubt | Doubt.TIME
        record = Record(content, meta, time)
        changes: dict[str, object] = {
            "content_seen": _seen_trusted(applied.content_seen, trusted),
            "meta_seen": _seen_trusted(applied.meta_seen, trusted),
        }
        if doubt & Doubt.CONTENT:
            changes["content_dot"] = None
            if (shown := content_entry(row.record, applied.content_dot)) is not None:
                changes["lineage"] = msgspec.structs.replace(applied.lineage, overruled=shown.overruled)
        if doubt & Doubt.META:
            changes["meta_dot"] = None
        applied = msgspec.structs.replace(applied, **changes)
        pending = row.pending or bool(doubt)
        return msgspec.structs.replace(row, record=record, applied=applied, pending=pending, doubt=doubt)

    def _half_trusted(self, half: Half[E], shown: Dot | None, trusted: Vector, doubt: Doubt) -> tuple[Half[E], Doubt]:
        """Return a half without entries in doubt, and whether there were any.

        What such an entry had replaced is not here any more. So what is left has seen itself alone: whoever has more says so.
        """
        left = tuple(entry for entry in half.entries if not _is_doubtful(entry.dot, trusted))
        if len(left) < len(half.entries):
            return Half(left, {entry.dot.incarnation: entry.dot.counter for entry in left}), doubt
        found = doubt if shown is not None and _is_doubtful(shown, trusted) else Doubt.NONE
        return Half(half.entries, _seen_trusted(half.seen, trusted)), found

    def is_stale(self, path: RelPath, theirs: Vector) -> bool:
        """Return whether a peer that knows `theirs`, and has no record of this path, has forgotten what removed it here."""
        row = self._index.row(path)
        if row is None or not row.record.content.entries or row.doubt & Doubt.CONTENT:
            return False
        return _is_known(row.record, theirs)

    def remove_stale(self, path: RelPath) -> bool:
        """Take away what was removed while this member does not remember; to be planned, and kept. Return whether it was live."""
        row = self._index.row(path)
        assert row is not None, "a stale record that is not there"
        # Under no dot, it is kept as what nobody else may have.
        applied = msgspec.structs.replace(row.applied, content_dot=None, meta_dot=None)
        nothing = msgspec.structs.replace(row, record=NOTHING_KNOWN, applied=applied, pending=True)
        self._put_known(path, row, nothing, self._followed(path))
        return row.live

    def drop_beside_doubt(self, path: RelPath, theirs: Vector) -> bool:
        """Let go of what was removed and forgotten beside what is in doubt here: that is minted anew, and adopts nothing stale.

        Return whether that was live.
        """
        row = self._index.row(path)
        if row is None or not row.doubt & Doubt.CONTENT or not _is_known(row.record, theirs):
            return False
        doubt = row.doubt | Doubt.TIME if row.record.time is not None else row.doubt
        nothing = msgspec.structs.replace(row, record=NOTHING_KNOWN, doubt=doubt)
        self._put_known(path, row, nothing, self._followed(path))
        return row.live

    def doubtful(self) -> list[RelPath]:
        """Return the paths to be minted anew."""
        return self._index.doubtful()

    def mint_anew(self, path: RelPath, now_ns: int) -> None:
        """Make what is in doubt at a path a change of this incarnation, unless it is known now, or was changed meanwhile."""
        for name in self._names_known(path):
            self._mint_anew(name, now_ns)
        self._mint_anew(path, now_ns)

    def _names_known(self, path: RelPath) -> list[RelPath]:
        """Return other names of what is in doubt at a path, if peers have told of them alone: first these adopt that (R17)."""
        row = self._index.row(path)
        if row is None or row.record.content.entries:
            return []
        names = self._links.sharing(path, row.applied.observation)
        return [name for name, theirs in names if theirs.doubt & MADE and theirs.record.content.entries]

    def _mint_anew(self, path: RelPath, now_ns: int) -> None:
        row, group = self._index.row(path), self._followed(path)
        assert row is not None, "nothing is in doubt"
        doubt, applied = row.doubt, row.applied
        row = msgspec.structs.replace(row, doubt=doubt & (Doubt.LAST | Doubt.UNPROVEN))
        self._index.put(path, row)
        if group is None or not self._may_write(group):
            return
        if applied.content_dot is not None:
            doubt &= ~Doubt.CONTENT
        if applied.meta_dot is not None:
            doubt &= ~Doubt.META
        observation, is_known = applied.observation, bool(doubt & Doubt.CONTENT or row.record.content.entries)
        change = Change(
            content=bool(doubt & Doubt.CONTENT),
            meta=bool(doubt & Doubt.META) and observation is not None and is_known,
            time=False,
            object=bool(doubt & Doubt.CONTENT),
        )
        if change.content or change.meta:
            # No walk tells what others say of what is not live: what equals that by what is left here may replace something there.
            adopting = change.content or row.live
            twin = self._twin_anew(path, group, observation) if change.content else None
            circumstances = Circumstances(now_ns, racy=applied.racy, adopting=adopting, anew=True, twin=twin)
            self._change(path, row, observation, change, group, circumstances)
        # What is a directory by now may have been something else in the life that was lost, and then had no time to doubt.
        if (change.content or doubt & Doubt.TIME) and observation is not None:
            self._mint_time_anew(path, observation, group, now_ns)
        self._wake_apart(path, group)

    def _twin_anew(
        self, path: RelPath, group: GroupRules, shown: Observation | None
    ) -> tuple[Row, ContentEntry] | None:
        """Return another name of what is shown at a path, and its version: what is made anew stays linked to that (R17)."""
        return self._links.twin(path, group.scope, shown, [name for name, _ in self._links.sharing(path, shown)])

    def _mint_time_anew(self, path: RelPath, found: Observation, group: GroupRules, now_ns: int) -> None:
        """Give a directory its time again, also one that lives by what is below it alone (R16).

        An earlier one that peers have told was there before what is in doubt, as one may be that only receivers know.
        """
        row, is_shown = self._index.row(path), found.kind is Kind.DIRECTORY
        if row is None or not (is_shown or holds_directory(row.record)):
            return
        if row.record.time is not None and row.record.time.mtime_ns >= found.mtime_ns:
            return
        time = DirectoryTime(self._mint(group.scope, row.record), self._tick(now_ns, row.record), found.mtime_ns)
        self._store(path, row, msgspec.structs.replace(row.record, time=time), row.applied, group, row.pending)

    def may_catch_up_with(self, peer: str, standings: Mapping[Scope, Standing]) -> bool:
        """Return whether we know all that a peer knew that is not in quarantine itself, and joins nobody.

        Who only receives may not tell us anything: it counts where nobody else is. Who follows other rules says nothing of our
        groups, and may know something.
        """
        if not self._heard_from(peer) and any(self._heard_from(other) for other in self._peers):
            return False
        return self._follows_our_rules(peer, standings) and all(
            versions.includes(self._index.knowledge(scope), self._of_others(standings.get(scope, Standing()).known))
            for scope in self._heard_from(peer)
        )

    def _follows_our_rules(self, peer: str, standings: Mapping[Scope, Standing]) -> bool:
        return all(scope in standings for scope in self._heard_from(peer))

    def have_all_lost(self, quarantined: Mapping[str, bool]) -> bool:
        """Return whether all of these peers that may tell us anything are in quarantine: they would wait for each other for ever."""
        return all(is_lost for peer, is_lost in quarantined.items() if self._heard_from(peer))

    def _of_others(self, known: Vector) -> Vector:
        return {life: counter for life, counter in known.items() if life != self._incarnation}

    def caught_up(self, peer: str, connected: Collection[str]) -> bool:
        """All that a peer knows is known here: return whether the quarantine ends with that.

        It does unless we are still to catch up with another one that is `connected`. Those that are not are heard later, and so are
        those that follow other rules: they are greeted anew when these are ours.
        """
        if not self.is_in_quarantine:
            return False
        owing = [other for other in self._peers if self._index.tokens(other).owed is Owed.NOW and other != peer]
        self._owe(peer, Owed.NOTHING)
        if any(other in connected and self._heard_from(other) and self._is_waited_for(other) for other in owing):
            return False
        for other in owing:
            self._owe(other, Owed.LATER if self._heard_from(other) else Owed.NOTHING)
        for path, row in self._rows():
            if row.pending and row.applied.observation is not None:
                row = msgspec.structs.replace(row, doubt=row.doubt | Doubt.LAST)
                self._index.put(path, self._with_directory_in_doubt(path, row))
        return True

    def _is_waited_for(self, peer: str) -> bool:
        """Return whether a connected peer follows our rules, as far as it has said how it stands."""
        has_stood = self._connected.get(peer, Connected()).has_stood
        return not has_stood or self._follows_our_rules(peer, self._index.standings(peer))

    def _with_directory_in_doubt(self, path: RelPath, row: Row) -> Row:
        """Return a row with all of a directory in doubt that others removed, and in which something was made here since.

        It lives on by that; but who has forgotten its removal, because this member had applied it in the life that is lost, does not
        know what the directory was (R12, R16).
        """
        group = self._followed(path)
        if row.live or group is None or not self._may_write(group) or not _is_directory(row.applied.observation):
            return row  # who may not make it anew keeps what is known of it
        if not any(self._is_made_here(below) for _, below in self._index.rows_below(path)):
            return row
        applied = msgspec.structs.replace(row.applied, content_dot=None, meta_dot=None)
        record = Record(row.record.content, row.record.meta)
        return msgspec.structs.replace(row, record=record, applied=applied, doubt=row.doubt | MADE)

    def _is_made_here(self, row: Row) -> bool:
        return row.live and any(entry.dot.incarnation == self._incarnation for entry in row.record.content.entries)

    def _owe(self, peer: str, owed: Owed) -> None:
        self._index.set_tokens(peer, msgspec.structs.replace(self._index.tokens(peer), owed=owed))


def _is_known(record: Record, theirs: Vector) -> bool:
    """Return whether a peer knows all changes of a record. A directory's time is none: it is no edit against a delete (R6)."""
    return all(versions.covers(theirs, dot) for dot in dots_of(Record(record.content, record.meta)))


def _is_directory(observation: Observation | None) -> bool:
    return observation is not None and observation.kind is Kind.DIRECTORY


def _is_doubtful(dot: Dot, trusted: Vector) -> bool:
    return dot.counter > trusted.get(dot.incarnation, dot.counter)


def _seen_trusted(seen: Vector, trusted: Vector) -> Vector:
    """Return what was seen, without what is beyond `trusted`."""
    if all(seen.get(life, 0) <= counter for life, counter in trusted.items()):
        return seen
    limited = {life: min(counter, trusted.get(life, counter)) for life, counter in seen.items()}
    return {life: counter for life, counter in limited.items() if counter}
