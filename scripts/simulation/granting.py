"""What members of a healed cluster must not let anybody do, and whose things are."""

from csfs.core import acls
from scripts.simulation import persons, rights
from scripts.simulation.cluster import Cluster
from scripts.simulation.equality import shown
from scripts.simulation.tree import Owner


def check_nothing_granted(cluster: Cluster) -> None:
    """No content was ever setuid, or had a capability, that no user made so; none is open to others that its writer had closed."""
    ledger = cluster.ledger
    for host in cluster.hosts:
        granted = host.tree.grants - ledger.granted
        assert not granted, f"{host.name} made {sorted(granted)} setuid"
        enabled = host.tree.enabled - ledger.enabled
        assert not enabled, f"{host.name} gave {sorted(enabled)} a capability"
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


def check_dressed(cluster: Cluster) -> None:
    """Whoever is given rights by an ACL has them wherever he is known, since when ever that is."""
    for host in cluster.members:
        names = host.tree.names
        for path, node in host.tree.nodes.items():
            row = host.index.row(path)
            wanted = row.applied.meta if row is not None else None
            if wanted is None or not host.follows(path) or path in host.index.pending():
                continue
            left_out = {entry.name for entry in acls.unshown(rights.observed(node.acl, names), wanted.xattrs)}
            assert left_out.isdisjoint(names.values()), f"{path!r} leaves out {left_out} at {host.name}"


def check_owners(cluster: Cluster) -> None:
    """Owners, rights by ACLs, and flags are as they were given, whatever the host that they went through has for a name."""
    for host in cluster.members:
        for path, (*_, given, flags, owner, group, _) in shown(host).items():
            node, followed = host.tree.nodes[path], host.rules.group_of(path)
            if followed is None or host.name not in followed.members or path in host.index.pending():
                continue
            names = host.tree.names_ever
            is_meant = node.unsure or (
                _may_mean(owner, node.owner, names.get(node.uid)) and _may_mean(group, node.group, names.get(node.gid))
            )
            # Where a disk has none, it goes with the owner what they were.
            is_said = node.flags_meant is not None and (host.tree.has_flags or not node.unsure)
            kept = node.flags_meant if is_said else flags
            assert flags == kept, f"{path!r} has flags {flags!r} at {host.name}, not {kept!r}"
            meant, known = node.rights_meant, host.tree.names_first
            if node.is_made_here:
                assert isinstance(given, dict)
                given = {who: may for who, may in given.items() if who in known or who in (meant or ())}
            assert meant is None or node.unsure or given == meant, f"{path!r} gives {host.name} {given}, not {meant}"
            strangers = rights.rights_in(rights.observed(node.acl, names)).keys() - {*rights.NAMED, persons.NEWCOMER[0]}
            assert not strangers, f"{path!r} gives rights to {strangers} at {host.name}"
            assert is_meant, f"{path!r} belongs to {owner}, {group} at {host.name}, not to {node.owner}, {node.group}"


def _may_mean(shown_as: object, meant: Owner, local: str | None) -> bool:
    """Return whether two owners are not known to be different; one without a name is whoever has its number, there or here.

    Who gives a new file to the number that the old one had may mean either.
    """
    assert isinstance(shown_as, Owner)
    return shown_as == meant or not (shown_as.name and meant.name) or meant.name == local
