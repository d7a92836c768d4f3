"""What must hold of a healed cluster, whatever happened to it. A check that fails says what it found."""

from collections.abc import Iterator
from itertools import combinations, pairwise

from csfs.core.digests import digest_of, together
from csfs.core.objects import Content, Kind
from csfs.core.paths import ROOT, RelPath, ancestors_of, parent_of
from csfs.core.policies import NONE
from csfs.core.treatment import flags_in
from csfs.core.versions import covers
from csfs.engine.forgetting import dots_of
from csfs.engine.ports import Row
from scripts.simulation import rights
from scripts.simulation.cluster import Cluster
from scripts.simulation.followed import check_followed, check_follows
from scripts.simulation.host import Host
from scripts.simulation.living import check_living
from scripts.simulation.plan import Act
from scripts.simulation.staying import check_outside
from scripts.simulation.tree import Node, Owner, hash_of

WALKS_MAX = 40
"""Of one group with each other member: a member that was cloned catches up whenever somebody has said something."""
LATE_MINTS_MAX = 0
"""Versions made after the last user's change."""


def check(cluster: Cluster) -> None:
    """Check a healed cluster: equal trees, nothing lost, nothing granted, nothing left to say."""
    gone = contents_gone(cluster)
    check_equal(cluster, gone)
    check_links(cluster, gone)
    check_together(cluster)
    check_best_shown(cluster, gone)
    check_settled(cluster, gone)
    check_nothing_lost(cluster)
    check_acknowledged(cluster)
    check_nothing_deleted(cluster, gone)
    check_nothing_granted(cluster)
    check_limited(cluster)
    check_owners(cluster)
    check_paths(cluster)
    check_living(cluster)
    check_outside(cluster)
    check_followed(cluster)
    check_follows(cluster)
    check_quiet(cluster)
    check_known(cluster)
    check_forgotten(cluster)
    check_walks(cluster)


def contents_gone(cluster: Cluster) -> set[RelPath]:
    """Return the paths that wait for a content that went down with a disk, what they showed stays live (R21), or that a user took away.

    A user does that under the old name of what is to follow a move, before it is shown at the new one (docs/replication.md).
    """
    is_harmed = bool(cluster.plan.acts() & {Act.RESTORE, Act.CLONE, Act.LEAVE, Act.RULES, Act.POWER_CUT})
    members = cluster.members
    at_hand = {hash_of(data) for host in members for data in (*host.kept, *(n.data for n in host.tree.nodes.values()))}
    taken = {hash_of(data) for data in cluster.ledger.replaced}
    gone = set()
    for host in members:
        for path in host.index.pending():
            row = host.index.row(path)
            assert row is not None
            wanted = {entry.value.hash for entry in row.record.content.entries if entry.value.kind is Kind.FILE}
            missing = wanted - at_hand
            if missing and (is_harmed or missing <= taken):
                gone.add(path)
            if any(not (host.follows(one) or host.tree.is_directory(one)) for one in ancestors_of(path)):
                gone.add(path)  # somebody has to make the directory here that it is in
    return gone


def shown(host: Host) -> dict[RelPath, tuple[object, ...]]:
    """Return what a member's tree shows, or stands for where it cannot show it exactly; not what is to stay at it alone."""
    found: dict[RelPath, tuple[object, ...]] = {}
    for path, node in host.tree.nodes.items():
        row = host.index.row(path)
        if row is None or (path in host.held and row.applied.observation is None and not row.live):
            continue
        names, wanted = host.tree.names, row.applied.meta
        owner, group = Owner(names.get(node.uid, ""), node.uid), Owner(names.get(node.gid, ""), node.gid)
        if wanted is not None:
            owner, group = Owner(wanted.owner, wanted.uid), Owner(wanted.group, wanted.gid)
        mtime_ns = row.applied.mtime_ns if row.applied.mtime_ns is not None else node.mtime_ns
        flags = flags_in(wanted.xattrs) if wanted is not None else node.flags
        assert host.tree.has_flags or not node.flags, f"{host.name} shows flags at {path!r}, which it has not"
        lists = wanted.xattrs if wanted is not None else rights.observed(node.acl, names)
        found[path] = (node.kind, node.data, node.mode, rights.rights_in(lists), flags, owner, group, mtime_ns)
    return found


def check_equal(cluster: Cluster, gone: set[RelPath]) -> None:
    """Members of a path's group show the same there; where the policy is `none`, they know the same."""
    apart = _apart(cluster)
    for one, other in _pairs(cluster):
        ours, theirs = shown(one), shown(other)
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
                _is_same(cluster, path, ours.get(path), theirs.get(path))
                or path in gone
                or bool(gone.intersection(ancestors_of(path)))
                or _is_same_but_for_names(path, ours.get(path), theirs.get(path), gone, (one, other))
            )
            assert is_same, f"{one.name} and {other.name} differ at {path!r}: {ours.get(path)} and {theirs.get(path)}"


def _is_same(
    cluster: Cluster, path: RelPath, ours: tuple[object, ...] | None, theirs: tuple[object, ...] | None
) -> bool:
    """Return whether two members show the same.

    Who lost the record of a directory that was removed since, and lives on by what is below it, does not know its time any more, and
    no set hash tells that (docs/replication.md).
    """
    rows = [host.index.row(path) for host in cluster.members]
    if path in cluster.rotten and not any(row is not None and row.live for row in rows):
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


def _pairs(cluster: Cluster) -> Iterator[tuple[Host, Host]]:
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
    apart = _apart(cluster)
    for one, other in _pairs(cluster):
        for pair in linked(one) ^ linked(other):
            group = one.rules.group_of(pair[0])
            if (
                group is None
                or not {one.name, other.name} <= set(group.members)
                or NONE in group.policy
                or (gone | apart) & set(pair)
            ):
                continue
            held = (one.held | other.held).intersection(pair)
            assert held, f"{pair} are linked at {one.name if pair in linked(one) else other.name} alone"


def check_together(cluster: Cluster) -> None:
    """What a user linked, and nobody has taken apart, is linked, however many wrote to it without having seen each other.

    What a member made and nobody had stored when it was cloned, each of its two hosts makes anew, in the place of whatever the other
    has put there since.
    """
    if cluster.changed_rules or cluster.plan.acts() & {Act.RESTORE, Act.JOIN}:
        return
    ledger = cluster.ledger
    for pair in ledger.together:
        if not ledger.are_together(*pair) or ledger.doubled.intersection(pair) or any(map(cluster.is_changed, pair)):
            continue
        for host in cluster.members:
            groups = [host.rules.group_of(path) for path in pair]
            if groups[0] is None or groups[0] != groups[1] or host.name not in groups[0].members:
                continue
            if any(host.name in groups[0].receive_only for host in cluster.members):
                continue
            nodes = [host.tree.nodes.get(path) for path in pair]
            assert nodes[0] is nodes[1], f"{pair} are no longer linked at {host.name}, and nobody took them apart"


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


def _apart(cluster: Cluster) -> set[RelPath]:
    """Return paths that members may show differently: directories that hold what some of them do not follow."""
    apart: set[RelPath] = set()
    for host in cluster.members:
        for path in host.tree.nodes.keys() | host.index.rows().keys():
            above = ancestors_of(path)
            groups = {host.rules.group_of(one) for one in (path, *above)}
            if len(groups) > 1 or path in host.held:
                apart.update(above)
    return apart


def check_settled(cluster: Cluster, gone: set[RelPath]) -> None:
    """Nothing is left to do, and everything is known."""
    apart = _apart(cluster) | gone | {path for one in gone for path in ancestors_of(one)}
    for host in cluster.members:
        left = [path for path in host.index.pending() if path not in apart and not apart & set(ancestors_of(path))]
        assert not left or ROOT in apart, f"{host.name} is left with {left}"
        for path in host.tree.nodes:
            group = host.rules.group_of(path)
            is_followed = group is not None and host.name in group.members
            is_known = host.index.row(path) is not None or path in host.held
            assert is_known or not is_followed, f"{host.name} never saw {path!r}"


def check_nothing_lost(cluster: Cluster) -> None:
    """Each content is live, was replaced by someone who saw it, or is kept.

    Under retention alone is what a member made in a life that it lost, if it has changed the path again under the same dots before it
    met who had heard of that life: nobody can tell then that this change had not seen the other (docs/replication.md).
    """
    trees = [host.tree for host in (*cluster.hosts, *cluster.parked.values())]
    live = {node.data for tree in trees for node in tree.nodes.values() if node.kind is Kind.FILE}
    kept = {data for host in (*cluster.hosts, *cluster.parked.values()) for data in host.kept}
    ledger = cluster.ledger
    displaced = {one for host in cluster.hosts for one in host.retained}
    retained = {data for path, data in displaced if (path, ledger.writers.get(data)) in cluster.made_twice}
    lost = ledger.written.keys() - live - kept - ledger.replaced - ledger.excused - retained - _taken_away(cluster)
    assert not lost, f"lost {sorted(lost)}, written at {sorted(ledger.written[data] for data in lost)}"


def _taken_away(cluster: Cluster) -> set[bytes]:
    """Return contents for which no author speaks, and that programs took away wherever they were, while nobody listened to them."""
    unheard = {host.name: host.programs.unheard.keys() for host in cluster.hosts}
    return {data for data, at in cluster.ledger.orphans.items() if all(data in unheard[member] for member in at)}


def check_acknowledged(cluster: Cluster) -> None:
    """What a program was told that others have is there, whatever disaster befell its own member, or the others but one (R26)."""
    hosts = (*cluster.hosts, *cluster.parked.values())
    there = {node.data for host in hosts for node in host.tree.nodes.values()}.union(*(host.kept for host in hosts))
    there |= _taken_away(cluster)
    for one in cluster.ledger.acknowledged:
        is_seen = one.data in there | cluster.ledger.replaced or cluster.ledger.written[one.data] in cluster.rotten
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


def check_nothing_granted(cluster: Cluster) -> None:
    """No content was ever setuid anywhere that no user made so, and none is open to others that its writer had closed."""
    ledger = cluster.ledger
    for host in cluster.hosts:
        granted = host.tree.grants - ledger.granted
        assert not granted, f"{host.name} made {sorted(granted)} setuid"
        for path, node in host.tree.nodes.items():
            for secret in ledger.origins(node.data) & ledger.secrets.keys():
                extra = node.mode & 0o077 & ~ledger.allowed(secret, path)
                assert not extra, f"{host.name} shows {path!r}, {node.data!r}, to others: {node.mode:o}"


def check_limited(cluster: Cluster) -> None:
    """While several versions of a mode stand, group and others may do only what all of them allow."""
    for host in cluster.members:
        for path, node in host.tree.nodes.items():
            row, group = host.index.row(path), host.rules.group_of(path)
            if row is None or group is None or host.name not in group.members or path in host.index.pending():
                continue
            modes = [entry.value.mode for entry in row.record.meta.entries if entry.kind is node.kind]
            for mode in modes[1:] and modes:
                assert not node.mode & 0o077 & ~mode, f"{host.name} shows {path!r} with {node.mode:o}, of {modes}"


def check_owners(cluster: Cluster) -> None:
    """Owners, rights by ACLs, and flags are as they were given, whatever the host that they went through has for a name."""
    for host in cluster.members:
        for path, (*_, given, flags, owner, group, _) in shown(host).items():
            node, followed = host.tree.nodes[path], host.rules.group_of(path)
            if followed is None or host.name not in followed.members or path in host.index.pending():
                continue
            names = host.tree.names
            is_meant = node.unsure or (
                _may_mean(owner, node.owner, names.get(node.uid)) and _may_mean(group, node.group, names.get(node.gid))
            )
            # Where a disk has none, it goes with the owner what they were.
            is_said = node.flags_meant is not None and (host.tree.has_flags or not node.unsure)
            kept = node.flags_meant if is_said else flags
            assert flags == kept, f"{path!r} has flags {flags!r} at {host.name}, not {kept!r}"
            meant = node.rights_meant
            if node.is_made_here:
                assert isinstance(given, dict)
                given = {who: may for who, may in given.items() if who in names.values() or who in (meant or ())}
            assert meant is None or node.unsure or given == meant, f"{path!r} gives {host.name} {given}, not {meant}"
            strangers = rights.rights_in(rights.observed(node.acl, names)).keys() - {*rights.NAMED}
            assert not strangers, f"{path!r} gives rights to {strangers} at {host.name}"
            assert is_meant, f"{path!r} belongs to {owner}, {group} at {host.name}, not to {node.owner}, {node.group}"


def _may_mean(shown_as: object, meant: Owner, local: str | None) -> bool:
    """Return whether two owners are not known to be different; one without a name is whoever has its number, there or here.

    Who gives a new file to the number that the old one had may mean either.
    """
    assert isinstance(shown_as, Owner)
    return shown_as == meant or not (shown_as.name and meant.name) or meant.name == local


def check_paths(cluster: Cluster) -> None:
    """Nothing is anywhere where no user made anything."""
    for host in cluster.hosts:
        unmade = host.tree.nodes.keys() - cluster.ledger.paths - {ROOT}
        assert not unmade, f"{host.name} has {sorted(unmade)}, which nobody made"


def check_quiet(cluster: Cluster) -> None:
    """Nobody makes versions by himself, and nobody has anything left to say."""
    late = cluster.minted() - cluster.minted_following() - cluster.minted_by_users
    assert late <= LATE_MINTS_MAX, f"{late} versions were made after the last user's change"
    for path, count in cluster.merged().items():
        merges = count - cluster.merged_before[path]
        assert merges <= len(cluster.hosts), f"{merges} merges of {path!r} were made after the last user's change"
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
    for one, other in _pairs(cluster):
        ours, theirs = one.index.rows(), other.index.rows()
        for path in sorted(ours.keys() | theirs.keys()):
            group, rows = one.rules.group_of(path), (ours.get(path), theirs.get(path))
            if group is None or not {one.name, other.name} <= set(group.members):
                continue
            left, right = (_standing(row, is_harmed or cluster.is_changed(path)) for row in rows)
            assert left == right, f"{one.name} and {other.name} know of {path!r}: {left} and {right}"


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
            # Who did not follow a path for a while has what he had then; what all of a group were set back to is what there is.
            group = host.rules.group_of(path)
            followers = {one.number for one in cluster.members if group is not None and one.name in group.members}
            is_excused = cluster.is_changed(path) or followers <= cluster.restored
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
