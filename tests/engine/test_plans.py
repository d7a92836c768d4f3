import msgspec
import pytest

from csfs.core.groups import Group
from csfs.core.objects import Kind, Observation
from csfs.core.paths import RelPath
from csfs.core.rows import Plan, Step
from csfs.core.versions import Scope
from csfs.engine.plans import is_carried_out
from csfs.engine.volume import VolumeEngine
from tests.engine.members import NOW_NS, SCOPE, Side, directory, found, sides

PATH = b"file"


@pytest.fixture
def pair() -> tuple[Side, Side]:
    """Two members; the first has a file, of which the second has heard."""
    alpha, beta = sides("alpha", "beta")
    alpha.sees(PATH, found(b"first"))
    beta.hears(alpha)
    return alpha, beta


def planned(side: Side, path: bytes = PATH) -> Plan:
    plan = side.plans(path)
    assert plan is not None
    return plan


def test_what_a_crash_kept_from_being_recorded_is_no_change_even_if_more_was_heard_since(
    pair: tuple[Side, Side],
) -> None:
    alpha, beta = pair
    plan = planned(beta)
    installed = found(b"first", inode=9)
    alpha.sees(PATH, found(b"second", mtime_ns=2))
    beta.hears(alpha)
    assert is_carried_out(plan, installed)
    beta.engine.applied(plan, installed)
    assert not beta.sees(PATH, installed)
    assert list(beta.engine.conflicts([PATH])) == []
    assert planned(beta).content.hash == found(b"second").hash


def test_without_that_it_is_taken_for_a_change_of_this_member(pair: tuple[Side, Side]) -> None:
    alpha, beta = pair
    alpha.sees(PATH, found(b"second", mtime_ns=2))
    beta.hears(alpha)
    assert beta.sees(PATH, found(b"first", inode=9))
    assert [conflict.path for conflict in beta.engine.conflicts([PATH])] == [PATH]


@pytest.mark.parametrize(
    "observation",
    [
        None,
        found(b"other"),
        found(b"first", mode=0o600),
        found(b"first", mtime_ns=7),
        found(b"first", kind=Kind.SYMLINK),
    ],
)
def test_an_installation_is_carried_out_when_the_disk_shows_exactly_that(
    pair: tuple[Side, Side], observation: Observation | None
) -> None:
    assert not is_carried_out(planned(pair[1]), observation)


def test_a_directory_is_made_whatever_time_the_names_in_it_gave_it() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory(mtime_ns=1))
    beta.hears(alpha)
    assert is_carried_out(planned(beta, b"d"), directory(mtime_ns=5))


def test_a_removal_is_carried_out_when_nothing_is_there(pair: tuple[Side, Side]) -> None:
    alpha, beta = pair
    beta.shows(PATH, found(b"first"))
    alpha.engine.observe(RelPath(PATH), None, NOW_NS)
    beta.hears(alpha)
    plan = planned(beta)
    assert plan.step is Step.REMOVE
    assert is_carried_out(plan, None)
    assert not is_carried_out(plan, found(b"first"))


def test_who_removes_what_a_kill_kept_from_being_taken_away_and_kept_has_removed_it() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory())
    alpha.sees(b"d/x", found(b"below"))
    beta.sees(b"d", found(b"loser", inode=7))
    beta.hears(alpha)
    plan = planned(beta, b"d")
    assert plan.step is Step.REMOVE
    assert plan.keep
    plan = msgspec.structs.replace(plan, kept=b"1.kept")
    assert is_carried_out(plan, None, None, {b"1.kept"})
    assert not is_carried_out(plan, None, None, {b"2.kept"})
    beta.sees(b"d", None)
    assert {entry.value.kind for entry in beta.row(b"d").record.content.entries} == {Kind.DIRECTORY, Kind.ABSENT}


def test_attributes_are_never_taken_for_done(pair: tuple[Side, Side]) -> None:
    plan = msgspec.structs.replace(planned(pair[1]), step=Step.ATTRIBUTES)
    assert not is_carried_out(plan, found(b"first"))


def test_what_a_host_cannot_show_exactly_is_carried_out_too() -> None:
    alpha, beta = sides("alpha", "beta")
    wanted = found(b"first", mtime_ns=1_234_567, uid=1001, owner="bob", xattrs=((b"user.a", b"1"),))
    alpha.sees(PATH, wanted)
    beta.hears(alpha)
    plan = planned(beta)
    shown = found(b"first", mtime_ns=1_234_000, uid=1001, owner="carol")
    assert is_carried_out(plan, shown)
    beta.engine.applied(plan, shown)
    assert not beta.sees(PATH, shown)
    assert beta.plans(PATH) is None
    assert not is_carried_out(plan, msgspec.structs.replace(shown, uid=1002))
    assert not is_carried_out(plan, msgspec.structs.replace(shown, xattrs=((b"user.b", b"1"),)))
    assert not is_carried_out(plan, msgspec.structs.replace(shown, mtime_ns=1_235_000))


def test_a_name_that_a_host_shows_by_its_number_already_is_shown_once_the_host_has_looked_it_up() -> None:
    alpha, beta = sides("alpha", "beta", policy=("right",))
    alpha.sees(b"d", directory(uid=1001, owner=""))
    beta.sees(b"d", directory(uid=1001, owner="bob"))
    alpha.hears(beta)
    alpha.engine.touched(RelPath(b"d"), 7, 1_000)
    plan = alpha.plans(b"d")
    assert plan is not None
    assert plan.step is Step.ATTRIBUTES, "bob may have another number here"
    alpha.shows(b"d", directory(uid=1001, owner=""))
    live, row = alpha.engine.live(RelPath(b"d")), alpha.row(b"d")
    assert live is not None
    assert not row.pending
    assert (row.applied.content_dot, row.applied.meta_dot) == (live.content_dot, live.meta_dot)
    alpha.sees(b"d", directory(uid=1001, owner="", mtime_ns=7, mode=0o700))
    assert [entry.value.owner for entry in alpha.row(b"d").record.meta.entries] == ["bob"]


@pytest.mark.parametrize("names", [("", "bob"), ("bob", "")])
def test_a_name_and_a_number_are_not_the_same_where_the_name_has_another_number(names: tuple[str, str]) -> None:
    """Its own bob is number 1002: what is live instead of the one has to be shown, whichever it is."""
    alpha, beta, gamma = sides("alpha", "beta", "gamma", policy=("right",))
    first, second = names
    alpha.sees(b"f", found(b"one", uid=1001, owner=first))
    gamma.hears(alpha)
    gamma.shows(b"f", found(b"one", uid=1002 if first else 1001, owner=first))
    beta.sees(b"f", found(b"one", uid=1001, owner=second))
    gamma.hears(beta)
    plan = gamma.plans(b"f")
    assert plan is not None
    assert (plan.step, plan.meta.owner if plan.meta is not None else None) == (Step.ATTRIBUTES, second)


def test_a_directory_that_was_given_the_live_mode_by_hand_is_the_one_that_is_live() -> None:
    alpha, beta = sides("alpha", "beta", policy=("right",))
    alpha.sees(b"d", directory())
    beta.sees(b"d", directory(mode=0o700))
    alpha.hears(beta)
    alpha.sees(b"d", directory(mode=0o700))
    live, row = alpha.engine.live(RelPath(b"d")), alpha.row(b"d")
    assert live is not None
    assert not row.pending
    assert (row.applied.content_dot, row.applied.meta_dot) == (live.content_dot, live.meta_dot)


def test_a_directory_in_the_place_of_a_file_has_the_time_of_that_whoever_remembers_another() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory(mtime_ns=3))
    alpha.sees(b"d/f", found(b"inside"))
    beta.hears(alpha)
    beta.index.drop(RelPath(b"d"))  # a bad disk took it, with the time
    beta.sees(b"d", found(b"file", mtime_ns=7))
    alpha.hears(beta)
    alpha.shows(b"d", directory(mtime_ns=7))
    assert beta.shows(b"d", None) == (b"d",)
    plan = beta.plans(b"d")
    assert plan is not None
    assert (plan.step, plan.content.kind, plan.mtime_ns) == (Step.INSTALL, Kind.DIRECTORY, 7)
    for side in (alpha, beta):
        if side is beta:
            side.shows(b"d", directory(mtime_ns=7))
        side.engine.disturbed(RelPath(b"d"), directory(mtime_ns=9).stamp, 9)
        plan = side.plans(b"d")
        assert plan is not None
        assert (plan.step, plan.mtime_ns) == (Step.ATTRIBUTES, 7)
    alpha.engine.touched(RelPath(b"d"), 11, NOW_NS)
    plan = alpha.plans(b"d")
    assert plan is not None
    assert plan.mtime_ns == 7


def test_a_directory_of_which_nobody_has_told_waits_to_be_made_for_what_is_below_it() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d/f", found(b"in a directory that stays there alone"))
    beta.hears(alpha)
    # Also if the daemon is killed before it has planned what it heard.
    assert beta.index.pending() == [RelPath(b"d"), RelPath(b"d/f")]
    assert planned(beta, b"d").step is Step.INSTALL


class WithinAnothersDirectory:
    """Rules with one group for what is in `d`, and one of alpha alone for everything else."""

    groups = (
        Group(("alpha", "beta"), frozenset(), ("younger",), SCOPE),
        Group(("alpha",), frozenset(), ("younger",), Scope(b"scope-02")),
    )

    def group_of(self, path: RelPath) -> Group:
        return self.groups[not path.startswith(b"d/")]


def test_what_is_in_a_directory_of_a_group_of_others_comes_where_that_is() -> None:
    alpha, beta = sides("alpha", "beta")
    for side in (alpha, beta):
        engine = side.engine
        side.engine = VolumeEngine(
            side.index, WithinAnothersDirectory(), side.name, engine._incarnation, engine._authors
        )
    alpha.sees(b"d", directory())
    alpha.sees(b"d/e", directory())
    alpha.sees(b"d/e/f", found(b"one"))
    beta.hears(alpha)
    assert beta.index.row(RelPath(b"d")) is None, "nobody tells beta of it, which may have one or not"
    assert planned(beta, b"d/e").step is Step.INSTALL
    assert beta.plans(b"d/e/f") is None, "it comes after the directory that it is in"
    assert beta.shows(b"d/e", directory()) == (b"d/e/f",)
    assert planned(beta, b"d/e/f").step is Step.INSTALL
