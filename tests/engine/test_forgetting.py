"""Tombstones are forgotten once nobody needs them, and nothing that they took away comes back (R12)."""

import pytest

from csfs.core.paths import ROOT, RelPath
from csfs.core.records import DirectoryTime
from csfs.core.rows import Standing
from csfs.core.versions import Dot, Hlc, Incarnation
from csfs.engine import forgetting
from csfs.engine.validation import RefusedError
from csfs.wire.messages import Update
from tests.engine.members import SCOPE, Side, directory, found, sides

PATH = RelPath(b"f")


def tell_all(members: list[Side]) -> None:
    """All say how far they are."""
    for one in members:
        for other in members:
            if one is not other:
                one.engine.stands(other.name, other.engine.standings())


def forgets(side: Side) -> int:
    """Return how many tombstones a member drops."""
    count, _ = side.engine.forget(side.engine.settled_everywhere(), ROOT, 100)
    return count


def removed_everywhere(*names: str, receive_only: tuple[str, ...] = ()) -> list[Side]:
    """Return members of which the first made a file and removed it, and all have heard and applied it."""
    members = sides(*names, receive_only=receive_only)
    first, *others = members
    first.sees(b"f", found(b"one"))
    for other in others:
        other.hears(first)
        other.shows(b"f", found(b"one"))
    first.sees(b"f", None)
    for other in others:
        other.hears(first)
        other.shows(b"f", None)
    return members


def directory_removed_and_forgotten() -> list[Side]:
    """Return two members of which the first made a directory, the other one removed it, and the first has forgotten that."""
    alpha, beta = members = sides("alpha", "beta")
    alpha.sees(b"d", directory(mtime_ns=5))
    beta.hears(alpha)
    beta.shows(b"d", directory(mtime_ns=5))
    beta.sees(b"d", None)
    alpha.hears(beta)
    alpha.shows(b"d", None)
    tell_all(members)
    assert forgets(alpha) == 1
    return members


def test_a_tombstone_goes_once_all_members_have_said_that_they_applied_it() -> None:
    alpha, beta, _ = members = removed_everywhere("alpha", "beta", "gamma")
    alpha.engine.stands("beta", beta.engine.standings())
    assert forgets(alpha) == 0, "gamma has said nothing"
    tell_all(members)
    assert [forgets(one) for one in members] == [1, 1, 1]
    assert [one.index.row(PATH) for one in members] == [None] * 3


def test_who_only_receives_is_waited_for_like_anybody_else() -> None:
    alpha, _ = members = removed_everywhere("alpha", "beta", receive_only=("beta",))
    assert forgets(alpha) == 0
    tell_all(members)
    assert [forgets(one) for one in members] == [1, 1]


def test_what_is_stored_and_not_applied_is_not_settled() -> None:
    alpha, beta = members = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one"))
    alpha.sees(b"f", None)
    beta.hears(alpha)
    tell_all(members)
    assert (forgets(alpha), forgets(beta)) == (0, 0)
    beta.shows(b"f", None)
    tell_all(members)
    assert (forgets(alpha), forgets(beta)) == (1, 1)


def test_who_has_too_much_to_do_goes_by_what_was_settled_before(monkeypatch: pytest.MonkeyPatch) -> None:
    alpha, beta = members = removed_everywhere("alpha", "beta")
    monkeypatch.setattr(forgetting, "UNSETTLED_MAX", 2)
    alpha.sees(b"g", found(b"two", inode=2))
    beta.hears(alpha)
    settled = beta.engine.standings()[SCOPE].settled
    alpha.sees(b"g", None)
    alpha.sees(b"h", found(b"three", inode=3))
    beta.hears(alpha)
    assert beta.engine.standings()[SCOPE].settled == settled, "two paths are more than it goes through"
    tell_all(members)
    assert [forgets(one) for one in members] == [1, 1]
    assert alpha.index.row(PATH) is beta.index.row(PATH) is None
    assert alpha.index.row(RelPath(b"g")) is not None, "beta has not shown that it is gone"


def test_a_directory_that_lives_on_by_a_child_is_not_settled_there() -> None:
    alpha, beta = members = sides("alpha", "beta")
    alpha.sees(b"d", directory())
    alpha.sees(b"d/f", found(b"one"))
    beta.hears(alpha)
    beta.shows(b"d", directory())
    beta.shows(b"d/f", found(b"one"))
    beta.sees(b"d/f", found(b"two", inode=2))
    alpha.sees(b"d/f", None)
    alpha.sees(b"d", None)
    beta.hears(alpha)
    beta.plans(b"d")
    tell_all(members)
    assert not beta.row(b"d").live
    assert forgets(alpha) == 0, "its tombstone says which attributes the directory has that lives on"


def test_a_batch_that_comes_again_brings_nothing_back() -> None:
    alpha, beta = members = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    old = alpha.engine.outgoing(0, {}, 100, "beta")
    beta.hears(alpha)
    beta.shows(b"f", found(b"one"))
    alpha.sees(b"f", None)
    beta.hears(alpha)
    beta.shows(b"f", None)
    tell_all(members)
    forgets(beta)
    assert beta.engine.receive("alpha", SCOPE, old.updates, old.mark, 1).touched == ()
    assert beta.index.row(PATH) is None


def test_what_is_made_where_a_tombstone_was_forgotten_has_seen_it() -> None:
    alpha, beta = members = removed_everywhere("alpha", "beta")
    tell_all(members)
    forgets(alpha)
    alpha.sees(b"f", found(b"two", inode=7))
    beta.hears(alpha)
    assert len(beta.row(b"f").record.content.entries) == 1
    assert len(beta.row(b"f").record.meta.entries) == 1


def test_a_directory_made_again_has_its_own_time_also_where_the_old_one_is_remembered() -> None:
    alpha, beta = directory_removed_and_forgotten()
    beta.sees(b"d", directory(mtime_ns=5, inode=9))
    alpha.hears(beta)
    assert alpha.row(b"d").record.time == beta.row(b"d").record.time


def test_the_time_of_a_directory_that_was_forgotten_brings_nothing_back() -> None:
    alpha, _ = directory_removed_and_forgotten()
    # As somebody says it who was set back to when it was there.
    later = Update(b"d", None, None, DirectoryTime(Dot(Incarnation(9), 1), Hlc(9), 7))
    assert alpha.engine.receive("beta", SCOPE, (later,), None, 1).touched == ()
    assert alpha.index.row(RelPath(b"d")) is None


def test_what_a_member_says_of_groups_that_it_is_not_in_is_let_go_and_nonsense_refused() -> None:
    alpha, _ = sides("alpha", "beta")
    alpha.engine.stands("gamma", {SCOPE: Standing({alpha.engine._incarnation: 5})})
    assert alpha.index.standings("gamma") == {}
    with pytest.raises(RefusedError):
        alpha.engine.stands("beta", {SCOPE: Standing({alpha.engine._incarnation: -1})})


def test_who_joins_or_catches_up_says_nothing_of_what_it_has_settled() -> None:
    _, beta = sides("alpha", "beta", pulling=("beta",))
    assert beta.engine.standings()[SCOPE].settled == {}
    assert beta.engine.settled_everywhere() == {}
