"""Which entry is live: total, the same whatever the order, and what the names of csync2 promise."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csfs.core.objects import Content, Kind, Meta
from csfs.core.policies import Ranks, content_winner, is_content_conflict, is_meta_conflict, live_meta, meta_winner
from csfs.core.privileges import limited
from csfs.core.records import ContentEntry, Half, MetaEntry
from csfs.core.versions import Dot, Hlc, Incarnation
from tests.core import histories
from tests.core.histories import Step

NAMES = ["younger", "older", "bigger", "smaller", "first", "left", "right", "none", "merge"]
RANKS = {Incarnation(1): 2, Incarnation(2): 0, Incarnation(3): 1}
groups: st.SearchStrategy[Ranks] = st.dictionaries(
    st.sampled_from([Incarnation(number + 1) for number in range(histories.MEMBERS)]), st.integers(0, 3)
)
"""Places in a group, of which some may have two lives of one member, or be of members that were removed."""


def dot(member: int, counter: int = 1) -> Dot:
    return Dot(Incarnation(member), counter)


def edit(
    member: int, *, mtime_ns: int = 0, size: int = 0, hlc: int = 0, kind: Kind = Kind.FILE, data: int | None = None
) -> ContentEntry:
    content_hash = bytes([member if data is None else data]) * 32 if kind is Kind.FILE else b""
    return ContentEntry(dot(member), Hlc(hlc), Content(kind, size, content_hash, mtime_ns))


def chmod(member: int, mode: int, *, hlc: int = 0, content_hash: bytes = b"", **fields: object) -> MetaEntry:
    return MetaEntry(dot(member), Hlc(hlc), Meta(mode, 0, 0, **fields), Kind.FILE, content_hash)  # type: ignore[arg-type]


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(histories.steps, st.lists(st.sampled_from(NAMES), max_size=3), groups, st.integers(0, 1000))
def test_a_winner_is_one_of_the_entries_whatever_their_order(
    history: list[Step], policy: list[str], ranks: Ranks, seed: int
) -> None:
    for record in histories.records(history):
        entries, metas = list(record.content.entries), list(record.meta.entries)
        winner, meta = content_winner(entries, policy, ranks), meta_winner(metas, policy, ranks)
        assert (winner in entries) if entries else winner is None
        content, snapshot = winner.value if winner is not None else Content(Kind.FILE), Meta(0o600, 0, 0)
        live = live_meta(record.meta, content, snapshot, policy, ranks)
        Random(seed).shuffle(entries)
        Random(seed).shuffle(metas)
        assert content_winner(entries, policy, ranks) == winner
        assert meta_winner(metas, policy, ranks) == meta
        assert live_meta(Half(tuple(metas)), content, snapshot, policy, ranks) == live


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(histories.steps, st.lists(st.sampled_from(sorted({*NAMES} - {"none"})), max_size=3), groups)
def test_what_a_member_shows_decides_nothing_unless_the_policy_says_so(
    history: list[Step], policy: list[str], ranks: Ranks
) -> None:
    for record in histories.records(history):
        entries, metas = record.content.entries, record.meta.entries
        winners = {content_winner(entries, policy, ranks, shown) for shown in (None, *(e.dot for e in entries))}
        assert len(winners) == 1
        assert len({meta_winner(metas, policy, ranks, shown) for shown in (None, *(e.dot for e in metas))}) == 1


@pytest.mark.parametrize(
    ("policy", "entries", "winner"),
    [
        ("younger", [edit(1, mtime_ns=5), edit(2, mtime_ns=9), edit(3, mtime_ns=7)], 2),
        ("older", [edit(1, mtime_ns=5), edit(2, mtime_ns=9), edit(3, mtime_ns=7)], 1),
        ("bigger", [edit(1, size=5), edit(2, size=9), edit(3, size=7)], 2),
        ("smaller", [edit(1, size=5), edit(2, size=9), edit(3, size=7)], 1),
        ("first", [edit(1, hlc=9), edit(2, hlc=8), edit(3, hlc=7)], 3),
        ("left", [edit(1), edit(2), edit(3)], 2),
        ("right", [edit(1), edit(2), edit(3)], 1),
        ("left", [edit(4), edit(1)], 1),
        ("right", [edit(4), edit(2)], 2),
        ("none", [edit(2), edit(3)], 2),
        ("younger", [edit(1, mtime_ns=5, hlc=1), edit(2, mtime_ns=5, hlc=2)], 2),
        ("younger", [edit(1), edit(2)], 2),
        ("first", [edit(1), edit(2)], 1),
    ],
)
def test_each_policy_picks_what_its_name_says(policy: str, entries: list[ContentEntry], winner: int) -> None:
    found = content_winner(entries, [policy], RANKS)
    assert found is not None
    assert found.dot.incarnation == winner


def test_a_tie_goes_to_the_next_policy() -> None:
    entries = [edit(1, size=4, mtime_ns=9), edit(2, size=4, mtime_ns=3), edit(3, size=1, mtime_ns=1)]
    found = content_winner(entries, ["merge", "bigger", "older"], RANKS)
    assert found is entries[1]


@pytest.mark.parametrize("policy", NAMES)
def test_an_edit_beats_a_delete_whatever_the_policy(policy: str) -> None:
    change, delete = edit(1, mtime_ns=1, hlc=1), edit(2, kind=Kind.ABSENT, hlc=9)
    assert content_winner([change, delete], [policy], RANKS, delete.dot) is change
    assert not is_content_conflict([change, delete])


@pytest.mark.parametrize("policy", NAMES)
def test_anything_beats_an_empty_directory(policy: str) -> None:
    file, directory = edit(1), edit(2, kind=Kind.DIRECTORY, hlc=9)
    assert content_winner([file, directory], [policy], RANKS, directory.dot) is file


@pytest.mark.parametrize("policy", NAMES)
def test_bytes_lose_to_what_was_made_from_them(policy: str) -> None:
    base = dot(9)
    touched = ContentEntry(dot(1), Hlc(9), Content(Kind.FILE, 9, b"b" * 32, mtime_ns=99), origin=base)
    edited = ContentEntry(dot(2), Hlc(1), Content(Kind.FILE, 1, b"e" * 32, mtime_ns=1), parents=(base,))
    again = ContentEntry(dot(3), Hlc(2), Content(Kind.FILE, 9, b"b" * 32, mtime_ns=50), origin=base)
    assert content_winner([touched, edited, again], [policy], RANKS) is edited
    assert content_winner([again, edited, touched], [policy], RANKS) is edited


def test_entries_that_claim_to_be_made_from_each_other_still_have_a_winner() -> None:
    one = ContentEntry(dot(1), Hlc(0), Content(Kind.FILE, 1, b"1" * 32), parents=(dot(2),))
    two = ContentEntry(dot(2), Hlc(0), Content(Kind.FILE, 2, b"2" * 32), parents=(dot(1),))
    assert content_winner([one, two], ["bigger"], RANKS) is two


def test_none_shows_what_was_shown_but_never_for_conflicts_of_kind() -> None:
    one, two = edit(1), edit(2)
    assert content_winner([one, two], ["none"], RANKS, two.dot) is two
    assert content_winner([one, two], ["none"], RANKS, dot(7)) is one
    link = edit(3, kind=Kind.SYMLINK, mtime_ns=9)
    assert content_winner([one, link], ["none"], RANKS, one.dot) is link


def test_equal_bytes_are_no_conflict_and_none_leaves_nothing_open() -> None:
    one, two = edit(1, data=5, mtime_ns=3), edit(2, data=5, mtime_ns=9)
    assert not is_content_conflict([one, two])
    assert content_winner([one, two], ["none"], RANKS, one.dot) is two


def test_meta_of_another_kind_is_not_eligible_and_the_snapshot_counts() -> None:
    content = Content(Kind.DIRECTORY)
    snapshot = Meta(0o750, 1, 1)
    assert live_meta(Half((chmod(1, 0o600),)), content, snapshot, ["younger"], RANKS) == (snapshot, None)


def test_setuid_and_capabilities_count_only_for_the_content_they_were_given_to() -> None:
    capability = ((b"security.capability", b"cap"), (b"user.note", b"n"))
    half = Half((chmod(1, 0o4755, content_hash=b"h" * 32, xattrs=capability),))
    ours = live_meta(half, Content(Kind.FILE, hash=b"h" * 32), None, ["younger"], RANKS)[0]
    other = live_meta(half, Content(Kind.FILE, hash=b"o" * 32), None, ["younger"], RANKS)[0]
    assert ours is not None
    assert other is not None
    assert (ours.mode, ours.xattrs) == (0o4755, capability)
    assert (other.mode, other.xattrs) == (0o755, capability[1:])


def test_concurrent_metas_grant_only_what_all_of_them_allow() -> None:
    half = Half((chmod(1, 0o600, hlc=1), chmod(2, 0o644, hlc=2)))
    meta, winner = live_meta(half, Content(Kind.FILE), None, ["younger"], RANKS)
    assert winner == dot(2)
    assert meta is not None
    assert meta.mode == 0o600
    assert is_meta_conflict(half.entries)


def test_the_mask_of_an_acl_is_limited_with_the_mode() -> None:
    def entry(tag: int, permissions: int) -> bytes:
        return tag.to_bytes(2, "little") + permissions.to_bytes(2, "little") + b"\xff" * 4

    tags = (0x01, 0x02, 0x04, 0x10, 0x20)
    acl = b"\x02\0\0\0" + b"".join(entry(tag, 7) for tag in tags)
    found = limited(Meta(0o777, 0, 0, xattrs=((b"system.posix_acl_access", acl),)), [Meta(0o750, 0, 0)])
    wanted = b"\x02\0\0\0" + b"".join(entry(tag, {0x10: 5, 0x20: 0}.get(tag, 7)) for tag in tags)
    assert found.mode == 0o750
    assert found.xattrs == ((b"system.posix_acl_access", wanted),)
