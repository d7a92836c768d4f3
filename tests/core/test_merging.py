"""Three-way merges: what both sides did is in the result, whichever side is asked first, or there is no result."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csfs.core import accounts, merging
from csfs.core.accounts import GROUP, GSHADOW, PASSWD, SHADOW, SUBORDINATE
from csfs.core.merging import DATABASES, MERGED_SIZE_MAX, merged

many = settings(max_examples=1000, deadline=None)

# ------------------------------------------------------------------------------------------------------------------- text

lines = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"\n", b"d\r\n"]), max_size=9)
texts = st.tuples(lines, st.sampled_from([b"", b"end", b"\xe9"])).map(lambda parts: b"".join([*parts[0], parts[1]]))


@many
@given(texts, texts, texts)
def test_text_is_merged_alike_from_both_sides(base: bytes, ours: bytes, theirs: bytes) -> None:
    assert merged(b"motd", base, ours, theirs) == merged(b"motd", base, theirs, ours)


@many
@given(texts, texts)
def test_where_one_side_changed_nothing_the_other_is_the_result(base: bytes, side: bytes) -> None:
    assert merged(b"motd", base, base, side) == merged(b"motd", base, side, base) == side
    assert merged(b"motd", base, side, side) == side


@many
@given(st.lists(st.sampled_from([b"edit", b"drop", b"add", b"keep", b"keep"]), min_size=1, max_size=16), st.data())
def test_edits_that_a_line_lies_between_are_both_there(acts: list[bytes], data: st.DataObject) -> None:
    base, ours, theirs, expected = [], [], [], []
    for number, act in enumerate(acts):
        old = b"line %d\n" % number
        new = {b"edit": [b"other %d\n" % number], b"drop": [], b"add": [old, b"more %d\n" % number], b"keep": [old]}[
            act
        ]
        by_us = data.draw(st.booleans())
        # The lines between are in all three.
        base += [old, b"between %d\n" % number]
        ours += [*(new if by_us else [old]), b"between %d\n" % number]
        theirs += [*([old] if by_us else new), b"between %d\n" % number]
        expected += [*new, b"between %d\n" % number]
    assert merged(b"motd", *(b"".join(side) for side in (base, ours, theirs))) == b"".join(expected)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param(b"1\nA\n3\n4\n", b"1\nB\n3\n4\n", id="the same line"),
        pytest.param(b"1\nA\n3\n4\n", b"1\n2\nB\n4\n", id="lines that follow each other"),
        pytest.param(b"1\n3\n4\n", b"1\nB\n3\n4\n", id="one edits what the other takes out"),
        pytest.param(b"1\n2\n3\n4\nA\n", b"1\n2\n3\n4\nB\n", id="both add at the same place"),
        pytest.param(b"1\n2\n3\n4\n\0", b"0\n1\n2\n3\n4\n", id="no text"),
        pytest.param(b"x" * (MERGED_SIZE_MAX + 1), b"1\n2\n3\n4\n", id="too large"),
    ],
)
def test_what_contradicts_is_not_merged(ours: bytes, theirs: bytes) -> None:
    assert merged(b"motd", b"1\n2\n3\n4\n", ours, theirs) is None


def test_a_result_that_would_be_too_large_is_none() -> None:
    base = b"1\n2\n3\n"
    half = b"x" * (MERGED_SIZE_MAX // 2 + 1) + b"\n"
    assert merged(b"motd", base, half + base, base + half) is None


def test_what_a_side_wrote_anew_is_no_edit_and_costs_little_to_refuse() -> None:
    base = b"".join(b"%d\n" % number for number in range(20_000))
    anew = b"".join(b"%x.\n" % number for number in range(18_000))
    assert merged(b"motd", base, anew, base + b"more\n") is None
    repeating = b"x\ny\n" * 30_000
    assert merged(b"motd", repeating, b"x\nx\n" * 30_000, b"z\n" + repeating) is None


# --------------------------------------------------------------------------------------------------------------- accounts

names = st.sampled_from([b"ann", b"bob", b"cid", b"dee", b"eve"])
numbers = st.integers(1000, 1004).map(lambda number: b"%d" % number)
member_lists = st.lists(names, max_size=3, unique=True).map(b",".join)
records = {
    b"passwd": st.tuples(
        names, st.just(b"x"), numbers, numbers, st.just(b""), st.just(b"/"), st.sampled_from([b"/bin/sh", b""])
    ),
    b"group": st.tuples(names, st.just(b"x"), numbers, member_lists),
    b"shadow": st.tuples(names, st.sampled_from([b"!", b"*", b"$6$a"]), numbers, *[st.just(b"")] * 6),
    b"gshadow": st.tuples(names, st.just(b"!"), member_lists, member_lists),
    b"subuid": st.tuples(names, st.sampled_from([b"0", b"100", b"200"]), st.sampled_from([b"100", b"150"])),
}


def files_of(name: bytes) -> st.SearchStrategy[bytes]:
    """Return files, most of which are what their name says."""
    keys = DATABASES[name].keys
    tables = st.lists(records[name], max_size=6, unique_by=lambda fields: tuple(fields[key] for key in keys))
    text = tables.map(lambda table: b"".join(b":".join(fields) + b"\n" for fields in table))
    return st.tuples(text, st.sampled_from([b"", b"", b"", b"+::::::\n", b"# remark\n", b"half a rec"])).map(b"".join)


threes = st.sampled_from(sorted(records)).flatmap(lambda n: st.tuples(st.just(n), *[files_of(n)] * 3))


@many
@given(threes)
def test_accounts_are_merged_alike_from_both_sides_and_can_be_read(three: tuple[bytes, bytes, bytes, bytes]) -> None:
    name, base, ours, theirs = three
    result = merged(name, base, ours, theirs)
    assert result == merged(name, base, theirs, ours)
    if result is not None and accounts.parsed(DATABASES[name], base) is not None:
        assert accounts.parsed(DATABASES[name], result) is not None


@many
@given(threes)
def test_accounts_that_one_side_left_alone_are_the_other_sides(three: tuple[bytes, bytes, bytes, bytes]) -> None:
    name, base, side, _ = three
    breaks = accounts.parsed(DATABASES[name], base) is not None and accounts.parsed(DATABASES[name], side) is None
    assert merged(name, base, base, side) == merged(name, base, side, base) == (None if breaks else side)


@many
@given(
    st.lists(st.integers(0, 99), unique=True, max_size=8),
    st.lists(st.integers(100, 199), unique=True, max_size=4),
    st.lists(st.integers(200, 299), unique=True, max_size=4),
    st.data(),
)
def test_users_that_both_add_and_remove_are_all_taken_into_account(
    old: list[int], by_us: list[int], by_them: list[int], data: st.DataObject
) -> None:
    gone = [data.draw(st.sets(st.sampled_from(old))) if old else set[int]() for _ in range(2)]
    base, ours, theirs = (
        b"".join(b"u%d:x:%d:1::/:/bin/sh\n" % (number, number) for number in side)
        for side in (
            old,
            [*(number for number in old if number not in gone[0]), *by_us],
            [*by_them, *(number for number in old if number not in gone[1])],
        )
    )
    result = merged(b"passwd", base, ours, theirs)
    assert result is not None
    found = [int(line.split(b":")[2]) for line in result.splitlines()]
    left = [number for number in old if number not in gone[0] | gone[1]]
    assert sorted(found) == sorted([*left, *by_us, *by_them])
    for side in (left, by_us, by_them):
        assert [number for number in found if number in side] == side, "the order is kept"


ANN, BOB = b"ann:x:1001:1001::/home/ann:/bin/sh\n", b"bob:x:1002:1002::/home/bob:/bin/sh\n"
ROOT = b"root:x:0:0:root:/root:/bin/bash\n"


@pytest.mark.parametrize(
    ("name", "base", "ours", "theirs", "result"),
    [
        pytest.param(b"passwd", ROOT, ROOT + ANN, ROOT + BOB, ROOT + ANN + BOB, id="a user here and one there"),
        pytest.param(b"passwd", ROOT, ROOT + ANN, ROOT + ANN, ROOT + ANN, id="the same user twice"),
        pytest.param(b"passwd", ROOT, ROOT + ANN, ROOT + ANN.replace(b"sh", b"zsh"), None, id="one user, two shells"),
        pytest.param(b"passwd", ROOT, ROOT + ANN, ROOT + BOB.replace(b"1002", b"1001"), None, id="one number, two users"),
        pytest.param(b"passwd", ROOT, ROOT + ANN, ROOT + BOB.replace(b"1002", b"01001"), None, id="the number in other digits"),
        pytest.param(b"passwd", ROOT + b"toor:x:0:0::/:/\n", ROOT, b"toor:x:0:0::/:/\n" + ROOT, ROOT, id="two roots as before"),
        pytest.param(
            b"passwd", ROOT, ROOT.replace(b"bash", b"zsh"), ROOT.replace(b":root:", b":admin:"),
            b"root:x:0:0:admin:/root:/bin/zsh\n", id="two fields of one user",
        ),
        pytest.param(b"passwd", ROOT + ANN, ROOT, ROOT + ANN.replace(b"sh", b"zsh"), None, id="removed and changed"),
        pytest.param(b"passwd", b"+::::::\n", ANN + b"+::::::\n", BOB + b"+::::::\n", ANN + BOB + b"+::::::\n", id="before NIS"),
        pytest.param(
            b"passwd", ANN + BOB + ROOT, ROOT + ANN + BOB, ANN + BOB + ROOT + b"cid:x:9:9::/:/\n",
            ROOT + b"cid:x:9:9::/:/\n" + ANN + BOB, id="sorted here, added there",
        ),
        pytest.param(b"passwd", ANN + BOB + ROOT, ROOT + ANN + BOB, BOB + ANN + ROOT, None, id="sorted differently"),
        pytest.param(b"group", b"adm:x:4:a,b\n", b"adm:x:4:a,b,y\n", b"adm:x:4:b,x\n", b"adm:x:4:b,x,y\n", id="members"),
        pytest.param(b"gshadow", b"g:!::a\n", b"g:!:z:a\n", b"g:!::a,b\n", b"g:!:z:a,b\n", id="administrators and members"),
        pytest.param(
            b"shadow", b"a:!:1::::::\n", b"a:$6$x:2::::::\n", b"a:!:1:::::99:\n", b"a:$6$x:2:::::99:\n", id="password and expiry"
        ),
        pytest.param(b"shadow", b"a:!:1::::::\n", b"a:$6$x:2::::::\n", b"a:$6$y:2::::::\n", None, id="two passwords"),
        pytest.param(b"subuid", b"", b"ann:10:60\n", b"bob:70:60\n", b"ann:10:60\nbob:70:60\n", id="ranges"),
        pytest.param(b"subuid", b"", b"ann:10:60\n", b"bob:69:60\n", None, id="ranges that overlap"),
        pytest.param(b"passwd", ROOT, ROOT + b"ann\n", ROOT + BOB, None, id="a side that cannot be read"),
        pytest.param(b"passwd", b"#%PAM\n1\n2\n", b"#%PAM\n1\n2\n3\n", b"#%\n1\n2\n", b"#%\n1\n2\n3\n", id="no such file at all"),
    ],
)  # fmt: skip
def test_accounts(name: bytes, base: bytes, ours: bytes, theirs: bytes, result: bytes | None) -> None:
    assert merged(name, base, ours, theirs) == merged(name, base, theirs, ours) == result


def test_what_the_password_tools_cannot_read_is_none_of_theirs() -> None:
    good = {
        PASSWD: ROOT,
        GROUP: b"a:x:1:\n",
        SHADOW: b"a:!:-1::::::\n",
        GSHADOW: b"a:!::\n",
        SUBORDINATE: b"a:1:2\na:3:2\n",
    }
    for database, data in good.items():
        assert accounts.parsed(database, data) is not None
        assert accounts.parsed(database, data + data) is None, "a name that comes twice"
        assert accounts.parsed(database, data + b"\n") is None, "an empty line"
        assert accounts.parsed(database, b"x" + data.replace(b"\n", b":\n")) is None, "a field too many"
    assert accounts.parsed(PASSWD, ROOT.replace(b"0:0", b"0:4294967296")) is None
    assert accounts.parsed(PASSWD, ROOT.replace(b"0:0", b"x:0")) is None
    assert accounts.parsed(PASSWD, ROOT.replace(b"root:x", b"ro ot:x")) is None


# ------------------------------------------------------------------------------------------------------------------ hosts

HOSTS = b"127.0.0.1\tlocalhost\n::1 localhost ip6-localhost # loopback\n\n# ours\n10.0.0.4 db db.example.net\n"
host_lines = st.sampled_from(
    [*HOSTS.splitlines(keepends=True), b"10.0.0.5 ann\n", b"10.0.0.6 ann bob\n", b"fe80::1%eth0 x\n", b"?\n"]
)
host_files = st.lists(host_lines, max_size=8).map(b"".join)


@many
@given(host_files, host_files, host_files)
def test_hosts_are_merged_alike_from_both_sides_and_can_be_read(base: bytes, ours: bytes, theirs: bytes) -> None:
    result = merged(b"hosts", base, ours, theirs)
    assert result == merged(b"hosts", base, theirs, ours)
    if result is not None and merging._hosts_parsed(base) is not None:
        assert merging._hosts_parsed(result) is not None
        assert set(result.splitlines()) <= set(ours.splitlines()) | set(theirs.splitlines())


@pytest.mark.parametrize(
    ("ours", "theirs", "result"),
    [
        pytest.param(b"10.0.0.5 ann\n", b"# b\n10.0.0.6 bob\n", b"# b\n10.0.0.6 bob\n10.0.0.5 ann\n", id="a host here and one there"),
        pytest.param(b"10.0.0.5 ann\n", b"10.0.0.5 bob\n", None, id="one address, two names"),
        pytest.param(b"10.0.0.5 ann\n", b"10.0.0.6 ann\n", None, id="one name, two addresses"),
        pytest.param(b"10.0.0.5 ann\n", b"fe80::5 ann\n", b"10.0.0.5 ann\nfe80::5 ann\n", id="an address of each family"),
        pytest.param(b"10.0.0.5 ann\n", b"and so on\n", None, id="a side that cannot be read"),
    ],
)  # fmt: skip
def test_hosts_that_both_add(ours: bytes, theirs: bytes, result: bytes | None) -> None:
    found = merged(b"hosts", HOSTS, HOSTS + ours, HOSTS + theirs)
    assert found == (HOSTS + result if result is not None else None)


def test_a_host_that_moves_to_two_addresses_is_not_at_both() -> None:
    moved = [HOSTS.replace(b"10.0.0.4", address) for address in (b"10.0.0.7", b"10.0.0.8")]
    assert merged(b"hosts", HOSTS, *moved) is None


def test_hosts_that_stand_side_by_side_are_changed_by_both() -> None:
    base = b"".join(b"10.0.0.%d h%d\n" % (number, number) for number in range(6))
    ours, theirs = base.replace(b"h2", b"h2 web"), base.replace(b"h3", b"h3 mail")
    result = merged(b"hosts", base, ours, theirs)
    assert result == base.replace(b"h2", b"h2 web").replace(b"h3", b"h3 mail")
    assert all(a < b for a, b in pairwise(result.splitlines()))
