"""Rows of the table of conflicts in the other order, ties, and names that both members took apart or gave."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from csfs.core.paths import RelPath
from scripts.simulation.cluster import Cluster
from tests.engine.linked import F, H, K, L, are_one, check_whose, files, shows

if TYPE_CHECKING:
    from tests.engine.test_conflicts import Actor

D, ONWARD, N = (RelPath(name) for name in (b"d", b"i", b"n"))
Check = Callable[[Cluster, str], None]
F_BEFORE, G_BEFORE, X_BEFORE = "f before", "g before, which is longer", "x before"
ANOTHER = {"a": b"another by a, at length", "b": b"another by b"}


def edits_alike(actor: Actor) -> None:
    actor.puts(F, b"edit by " + actor.host.name.encode())
    actor.sets(F, mtime_ns=5)


MIRRORED_ACTS: dict[str, Callable[[Actor], None]] = {
    "edits f alike": edits_alike,
    "renames d to i": lambda actor: actor.programs.move(D, ONWARD),
    "removes k": lambda actor: actor.programs.remove(K),
    "links f to i": lambda actor: actor.programs.hard_link(F, ONWARD),
    "links k to f": lambda actor: actor.programs.hard_link(K, F),
}


def check_tie(cluster: Cluster, whose: str) -> None:
    check_whose(cluster, F, whose)


def check_touched_twice(cluster: Cluster, whose: str) -> None:
    (time_ns,) = {host.tree.nodes[F].mtime_ns for host in cluster.hosts}
    row = cluster.hosts[0].index.row(F)
    assert row is not None
    earlier_ns, later_ns = sorted(entry.value.mtime_ns for entry in row.record.content.entries)
    assert time_ns == (earlier_ns if whose == "a" else later_ns)


def check_setuid(cluster: Cluster, whose: str) -> None:
    shows("a", f="edit by a, at length")(cluster, whose)
    assert {host.tree.nodes[F].mode for host in cluster.hosts} == {0o755}


def check_link_or_file(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        assert files(host)[N] == (b"symlink" if whose == "a" else b"file by b")


def check_replaced_twice(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        assert files(host)[L] == ANOTHER[host.name if whose == "own" else whose]
        assert files(host)[K] == b"k before"
    loser = cluster.hosts[1] if whose == "a" else cluster.hosts[0]
    assert whose == "own" or ANOTHER[loser.name] in loser.kept


def check_three_names(cluster: Cluster, whose: str) -> None:
    shows(f=F_BEFORE, h=F_BEFORE, i=F_BEFORE)(cluster, whose)
    assert all(are_one(host, F, H, ONWARD) for host in cluster.hosts)


def check_named_or_edited(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        is_named = (host.name if whose == "own" else whose) == "a"
        assert files(host)[F] == (b"k before" if is_named else b"edit by b")
        assert are_one(host, F, K, L) == is_named
        assert are_one(host, K, L)


def check_mode_of_the_name_left(cluster: Cluster, whose: str) -> None:
    shows(l=None, k="k before")(cluster, whose)
    assert {host.tree.nodes[K].mode for host in cluster.hosts} == {0o604}


MIRRORED_CHECKS: dict[tuple[str, str], Check] = {
    ("edits f alike", "edits f alike"): check_tie,
    ("touches f", "touches f"): check_touched_twice,
    ("edits f", "makes f setuid"): check_setuid,
    ("deletes f", "chmods f"): shows("a", f=None),
    ("chmods f", "deletes f"): shows("b", f=None),
    ("deletes f", "renames f to h"): shows("b", f=None, h=F_BEFORE),
    ("deletes f", "deletes f"): shows(f=None),
    ("exchanges f and g", "renames f to h"): shows(f=G_BEFORE, g=F_BEFORE, h=F_BEFORE),
    ("exchanges f and g", "exchanges f and g"): shows(f=G_BEFORE, g=F_BEFORE),
    ("renames f to g", "renames g to h"): shows(f=None, g=F_BEFORE, h=G_BEFORE),
    ("renames d to e", "renames d to i"): shows(d=None, e__x=X_BEFORE, i__x=X_BEFORE),
    ("makes d/new", "renames d to e"): shows(d="directory", d__new="new", d__x=None, e__x=X_BEFORE),
    ("makes d/new", "deletes d"): shows(d="directory", d__new="new", d__x=None),
    ("makes the directory n", "makes the file n"): shows("b", n="file by b"),
    ("makes the directory n with n/in", "makes the file n"): shows("a", n="directory", n__in="inside"),
    ("makes the symlink n", "makes the file n"): check_link_or_file,
    ("removes k", "removes l"): shows(k=None, l=None),
    ("removes l", "chmods k"): check_mode_of_the_name_left,
    ("removes l", "replaces l"): shows("b", k="k before", l="another by b"),
    ("replaces l", "replaces l"): check_replaced_twice,
    ("links f to h", "links f to i"): check_three_names,
    ("links f to h", "deletes f"): shows(f=None, h=F_BEFORE),
    ("links k to f", "edits f"): check_named_or_edited,
}
