"""Rows of the table of conflicts: what was deleted and made anew, what is of another kind, attributes alone, and directories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from scripts.simulation.cluster import Cluster
from scripts.simulation.host import Host
from scripts.simulation.rights import NAMED
from tests.engine.linked import F, G, H

if TYPE_CHECKING:
    from tests.engine.test_conflicts import Actor

D, E, N, X = (RelPath(name) for name in (b"d", b"e", b"n", b"x"))
DX, EX = RelPath(b"d/x"), RelPath(b"e/x")
Shown = Mapping[str, str | None]
"""By path (`__` is a slash), a file's content, what else is there, or None for nothing."""

F_BEFORE, G_BEFORE, X_BEFORE = "f before", "g before, which is longer", "x before"
A_EDIT, B_EDIT = "edit by a, at length", "edit by b"
A_ANEW, B_ANEW = "anew by a, at length", "anew by b"
A_FILE, B_FILE = "file by a, at length", "file by b"
CLOSED = 0o700


def puts_file(path: RelPath) -> Callable[[Actor], None]:
    """Write a file, the longer one at a."""

    def act(actor: Actor) -> None:
        actor.puts(path, b"file by a, at length" if actor.host.name == "a" else b"file by b")

    return act


def makes_with(path: RelPath) -> Callable[[Actor], None]:
    """Make a directory with something in it."""

    def act(actor: Actor) -> None:
        actor.programs.make_directory(path)
        actor.puts(RelPath(path + b"/in"), b"inside")

    return act


def deletes_then(path: RelPath, then: Callable[[Actor], None]) -> Callable[[Actor], None]:
    """Remove what is at and below a path, and put something else there."""

    def act(actor: Actor) -> None:
        actor.programs.remove_tree(path)
        then(actor)

    return act


def makes_anew_later(actor: Actor) -> None:
    """Remove a file, and make another one once that was looked at."""
    actor.programs.remove(F)
    actor.digests()
    actor.puts(F, b"anew by a, at length" if actor.host.name == "a" else b"anew by b")


def makes(kind: Kind, data: bytes | None = b"") -> Callable[[Actor], None]:
    """Make something at n, root's own; `data` of None: a symlink to the member."""

    def act(actor: Actor) -> None:
        target = actor.host.name.encode() if data is None else data
        actor.programs._create(N, actor.tree.new_node(kind, target, mtime_ns=actor.programs.now_ns))
        actor.tree.give(actor.tree.nodes[N], 0, 0)

    return act


def gives_rights(actor: Actor) -> None:
    """setfacl."""
    number = next(number for number, name in actor.tree.names.items() if name in NAMED)
    actor.tree.grant(actor.tree.nodes[F], number, 4)
    actor.sets(F)


REMADE_ACTS: dict[str, Callable[[Actor], None]] = {
    "chowns f to another": lambda actor: actor.sets(F, uid=1000 if actor.host.name == "a" else 1001),
    "gives rights to f": gives_rights,
    "deletes f, and makes it anew later": makes_anew_later,
    "deletes g": lambda actor: actor.programs.remove(G),
    "deletes f and makes the directory f": deletes_then(F, lambda actor: actor.programs.make_directory(F)),
    "deletes f and makes the directory f with f/in": deletes_then(F, makes_with(F)),
    "makes the symlink n to itself": makes(Kind.SYMLINK, None),
    "makes the pipe n": makes(Kind.FIFO),
    "makes the file e": puts_file(E),
    "makes the directory e with e/in": makes_with(E),
    "renames d/x to x": lambda actor: actor.programs.move(DX, X),
    "deletes d and makes the file d": deletes_then(D, puts_file(D)),
}


def what_is_at(host: Host, path: RelPath) -> str | None:
    """Return a file's content, where a symlink leads, or what else is there; None for nothing."""
    node = host.tree.nodes.get(path)
    if node is None:
        return None
    return node.data.decode() if node.kind in (Kind.FILE, Kind.SYMLINK) else node.kind.name.lower()


def is_shown(always: Shown, *, a: Shown | None = None, b: Shown | None = None) -> Callable[[Cluster, str], None]:
    """Return a check: `always` is shown everywhere, and `a` or `b` as well, as the cell says; without them it says `both`."""
    shown = {name: of_that for name, of_that in (("a", a), ("b", b)) if of_that is not None} or {"both": {}}

    def check(cluster: Cluster, whose: str) -> None:
        for host in cluster.hosts:
            wanted = {**always, **shown[host.name if whose == "own" else whose]}
            found = {name: what_is_at(host, RelPath(name.replace("__", "/").encode())) for name in wanted}
            assert found == wanted, f"at {host.name}"

    return check


def loses(what: str, then: Callable[[Cluster, str], None]) -> Callable[[Cluster, str], None]:
    """Return a check with which `what` is kept besides, by who had written it."""

    def check(cluster: Cluster, whose: str) -> None:
        then(cluster, whose)
        assert any(what.encode() in host.kept for host in cluster.hosts), f"{what} is kept nowhere"

    return check


def of_two(a: str, b: str) -> Callable[[Cluster, str], None]:
    """Return a check of two contents of f, of which one is live and the other one kept."""

    def check(cluster: Cluster, whose: str) -> None:
        is_shown({}, a={"f": a}, b={"f": b})(cluster, whose)
        loser = {"a": b, "b": a}.get(whose)
        assert loser is None or any(loser.encode() in host.kept for host in cluster.hosts), f"{loser} is kept nowhere"

    return check


def with_mode(path: RelPath, mode: int, then: Callable[[Cluster, str], None]) -> Callable[[Cluster, str], None]:
    """Return a check with which something has a mode besides."""

    def check(cluster: Cluster, whose: str) -> None:
        then(cluster, whose)
        assert [oct(host.tree.nodes[path].mode) for host in cluster.hosts] == [oct(mode)] * 2

    return check


def check_owners(cluster: Cluster, whose: str) -> None:
    owners = {host.name: host.tree.nodes[F].uid for host in cluster.hosts}
    assert owners == {name: {"a": 1000, "b": 1001}[name if whose == "own" else whose] for name in owners}


def check_chown_and_edit(cluster: Cluster, whose: str) -> None:
    is_shown({"f": B_EDIT})(cluster, whose)
    assert {host.tree.nodes[F].uid for host in cluster.hosts} == {1000}


def check_rights(cluster: Cluster, whose: str) -> None:
    """Whoever was given rights has them where that member's half is live, and others may do only what both allow."""
    for host in cluster.hosts:
        node, is_given = host.tree.nodes[F], (host.name if whose == "own" else whose) == "a"
        assert bool(node.acl) == is_given, f"at {host.name}"
        assert node.mode & 0o077 == 0o644 & 0o604 & 0o077, f"at {host.name}"


def check_directory_closed(path: RelPath, what: Shown) -> Callable[[Cluster, str], None]:
    """A directory that lives in the place of a file is root's alone, and the file is kept."""
    return loses(A_FILE, with_mode(path, CLOSED, is_shown(what)))


REMADE_CHECKS: dict[tuple[str, str], Callable[[Cluster, str], None]] = {
    ("edits f", "chmods f"): with_mode(F, 0o604, is_shown({"f": A_EDIT})),
    ("chowns f", "edits f"): check_chown_and_edit,
    ("chowns f to another", "chowns f to another"): check_owners,
    ("gives rights to f", "chmods f"): check_rights,
    ("touches f", "deletes f"): is_shown({"f": F_BEFORE}, a={}),
    ("deletes f", "touches f"): is_shown({"f": F_BEFORE}, b={}),
    ("deletes f and makes it anew", "edits f"): of_two(A_ANEW, B_EDIT),
    ("edits f", "deletes f and makes it anew"): of_two(A_EDIT, B_ANEW),
    ("deletes f and makes it anew", "deletes f and makes it anew"): of_two(A_ANEW, B_ANEW),
    ("deletes f and makes it anew", "deletes f"): is_shown({"f": A_ANEW}, a={}),
    ("deletes f and makes it anew", "renames f to h"): is_shown({"f": None, "h": A_ANEW}),
    ("deletes f, and makes it anew later", "renames f to h"): is_shown({"f": A_ANEW, "h": F_BEFORE}),
    ("chmods f", "renames f to h"): with_mode(H, 0o740, is_shown({"f": None, "h": F_BEFORE})),
    ("renames f to h", "renames f to h"): is_shown({"f": None, "h": F_BEFORE}),
    ("renames f to g", "deletes g"): is_shown({"f": None, "g": F_BEFORE}, a={}),
    ("exchanges f and g", "deletes f"): is_shown({"f": G_BEFORE, "g": F_BEFORE}, a={}),
    ("exchanges f and g", "chmods f"): with_mode(G, 0o604, is_shown({"f": G_BEFORE, "g": F_BEFORE})),
    ("deletes f and makes the directory f", "edits f"): is_shown({"f": B_EDIT}, b={}),
    ("deletes f and makes the directory f with f/in", "edits f"): loses(
        B_EDIT, is_shown({"f": "directory", "f__in": "inside"}, a={})
    ),
    ("makes the symlink n to itself", "makes the symlink n to itself"): is_shown({}, a={"n": "a"}, b={"n": "b"}),
    ("makes the pipe n", "makes the file n"): is_shown({}, a={"n": "fifo"}, b={"n": B_FILE}),
    ("makes the directory n", "makes the symlink n"): is_shown({"n": "x"}, b={}),
    ("makes the symlink n", "makes the directory n with n/in"): is_shown({"n": "directory", "n__in": "inside"}, b={}),
    ("renames d to e", "makes the file e"): loses(
        B_FILE, is_shown({"d": None, "e": "directory", "e__x": X_BEFORE}, a={})
    ),
    ("renames d to e", "makes the directory e with e/in"): is_shown({"d": None, "e__x": X_BEFORE, "e__in": "inside"}),
    ("renames d to e", "renames d/x to x"): is_shown({"d": None, "e__x": X_BEFORE, "x": X_BEFORE}),
    ("renames d to e", "deletes d and makes the file d"): is_shown({"d": B_FILE, "e__x": X_BEFORE}),
    ("deletes d", "edits d/x"): is_shown({"d": "directory", "d__x": "x edited"}),
    ("deletes d", "renames d/x to x"): is_shown({"d": None, "x": X_BEFORE}),
    ("deletes d", "chmods d"): is_shown({"d": None, "d__x": None}, a={}),
    ("deletes d and makes the file d", "edits d/x"): check_directory_closed(D, {"d": "directory", "d__x": "x edited"}),
}
