"""Faults that a simulation has to find: each breaks one rule, in the simulation alone, and says which.

What finds none of these would not find one of its own making either.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec

from csfs.core import acls, groups, merging, policies, versions
from csfs.core.acls import Entry
from csfs.core.groups import GroupRule
from csfs.core.objects import Applied, Kind, Meta, Observation, Xattrs
from csfs.core.paths import RelPath, parent_of
from csfs.core.records import ContentEntry, E, Half, MetaEntry
from csfs.core.tokens import Verdict
from csfs.core.versions import Dot, Scope, Vector
from csfs.engine import (
    carrying,
    claims,
    following,
    forgetting,
    healing,
    mending,
    minting,
    moving,
    plans,
    quarantine,
    remote,
    state,
    taking_back,
    wholes,
)
from csfs.engine import merging as engine_merging
from csfs.engine.brake import Brake
from csfs.engine.brake import Verdict as BrakeVerdict
from csfs.engine.evidence import Evidence
from csfs.engine.hearing import Hearing
from csfs.engine.links import Links
from csfs.engine.live import meta_of
from csfs.engine.memory import MemoryIndex
from csfs.engine.overlooking import Overlooking
from csfs.engine.ports import Outgoing, Plan, Received, Row, Step
from csfs.engine.volume import VolumeEngine
from csfs.engine.whereabouts import Whereabouts
from csfs.wire.messages import Update
from scripts.simulation import digesting
from scripts.simulation.braking import HostBrake
from scripts.simulation.host import Host
from scripts.simulation.links import Batch, Link
from scripts.simulation.noting import NotingEngine

FOUND_WITHIN = 500
"""Runs within which each has to be found."""


class Fault(NamedTuple):
    """One broken rule: what is replaced, by what, and what that means."""

    says: str
    target: Any
    attribute: str
    replacement: Any


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Break one rule for a while."""
    fault = FAULTS[name]
    with ExitStack() as stack:
        stack.enter_context(patch.object(fault.target, fault.attribute, fault.replacement))
        yield


# ------------------------------------------------------------------------------------------------- known and applied

_observe = VolumeEngine.observe
_receive = VolumeEngine.receive
_outgoing = VolumeEngine.outgoing
_plan = VolumeEngine.plan
_knowledge = MemoryIndex.knowledge
_carried_meta = minting.carried_meta
_take_in = Link.take_in
_digest = Host.digest
_restart = HostBrake.restart
_scope_of = groups.scope_of


def _known_for_applied(engine: VolumeEngine, path: RelPath, *arguments: Any, **options: Any) -> bool:
    row = engine._index.row(path)
    if row is not None:
        latest = max((entry.dot for entry in row.record.content.entries), default=None)
        applied = msgspec.structs.replace(row.applied, content_dot=latest, content_seen=row.record.content.seen)
        engine._index.put(path, msgspec.structs.replace(row, applied=applied))
    return _observe(engine, path, *arguments, **options)


def _from_raw_record(applied: Applied, observation: Observation | None) -> Meta | None:
    return meta_of(observation) if observation is not None else None


def _xattrs_found(wanted: Xattrs, before: Xattrs, found: Xattrs) -> Xattrs:
    return found


def _by_number(encoded: bytes, number_of: Callable[[Entry], int | None]) -> tuple[bytes, list[Entry]]:
    def number_or_his(entry: Entry) -> int:
        number = number_of(entry)
        return entry.number if number is None else number

    return _numbered(encoded, number_or_his)


def _raw_entry(half: Half[MetaEntry], *arguments: Any) -> Any:
    meta, dot = _live_meta(half, *arguments)
    entry = next((entry for entry in half.entries if entry.dot == dot), None)
    return (entry.value if entry is not None else meta), dot


_numbered = acls.numbered
_live_meta = policies.live_meta
_moved_here = minting.Minting._moved_here


def _not_carried_along(engine: minting.Minting, *arguments: Any) -> Applied | None:
    applied = _moved_here(engine, *arguments)
    return None if applied is None else msgspec.structs.replace(applied, mtime_ns=None, meta=None)


def _known_though_replaced(row: Row, content: Any, live: Any) -> Any:
    if live is None:
        return None
    seen = row.applied.content_seen
    known = [e for e in row.record.content.entries if e.value == content and not versions.covers(seen, e.dot)]
    return next((entry for entry in known if entry is live.entry), known[0] if known else None)


# ----------------------------------------------------------------------------------------------------- who knows what


def _one_knowledge(index: MemoryIndex, scope: Scope) -> Vector:
    together: Vector = {}
    for known in index._knowledge.values():
        together = versions.joined(together, known)
    return together


def _knowledge_per_record(
    engine: VolumeEngine, peer: str, scope: Scope, updates: Sequence[Update], *rest: Any, **options: Any
) -> Received:
    received = _receive(engine, peer, scope, updates, *rest, **options)
    for update in updates:
        for dot in remote._dots(update):
            engine._index.set_knowledge(scope, versions.with_dot(engine._index.knowledge(scope), dot))
    return received


def _mark_from_the_start(engine: VolumeEngine, *arguments: Any) -> Outgoing:
    out = _outgoing(engine, *arguments)
    return msgspec.structs.replace(out, mark=engine.knowledge()[out.scope] if out.scope else None)


def _sent_before_durable(self: Host, now_ns: int) -> None:
    with patch.object(self, "commit", lambda: None):
        _digest(self, now_ns)


def _absent_is_deleted(link: Link, batch: Batch, back: Link, now_ns: int) -> None:
    _take_in(link, batch, back, now_ns)
    out, index = batch.out, link.target.index
    if out.mark is None:
        return
    said = {update.path for one in link.arrived for update in one.out.updates}
    for path, row in index.rows().items():
        entries = row.record.content.entries
        is_covered = all(versions.covers(out.mark, entry.dot) for entry in entries)
        if path and row.scope == out.scope and path not in said and is_covered and link.position == out.position:
            record = msgspec.structs.replace(row.record, content=Half[ContentEntry]((), row.record.content.seen))
            index.put(path, msgspec.structs.replace(row, record=record, live=False, pending=True))
    index.commit()


# ------------------------------------------------------------------------------------- tombstones, tokens, set hashes


def _forgotten_at_once(engine: VolumeEngine, *_: Any) -> tuple[int, None]:
    groups = {group.scope: group for group in engine._rules.groups if engine._member in group.members}
    for path, row in engine._index.rows().items():  # type: ignore[attr-defined]
        if path and not row.live and row.scope in groups:
            common = engine._common(groups[row.scope], engine._index.knowledge(row.scope))
            if engine._is_forgettable(row, common):
                engine._index.drop(path)
    return 0, None


def _ours_alone(engine: VolumeEngine, group: Any, ours: Vector) -> Vector:
    return ours


# ----------------------------------------------------------------------------------------------------------- the join


def _age(half: Half[E]) -> int:
    return max((entry.hlc for entry in half.entries), default=0)


def _latest(ours: Half[E], theirs: Half[E]) -> Half[E]:
    if not theirs.entries:
        return ours
    latest = (theirs, ours)[_age(ours) > _age(theirs)]
    return Half(latest.entries[-1:], versions.joined(ours.seen, theirs.seen))


def _not_carried_out(plan: Plan, *arguments: Any) -> bool:
    return False


def _scope_whoever(volume: str, rule: GroupRule, rules: Sequence[GroupRule]) -> Scope:
    return _scope_of(volume, replace(rule, members=()), rules)


def _group_of(engine: state.State, path: RelPath) -> Any:
    return engine._rules.group_of(path)


def _live_though_unfollowed(index: MemoryIndex, path: RelPath) -> bool:
    return any(index._rows[found].live for found in index._below(path))


def _any_gate(member: Host, plan: Plan) -> bool:
    below = member.tree.below(plan.path)
    is_parent = member.tree.is_directory(parent_of(plan.path))
    return is_parent and (plan.step is Step.ATTRIBUTES) == (plan.path in member.tree.nodes and not below) and not below


def _all_go(brake: Brake, losses: Any, *arguments: Any) -> dict[RelPath, BrakeVerdict]:
    return dict.fromkeys(losses, BrakeVerdict.GO)


def _nothing_waits(self: HostBrake, *arguments: Any) -> None:
    _restart(self, *arguments)
    for waiting in self.waiting.left():
        self.waiting.put(msgspec.structs.replace(waiting, approved=True))


def _of_any_object(entry: ContentEntry | MetaEntry, birth: Dot) -> bool:
    return following.kind_of(entry) is not Kind.ABSENT


def _own_meta(own: Half[MetaEntry], *others: Any) -> tuple[Half[MetaEntry], list[Meta]]:
    return own, []


def _plan_undressed(engine: VolumeEngine, path: RelPath, without: Any = (), *, undressed: bool = False) -> Plan | None:
    return _plan(engine, path, without)


def _nothing(value: Any) -> Callable[..., Any]:
    return lambda *arguments, **options: value


_told = Hearing.told


def _told_by_others(hearing: Hearing, scope: Scope, peer: str, *, joins: bool) -> None:
    if not joins:
        _told(hearing, scope, peer, joins=joins)


FAULTS: dict[str, Fault] = {
    "known-for-applied": Fault("a change builds on what was only known", VolumeEngine, "observe", _known_for_applied),
    "one-knowledge": Fault("one knowledge serves all groups", MemoryIndex, "knowledge", _one_knowledge),
    "knowledge-per-record": Fault(
        "knowledge advances with each record", VolumeEngine, "receive", _knowledge_per_record
    ),
    "mark-from-the-start": Fault("each batch carries the mark", VolumeEngine, "outgoing", _mark_from_the_start),
    "sent-before-durable": Fault("a dot leaves before it is durable", Host, "digest", _sent_before_durable),
    "raw-observation": Fault("what a host cannot show is forgotten", minting, "carried_meta", _from_raw_record),
    "flags-dropped": Fault(
        "what a file system does not have is taken away", carrying, "_carried_xattrs", _xattrs_found
    ),
    "rights-dropped": Fault(
        "whom a host does not know loses his rights", acls, "carried", lambda name, wanted, before, found: found
    ),
    "rights-by-number": Fault(
        "whoever has the number of somebody unknown gets his rights", acls, "numbered", _by_number
    ),
    "raw-record": Fault("what is live is the entry as it stands", policies, "live_meta", _raw_entry),
    "not-carried-along": Fault(
        "what a host cannot show is forgotten by a rename",
        minting.Minting,
        "_moved_here",
        _not_carried_along,
    ),
    "half-set-is-a-change": Fault(
        "attributes half set by a kill are a change", VolumeEngine, "interrupted", _nothing(False)
    ),
    "outcome-forgotten": Fault("a commit cut short is not looked for", digesting, "is_carried_out", _not_carried_out),
    "no-join": Fault("one entry is kept, with the merged vector", remote, "halves_joined", _latest),
    "keep-forgotten": Fault("losers are displaced like anything else", plans, "_must_keep", _nothing(False)),
    "overruled-forgotten": Fault("an entry names no losers", minting, "overruled_by_change", _nothing(())),
    "merged-forgotten": Fault("a merge does not say what it is made of", engine_merging, "latest_dots", _nothing(())),
    "one-side-merged": Fault(
        "a merge takes what one side says", merging, "merged", lambda name, base, ours, theirs: ours
    ),
    "replaced-forgotten": Fault("an equal version is adopted", minting, "known_entry", _known_though_replaced),
    "privileges-kept": Fault("setuid stays with other bytes", policies, "without_privileges", lambda meta: meta),
    "permissions-not-limited": Fault("one of several modes counts", policies, "limited", lambda meta, others: meta),
    "absence-is-a-delete": Fault("what a peer does not speak of is gone", Link, "take_in", _absent_is_deleted),
    "brake-open": Fault("whatever peers take away is carried out", Brake, "verdicts", _all_go),
    "brake-forgotten": Fault("a restart lets through what waits", HostBrake, "restart", _nothing_waits),
    "follow-without-identity": Fault("edits follow whatever was moved", following, "is_of", _of_any_object),
    "edit-left-behind": Fault("edits stay where they were made", NotingEngine, "follow", _nothing(())),
    "empty-context": Fault(
        "what is made where a tombstone was forgotten has seen nothing", state.State, "_seen_of_nothing", _nothing({})
    ),
    "forgotten-before-applied": Fault(
        "a tombstone is forgotten before it is applied here", forgetting.Forgetting, "forget", _forgotten_at_once
    ),
    "forgotten-alone": Fault(
        "a tombstone is forgotten that others have not heard of", forgetting.Forgetting, "_common", _ours_alone
    ),
    "token-ignored": Fault("nobody looks at tokens", quarantine.Quarantine, "shown", _nothing(Verdict.GOOD)),
    "all-is-trusted": Fault("a restored member keeps its last dots", quarantine, "_is_doubtful", _nothing(False)),
    "never-minted-anew": Fault("what was in doubt is let go", quarantine.Quarantine, "mint_anew", _nothing(None)),
    "stale-stays": Fault(
        "what was removed meanwhile stays at a restored member", quarantine.Quarantine, "is_stale", _nothing(False)
    ),
    "hash-unread": Fault("nobody compares set hashes", mending.Mending, "differing", _nothing([])),
    "application-lost": Fault(
        "what is known counts as shown before it is", state.State, "_is_pending", _nothing(False)
    ),
    "shown-unread": Fault(
        "nobody looks whether what is known is shown", Overlooking, "_is_overlooked", _nothing(False)
    ),
    "receiver-keeps-all": Fault(
        "what nobody knows stays at who only receives", healing.Healing, "_let_go", _nothing({})
    ),
    "links-forgotten": Fault("each name is a file of its own", Links, "twin", _nothing(None)),
    "meta-by-name": Fault("linked paths decide each for itself", state, "shared_meta", _own_meta),
    "cut-is-an-edit": Fault("what a power cut took is an edit", Evidence, "is_damage", _nothing(False)),
    "moved-is-gone": Fault("a rename's row proves that its old name is gone", Whereabouts, "_rest_of", _nothing(None)),
    "moved-unread": Fault("who follows a move has not what its maker had", wholes, "digest_of", _nothing(b"")),
    "read-as-put": Fault(
        "rows are read as they were put before the rules changed", MemoryIndex, "_read", lambda index, path, row: row
    ),
    "not-taken-back": Fault("a removed edit is waited for", taking_back.TakingBack, "_take_back", _nothing(None)),
    "unfollowed-lives": Fault(
        "a directory lives by what is not followed any more", MemoryIndex, "has_live_below", _live_though_unfollowed
    ),
    "members-unread": Fault("other members are no other revision of a group", groups, "scope_of", _scope_whoever),
    "strangers-follow": Fault("who is not in a group follows its paths", state.State, "_followed", _group_of),
    "joining-waits": Fault("who joins counts on nobody else who joins", Hearing, "told", _told_by_others),
    "vouched-unheard": Fault("a member vouches for what it has not heard of", claims, "includes", _nothing(True)),
    "vouched-unstored": Fault("a member vouches for contents it has not", claims, "contents_claimed", _nothing([])),
    "strangers-stay": Fault("whom a host comes to know gets no rights", VolumeEngine, "plan", _plan_undressed),
    "gone-forgotten": Fault(
        "who has no account any more loses his name in lists", acls, "names_kept", lambda before, found: found
    ),
    "left-unknown": Fault(
        "what was shown before something else was is forgotten at once", moving.Moving, "_leave", _nothing(None)
    ),
    "busy-unasked": Fault("commits do not look at what is changed in memory", Host, "_is_busy", _nothing(False)),
    "gate-open": Fault("commits do not look at what is there", Host, "_is_allowed", _any_gate),
}
