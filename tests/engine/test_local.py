"""What is found on disk becomes new versions: each half only if it changed, on what was applied, and never what is known."""

from csfs.core.objects import Kind, Observation
from csfs.core.paths import ROOT, RelPath
from csfs.core.records import Move
from csfs.engine.live import NO_TIME_NS
from csfs.engine.ports import Step
from tests.engine.members import NOW_NS, Side, directory, found, sides


def test_a_new_file_mints_both_halves_and_a_second_look_nothing() -> None:
    (alpha,) = sides("alpha")
    assert alpha.sees(b"f", found(b"one"))
    assert alpha.counter() == 2
    assert not alpha.sees(b"f", found(b"one"))
    assert not alpha.sees(b"f", found(b"one", inode=7))
    assert alpha.counter() == 2
    shown = alpha.row(b"f").applied.observation
    assert shown is not None
    assert shown.stamp.inode == 7


def test_an_edit_mints_content_and_a_chmod_meta_alone() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(b"f", found(b"one"))
    meta = alpha.row(b"f").record.meta
    assert alpha.sees(b"f", found(b"two", mtime_ns=2))
    assert alpha.row(b"f").record.meta == meta
    content = alpha.row(b"f").record.content
    assert alpha.sees(b"f", found(b"two", mtime_ns=2, mode=0o600))
    assert alpha.row(b"f").record.content == content
    assert alpha.counter() == 4


def test_a_removal_is_a_tombstone_that_says_where_the_object_went() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(b"old", found(b"one"))
    birth = alpha.row(b"old").record.content.entries[0].birth
    alpha.sees(b"new", found(b"one"), moved_from=RelPath(b"old"))
    alpha.sees(b"old", None, moved_to=RelPath(b"new"))
    (new,) = alpha.row(b"new").record.content.entries
    (gone,) = alpha.row(b"old").record.content.entries
    assert birth is not None
    assert new.birth == gone.birth == birth
    assert new.origin == birth
    assert (gone.value.kind, gone.moves) == (Kind.ABSENT, (Move(birth, RelPath(b"new")),))
    assert gone.snapshot is not None


def test_a_local_change_has_not_seen_what_was_only_wanted() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one"))
    alpha.sees(b"f", found(b"two", mtime_ns=2))
    beta.hears(alpha)
    beta.sees(b"f", found(b"mine", mtime_ns=3))
    assert len(beta.row(b"f").record.content.entries) == 2
    assert [conflict.half for conflict in beta.engine.conflicts([RelPath(b"f")])] == ["content"]


def test_a_delete_does_not_take_an_edit_that_it_has_not_seen() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one"))
    alpha.sees(b"f", found(b"two", mtime_ns=2))
    beta.sees(b"f", None)
    beta.hears(alpha)
    plan = beta.plans(b"f")
    assert plan is not None
    assert (plan.step, plan.expected, plan.content.hash) == (Step.INSTALL, None, found(b"two").hash)
    beta.shows(b"f", found(b"two", mtime_ns=2))
    assert beta.sees(b"f", None), "having seen it, the delete takes it"
    assert beta.plans(b"f") is None


def test_what_a_crash_kept_from_being_recorded_is_adopted() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    assert not beta.sees(b"f", found(b"one", inode=9))
    assert beta.counter() == 0
    assert not beta.row(b"f").pending
    assert beta.row(b"f").applied.content_dot == alpha.row(b"f").applied.content_dot


def test_an_owner_that_this_host_cannot_show_is_carried_through_a_chmod() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one", uid=1001, owner="bob"))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one", uid=1001, owner="carol"))
    assert beta.plans(b"f") is None
    assert not beta.sees(b"f", found(b"one", uid=1001, owner="carol"))
    beta.sees(b"f", found(b"one", uid=1001, owner="carol", mode=0o600))
    (entry,) = beta.row(b"f").record.meta.entries
    assert (entry.value.mode, entry.value.owner) == (0o600, "bob")


def test_a_time_that_this_disk_rounds_is_carried_through_an_unchanged_time() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one", mtime_ns=1_234))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one", mtime_ns=1_000))
    assert beta.plans(b"f") is None
    assert not beta.sees(b"f", found(b"one", mtime_ns=1_000))
    beta.sees(b"f", found(b"one", mtime_ns=1_000, mode=0o600))
    assert beta.row(b"f").record.content == alpha.row(b"f").record.content


def test_attributes_that_this_disk_cannot_hold_are_carried_beside_new_ones() -> None:
    alpha, beta = sides("alpha", "beta")
    acl = (b"system.posix_acl_access", b"acl")
    alpha.sees(b"f", found(b"one", xattrs=(acl, (b"user.a", b"1"))))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one", xattrs=((b"user.a", b"1"),)))
    beta.sees(b"f", found(b"one", xattrs=((b"user.b", b"2"),)))
    (entry,) = beta.row(b"f").record.meta.entries
    assert entry.value.xattrs == (acl, (b"user.b", b"2"))


def test_a_directory_time_is_no_edit() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory(1))
    content = alpha.row(b"d").record.content
    assert alpha.sees(b"d", directory(5))
    assert alpha.row(b"d").record.content == content
    assert not alpha.engine.touched(RelPath(b"d"), 5, 9)
    assert alpha.engine.touched(RelPath(b"d"), 6, 9)
    beta.hears(alpha)
    beta.shows(b"d", directory(6))
    beta.engine.disturbed(RelPath(b"d"), directory(8).stamp, 8)
    plan = beta.plans(b"d")
    assert plan is not None
    assert (plan.step, plan.mtime_ns, plan.expected) == (Step.ATTRIBUTES, 6, directory(8).stamp)
    assert beta.counter() == 0


def test_a_directory_of_which_nobody_knows_anything_has_one_time_everywhere() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    alpha.sees(b"d", directory(3))
    alpha.sees(b"d/in", directory(4))
    alpha.engine.touched(RelPath(b"d"), 6, 9)
    out = alpha.engine.outgoing(0, {}, 1, "beta")
    assert [update.path for update in out.updates] == [b"d/in"], "alpha is lost for good after this"
    times = []
    for side, commit_ns in ((beta, 7), (gamma, 8)):
        side.engine.receive("alpha", out.scope, out.updates, None, NOW_NS)
        installed = side.plans(b"d")
        assert installed is not None
        side.engine.applied(installed, directory(installed.mtime_ns or 0, mode=0o700))
        side.shows(b"d/in", directory(4))
        side.engine.disturbed(RelPath(b"d"), directory(commit_ns).stamp, commit_ns)
        assert RelPath(b"d") in side.index.pending()
        plan = side.plans(b"d")
        assert plan is not None
        assert plan.step is Step.ATTRIBUTES
        times += [installed.mtime_ns, plan.mtime_ns]
        side.engine.applied(plan, directory(plan.mtime_ns or 0, mode=0o700))
        assert side.plans(b"d") is None
    assert times == [NO_TIME_NS] * 4, "and not that of each member's own commits"
    assert beta.engine.touched(RelPath(b"d"), 10, 10)
    gamma.hears(beta)
    plan = gamma.plans(b"d")
    assert plan is not None
    assert plan.mtime_ns == 10, "somebody has given it one"


def test_a_stamp_of_a_directory_that_nobody_looked_at_proves_nothing() -> None:
    (alpha,) = sides("alpha")
    alpha.sees(b"d", directory(1))
    alpha.engine.disturbed(RelPath(b"d"), found(b"a file now", mtime_ns=8, inode=2).stamp, 8)
    assert alpha.row(b"d").applied.observation == directory(1), "another object is there: that is for a look to find"
    alpha.engine.disturbed(RelPath(b"d"), directory(8).stamp, 8)
    assert alpha.row(b"d").applied.racy
    alpha.sees(b"d", directory(8))
    assert not alpha.row(b"d").applied.racy


def test_a_receive_only_member_mints_nothing_and_its_changes_are_kept_aside() -> None:
    alpha, gamma = sides("alpha", "gamma", receive_only=("gamma",))
    alpha.sees(b"f", found(b"one"))
    gamma.hears(alpha)
    gamma.shows(b"f", found(b"one"))
    assert not gamma.sees(b"f", found(b"mine", mtime_ns=5))
    assert not gamma.sees(b"extra", found(b"mine too"))
    assert gamma.counter() == 0
    restored, removed = gamma.plans(b"f"), gamma.plans(b"extra")
    assert restored is not None
    assert removed is not None
    assert (restored.step, restored.keep, restored.content.hash) == (Step.INSTALL, True, found(b"one").hash)
    assert (removed.step, removed.keep) == (Step.REMOVE, True)


def test_a_member_that_joins_adopts_what_is_equal_and_keeps_what_differs() -> None:
    alpha, beta = sides("alpha", "beta", pulling=("beta",))
    for name in (b"same", b"other"):
        alpha.sees(name, found(b"cluster's"))
    beta.hears(alpha)
    assert beta.plans(b"same") is None
    beta.engine.finish_pull()
    beta.sees(b"same", found(b"cluster's"), joining=True)
    beta.sees(b"other", found(b"its own", inode=5), joining=True)
    assert not beta.sees(b"extra", found(b"extra"), joining=True, extra="keep")
    assert beta.index.row(RelPath(b"extra")) is None
    assert beta.counter() == 0
    assert beta.sees(b"extra", found(b"extra"), joining=True, extra="add")
    assert beta.plans(b"same") is None
    plan = beta.plans(b"other")
    assert plan is not None
    assert (plan.step, plan.keep, plan.expected) == (Step.INSTALL, True, found(b"its own", inode=5).stamp)


def test_the_root_is_nobodys_own_also_where_nobody_had_told_of_it_before_a_member_joined() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma", receive_only=("gamma",))
    for joining in (beta, gamma):
        joining.sees(b"", directory(mtime_ns=5, inode=2), joining=True, extra="keep")
    assert gamma.index.row(ROOT) is None, "nobody listens to it"
    alpha.sees(b"", directory(mtime_ns=9, mode=0o700))
    beta.hears(alpha)
    alpha.hears(beta)
    lives = [side.engine.live(ROOT) for side in (alpha, beta)]
    assert {(live.meta.mode, live.mtime_ns) for live in lives if live is not None and live.meta is not None} == {
        (0o700, 5)
    }
    plan = beta.plans(b"")
    assert plan is not None, "beta shows another mode"
    assert plan.step is Step.ATTRIBUTES


def test_a_change_after_a_decided_conflict_settles_it_and_the_loser_is_kept_where_it_is() -> None:
    alpha, beta, gamma = sides("alpha", "beta", "gamma")
    alpha.sees(b"f", found(b"older", mtime_ns=1))
    beta.sees(b"f", found(b"younger", mtime_ns=2))
    gamma.hears(alpha)
    gamma.hears(beta)
    gamma.shows(b"f", found(b"younger", mtime_ns=2))
    gamma.sees(b"f", found(b"settled", mtime_ns=3))
    assert len(gamma.row(b"f").record.content.entries) == 1
    alpha.hears(gamma)
    plan = alpha.plans(b"f")
    assert plan is not None
    assert (plan.content.hash, plan.keep) == (found(b"settled").hash, True)
    beta.hears(gamma)
    plan = beta.plans(b"f")
    assert plan is not None
    assert not plan.keep, "the winner was seen by whoever replaced it"


def test_where_the_policy_is_none_a_change_leaves_the_others_standing() -> None:
    alpha, beta = sides("alpha", "beta", policy=("none",))
    alpha.sees(b"f", found(b"alpha's", mtime_ns=1))
    beta.sees(b"f", found(b"beta's", mtime_ns=2))
    alpha.hears(beta)
    assert alpha.plans(b"f") is None
    alpha.sees(b"f", found(b"alpha's second", mtime_ns=3))
    assert len(alpha.row(b"f").record.content.entries) == 2
    beta.hears(alpha)
    assert beta.plans(b"f") is None


def test_what_equals_a_peers_version_still_replaces_what_was_here() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"x", directory())
    beta.sees(b"x", found(b"file"))
    beta.hears(alpha)
    assert beta.sees(b"x", directory()), "whoever turned the file into a directory took the file away"
    assert [entry.value.kind for entry in beta.row(b"x").record.content.entries] == [Kind.DIRECTORY] * 2
    assert list(beta.engine.conflicts([RelPath(b"x")])) == []
    alpha.hears(beta)
    assert alpha.plans(b"x") is None


def test_a_delete_that_equals_a_peers_still_takes_what_was_here() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one"))
    alpha.sees(b"f", None)
    beta.sees(b"f", found(b"two", mtime_ns=2))
    beta.hears(alpha)
    beta.sees(b"f", None)
    assert not beta.row(b"f").live


def test_a_directory_that_is_made_live_by_what_is_below_it_is_given_a_time() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", found(b"file"))
    beta.sees(b"d/f", found(b"inside"))
    alpha.hears(beta)
    assert alpha.shows(b"d", None) == (b"d",)
    alpha.shows(b"d", directory(mtime_ns=7))
    assert alpha.row(b"d").record.time is None
    alpha.sees(b"d/g", found(b"new"))
    time = alpha.row(b"d").record.time
    assert time is not None
    assert time.mtime_ns == 7


def interrupted(beta: Side, observation: Observation) -> bool:
    """Tell a member what is on disk after it was killed while it set attributes."""
    plan = beta.plans(b"f")
    assert plan is not None
    return beta.engine.interrupted(plan, observation)


def half_set_pair() -> Side:
    """Return a member that has a file of which mode, owner and content have changed elsewhere."""
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one", uid=1001, owner="bob"))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one", uid=1001, owner="bob"))
    alpha.sees(b"f", found(b"one", mode=0o600, uid=1002, owner="eve"))
    beta.hears(alpha)
    return beta


def test_attributes_half_set_by_a_kill_are_nobodys_change() -> None:
    beta = half_set_pair()
    half = found(b"one", uid=1002, owner="eve")
    assert interrupted(beta, half)
    assert not beta.sees(b"f", half)
    plan = beta.plans(b"f")
    assert plan is not None
    assert (plan.base, plan.meta and plan.meta.mode) == (half, 0o600)


def test_a_mode_that_is_shown_between_two_steps_of_a_change_is_nobodys() -> None:
    eve = {"uid": 1002, "owner": "eve"}
    for mode, owner in ((0o640, {}), (0o754, eve), (0o640, eve)):
        alpha, beta = sides("alpha", "beta")
        alpha.sees(b"f", found(b"one", mode=0o4754))
        beta.hears(alpha)
        beta.shows(b"f", found(b"one", mode=0o4754))
        alpha.sees(b"f", found(b"one", mode=0o2640, **eve))
        beta.hears(alpha)
        half = found(b"one", mode=mode, **owner)
        assert interrupted(beta, half)
        assert not beta.sees(b"f", half)


def test_what_is_half_set_stands_no_longer_for_what_was_applied_before() -> None:
    alpha, beta = sides("alpha", "beta")
    carols = {"uid": 1001, "owner": "carol"}
    alpha.sees(b"f", found(b"one", mtime_ns=1_000_000_123, uid=1001, owner="bob"))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one", mtime_ns=1_000_000_000, **carols))
    alpha.sees(b"f", found(b"one", mode=0o600, mtime_ns=5, uid=1001, owner="bob"))
    beta.hears(alpha)
    assert interrupted(beta, found(b"one", mode=0o600, mtime_ns=5, **carols))
    applied = beta.row(b"f").applied
    assert (applied.meta and applied.meta.mode, applied.mtime_ns) == (0o600, None)
    assert applied.meta is not None
    assert applied.meta.owner == "bob", "a field that was not set stands for what it stood for"
    alpha.sees(b"f", found(b"one", mtime_ns=1_000_000_123, uid=1001, owner="bob"))
    beta.hears(alpha)
    plan = beta.plans(b"f")
    assert plan is not None
    assert (plan.meta and plan.meta.mode, plan.mtime_ns) == (0o644, 1_000_000_123)


def test_what_somebody_wrote_after_attributes_were_half_set_is_his_and_no_more() -> None:
    beta = half_set_pair()
    written = found(b"written since", mtime_ns=5, uid=1002, owner="eve")
    assert interrupted(beta, written)
    assert beta.sees(b"f", written)
    assert beta.counter() == 1, "the content alone is a change"


def test_another_file_in_the_place_of_one_with_attributes_half_set_is_somebodys() -> None:
    beta = half_set_pair()
    assert not interrupted(beta, found(b"one", mode=0o600, inode=9))


def test_nothing_was_interrupted_before_it_began() -> None:
    beta = half_set_pair()
    assert not interrupted(beta, found(b"one", uid=1001, owner="bob"))
