"""What `csfs log` is told: each change in one word, by whom, and in order over several volumes."""

import msgspec
import pytest

from csfs.core.changes import Change, ChangeKind
from csfs.core.objects import Kind, Observation
from csfs.core.paths import ROOT, RelPath
from csfs.core.rows import Plan, Step
from csfs.core.versions import Dot, Incarnation
from csfs.engine.live import content_of
from csfs.replicate import happenings
from csfs.replicate.happenings import NOBODY, Happenings, Writer
from tests.engine.members import directory, found

F = RelPath(b"d/f")
SHOWN = found(b"one")


def plan_of(base: Observation | None, step: Step = Step.INSTALL) -> Plan:
    """Return a plan for a content of beta's with attributes of gamma's."""
    return Plan(
        path=F,
        step=step,
        expected=None,
        base=base,
        content=content_of(SHOWN),
        meta=None,
        mtime_ns=None,
        keep=False,
        content_dot=Dot(Incarnation(2), 1),
        content_seen={},
        meta_dot=Dot(Incarnation(1), 1),
        meta_seen={},
    )


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (None, SHOWN, ["made"]),
        (SHOWN, None, ["removed"]),
        (SHOWN, found(b"two"), ["written"]),
        (SHOWN, found(b"one", mode=0o600), ["attributes"]),
        (SHOWN, found(b"one", mtime_ns=9), ["touched"]),
        (SHOWN, directory(), ["replaced"]),
        (directory(), directory(mtime_ns=9), []),
        (SHOWN, msgspec.structs.replace(SHOWN, stamp=directory().stamp), []),
        (None, None, []),
    ],
)
def test_a_change_is_told_in_one_word(before: Observation | None, after: Observation | None, what: list[str]) -> None:
    assert Kind.FILE is SHOWN.kind
    log = Happenings("alpha")
    log.made_here(F, before, after)
    log.came(plan_of(before), after, {Incarnation(1): "gamma", Incarnation(2): "beta"})
    told = [(one.what, one.member, one.writer) for one in log.since(0, ROOT)]
    assert told == [(one, member, NOBODY) for one in what for member in ("beta", "alpha")]


def test_attributes_are_the_change_of_whoever_set_them() -> None:
    log = Happenings("alpha")
    authors = {Incarnation(1): "gamma", Incarnation(2): "beta"}
    for step in (Step.ATTRIBUTES, Step.INSTALL):
        log.came(plan_of(SHOWN, step), found(b"one", mode=0o600), authors)
    log.came(plan_of(None), SHOWN, {})
    assert [one.member for one in log.since(0, ROOT)] == ["", "beta", "gamma"]


def test_who_did_it_is_said_once_and_at_both_names_of_a_rename() -> None:
    log = Happenings("alpha")
    log.told(Change(sequence=1, kind=ChangeKind.RENAME, path=F, target=RelPath(b"g"), uid=7, program="mv"))
    for path, before, after in ((F, SHOWN, None), (RelPath(b"g"), None, SHOWN), (F, None, SHOWN)):
        log.made_here(path, before, after)
    assert [one.writer for one in log.since(0, ROOT)] == [NOBODY, Writer(7, "mv"), Writer(7, "mv")]


def test_only_what_is_below_and_later_is_told_and_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(happenings, "COUNT_MAX", 3)
    monkeypatch.setattr(happenings, "BLOCK_COUNT", 1)
    first, second = Happenings("alpha"), Happenings("alpha")
    for number in range(5):
        (first, second)[number % 2].made_here(RelPath(b"d/%d" % number), None, SHOWN)
    numbers = [one.number for log in (first, second) for one in log.since(0, RelPath(b"d"))]
    assert len(set(numbers)) == 5
    assert [one.path for one in first.since(sorted(numbers)[2], RelPath(b"d"))] == [b"d/4"]
    assert list(first.since(0, RelPath(b"d/1"))) == []
    for number in range(5):
        second.made_here(RelPath(b"%d" % number), None, SHOWN)
    assert [one.path for one in second.since(0, ROOT)] == [b"4", b"3", b"2"]


def test_what_is_packed_is_told_as_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(happenings, "BLOCK_COUNT", 4)
    log = Happenings("alpha")
    for number in range(22):
        path = RelPath(b"d\xff/%d" % number)
        log.told(Change(sequence=number, kind=ChangeKind.CONTENT, path=path, uid=number, program="vi"))
        log.made_here(path, None, SHOWN)
    everything = list(log.since(0, ROOT))
    assert [one.path for one in everything] == [b"d\xff/%d" % number for number in range(21, -1, -1)]
    assert [one.writer for one in everything] == [Writer(number, "vi") for number in range(21, -1, -1)]
    assert {(one.what, one.member, type(one)) for one in everything} == {("made", "alpha", happenings.Happening)}
    for count, one in enumerate(everything):
        assert list(log.since(one.number, ROOT)) == everything[:count]
    assert list(log.since(0, RelPath(b"d\xff/7"))) == [everything[14]]


def test_whoever_was_told_of_has_made_nothing_that_is_found_long_after() -> None:
    log = Happenings("alpha")
    log.told(Change(sequence=1, kind=ChangeKind.CONTENT, path=F, uid=7, program="vi"))
    log.looked_at_all()
    log.made_here(F, None, SHOWN)
    assert [one.writer for one in log.since(0, ROOT)] == [NOBODY]
