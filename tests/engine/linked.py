"""What the table of conflicts says of names of one file: `f` and `h`, `g` and `h`, `k` and `l`."""

from collections.abc import Callable

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from scripts.simulation.cluster import Cluster
from scripts.simulation.host import Host

F, G, H, K, L = (RelPath(name) for name in (b"f", b"g", b"h", b"k", b"l"))


def files(host: Host) -> dict[bytes, bytes]:
    """Return the contents of files by path; of others, what they are."""
    return {
        path: node.data if node.kind is Kind.FILE else node.kind.name.lower().encode()
        for path, node in host.tree.nodes.items()
        if path
    }


def shows(as_it_says: str = "both", **paths: str | None) -> Callable[[Cluster, str], None]:
    """Return a check of what is there, by path (`__` is a slash), None: nothing; and that the table's cell says `as_it_says`."""

    def check(cluster: Cluster, whose: str) -> None:
        assert whose == as_it_says
        for host in cluster.hosts:
            found = files(host)
            wanted = {name.replace("__", "/").encode(): data for name, data in paths.items()}
            assert {path: found.get(path) for path in wanted} == {
                path: data.encode() if data is not None else None for path, data in wanted.items()
            }

    return check


def check_whose(cluster: Cluster, path: RelPath, whose: str) -> None:
    """The version at a path is that of `a` or `b`, everywhere, or its own at each, and what is not shown there is kept."""
    a, b = cluster.hosts
    for host in (a, b):
        name = host.name if whose == "own" else whose
        assert f"by {name}".encode() in files(host)[path]
    if whose != "own":
        loser = b if whose == "a" else a
        assert any(f"by {loser.name}".encode() in data for data in loser.kept)


def check_edited_together(cluster: Cluster, whose: str) -> None:
    check_whose(cluster, K, whose)
    assert all(are_one(host, K, L) for host in cluster.hosts)


def check_replaced(cluster: Cluster, whose: str) -> None:
    check_whose(cluster, L, whose)
    for host in cluster.hosts:
        assert files(host)[K] == b"edit by b"
        assert are_one(host, K, L) == ((host.name if whose == "own" else whose) == "b")


def check_new_name_apart(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        assert (files(host)[F], files(host)[H]) == (b"edit by b", b"f before")


def are_one(host: Host, *paths: RelPath) -> bool:
    """Return whether paths are names of one file at a member."""
    return len({id(host.tree.nodes[path]) for path in paths}) == 1


def check_modes_together(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        name = host.name if whose == "own" else whose
        assert are_one(host, K, L)
        assert host.tree.nodes[K].mode == (0o700 if name == "a" else 0o600)


def check_mode_and_edit_together(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        assert are_one(host, K, L)
        assert (host.tree.nodes[L].data, host.tree.nodes[L].mode) == (b"edit by b", 0o740)


def check_edit_under_both_names(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        assert are_one(host, K, L)
        assert host.tree.nodes[L].data == b"edit by b"


def check_mode_of_new_name(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        assert are_one(host, F, H)
        assert host.tree.nodes[H].mode == 0o604


def check_linked_to_one(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        name = host.name if whose == "own" else whose
        assert are_one(host, H, G if name == "a" else F)
        assert not are_one(host, F, G)


LINKED_CHECKS: dict[tuple[str, str], Callable[[Cluster, str], None]] = {
    ("edits k", "edits l"): check_edited_together,
    ("chmods k", "chmods l"): check_modes_together,
    ("chmods k", "edits l"): check_mode_and_edit_together,
    ("removes l", "edits k"): check_edit_under_both_names,
    ("replaces l", "edits k"): check_replaced,
    ("links f to h", "edits f"): check_new_name_apart,
    ("links f to h", "chmods f"): check_mode_of_new_name,
    ("links g to h", "links f to h"): check_linked_to_one,
}
