"""What mount options ask for."""

import pytest

from csfs.mount.options import FLAGS, MountOptions, UnknownOptionError, for_libfuse, immutable, number_of, parsed


def flags(*texts: str) -> set[str]:
    return set(parsed(texts).flags)


def test_what_is_for_others_changes_nothing() -> None:
    others = (
        "rw,_netdev,nofail,auto,noauto,defaults,x-systemd.requires=a.service,x-gvfs-show,comment=of mine,async,relatime"
    )
    assert parsed([others]) == MountOptions()


@pytest.mark.parametrize("flag", FLAGS)
def test_every_flag_is_set_by_its_name(flag: str) -> None:
    assert flags(flag) == {flag}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ro,rw", set()),
        ("rw,ro", {"ro"}),
        ("noexec,exec,nodev", {"nodev"}),
        ("nosuid,nodev,defaults", set()),
        ("user,exec", {"nosuid", "nodev"}),
        ("users", {"nosuid", "nodev", "noexec"}),
        ("noatime,strictatime", {"strictatime"}),
        ("strictatime,relatime", set()),
        ("nodiratime,diratime", set()),
    ],
)
def test_what_comes_later_wins(text: str, wanted: set[str]) -> None:
    assert flags(text) == wanted
    assert flags(*text.split(",")) == wanted


@pytest.mark.parametrize("option", ["no_such", "rw=1", "max_read=4096", "context=", "home="])
def test_an_unknown_option_is_named(option: str) -> None:
    with pytest.raises(UnknownOptionError, match=f'there is no mount option "{option}"'):
        parsed([f"ro,{option}"])
    assert parsed([f"ro,{option}"], sloppy=True).flags == {"ro"}


def test_a_label_with_commas_is_one_option() -> None:
    options = parsed(['ro,context="a:b:c:s0:c1,c2",sync'])
    assert options.lasting == {'context="a:b:c:s0:c1,c2"', "sync"}
    assert options.has_context
    assert for_libfuse('context="a:c1,c2"') == 'context="a:c1\\,c2"'


def test_home_and_remount_are_csfs_own() -> None:
    assert parsed(["home=/a,remount"]) == MountOptions(remount=True, home="/a")


def test_a_remount_begins_with_what_is_there() -> None:
    present = frozenset({"rw", "nosuid", "user_id=0", "default_permissions", "sync"})
    options = parsed(["remount,ro,user_id=0"], before=frozenset({"nosuid"}), present=present)
    assert options.flags == {"nosuid", "ro"}
    assert immutable(options, present) == []
    assert immutable(parsed(["async"], present=present), present) == ["sync"]
    assert immutable(parsed(["dirsync"], present=present), present) == ["dirsync"]
    with pytest.raises(UnknownOptionError, match="user_id=1"):
        parsed(["remount,user_id=1"], present=present)


def test_the_kernel_is_told_of_access_times_always() -> None:
    assert number_of(frozenset()) == 32 | 4096 | 1 << 21
    assert number_of(frozenset({"ro", "noatime"})) == 32 | 4096 | 1 | 1024
