"""A directory that is moved as a whole comes to the same versions as looks at each path, and is followed where all agree (R15)."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csfs.core.moves import PATHS_MAX, WholeMove
from csfs.core.objects import Kind, Observation
from csfs.core.paths import RelPath
from csfs.core.records import Record
from csfs.core.versions import Dot, Incarnation
from csfs.engine.rules import Rules
from tests.engine.members import NOW_NS, SCOPE, Side, directory, found, sides

D, E = RelPath(b"d"), RelPath(b"e")
Tree = dict[bytes, Observation]
SMALL: Tree = {
    b"d": directory(3, inode=1),
    b"d/a": found(b"one", inode=2),
    b"d/s": directory(5, inode=3),
    b"d/s/b": found(b"two", inode=4, mode=0o4755),
    b"d/l": found(b"x", kind=Kind.SYMLINK, inode=5),
}


def has(side: Side, tree: Tree) -> None:
    """Have a member find all this."""
    for path, observation in sorted(tree.items()):
        side.sees(path, observation)


def shows_all(side: Side) -> None:
    """Carry out everything that is planned, parents first; each host has inodes of its own."""
    for number, path in enumerate(side.index.pending()):
        plan = side.plans(path)
        assert plan is not None
        assert plan.meta is not None
        meta, content = plan.meta, plan.content
        observation = found(
            content.target,
            kind=content.kind,
            mtime_ns=plan.mtime_ns or 1,
            inode=100 + number,
            mode=meta.mode,
            owner=meta.owner,
            group=meta.group,
        )
        side.engine.applied(plan, msgspec.structs.replace(observation, size=content.size, hash=content.hash))


def both(tree: Tree, **options: object) -> tuple[Side, Side]:
    """Return two members that both show a tree which the first has made."""
    alpha, beta = sides("alpha", "beta", **options)  # type: ignore[arg-type]
    has(alpha, tree)
    beta.hears(alpha)
    shows_all(beta)
    assert not beta.index.pending()
    return alpha, beta


def moves(side: Side, source: RelPath = D, target: RelPath = E) -> tuple[RelPath, ...]:
    """Have a directory moved as a whole, and found where it went."""
    shown = side.row(source).applied.observation
    assert shown is not None
    stamp = msgspec.structs.replace(shown.stamp, ctime_ns=shown.stamp.ctime_ns + 1)
    return side.engine.move_whole(source, target, msgspec.structs.replace(shown, stamp=stamp), NOW_NS)


def told(side: Side, peer: Side) -> WholeMove:
    """Return the move that a member tells a peer next."""
    out = side.engine.outgoing(peer.heard.get(side.name, 0), peer.engine.knowledge(), 100, peer.name)
    assert out.move is not None
    assert not out.updates
    return out.move


def follows(side: Side, peer: Side) -> bool:
    """Have a member rename its directory as a peer tells, if it agrees; return whether it knows all of that then."""
    move = told(peer, side)
    if not side.engine.agrees(peer.name, SCOPE, move, NOW_NS):
        return False
    shown = side.row(move.source).applied.observation
    assert shown is not None
    if not side.engine.moved_whole(SCOPE, move, shown, merging=False):
        return False
    side.heard[peer.name] = peer.index.position()
    return True


def records(side: Side) -> dict[RelPath, Record]:
    """Return all that is known."""
    return {path: row.record for path, row in side.index.rows().items()}


def likeness(record: Record) -> object:
    """Return a record without what depends on the order in which paths were looked at."""
    entries: list[object] = []
    for entry in record.content.entries:
        bare = msgspec.structs.replace(entry, dot=Dot(Incarnation(0), 0), hlc=0)
        entries.append((bare, set(record.content.seen)))
    for meta in record.meta.entries:
        entries.append((msgspec.structs.replace(meta, dot=Dot(Incarnation(0), 0), hlc=0), set(record.meta.seen)))
    return entries, record.time.mtime_ns if record.time is not None else None


def looks_at_each(side: Side, tree: Tree) -> None:
    """Have each path looked at after a move, as an observer does: parents first, and old names last."""
    for path, observation in sorted(tree.items()):
        side.sees(E + path[1:], observation, moved_from=RelPath(path))
    for path in sorted(tree, reverse=True):
        side.sees(path, None, moved_to=RelPath(E + path[1:]))


names = st.sampled_from([b"a", b"b", b"s/a", b"s/b", b"s/t/a", b"u/x"])
trees = st.dictionaries(names, st.tuples(st.binary(max_size=3), st.sampled_from([0o600, 0o644, 0o4755])), max_size=6)


def made_of(files: dict[bytes, tuple[bytes, int]]) -> Tree:
    """Return a tree with these files, and the directories around them."""
    tree: Tree = {b"d": directory(7, inode=1)}
    for path, (data, mode) in files.items():
        parts = path.split(b"/")
        for depth in range(1, len(parts)):
            tree.setdefault(b"d/" + b"/".join(parts[:depth]), directory(9, inode=len(tree) + 1))
        tree[b"d/" + path] = found(data, inode=len(tree) + 1, mode=mode)
    return tree


@given(trees, st.sampled_from([("younger",), ("merge", "younger")]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_whole_move_comes_to_what_looks_at_each_path_come_to(
    files: dict[bytes, tuple[bytes, int]], policy: tuple[str, ...], again: bool
) -> None:
    first = tree = made_of(files)
    if again:
        tree = {p: msgspec.structs.replace(o, mode=0o640) if o.kind is Kind.FILE else o for p, o in first.items()}
    (whole,), (single,) = sides("alpha", policy=policy), sides("alpha", policy=policy)
    for side in (whole, single):
        has(side, first)
        has(side, tree)
        side.engine.outgoing(0, {}, 1000, "alpha")
        side.engine._told_up_to = side.index.position()
    assert len(moves(whole)) == len(tree)
    looks_at_each(single, tree)
    assert records(whole).keys() == records(single).keys()
    for path, row in whole.index.rows().items():
        other = single.row(path)
        assert likeness(row.record) == likeness(other.record), path
        assert (row.live, row.pending, row.scope) == (other.live, other.pending, other.scope)
        ours, theirs = row.applied, other.applied
        assert (ours.meta, ours.mtime_ns, ours.racy) == (theirs.meta, theirs.mtime_ns, theirs.racy)
        if ours.observation is not None:
            assert theirs.observation is not None
            assert ours.observation.stamp.inode == theirs.observation.stamp.inode
            entry, meta = row.record.content.entries[0], row.record.meta.entries[0]
            assert (ours.content_dot, ours.meta_dot) == (entry.dot, meta.dot)
            assert ours.content_seen == row.record.content.seen


@given(trees)
@settings(max_examples=100, deadline=None)
def test_who_agrees_comes_to_the_very_same_records(files: dict[bytes, tuple[bytes, int]]) -> None:
    alpha, beta = both(made_of(files))
    assert moves(alpha)
    assert follows(beta, alpha)
    assert records(alpha) == records(beta)
    assert not beta.index.pending()
    beta.hears(alpha)
    assert alpha.engine.knowledge() == beta.engine.knowledge()
    assert alpha.engine.digests() == beta.engine.digests()


def test_a_directory_that_came_back_goes_as_a_whole_each_time() -> None:
    alpha, beta = both(SMALL)
    for source, target in [(D, E), (E, D), (D, E)]:
        assert moves(alpha, source, target)
        assert follows(beta, alpha)
        beta.hears(alpha)
    assert records(alpha) == records(beta)


def test_who_was_away_follows_several_moves() -> None:
    alpha, beta = both(SMALL)
    assert moves(alpha, D, E)
    assert moves(alpha, E, RelPath(b"f"))
    move = told(alpha, beta)
    shown = beta.row(D).applied.observation
    assert shown is not None
    assert beta.engine.agrees("alpha", SCOPE, move, NOW_NS)
    assert beta.engine.moved_whole(SCOPE, move, shown, merging=False)
    beta.heard["alpha"] = alpha.engine.outgoing(beta.heard["alpha"], beta.engine.knowledge(), 9, "beta").position
    assert follows(beta, alpha)
    assert records(alpha) == records(beta)


def test_who_has_not_followed_is_told_each_path() -> None:
    alpha, beta = both(SMALL)
    moves(alpha)
    move = told(alpha, beta)
    out = alpha.engine.outgoing(beta.heard["alpha"], beta.engine.knowledge(), 100, "beta", [move])
    assert (out.move, len(out.updates)) == (None, 2 * len(SMALL))
    beta.engine.receive("alpha", SCOPE, out.updates, out.mark, NOW_NS)
    assert records(alpha) == records(beta)
    assert set(beta.index.pending()) == set(records(alpha))


def test_what_was_changed_before_and_after_a_move_is_told_around_it() -> None:
    alpha, beta = both(SMALL)
    alpha.sees(b"z", found(b"before", inode=9))
    moves(alpha)
    alpha.sees(b"y", found(b"after", inode=10))
    knowledge, position, seen = beta.engine.knowledge(), beta.heard["alpha"], list[object]()
    while True:
        out = alpha.engine.outgoing(position, knowledge, 100, "beta")
        seen.append(out.move.target if out.move is not None else [update.path for update in out.updates])
        position = out.position
        if out.done:
            break
    assert seen == [[b"z"], E, [b"y"]]


def test_what_is_known_already_is_not_told_again() -> None:
    alpha, beta = both(SMALL)
    moves(alpha)
    out = alpha.engine.outgoing(beta.heard["alpha"], alpha.engine.knowledge(), 100, "beta")
    assert (out.move, out.updates) == (None, ())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda side: side.sees(b"d/a", found(b"other", inode=2)),
        lambda side: side.sees(b"d/a", found(b"one", inode=2, mode=0o600)),
        lambda side: side.sees(b"d/new", found(b"new", inode=99)),
        lambda side: side.sees(b"e", directory(inode=98)),
        lambda side: side.sees(b"e/left", found(b"left", inode=98)),
        lambda side: side.sees(b"d/a", None),
        lambda side: setattr(side.engine, "pulling", True),
        lambda side: side.engine._connected["alpha"].tainted.add(SCOPE),
    ],
)
def test_who_has_something_else_does_not_follow(spoil: object) -> None:
    alpha, beta = both(SMALL)
    moves(alpha)
    spoil(beta)  # type: ignore[operator]
    before = records(beta)
    assert not follows(beta, alpha)
    assert records(beta) == before


def test_who_has_not_applied_everything_below_does_not_follow() -> None:
    alpha, beta = both(SMALL)
    alpha.sees(b"d/a", found(b"newer", inode=2, mtime_ns=9))
    beta.hears(alpha)
    moves(alpha)
    assert not follows(beta, alpha)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source", b""),
        ("target", b""),
        ("target", b"d/s/t"),
        ("target", b".csfs/x"),
        ("target", b"../x"),
        ("target", b"nowhere/e"),
        ("source", b"d/a"),
        ("first", Dot(Incarnation(2), 1000)),
        ("first", Dot(Incarnation(1), 0)),
        ("first", Dot(Incarnation(1), 2**63 - 1)),
        ("hlc", NOW_NS + 2 * 3_600 * 10**9),
        ("hlc", -1),
        ("known", {Incarnation(1): -1}),
        ("digest", b""),
    ],
)
def test_what_no_member_says_of_a_move_is_not_followed(field: str, value: object) -> None:
    alpha, beta = both(SMALL)
    moves(alpha)
    move = told(alpha, beta)
    assert beta.engine.agrees("alpha", SCOPE, move, NOW_NS)
    assert not beta.engine.agrees("alpha", SCOPE, msgspec.structs.replace(move, **{field: value}), NOW_NS)  # type: ignore[arg-type]


def test_who_claims_to_know_changes_of_ours_that_were_not_made_is_not_followed() -> None:
    alpha, beta = both(SMALL)
    moves(alpha)
    move = told(alpha, beta)
    ours, last = beta.engine._incarnation, beta.index.last_counter(SCOPE)
    for counter, is_followed in ((last, True), (last + 1, False)):
        claim = msgspec.structs.replace(move, known={**move.known, ours: counter})
        assert bool(beta.engine.agrees("alpha", SCOPE, claim, NOW_NS)) is is_followed


def test_nobody_is_told_of_a_move_whose_transaction_came_to_nothing() -> None:
    alpha, beta = both(SMALL)
    moves(alpha)
    alpha.engine.move_undone()
    assert alpha.engine.outgoing(beta.heard.get("alpha", 0), beta.engine.knowledge(), 1000, "beta").move is None


def test_who_only_receives_follows_and_is_not_followed() -> None:
    alpha, beta = both(SMALL, receive_only=("beta",))
    assert not moves(beta)
    moves(alpha)
    move = told(alpha, beta)
    assert not alpha.engine.agrees("beta", SCOPE, move, NOW_NS)
    assert follows(beta, alpha)


def test_names_of_one_inode_are_looked_at_one_by_one() -> None:
    (alpha,) = sides("alpha")
    has(alpha, {b"d": directory(inode=1)})
    linked = found(b"one", inode=2, links=2)
    alpha.sees(b"d/a", linked, names=[RelPath(b"f")])
    alpha.sees(b"f", linked, names=[RelPath(b"d/a")])
    assert not moves(alpha)


def test_more_than_fits_into_one_transaction_is_looked_at_one_by_one() -> None:
    (alpha,) = sides("alpha")
    has(alpha, {b"d": directory(inode=1)})
    row = alpha.row(b"d")
    alpha.sees(b"d/a", found(b"", inode=2))
    child = alpha.row(b"d/a")
    for number in range(PATHS_MAX):
        alpha.index.put(RelPath(b"d/a%d" % number), child)
    assert row is alpha.row(b"d")
    assert not moves(alpha)


class TwoGroups:
    """Rules that leave a directory to nobody."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    @property
    def groups(self) -> object:
        """The groups."""
        return self._rules.groups

    def group_of(self, path: RelPath) -> object:
        """Return the group of a path."""
        return None if path.startswith((b"e/s", b"x")) else self._rules.group_of(path)


def test_what_leaves_its_group_is_looked_at_one_by_one_and_not_followed() -> None:
    alpha, beta = both(SMALL)
    for side in (alpha, beta):
        before = side.engine._rules
        side.engine._rules = TwoGroups(before)  # type: ignore[assignment]
        assert not moves(side)
        side.engine._rules = before
    moves(alpha)
    beta.engine._rules = TwoGroups(beta.engine._rules)  # type: ignore[assignment]
    assert not follows(beta, alpha)


def test_an_edit_that_was_not_known_when_the_directory_was_moved_follows_it() -> None:
    alpha, beta = both(SMALL)
    moves(alpha)
    beta.sees(b"d/a", found(b"edited", inode=101, mtime_ns=9))
    assert not follows(beta, alpha)
    move = told(alpha, beta)
    out = alpha.engine.outgoing(beta.heard["alpha"], beta.engine.knowledge(), 100, "beta", [move])
    received = beta.engine.receive("alpha", SCOPE, out.updates, out.mark, NOW_NS)
    beta.engine.follow(received.touched, NOW_NS)
    alpha.hears(beta)
    assert records(alpha) == records(beta)
    (entry,) = alpha.row(b"e/a").record.content.entries
    assert entry.value.hash == found(b"edited").hash


def test_what_became_known_between_the_rename_and_its_record_is_told_path_by_path() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    has(alpha, SMALL)
    for side in (beta, gamma):
        side.hears(alpha)
        shows_all(side)
    moves(alpha)
    move = told(alpha, beta)
    gamma.sees(b"d/a", found(b"edited", inode=101, mtime_ns=9))
    shown = beta.row(D).applied.observation
    assert shown is not None
    assert beta.engine.agrees("alpha", SCOPE, move, NOW_NS)
    beta.hears(gamma)  # while the rename is under way
    assert not beta.engine.moved_whole(SCOPE, move, shown, merging=False)
    assert beta.row(b"e/a").applied.observation is not None
    assert beta.row(b"d/a").applied.observation is None
    out = alpha.engine.outgoing(beta.heard["alpha"], beta.engine.knowledge(), 100, "beta", [move])
    beta.engine.receive("alpha", SCOPE, out.updates, out.mark, NOW_NS)
    gamma.hears(beta)
    alpha.hears(gamma)
    beta.hears(gamma)
    gamma.hears(alpha)
    assert records(alpha) == records(beta) == records(gamma)
    assert alpha.row(b"e/a").record.content.entries[0].value.hash == found(b"edited").hash
