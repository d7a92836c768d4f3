"""After a power cut: names of one inode that stand for no version, and are taken as they are, stay names of one file (R17, R24)."""

import pytest

from csfs.core.records import write_of
from csfs.engine.live import content_of, meta_of
from tests.engine.members import NOW_NS, found, sides
from tests.engine.test_power_cut import F, G


@pytest.mark.parametrize("are_known", [False, True])
def test_names_of_one_file_that_are_taken_as_they_are_stay_linked(*, are_known: bool) -> None:
    alpha, beta = sides("alpha", "beta")
    if are_known:
        for path in (b"f", b"g"):
            beta.sees(path, found(b"before", inode=path[0]))
    shown = found(b"one", mtime_ns=5, inode=7, links=2)
    for path in (F, G):
        beta.engine.doubt(path, shown)
    for path in (F, G):
        beta.engine.settle(path, content_of(shown), meta_of(shown), NOW_NS)
    for path in (F, G):
        beta.plans(path)
    alpha.hears(beta)
    for side in (alpha, beta):
        rows = [side.row(path) for path in (F, G)]
        assert len({write_of(row.record.content.entries[0]) for row in rows}) == 1
        assert len({write_of(row.record.meta.entries[0]) for row in rows}) == 1
        assert side.engine.names_of(F) == (G,)
        assert all(not row.pending for row in rows) == (side is beta)


def test_a_name_that_is_taken_for_something_else_is_another_file() -> None:
    _, beta = sides("alpha", "beta")
    shown = found(b"one", mtime_ns=5, inode=7, links=2)
    for path in (F, G):
        beta.engine.doubt(path, shown)
    other = found(b"other", mtime_ns=6)
    beta.engine.settle(F, content_of(shown), meta_of(shown), NOW_NS)
    beta.engine.settle(G, content_of(other), meta_of(other), NOW_NS)
    assert beta.engine.names_of(F) == ()


def test_a_name_that_is_taken_as_it_is_stays_linked_where_the_disk_shows_times_less_exactly() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one", mtime_ns=1_234, inode=3))
    beta.hears(alpha)
    plan = beta.plans(F)
    assert plan is not None
    shown = found(b"one", mtime_ns=1_000, inode=7)
    beta.engine.applied(plan, shown)
    shown = found(b"one", mtime_ns=1_000, inode=7, links=2)
    for path in (F, G):
        beta.engine.doubt(path, shown)
    beta.engine.settle(G, content_of(shown), meta_of(shown), NOW_NS)
    beta.plans(G)
    assert not beta.row(G).pending
    assert beta.row(G).record.content.entries[0].value.mtime_ns == 1_234
    alpha.hears(beta)
    for side in (alpha, beta):
        assert side.engine.names_of(F) == (G,)


def test_a_name_that_is_taken_as_it_is_leaves_its_file_an_owner_whom_this_host_cannot_show() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one", inode=3, uid=1001, owner="bob"))
    beta.hears(alpha)
    plan = beta.plans(F)
    assert plan is not None
    beta.engine.applied(plan, found(b"one", inode=7))
    shown = found(b"one", inode=7, links=2)
    for path in (F, G):
        beta.engine.doubt(path, shown)
    beta.engine.settle(G, content_of(shown), meta_of(shown), NOW_NS)
    alpha.hears(beta)
    for side in (alpha, beta):
        assert side.engine.names_of(F) == (G,)
        for path in (F, G):
            live = side.engine.live(path)
            assert live is not None
            assert live.meta is not None
            assert live.meta.owner == "bob"
