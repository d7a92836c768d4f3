"""What members of a healed cluster must show alike."""

from collections.abc import Iterator
from itertools import combinations, pairwise

from csfs.core import acls
from csfs.core.objects import Kind, Meta, Observation
from csfs.core.paths import RelPath, ancestors_of, is_below
from csfs.core.policies import NONE
from csfs.core.treatment import flags_in
from csfs.core.versions import covers
from csfs.engine.live import meta_of
from csfs.engine.rules import may_send
from scripts.simulation import rights
from scripts.simulation.cluster import Cluster
from scripts.simulation.host import Host
from scripts.simulation.plan import Act
from scripts.simulation.tree import Owner


def shown(host: Host) -> dict[RelPath, tuple[object, ...]]:
    """Return what a member's tree shows, or stands for where it cannot show it exactly; not what is to stay at it alone."""
    found: dict[RelPath, tuple[object, ...]] = {}
    for path, node in host.tree.nodes.items():
        row = host.index.row(path)
        if row is None or (path in host.held and row.applied.observation is None and not row.live):
            continue
        wanted = row.applied.meta or _as_taken(host, path, row.applied.observation)
        owner, group = Owner(wanted.owner, wanted.uid), Owner(wanted.group, wanted.gid)
        mtime_ns = row.applied.mtime_ns if row.applied.mtime_ns is not None else node.mtime_ns
        flags = flags_in(wanted.xattrs) if row.applied.meta is not None else node.flags
        assert host.tree.has_flags or not node.flags, f"{host.name} shows flags at {path!r}, which it has not"
        able, given = node.capability, rights.rights_in(wanted.xattrs)
        found[path] = (node.kind, node.data, node.mode, able, given, flags, owner, group, mtime_ns)
    return found


def _as_taken(host: Host, path: RelPath, recorded: Observation | None) -> Meta:
    """Return what a disk shows, with those as its owners and in lists for whom they were taken when it was recorded.

    Their accounts may be gone since then.
    """
    found = host.tree.observed(path)
    assert found is not None
    if recorded is None or (recorded.uid, recorded.gid) != (found.uid, found.gid):
        return meta_of(found)
    xattrs = recorded.xattrs if acls.are_same_here(recorded.xattrs, found.xattrs) else found.xattrs
    return Meta(found.mode, found.uid, found.gid, recorded.owner, recorded.group, xattrs)


def kept_alone(cluster: Cluster, host: Host) -> set[RelPath]:
    """Return what a receive-only member has, and nobody who is listened to: others had removed and forgotten it without this member.

    It was not in their group then, and came to it with that. Nobody listens to it, and what is known stays (docs/replication.md).
    """
    alone = set[RelPath]()
    for path, row in host.index.rows().items():
        group = host.rules.group_of(path)
        if group is None or host.name not in group.receive_only or not row.live:
            continue
        heard = [one.index.row(path) for one in cluster.members if may_send(group, one.name)]
        if any(other is not None and other.live for other in heard):
            continue
        missed = [one.seen for one in cluster.ledger.forgotten.get(path, ()) if host.name not in one.members]
        entries = [entry for entry in row.record.content.entries if entry.value.kind is not Kind.ABSENT]
        if all(any(covers(seen, entry.dot) for seen in missed) for entry in entries):
            alone.add(path)
    return alone


def check_equal(cluster: Cluster, gone: set[RelPath]) -> None:
    """Members of a path's group show the same there; where the policy is `none`, they know the same."""
    apart = apart_of(cluster)
    for one, other in pairs_of_equals(cluster):
        ours, theirs = shown(one), shown(other)
        alone = kept_alone(cluster, one) ^ kept_alone(cluster, other)
        for path in ours.keys() | theirs.keys():
            group = one.rules.group_of(path)
            assert group == other.rules.group_of(path), f"{path!r} belongs to different groups"
            if group is None or not {one.name, other.name} <= set(group.members) or path in apart:
                continue
            if NONE in group.policy:
                rows = one.index.row(path), other.index.row(path)
                assert all(rows), f"{one.name} and {other.name} do not both know of {path!r}"
                continue
            is_same = (
                _is_same(cluster, path, ours.get(path), theirs.get(path), (one, other))
                or _is_kept(path, alone, ours.get(path), theirs.get(path))
                or path in gone
                or bool(gone.intersection(ancestors_of(path)))
                or _is_same_but_for_names(path, ours.get(path), theirs.get(path), gone, (one, other))
            )
            assert is_same, f"{one.name} and {other.name} differ at {path!r}: {ours.get(path)} and {theirs.get(path)}"


def _is_kept(
    path: RelPath, alone: set[RelPath], ours: tuple[object, ...] | None, theirs: tuple[object, ...] | None
) -> bool:
    """Return whether one member shows something and the other one nothing since one of them has that `alone`.

    Or one a directory for what is below it, and the other one what that had to give way to.
    """
    if path in alone:
        return None in (ours, theirs)
    directories = [one for one in (ours, theirs) if one is not None and one[0] is Kind.DIRECTORY]
    return len(directories) == 1 and any(is_below(one, path) for one in alone)


def _is_same(
    cluster: Cluster,
    path: RelPath,
    ours: tuple[object, ...] | None,
    theirs: tuple[object, ...] | None,
    hosts: tuple[Host, Host],
) -> bool:
    """Return whether two members show the same.

    Who lost the record of a directory that was removed since, and lives on by what is below it, does not know its time any more, and
    no set hash tells that (docs/replication.md). So it is with who was set back, had changed it, and only receives since.
    """
    rows = [host.index.row(path) for host in cluster.members]
    receive = {host.number for host in hosts if host.name in cluster.shape.receive_only}
    is_lost = path in cluster.rotten or bool(cluster.restored & receive)
    if is_lost and not any(row is not None and row.live for row in rows):
        ours, theirs = (one[:-1] if one is not None else None for one in (ours, theirs))
    return ours == theirs


def _is_same_but_for_names(
    path: RelPath,
    ours: tuple[object, ...] | None,
    theirs: tuple[object, ...] | None,
    gone: set[RelPath],
    hosts: tuple[Host, Host],
) -> bool:
    """Return whether two members show the same bytes, at one of them as another name of what stands in for a content that is `gone`.

    That one shows, until then, what the other path is to have of attributes (docs/replication.md).
    """
    if ours is None or theirs is None or ours[:2] != theirs[:2]:
        return False
    return any(gone.intersection(host.tree.names_of(host.tree.nodes[path])) for host in hosts)


def _led(cluster: Cluster) -> list[Host]:
    """Return the members that are to be equal: all but who only receives, and knows more of what another one made than that one itself.

    That other one was set back together with all that held its tokens; what it makes next is taken for known there
    (docs/replication.md).
    """
    members = cluster.members
    restored = [host for host in members if host.number in cluster.restored]
    lives = [(host.incarnation, host.index.last_counter(scope), scope) for host in restored for scope in host.scopes]
    ahead = {
        host.name
        for host in members
        for life, counter, scope in lives
        if life != host.incarnation and host.index.knowledge(scope).get(life, 0) > counter
    }
    return [host for host in members if host.name not in ahead & set(cluster.shape.receive_only)]


def pairs_of_equals(cluster: Cluster) -> Iterator[tuple[Host, Host]]:
    """Return pairs of members, all of which are to be equal: where they are not in the same groups, each with each other."""
    led = _led(cluster)
    return combinations(led, 2) if cluster.shape.private else pairwise(led)


def linked(host: Host) -> set[tuple[RelPath, RelPath]]:
    """Return the pairs of paths of one group that are names of one inode at a member."""
    by_node: dict[int, list[RelPath]] = {}
    for path, node in host.tree.nodes.items():
        by_node.setdefault(id(node), []).append(path)
    group_of = host.rules.group_of
    return {
        (one, other)
        for names in by_node.values()
        for one in names
        for other in names
        if one < other and group_of(one) is not None and group_of(one) == group_of(other)
    }


def check_links(cluster: Cluster, gone: set[RelPath]) -> None:
    """Members of a group have the same names of the same inodes, but where a directory that holds what they do not follow cannot go."""
    apart = apart_of(cluster)
    for one, other in pairs_of_equals(cluster):
        alone = kept_alone(cluster, one) | kept_alone(cluster, other)
        alone |= {above for path in alone for above in ancestors_of(path)}
        for pair in linked(one) ^ linked(other):
            group = one.rules.group_of(pair[0])
            if (
                group is None
                or not {one.name, other.name} <= set(group.members)
                or NONE in group.policy
                or (gone | apart | alone) & set(pair)
            ):
                continue
            held = (one.held | other.held).intersection(pair)
            assert held, f"{pair} are linked at {one.name if pair in linked(one) else other.name} alone"


def check_together(cluster: Cluster, gone: set[RelPath]) -> None:
    """What a user linked, and nobody has taken apart, is linked, however many wrote to it without having seen each other.

    But for what waits for a content that is `gone`.

    What a member made and nobody had stored when it was cloned, each of its two hosts makes anew, in the place of whatever the other
    has put there since.
    """
    if cluster.changed_rules or Act.JOIN in cluster.plan.acts():
        return
    ledger = cluster.ledger
    for pair in ledger.together:
        if (
            not ledger.are_together(*pair)
            or (gone | ledger.doubled).intersection(pair)
            or any(map(cluster.is_changed, pair))
        ):
            continue
        for host in cluster.members:
            groups = [host.rules.group_of(path) for path in pair]
            if groups[0] is None or groups[0] != groups[1] or host.name not in groups[0].members:
                continue
            if any(host.name in groups[0].receive_only for host in cluster.members):
                continue
            nodes = [host.tree.nodes.get(path) for path in pair]
            assert nodes[0] is nodes[1], f"{pair} are no longer linked at {host.name}, and nobody took them apart"


def apart_of(cluster: Cluster) -> set[RelPath]:
    """Return paths that members may show differently: directories that hold what some of them do not follow."""
    apart: set[RelPath] = set()
    for host in cluster.members:
        for path in host.tree.nodes.keys() | host.index.rows().keys():
            above = ancestors_of(path)
            groups = {host.rules.group_of(one) for one in (path, *above)}
            if len(groups) > 1 or path in host.held:
                apart.update(above)
    return apart
