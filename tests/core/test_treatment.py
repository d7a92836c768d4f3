"""Which extended attributes count, and which kinds of objects."""

import pytest

from csfs.core.objects import Kind
from csfs.core.treatment import EVERYTHING, FLAGS, USUALLY_CARRIED, Treatment, carried_by, checked_xattr, flags_in


@pytest.mark.parametrize(
    ("name", "carried"),
    [
        (b"user.any", True),
        (b"system.posix_acl_access", True),
        (b"security.capability", True),
        (b"security.selinux", False),
        (b"trusted.md5", False),
        (b"security.capability2", False),
    ],
)
def test_usually_what_programs_and_permissions_rely_on_counts(name: bytes, carried: bool) -> None:
    assert USUALLY_CARRIED(name) is carried


def test_a_choice_names_attributes_and_beginnings_and_never_what_each_host_computes() -> None:
    chosen = carried_by(("security.*", "trusted.*", "user.one"))
    assert all(map(chosen, (b"security.selinux", b"trusted.glusterfs", b"user.one")))
    assert not any(map(chosen, (b"security.evm", b"security.ima", b"trusted.overlay.opaque", b"user.other")))
    assert chosen.of(((b"security.evm", b"1"), (b"user.one", b"2"))) == ((b"user.one", b"2"),)


def test_flags_count_where_the_group_says_so_and_under_no_name_that_a_pattern_has() -> None:
    told = ((FLAGS, b"i"), (b"user.one", b"2"))
    assert carried_by(("user.*",), flags=True).of(told) == told
    assert carried_by(("user.*",)).of(told) == EVERYTHING.of(told) == ((b"user.one", b"2"),)
    assert (flags_in(told), flags_in(told[1:])) == (b"i", b"")


@pytest.mark.parametrize(
    "text",
    [
        "user",
        "user.",
        "us er.x",
        "*",
        "user.*x*",
        "security.ima",
        "trusted.overlay.x",
        "user." + "x" * 300,
        "csfs.flags",
        "csfs.*",
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"user|host|option"):
        checked_xattr(text)


def test_kinds_are_left_out_as_the_group_says() -> None:
    assert Treatment().leaves_out(Kind.SOCKET)
    assert not Treatment(sockets=True).leaves_out(Kind.SOCKET)
    assert not Treatment().leaves_out(Kind.BLOCK_DEVICE)
    assert Treatment(devices=False).leaves_out(Kind.CHARACTER_DEVICE)
    assert not Treatment(devices=False).leaves_out(Kind.FIFO)
