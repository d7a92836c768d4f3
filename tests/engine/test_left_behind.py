"""What followed a move, was replaced where it went before anybody saw it there, and is shown under its old name alone (R15)."""

from csfs.core.objects import Applied
from csfs.core.paths import RelPath
from csfs.engine.left_behind import LEFT_MAX, LeftBehind
from csfs.engine.ports import Step
from scripts.simulation.tree import hash_of
from tests.engine.members import directory, found
from tests.engine.test_following import A, B, C, edits, is_at, renames, together


def test_an_edit_that_is_nowhere_else_is_kept_where_the_object_comes_back_as_it_was() -> None:
    alpha, beta = together("alpha", "beta")
    alpha.sees(B, found(b"other", inode=2))
    beta.hears(alpha)
    beta.shows(B, found(b"other", inode=2))
    renames(alpha, B, C, b"other", inode=2)
    renames(alpha, A, B)
    alpha.sees(A, found(b"new", inode=3))
    edits(beta, A)
    beta.hears(alpha)
    assert is_at(beta, B, b"edited")
    # It is not shown there yet: what is edited is the file that was there before, which went elsewhere.
    alpha.hears(beta)
    assert alpha.plans(A) is None
    edits(beta, B, b"of the other", inode=2)
    assert is_at(beta, C, b"of the other")
    renames(alpha, B, A)
    beta.hears(alpha)
    assert is_at(beta, A, b"one")
    plan = beta.plans(A)
    assert plan is not None
    assert (plan.step, plan.keep) == (Step.INSTALL, True)


def test_of_two_files_that_changed_places_and_were_saved_neither_was_made_from_the_other() -> None:
    _, beta = together("alpha", "beta")
    beta.sees(B, found(b"two", inode=2))
    beta.sees(A, found(b"two, saved", inode=8, mtime_ns=5), moved_from=B)
    beta.sees(B, found(b"one, saved", inode=9, mtime_ns=5), moved_from=A)
    (first,), (second,) = (beta.row(path).record.content.entries for path in (A, B))
    assert not {first.dot, second.dot}.intersection((*first.parents, *second.parents))


def test_of_two_files_that_changed_places_and_were_saved_no_edit_replaces_the_other() -> None:
    alpha, beta, gamma = together("alpha", "beta", "gamma")
    alpha.sees(B, found(b"two", inode=2))
    for other in (beta, gamma):
        other.hears(alpha)
        other.shows(B, found(b"two", inode=2))
    beta.sees(B, found(b"one", inode=1), moved_from=A)
    beta.sees(A, None, moved_to=B)
    alpha.sees(A, found(b"two", inode=2), moved_from=B, moved_to=B)
    alpha.sees(B, found(b"one", inode=1), moved_from=A, moved_to=A)
    beta.hears(alpha)
    beta.shows(A, found(b"two", inode=6))
    gamma.hears(alpha)
    gamma.shows(A, found(b"two", inode=6))
    edits(gamma, A, b"two, edited", inode=6)
    # Both were exchanged once more, and saved. Of what came from `a`, the one and the other was there lately.
    beta.sees(B, found(b"two, saved", inode=8, mtime_ns=5), moved_from=A)
    beta.sees(A, found(b"one, saved", inode=7, mtime_ns=5), moved_from=B)
    beta.hears(gamma)
    assert hash_of(b"two, saved") in {entry.value.hash for entry in beta.row(B).record.content.entries}


def test_what_was_moved_and_saved_was_not_made_from_what_was_put_where_it_came_from() -> None:
    _, beta = together("alpha", "beta")
    one = beta.row(A).record.content.entries[0]
    beta.sees(A, found(b"put there", inode=2))
    beta.sees(B, found(b"one, saved", inode=3, mtime_ns=5), moved_from=A)
    (saved,) = beta.row(B).record.content.entries
    assert (saved.birth, saved.parents) == (one.birth, (one.dot,))


def test_what_came_from_where_two_files_were_and_was_saved_is_another_file() -> None:
    _, beta = together("alpha", "beta")
    beta.sees(B, found(b"replaced", inode=2))
    beta.sees(A, None)
    beta.sees(A, found(b"two", inode=3))
    beta.sees(B, found(b"saved", inode=8, mtime_ns=5), moved_from=A)
    (saved,) = beta.row(B).record.content.entries
    assert saved.birth == saved.dot


def test_of_two_files_it_was_not_the_one_that_was_found_elsewhere() -> None:
    _, beta = together("alpha", "beta")
    renames(beta, A, C)
    beta.sees(A, found(b"two", inode=3))
    (two,) = beta.row(A).record.content.entries
    beta.sees(B, found(b"saved", inode=8, mtime_ns=5), moved_from=A)
    (saved,) = beta.row(B).record.content.entries
    assert (saved.birth, saved.parents) == (two.dot, (*two.parents, two.dot))


def test_what_comes_from_where_a_file_was_that_was_found_elsewhere_since_is_another_file() -> None:
    for is_looked_at in (True, False):
        _, beta = together("alpha", "beta")
        beta.sees(B, found(b"one"), moved_from=A)
        if is_looked_at:
            beta.sees(A, None, moved_to=B)
        beta.sees(C, found(b"new", inode=8, mtime_ns=5), moved_from=A)
        (new,) = beta.row(C).record.content.entries
        assert (new.birth, new.parents) == (new.dot, ())


def test_an_edit_follows_past_the_name_that_something_else_came_to_from_where_the_file_was_first() -> None:
    alpha, beta = together("alpha", "beta")
    renames(beta, A, B)
    alpha.hears(beta)
    alpha.shows(B, found(b"one", inode=4))
    renames(beta, B, C)
    edits(alpha, B, inode=4)
    beta.sees(B, found(b"new", inode=8), moved_from=A)
    alpha.hears(beta)
    assert is_at(alpha, C, b"edited")
    assert is_at(alpha, B, b"new")


def test_an_edit_follows_to_where_the_file_was_found_whatever_else_was_moved_from_its_name() -> None:
    alpha, beta = together("alpha", "beta")
    beta.sees(B, found(b"one"), moved_from=A)
    beta.sees(C, found(b"new", inode=8), moved_from=A)
    beta.sees(A, None, moved_to=C)
    edits(alpha, A)
    alpha.hears(beta)
    assert is_at(alpha, B, b"edited")
    assert is_at(alpha, C, b"new")


def test_what_took_the_place_of_a_file_and_went_on_and_was_saved_is_not_that_file() -> None:
    _, beta = together("alpha", "beta")
    beta.sees(B, found(b"two", inode=2))
    (two,) = beta.row(B).record.content.entries
    renames(beta, B, A, b"two", inode=2)
    beta.sees(C, found(b"two, saved", inode=8, mtime_ns=5), moved_from=A)
    beta.sees(A, None, moved_to=C)
    (saved,) = beta.row(C).record.content.entries
    assert (saved.birth, saved.parents) == (two.birth, (two.dot,))


def test_what_comes_back_and_is_moved_on_and_saved_is_the_file_still() -> None:
    _, beta = together("alpha", "beta")
    one = beta.row(A).record.content.entries[0]
    renames(beta, A, B)
    renames(beta, B, A)
    beta.sees(C, found(b"saved", inode=8, mtime_ns=5), moved_from=A)
    (saved,) = beta.row(C).record.content.entries
    assert (saved.birth, saved.parents) == (one.birth, (one.dot,))


def test_what_was_found_elsewhere_longest_ago_is_forgotten_first_and_all_of_it_in_the_end() -> None:
    left, applied = LeftBehind(), Applied(observation=found(b"one"))
    paths = [RelPath(b"%d" % number) for number in range(LEFT_MAX + 1)]
    for path in paths:
        left.leave(path, applied)
        left.turned_up(path, applied, B)
    assert (left.at(paths[0]), left.where(paths[0], applied)) == (None, None)
    assert (left.at(paths[1]), left.where(paths[1], applied)) == (applied, B)
    left.forget()
    assert not left
    assert left.where(paths[1], applied) is None


def test_what_was_moved_and_loses_where_it_went_is_kept_by_all_who_showed_it() -> None:
    alpha, beta = together("alpha", "beta")
    renames(alpha, A, B)
    beta.sees(B, found(b"other", inode=4, mtime_ns=9))
    beta.hears(alpha)
    assert is_at(beta, B, b"other")
    plan = beta.plans(A)
    assert plan is not None
    assert (plan.step, plan.keep) == (Step.REMOVE, True)


def test_what_was_moved_on_and_loses_there_is_kept_when_something_else_takes_its_place() -> None:
    alpha, beta = together("alpha", "beta")
    renames(alpha, A, B)
    renames(alpha, B, C)
    alpha.sees(A, found(b"new", inode=3))
    beta.sees(C, found(b"other", inode=4, mtime_ns=9))
    beta.hears(alpha)
    assert is_at(beta, C, b"other")
    plan = beta.plans(A)
    assert plan is not None
    assert (plan.step, plan.keep) == (Step.INSTALL, True)


def test_what_was_moved_and_is_to_be_shown_where_it_went_is_renamed_there_and_not_kept() -> None:
    alpha, beta = together("alpha", "beta")
    renames(alpha, A, B)
    beta.sees(B, found(b"older", inode=4, mtime_ns=0))
    beta.hears(alpha)
    assert is_at(beta, B, b"one")
    plan = beta.plans(A)
    assert plan is not None
    assert (plan.step, plan.keep) == (Step.REMOVE, False)
    beta.shows(B, found(b"one", inode=1))
    plan = beta.plans(A)
    assert plan is not None
    assert (plan.step, plan.keep) == (Step.REMOVE, False)


def test_a_directory_that_was_moved_and_loses_where_it_went_is_nothing_to_keep() -> None:
    alpha, beta = together("alpha", "beta")
    alpha.sees(C, directory(inode=7))
    beta.hears(alpha)
    beta.shows(C, directory(inode=8))
    alpha.sees(B, directory(inode=7), moved_from=C)
    alpha.sees(C, None, moved_to=B)
    beta.sees(B, found(b"other", inode=4, mtime_ns=9))
    beta.hears(alpha)
    assert is_at(beta, B, b"other")
    plan = beta.plans(C)
    assert plan is not None
    assert (plan.step, plan.keep) == (Step.REMOVE, False)


def test_an_edit_that_lost_where_it_followed_a_move_is_kept_though_its_object_went_elsewhere_since() -> None:
    alpha, beta, gamma = together("alpha", "beta", "gamma")
    alpha.sees(B, found(b"other", inode=4, mtime_ns=99))
    edits(alpha, A, b"alpha's")
    gamma.sees(C, found(b"gamma's own", inode=5))  # keeps the edit from following there
    renames(beta, A, B)
    edits(gamma, A, b"gamma's")
    gamma.hears(beta)
    renames(beta, B, C)
    alpha.hears(gamma)
    alpha.hears(beta)
    gamma.hears(alpha)
    assert is_at(gamma, B, b"other")
    assert {move.target for entry in gamma.row(A).record.content.entries for move in entry.moves} == {C}
    plan = gamma.plans(A)
    assert plan is not None
    assert (plan.step, plan.keep) == (Step.REMOVE, True)
