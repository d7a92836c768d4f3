"""Patterns, and which group a path belongs to."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csfs.core import groups
from csfs.core.groups import Group, GroupRule, Pattern, Rules
from csfs.core.paths import ROOT, RelPath, ancestors_of, joined


@dataclass(frozen=True)
class Volume:
    rules: tuple[GroupRule, ...]
    name: str = "etc"


def rules_of(*rules: GroupRule, member: str = "alpha") -> Rules:
    return Rules.compiled(Volume(rules), member)


def synced(include: list[str], exclude: list[str], path: bytes) -> bool:
    return rules_of(GroupRule(("alpha",), (), tuple(include), tuple(exclude))).is_synced(RelPath(path))


names = st.binary(min_size=1, max_size=4).filter(
    lambda name: b"/" not in name and b"\0" not in name and name[:1] != b"."
)
paths = st.lists(names, min_size=1, max_size=4).map(lambda parts: RelPath(b"/".join(parts)))


@pytest.mark.parametrize(
    ("pattern", "covered", "not_covered"),
    [
        ("/", [b"", b"a", b"a/b"], []),
        ("/network", [b"network", b"network/if-up.d/x"], [b"", b"network2", b"a/network"]),
        ("/network/", [b"network", b"network/x"], [b"net"]),
        ("*.bak", [b"x.bak", b"a/b/x.bak", b"d.bak/inside"], [b"x.bak2", b"bak"]),
        ("*", [b"a", b"a/b"], [b""]),
        ("/*", [b"a", b"a/b"], [b""]),
        ("/*/b", [b"a/b", b"a/b/c"], [b"b", b"a/c/b"]),
        ("/a/**/z", [b"a/z", b"a/b/z", b"a/b/c/z", b"a/z/below"], [b"z", b"a/zz"]),
        ("**/cache/tmp", [b"cache/tmp", b"a/b/cache/tmp/x"], [b"cache", b"xcache/tmp"]),
        ("/a/**", [b"a/b", b"a/b/c"], [b"a"]),
        ("/a**z", [b"az", b"a/b/z", b"abz"], [b"a"]),
        ("/x?z", [b"xyz", b"x\xffz"], [b"xz", b"x/z", b"x\xc3\xa9z"]),
        ("/[a-c]x", [b"ax", b"cx"], [b"dx", b"/x"]),
        ("/[!a-c]x", [b"dx"], [b"ax"]),
        ("/[]a]", [b"]", b"a"], [b"b"]),
        ("/[[a]", [b"[", b"a"], [b"b"]),
        ("/\\*", [b"*"], [b"a"]),
        ("/caf\u00e9", ["caf\u00e9".encode()], [b"caf"]),
        ("/a+(b)", [b"a+(b)"], [b"aab"]),
        ("/a\\\nb", [b"a\nb"], [b"ab"]),
    ],
)
def test_a_pattern_covers_what_its_description_says(
    pattern: str, covered: list[bytes], not_covered: list[bytes]
) -> None:
    for path in covered:
        assert not synced(["/"], [pattern], path), path
    for path in not_covered:
        assert synced(["/"], [pattern], path), path


@pytest.mark.parametrize("pattern", ["", "a/b", "/a//b", "/a/../b", "./a", "/[a", "/a\\", "/[z-a]", "a\0b"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Pattern.compiled(pattern)


@pytest.mark.parametrize("pattern", ["*.conf", "/a/**/b", "**/a/b", "/a**b/c"])
def test_an_include_that_floats_is_refused_with_the_cure(pattern: str) -> None:
    with pytest.raises(ValueError, match="include a directory"):
        groups.compiled_include(pattern)


def test_directories_above_an_include_are_synced_and_their_other_children_are_not() -> None:
    rules = rules_of(GroupRule(("alpha",), (), ("/a/*/c",)))
    assert [rules.is_synced(RelPath(path)) for path in (b"", b"a", b"a/x", b"a/x/c", b"a/x/c/d")] == [True] * 5
    assert [rules.is_synced(RelPath(path)) for path in (b"b", b"a/x/d", b"a/x/cc")] == [False] * 3


def test_an_exclude_wins_within_its_group_and_a_second_group_makes_the_exception() -> None:
    assert not synced(["/", "/network/kept"], ["/network"], b"network/kept")
    rules = rules_of(GroupRule(("alpha",), (), ("/",), ("/network",)), GroupRule(("beta",), (), ("/network/kept",)))
    first, second = rules.groups
    assert rules.group_of(RelPath(b"network/other")) is None
    assert rules.group_of(RelPath(b"network/kept/x")) is second
    assert rules.group_of(RelPath(b"network")) is second
    assert rules.group_of(ROOT) is first


def test_a_group_that_covers_a_directory_comes_before_one_that_only_passes_through() -> None:
    rules = rules_of(GroupRule(("alpha",), (), ("/x/y",)), GroupRule(("alpha", "beta"), (), ("/",)))
    passing, covering = rules.groups
    assert rules.group_of(RelPath(b"x")) is covering
    assert rules.group_of(RelPath(b"x/y")) is passing


def test_the_group_of_a_path_is_the_same_at_every_member_but_syncing_is_not() -> None:
    rule = GroupRule(("alpha", "beta"), ("gamma",))
    views = [rules_of(rule, member=member) for member in ("alpha", "gamma", "delta")]
    assert len({view.group_of(RelPath(b"f")) for view in views}) == 1
    assert [view.is_synced(RelPath(b"f")) for view in views] == [True, True, False]


def test_a_receive_only_member_is_a_member_that_may_not_send() -> None:
    (group,) = rules_of(GroupRule(("alpha", "beta"), ("gamma",))).groups
    assert group.members == ("alpha", "beta", "gamma")
    assert [group.may_send(name) for name in ("alpha", "gamma", "delta")] == [True, False, False]


@given(paths)
def test_the_reserved_directory_is_never_synced(path: RelPath) -> None:
    assert not synced(["/", "/.csfs"], [], b".csfs")
    assert not synced(["/", "/.csfs/**"], [], b".csfs/" + path)


@given(paths, st.sampled_from(["/", "/a", "/a/*/b", "/[a-m]*", "/a/**"]))
def test_whatever_is_synced_has_all_directories_above_it_synced(path: RelPath, include: str) -> None:
    rules = rules_of(GroupRule(("alpha",), (), (include,)))
    if rules.is_synced(path):
        assert all(rules.is_synced(above) for above in ancestors_of(path))


@given(paths, names, st.sampled_from(["/a", "*b*", "**/a/*", "/*/?", "/a/**"]))
def test_an_exclude_takes_everything_below_along(path: RelPath, name: bytes, exclude: str) -> None:
    rules = rules_of(GroupRule(("alpha",), (), ("/",), (exclude,)))
    if not rules.is_synced(path):
        assert not rules.is_synced(joined(path, name))


@given(st.text(max_size=12))
def test_any_text_is_a_pattern_or_refused_as_one(text: str) -> None:
    refusal = ""
    try:
        rules_of(GroupRule(("alpha",), (), ("/",), (text,))).is_synced(RelPath(b"a/b"))
    except ValueError as error:
        refusal = str(error)
    assert refusal == "" or "pattern" in refusal


def scopes_of(*rules: GroupRule) -> list[bytes]:
    return [groups.scope_of("etc", rule, [rule]) for rule in rules]


def test_a_scope_names_one_revision_of_one_group() -> None:
    rule = GroupRule(("alpha", "beta"), ("gamma",), ("/", "/a"), ("/b", "/c"))
    others = [
        GroupRule(("beta", "alpha"), ("gamma",), ("/", "/a"), ("/b", "/c")),
        GroupRule(("alpha", "beta"), (), ("/", "/a"), ("/b", "/c")),
        GroupRule(("alpha", "beta"), ("gamma",), ("/",), ("/b", "/c")),
        GroupRule(("alpha", "beta"), ("gamma",), ("/", "/a"), ("/b",)),
        GroupRule(("alpha", "beta"), ("gamma",), ("/", "/a"), ("/b", "/c"), ("older",)),
    ]
    scopes = [*scopes_of(rule, *others), groups.scope_of("web", rule, [rule])]
    assert len(set(scopes)) == len(scopes)
    assert {len(scope) for scope in scopes} == {groups.SCOPE_SIZE}


def test_a_group_to_which_paths_may_come_from_another_is_another_revision() -> None:
    private, rest = GroupRule(("alpha",), (), ("/private",)), GroupRule(("alpha", "beta"))
    alone, after, before = (
        rules_of(rest).groups[0],
        rules_of(private, rest).groups[1],
        rules_of(rest, private).groups[0],
    )
    assert len({alone.scope, after.scope, before.scope}) == 3


def test_the_order_of_patterns_does_not_make_a_new_revision() -> None:
    one = GroupRule(("alpha",), (), ("/a", "/b"), ("/c", "/d"))
    other = GroupRule(("alpha",), (), ("/b", "/a"), ("/d", "/c"))
    assert len(set(scopes_of(one, other))) == 1


def test_a_group_is_found_by_its_scope() -> None:
    rules = rules_of(GroupRule(("alpha",)))
    assert rules.group_with(rules.groups[0].scope) is rules.groups[0]
    assert rules.group_with(groups.Scope(b"12345678")) is None


def test_the_memory_of_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "CACHED_PATHS_MAX", 3)
    rules = rules_of(GroupRule(("alpha",), (), ("/",), ("/f1",)))
    for number in range(10):
        assert rules.is_synced(RelPath(b"f%d" % number)) is (number != 1)
        assert len(rules._known) <= 3
    assert isinstance(rules.group_of(RelPath(b"f0")), Group)


def test_a_receive_only_member_may_be_kept_from_changing_what_it_receives() -> None:
    own = GroupRule(("alpha", "gamma"), (), ("/own",), ("/own/*/received",))
    kept, put_back = GroupRule(("alpha",), ("gamma",)), GroupRule(("alpha",), ("gamma",), refuses=False)
    rules = rules_of(own, kept, member="gamma")
    writable, received = rules.groups
    assert [rules.group_of(RelPath(path)) for path in (b"", b"x", b"own/x/received/y")] == [received] * 3
    assert rules.group_of(RelPath(b"own/x")) is writable
    assert (rules.is_refusing(received), rules.is_refusing(writable)) == (True, False)
    for others in (rules_of(own, kept), rules_of(own, put_back, member="gamma")):
        assert not any(map(others.is_refusing, others.groups))
    # The scope says what is known of the paths, and that has not changed.
    assert [one.scope for one in rules.groups] == [one.scope for one in rules_of(own, put_back).groups]


@given(paths, st.sampled_from(["/", "/a", "/*/b", "/a/*/c"]), st.sampled_from(["/x", "*b", "/a/**/z"]))
def test_above_a_path_it_is_known_that_its_group_may_have_some_below(path: RelPath, include: str, exclude: str) -> None:
    rules = rules_of(GroupRule(("alpha",), ("gamma",), (include,), (exclude,)), member="gamma")
    group = rules.group_of(path)
    if group is not None:
        assert all(group in rules.groups_below(above) for above in ancestors_of(path))
