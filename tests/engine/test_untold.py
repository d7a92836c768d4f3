"""What the simulator expects of edits where nobody can tell that there was a rename: without a row, or in doubt (R24, R8)."""

import msgspec
import pytest

from csfs.core.changes import ChangeKind
from csfs.core.paths import RelPath
from scripts.simulation.cluster import Cluster
from scripts.simulation.dice import Dice
from scripts.simulation.followed import check_followed
from scripts.simulation.ledger import Ledger
from scripts.simulation.plan import Act, Action, Plan, Setup
from tests.engine.test_found import PLANS

A, B = RelPath(b"a"), RelPath(b"b")
CUTS = 40


def cluster() -> Cluster:
    """Return two members that have a file, which the first has renamed since it was on its disk."""
    cluster = Cluster(Plan(0, Setup(2, ("younger",)), ()))
    cluster.begin()
    programs = cluster.hosts[0].programs
    programs.write(A)
    cluster.heal()
    cluster.disks[0].flush()
    programs.move(A, B)
    return cluster


def test_a_rename_is_untold_if_no_row_of_it_is_left() -> None:
    found = set[bool]()
    for number in range(CUTS):
        run = cluster()
        disk = run.disks[0]
        disk.cut(Dice(number))
        is_left = any(row.kind is ChangeKind.RENAME for row in run.hosts[0].programs.rows)
        assert disk.untold == (set() if is_left else {(A, B)})
        found.add(is_left)
    assert found == {False, True}


def test_a_rename_is_untold_if_what_rows_say_was_put_in_its_place_is_damaged() -> None:
    found = set[tuple[bool, bool]]()
    for number in range(4 * CUTS):
        run = cluster()
        host, disk = run.hosts[0], run.disks[0]
        host.programs.write(A)
        disk.cut(Dice(number))
        kinds = [row.kind for row in host.programs.rows]
        if kinds[:1] == [ChangeKind.RENAME] and B in host.tree.nodes:
            is_put = ChangeKind.CREATE in kinds
            found.add((is_put, (A, B) in disk.untold))
    assert found == {(False, False), (True, True)}


@pytest.mark.parametrize("is_heard", [False, True])
def test_what_somebody_has_heard_is_told(is_heard: bool) -> None:
    found = set[bool]()
    for number in range(CUTS):
        run = cluster()
        host = run.hosts[0]
        host.digest(run.now(host))
        if is_heard:
            run.tell_all(run.links[0, 1])
        run._power_cut(Action(Act.POWER_CUT, 0, 0, number, 0), host, Dice(number))
        untold = run.disks[0].untold
        assert run.ledger.untold == (set() if is_heard else untold)
        found.add(bool(untold))
    assert found == {False, True}


def test_what_moved_with_a_directory_is_untold_with_it() -> None:
    ledger = Ledger()
    ledger.untold.add((A, B))
    assert ledger.is_untold(A, B)
    assert ledger.is_untold(RelPath(b"a/x"), RelPath(b"b/x"))
    assert not ledger.is_untold(RelPath(b"a/x"), RelPath(b"b/y"))
    assert not ledger.is_untold(RelPath(b"ax"), RelPath(b"bx"))
    assert not ledger.is_untold(B, A)


@pytest.mark.parametrize("is_seen", [False, True])
@pytest.mark.parametrize(("has_file", "has_move"), [(False, False), (True, False), (True, True)])
def test_what_is_in_doubt_is_untold(has_file: bool, has_move: bool, is_seen: bool) -> None:
    run = Cluster(Plan(0, Setup(2, ("younger",)), ()))
    run.begin()
    host = run.hosts[0]
    host.programs.write(A)
    host.digest(run.now(host))
    if has_file:
        run.heal()
    host.programs.move(A, B)
    if is_seen or has_move:
        host.digest(run.now(host))
    if has_move:
        run.heal()
    host.engine.distrust()
    # A rename that is looked at only afterwards is one for all who know the file.
    assert run.ledger.untold == ({(A, B)} if not has_move and (is_seen or not has_file) else set())


@pytest.mark.parametrize(("number", "path"), [("97302564", b"d/a"), ("97650256", b"d/b/a")])
def test_only_that_excuses_an_edit_that_stays_behind(number: str, path: bytes) -> None:
    (file,) = (file for file in PLANS if number in file.stem)
    run = Cluster(msgspec.json.decode(file.read_bytes(), type=Plan))
    run.begin()
    run.run()
    run.heal()
    check_followed(run)
    run.ledger.untold.clear()
    with pytest.raises(AssertionError, match=f"not at {path!r}"):
        check_followed(run)
