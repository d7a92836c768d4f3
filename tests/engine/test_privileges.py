"""Privileges belong to bytes (R5): none is inherited by others, and what was closed when it was written stays so."""

from collections.abc import Callable

import pytest

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.engine.live import content_of, meta_of
from tests.engine.members import NOW_NS, Side, found, sides
from tests.engine.test_links import linked, sees_together
from tests.engine.test_moves import renames
from tests.engine.test_quarantine import backup, caught_up, in_quarantine
from tests.engine.test_wholes import SMALL, both, moves

F = RelPath(b"f")


def test_a_content_change_that_leaves_setuid_says_so_for_the_new_bytes() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one", mode=0o4755))
    alpha.sees(b"f", found(b"two", mtime_ns=2, mode=0o4755))
    beta.hears(alpha)
    plan = beta.plans(b"f")
    assert plan is not None
    assert plan.meta is not None
    assert plan.meta.mode == 0o4755


@pytest.mark.parametrize("policy", ["younger", "older"])
def test_what_is_written_under_a_limit_stays_closed_when_the_limit_goes(policy: str) -> None:
    alpha, beta = sides("alpha", "beta", policy=(policy,))
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one"))
    alpha.sees(b"f", found(b"one", mode=0o600))
    beta.sees(b"f", found(b"one", mode=0o640))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one", mode=0o600))
    alpha.sees(b"f", None)  # and with it the version that limits
    beta.hears(alpha)
    beta.sees(b"f", found(b"secret", mtime_ns=2, mode=0o600))
    alpha.hears(beta)
    for side in (alpha, beta):
        live = side.engine.live(RelPath(b"f"))
        assert (live.content.kind, live.meta and live.meta.mode) == (Kind.FILE, 0o600)


def test_a_time_set_under_a_limit_gives_no_mode() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one"))
    alpha.sees(b"f", found(b"one", mode=0o600))
    beta.sees(b"f", found(b"one", mode=0o640))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one", mode=0o600))
    meta = beta.row(b"f").record.meta
    assert beta.sees(b"f", found(b"one", mtime_ns=2, mode=0o600))
    assert beta.row(b"f").record.meta == meta


def test_a_setuid_given_to_other_bytes_is_not_shown() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    alpha.sees(b"f", found(b"one"))
    for side in (beta, gamma):
        side.hears(alpha)
        side.shows(b"f", found(b"one"))
    beta.sees(b"f", found(b"one", mode=0o4755))
    alpha.sees(b"f", found(b"two", mtime_ns=2))
    gamma.hears(alpha)
    gamma.hears(beta)
    plan = gamma.plans(b"f")
    assert plan is not None
    assert plan.meta is not None
    assert plan.meta.mode == 0o755


def test_a_decision_for_other_bytes_opens_nothing_that_was_written_closed() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one"))
    beta.sees(b"f", found(b"two", mtime_ns=2, mode=0o600))
    alpha.hears(beta)
    alpha.engine.settle(F, content_of(found(b"one")), meta_of(found(b"one")), NOW_NS)  # what is shown stays
    beta.sees(b"f", found(b"secret", mtime_ns=3, mode=0o600))
    alpha.hears(beta)
    beta.hears(alpha)
    for side in (alpha, beta):
        live = side.engine.live(F)
        assert live is not None
        assert (live.content, live.meta and live.meta.mode) == (content_of(found(b"secret", mtime_ns=3)), 0o600)
    assert beta.plans(b"f") is None
    beta.sees(b"f", found(b"secret", mtime_ns=3, mode=0o644))
    alpha.hears(beta)
    live = alpha.engine.live(F)
    assert live is not None
    assert live.meta is not None
    assert live.meta.mode == 0o644


def turned_down() -> tuple[Side, Side]:
    """Return a member that has turned down what the other one wrote where nobody else may read it, which has not heard of that."""
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one", inode=7))
    beta.sees(b"f", found(b"two", mtime_ns=2, mode=0o600, inode=7))
    alpha.hears(beta)
    alpha.engine.settle(F, content_of(found(b"one")), meta_of(found(b"one")), NOW_NS)  # what is shown stays
    return alpha, beta


def gives_away(side: Side) -> RelPath:
    """Give what is there to another user; return where it is."""
    side.sees(b"f", found(b"one", uid=7, owner="bob"))
    return F


def gives_away_when_told(side: Side) -> RelPath:
    """The decision is applied first: it is what is shown already."""
    assert side.plans(b"f") is None
    return gives_away(side)


def moves_on(side: Side) -> RelPath:
    side.plans(b"f")
    renames(side, F, RelPath(b"g"), b"one")
    return RelPath(b"g")


def moves_on_given_away(side: Side) -> RelPath:
    side.plans(b"f")
    side.sees(b"g", found(b"one", uid=7, owner="bob"), moved_from=F)
    side.sees(b"f", None, moved_to=RelPath(b"g"))
    return RelPath(b"g")


def saves_anew(side: Side) -> RelPath:
    side.plans(b"f")
    side.sees(b"f", found(b"saved", mtime_ns=2, inode=2, uid=7, owner="bob"))
    return F


def moves_on_and_saves_anew(side: Side) -> RelPath:
    side.plans(b"f")
    side.sees(b"g", found(b"saved", mtime_ns=2, inode=2), moved_from=F)
    side.sees(b"f", None, moved_to=RelPath(b"g"))
    return RelPath(b"g")


def gives_a_second_name(side: Side) -> RelPath:
    side.plans(b"f")
    sees_together(side, linked(b"one", uid=7, owner="bob"), b"f", b"g")
    return F


@pytest.mark.parametrize(
    "change",
    [
        gives_away,
        gives_away_when_told,
        moves_on,
        moves_on_given_away,
        saves_anew,
        moves_on_and_saves_anew,
        gives_a_second_name,
    ],
)
def test_a_decision_opens_nothing_whatever_else_is_done_to_the_file(change: Callable[[Side], RelPath]) -> None:
    alpha, beta = turned_down()
    path = change(alpha)
    beta.sees(b"f", found(b"secret", mtime_ns=3, mode=0o600, inode=7))
    alpha.hears(beta)
    beta.hears(alpha)
    alpha.hears(beta)  # what has followed a move
    for side in (alpha, beta):
        live = side.engine.live(path)
        assert live is not None
        assert (live.content.hash, live.meta and live.meta.mode) == (found(b"secret").hash, 0o600)


def test_a_decision_opens_nothing_in_a_directory_that_is_moved_as_a_whole() -> None:
    alpha, beta = both(SMALL)
    path = RelPath(b"d/a")
    meta = meta_of(found(b"one"))
    beta.sees(path, found(b"two", mtime_ns=2, mode=0o600, inode=7))
    alpha.hears(beta)
    alpha.engine.settle(path, content_of(found(b"one")), meta, NOW_NS)
    assert alpha.plans(path) is None
    alpha.sees(path, found(b"one", uid=7, owner="bob", inode=2))
    assert moves(alpha)
    beta.sees(path, found(b"secret", mtime_ns=3, mode=0o600, inode=7))
    beta.hears(alpha)
    live = beta.engine.live(RelPath(b"e/a"))
    assert live is not None
    assert (live.content.hash, live.meta and live.meta.mode) == (found(b"secret").hash, 0o600)


def test_whoever_sets_a_mode_after_a_decision_opens_what_others_have_written() -> None:
    alpha, beta = turned_down()
    gives_away_when_told(alpha)
    alpha.sees(b"f", found(b"one", uid=7, owner="bob", mode=0o640))
    beta.sees(b"f", found(b"secret", mtime_ns=3, mode=0o600, inode=7))
    beta.hears(alpha)
    live = beta.engine.live(F)
    assert live is not None
    assert (live.content.hash, live.meta and live.meta.mode) == (found(b"secret").hash, 0o640)


def test_a_decision_counts_for_the_bytes_that_it_was_made_for() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one", mode=0o600))
    beta.hears(alpha)
    beta.engine.settle(F, None, meta_of(found(b"one", mode=0o644)), NOW_NS)
    alpha.hears(beta)
    for side in (alpha, beta):
        live = side.engine.live(F)
        assert live is not None
        assert live.meta is not None
        assert live.meta.mode == 0o644


def test_a_decision_for_other_bytes_opens_nothing_under_any_of_their_names() -> None:
    alpha, beta = sides("alpha", "beta")
    names = b"a", b"b"
    sees_together(alpha, linked(b"one"), *names)
    beta.hears(alpha)
    beta.shows(b"a", found(b"one", inode=7))
    beta.shows(b"b", linked(b"one", inode=7))
    sees_together(beta, linked(b"two", mtime_ns=2, mode=0o600, inode=7), *names)
    alpha.hears(beta)
    before = linked(b"one")
    alpha.engine.settle(RelPath(b"a"), content_of(before), meta_of(before), NOW_NS)
    sees_together(beta, linked(b"secret", mtime_ns=3, mode=0o600, inode=7), *names)
    alpha.hears(beta)
    beta.hears(alpha)
    for side in (alpha, beta):
        for name in names:
            live = side.engine.live(RelPath(name))
            assert live is not None
            assert (live.content.hash, live.meta and live.meta.mode) == (found(b"secret").hash, 0o600)
    assert [beta.plans(name) for name in names] == [None, None]


@pytest.mark.parametrize("is_opened_in_a_lost_life", [False, True])
def test_a_life_that_is_lost_opens_what_is_written_without_it_as_another_member_does(
    is_opened_in_a_lost_life: bool,
) -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one", mode=0o600))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one", mode=0o600))
    alpha.engine.stands("beta", beta.engine.standings())
    index = backup(alpha)
    opener = alpha if is_opened_in_a_lost_life else beta
    opener.sees(b"f", found(b"one", mode=0o644))
    beta.hears(alpha)
    lost = in_quarantine(alpha, index)
    lost.sees(b"f", found(b"written where it was closed", mtime_ns=2, mode=0o600))
    caught_up(lost, beta)
    live = lost.engine.live(F)
    assert live is not None
    written = found(b"written where it was closed")
    assert (live.content.hash, live.meta and live.meta.mode) == (written.hash, 0o644)
