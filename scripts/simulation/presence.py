"""What must be there in a healed cluster: all that was written and not replaced, and nothing that nobody made."""

from csfs.core.objects import Content, Kind
from csfs.core.paths import ROOT, RelPath, ancestors_of, parent_of
from scripts.simulation.cluster import Cluster
from scripts.simulation.host import Host
from scripts.simulation.plan import Act
from scripts.simulation.tree import Node, hash_of


def check_best_shown(cluster: Cluster, gone: set[RelPath]) -> None:
    """Where the best version's content is nowhere, another version is shown, and nothing older, if one is to be had (R21)."""
    held = (node.data for host in cluster.members for node in host.tree.nodes.values())
    at_hand = {hash_of(data) for data in (*held, *(data for host in cluster.members for data in host.kept))}
    for host in cluster.members:
        for path in sorted(gone & set(host.index.pending())):
            row, node = host.index.row(path), host.tree.nodes.get(path)
            assert row is not None
            entries = [entry.value for entry in row.record.content.entries]
            if not host.tree.is_directory(parent_of(path)) or host.index.has_live_below(path) or host.tree.below(path):
                continue  # a directory that holds anything cannot go
            if any(value.kind is Kind.FILE and value.hash in at_hand for value in entries):
                is_one = any(_is_shown(value, node) for value in entries)
                assert is_one, f"{host.name} shows {node} at {path!r}, and none of {entries}"


def _is_shown(value: Content, node: Node | None) -> bool:
    if node is None or value.kind is not node.kind:
        return node is None and value.kind is Kind.ABSENT
    return value.kind is not Kind.FILE or value.hash == hash_of(node.data)


def check_nothing_lost(cluster: Cluster) -> None:
    """Each content is live, was replaced by someone who saw it, or is kept."""
    hosts = (*cluster.hosts, *cluster.parked.values())
    trees = [host.tree for host in hosts]
    live = {node.data for tree in trees for node in tree.nodes.values() if node.kind is Kind.FILE}
    kept = {data for host in hosts for data in host.kept}
    ledger = cluster.ledger
    replaced = ledger.replaced | ledger.merged_in
    # What has stayed under retention alone is promised to nobody who is set back after that, like what was replaced.
    retained = _retained(cluster) | _made_twice(cluster, {one for host in cluster.hosts for one in host.lapsed})
    lost = ledger.written.keys() - live - kept - replaced - ledger.excused - retained - _taken_away(cluster)
    assert not lost, f"lost {sorted(lost)}, written at {sorted(ledger.written[data] for data in lost)}"


def _retained(cluster: Cluster) -> set[bytes]:
    """Return what stays under retention alone, though nobody has replaced it who had seen it (docs/replication.md).

    That is what a member made in a life that it lost, if it has changed the path again under the same dots before it met who had heard
    of that life: nobody can tell then that this change had not seen the other; so it is with what others, who have heard of that,
    make at a path of which they know nothing yet; and what was moved into another group, and loses there.
    """
    displaced = {one for host in (*cluster.hosts, *cluster.parked.values()) for one in host.retained}
    apart = {data for host in cluster.hosts for path, data in host.retained if _is_contested_apart(host, path, data)}
    return _made_twice(cluster, displaced) | apart


def _made_twice(cluster: Cluster, displaced: set[tuple[RelPath, bytes]]) -> set[bytes]:
    """Return what of this was replaced by somebody for whom its dot had another meaning, or may have had."""
    twice = cluster.made_twice | {(path, name) for name, life in cluster.lives for path in life.made_by_hearers()}
    return {data for path, data in displaced if (path, cluster.ledger.writers.get(data)) in twice}


def _is_contested_apart(host: Host, path: RelPath, data: bytes) -> bool:
    """Return whether a conflict in another group than that of a path is about a content: retention lets it stay so long."""
    others = (one for one in host.index.contested() if host.rules.group_of(one) is not host.rules.group_of(path))
    rows = (host.index.row(one) for one in others)
    return any(entry.value.hash == hash_of(data) for row in rows if row for entry in row.record.content.entries)


def _taken_away(cluster: Cluster) -> set[bytes]:
    """Return contents for which no author speaks, and that programs took away wherever they were, while nobody listened to them."""
    unheard = {host.name: host.programs.unheard.keys() for host in cluster.hosts}
    return {data for data, at in cluster.ledger.orphans.items() if all(data in unheard[member] for member in at)}


def check_acknowledged(cluster: Cluster) -> None:
    """What a program was told that others have is there, whatever disaster befell its own member, or the others but one (R26)."""
    hosts = (*cluster.hosts, *cluster.parked.values())
    there = {node.data for host in hosts for node in host.tree.nodes.values()}.union(*(host.kept for host in hosts))
    there |= _retained(cluster) | _taken_away(cluster) | cluster.ledger.replaced
    there.update(*(cluster.ledger.origins(data) for data in there))
    for one in cluster.ledger.acknowledged:
        is_seen = one.data in there or cluster.ledger.written[one.data] in cluster.rotten
        have_all_lost = one.lost.issuperset(one.holders)
        assert is_seen or have_all_lost, f"{one.data!r} was on {one.holders}, and only {one.lost} lost anything"


def check_nothing_deleted(cluster: Cluster, gone: set[RelPath]) -> None:
    """Where somebody made something, and nobody took anything away since, something is, unless it waits for a content that is `gone`.

    What was made after everybody was set back is kept, but not live, where the other host of a member that was cloned was not set
    back, and has heard of the same dots with another meaning. What somebody lost, knowing all that it was made of, looks to who was
    set back as if it had been removed, and forgotten: he takes it away, and if nobody else had it, it is gone.
    """
    were_all_set_back = cluster.parked and len(cluster.restored) == len(cluster.hosts)
    if cluster.changed_rules or were_all_set_back or cluster.plan.acts() & {Act.JOIN}:
        return
    for host in cluster.members:
        for path in cluster.ledger.made - cluster.ledger.taken - gone:
            group = host.rules.group_of(path)
            if group is None or host.name not in group.members or cluster.is_changed(path):
                continue
            if len(group.members) == 1 and host.number in cluster.parked:
                continue  # nobody tells the copies of a member what is its own alone: each has what was made there
            rows = [one.index.row(path) for one in cluster.members]
            if path in cluster.rotten and cluster.restored and not any(row is not None and row.live for row in rows):
                continue
            above = [host.tree.nodes.get(one) for one in ancestors_of(path)]
            beaten = any(node is None or node.kind is not Kind.DIRECTORY for node in above)
            assert path in host.tree.nodes or beaten, f"{path!r} is gone from {host.name}, and nobody removed it"


def check_paths(cluster: Cluster) -> None:
    """Nothing is anywhere where no user made anything."""
    for host in cluster.hosts:
        unmade = host.tree.nodes.keys() - cluster.ledger.paths - {ROOT}
        assert not unmade, f"{host.name} has {sorted(unmade)}, which nobody made"
