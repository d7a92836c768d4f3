"""What a member says that it has, to programs that wait elsewhere (R26)."""

from csfs.core.paths import RelPath
from csfs.engine.claims import claim_of, content_claimed, includes, is_overruled
from csfs.wire.messages import Claim
from tests.engine.members import Side, directory, found, sides


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


def test_what_was_not_heard_of_is_not_included_and_what_came_after_it_includes_it() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    first = claimed(alpha, b"f")
    assert not includes(beta.index.row(RelPath(b"f")), first)
    beta.hears(alpha)
    assert includes(beta.row(b"f"), first)
    alpha.sees(b"f", found(b"two", mtime_ns=2))
    second = claimed(alpha, b"f")
    assert not includes(beta.row(b"f"), second)
    beta.hears(alpha)
    assert includes(beta.row(b"f"), first)
    assert includes(beta.row(b"f"), second)


def test_a_half_that_was_not_heard_of_counts() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    alpha.sees(b"f", found(b"one", mode=0o600))
    assert not includes(beta.row(b"f"), claimed(alpha, b"f"))


def test_of_nothing_nothing_is_missing() -> None:
    assert includes(None, Claim(b"f", None, None))


def test_the_content_of_a_loser_is_to_be_there_and_that_of_what_was_replaced_is_not() -> None:
    alpha, beta, claim = lost_to_another()
    entry = content_claimed(beta.row(b"f"), claim)
    assert entry is not None
    assert entry.dot == claim.content
    alpha.sees(b"f", found(b"two", mtime_ns=9))
    beta.hears(alpha)
    assert content_claimed(beta.row(b"f"), claim) is None


def test_what_a_policy_decided_against_before_it_was_superseded_is_not_here_for_that() -> None:
    alpha, beta, claim = lost_to_another()
    beta.plans(b"f")
    beta.sees(b"f", found(b"made of another", mtime_ns=6))
    assert content_claimed(beta.row(b"f"), claim) is None
    assert is_overruled(beta.row(b"f"), claim)
    alpha.hears(beta)
    alpha.shows(b"f", found(b"made of another", mtime_ns=6))
    alpha.sees(b"f", found(b"by who saw that", mtime_ns=7))
    assert not is_overruled(alpha.row(b"f"), claimed(alpha, b"f"))


def test_what_has_no_content_is_not_asked_for() -> None:
    alpha, _ = sides("alpha", "beta")
    alpha.sees(b"d", directory())
    alpha.sees(b"e", found(b"", inode=2))
    assert content_claimed(alpha.row(b"d"), claimed(alpha, b"d")) is None
    assert content_claimed(alpha.row(b"e"), claimed(alpha, b"e")) is None
