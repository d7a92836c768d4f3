"""The gate's memory of what changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csfs.core.changes import Change, ChangeKind
from csfs.core.paths import ROOT, RelPath, is_below
from csfs.mount import recent as recent_module
from csfs.mount.recent import Recent

PATHS = st.sampled_from([ROOT, *(RelPath(path) for path in (b"a", b"a/b", b"a/b/c", b"a/d", b"ab", b"e"))])


@given(st.lists(PATHS, max_size=12), st.integers(0, 12), PATHS, st.integers(0, 12), st.booleans())
def test_it_answers_as_a_list_of_all_rows_would(
    rows: list[RelPath], pruned: int, path: RelPath, digested: int, with_below: bool
) -> None:
    recent = Recent()
    for sequence, at in enumerate(rows, 1):
        recent.note(sequence, at)
    recent.digested(min(pruned, digested))
    later = [at for sequence, at in enumerate(rows, 1) if sequence > digested]
    expected = any(at == path or is_below(path, at) or (with_below and is_below(at, path)) for at in later)
    assert recent.changed(path, digested, with_below) == expected


def test_nothing_is_remembered_of_what_was_digested() -> None:
    recent = Recent()
    for sequence in range(1, 100):
        recent.note(sequence, RelPath(b"a/b/%d" % sequence))
    recent.digested(99)
    assert len(recent) == 0
    assert not recent.changed(RelPath(b"a"), 99, with_below=True)
    assert recent.changed(RelPath(b"e"), 98, with_below=True)


def test_a_great_many_rows_are_forgotten_little_by_little() -> None:
    recent = Recent()
    count = 3 * recent_module.FORGOTTEN_AT_ONCE_MAX
    for sequence in range(1, count + 1):
        recent.note(sequence, RelPath(b"a/%d" % sequence))
    recent.digested(count)
    assert len(recent) == count - recent_module.FORGOTTEN_AT_ONCE_MAX
    assert not recent.changed(RelPath(b"a"), count, with_below=True)
    recent.note(count + 1, RelPath(b"b"))
    assert len(recent) == count + 1 - recent_module.FORGOTTEN_AT_ONCE_MAX - recent_module.FORGOTTEN_WITH_EACH
    for _ in range(2):
        recent.digested(count)
    assert len(recent) == 1


def test_a_memory_that_is_full_refuses_what_it_no_longer_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_module, "ROWS_MAX", 10)
    recent = Recent()
    for sequence in range(1, 21):
        recent.note(sequence, RelPath(b"%d" % sequence))
    assert recent.changed(RelPath(b"elsewhere"), 9, with_below=False)
    assert not recent.changed(RelPath(b"elsewhere"), 10, with_below=False)
    assert recent.changed(RelPath(b"20"), 10, with_below=False)


def test_what_was_done_to_an_object_counts_for_names_that_nobody_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_module, "INODES_MAX", 2)
    recent = Recent()
    for sequence, inode in enumerate((7, 8, 7), 1):
        recent.note_change(Change(sequence=sequence, kind=ChangeKind.META, path=RelPath(b"a")), inode)
    assert recent.changed(RelPath(b"b"), 2, with_below=False, inode=7)
    assert not recent.changed(RelPath(b"b"), 3, with_below=False, inode=7)
    assert not recent.changed(RelPath(b"b"), 2, with_below=False, inode=8)
    recent.note_change(Change(sequence=4, kind=ChangeKind.META, path=RelPath(b"a")), 9)
    assert recent.changed(RelPath(b"b"), 1, with_below=False, inode=8), (
        "forgotten: whatever was decided before is refused"
    )


def test_commits_decided_before_the_mount_started_are_refused() -> None:
    recent = Recent(floor=7)
    assert recent.changed(RelPath(b"a"), 6, with_below=False)
    assert not recent.changed(RelPath(b"a"), 7, with_below=False)


def test_the_directories_above_deep_ones_are_not_all_remembered() -> None:
    recent = Recent()
    for depth in range(1, 1_000):
        recent.note(depth, RelPath(b"/".join([b"d"] * depth)))
    remembered = sum(map(len, recent._above.values()))
    assert remembered <= recent_module.DEPTH_REMEMBERED_MAX**2
    assert recent.changed(RelPath(b"d/d"), 998, with_below=True)
    assert not recent.changed(RelPath(b"e"), 998, with_below=True)
