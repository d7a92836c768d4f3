"""Versions say which object is at a path, and where the one went that they took away (R15)."""

import pytest

from csfs.core.paths import RelPath
from csfs.core.records import ContentEntry, MetaEntry, Move
from csfs.core.versions import Dot
from tests.engine.members import Side, found, sides
from tests.engine.test_wholes import SMALL, both, looks_at_each, moves

A, B, C = (RelPath(name) for name in (b"a", b"b", b"c"))


def content(side: Side, path: bytes) -> ContentEntry:
    """Return the only content entry of a path."""
    (entry,) = side.row(path).record.content.entries
    return entry


def meta(side: Side, path: bytes) -> MetaEntry:
    """Return the only meta entry of a path."""
    (entry,) = side.row(path).record.meta.entries
    return entry


def birth(side: Side, path: bytes) -> Dot:
    """Return the object at a path."""
    entry = content(side, path)
    assert entry.birth is not None
    return entry.birth


def renames(side: Side, source: RelPath, target: RelPath, data: bytes, inode: int = 1) -> None:
    """Rename a file, and look where it went first."""
    side.sees(target, found(data, inode=inode), moved_from=source)
    side.sees(source, None, moved_to=target)


def test_both_names_of_an_exchange_say_where_their_object_went() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(A, found(b"one", inode=1))
    alpha.sees(B, found(b"two", inode=2))
    one, two = birth(alpha, A), birth(alpha, B)
    alpha.sees(A, found(b"two", inode=2), moved_from=B, moved_to=B)
    alpha.sees(B, found(b"one", inode=1), moved_from=A, moved_to=A)
    assert (birth(alpha, A), content(alpha, A).moves) == (two, (Move(one, B),))
    assert (birth(alpha, B), content(alpha, B).moves) == (one, (Move(two, A),))
    assert content(alpha, A).carried
    assert content(alpha, B).carried
    assert meta(alpha, A).birth == two
    assert meta(alpha, A).origin is not None


def test_what_is_put_at_an_old_name_says_where_the_old_object_went_and_so_does_what_is_made_of_it() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(A, found(b"one", inode=1))
    one = birth(alpha, A)
    renames(alpha, A, B, b"one")
    alpha.sees(A, found(b"new", inode=2))
    new = birth(alpha, A)
    assert new not in (one, None)
    assert content(alpha, A).moves == (Move(one, B),)
    alpha.sees(A, found(b"newer", inode=2))
    assert (birth(alpha, A), content(alpha, A).moves) == (new, (Move(one, B),))
    renames(alpha, A, C, b"newer", inode=2)
    assert content(alpha, A).moves == (Move(one, B), Move(new, C))


def test_an_old_name_given_to_another_object_before_anybody_looked_says_it_too() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(A, found(b"one", inode=1))
    one = birth(alpha, A)
    alpha.sees(B, found(b"one", inode=1), moved_from=A)
    alpha.sees(A, found(b"new", inode=2), moved_to=B)
    assert birth(alpha, B) == one
    assert birth(alpha, A) != one
    assert content(alpha, A).moves == (Move(one, B),)


def test_an_object_that_comes_back_is_not_away() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(A, found(b"one"))
    renames(alpha, A, B, b"one")
    renames(alpha, B, A, b"one")
    assert content(alpha, A).moves == ()
    assert content(alpha, B).moves == (Move(birth(alpha, A), A),)


def test_a_file_that_is_saved_as_another_inode_stays_the_same_object() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(A, found(b"one", inode=1))
    one = birth(alpha, A)
    alpha.sees(A, found(b"two", inode=2), moved_from=RelPath(b".a.swp"))
    assert (birth(alpha, A), content(alpha, A).carried) == (one, False)
    alpha.sees(A, found(b"three", inode=3))
    assert (birth(alpha, A), content(alpha, A).moves) == (one, ())


def test_a_file_that_is_moved_and_saved_before_anybody_looked_is_the_same_object_and_an_edit() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(A, found(b"one", inode=1))
    one = birth(alpha, A)
    alpha.sees(B, found(b"two", inode=2), moved_from=A)
    assert (birth(alpha, B), content(alpha, B).carried, content(alpha, B).parents) == (one, False, (one,))


def test_a_file_that_is_moved_over_another_one_and_saved_before_anybody_looked_is_the_same_object_and_an_edit() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(A, found(b"replaced", inode=1))
    alpha.sees(B, found(b"one", inode=2))
    one = birth(alpha, B)
    alpha.sees(A, found(b"two", inode=3), moved_from=B)
    alpha.sees(B, None, moved_to=A)
    assert (birth(alpha, A), content(alpha, A).carried, content(alpha, A).parents) == (one, False, (one,))
    assert content(alpha, B).moves == (Move(one, A),)


def test_a_file_that_comes_to_a_name_that_another_one_left_and_is_saved_is_the_same_object_and_an_edit() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(A, found(b"gone on", inode=1))
    alpha.sees(B, found(b"one", inode=2))
    gone, one = birth(alpha, A), birth(alpha, B)
    alpha.sees(C, found(b"gone on", inode=1), moved_from=A)
    alpha.sees(A, found(b"two", inode=3), moved_from=B, moved_to=C)
    alpha.sees(B, None, moved_to=A)
    assert (birth(alpha, A), content(alpha, A).carried, content(alpha, A).parents) == (one, False, (one,))
    assert content(alpha, A).moves == (Move(gone, C),)
    assert content(alpha, B).moves == (Move(one, A),)


def test_where_a_file_turned_up_it_went_though_what_was_moved_from_its_name_last_came_to_nothing() -> None:
    for is_saved in (False, True):
        (alpha,) = sides("alpha")
        alpha.sees(A, found(b"one", inode=1))
        one = birth(alpha, A)
        alpha.sees(B, found(b"saved", inode=2) if is_saved else found(b"one", inode=1), moved_from=A)
        alpha.sees(A, found(b"new", inode=3))
        assert birth(alpha, B) == one
        assert (birth(alpha, A) == one, content(alpha, A).moves) == (False, (Move(one, B),))


def test_what_is_at_its_name_went_nowhere_though_another_name_of_it_was_moved_from_there_and_saved() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(A, found(b"one", inode=1))
    one = birth(alpha, A)
    alpha.sees(B, found(b"saved", inode=2), moved_from=A)
    alpha.sees(A, found(b"written", inode=1))
    assert (birth(alpha, A), content(alpha, A).moves) == (one, ())


@pytest.mark.parametrize("saved", [A, B])
def test_both_names_of_an_exchange_say_where_their_object_went_if_one_was_saved_before_anybody_looked(
    saved: RelPath,
) -> None:
    (alpha,) = sides("alpha")
    alpha.sees(A, found(b"two", inode=1))
    alpha.sees(B, found(b"one", inode=2))
    two, one = birth(alpha, A), birth(alpha, B)
    first = found(b"one, saved", inode=3) if saved == A else found(b"one", inode=2)
    second = found(b"two, saved", inode=3) if saved == B else found(b"two", inode=1)
    alpha.engine.find([(A, first, B), (B, second, A)])
    alpha.sees(A, first, moved_from=B, moved_to=B if saved == A else None)
    alpha.sees(B, second, moved_from=A, moved_to=A if saved == B else None)
    assert (birth(alpha, A), content(alpha, A).moves) == (one, (Move(two, B),))
    assert (birth(alpha, B), content(alpha, B).moves) == (two, (Move(one, A),))
    assert content(alpha, saved).parents == (one if saved == A else two,)


def test_where_files_turned_up_is_known_before_any_of_their_names_is_observed() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(A, found(b"one", inode=1))
    alpha.sees(B, found(b"two", inode=2))
    one, two = birth(alpha, A), birth(alpha, B)
    saved, moved, new = found(b"one, saved", inode=3), found(b"two", inode=2), found(b"new", inode=4)
    alpha.engine.find([(A, new, None), (B, saved, A), (C, moved, B)])
    alpha.sees(A, new)
    alpha.sees(B, saved, moved_from=A)
    alpha.sees(C, moved, moved_from=B)
    assert (birth(alpha, B), birth(alpha, C)) == (one, two)
    assert (content(alpha, A).moves, content(alpha, B).moves) == ((Move(one, B),), (Move(two, C),))
    assert birth(alpha, A) not in (one, two)


def test_what_is_found_as_it_was_is_not_what_its_old_name_showed_before_that_came_there() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(A, found(b"one", inode=2))
    one = birth(alpha, A)
    alpha.sees(B, found(b"another", inode=3))
    another = birth(alpha, B)
    alpha.sees(A, found(b"another", inode=3), moved_from=B, moved_to=B)
    alpha.engine.find([(C, found(b"another", inode=3), A)])
    alpha.sees(C, found(b"another", inode=3), moved_from=A)
    assert birth(alpha, C) == another
    alpha.engine.find([(B, found(b"saved", inode=4), A)])
    alpha.sees(B, found(b"saved", inode=4), moved_from=A)
    assert birth(alpha, B) == one


def test_what_a_rename_replaces_went_nowhere() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(A, found(b"one", inode=1))
    alpha.sees(B, found(b"two", inode=2))
    one = birth(alpha, A)
    renames(alpha, A, B, b"one")
    assert (birth(alpha, B), content(alpha, B).moves) == (one, ())


def test_who_edits_what_others_have_replaced_meanwhile_knows_the_object_still() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(A, found(b"one"))
    beta.hears(alpha)
    beta.shows(A, found(b"one"))
    one = birth(alpha, A)
    alpha.sees(A, found(b"two"))
    beta.hears(alpha)
    beta.sees(A, found(b"edited", mtime_ns=5))
    edit = next(entry for entry in beta.row(A).record.content.entries if entry.value.size == len(b"edited"))
    assert (edit.birth, edit.parents) == (one, (one,))


def test_what_is_made_where_an_object_came_by_is_another_one() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(A, found(b"one", inode=1))
    one = birth(alpha, A)
    alpha.sees(C, found(b"one", inode=1), moved_from=A)
    alpha.sees(B, found(b"new", inode=2), moved_from=A, moved_to=C)
    assert birth(alpha, C) == one
    assert birth(alpha, B) != one


def test_what_a_file_that_took_the_place_may_do_does_not_open_what_was_written_into_the_one_before() -> None:
    alpha, beta = members = sides("alpha", "beta")
    alpha.sees(b"a", found(b"open to all", inode=1))
    alpha.sees(b"f", found(b"closed", mode=0o600, inode=2))
    beta.hears(alpha)
    beta.shows(b"a", found(b"open to all", inode=1))
    beta.shows(b"f", found(b"closed", mode=0o600, inode=2))
    alpha.sees(b"f", found(b"open to all", inode=1), moved_from=RelPath(b"a"))
    alpha.sees(b"a", None, moved_to=RelPath(b"f"))
    beta.sees(b"f", found(b"secret", mode=0o600, mtime_ns=9, inode=2))
    beta.hears(alpha)
    alpha.hears(beta)
    for side in members:
        live = side.engine.live(RelPath(b"f"))
        assert live is not None
        assert live.content.hash == found(b"secret").hash
        assert live.meta is not None
        assert live.meta.mode == 0o600
    alpha.shows(b"f", found(b"secret", mode=0o600, mtime_ns=9, inode=3))
    alpha.sees(b"f", found(b"secret", mode=0o640, mtime_ns=9, inode=3))
    beta.hears(alpha)
    live = beta.engine.live(RelPath(b"f"))
    assert live is not None
    assert live.meta is not None
    assert live.meta.mode == 0o640, "whoever opens this one has seen it"


def test_what_was_decided_against_is_named_where_the_file_went_told_as_a_whole_or_not() -> None:
    names = [list[Dot](), list[Dot]()]
    for told, looked in zip(names, (False, True), strict=True):
        alpha, beta = both(SMALL)
        beta.sees(b"d/a", found(b"theirs", mtime_ns=1, inode=101))
        lost = beta.row(b"d/a").record.content.entries[0].dot
        alpha.sees(b"d/a", found(b"ours", mtime_ns=2, inode=2))
        alpha.hears(beta)
        assert alpha.plans(b"d/a") is None
        alpha.sees(b"d/a", found(b"last", mtime_ns=3, inode=2))
        if looked:
            looks_at_each(alpha, {**SMALL, b"d/a": found(b"last", mtime_ns=3, inode=2)})
        else:
            assert moves(alpha)
        told += alpha.row(b"e/a").record.content.entries[0].overruled
        assert lost in told
    assert names[0] == names[1]
