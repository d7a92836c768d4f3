"""Three members in network namespaces: the main rows of docs/conflicts.md for real, and changes that go by way of a third member."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.support.members import VOLUME, Member, all_have_applied, until
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.rows import ACTS, UNSURE, described, is_as_the_table_says, prepare, shown_in
from tests.cluster.triangles import Triangle, triangle
from tests.engine.test_conflicts import cells
from tests.trees import differences

PORT = 30866
POLICIES = {"younger": ["younger"], "left": ["left"], "none": ["none"], "merge": ["merge"]}
"""Columns of the table, with the policy that stands for each."""
ROWS_MIN = 80
AB, AC, BC = (0, 1), (0, 2), (1, 2)
NOTICED_S_MAX = 40.0
TICK_S = 0.02
LARGE_SIZE = 3 << 20
CHATTER_SIZE_MAX = 300_000
"""What links say beside contents: greetings, records of hundreds of paths, heartbeats."""
Members = tuple[Member, Member, Member]


class Corner(Member):
    """A member that others call at either of two addresses."""

    def __init__(self, base: Path, name: str, prefix: tuple[str, ...], addresses: tuple[str, ...]) -> None:
        super().__init__(base, name, PORT, prefix, addresses[0])
        self._listening = tuple(word for address in addresses for word in ("--listen", f"{address}:{PORT}"))

    def found(self) -> None:
        """Make a cluster of one, with a group for each policy."""
        self._prepare()
        self.csfs("init", "--member", self.name, *self._listening)
        self.csfs("volume", "add", VOLUME, str(self.tree))
        self.regroup()

    def regroup(self, *for_two: str) -> None:
        """Write the groups anew: one for each policy, one for all else, and before them one of alpha and beta for each of `for_two`."""
        settings = self.home.settings_file
        head, _, _ = settings.read_text().partition(f"[[volumes.{VOLUME}.groups]]")
        groups = [f'members = ["alpha", "beta"]\ninclude = ["{include}"]' for include in for_two]
        groups += [f'include = ["/{name}"]\npolicy = {json.dumps(policy)}' for name, policy in POLICIES.items()]
        groups += ['include = ["/"]']
        settings.write_text(head + "\n".join(f"[[volumes.{VOLUME}.groups]]\n{group}\n" for group in groups))

    def join(self, other: Member, *options: str) -> None:
        """Become a member of the cluster of `other`."""
        self._prepare()
        token = other.csfs("invite", self.name).stdout.strip()
        place = ("--path", f"{VOLUME}={self.tree}")
        # It is invited by way of the one cable that both have.
        ours = {address.rpartition(".")[0] for address in self._listening if "." in address}
        called = next(
            a
            for a in other._listening
            if a.rpartition(".")[0] in ours  # type: ignore[attr-defined]
        )
        self.csfs("join", called, token, *self._listening, *place, *options)


def settled(*members: Member) -> None:
    """Return when all members replicate, are connected, and have told each other all that they know."""
    for member in members:
        until(lambda m=member: m.volume()["state"] == "replicating", f"{member.name} replicates", 120)  # type: ignore[misc]
        until(
            lambda m=member: all(peer["connected"] for peer in m.status()["peers"]),  # type: ignore[misc]
            f"{member.name} is connected",
            NOTICED_S_MAX,
        )
    for _ in range(3):
        all_have_applied(*members, timeout_s=120)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Members, Triangle]]:
    """Three members, and the cables between them."""
    base = tmp_path_factory.mktemp("members")
    with triangle() as cables:
        alpha, beta, gamma = (
            Corner(base, name, prefix, addresses)
            for name, prefix, addresses in zip(
                ("alpha", "beta", "gamma"), cables.prefixes, cables.addresses, strict=True
            )
        )
        try:
            alpha.found()
            alpha.mount()
            for member in (beta, gamma):
                member.join(alpha)
                member.mount()
            settled(alpha, beta, gamma)
            yield (alpha, beta, gamma), cables
            expect_calm_logs(alpha, beta, gamma)
        finally:
            for member in (alpha, beta, gamma):
                member.stop()
            shutil.rmtree(base, ignore_errors=True)


# ------------------------------------------------------------------------------------------------------------ the table


def rows() -> list[tuple[str, str, str, str]]:
    """Return the cells (a, b, policy, outcome) whose acts can be done here."""
    found = [
        (a, b, policy, outcome) for a, b, policy, outcome in cells() if policy in POLICIES and {a, b} <= ACTS.keys()
    ]
    return [cell for cell in found if cell[:2] not in UNSURE]


def place_of(number: int, policy: str) -> str:
    return f"{policy}/{number}"


def test_the_main_rows_of_the_table_hold_at_three_members_after_a_partition(three: tuple[Members, Triangle]) -> None:
    (alpha, beta, gamma), cables = three
    found = rows()
    assert len({cell[:2] for cell in found}) >= ROWS_MIN, "the table says otherwise than ACTS"
    for number, (_, _, policy, _) in enumerate(found):
        prepare(alpha.tree / place_of(number, policy))
    settled(alpha, beta, gamma)
    cables.cut(AB, AC)
    for number, (a, _, policy, _) in enumerate(found):
        ACTS[a](alpha.tree / place_of(number, policy), "a")
    until(lambda: alpha.volume()["journal_backlog"] == 0, "alpha has looked at all of it before b begins", 120)
    later = time.monotonic() + TICK_S
    until(lambda: time.monotonic() > later, "what b makes is younger, also where times are coarse")
    for number, (_, b, policy, _) in enumerate(found):
        ACTS[b](beta.tree / place_of(number, policy), "b")
    beta.wait()
    before = [
        {name: shown_in(member.tree / place_of(number, cell[2])) for name, member in (("a", alpha), ("b", beta))}
        for number, cell in enumerate(found)
    ]
    at_gamma = [shown_in(gamma.tree / place_of(number, cell[2])) for number, cell in enumerate(found)]
    assert at_gamma == [one["b"] for one in before]
    cables.heal(AB, AC)
    settled(alpha, beta, gamma)
    wrong = []
    for number, (a, b, policy, outcome) in enumerate(found):
        shown = [shown_in(member.tree / place_of(number, policy)) for member in (alpha, beta, gamma)]
        if not is_as_the_table_says((a, b), outcome, shown, before[number]):
            wrong.append(f"{a} | {b} | {policy}: not {outcome}, but\n  " + "\n  ".join(map(described, shown)))
    assert not wrong, "\n".join(wrong)
    assert differences(str(beta.tree), str(gamma.tree)) == []
    assert differences(str(alpha.tree), str(beta.tree), ignore={"/none"}) == []
    for member in (alpha, beta, gamma):
        assert not member.volume()["problems"]


def test_a_conflict_that_each_member_shows_its_own_way_is_settled_at_all_three_by_one(
    three: tuple[Members, Triangle],
) -> None:
    (alpha, beta, gamma), cables = three
    for member in (alpha,):
        (member.tree / "none" / "settled").mkdir(parents=True)
        (member.tree / "none" / "settled" / "f").write_text("before")
    settled(alpha, beta, gamma)
    files = [member.tree / "none" / "settled" / "f" for member in (alpha, beta, gamma)]
    cables.cut(AB, AC)
    files[0].write_text("by alpha")
    files[1].write_text("by beta")
    beta.wait()
    cables.heal(AB, AC)
    settled(alpha, beta, gamma)
    assert [file.read_text() for file in files] == ["by alpha", "by beta", "by beta"]
    for member, file in zip((alpha, beta, gamma), files, strict=True):
        (found,) = member.ask("conflicts", paths=[os.fsencode(file)])
        assert {version["member"] for version in found["versions"]} == {"alpha", "beta"}
    path = os.fsencode(files[2])
    gamma.ask("resolve", paths=[path], member="alpha", lenient=False, dry_run=False, new=None)
    settled(gamma, alpha, beta)
    assert [file.read_text() for file in files] == ["by alpha"] * 3
    for member, file in zip((alpha, beta, gamma), files, strict=True):
        assert member.ask("conflicts", paths=[os.fsencode(file)]) == []


def follow(members: Members, *for_two: str) -> None:
    """Change the rules, and return when all follow them."""
    alpha = members[0]
    assert isinstance(alpha, Corner)
    alpha.regroup(*for_two)
    alpha.csfs("config", "reload")
    for member in members:
        until(
            lambda m=member: m.home.settings_file.read_text().count('members = ["alpha", "beta"]') == len(for_two),  # type: ignore[misc]
            f"{member.name} has the rules",
        )
    settled(*members)


def test_what_rules_give_to_a_member_is_sent_and_what_they_take_away_stays_as_it_is(
    three: tuple[Members, Triangle],
) -> None:
    (alpha, beta, gamma), _ = three
    follow((alpha, beta, gamma), "/late")
    for name in ("late", "two"):
        (alpha.tree / name).mkdir()
        (alpha.tree / name / "f").write_text(f"{name} by alpha")
    settled(alpha, beta, gamma)
    assert (beta.tree / "late" / "f").read_text() == "late by alpha"
    assert not (gamma.tree / "late").exists(), "another group has it, and gamma is not in that"
    assert (gamma.tree / "two" / "f").read_text() == "two by alpha"

    follow((alpha, beta, gamma), "/two")
    until(lambda: (gamma.tree / "late" / "f").read_text() == "late by alpha", "gamma has what it is given")
    (alpha.tree / "two" / "f").write_text("for beta alone")
    (alpha.tree / "two" / "g").write_text("new")
    (gamma.tree / "two" / "own").write_text("gamma's")
    (gamma.tree / "late" / "f").write_text("late by gamma")
    settled(alpha, beta, gamma)
    assert (beta.tree / "two" / "f").read_text() == "for beta alone"
    assert [member.tree.joinpath("late", "f").read_text() for member in (alpha, beta)] == ["late by gamma"] * 2
    assert (gamma.tree / "two" / "f").read_text() == "two by alpha", "it stays, and is not followed any more"
    assert sorted(path.name for path in (gamma.tree / "two").iterdir()) == ["f", "own"]
    assert sorted(path.name for path in (alpha.tree / "two").iterdir()) == ["f", "g"]


def test_what_two_members_cannot_tell_each_other_a_third_one_forwards_and_no_content_travels_twice(
    three: tuple[Members, Triangle],
) -> None:
    (alpha, beta, gamma), cables = three
    settled(alpha, beta, gamma)
    before = {side: cables.crossed(side) for side in (AB, AC, BC)}
    (alpha.tree / "direct").write_bytes(os.urandom(LARGE_SIZE))
    settled(alpha, beta, gamma)
    crossed = {side: cables.crossed(side) - before[side] for side in before}
    for side in (AB, AC):
        assert LARGE_SIZE <= crossed[side] <= LARGE_SIZE * 1.1 + CHATTER_SIZE_MAX, crossed
    assert crossed[BC] <= CHATTER_SIZE_MAX, f"what both had from alpha, they told each other: {crossed}"

    cables.cut(AC)
    for one, name in ((alpha, "gamma"), (gamma, "alpha")):
        until(lambda m=one, n=name: not _peer(m, n)["connected"], f"{one.name} misses {name}", NOTICED_S_MAX)  # type: ignore[misc]
    before = {side: cables.crossed(side) for side in (AB, AC, BC)}
    data = os.urandom(LARGE_SIZE)
    (alpha.tree / "forwarded").write_bytes(data)
    for number in range(100):
        (alpha.tree / f"small {number}").write_text(f"{number}")
    (gamma.tree / "back").write_text("from gamma")
    until(lambda: (gamma.tree / "forwarded").exists() and (gamma.tree / "small 99").exists(), "gamma has it", 60)
    until(lambda: (alpha.tree / "back").exists(), "alpha has it", 60)
    for member in (alpha, beta, gamma):
        member.wait()
    assert (gamma.tree / "forwarded").read_bytes() == data
    crossed = {side: cables.crossed(side) - before[side] for side in before}
    for side in (AB, BC):
        assert LARGE_SIZE <= crossed[side] <= LARGE_SIZE * 1.1 + CHATTER_SIZE_MAX, crossed

    cables.heal(AC)
    settled(alpha, beta, gamma)
    assert cables.crossed(AC) - before[AC] <= CHATTER_SIZE_MAX, "what had come by way of beta came again"
    assert differences(str(alpha.tree), str(gamma.tree), ignore={"/none", "/two"}) == []


def _peer(member: Member, name: str) -> dict[str, object]:
    (found,) = (peer for peer in member.status()["peers"] if peer["name"] == name)
    return dict(found)
