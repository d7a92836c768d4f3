"""What a person decides supersedes all that is known, wherever it is decided, and nothing that was not."""

import pytest

from csfs.core.objects import Kind
from csfs.core.paths import RelPath
from csfs.engine.live import ABSENT, content_of, meta_of
from csfs.engine.ports import Step
from tests.engine.members import NOW_NS, SCOPE, Side, directory, found, sides

F = RelPath(b"f")


def settle(side: Side, path: bytes, observation: object, *, with_meta: bool = True) -> tuple[RelPath, ...]:
    """Have this side decide that a path shows what was found once."""
    content, meta = content_of(observation), meta_of(observation) if with_meta else None  # type: ignore[arg-type]
    return side.engine.settle(RelPath(path), content, meta, NOW_NS)


def disputed(*names: str, policy: tuple[str, ...] = ("younger",)) -> list[Side]:
    """Return members that each made a file of their own, the last one the youngest, and have heard of each other."""
    made = sides(*names, policy=policy)
    for number, side in enumerate(made, 1):
        side.sees(b"f", found(side.name.encode(), mtime_ns=number, mode=0o600 + number))
    exchange(made)
    return made


def exchange(members: list[Side]) -> None:
    for _ in range(2):
        for side in members:
            for other in members:
                if other is not side:
                    side.hears(other)


def conflicts(side: Side) -> list[str]:
    return [conflict.half for conflict in side.engine.conflicts([F])]


@pytest.mark.parametrize("policy", ["younger", "older", "none"])
@pytest.mark.parametrize("chosen", ["alpha", "beta", "gamma"])
def test_one_decision_ends_a_conflict_of_many_at_all_of_them(policy: str, chosen: str) -> None:
    members = disputed("alpha", "beta", "gamma", policy=(policy,))
    number = ["alpha", "beta", "gamma"].index(chosen) + 1
    wanted = found(chosen.encode(), mtime_ns=number, mode=0o600 + number)
    settle(members[1], b"f", wanted)
    exchange(members)
    for side in members:
        assert conflicts(side) == []
        live = side.engine.live(F)
        assert live is not None
        assert (live.content, live.meta) == (content_of(wanted), meta_of(wanted))
        assert side.row(b"f").record == members[0].row(b"f").record


def test_what_another_member_shows_beside_the_winner_is_kept_there() -> None:
    members = disputed("alpha", "beta", "gamma", policy=("none",))
    settle(members[0], b"f", found(b"alpha", mtime_ns=1))
    exchange(members)
    for side in members[1:]:
        plan = side.plans(b"f")
        assert plan is not None
        assert plan.keep, side.name


def test_a_decision_for_what_is_shown_needs_nothing_done() -> None:
    alpha, beta = disputed("alpha", "beta")
    beta.engine.settle(F, content_of(found(b"beta", mtime_ns=2)), None, NOW_NS)
    # The meta half had two entries: both were limited to what both allow.
    beta.engine.settle(F, None, meta_of(found(b"beta", mode=0o602)), NOW_NS)
    assert beta.row(b"f").pending
    assert beta.plans(b"f") is None
    assert not beta.row(b"f").pending
    alpha.hears(beta)
    assert conflicts(alpha) == []


def test_an_edit_that_has_not_seen_the_decision_stands_beside_it() -> None:
    alpha, beta = disputed("alpha", "beta")
    settle(alpha, b"f", found(b"alpha", mtime_ns=1))
    beta.sees(b"f", found(b"edited", mtime_ns=9))
    exchange([alpha, beta])
    assert conflicts(alpha) == conflicts(beta) == ["content"]


def test_a_path_comes_back_with_the_directories_that_it_was_in() -> None:
    alpha, beta = sides("alpha", "beta")
    for path in (b"d", b"d/e"):
        alpha.sees(path, directory(mode=0o750))
    alpha.sees(b"d/e/f", found(b"one"))
    for path in (b"d/e/f", b"d/e", b"d"):
        alpha.sees(path, None)
    exchange([alpha, beta])
    touched = settle(alpha, b"d/e/f", found(b"one"))
    assert touched == (b"d", b"d/e", b"d/e/f")
    exchange([alpha, beta])
    for side in (alpha, beta):
        for path in (b"d", b"d/e"):
            plan = side.plans(path)
            assert plan is not None
            assert plan.meta is not None
            assert (plan.step, plan.content.kind, plan.meta.mode) == (Step.INSTALL, Kind.DIRECTORY, 0o750)
            side.shows(path, directory(mode=0o750))
        plan = side.plans(b"d/e/f")
        assert plan is not None
        assert plan.content == content_of(found(b"one"))


def test_a_file_that_gives_way_to_a_directory_of_what_comes_back_is_kept_everywhere() -> None:
    alpha, beta = sides("alpha", "beta")
    beta.sees(b"d", found(b"a file"))
    exchange([alpha, beta])
    settle(alpha, b"d/f", found(b"one"))
    exchange([alpha, beta])
    plan = beta.plans(b"d")
    assert plan is not None
    assert (plan.step, plan.keep) == (Step.REMOVE, True)


def test_a_decision_can_take_a_path_away() -> None:
    alpha, beta = disputed("alpha", "beta")
    alpha.engine.settle(F, ABSENT, None, NOW_NS)
    exchange([alpha, beta])
    assert conflicts(beta) == []
    assert not alpha.row(b"f").live
    (gone,) = beta.row(b"f").record.content.entries
    assert gone.snapshot is not None, "what comes back in its place looks like it"


def test_older_bytes_that_were_put_back_do_not_lose_to_what_was_made_from_them() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    alpha.sees(b"f", found(b"two", mtime_ns=2))
    settle(alpha, b"f", found(b"one"))
    beta.hears(alpha)
    (entry,) = beta.row(b"f").record.content.entries
    assert entry.value == content_of(found(b"one"))
    assert entry.origin is None
    assert alpha.counter() == beta.engine.knowledge()[SCOPE][entry.dot.incarnation]


def test_who_only_receives_or_follows_no_such_path_may_not_decide() -> None:
    alpha, gamma = sides("alpha", "gamma", receive_only=("gamma",))
    assert alpha.engine.may_settle(F) is True
    assert gamma.engine.may_settle(F) is False
    assert alpha.engine.live(F) is None


def test_what_shows_the_bytes_of_a_decision_is_kept_when_it_loses_before_it_is_adopted() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one", mtime_ns=1))
    settle(alpha, b"f", found(b"one", mtime_ns=1), with_meta=False)
    beta.sees(b"f", found(b"two", mtime_ns=2))
    alpha.hears(beta)
    plan = alpha.plans(b"f")
    assert plan is not None
    assert (plan.content.hash, plan.keep) == (found(b"two").hash, True)


def test_a_decision_that_a_program_here_overtakes_is_among_what_it_overruled() -> None:
    alpha, beta = sides("alpha", "beta")
    beta.sees(b"f", found(b"beta's"))
    alpha.hears(beta)
    settle(alpha, b"f", found(b"beta's"))
    alpha.sees(b"f", found(b"alpha's", mtime_ns=5))
    (entry,) = alpha.row(b"f").record.content.entries
    assert entry.value == content_of(found(b"alpha's", mtime_ns=5)), "no vector can tell them apart"
    beta.hears(alpha)
    plan = beta.plans(b"f")
    assert plan is not None
    assert plan.keep, "who wrote over the decision had not seen what it was for"


@pytest.mark.parametrize("is_owned", [True, False], ids=["shown exactly", "of an owner that is not shown yet"])
@pytest.mark.parametrize("is_source_first", [True, False])
def test_what_is_moved_before_a_decision_is_adopted_opens_nothing_else(is_source_first: bool, is_owned: bool) -> None:
    alpha, beta = members = sides("alpha", "beta")
    alpha.sees(b"f", found(b"open to all"))
    beta.hears(alpha)
    beta.shows(b"f", found(b"open to all"))
    beta.sees(b"f", found(b"closed", mode=0o600, mtime_ns=2))
    alpha.hears(beta)
    settle(alpha, b"f", found(b"open to all", owner="root" if is_owned else "ann", uid=0 if is_owned else 7))
    for path in (b"f", b"g") if is_source_first else (b"g", b"f"):
        if path == b"g":
            alpha.sees(path, found(b"open to all"), moved_from=F)
        else:
            alpha.sees(path, None, moved_to=RelPath(b"g"))
    beta.sees(b"f", found(b"secret", mode=0o600, mtime_ns=3))
    exchange(members)
    for side in members:
        live = side.engine.live(RelPath(b"g"))
        assert live is not None
        assert live.content.hash == found(b"secret").hash
        assert live.meta is not None
        assert live.meta.mode == 0o600
