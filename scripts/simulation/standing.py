"""How simulated members stand: what they say of it, what they forget, and how those that differ are made equal."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from csfs.core import versions
from csfs.core.digests import Digested, Range, digest_of
from csfs.core.paths import ROOT, RelPath
from csfs.core.tokens import NONCE_SIZE, Verdict, confirmed, given
from csfs.core.versions import Scope, Vector
from csfs.engine.mending import Walk, parts_of
from csfs.engine.ports import Standing
from scripts.simulation.host import Host
from scripts.simulation.ledger import Forgotten

KEY = b"of this member's index"


@dataclass(frozen=True)
class Report:
    """How far a member is, what it has, a fresh token for the peer, and the last one that it has of the peer."""

    standings: dict[Scope, Standing]
    digests: dict[Scope, bytes]
    quarantined: bool = False
    token: bytes = field(default=b"", compare=False)
    held: bytes = field(default=b"", compare=False)

    @classmethod
    def of(cls, host: Host) -> Report:
        """Return how a member stands."""
        return cls(host.engine.standings(), host.engine.digests(), host.engine.is_in_quarantine)


def shows_token(host: Host, peer: str, token: bytes) -> bool:
    """A peer shows the last token that it has of a member; return whether that one does not remember it (R8)."""
    verdict = host.engine.shown(peer, KEY, token)
    if verdict is Verdict.AHEAD:
        host.engine.distrust()
        host.relearn()
    host.index.commit()
    return verdict is Verdict.AHEAD


def give_token(host: Host, peer: str) -> bytes:
    """Return a fresh token for a peer, durable here."""
    host.given += 1
    nonce = (host.given * 100 + host.number).to_bytes(NONCE_SIZE, "big")
    tokens, token = given(host.index.tokens(peer), peer, KEY, nonce)
    host.index.keep_tokens(peer, tokens)
    return token


def hold_token(host: Host, peer: str, token: bytes) -> None:
    """Remember the last token that a peer gave, with what came with it."""
    host.index.set_tokens(peer, msgspec.structs.replace(host.index.tokens(peer), held=token))


def take_report(report: Report, source: Host, target: Host, now_ns: int, connected: dict[str, bool]) -> None:
    """Take in how a peer stands, and do what follows from it. `connected` says of each peer whether it is in quarantine itself."""
    engine, index = target.engine, target.index
    target.sort_all()
    engine.stands(source.name, report.standings, report.digests)
    index.set_tokens(source.name, confirmed(index.tokens(source.name), report.held))
    hold_token(target, source.name, report.token)
    index.commit()
    end_quarantine(report, source, target, now_ns, connected)
    for scope in engine.differing(source.name, report.standings, report.digests):
        if not (source.is_anew or target.is_anew):
            heal(scope, source, target, now_ns)


def end_quarantine(report: Report, source: Host, target: Host, now_ns: int, connected: dict[str, bool]) -> None:
    """Catch up with a peer that stands like this, if a member is in quarantine and may: whenever anybody has said anything."""
    engine = target.engine
    is_sound = bool(report.digests) or (report.quarantined and engine.have_all_lost(connected))
    if engine.is_in_quarantine and is_sound and engine.may_catch_up_with(source.name, report.standings):
        catch_up(report, source, target, now_ns, connected)


def catch_up(report: Report, source: Host, target: Host, now_ns: int, connected: dict[str, bool]) -> None:
    """Take away what is stale by a peer all of whose knowledge is here, and end the quarantine if nobody else is waited for."""
    for scope, standing in report.standings.items():
        if source.engine.may_tell(target.name, scope) and source.speaks_in(scope):
            heal(scope, source, target, now_ns, standing)
            if source.is_anew or target.is_anew:
                return
    if target.engine.caught_up(source.name, [name for name, quarantined in connected.items() if not quarantined]):
        minted = target.index.minted
        for path in target.engine.doubtful():
            target.engine.mint_anew(path, now_ns)
        target.unasked_minted += target.index.minted - minted
    target.index.commit()


def heal(scope: Scope, source: Host, target: Host, now_ns: int, stale_by: Standing | None = None) -> None:
    """Walk to the paths at which two members differ, and have each take in what the other has there."""
    source.sort_all()
    target.sort_all()
    walk = Walk(target.engine.unvouched(source.name, scope))
    while (asked := walk.question()) is not None:
        theirs = live_in(source, scope, asked)
        walk.answered(asked, parts_of(theirs, len(theirs)), live_in(target, scope, asked))
    target.walks += 1
    known = stale_by.known if stale_by is not None else None
    for path in walk.differing:
        if not _mend(scope, path, source, target, now_ns, known):
            break
    else:
        if walk.is_whole and target.engine.walked(source.name, scope):
            target.forget_cursors()
    source.index.commit()
    target.index.commit()


def _mend(scope: Scope, path: RelPath, source: Host, target: Host, now_ns: int, known: Vector | None) -> bool:
    """Have two members take in what the other has at a path; return whether none was told a change of its own that it has not made."""
    updates = source.engine.records(scope, [path])
    healed = target.engine.healed(source.name, scope, [path], updates, now_ns, known_there=known)
    target.engine.follow(healed.received.touched, now_ns)
    if healed.received.is_ahead:
        target.outlived(source.name)
        return False
    target.lost.update(healed.lost)
    if healed.has_let_go:
        target.forget_cursors()
    ours = target.engine.records(scope, [path])
    if target.speaks_in(scope):
        hold_token(source, target.name, give_token(target, source.name))
        healed = source.engine.healed(target.name, scope, [path], ours, now_ns)
        source.engine.follow(healed.received.touched, now_ns)
        if healed.received.is_ahead:
            source.outlived(target.name)
            return False
        source.lost.update(healed.lost)
    return True


def live_in(host: Host, scope: Scope, asked: Range) -> list[Digested]:
    """Return what is live in a range, ascending."""
    rows = sorted(host.index.rows().items())
    return [
        (path, digest_of(path, row.record))
        for path, row in rows
        if row.scope == scope and row.live and asked.holds(path)
    ]


def forget(host: Host) -> None:
    """Drop tombstones that nobody needs."""
    if host.unsorted is not None:
        return
    settled = host.engine.settled_everywhere()
    before, above = host.index.rows(), ROOT
    while above is not None:
        _, above = host.engine.forget(settled, above, 10)
    for path in before.keys() - host.index.rows().keys():
        if not before[path].record.content.entries:
            continue  # what it said was in doubt, and taken out: that is no removal
        gone = host.ledger.gone.get(path, versions.EMPTY)
        host.ledger.gone[path] = versions.joined(gone, settled.get(before[path].scope, versions.EMPTY))
        group = host.rules.group_of(path)
        if group is not None:
            seen = before[path].record.content.seen
            host.ledger.forgotten.setdefault(path, []).append(Forgotten(tuple(group.members), seen))
    host.index.commit()
