"""What a member says that it has, to programs that wait elsewhere (R26)."""

from csfs.core.paths import RelPath
from csfs.engine.claims import claim_of, contents_claimed, followed_from, includes
from csfs.wire.messages import Claim
from scripts.simulation.tree import hash_of
from tests.engine.members import NOW_NS, Side, directory, follow_rules, found, sides
from tests.engine.test_following import A, B, C, edits, renames, together
from tests.engine.test_merging import Members, edited

F = RelPath(b"f")


def claimed(side: Side, path: bytes) -> Claim:
    """Return what a member claims to have made at a path."""
    return claim_of(RelPath(path), side.row(path))


def lost_to_another() -> tuple[Side, Side, Claim]:
    """Return a member with what it claims, and one that shows a version which wins against that."""
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    claim = claimed(alpha, b"f")
    beta.sees(b"f", found(b"another", mtime_ns=5))
    beta.hears(alpha)
    return alpha, beta, claim


def wanted(side: Side, path: RelPath, claim: Claim) -> list[tuple[RelPath, bytes]] | None:
    """Return where the contents are to be for a claim that is included, and their hashes."""
    assert includes(side.index, path, claim)
    contents = contents_claimed(side.index, path, claim)
    return None if contents is None else [(place, entry.value.hash) for place, entry in contents]


def test_what_was_not_heard_of_is_not_included_and_what_came_after_it_includes_it() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    first = claimed(alpha, b"f")
    assert not includes(beta.index, F, first)
    beta.hears(alpha)
    assert includes(beta.index, F, first)
    alpha.sees(b"f", found(b"two", mtime_ns=2))
    second = claimed(alpha, b"f")
    assert not includes(beta.index, F, second)
    beta.hears(alpha)
    assert includes(beta.index, F, first)
    assert includes(beta.index, F, second)


def test_a_half_that_was_not_heard_of_counts() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    alpha.sees(b"f", found(b"one", mode=0o600))
    assert not includes(beta.index, F, claimed(alpha, b"f"))


def test_of_nothing_nothing_is_missing() -> None:
    (alpha,) = sides("alpha")
    assert includes(alpha.index, F, Claim(b"f", None, None))


def test_the_content_of_a_loser_is_to_be_there_and_once_it_is_replaced_what_was_made_of_it() -> None:
    alpha, beta, claim = lost_to_another()
    assert wanted(beta, F, claim) == [(F, hash_of(b"one"))]
    alpha.sees(b"f", found(b"two", mtime_ns=9))
    beta.hears(alpha)
    assert wanted(beta, F, claim) == [(F, hash_of(b"two"))]


def test_what_was_removed_is_not_to_be_there_and_what_was_put_in_its_place_is() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(F, found(b"one"))
    claim = claimed(alpha, F)
    alpha.sees(F, None)
    beta.hears(alpha)
    assert wanted(beta, F, claim) == []
    alpha.sees(A, found(b"another file", inode=2))
    renames(alpha, A, F, b"another file", inode=2)
    beta.hears(alpha)
    assert wanted(beta, F, claim) == [(F, hash_of(b"another file"))]


def test_another_file_that_was_put_where_an_edit_went_is_to_be_there() -> None:
    alpha, beta, gamma = together("alpha", "beta", "gamma")
    renames(alpha, A, B)
    beta.hears(alpha)
    edits(beta, A)
    claim = claimed(beta, A)
    beta.shows(B, found(b"edited", mtime_ns=5, inode=8))
    beta.sees(C, found(b"another", inode=7))
    renames(beta, C, B, b"another", inode=7)
    gamma.hears(alpha)
    gamma.hears(beta)
    assert wanted(gamma, A, claim) == [(B, hash_of(b"another"))]


def test_what_a_policy_decided_against_before_it_was_superseded_is_not_here_for_that() -> None:
    alpha, beta, claim = lost_to_another()
    beta.plans(b"f")
    beta.sees(b"f", found(b"made of another", mtime_ns=6))
    assert wanted(beta, F, claim) is None
    alpha.hears(beta)
    alpha.shows(b"f", found(b"made of another", mtime_ns=6))
    alpha.sees(b"f", found(b"by who saw that", mtime_ns=7))
    assert wanted(alpha, F, claimed(alpha, b"f")) == [(F, hash_of(b"by who saw that"))]


def test_nor_is_what_its_author_made_of_it_before_the_policy_decided() -> None:
    alpha, beta, claim = lost_to_another()
    alpha.sees(b"f", found(b"two", mtime_ns=2))
    beta.hears(alpha)
    beta.plans(b"f")
    beta.sees(b"f", found(b"made of another", mtime_ns=6))
    assert wanted(beta, F, claim) is None


def test_what_has_no_content_is_not_asked_for() -> None:
    alpha, _ = sides("alpha", "beta")
    alpha.sees(b"d", directory())
    alpha.sees(b"e", found(b"", inode=2))
    claim = claimed(alpha, b"e")
    assert wanted(alpha, RelPath(b"d"), claimed(alpha, b"d")) == wanted(alpha, RelPath(b"e"), claim) == []
    alpha.sees(b"e", found(b"not empty", mtime_ns=2, inode=2))
    assert wanted(alpha, RelPath(b"e"), claim) == []


def test_an_edit_that_has_followed_a_move_is_to_be_there_under_the_new_name() -> None:
    alpha, beta, gamma = together("alpha", "beta", "gamma")
    renames(alpha, A, B)
    beta.hears(alpha)
    edits(beta, A)
    claim = claimed(beta, A)
    gamma.hears(beta)
    assert wanted(gamma, A, claim) == [(B, hash_of(b"edited"))]
    renames(alpha, B, C)
    beta.hears(alpha)
    gamma.hears(beta)
    assert wanted(gamma, A, claim) == [(C, hash_of(b"edited"))]


def test_an_edit_is_claimed_where_it_followed_to_and_what_a_rename_brought_along_is_not() -> None:
    alpha, beta = together("alpha", "beta")
    renames(alpha, A, B)
    beta.hears(alpha)
    assert list(followed_from(beta.index, A)) == []
    edits(beta, A)
    assert [path for path, _ in followed_from(beta.index, A)] == [B]
    beta.shows(B, found(b"edited", mtime_ns=5, inode=2))
    beta.shows(A, None)
    ((path, row),) = followed_from(beta.index, A)
    assert claim_of(path, row).hash == hash_of(b"edited")
    alpha.hears(beta)
    assert wanted(alpha, path, claim_of(path, row)) == [(B, hash_of(b"edited"))]


def test_what_somebody_renamed_is_to_be_there_under_the_new_name_until_it_is_replaced_there() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    alpha.sees(A, found(b"one"))
    claim = claimed(alpha, A)
    beta.hears(alpha)
    beta.shows(A, found(b"one"))
    renames(beta, A, B)
    gamma.hears(beta)
    assert wanted(gamma, A, claim) == [(B, hash_of(b"one"))]
    beta.sees(B, found(b"two", mtime_ns=5))
    gamma.hears(beta)
    assert wanted(gamma, A, claim) == [(B, hash_of(b"two"))]


def test_what_was_moved_away_is_not_included_before_it_is_known_where_it_went() -> None:
    alpha, beta, gamma = together("alpha", "beta", "gamma")
    beta.sees(A, found(b"one", mode=0o600))
    claim = claimed(beta, A)
    alpha.hears(beta)
    alpha.shows(A, found(b"one", mode=0o600))
    alpha.sees(B, found(b"one", mode=0o600), moved_from=A)
    alpha.sees(A, None, moved_to=B)
    alpha.sees(B, found(b"one", mode=0o640))  # told after what says that it left its old name
    first = alpha.engine.outgoing(gamma.heard["alpha"], gamma.engine.knowledge(), 1, "gamma", [])
    assert [update.path for update in first.updates] == [A]
    assert first.mark is None
    gamma.engine.receive("alpha", first.scope, first.updates, None, NOW_NS)
    assert not includes(gamma.index, A, claim)
    gamma.heard["alpha"] = first.position
    gamma.hears(alpha)
    assert wanted(gamma, A, claim) == [(B, hash_of(b"one"))]


def test_moves_of_lives_that_ended_before_the_rules_changed_have_nothing_to_do_with_what_was_made_since() -> None:
    alpha, beta, gamma = together("alpha", "beta", "gamma")
    renames(alpha, A, B)
    renames(alpha, B, C)
    for side in (beta, gamma):
        side.hears(alpha)
        follow_rules(side.engine)
    beta.shows(C, found(b"one"))
    beta.shows(A, None)
    beta.sees(A, found(b"new", inode=9))
    claim = claimed(beta, A)
    beta.sees(A, found(b"newer", mtime_ns=9, inode=9))
    gamma.hears(beta)
    assert wanted(gamma, A, claim) == [(A, hash_of(b"newer"))]


def test_what_a_policy_decided_against_where_it_was_moved_to_is_not_here_for_that() -> None:
    alpha, beta, gamma = together("alpha", "beta", "gamma")
    alpha.sees(B, found(b"another", mtime_ns=9, inode=2))
    gamma.hears(alpha)
    gamma.shows(B, found(b"another", mtime_ns=9, inode=2))
    renames(beta, A, B)
    edits(beta, B, b"mine")
    claim = claimed(beta, B)
    renames(beta, B, C, data=b"mine")
    gamma.hears(beta)
    assert wanted(gamma, B, claim) == [(C, hash_of(b"mine"))]
    alpha.hears(gamma)
    alpha.sees(C, found(b"there already", mtime_ns=99, inode=3))
    gamma.hears(alpha)
    gamma.shows(C, found(b"there already", mtime_ns=99, inode=3))
    gamma.sees(C, found(b"made of that", mtime_ns=100, inode=3))
    assert wanted(gamma, B, claim) is None


def test_the_same_bytes_under_another_dot_are_to_be_there() -> None:
    _, beta, gamma = together("alpha", "beta", "gamma")
    edits(beta, A)
    claim = claimed(beta, A)
    beta.sees(A, found(b"edited", mtime_ns=7))
    gamma.hears(beta)
    assert wanted(gamma, A, claim) == [(A, hash_of(b"edited"))]


def test_a_merge_of_what_is_claimed_is_to_be_there_wherever_it_goes() -> None:
    members = Members("alpha", "beta", "gamma")
    alpha, beta, gamma = members.sides
    members.writes(alpha, edited(1))
    members.writes(beta, edited(9))
    claims = [claimed(side, F) for side in (alpha, beta)]
    alpha.hears(beta)
    merged = members.merge(alpha)
    members.show(alpha)
    gamma.hears(alpha)
    assert [wanted(gamma, F, claim) for claim in claims] == [[(F, hash_of(merged))]] * 2
    other, shown = RelPath(b"g"), alpha.row(F).applied.observation
    assert shown is not None
    alpha.sees(other, shown, moved_from=F)
    alpha.sees(F, None, moved_to=other)
    gamma.hears(alpha)
    assert [wanted(gamma, F, claim) for claim in claims] == [[(other, hash_of(merged))]] * 2
    alpha.sees(other, found(b"by who saw the merge", mtime_ns=1_000))
    gamma.hears(alpha)
    made_of_it = [(other, hash_of(b"by who saw the merge"))]
    assert [wanted(gamma, F, claim) for claim in claims] == [made_of_it] * 2
