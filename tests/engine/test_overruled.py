"""What was decided against is named for those who show it and have heard of nothing yet, however many decisions there were."""

from csfs.core.records import ContentEntry
from csfs.core.versions import Dot, Incarnation
from csfs.engine.ancestry import OVERRULED_MAX, latest_dots
from tests.engine.members import Side, found, sides


def writes(side: Side, data: bytes, mtime_ns: int) -> None:
    """Write into a file, and look at it."""
    side.sees(b"f", found(data, mtime_ns=mtime_ns))


def entry_at(side: Side) -> ContentEntry:
    """Return the only version of the file that stands."""
    (entry,) = side.row(b"f").record.content.entries
    return entry


def decided_often(*names: str) -> list[Side]:
    """Return members of which the last two have decided more conflicts with each other than a version names losers."""
    members = sides(*names)
    *_, alpha, beta = members
    for number in range(1, 2 * OVERRULED_MAX, 2):
        writes(alpha, b"alpha %d" % number, number)
        writes(beta, b"beta %d" % number, number + 1)
        beta.hears(alpha)
        assert beta.plans(b"f") is None, "it shows the winner"
        writes(beta, b"both %d" % number, number + 1)
        alpha.hears(beta)
        alpha.shows(b"f", found(b"both %d" % number, mtime_ns=number + 1))
    assert len(entry_at(beta).overruled) == OVERRULED_MAX
    return members


def test_who_has_heard_of_no_conflict_keeps_what_lost_the_last_of_many() -> None:
    gamma, _, beta = decided_often("gamma", "alpha", "beta")
    writes(gamma, b"gamma", 3)
    lost = entry_at(gamma).dot
    beta.hears(gamma)
    assert beta.plans(b"f") is None, "it shows the winner"
    writes(beta, b"last", 1_000)
    assert lost in entry_at(beta).overruled
    gamma.hears(beta)
    plan = gamma.plans(b"f")
    assert plan is not None
    assert plan.keep


def test_what_many_have_written_apart_from_each_other_is_all_named() -> None:
    *others, alpha, beta = decided_often(*(f"gamma {number}" for number in range(OVERRULED_MAX // 4)), "alpha", "beta")
    for other in others:
        writes(other, other.name.encode(), 3)
        beta.hears(other)
    assert beta.plans(b"f") is None, "it shows the winner"
    writes(beta, b"last", 1_000)
    assert {entry_at(other).dot for other in others} <= {*entry_at(beta).overruled}
    alpha.hears(beta)
    alpha.shows(b"f", found(b"last", mtime_ns=1_000))
    writes(alpha, b"next", 1_001)
    assert entry_at(alpha).overruled == entry_at(beta).overruled, "who goes on names the same"


def test_the_latest_of_each_list_stand_before_what_is_last() -> None:
    first, second = ([Dot(Incarnation(life), counter) for counter in range(1, OVERRULED_MAX)] for life in (1, 2))
    dots = latest_dots([first, second], [Dot(Incarnation(3), 1), first[0]])
    assert len(dots) == OVERRULED_MAX
    assert {first[-1], second[-1]} == {*dots[-4:-2]}
    assert {*dots[-2:]} == {Dot(Incarnation(3), 1), first[0]}
    assert latest_dots([dots]) == dots
