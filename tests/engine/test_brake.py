"""The brake: too much at once waits for a person; a little, what is new, and what somebody has let through does not."""

import msgspec
import pytest

from csfs.core.paths import RelPath
from csfs.core.rows import Loss, Waiting
from csfs.core.versions import Dot, Incarnation
from csfs.engine.brake import AT_ONCE_MIN, BURST_S, QUIET_S, WINDOW_S, Brake, Limits, Verdict
from csfs.engine.memory import MemoryIndex
from scripts.simulation.braking import FakeWaiting
from tests.engine.members import NOW_NS, Side, directory, found, sides

LIMITS = Limits(0.5, 10)


def loss(number: int = 1, *, member: str = "alpha", removed: bool = True) -> Loss:
    return Loss(member, removed, Dot(Incarnation(1), number))


class Memory(FakeWaiting):
    """Everything that waits is still wanted."""

    def left(self) -> list[Waiting]:
        return [waiting for waiting in self.by_path.values() if not waiting.approved]


class Weighed:
    """A brake with a clock of its own."""

    def __init__(self, live: int, limits: Limits | None = LIMITS) -> None:
        self.memory = Memory(MemoryIndex())
        self.brake = Brake(self.memory)
        self.brake.limits = limits
        self.live = live
        self.now_s = 1_000.0

    def takes(self, first: int, count: int, *, version: int = 0, **fields: object) -> set[Verdict]:
        losses = {RelPath(b"%d" % n): loss(version + n, **fields) for n in range(first, first + count)}  # type: ignore[arg-type]
        return set(self.brake.verdicts(losses, self.live, self.now_s, int(self.now_s * 1e9)).values())


def test_more_than_the_share_of_the_volume_waits() -> None:
    weighed = Weighed(live=60)
    assert weighed.takes(0, 61) == {Verdict.WAIT}
    assert len(weighed.memory.by_path) == 61


def test_what_was_taken_away_counts_for_the_size_of_the_volume() -> None:
    weighed = Weighed(live=61)
    assert Verdict.WAIT not in weighed.takes(0, 60)


def test_few_paths_never_wait_however_small_the_volume() -> None:
    weighed = Weighed(live=0)
    assert weighed.takes(0, 10) == {Verdict.GO}


def test_replacements_and_removals_count_together() -> None:
    weighed = Weighed(live=30)
    assert weighed.takes(0, 10, removed=False) == {Verdict.GO}
    assert weighed.takes(10, 25, removed=False) == {Verdict.WAIT}


def test_one_path_that_is_replaced_again_and_again_counts_once() -> None:
    weighed = Weighed(live=20)
    for _ in range(100):
        assert weighed.takes(0, 1, removed=False) == {Verdict.GO}


def test_what_two_members_take_away_is_weighed_apart() -> None:
    weighed = Weighed(live=60)
    assert Verdict.WAIT not in weighed.takes(0, 30, member="alpha")
    assert Verdict.WAIT not in weighed.takes(30, 30, member="beta")


def test_what_is_spread_over_a_long_time_does_not_wait() -> None:
    weighed = Weighed(live=100)
    for first in range(0, 400, 10):
        assert Verdict.WAIT not in weighed.takes(first, 10)
        weighed.now_s += WINDOW_S / 3


def test_what_is_lost_once_more_counts_from_then() -> None:
    weighed = Weighed(live=60)
    assert weighed.takes(0, 20, removed=False) == {Verdict.GO}
    weighed.now_s += WINDOW_S + 1
    assert weighed.takes(0, 20, version=100, removed=False) == {Verdict.GO}
    assert weighed.takes(20, 12, version=100, removed=False) == {Verdict.WAIT}


def test_while_something_waits_all_that_the_member_takes_away_waits() -> None:
    weighed = Weighed(live=30)
    weighed.takes(0, 40)
    weighed.now_s += 10 * WINDOW_S
    assert weighed.takes(100, 1) == {Verdict.WAIT}
    assert weighed.takes(200, 1, member="beta") == {Verdict.GO}


def test_what_waits_does_so_when_it_is_learnt_who_took_it_away() -> None:
    weighed = Weighed(live=30)
    assert weighed.takes(0, 40, member="") == {Verdict.WAIT}
    since_ns = int(weighed.now_s * 1e9)
    weighed.now_s += 1.0
    assert weighed.takes(0, 1) == {Verdict.WAIT}, "nobody let that through"
    assert weighed.takes(100, 1) == {Verdict.WAIT}, "something of this member waits"
    assert weighed.memory.by_path[RelPath(b"0")] == Waiting(RelPath(b"0"), loss(0), since_ns)


def test_what_was_let_through_goes_whoever_took_it_away() -> None:
    weighed = Weighed(live=30)
    weighed.takes(0, 40, member="")
    for waiting in weighed.memory.left():
        weighed.memory.put(msgspec.structs.replace(waiting, approved=True))
    assert weighed.takes(0, 40) == {Verdict.GO}


def test_a_burst_of_removals_is_begun_when_it_has_ended() -> None:
    weighed = Weighed(live=150)
    assert weighed.takes(0, AT_ONCE_MIN) == {Verdict.GO}
    weighed.now_s += 0.01
    assert weighed.takes(AT_ONCE_MIN, 50) == {Verdict.SOON}
    weighed.now_s += QUIET_S + 0.01
    assert weighed.takes(AT_ONCE_MIN, 50) == {Verdict.GO}


def test_what_is_little_beside_the_volume_waits_for_nothing() -> None:
    weighed = Weighed(live=10_000)
    assert weighed.takes(0, 500) == {Verdict.GO}
    assert weighed.takes(500, 100) == {Verdict.SOON}


def test_a_burst_without_an_end_is_not_waited_for() -> None:
    weighed = Weighed(live=10_000)
    first, begun_s = 0, weighed.now_s
    weighed.takes(0, 600)
    while weighed.takes(600 + first, 50) != {Verdict.GO}:
        first, weighed.now_s = first + 50, weighed.now_s + 0.05
        assert weighed.now_s < begun_s + 2 * BURST_S


def test_a_burst_that_turns_out_to_be_too_much_is_not_begun() -> None:
    weighed = Weighed(live=200)
    verdicts: set[Verdict] = set()
    for first in range(0, 200, 50):
        weighed.live -= 50
        verdicts |= weighed.takes(first, 50)
        weighed.now_s += 0.05
    assert verdicts == {Verdict.SOON, Verdict.WAIT}
    assert weighed.takes(0, 200) == {Verdict.WAIT}


def test_what_a_person_let_through_goes_and_the_next_is_weighed_anew() -> None:
    weighed = Weighed(live=30)
    weighed.takes(0, 40)
    for waiting in weighed.memory.left():
        weighed.memory.put(msgspec.structs.replace(waiting, approved=True))
    weighed.brake.forget("alpha")
    assert weighed.takes(0, 40) == {Verdict.GO}
    assert weighed.takes(100, 5) == {Verdict.GO}
    assert weighed.takes(0, 40, version=1_000) == {Verdict.WAIT}, "nobody let that through"


def test_a_new_brake_knows_what_waits() -> None:
    weighed = Weighed(live=30)
    weighed.takes(0, 40)
    again = Brake(weighed.memory)
    again.limits = LIMITS
    assert set(again.verdicts({RelPath(b"99"): loss(99)}, 30, 0.0, 0).values()) == {Verdict.WAIT}


def test_without_limits_nothing_waits() -> None:
    assert Weighed(live=0, limits=None).takes(0, 1_000) == {Verdict.GO}


# -------------------------------------------------------------------------------------------------- what counts as a loss


def pair() -> tuple[Side, Side]:
    """Two members that show the file f."""
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    assert lost(beta, b"f") is None, "what is new takes nothing away"
    beta.shows(b"f", found(b"one"))
    return alpha, beta


def lost(side: Side, path: bytes) -> Loss | None:
    plan = side.plans(path)
    assert plan is not None
    return side.engine.loss(plan)


@pytest.mark.parametrize(("after", "removed"), [(None, True), (found(b"two", mtime_ns=2), False), (directory(), True)])
def test_a_peer_s_removal_or_replacement_is_a_loss_by_that_peer(after: object, removed: bool) -> None:
    alpha, beta = pair()
    alpha.sees(b"f", after, created=True)  # type: ignore[arg-type]
    beta.hears(alpha)
    found_loss = lost(beta, b"f")
    assert found_loss is not None
    assert (found_loss.member, found_loss.removed) == ("alpha", removed)


def test_other_attributes_are_no_loss() -> None:
    alpha, beta = pair()
    alpha.sees(b"f", found(b"one", mode=0o600, mtime_ns=7))
    beta.hears(alpha)
    assert lost(beta, b"f") is None


def test_what_moved_is_no_loss_while_it_is_live_where_it_went() -> None:
    alpha, beta = pair()
    alpha.sees(b"g", found(b"one"), moved_from=RelPath(b"f"))
    alpha.sees(b"f", None, moved_to=RelPath(b"g"))
    beta.hears(alpha)
    assert lost(beta, b"f") is None
    alpha.sees(b"g", None)
    beta.hears(alpha)
    assert lost(beta, b"f") is not None, "moved, and removed there"


def test_what_was_here_before_a_member_joined_is_no_loss() -> None:
    alpha, beta = sides("alpha", "beta", pulling=("beta",))
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    beta.engine.finish_pull()
    beta.sees(b"f", found(b"mine"), joining=True)
    assert lost(beta, b"f") is None


def test_an_empty_directory_is_no_loss() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory())
    beta.hears(alpha)
    beta.shows(b"d", directory())
    alpha.sees(b"d", None)
    beta.hears(alpha)
    assert lost(beta, b"d") is None


def test_an_empty_file_that_is_filled_is_no_loss() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b""))
    beta.hears(alpha)
    beta.shows(b"f", found(b""))
    alpha.sees(b"f", found(b"one", mtime_ns=2))
    beta.hears(alpha)
    assert lost(beta, b"f") is None


def test_a_member_s_own_decision_is_no_loss() -> None:
    alpha, _ = pair()
    other = msgspec.structs.replace(alpha.row(b"f").record.content.entries[0].value, hash=b"x" * 32)
    alpha.engine.settle(RelPath(b"f"), other, None, NOW_NS)
    assert lost(alpha, b"f") is None
