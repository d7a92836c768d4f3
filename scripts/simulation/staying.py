"""What must hold of what a member does not follow (R11)."""

from scripts.simulation.cluster import Cluster
from scripts.simulation.tree import Node


def check_outside(cluster: Cluster) -> None:
    """Where a member follows nothing is what was there when it began not to, or its own programs put there; nobody else has that."""
    for host in cluster.hosts:
        outside = host.programs.outside
        for path, left in outside.left.items():
            found, meant = _shown(host.tree.nodes.get(path)), _shown(left)
            assert found == meant, f"{host.name} does not follow {path!r}, and shows {found}, not {meant}"
        for other in cluster.hosts:
            told = {data for data in outside.alone if other is not host and other.holds(data)}
            assert not told, f"{other.name} has {told}, written where {host.name} follows nothing"


def _shown(node: Node | None) -> tuple[object, ...] | None:
    """Return what nobody but a member's own programs may change of an object; a directory's time moves with what is in it."""
    return (
        None
        if node is None
        else (node.inode, node.kind, node.data, node.mode, node.uid, node.gid, node.flags, node.capability, node.acl)
    )
