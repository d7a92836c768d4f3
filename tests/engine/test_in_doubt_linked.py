"""Names of one inode of which some are in doubt, at a member that was restored, stay names of one file (R8, R17)."""

import pytest

from csfs.engine.memory import MemoryIndex
from tests.engine.members import found, sides
from tests.engine.test_following import A
from tests.engine.test_links import linked, sees_together, writes
from tests.engine.test_quarantine import backup, caught_up, hears_anew, in_quarantine, restarted


@pytest.mark.parametrize("are_all_in_doubt", [False, True])
def test_names_that_are_minted_anew_stay_linked(*, are_all_in_doubt: bool) -> None:
    alpha, beta = sides("alpha", "beta")
    if not are_all_in_doubt:
        alpha.sees(b"a", found(b"one", mtime_ns=5))
        beta.hears(alpha)
        alpha.engine.stands("beta", beta.engine.standings())
    sees_together(alpha, linked(b"one", mtime_ns=5), b"a", b"b")
    lost = in_quarantine(alpha, backup(alpha))
    assert not lost.row(b"b").record.content.entries
    caught_up(lost, beta)
    hears_anew(beta, lost)
    for side in (lost, beta):
        assert len(writes(side, b"a", b"b")) == 1
        assert side.engine.names_of(A) == (b"b",)
    for path in (b"a", b"b"):
        assert lost.plans(path) is None, "they are one file here already"


def test_a_name_that_is_minted_anew_stays_linked_to_one_that_peers_have_told() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"b", found(b"one", mtime_ns=5))
    beta.hears(alpha)
    empty = restarted(alpha, MemoryIndex(), 50)
    sees_together(empty, linked(b"one", mtime_ns=5), b"a", b"b")
    lost = in_quarantine(empty, backup(empty))
    caught_up(lost, beta)
    hears_anew(beta, lost)
    for side in (lost, beta):
        assert len(writes(side, b"a", b"b")) == 1
    assert lost.row(b"b").record == beta.row(b"b").record, "which is not made once more"
    for path in (b"a", b"b"):
        assert lost.plans(path) is None, "they are one file here already"
