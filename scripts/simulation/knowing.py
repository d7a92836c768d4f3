"""What members of a healed cluster must know, have forgotten, and be done with."""

from csfs.core.digests import digest_of, together
from csfs.core.objects import Kind
from csfs.core.paths import ROOT, RelPath, ancestors_of
from csfs.core.versions import covers
from csfs.engine.forgetting import dots_of
from csfs.engine.overlooking import NOTHING_OVERLOOKED
from csfs.engine.ports import Row
from csfs.engine.rules import may_send
from scripts.simulation.cluster import Cluster
from scripts.simulation.equality import apart_of, kept_alone, pairs_of_equals
from scripts.simulation.host import Host
from scripts.simulation.plan import Act

WALKS_MAX = 40
"""Of one group with each other member: a member that was cloned catches up whenever somebody has said something."""
LATE_MINTS_MAX = 0
"""Versions made after the last user's change."""


def check_settled(cluster: Cluster, gone: set[RelPath]) -> None:
    """Nothing is left to do, and everything is known."""
    apart = apart_of(cluster) | gone | {path for one in gone for path in ancestors_of(one)}
    for host in cluster.members:
        left = [path for path in host.index.pending() if path not in apart and not apart & set(ancestors_of(path))]
        assert not left or ROOT in apart, f"{host.name} is left with {left}"
        for path in host.tree.nodes:
            group = host.rules.group_of(path)
            is_followed = group is not None and host.name in group.members
            is_known = host.index.row(path) is not None or path in host.held
            assert is_known or not is_followed, f"{host.name} never saw {path!r}"


def check_quiet(cluster: Cluster) -> None:
    """Nobody makes versions by himself, and nobody has anything left to say."""
    late = cluster.minted() - cluster.minted_following() - cluster.minted_by_users
    assert late <= LATE_MINTS_MAX, f"{late} versions were made after the last user's change"
    for path, count in cluster.merged().items():
        merges = count - cluster.merged_before[path]
        # Each host may have something that nobody has heard of: where a member was cloned, either of its two.
        assert merges <= len(cluster.hosts) + len(cluster.parked), (
            f"{merges} merges of {path!r} were made after the last user's change"
        )
    for link in cluster.links.values():
        if not link.up:
            continue
        out = link.source.engine.outgoing(link.position, link.knowledge, 100, link.target.name)
        said = (*out.updates, out.mark) if out.mark else out.updates
        assert said == (), f"{link.source.name} goes on talking to {link.target.name}: {said}"


def check_known(cluster: Cluster) -> None:
    """Members of a group have the same records of all that is live, and the set hashes of it."""
    for host in cluster.members:
        assert not host.engine.is_in_quarantine, f"{host.name} is still in quarantine"
        rows = host.index.rows()
        for group in host.rules.groups:
            counted = together(digest_of(path, row.record) for path, row in rows.items() if row.scope == group.scope)
            assert host.index.digest(group.scope) == counted, f"{host.name} counted another set hash than it has"
    is_harmed = bool(cluster.plan.acts() & {Act.RESTORE, Act.CLONE, Act.POWER_CUT} or cluster.rotten)
    for one, other in pairs_of_equals(cluster):
        ours, theirs = (_rows_of_all(cluster, host) for host in (one, other))
        for path in sorted(ours.keys() | theirs.keys()):
            group, rows = one.rules.group_of(path), (ours.get(path), theirs.get(path))
            if group is None or not {one.name, other.name} <= set(group.members):
                continue
            left, right = (_standing(row, is_harmed or cluster.is_changed(path)) for row in rows)
            assert left == right, f"{one.name} and {other.name} know of {path!r}: {left} and {right}"


def _rows_of_all(cluster: Cluster, host: Host) -> dict[RelPath, Row]:
    """Return a member's rows, but for those of what it keeps alone."""
    alone = kept_alone(cluster, host)
    return {path: row for path, row in host.index.rows().items() if path not in alone}


def _standing(row: Row | None, is_harmed: bool) -> object:
    """Return what stands in a record that is live.

    What a member mints anew that a backup or a power cut has set back, or is made where a record was lost, has not seen tombstones
    that some have forgotten: others have these beside it. So have those who were in another group than who has forgotten them.
    """
    if row is None or not row.live:
        return None
    content, meta = row.record.content.entries, row.record.meta.entries
    if is_harmed:
        content = tuple(entry for entry in content if entry.value.kind is not Kind.ABSENT)
        meta = tuple(entry for entry in meta if entry.kind is not Kind.ABSENT)
    is_directory = any(entry.value.kind is Kind.DIRECTORY for entry in content)
    return content, meta, row.record.time if is_directory else None


def check_forgotten(cluster: Cluster) -> None:
    """Nobody remembers a tombstone that all have applied, and nothing comes back for that."""
    for host in cluster.members:
        for path, gone in cluster.ledger.gone.items():
            row = host.index.row(path)
            living = [e for e in row.record.content.entries if e.value.kind is not Kind.ABSENT] if row else []
            back = [entry.dot for entry in living if covers(gone, entry.dot)]
            if row is not None and any(not covers(gone, entry.dot) for entry in row.record.meta.entries):
                back = []  # somebody who was set back has changed its attributes since: the edit lives
            if path in cluster.rotten:
                continue  # what is left of a record that a bad disk took looks like a tombstone, and is to come back
            # Who did not follow a path for a while has what he had then; what all who may change it were set back to is what there is.
            group = host.rules.group_of(path)
            heard = {one.number for one in cluster.members if group is not None and may_send(group, one.name)}
            is_excused = cluster.is_changed(path) or heard <= cluster.restored
            assert not back or is_excused, f"{path!r} is back at {host.name}: {back}"
    if any(host.index.unsettled(1) for host in cluster.members):
        return
    for host in cluster.members:
        for path, row in host.index.removed(ROOT, 1_000):
            group = host.rules.group_of(path)
            is_past = row.record.time is None or row.record.time.hlc <= host.index.clock()
            # Of lives that ended before the rules changed, no knowledge says anything.
            is_told = all(covers(host.index.knowledge(row.scope), dot) for dot in dots_of(row.record))
            is_ours = group is not None and host.name in group.members
            assert not (is_ours and is_past and is_told), f"{host.name} remembers {path!r}"


def check_walks(cluster: Cluster) -> None:
    """Nobody had lost anything that he took for known, unless something was taken from him; and nobody looks for it for ever."""
    is_harmed = bool(cluster.plan.acts() & {Act.RESTORE, Act.CLONE, Act.POWER_CUT} or cluster.rotten)
    for host in cluster.hosts:
        # Who was not in a group for a while brings back what the others removed meanwhile, and have forgotten.
        lost = {path for path in host.lost if not (path in cluster.ledger.gone and cluster.is_changed(path))}
        assert is_harmed or not lost, f"{host.name} had lost {sorted(lost)}"
        walks_max = WALKS_MAX * len(cluster.hosts) * len(host.rules.groups)
        assert host.walks <= walks_max, f"{host.name} was walked with {host.walks} times"


def check_overlooked(cluster: Cluster) -> None:
    """Nobody took for shown what was not, unless something made him forget it; and nothing is left of that.

    Without its record a path is as good as new, whatever is known of what is below it; and without that a directory need not be there.
    """
    rotten = {one for path in cluster.rotten for one in (path, *ancestors_of(path))}
    for host in cluster.hosts:
        found = host.overlooked - rotten - {path for name, path in cluster.forgotten if name == host.name}
        assert not found, (
            f"{host.name} took {sorted(found)} for shown, and nothing had made it forget that they are not"
        )
        left = host.engine.take_up(host.index.rows())
        assert left == NOTHING_OVERLOOKED, f"{host.name} shows something else than it knows: {left}"
