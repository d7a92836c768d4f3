"""After a power cut: what the journal proves is somebody's, the rest is nobody's change, and is mended (R24)."""

import pytest

from csfs.core.changes import Change, ChangeKind, Synced
from csfs.core.groups import Group
from csfs.core.objects import Kind, Observation
from csfs.core.paths import RelPath
from csfs.core.versions import Scope
from csfs.engine.evidence import Evidence
from csfs.engine.live import ABSENT
from csfs.engine.ports import Row, Step
from csfs.engine.volume import VolumeEngine
from csfs.engine.whereabouts import There
from scripts.simulation.rules import OneGroup
from tests.engine.members import NOW_NS, Side, directory, follow_rules, found, sides

BOOTED_NS = 1_000
F, G, H, D = RelPath(b"f"), RelPath(b"g"), RelPath(b"h"), RelPath(b"d")


def change(kind: ChangeKind, path: RelPath, target: RelPath | None = None, **fields: int) -> Change:
    return Change(
        sequence=fields.get("sequence", 0), kind=kind, path=path, target=target, time_ns=fields.get("time_ns", 0)
    )


def synced(path: RelPath, observation: Observation, time_ns: int = 0) -> Change:
    stamp = observation.stamp
    proof = Synced(stamp.inode, observation.size, stamp.mtime_ns)
    return Change(sequence=0, kind=ChangeKind.SYNCED, path=path, synced=proof, time_ns=time_ns)


def row(data: bytes | None = b"old") -> Row | None:
    """Return the row of a path that shows this."""
    if data is None:
        return None
    (alpha,) = sides("alpha")
    alpha.sees(b"f", found(data))
    return alpha.row(b"f")


def is_damage(
    after: Observation | None,
    *changes: Change,
    before: bytes | None = b"old",
    path: RelPath = F,
    there: dict[bytes, int] | None = None,
    torn: bytes = b"",
) -> bool:
    """`there` is what else the disk shows now, as inode numbers by path (what was known is 1); what is at `torn` is not believed."""
    evidence = Evidence(BOOTED_NS)
    for one in changes:
        evidence.take(one)
    return evidence.is_damage(
        path, row(before), after, None, lambda one: There((there or {}).get(bytes(one), 0), one == torn)
    )


def nowhere(path: RelPath) -> There:
    """Nothing is at any path."""
    return There()


NEW = found(b"newer", mtime_ns=7)
"""Of before this boot."""


def test_what_was_changed_in_this_boot_is_a_change() -> None:
    assert not is_damage(found(b"newer", mtime_ns=BOOTED_NS))
    assert is_damage(found(b"newer", mtime_ns=BOOTED_NS - 1))


@pytest.mark.parametrize("after", [found(b""), found(b"ol"), NEW, found(b"\0\0\0")])
@pytest.mark.parametrize("before", [b"old", None])
def test_bytes_that_nobody_saw_on_the_disk_are_not_believed(after: Observation, before: bytes | None) -> None:
    assert is_damage(after, before=before)
    assert is_damage(after, change(ChangeKind.CREATE, F), change(ChangeKind.CONTENT, F), before=before), "it was tried"


@pytest.mark.parametrize("before", [b"old", None])
def test_bytes_that_were_synced_are_believed(before: bytes | None) -> None:
    rows = change(ChangeKind.CREATE, F), change(ChangeKind.CONTENT, F), synced(F, NEW)
    assert not is_damage(NEW, *rows, before=before)
    assert is_damage(found(b"newest", mtime_ns=7), *rows, before=before), "of another size"
    assert is_damage(found(b"newer", mtime_ns=8), *rows, before=before), "written to later"
    assert is_damage(found(b"newer", mtime_ns=7, inode=2), *rows, before=before), "another object"
    assert not is_damage(found(b"newer", mtime_ns=6), *rows, before=before), "fdatasync leaves the time behind"


def test_what_was_written_after_it_was_synced_is_not_believed() -> None:
    assert is_damage(NEW, synced(F, NEW), change(ChangeKind.CONTENT, F))
    assert not is_damage(NEW, synced(F, NEW), change(ChangeKind.CONTENT, G))
    assert is_damage(NEW, synced(G, NEW), change(ChangeKind.RENAME, G, F), change(ChangeKind.CONTENT, F))


def test_a_file_that_was_synced_and_renamed_is_believed_whether_or_not_the_rename_is_in_the_journal() -> None:
    assert not is_damage(NEW, synced(G, NEW), change(ChangeKind.RENAME, G, F))
    assert not is_damage(NEW, synced(G, NEW))


def test_a_file_that_was_renamed_before_it_was_synced_is_not_believed() -> None:
    assert is_damage(found(b""), change(ChangeKind.CREATE, G), change(ChangeKind.RENAME, G, F))


def test_what_moved_with_known_bytes_is_believed() -> None:
    evidence = Evidence(BOOTED_NS)
    evidence.take(change(ChangeKind.RENAME, G, F))
    assert not evidence.is_damage(F, None, NEW, NEW, nowhere)
    assert evidence.is_damage(F, None, found(b""), NEW, nowhere)


@pytest.mark.parametrize("kind", [Kind.SYMLINK, Kind.DIRECTORY, Kind.FIFO])
def test_what_is_in_a_directory_that_was_renamed_is_believed_whatever_it_is(kind: Kind) -> None:
    """No row names it, and something that was removed since may have been known at its path."""
    (alpha,) = sides("alpha")
    for name in (b"d/f", b"d"):
        alpha.sees(name, found(b"old"))
        alpha.sees(name, None)
    moved, another = (found(b"x", kind=kind, inode=inode) for inode in (7, 8))
    evidence, path = Evidence(BOOTED_NS), RelPath(b"d/f")
    evidence.take(change(ChangeKind.RENAME, G, D))
    assert not evidence.is_damage(path, alpha.row(b"d/f"), moved, moved, nowhere)
    assert evidence.is_damage(path, alpha.row(b"d/f"), moved, None, nowhere), "nobody says that it came from there"
    assert evidence.is_damage(path, alpha.row(b"d/f"), another, moved, nowhere), "it is another one"


def test_what_is_gone_is_not_believed_unless_a_row_says_so() -> None:
    assert is_damage(None)
    assert is_damage(None, change(ChangeKind.CONTENT, F))
    assert not is_damage(None, change(ChangeKind.REMOVE, F))
    assert is_damage(None, change(ChangeKind.REMOVE, F), change(ChangeKind.CREATE, F)), "made again since"
    assert not is_damage(None, before=None)


def rename(source: RelPath, target: RelPath) -> Change:
    return change(ChangeKind.RENAME, source, target)


def exchange(source: RelPath, target: RelPath) -> Change:
    return change(ChangeKind.EXCHANGE, source, target)


def remove(path: RelPath) -> Change:
    return change(ChangeKind.REMOVE, path)


def create(path: RelPath) -> Change:
    return change(ChangeKind.CREATE, path)


def test_what_was_renamed_is_gone_if_it_is_where_it_went() -> None:
    assert not is_damage(None, rename(F, G), there={b"g": 1})
    assert is_damage(None, rename(F, G)), "it is nowhere"
    assert is_damage(None, rename(F, G), there={b"g": 2}), "something else is there, as before the rename"
    assert is_damage(None, rename(F, G), there={b"g": 1}, torn=b"g"), "nobody has what it was"


def test_what_was_renamed_is_gone_if_it_was_taken_away_from_where_it_went() -> None:
    assert not is_damage(None, rename(F, G), remove(G))
    assert not is_damage(None, rename(F, G), rename(H, G), there={b"g": 2}), "it was replaced there"
    assert not is_damage(None, rename(F, G), rename(H, G)), "by what is gone itself"
    assert not is_damage(None, rename(F, G), change(ChangeKind.LINK, H, G))
    assert is_damage(None, remove(G), rename(H, G), rename(F, G)), "before it came there"


def test_what_was_renamed_on_is_followed() -> None:
    assert not is_damage(None, rename(F, G), rename(G, H), there={b"h": 1})
    assert is_damage(None, rename(F, G), rename(G, H), there={b"g": 1, b"h": 2})
    assert not is_damage(None, rename(F, G), exchange(G, H), there={b"g": 2, b"h": 1})
    assert is_damage(None, rename(F, G), exchange(G, H), there={b"g": 2})
    assert is_damage(None, rename(F, G), rename(G, F)), "it was to be back"


def test_what_was_exchanged_is_not_gone() -> None:
    assert is_damage(None, exchange(F, G))
    assert is_damage(None, exchange(F, G), there={b"g": 1}), "something was to be there"
    assert not is_damage(None, exchange(F, G), remove(F), there={b"g": 1})
    assert is_damage(None, exchange(F, G), remove(F)), "what was known is nowhere, and nobody has removed that"


def test_of_what_was_put_in_its_place_and_renamed_something_has_to_be_there() -> None:
    saved = rename(H, F), rename(F, G)
    assert not is_damage(None, *saved, there={b"g": 7})
    assert is_damage(None, *saved)
    assert not is_damage(None, *saved, remove(G))
    assert is_damage(None, rename(F, G), create(F), remove(F)), "the one before is nowhere"
    assert not is_damage(None, rename(F, G), create(F), remove(F), there={b"g": 1})


def test_what_a_program_of_this_boot_took_away_was_there() -> None:
    now = {"time_ns": BOOTED_NS}
    assert not is_damage(None, change(ChangeKind.RENAME, F, G, **now))
    assert not is_damage(None, rename(F, G), change(ChangeKind.REMOVE, G, **now))
    assert not is_damage(None, rename(F, G), change(ChangeKind.RENAME, G, H, **now))
    assert is_damage(None, rename(F, G), change(ChangeKind.CREATE, G, **now), there={b"g": 2}), (
        "made as nothing was there"
    )


def test_rows_that_are_told_again_say_nothing_new() -> None:
    first, second = change(ChangeKind.REMOVE, F, sequence=1), change(ChangeKind.CREATE, F, sequence=2)
    assert is_damage(None, first, second, first)
    evidence = Evidence(BOOTED_NS)
    evidence.count_in(b"one")
    evidence.take(change(ChangeKind.CREATE, F, sequence=2))
    evidence.count_in(b"one")
    evidence.take(change(ChangeKind.REMOVE, F, sequence=1))
    assert evidence.is_damage(F, row(), None, None, nowhere)
    evidence.count_in(b"another")
    evidence.take(change(ChangeKind.REMOVE, F, sequence=1))
    assert not evidence.is_damage(F, row(), None, None, nowhere)


def test_what_was_in_a_directory_that_went_is_gone_if_it_is_where_that_went() -> None:
    inside = RelPath(b"d/f")
    assert not is_damage(None, rename(D, G), path=inside, there={b"g/f": 1})
    assert not is_damage(None, exchange(D, G), path=inside, there={b"g/f": 1})
    assert not is_damage(None, rename(D, G), remove(RelPath(b"g/f")), path=inside)
    assert not is_damage(None, rename(D, G), create(D), path=inside, there={b"g/f": 1})
    assert not is_damage(None, rename(inside, H), rename(D, G), path=inside, there={b"h": 1})
    assert not is_damage(None, rename(D, G), rename(RelPath(b"g/f"), H), path=inside, there={b"h": 1})
    assert is_damage(None, rename(D, G), path=inside, there={b"g": 1}), "the directory is there, and this is not in it"
    assert is_damage(None, remove(RelPath(b"g/f")), rename(D, G), path=inside), "of what was there before"
    assert is_damage(None, rename(D, G), path=D)
    assert not is_damage(None, rename(D, G), path=D, there={b"g": 1})
    assert not is_damage(None, remove(D), create(D), path=inside)
    assert is_damage(None, rename(G, D), path=inside)


@pytest.mark.parametrize("now", [found(b"came", inode=2), directory(inode=2)])
def test_what_took_the_place_of_what_is_lost_stands_beside_it(now: Observation) -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one", mtime_ns=5, mode=0o600))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one", mtime_ns=5, mode=0o600))
    evidence = Evidence(BOOTED_NS)
    for one in (rename(F, G), rename(H, F)):
        evidence.take(one)
    assert not evidence.is_damage(F, beta.row(b"f"), directory(inode=2), None, nowhere)
    assert evidence.is_lost(F, beta.row(b"f"), now, nowhere)
    assert not evidence.is_lost(F, beta.row(b"f"), now, lambda path: There(int(path == G))), "it is where it went"
    assert evidence.is_lost(F, beta.row(b"f"), now, lambda path: There(int(path == G), is_torn=True)), (
        "what it was is not"
    )
    assert not evidence.is_lost(F, beta.row(b"f"), found(b"one"), nowhere), "it has not gone"
    beta.engine.lose(F)
    assert beta.sees(b"f", now)
    alpha.hears(beta)
    for side in (alpha, beta):
        assert len(side.row(b"f").record.content.entries) == len(side.row(b"f").record.meta.entries) == 2
    plan = beta.plans(b"f")
    assert plan is not None, "it is younger, or better than an empty directory"
    assert (plan.room_for or plan.content).size == 3
    assert plan.meta is None or plan.meta.mode == 0o600


def test_attributes_are_believed_if_a_row_names_the_path() -> None:
    other = found(b"old", mode=0o600)
    assert is_damage(other)
    assert not is_damage(other, change(ChangeKind.META, F))


@pytest.mark.parametrize("mode", [0o644, 0o755])
@pytest.mark.parametrize("kind", [Kind.SYMLINK, Kind.DIRECTORY, Kind.FIFO])
def test_attributes_do_not_say_that_what_a_peers_file_replaced_was_put_back(kind: Kind, mode: int) -> None:
    """Before the file was applied, something else was there, of the same attributes or of others."""
    (alpha,) = sides("alpha")
    alpha.sees(b"f", found(b"old", mode=mode))
    back = found(b"x" if kind is Kind.SYMLINK else b"", kind=kind, inode=2, mode=0o755)
    for rows, expected in (((), True), ((change(ChangeKind.META, F),), True), ((rename(H, F),), False)):
        evidence = Evidence(BOOTED_NS)
        for one in rows:
            evidence.take(one)
        assert evidence.is_damage(F, alpha.row(b"f"), back, None, nowhere) == expected


def test_a_new_directory_cannot_be_torn_and_one_that_is_back_is_not_believed() -> None:
    assert not is_damage(directory(), before=None)
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"d", directory())
    alpha.sees(b"d", None)
    beta.hears(alpha)
    assert Evidence(BOOTED_NS).is_damage(D, beta.row(b"d"), directory(), None, nowhere)


# ------------------------------------------------------------------------------------------------------ what is not believed


def cut(after: Observation | None) -> tuple[Side, Side]:
    """Two members that had `one` at f; then beta finds this."""
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one"))
    made = beta.counter()
    assert beta.engine.doubt(F, after)
    assert beta.counter() == made, "nothing is made of it"
    return alpha, beta


@pytest.mark.parametrize("after", [found(b"", mtime_ns=5), None, directory()])
def test_what_is_not_believed_is_put_right_and_kept(after: Observation | None) -> None:
    _, beta = cut(after)
    plan = beta.plans(b"f")
    assert plan is not None
    assert plan.keep == (after is not None and after.kind is Kind.FILE)
    assert plan.content.size == 3 or plan.step is Step.REMOVE, "a directory is in the way of what comes back"
    if after is None or after.kind is Kind.FILE:
        beta.shows(b"f", found(b"one", inode=9))
        assert beta.plans(b"f") is None


def test_what_a_peer_knows_better_is_adopted() -> None:
    alpha, beta = cut(found(b"two", mtime_ns=5))
    alpha.sees(b"f", found(b"two", mtime_ns=5))
    beta.hears(alpha)
    assert beta.plans(b"f") is None
    assert not beta.row(b"f").pending
    assert beta.row(b"f").applied.content_dot == alpha.row(b"f").applied.content_dot


def test_who_writes_to_it_in_this_boot_replaces_what_was_known() -> None:
    alpha, beta = cut(found(b"", mtime_ns=5))
    assert beta.sees(b"f", found(b"mine", mtime_ns=6))
    assert len(beta.row(b"f").record.content.entries) == 1
    alpha.hears(beta)
    assert len(alpha.row(b"f").record.content.entries) == 1


def test_what_nobody_knows_stays_and_is_not_sent() -> None:
    alpha, beta = sides("alpha", "beta")
    assert beta.engine.doubt(F, found(b""))
    assert beta.plans(b"f") is None
    assert not beta.row(b"f").pending
    alpha.hears(beta)
    assert alpha.index.row(F) is None
    assert not beta.sees(b"f", found(b"")), "a later look finds nothing new"


def test_what_nobody_knew_gives_way_to_a_peer_s_version_and_is_kept() -> None:
    alpha, beta = sides("alpha", "beta")
    beta.engine.doubt(F, found(b""))
    alpha.sees(b"f", found(b"whole"))
    beta.hears(alpha)
    plan = beta.plans(b"f")
    assert plan is not None
    assert (plan.content.size, plan.keep) == (5, True)


def test_a_person_takes_it_as_it_is() -> None:
    alpha, beta = cut(None)
    beta.engine.settle(F, ABSENT, None, NOW_NS)
    assert beta.plans(b"f") is None
    alpha.hears(beta)
    plan = alpha.plans(b"f")
    assert plan is not None
    assert plan.step is Step.REMOVE


def test_attributes_that_are_back_are_set_again() -> None:
    alpha, beta = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one", mode=0o600))
    beta.hears(alpha)
    beta.shows(b"f", found(b"one", mode=0o600))
    assert beta.engine.doubt(F, found(b"one", mode=0o644))
    plan = beta.plans(b"f")
    assert plan is not None
    assert plan.meta is not None
    assert (plan.step, plan.meta.mode) == (Step.ATTRIBUTES, 0o600)


def test_what_is_as_it_was_is_not_doubted() -> None:
    alpha, _ = sides("alpha", "beta")
    alpha.sees(b"f", found(b"one"))
    assert not alpha.engine.doubt(F, found(b"one", inode=4))
    assert alpha.row(b"f").applied.content_dot is not None


def test_what_was_made_while_a_member_only_received_is_no_damage_once_the_others_listen_to_it() -> None:
    _, gamma = sides("alpha", "gamma", receive_only=("gamma",))
    gamma.engine.doubt(G, found(b""))
    gamma.sees(b"f", found(b"mine", inode=2))
    group = Group(("alpha", "gamma"), frozenset(), ("younger",), Scope(b"scope-02"))
    gamma.engine = VolumeEngine(gamma.index, OneGroup(group), "gamma", gamma.engine._incarnation, gamma.engine._authors)
    follow_rules(gamma.engine)
    plan = gamma.plans(b"f")
    assert plan is not None, "it is put back as it would have been before"
    assert (plan.step, plan.keep) == (Step.REMOVE, True)
    assert gamma.plans(b"g") is None, "what a power cut has left stays"


@pytest.mark.parametrize("kind", [Kind.FILE, Kind.SYMLINK])
def test_a_chmod_does_not_take_away_what_nobody_knows(kind: Kind) -> None:
    _, beta = sides("alpha", "beta")
    beta.engine.doubt(F, found(b"torn", kind=kind))
    assert not beta.sees(b"f", found(b"torn", kind=kind, mode=0o600))
    assert beta.plans(b"f") is None
    assert beta.row(b"f").record.meta.entries == ()
