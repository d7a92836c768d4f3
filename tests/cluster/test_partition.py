"""Members that cannot reach each other for a while: both go on, and both end up with the same, whoever wrote what."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from csfs.store.hashing import BLOCK_SIZE
from scripts.support.members import Member, cluster_of, replicating, until
from tests.cluster.conftest import expect_calm_logs
from tests.cluster.networks import Network, network
from tests.trees import differences

PORT = 30866
NOTICED_S_MAX = 40.0
"""A peer that went silent is taken for dead after 15 s."""
CUTS = 3
LARGE_SIZE = 5 << 20


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Member, Member, Network]]:
    """Two members, each in a network namespace of its own, and the cable between them."""
    base = tmp_path_factory.mktemp("members")
    with network() as cable:
        alpha, beta = (
            Member(base, name, PORT, prefix, address)
            for name, prefix, address in zip(("alpha", "beta"), cable.prefixes, cable.addresses, strict=True)
        )
        with cluster_of(alpha, beta):
            yield alpha, beta, cable
            expect_calm_logs(alpha, beta)


def expect_together(alpha: Member, beta: Member) -> None:
    """Once the members can reach each other and have caught up, nothing differs between them, nor in what they say."""
    replicating(alpha, beta)
    assert differences(str(alpha.tree), str(beta.tree)) == []
    ours, theirs = alpha.volume(), beta.volume()
    for name in ("paths", "conflicts", "pending", "problems"):
        assert ours[name] == theirs[name], name
    assert not ours["pending"]
    assert not ours["problems"]


def kept(member: Member) -> set[str]:
    """Return the contents in a member's kept store."""
    return {
        path.read_text(errors="replace") for path in (member.underneath / ".csfs" / "kept").iterdir() if path.is_file()
    }


def seen(member: Member) -> dict[str, str]:
    """Return the contents of all files in a member's tree."""
    files = (path for path in member.tree.rglob("*") if path.is_file())
    return {str(path.relative_to(member.tree)): path.read_text(errors="replace") for path in files}


def make(tree: Path, contents: dict[str, str]) -> None:
    """Write files and the directories that they are in."""
    for name, content in contents.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content)


def edit_both(alpha: Member, beta: Member) -> None:
    """Change paths of its own at each member, and the same ones at both."""
    make(alpha.tree, {f"alpha/{number}": f"alpha {number}" for number in range(20)})
    make(beta.tree, {f"beta/{number}": f"beta {number}" for number in range(20)})
    # The same paths at both. The policy is `younger`: what was written last wins.
    make(alpha.tree, {"late beta": "by alpha", "new": "new by alpha", "both/alpha": "1"})
    make(beta.tree, {"late beta": "by beta, later", "new": "new by beta, later", "both/beta": "2"})
    make(beta.tree, {"late alpha": "by beta"})
    make(alpha.tree, {"late alpha": "by alpha, later"})
    # A change here, and another kind of change there.
    os.unlink(alpha.tree / "removed")
    make(beta.tree, {"removed": "edited by beta"})
    os.chmod(alpha.tree / "mode", 0o600)
    make(beta.tree, {"mode": "written by beta"})
    os.rename(alpha.tree / "moved", alpha.tree / "moved away")
    make(beta.tree, {"moved": "edited by beta while it was moved"})
    shutil.rmtree(alpha.tree / "gone")
    make(beta.tree, {"gone/made by beta": "3"})


def test_what_both_sides_write_while_they_are_cut_off_is_merged_and_no_loser_is_lost(
    parted: tuple[Member, Member, Network],
) -> None:
    alpha, beta, cable = parted
    before = ("late beta", "late alpha", "removed", "mode", "moved", "gone/a", "gone/b", "quiet")
    make(alpha.tree, {name: f"{name} before" for name in before})
    alpha.wait()
    fetched = beta.volume()["bytes_fetched"]
    large = os.urandom(LARGE_SIZE)
    cable.slow_down()
    (alpha.tree / "large").write_bytes(large)
    until(lambda: beta.volume()["bytes_fetched"] > fetched, "beta has some of the large file")

    cable.cut()
    edit_both(alpha, beta)
    for member in (alpha, beta):
        until(lambda m=member: not m.peer()["connected"], f"{member.name} misses its peer", NOTICED_S_MAX)  # type: ignore[misc]
        assert member.peer()["error"]
        assert member.volume()["state"] == "replicating"
    make(alpha.tree, {"alpha/afterwards": "written once alpha had noticed"})
    make(beta.tree, {"beta/afterwards": "written once beta had noticed"})

    arrived = beta.volume()["bytes_fetched"] - fetched
    assert 0 < arrived < LARGE_SIZE
    cable.speed_up()
    cable.heal()
    expect_together(alpha, beta)
    assert (beta.tree / "large").read_bytes() == large
    # A few small files travel at their readers' wish, too.
    assert beta.volume()["bytes_fetched"] - fetched < LARGE_SIZE + BLOCK_SIZE, "what had arrived was fetched again"
    files = seen(alpha)
    assert len([name for name in files if name.startswith(("alpha/", "beta/"))]) == 42
    expected = {
        "late beta": "by beta, later",
        "late alpha": "by alpha, later",
        "new": "new by beta, later",
        "removed": "edited by beta",
        "mode": "written by beta",
        "both/alpha": "1",
        "both/beta": "2",
        "gone/made by beta": "3",
        "quiet": "quiet before",
    }
    assert {name: files.get(name) for name in expected} == expected
    assert (beta.tree / "mode").stat().st_mode & 0o7777 == 0o600
    assert "edited by beta while it was moved" in files.values()
    assert "gone/a" not in files
    assert {"by alpha", "new by alpha"} <= kept(alpha)
    assert "by beta" in kept(beta)


def test_a_write_that_has_seen_both_sides_of_a_conflict_ends_it(parted: tuple[Member, Member, Network]) -> None:
    alpha, beta, cable = parted
    make(alpha.tree, {"disputed": "before"})
    alpha.wait()
    conflicts = alpha.volume()["conflicts"]
    cable.cut()
    make(alpha.tree, {"disputed": "what alpha says"})
    make(beta.tree, {"disputed": "what beta says, later"})
    cable.heal()
    expect_together(alpha, beta)
    assert alpha.volume()["conflicts"] == conflicts + 1
    make(alpha.tree, {"disputed": "what both have agreed on"})
    expect_together(alpha, beta)
    assert alpha.volume()["conflicts"] == conflicts
    assert "what alpha says" in kept(alpha)


def test_a_link_outlives_short_cuts(parted: tuple[Member, Member, Network]) -> None:
    alpha, beta, cable = parted
    replicating(alpha, beta)
    since = [member.peer()["since"] for member in (alpha, beta)]
    for number in range(CUTS):
        cable.cut(number % 2)
        make(alpha.tree, {f"cut/alpha{number}": "a", "cut/alpha": f"{number}"})
        make(beta.tree, {f"cut/beta{number}": "b", "cut/beta": f"{number}"})
        until(lambda: any(alpha.peer()["backlog"].values()), "alpha has something to send")
        cable.heal(number % 2)
        expect_together(alpha, beta)
    assert [member.peer()["since"] for member in (alpha, beta)] == since


def test_a_member_whose_daemon_dies_while_it_is_cut_off_is_back_with_all_it_has(
    parted: tuple[Member, Member, Network],
) -> None:
    alpha, beta, cable = parted
    cable.cut()
    make(beta.tree, {"died/before": "1"})
    beta.kill_daemon()
    make(beta.tree, {"died/without a daemon": "2"})
    make(alpha.tree, {"died/elsewhere": "3"})
    beta.start_daemon()
    make(beta.tree, {"died/afterwards": "4"})
    cable.heal()
    # What alpha still takes for a link is none: beta's new one must not lose against it.
    until(lambda: bool(beta.peer()["connected"]), "beta is connected again", NOTICED_S_MAX)
    expect_together(alpha, beta)
    assert len(list((alpha.tree / "died").iterdir())) == 4
