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


def test_an_edit_that_lost_where_it_followed_a_move_is_kept_though_a_merge_has_taken_in_where_it_went() -> None:
    members = Members("alpha", "beta", "gamma")
    alpha, beta, gamma = members.sides
    moved, other, third = found(BASE, mtime_ns=10, inode=50), RelPath(b"g"), RelPath(b"h")
    gamma.sees(other, moved, moved_from=F)
    gamma.sees(F, None, moved_to=other)
    beta.sees(third, found(b"beta's own", inode=70))  # keeps the edit from following there
    members.writes(beta, b"the edit", inode=20)
    beta.hears(gamma)
    alpha.hears(gamma)
    alpha.shows(other, moved)
    assert alpha.plans(F) is not None
    alpha.shows(F, None)
    changed = found(edited(1), mtime_ns=20, inode=50)
    members.contents[changed.hash] = edited(1)
    alpha.sees(other, changed)
    alpha.sees(F, changed, moved_from=other)
    alpha.sees(other, None, moved_to=F)
    gamma.sees(third, moved, moved_from=other)
    gamma.sees(other, found(b"gamma's own", mtime_ns=900, inode=80), created=True, moved_to=third)
    for mtime_ns in (901, 902, 903):  # the last word on where the object went
        gamma.sees(other, found(b"gamma's own", mtime_ns=mtime_ns, inode=80))
    members.writes(gamma, edited(9), inode=90)
    for side in (alpha, gamma):
        side.hears(beta)
    alpha.hears(gamma)
    gamma.hears(alpha)
    side = next(side for side in (alpha, gamma) if side.engine.merge_due(F) is not None)
    assert members.merge(side) == edited(1, 9)
    beta.hears(alpha)
    beta.hears(gamma)
    shown = beta.row(F).applied.observation
    assert shown is not None
    assert shown.hash == found(b"the edit").hash
    (losing,) = (entry for entry in beta.row(other).record.content.entries if entry.value.hash == shown.hash)
    live = beta.engine.live(other)
    assert live is not None
    assert live.entry not in (None, losing)
    plan = beta.plans(F)
    assert plan is not None
    assert (plan.content.hash, plan.keep) == (found(edited(1, 9)).hash, True)
