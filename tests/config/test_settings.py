"""Changes that commands make to settings, and the files that keep them."""

import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csfs.config import addresses, files, home, profiles, reader, render, settings
from csfs.config.addresses import Address
from csfs.config.home import Home
from csfs.config.settings import GroupSettings, HostSettings, MemberSettings, Settings, VolumeSettings
from csfs.core.groups import Pattern
from csfs.core.paths import RelPath
from csfs.errors import ConfigError
from tests.config.strategies import all_settings

WWW = VolumeSettings("www", (("default", "/var/www"),))
ONE = Settings("web", (MemberSettings("alpha", (Address("a", 1),)),))


@pytest.fixture
def here(tmp_path: Path) -> Home:
    return home.chosen(str(tmp_path)).made()


def test_each_change_raises_the_revision() -> None:
    grown = settings.with_member(settings.with_volume(ONE, WWW), "beta", (Address("b"),), {"www": "/srv/www"})
    assert grown.revision == ONE.revision + 2
    assert grown.member("beta").address == (Address("b"),)
    assert [grown.volume("www").path_of(name) for name in ("alpha", "beta")] == ["/var/www", "/srv/www"]
    shrunk = settings.without_volume(settings.without_member(grown, "beta"), "www")
    assert (shrunk.members, shrunk.volumes, shrunk.revision) == (ONE.members, (), ONE.revision + 4)


def test_a_member_that_comes_again_gets_new_addresses() -> None:
    moved = settings.with_member(ONE, "alpha", (Address("new"),))
    assert moved.members == (MemberSettings("alpha", (Address("new"),)),)


def test_names_that_are_taken_or_unknown_are_refused() -> None:
    taken = settings.with_volume(ONE, WWW)
    with pytest.raises(ConfigError, match="www is there already"):
        settings.with_volume(taken, WWW)
    with pytest.raises(ConfigError, match="no volume xxx; there are: www"):
        settings.without_volume(taken, "xxx")
    with pytest.raises(ConfigError, match="no member beta; there are: alpha"):
        settings.without_member(taken, "beta")
    with pytest.raises(ConfigError, match="no volume xxx"):
        settings.with_member(taken, "beta", (), {"xxx": "/x"})


def test_a_removed_member_leaves_every_group_but_never_an_empty_one() -> None:
    two = settings.with_member(ONE, "beta")
    group = GroupSettings(("alpha", "beta"))
    shared = settings.with_volume(two, VolumeSettings("v", (("beta", "/b"), ("default", "/v")), groups=(group,)))
    left = settings.without_member(shared, "beta").volume("v")
    assert (left.groups[0].members, left.paths) == (("alpha",), (("default", "/v"),))
    with pytest.raises(ConfigError, match="last member of a group"):
        settings.without_member(settings.without_member(shared, "beta"), "alpha")


def test_a_volume_is_found_by_a_path_in_it() -> None:
    grown = settings.with_volume(ONE, WWW)
    assert grown.volume_at("/var/www/html/x", "alpha") == WWW
    assert grown.volume_at("/var/www", "alpha") == WWW
    assert grown.volume_at("/var/www2", "alpha") is None


def test_settings_are_stored_and_loaded(here: Home) -> None:
    files.store(here, ONE)
    files.store_host(here, HostSettings("alpha"))
    assert files.loaded_both(here) == (ONE, HostSettings("alpha"))
    assert stat.S_IMODE(here.settings_file.stat().st_mode) == 0o644
    assert [file.name for file in sorted(here.etc.iterdir())] == ["csfs.toml", "member.toml"]


def test_a_host_that_is_no_member_is_refused(here: Home) -> None:
    files.store(here, ONE)
    files.store_host(here, HostSettings("omega"))
    with pytest.raises(ConfigError, match='"omega" is not in'):
        files.loaded_both(here)


def test_missing_settings_name_the_cure(here: Home) -> None:
    with pytest.raises(ConfigError, match="csfs init"):
        files.loaded(here)


def test_a_change_that_cannot_be_used_leaves_the_file_as_it_was(here: Home) -> None:
    files.store(here, ONE)
    before = here.settings_file.read_bytes()
    relative = VolumeSettings("v", (("default", "relative"),))
    with pytest.raises(ConfigError, match=r"volumes\.v\.path"):
        files.change(here, lambda old: settings.with_volume(old, relative))
    assert here.settings_file.read_bytes() == before


def test_a_file_that_is_not_text_is_refused(here: Home) -> None:
    here.settings_file.write_bytes(b"cluster = \xff")
    with pytest.raises(ConfigError, match="byte 10 is not UTF-8"):
        files.loaded(here)


def test_what_a_crash_left_is_overwritten(here: Home) -> None:
    here.etc.joinpath(".csfs.toml.new").write_text("half")
    files.store(here, ONE)
    assert files.loaded(here) == ONE


def test_changes_made_at_the_same_time_all_count(here: Home) -> None:
    files.store(here, ONE)

    def add(number: int) -> None:
        volume = VolumeSettings(f"v{number}", (("default", f"/v{number}"),))
        files.change(here, lambda old: settings.with_volume(old, volume))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files.loaded(here).volumes) == 8


def test_home_moves_everything_below_one_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSFS_HOME", str(tmp_path / "other"))
    assert home.chosen().lib == tmp_path / "other/lib"
    assert home.chosen(str(tmp_path)).journal("www") == tmp_path / "lib/www/journal.db"
    assert home.chosen(str(tmp_path)).arguments == ["--home", str(tmp_path)]
    monkeypatch.delenv("CSFS_HOME")
    assert str(home.chosen().control_socket) == "/run/csfs/control.sock"
    assert home.chosen().arguments == []


def test_a_home_too_deep_for_a_socket_is_refused() -> None:
    with pytest.raises(ConfigError, match="choose a shorter --home"):
        home.chosen("/" + "x" * 100)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("alpha", Address("alpha", 30866)),
        ("alpha:7", Address("alpha", 7)),
        ("[::1]:7", Address("::1", 7)),
        ("[::1]", Address("::1", 30866)),
        ("2001:db8::1", Address("2001:db8::1", 30866)),
        ("*:7", Address("*", 7)),
        ("ssh://beta", Address("beta", 0, True)),
        ("ssh://root@beta:22", Address("beta", 22, True, "root")),
        ("ssh://csfs@[2001:db8::1]:2222", Address("2001:db8::1", 2222, True, "csfs")),
    ],
)
def test_an_address_reads_and_writes(text: str, address: Address) -> None:
    assert addresses.parsed(text) == address
    assert addresses.parsed(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":7",
        "a:",
        "a:0",
        "a:65536",
        "a:x",
        "[::1",
        "[::1]7",
        "a b:1",
        "u@h:1",
        "a:\u0663",
        "ssh://",
        "ssh://@h",
        "ssh://-oProxyCommand=x",
        "ssh://-l@h",
        "ssh://h:0",
        "ssh://h:x",
        "ssh://h/path",
        "ssh://*",
        "ssh://h:",
        "ssh://h;id",
        "ssh://$(id)@h",
        "ssh://h\0",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|port"):
        addresses.parsed(text)


@pytest.mark.parametrize(
    ("profile", "out", "kept"),
    [
        (
            "etc",
            [
                "machine-id",
                "hostname",
                "fstab",
                "ssh/ssh_host_rsa_key",
                "csfs/keys/x",
                "passwd-",
                "shadow.lock",
                "passwd.1234",
                ".pwd.lock",
                "a/.b.swp",
                "a/b~",
                "network/interfaces",
                "x.dpkg-new",
                "4913",
                "group+",
                "nshadow",
            ],
            [
                "hosts",
                "passwd",
                "shadow",
                "ssh/sshd_config",
                "nginx/nginx.conf",
                "lvm/lvm.conf",
                "cron.d/job",
                "resolvconf.conf",
            ],
        ),
        ("web", ["x/.y.swp", "run/app.pid"], ["composer.lock", ".htaccess.backup", ".well-known/acme-challenge/t"]),
        ("home", ["eva/.cache/x", ".Xauthority", "eva/.gnupg/S.gpg-agent"], ["eva/.bashrc", "eva/.gnupg/pubring.kbx"]),
    ],
)
def test_a_profile_leaves_out_what_is_this_hosts_own(profile: str, out: list[str], kept: list[str]) -> None:
    volume = VolumeSettings("v", (("default", "/v"),), profile)
    rules = settings.with_volume(ONE, volume).rules("v", "alpha")
    assert [path for path in out if rules.is_synced(RelPath(path.encode()))] == []
    assert [path for path in kept if not rules.is_synced(RelPath(path.encode()))] == []


def test_every_pattern_of_every_profile_compiles_and_has_a_reason() -> None:
    for patterns in profiles.PROFILES.values():
        for pattern, reason in patterns.items():
            assert Pattern.compiled(pattern).text == pattern
            assert len(reason) > 10, pattern


def test_a_name_becomes_part_of_file_names() -> None:
    assert reader.checked_name("a.b-c_9") == "a.b-c_9"
    for text in ("", ".a", "a/b", "a b", "x" * 64, "a\n"):
        with pytest.raises(ValueError, match="not a name"):
            reader.checked_name(text)


def test_a_member_that_is_removed_takes_its_certificates_along() -> None:
    before = reader.parse('cluster = "web"\n[members.a]\n[members.b]\n[volumes.v]\npath.a = "/a"\npath.b = "/b"')
    after = settings.without_member(before, "b", [0xAB, 7])
    assert after.member_names == ("a",)
    assert after.revoked == ("7", "ab")
    assert after.volume("v").path_of("b") is None
    assert reader.parse(render.rendered(after)) == after
    again = settings.without_member(settings.with_member(after, "b"), "b", [0xCD])
    assert again.revoked == ("7", "ab", "cd"), "the old ones are not trusted again with a new member of the name"


@given(all_settings(), st.data())
def test_what_is_left_without_a_member_can_be_read(before: Settings, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(before.member_names))
    try:
        after = settings.without_member(before, name)
    except ConfigError:
        after = before  # it cannot be spared
    if after.members:
        assert reader.parse(render.rendered(after)) == after


def test_who_alone_has_a_directory_of_a_volume_or_alone_may_write_is_not_removed() -> None:
    for lines in ('[volumes.v]\npath.b = "/b"', '[volumes.v]\npath = "/v"\n[[volumes.v.groups]]\nreceive_only = ["a"]'):
        before = reader.parse(f'cluster = "web"\n[members.a]\n[members.b]\n{lines}')
        with pytest.raises(ConfigError, match="volume v: "):
            settings.without_member(before, "b")
        assert settings.without_member(before, "a").member_names == ("b",)


@pytest.mark.parametrize("text", ["0a", "AB", "xyz", "", "a" * 41])
def test_a_serial_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no serial number"):
        reader.parse(f'cluster = "web"\nrevoked = ["{text}"]\n[members.a]')
