"""Access control lists: told with names, set with numbers, and carried where somebody is not known."""

from hypothesis import example, given
from hypothesis import strategies as st

from csfs.core import acls
from csfs.core.acls import ACCESS_ACL, GROUP, USER, Entry, entries_of, packed

NOBODY = 0xFFFFFFFF
BASE = (Entry(0x01, 6, NOBODY), Entry(0x04, 4, NOBODY), Entry(0x10, 6, NOBODY), Entry(0x20, 0, NOBODY))

names = st.text("abcdefghijkß", min_size=1, max_size=8)
accounts = st.dictionaries(st.tuples(st.sampled_from((USER, GROUP)), names), st.integers(0, 6), max_size=8)
granted = st.dictionaries(st.tuples(st.sampled_from((USER, GROUP)), st.integers(0, 6)), st.integers(0, 7), max_size=6)


def acl(*entries: Entry) -> bytes:
    return packed((*BASE, *entries))


def user(name: str, number: int, permissions: int = 6) -> Entry:
    return Entry(USER, permissions, number, name)


def told_at(table: dict[tuple[int, str], int], encoded: bytes) -> bytes:
    """Return what a host with these accounts tells; each number has its first name."""
    by_number: dict[tuple[int, int], str] = {}
    for (tag, name), number in sorted(table.items()):
        by_number.setdefault((tag, number), name)
    return acls.named(encoded, lambda tag, number: by_number.get((tag, number), ""))


def shown_at(table: dict[tuple[int, str], int], told: bytes) -> tuple[bytes, list[Entry]]:
    return acls.numbered(told, lambda entry: table.get((entry.tag, entry.name)))


@given(granted, accounts)
def test_a_host_shows_what_it_has_told_itself(
    grants: dict[tuple[int, int], int], table: dict[tuple[int, str], int]
) -> None:
    encoded = acl(*(Entry(tag, bits, number) for (tag, number), bits in grants.items()))
    assert shown_at(table, told_at(table, encoded)) == (encoded, [])


@given(granted, accounts, accounts)
@example({(USER, 0): 0, (USER, 1): 0}, {(USER, "a"): 0}, {(USER, "a"): 1})  # a number that is somebody else's there
def test_nobody_gets_a_right_that_was_not_given_to_his_name(
    grants: dict[tuple[int, int], int], here: dict[tuple[int, str], int], there: dict[tuple[int, str], int]
) -> None:
    told = told_at(here, acl(*(Entry(tag, bits, number) for (tag, number), bits in grants.items())))
    shown, left_out = shown_at(there, told)
    wanted = entries_of(told) or []
    by_who = {entry.who: entry.permissions for entry in wanted}
    found = entries_of(shown) or []
    for entry in found:
        if entry.tag not in (USER, GROUP):
            assert entry in BASE
            continue
        meant = [(entry.tag, name) for (tag, name), number in there.items() if (tag, number) == entry.here]
        sources = [by_who[who] for who in (*meant, entry.here) if who in by_who]
        assert sources, "a right for somebody who was given none"
        assert entry.permissions == min(sources) or all(entry.permissions & ~bits == 0 for bits in sources)
    assert {entry.who for entry in left_out} == {e.who for e in wanted if e.name and (e.tag, e.name) not in there}
    assert acls.may_show(((ACCESS_ACL, told_at(there, shown)),), ((ACCESS_ACL, told),)) or len(
        set(there.values())
    ) < len(there)
    keys = [(entry.tag, entry.number) for entry in found]
    assert keys == sorted(set(keys)), "the kernel wants them by number, each once"


def test_who_has_the_number_of_somebody_without_a_name_may_do_what_both_may() -> None:
    told = acl(Entry(USER, 6, 0, "a"), Entry(USER, 4, 1))
    for permissions, may_be in ((4, True), (6, False)):
        shown = acl(Entry(USER, permissions, 1, "a"))
        assert acls.may_show(((ACCESS_ACL, shown),), ((ACCESS_ACL, told),)) is may_be


def test_who_has_less_than_he_was_given_was_made_so_by_somebody_unless_he_has_one_number_with_another() -> None:
    less = ((ACCESS_ACL, acl(user("bob", 1, 4))),)
    assert not acls.may_show(less, ((ACCESS_ACL, acl(user("bob", 1, 6))),))
    assert acls.may_show(less, ((ACCESS_ACL, acl(user("bob", 1, 6), user("robert", 2, 5))),))
    both = acl(user("bob", 1, 6), user("carol", 2, 4))
    found = acl(user("bob", 1, 4), user("carol", 2, 4))
    assert not acls.may_show(((ACCESS_ACL, found),), ((ACCESS_ACL, both),)), "carol has a number of her own"


@given(granted, accounts)
def test_what_means_the_same_is_the_same_whatever_the_numbers(
    grants: dict[tuple[int, int], int], table: dict[tuple[int, str], int]
) -> None:
    told = told_at(table, acl(*(Entry(tag, bits, number) for (tag, number), bits in grants.items())))
    moved = packed(e._replace(number=e.number + 1000) if e.name else e for e in entries_of(told) or ())
    assert acls.are_same(((ACCESS_ACL, told),), ((ACCESS_ACL, moved),))
    assert acls.are_same_here(((ACCESS_ACL, told),), acls.without_names(((ACCESS_ACL, told),)))
    assert acls.are_same_here(((ACCESS_ACL, told),), ((ACCESS_ACL, moved),)) == (told == moved)


@given(st.binary(max_size=60), st.sampled_from((b"", b"\x02\0\0\0", b"acl\x01")))
def test_whatever_a_peer_says_is_a_list_or_taken_as_it_is(body: bytes, header: bytes) -> None:
    value = header + body
    entries = entries_of(value)
    if entries is None:
        assert acls.numbered(value, lambda entry: 1) == (value, [])
        assert acls.ordered(value) == acls.limited(value, 0) == value
    else:
        assert sorted(entries_of(packed(entries)) or []) == sorted(entries)


def test_two_names_of_one_number_may_do_what_both_may_do() -> None:
    told = acl(user("bob", 1, 6), user("robert", 2, 5))
    assert acls.numbered(told, lambda entry: 7)[0] == acl(Entry(USER, 4, 7))


def test_somebody_unknown_is_left_out_and_the_mask_stays() -> None:
    told = acl(user("bob", 1005), user("carol", 1006))
    shown, left_out = acls.numbered(told, lambda entry: 1005 if entry.name == "carol" else None)
    assert shown == acl(Entry(USER, 6, 1005))
    assert acls.strangers(left_out) == ("user bob",)


def carried(wanted: bytes, before: bytes, found: bytes) -> bytes:
    return acls.carried(ACCESS_ACL, wanted, before, found)


def test_a_chmod_where_somebody_is_unknown_does_not_take_his_right_away() -> None:
    wanted, before = acl(user("bob", 1005), user("carol", 1006)), acl(user("carol", 1005))
    mask = Entry(0x10, 4, NOBODY)
    found = packed((*BASE[:2], mask, BASE[3], user("carol", 1005)))
    assert carried(wanted, before, found) == packed((*BASE[:2], mask, BASE[3], *(entries_of(wanted) or ())[1:3]))


def test_what_is_given_and_taken_where_somebody_is_unknown_changes_that_alone() -> None:
    wanted = acl(user("bob", 1005), user("carol", 1006))
    before = acl(user("carol", 2000))
    assert carried(wanted, before, acl(user("dave", 1005))) == acl(user("bob", 1005), user("dave", 1005))
    assert carried(wanted, before, acl(user("carol", 2000, 4))) == acl(user("bob", 1005), user("carol", 2000, 4))


def test_what_is_taken_from_another_name_of_the_same_number_is_taken() -> None:
    wanted, before = acl(user("bob", 1005)), acl(user("robert", 2000))
    assert carried(wanted, before, acl()) == acl()
    assert carried(wanted, before, acl(user("robert", 2000, 4))) == acl(user("robert", 2000, 4))
    assert carried(wanted, before, before) == wanted, "nobody else is given his right elsewhere"


def test_a_member_that_goes_by_numbers_shows_them_and_leaves_nobody_out() -> None:
    wanted, found = ((ACCESS_ACL, acl(user("bob", 1005))),), ((ACCESS_ACL, acl(Entry(USER, 6, 1005))),)
    assert acls.unshown(found, wanted) == []
    assert acls.may_show(found, wanted)
    assert not acls.may_show(((ACCESS_ACL, acl(Entry(USER, 6, 1004))),), wanted)
    assert not acls.may_show(((ACCESS_ACL, acl(Entry(USER, 7, 1005))),), wanted)


def test_a_number_without_a_name_does_not_stand_for_somebody_who_has_one_elsewhere() -> None:
    wanted = acl(user("bob", 1005), Entry(USER, 5, 1005))
    before = acl(Entry(USER, 5, 1005))
    assert [e.name for e in acls.unshown(((ACCESS_ACL, before),), ((ACCESS_ACL, wanted),))] == ["bob"]
    assert carried(wanted, before, acl(Entry(USER, 4, 1005))) == acl(user("bob", 1005), Entry(USER, 4, 1005))


def test_a_number_without_a_name_keeps_what_was_said_of_it_where_it_is_somebody_s() -> None:
    wanted = acl(user("bob", 1005), Entry(USER, 0, 1006))
    before, mask = acl(user("bob", 1006, 0)), Entry(0x10, 4, NOBODY)
    found = packed((*BASE[:2], mask, BASE[3], user("bob", 1006, 0)))
    assert carried(wanted, before, found) == packed((*BASE[:2], mask, BASE[3], *(entries_of(wanted) or ())[1:3]))


def test_a_list_too_long_with_names_is_told_without_them() -> None:
    entries = [Entry(USER, 4, number, "n" * 250) for number in range(2_000)]
    told = packed(entries)
    assert told.startswith(b"\x02\0\0\0")
    assert len(told) == 4 + 8 * 2_000


def test_lists_are_described_as_setfacl_takes_them() -> None:
    xattrs = (
        (ACCESS_ACL, acl(user("bob", 1), Entry(GROUP, 5, 7))),
        (b"system.posix_acl_default", acl()),
        (b"user.a", b"1"),
    )
    assert acls.described(xattrs) == (
        "user::rw-,user:bob:rw-,group::r--,group:7:r-x,mask::rw-,other::---,"
        "default:user::rw-,default:group::r--,default:mask::rw-,default:other::---"
    )
    assert acls.described(()) == ""


def test_a_name_gives_no_orders_to_a_terminal() -> None:
    assert "user:\\x1b[2J\\x0a:rw-" in acls.described(((ACCESS_ACL, acl(user("\x1b[2J\n", 1))),))
