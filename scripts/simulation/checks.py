"""What must hold of a healed cluster, whatever happened to it. A check that fails says what it found."""

from csfs.core.objects import Kind
from csfs.core.paths import RelPath, ancestors_of
from csfs.engine.rules import may_send
from scripts.simulation.cluster import Cluster
from scripts.simulation.equality import check_equal, check_links, check_together
from scripts.simulation.followed import check_followed, check_follows
from scripts.simulation.granting import check_dressed, check_limited, check_nothing_granted, check_owners
from scripts.simulation.host import Host
from scripts.simulation.knowing import (
    check_forgotten,
    check_known,
    check_overlooked,
    check_quiet,
    check_settled,
    check_walks,
)
from scripts.simulation.living import check_living
from scripts.simulation.plan import Act
from scripts.simulation.presence import (
    check_acknowledged,
    check_best_shown,
    check_nothing_deleted,
    check_nothing_lost,
    check_paths,
)
from scripts.simulation.staying import check_outside
from scripts.simulation.tree import hash_of


def check(cluster: Cluster) -> None:
    """Check a healed cluster: equal trees, nothing lost, nothing granted, nothing left to say."""
    gone = contents_gone(cluster)
    check_equal(cluster, gone)
    check_links(cluster, gone)
    check_together(cluster, gone)
    check_best_shown(cluster, gone)
    check_settled(cluster, gone)
    check_nothing_lost(cluster)
    check_acknowledged(cluster)
    check_nothing_deleted(cluster, gone)
    check_nothing_granted(cluster)
    check_limited(cluster)
    check_owners(cluster)
    check_dressed(cluster)
    check_paths(cluster)
    check_living(cluster)
    check_outside(cluster)
    check_followed(cluster)
    check_follows(cluster)
    check_quiet(cluster)
    check_known(cluster)
    check_forgotten(cluster)
    check_walks(cluster)
    check_overlooked(cluster)


def contents_gone(cluster: Cluster) -> set[RelPath]:
    """Return the paths that wait for a content that went down with a disk: what they showed stays live (R21).

    Or for one that a person decided on for all names of a file, and a program took away where it was shown, or that its writer
    replaced before he was taken out of the group (docs/replication.md).
    """
    acts, taken = cluster.plan.acts(), {hash_of(data) for data in cluster.ledger.replaced | cluster.ledger.merged_in}
    is_harmed = bool(acts & {Act.RESTORE, Act.CLONE, Act.LEAVE, Act.RULES, Act.POWER_CUT})
    members = cluster.members
    at_hand = {hash_of(data) for host in members for data in (*host.kept, *(n.data for n in host.tree.nodes.values()))}
    gone = set()
    for host in members:
        for path in host.index.pending():
            row = host.index.row(path)
            assert row is not None
            wanted = {entry.value.hash for entry in row.record.content.entries if entry.value.kind is Kind.FILE}
            missing = wanted - at_hand
            is_rejected = Act.REJECT in acts and missing <= taken
            if missing and (is_harmed or is_rejected or missing <= _left_with_writers(cluster, host, path)):
                gone.add(path)
            if any(not (host.follows(one) or host.tree.is_directory(one)) for one in ancestors_of(path)):
                gone.add(path)  # somebody has to make the directory here that it is in
    return gone


def _left_with_writers(cluster: Cluster, host: Host, path: RelPath) -> set[bytes]:
    """Return the hashes of contents that users replaced, and whose writers nobody listens to at a path now.

    What took their place is told to nobody.
    """
    group, ledger = host.rules.group_of(path), cluster.ledger
    return {
        hash_of(data)
        for data, writer in ledger.writers.items()
        if data in ledger.replaced and not (group is not None and may_send(group, writer))
    }
