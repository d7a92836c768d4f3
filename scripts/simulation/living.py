"""What must hold of directories that are shown in a healed cluster (R16)."""

from csfs.core.objects import Kind
from csfs.core.paths import ROOT
from csfs.engine.live import is_live
from scripts.simulation.cluster import Cluster


def check_living(cluster: Cluster) -> None:
    """No empty directory is shown that somebody removed: one that is gone by its own record lives by what is below it alone."""
    for host in cluster.members:
        for path, node in host.tree.nodes.items():
            row = host.index.row(path)
            if path == ROOT or node.kind is not Kind.DIRECTORY or row is None or not host.follows(path):
                continue
            if path in host.held and row.applied.observation is None:
                continue  # it joined with that, and is to have it for itself
            is_empty = not host.tree.below(path) and not any(
                host.follows(below) and (one.live or one.pending) for below, one in host.index.rows_below(path)
            )
            assert is_live(row.record) or not is_empty, (
                f"{host.name} shows {path!r}, with nothing in it, which is removed"
            )
