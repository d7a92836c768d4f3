"""Merges of what is moved: which object they are, and what of them is kept where they lose (R7, R15)."""

from csfs.core.paths import RelPath
from scripts.simulation.tree import hash_of
from tests.engine.members import NOW_NS, found
from tests.engine.test_merging import BASE, F, Members, edited


def test_a_merge_that_lost_where_it_followed_a_move_is_kept_under_the_old_name_though_the_object_came_back() -> None:
    members = Members("alpha", "beta")
    alpha, beta = members.sides
    members.writes(alpha, edited(1))
    members.writes(beta, edited(9))
    alpha.hears(beta)
    merged = members.merge(alpha)
    moved, other = found(edited(9, 10), mtime_ns=1_000), RelPath(b"g")
    beta.sees(other, moved, moved_from=F)
    beta.sees(F, None, moved_to=other)
    beta.hears(alpha)
    members.show(beta)
    shown = beta.row(F).applied.observation
    assert shown is not None
    assert shown.hash == hash_of(merged)
    alpha.hears(beta)
    alpha.shows(other, moved)
    alpha.sees(F, moved, moved_from=other)
    alpha.sees(other, None, moved_to=F)
    beta.hears(alpha)
    plan = beta.plans(F)
    assert plan is not None
    assert (plan.content.hash, plan.keep) == (moved.hash, True)


def test_a_merge_that_comes_to_one_of_its_versions_is_the_object_of_that_so_that_edits_follow() -> None:
    members = Members("alpha", "beta")
    alpha, beta = members.sides
    other, data = RelPath(b"g"), edited(1)
    members.contents[hash_of(data)] = data
    beta.sees(other, found(data, inode=50))
    alpha.hears(beta)
    alpha.shows(other, found(data, inode=60))
    beta.sees(F, found(data, inode=50), moved_from=other)
    beta.sees(other, None, moved_to=F)
    alpha.sees(other, found(edited(1, 9), mtime_ns=5, inode=60))
    members.writes(alpha, BASE)
    alpha.hears(beta)
    assert members.merge(alpha) == data
    alpha.engine.follow((F,), NOW_NS)
    live = alpha.engine.live(F)
    assert live is not None
    assert live.content.hash == hash_of(edited(1, 9))
