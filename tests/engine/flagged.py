"""What the table of conflicts says of flags: of a file `f` that a member has made immutable."""

from collections.abc import Callable

from csfs.core.paths import RelPath
from csfs.core.treatment import flags_in
from csfs.engine.live import meta_of
from scripts.simulation.cluster import Cluster
from scripts.simulation.host import Host
from scripts.simulation.tree import Node
from tests.engine.linked import F, H, files


def make_immutable(node: Node, told: Callable[[], None]) -> None:
    """chattr +i; `told` has it looked at."""
    node.flags = node.flags_meant = b"i"
    told()


def flags_of(host: Host, path: RelPath) -> bytes:
    """Return the flags that a member shows, or stands for."""
    row = host.index.row(path)
    assert row is not None
    assert row.applied.observation is not None
    return flags_in((row.applied.meta or meta_of(row.applied.observation)).xattrs)


def check_edited(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        assert (files(host)[F], flags_of(host, F)) == (b"edit by b", b"i")


def check_or_chmod(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        name = host.name if whose == "own" else whose
        assert flags_of(host, F) == (b"i" if name == "a" else b"")


def check_removed(cluster: Cluster, whose: str) -> None:
    assert not any(F in files(host) for host in cluster.hosts)


def check_moved(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        assert F not in files(host)
        assert (files(host)[H], flags_of(host, H)) == (b"f before", b"i")


FLAGGED_CHECKS: dict[tuple[str, str], Callable[[Cluster, str], None]] = {
    ("makes f immutable", "edits f"): check_edited,
    ("makes f immutable", "chmods f"): check_or_chmod,
    ("makes f immutable", "deletes f"): check_removed,
    ("makes f immutable", "renames f to h"): check_moved,
}
