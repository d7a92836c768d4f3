"""docs/conflicts.md, cell by cell: two members do what a row says without having seen each other, and then they meet."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from scripts.simulation.cluster import Cluster
from scripts.simulation.host import Host
from scripts.simulation.knowing import check_quiet
from scripts.simulation.plan import SECOND_NS, Plan, Setup
from scripts.simulation.presence import check_nothing_lost
from tests.engine.flagged import FLAGGED_CHECKS, make_immutable
from tests.engine.linked import LINKED_CHECKS, check_whose, files, shows
from tests.engine.mirrored import MIRRORED_ACTS, MIRRORED_CHECKS
from tests.engine.remade import REMADE_ACTS, REMADE_CHECKS

TABLE = Path(__file__).parent.parent.parent / "docs" / "conflicts.md"
F, G, H, K, L, N = (RelPath(name) for name in (b"f", b"g", b"h", b"k", b"l", b"n"))
ONWARD = RelPath(b"i")
T, PASSWD = RelPath(b"t"), RelPath(b"passwd")
LINES = [b"first", b"second", b"third", b"fourth", b"last"]
ROOT_USER = b"root:x:0:0:root:/root:/bin/sh\n"
D, E, P, Q = (RelPath(name) for name in (b"d", b"e", b"p", b"q"))


def cells() -> list[tuple[str, str, str, str]]:
    """Return (what a does, what b does, policy, outcome) of every cell."""
    rows = [line.strip("| \n").split(" | ") for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    policies = rows[0][2:]
    return [(row[0], row[1], policy, cell) for row in rows[2:] for policy, cell in zip(policies, row[2:], strict=True)]


class Actor:
    """A member, and what its programs do in so many words."""

    def __init__(self, cluster: Cluster, host: Host) -> None:
        self.host, self.tree, self.programs = host, host.tree, host.programs
        self.ledger = cluster.ledger
        self.programs.now_ns = cluster.now(host)

    def puts(self, path: RelPath, data: bytes) -> None:
        """Write a file whole."""
        node = self.tree.nodes.get(path)
        if node is None:
            self.programs._create(path, self.tree.new_node(Kind.FILE, data, mtime_ns=self.programs.now_ns))
            self.tree.give(self.tree.nodes[path], 0, 0)
        else:
            self.programs._lose(path, node)
            node.data, node.mtime_ns, node.mode = data, self.programs.now_ns, node.mode & ~0o6000
            self.tree.changed(node)
            self.programs.look(path)
        self.ledger.wrote(path, data)

    def digests(self) -> None:
        """Let the daemon take what was done so far into account."""
        self.host.digest(self.programs.now_ns)

    def sets(
        self, path: RelPath, *, mode: int | None = None, uid: int | None = None, mtime_ns: int | None = None
    ) -> None:
        """Set attributes."""
        node = self.tree.nodes[path]
        node.mode = mode if mode is not None else node.mode
        node.mtime_ns = mtime_ns if mtime_ns is not None else node.mtime_ns
        self.tree.give(node, uid if uid is not None else node.uid, node.gid)
        self.tree.changed(node)
        self.programs.look(path)


def data_of(actor: Actor, what: str) -> bytes:
    """Return what a member writes: what a writes is longer."""
    return what.encode() + (b" by a, at length" if actor.host.name == "a" else b" by b")


def makes_anew(actor: Actor) -> None:
    actor.programs.remove(F)
    actor.puts(F, data_of(actor, "anew"))


def makes_directory_with(actor: Actor) -> None:
    actor.programs.make_directory(N)
    actor.puts(RelPath(b"n/in"), b"inside")


def replaces(actor: Actor) -> None:
    actor.programs.remove(L)
    actor.puts(L, data_of(actor, "another"))


def chmods(actor: Actor, path: RelPath = F) -> None:
    actor.sets(path, mode=0o740 if actor.host.name == "a" else 0o604)


def renames_to_h_and(then: Callable[[Actor], None]) -> Callable[[Actor], None]:
    """Rename, let it be looked at, and go on."""

    def act(actor: Actor) -> None:
        actor.programs.move(F, H)
        actor.digests()
        then(actor)

    return act


def edits_twice(actor: Actor) -> None:
    actor.puts(F, b"draft by b")
    actor.digests()
    actor.puts(F, data_of(actor, "edit"))


def edits_line(number: int) -> Callable[[Actor], None]:
    """Edit one line of the text."""

    def act(actor: Actor) -> None:
        lines = list(LINES)
        lines[number] = data_of(actor, "line")
        actor.puts(T, b"\n".join(lines))

    return act


def closes_and_edits(actor: Actor) -> None:
    actor.sets(T, mode=0o600)
    edits_line(0)(actor)


def adds_user(number: int | None) -> Callable[[Actor], None]:
    """Add a user with this number, None for one of the member's own."""

    def act(actor: Actor) -> None:
        own = number or 1000 + actor.host.number
        name = b"%s:x:%d:%d:%s:/:/bin/sh\n" % (actor.host.name.encode(), own, own, data_of(actor, "user"))
        actor.puts(PASSWD, ROOT_USER + name)

    return act


ACTS: dict[str, Callable[[Actor], None]] = {
    **MIRRORED_ACTS,
    **REMADE_ACTS,
    "edits the first line of t": edits_line(0),
    "edits the last line of t": edits_line(-1),
    "closes t and edits its first line": closes_and_edits,
    "deletes t": lambda actor: actor.programs.remove(T),
    "adds a user to passwd": adds_user(None),
    "adds a user of the same number": adds_user(1000),
    "edits f": lambda actor: actor.puts(F, data_of(actor, "edit")),
    "deletes f": lambda actor: actor.programs.remove(F),
    "chmods f": chmods,
    "chowns f": lambda actor: actor.sets(F, uid=1000),
    "touches f": lambda actor: actor.sets(F, mtime_ns=actor.programs.now_ns),
    "makes f immutable": lambda actor: make_immutable(actor.tree.nodes[F], lambda: actor.sets(F)),
    "makes f setuid": lambda actor: actor.sets(F, mode=0o4755),
    "deletes f and makes it anew": makes_anew,
    "renames f to h": lambda actor: actor.programs.move(F, H),
    "edits f twice": edits_twice,
    "edits g": lambda actor: actor.puts(G, data_of(actor, "edit")),
    "edits f and g": lambda actor: (actor.puts(F, data_of(actor, "edit")), actor.puts(G, b"g edited"))[0],
    "edits d/x": lambda actor: actor.puts(RelPath(b"d/x"), b"x edited"),
    "chmods d": lambda actor: actor.sets(D, mode=0o700),
    "renames f to d/f": lambda actor: actor.programs.move(F, RelPath(b"d/f")),
    "renames f to h, then to i": renames_to_h_and(lambda actor: actor.programs.move(H, ONWARD)),
    "renames f to h and edits it": renames_to_h_and(lambda actor: actor.puts(H, data_of(actor, "edit"))),
    "renames f to h and deletes it": renames_to_h_and(lambda actor: actor.programs.remove(H)),
    "renames f to h and makes f anew": renames_to_h_and(lambda actor: actor.puts(F, data_of(actor, "anew"))),
    "renames f to h, and g to f": renames_to_h_and(lambda actor: actor.programs.move(G, F)),
    "renames f to i": lambda actor: actor.programs.move(F, ONWARD),
    "renames f to g": lambda actor: actor.programs.move(F, G),
    "renames g to f": lambda actor: actor.programs.move(G, F),
    "renames g to h": lambda actor: actor.programs.move(G, H),
    "exchanges f and g": lambda actor: actor.programs.swap(F, G),
    "renames p to q/p": lambda actor: actor.programs.move(P, RelPath(b"q/p")),
    "renames q to p/q": lambda actor: actor.programs.move(Q, RelPath(b"p/q")),
    "renames d to e": lambda actor: actor.programs.move(D, E),
    "deletes d": lambda actor: actor.programs.remove_tree(D),
    "makes d/new": lambda actor: actor.puts(RelPath(b"d/new"), b"new"),
    "makes the file n": lambda actor: actor.puts(N, data_of(actor, "file")),
    "makes the directory n": lambda actor: actor.programs.make_directory(N),
    "makes the directory n with n/in": makes_directory_with,
    "makes the symlink n": lambda actor: actor.programs.make_link(N),
    "edits k": lambda actor: actor.puts(K, data_of(actor, "edit")),
    "edits l": lambda actor: actor.puts(L, data_of(actor, "edit")),
    "chmods k": lambda actor: chmods(actor, K),
    "chmods l": lambda actor: chmods(actor, L),
    "removes l": lambda actor: actor.programs.remove(L),
    "replaces l": replaces,
    "links f to h": lambda actor: actor.programs.hard_link(F, H),
    "links g to h": lambda actor: actor.programs.hard_link(G, H),
    "writes the same to f": lambda actor: (actor.puts(F, b"same"), actor.sets(F, mtime_ns=1))[0],
}


def met(a_does: str, b_does: str, policy: str) -> Cluster:
    """Return two members that did so apart, and met."""
    cluster = Cluster(Plan(0, Setup(2, (policy,)), ()))
    cluster.begin()
    a, b = cluster.hosts
    founder = Actor(cluster, a)
    for path in (D, P, Q):
        founder.programs.make_directory(path)
    founder.puts(F, b"f before")
    founder.puts(RelPath(b"d/x"), b"x before")
    founder.puts(G, b"g before, which is longer")
    founder.puts(T, b"\n".join(LINES))
    founder.puts(PASSWD, ROOT_USER)
    founder.sets(G, mtime_ns=founder.programs.now_ns - SECOND_NS)
    founder.puts(K, b"k before")
    founder.programs.hard_link(K, L)
    cluster.heal()
    for link in cluster.links.values():
        link.cut()
    for host, does in ((a, a_does), (b, b_does)):
        cluster.now_ns += 10 * SECOND_NS
        ACTS[does](Actor(cluster, host))
        host.digest(cluster.now(host))
    cluster.heal()
    check_nothing_lost(cluster)
    check_quiet(cluster)
    return cluster


def check_merged(path: RelPath) -> Callable[[Cluster, str], None]:
    """The versions at a path are put together where they can be."""

    def check(cluster: Cluster, whose: str) -> None:
        if whose != "both":
            check_whose(cluster, path, whose)
            return
        for host in cluster.hosts:
            assert {b"by a", b"by b"} <= set(re.findall(b"by [ab]", files(host)[path]))

    return check


def check_closed(cluster: Cluster, whose: str) -> None:
    check_merged(T)(cluster, whose)
    assert {host.tree.nodes[T].mode for host in cluster.hosts} == {0o600}


def check_edits(cluster: Cluster, whose: str) -> None:
    check_whose(cluster, F, whose)


def check_edit_lives(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        assert files(host)[F] == f"edit by {whose}".encode() + (b", at length" if whose == "a" else b"")


def check_modes(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        name = host.name if whose == "own" else whose
        assert host.tree.nodes[F].mode == (0o700 if name == "a" else 0o600)


def check_chown_against_chmod(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        name = host.name if whose == "own" else whose
        node = host.tree.nodes[F]
        assert (node.uid, node.mode) == ((1000, 0o604) if name == "a" else (0, 0o604))


def check_mode_and_edit(cluster: Cluster, whose: str) -> None:
    check_edit_lives(cluster, "b")
    assert {host.tree.nodes[F].mode for host in cluster.hosts} == {0o740}


def check_without_setuid(cluster: Cluster, whose: str) -> None:
    check_edit_lives(cluster, whose)
    assert {host.tree.nodes[F].mode for host in cluster.hosts} == {0o755}


def check_anew(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        assert files(host)[F] == b"anew by a, at length"
        assert host.tree.nodes[F].mode & 0o077 == 0o604 & 0o644 & 0o077


def check_edits_of_moved(cluster: Cluster, whose: str) -> None:
    check_whose(cluster, H, whose)
    assert not any(F in files(host) for host in cluster.hosts)


def check_replaced_or_edited(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        name = host.name if whose == "own" else whose
        assert files(host)[G] == (b"f before" if name == "a" else b"edit by b")
        assert F not in files(host)


def shows_with(mode: int, **paths: str | None) -> Callable[[Cluster, str], None]:
    """Return a check of what is there, and of the mode of `h`, or `e`, as the member that set it had it."""

    def check(cluster: Cluster, whose: str) -> None:
        shows(**paths)(cluster, whose)
        for host in cluster.hosts:
            node = host.tree.nodes.get(H) or host.tree.nodes[E]
            assert node.mode == mode

    return check


def check_touched(cluster: Cluster, whose: str) -> None:
    shows(f=None, h="f before")(cluster, whose)
    a, b = cluster.hosts
    assert a.tree.nodes[H].mtime_ns == b.tree.nodes[H].mtime_ns
    assert a.tree.nodes[H].mtime_ns > cluster.hosts[0].tree.nodes[G].mtime_ns + 10 * SECOND_NS


def check_two_for_one(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        name = host.name if whose == "own" else whose
        assert files(host)[H] == (b"g before, which is longer" if name == "a" else b"f before")
        assert not {F, G} & files(host).keys()


def check_symlink(cluster: Cluster, whose: str) -> None:
    for host in cluster.hosts:
        assert files(host)[N] == (b"file by a, at length" if whose == "a" else b"symlink")


CHECKS: dict[tuple[str, str], Callable[[Cluster, str], None]] = {
    **LINKED_CHECKS,
    **MIRRORED_CHECKS,
    **REMADE_CHECKS,
    **FLAGGED_CHECKS,
    ("edits f", "edits f"): check_edits,
    ("edits f", "deletes f"): check_edit_lives,
    ("deletes f", "edits f"): check_edit_lives,
    ("chmods f", "edits f"): check_mode_and_edit,
    ("chmods f", "chmods f"): check_modes,
    ("chowns f", "chmods f"): check_chown_against_chmod,
    ("touches f", "edits f"): check_edit_lives,
    ("edits f", "touches f"): check_edit_lives,
    ("makes f setuid", "edits f"): check_without_setuid,
    ("deletes f and makes it anew", "chmods f"): check_anew,
    ("renames f to h", "edits f"): shows(f=None, h="edit by b"),
    ("edits f", "renames f to h"): shows(f=None, h="edit by a, at length"),
    ("renames f to h", "chmods f"): shows_with(0o604, f=None, h="f before"),
    ("renames f to h", "touches f"): check_touched,
    ("renames f to h", "makes f setuid"): shows_with(0o4755, f=None, h="f before"),
    ("renames f to h", "deletes f"): shows("a", f=None, h="f before"),
    ("renames f to h, then to i", "edits f"): shows(f=None, h=None, i="edit by b"),
    ("renames f to h, then to i", "edits f twice"): shows(f=None, h=None, i="edit by b"),
    ("renames f to h and edits it", "edits f"): check_edits_of_moved,
    ("renames f to h and deletes it", "edits f"): shows("b", f="edit by b", h=None),
    ("renames f to h and makes f anew", "edits f"): shows(f="anew by a, at length", h="edit by b"),
    ("renames f to h, and g to f", "edits f"): shows(f="g before, which is longer", g=None, h="edit by b"),
    ("renames f to g", "edits f"): shows(f=None, g="edit by b"),
    ("renames f to g", "edits g"): check_replaced_or_edited,
    ("exchanges f and g", "edits f"): shows(f="g before, which is longer", g="edit by b"),
    ("exchanges f and g", "edits f and g"): shows(f="g edited", g="edit by b"),
    ("renames d to e", "edits d/x"): shows(d=None, e__x="x edited"),
    ("renames d to e", "chmods d"): shows_with(0o700, d=None, e__x="x before"),
    ("renames d to e", "deletes d"): shows("a", d=None, e__x="x before"),
    ("renames f to d/f", "deletes d"): shows(d="directory", d__f="f before", d__x=None, f=None),
    ("renames f to d/f", "renames d to e"): shows(d__f="f before", d__x=None, e__x="x before", e__f=None, f=None),
    ("renames f to h", "renames f to i"): shows(f=None, h="f before", i="f before"),
    ("renames f to g", "renames g to f"): shows(f="g before, which is longer", g="f before"),
    ("renames g to h", "renames f to h"): check_two_for_one,
    ("renames p to q/p", "renames q to p/q"): shows(p="directory", q="directory", p__q="directory", q__p="directory"),
    ("renames d to e", "makes d/new"): shows(d="directory", d__new="new", d__x=None, e__x="x before"),
    ("deletes d", "makes d/new"): shows(d="directory", d__new="new", d__x=None),
    ("makes the file n", "makes the directory n"): shows("a", n="file by a, at length"),
    ("makes the file n", "makes the directory n with n/in"): shows("b", n="directory", n__in="inside"),
    ("makes the file n", "makes the symlink n"): check_symlink,
    ("edits the first line of t", "edits the last line of t"): check_merged(T),
    ("edits the first line of t", "edits the first line of t"): check_merged(T),
    ("closes t and edits its first line", "edits the last line of t"): check_closed,
    ("adds a user to passwd", "adds a user to passwd"): check_merged(PASSWD),
    ("adds a user to passwd", "adds a user of the same number"): check_merged(PASSWD),
    ("edits the first line of t", "deletes t"): shows(
        "a", t="\n".join(["line by a, at length", "second", "third", "fourth", "last"])
    ),
    ("writes the same to f", "writes the same to f"): shows(f="same"),
}


@pytest.mark.parametrize(("a_does", "b_does", "policy", "outcome"), cells())
def test_a_conflict_ends_as_the_table_says(a_does: str, b_does: str, policy: str, outcome: str) -> None:
    cluster = met(a_does, b_does, policy)
    CHECKS[a_does, b_does](cluster, outcome)
    is_open = any(list(host.engine.conflicts(host.index.rows())) for host in cluster.hosts)
    assert not (is_open and a_does == b_does == "writes the same to f"), "equal results are no conflict"


def test_every_row_is_checked_and_every_check_has_a_row() -> None:
    assert {(a_does, b_does) for a_does, b_does, _, _ in cells()} == CHECKS.keys()
