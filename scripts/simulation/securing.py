"""Programs of simulated members that wait until others have what they wrote (R26), and what is promised to them then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csfs.core.groups import Group
from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.core.synchrony import Mode, Synchrony
from csfs.engine import claims
from csfs.wire.messages import Claim
from scripts.simulation.acknowledged import Acknowledged
from scripts.simulation.plan import Act
from scripts.simulation.tree import hash_of

if TYPE_CHECKING:
    from scripts.simulation.cluster import Cluster
    from scripts.simulation.host import Host

SYNCHRONIES = (
    Synchrony(Mode.RECEIVED),
    Synchrony(Mode.DURABLE, 1),
    Synchrony(Mode.DURABLE, 2),
    Synchrony(Mode.QUORUM),
)


def secure(cluster: Cluster, host: Host, path: RelPath, synchrony: Synchrony, *, patient: bool) -> None:
    """A program has written, and waits; `patient`: until all that its member has to say has arrived everywhere that can be reached."""
    now_ns, group = cluster.now(host), host.rules.group_of(path)
    if group is None or not host.programs.speaks(path) or host.engine.is_in_quarantine:
        return
    host.digest(now_ns)
    row, node = host.index.row(path), host.tree.nodes.get(path)
    if row is None or node is None or node.kind is not Kind.FILE or row.applied.content_dot is None:
        return
    claim = claims.claim_of(path, row)
    having = [
        other.number
        for other in _reachable(cluster, host, group)
        if _hears(cluster, host, other, patient=patient) and _has(cluster, other, claim, durable=synchrony.is_durable)
    ]
    needed = synchrony.needed(len(group.members))
    if len(having) < needed:
        return  # time is over: nobody knows
    if synchrony.mode is Mode.QUORUM:
        cluster.disks[host.number].flush()
    cluster.ledger.acknowledged.append(Acknowledged(node.data, synchrony, (host.number, *having)))


def lost(cluster: Cluster, member: int, by: Act) -> None:
    """A member has lost what it had: all of it, or what was in its memory, or what nobody had synced."""
    for one in cluster.ledger.acknowledged:
        synchrony, is_synced = one.synchrony, one.synchrony.is_durable
        if by is Act.POWER_CUT and member == one.holders[0]:
            is_synced = synchrony.mode is Mode.QUORUM
        if member in one.holders and (by in (Act.RESTORE, Act.CLONE) or not is_synced):
            one.lost.add(member)


def torn(cluster: Cluster, member: int, gone: set[bytes]) -> None:
    """A power cut has taken away all names of what was synced, amid a rename that nobody synced.

    A member vouches for what it has then: a program that renames it later, on a file system that does not rename in one step, can
    lose it there as if it had removed it. So what is left of it is what the others have who vouched.
    """
    for one in cluster.ledger.acknowledged:
        if member in one.holders and one.data in gone:
            one.lost.add(member)


def _reachable(cluster: Cluster, host: Host, group: Group) -> list[Host]:
    others = [other for other in cluster.hosts if other is not host and other.name in group.members]
    return [other for other in others if cluster.are_linked(host, other)]


def _hears(cluster: Cluster, host: Host, other: Host, *, patient: bool) -> bool:
    """Have a member hear what there is to say, if the program waits that long; return whether it is still there then."""
    if patient:
        cluster.tell_all(cluster.links[host.number, other.number])
    return cluster.are_linked(host, other)


def _has(cluster: Cluster, other: Host, claim: Claim, *, durable: bool) -> bool:
    """Have a member vouch for versions, as `replicate/vouching.py` does; return whether it can."""
    path = RelPath(claim.path)
    if not other.follows(path) or not claims.includes(other.index, path, claim):
        return False
    found = claims.contents_claimed(other.index, path, claim)
    if found is None and not _holds(other, claim.hash):
        return False
    if not all(_has_content(other, place, entry.value.hash, cluster.now(other)) for place, entry in found or ()):
        return False
    if durable:
        cluster.disks[other.number].flush()
    return True


def _holds(other: Host, content_hash: bytes) -> bool:
    """Return whether a member has a content on its disk."""
    held = (*other.kept, *(node.data for node in other.tree.nodes.values()))
    return any(hash_of(data) == content_hash for data in held)


def _has_content(other: Host, path: RelPath, content_hash: bytes, now_ns: int) -> bool:
    data = other.contents(content_hash)
    if data is None or other.holds(data):
        return data is not None
    other.cache[content_hash] = data
    live = other.engine.live(path)
    if live is not None and live.content.hash == content_hash:
        other.apply(path, now_ns)
    if not other.holds(data):
        if other.programs.full:
            return False
        other.kept.add(data)
    return True
