"""`init`, `volume` and `config`: a host before any daemon runs."""

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from csfs.cli import arguments, founding, mounting
from csfs.config import files
from csfs.config.addresses import Address
from csfs.errors import ConfigError
from csfs.trust import certificates
from tests.cli.conftest import Host


def test_init_makes_a_cluster_of_one(host: Host) -> None:
    host.ok("init", "--member", "alpha", "--cluster", "web", "--listen", "127.0.0.1:7", "--address", "alpha.example:8")
    settings, here = files.loaded_both(host.home)
    assert (settings.cluster, settings.member_names, here.member) == ("web", ("alpha",), "alpha")
    assert settings.member("alpha").address == (Address("alpha.example", 8),)
    assert here.listen == (Address("127.0.0.1", 7),)
    assert stat.S_IMODE(host.home.keys.stat().st_mode) == 0o700
    assert sorted(os.listdir(host.home.etc)) == ["csfs.toml", "keys", "member.toml"]
    assert certificates.load_authority(host.home.keys).cluster == "web"


def test_init_refuses_a_host_that_is_a_member_and_changes_nothing(member: Host) -> None:
    before = {path: path.read_bytes() for path in member.home.etc.rglob("*") if path.is_file()}
    ended = member.run("init", "--member", "beta")
    assert ended.code == 3
    assert "a member already" in ended.err
    assert {path: path.read_bytes() for path in member.home.etc.rglob("*") if path.is_file()} == before


def test_a_failed_init_leaves_nothing_that_stops_the_next(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "csfs.toml")

    with monkeypatch.context() as patched:
        patched.setattr(files, "store", full)
        ended = host.run("init", "--member", "alpha")
    assert (ended.code, ended.err) == (3, "csfs: csfs.toml: No space left on device\n")
    assert not host.home.keys.exists()
    host.ok("init", "--member", "alpha")
    assert sorted(os.listdir(host.home.etc)) == ["csfs.toml", "keys", "member.toml"]


def test_init_puts_nothing_in_the_place_of_other_keys(host: Host) -> None:
    host.home.keys.mkdir(parents=True)
    host.home.keys.joinpath("precious").write_text("key")
    assert host.run("init", "--member", "alpha").code == 3
    assert host.home.keys.joinpath("precious").read_text() == "key"
    assert not host.home.settings_file.exists()


def test_a_member_is_called_at_its_host_name_where_it_listens_everywhere() -> None:
    name = os.uname().nodename
    assert founding.called_at((Address("*"),), ()) == (Address(name, 30866),)
    assert founding.called_at((Address("*", 7), Address("::1", 8)), ()) == (Address(name, 7), Address("::1", 8))
    assert founding.called_at((Address("*", 7),), (Address("x", 9),)) == (Address("x", 9),)


def test_a_volume_is_added_listed_and_removed(member: Host, tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    place = str(tmp_path / "www")
    member.ok(
        "volume",
        "add",
        "www",
        place,
        "--profile",
        "web",
        "--exclude",
        "*.bak",
        "--policy",
        "merge",
        "--policy",
        "older",
    )
    assert member.home.founding("www").exists()
    (volume,) = json.loads(member.ok("volume", "list", "--json"))
    assert (volume["name"], volume["path"], volume["profile"]) == ("www", place, "web")
    (group,) = volume["groups"]
    assert (group["members"], group["policy"]) == (["alpha"], ["merge", "older"])
    assert {"*.bak", "*.pid"} <= set(group["exclude"])
    assert place in member.ok("volume", "list")
    member.ok("volume", "remove", "www")
    assert json.loads(member.ok("volume", "list", "--json")) == []
    assert not member.home.founding("www").exists()
    assert files.loaded(member.home).revision == 3


@pytest.mark.parametrize(
    ("arguments_given", "code", "complaint"),
    [
        (["volume", "add", "v", "/nowhere"], 2, "does not exist"),
        (["volume", "add", "a/b", "/tmp"], 2, "not a name"),
        (["volume", "add", "v", "{tmp}/link"], 3, "leads through a symlink; name the directory itself: {tmp}/www"),
        (["volume", "add", "v", "{tmp}"], 3, "lies in {tmp}: csfs cannot keep its state behind its own mount"),
        (["volume", "add", "v", "{tmp}/h/etc"], 3, "holds this host's keys"),
        (["volume", "add", "v", "{tmp}/www", "--include", "*.c"], 3, "groups[0].include[0]"),
        (["volume", "add", "v", "{tmp}/www", "--profile", "ect"], 2, "'ect' is not one of"),
        (["volume", "remove", "v"], 3, "no volume v; there are: none"),
        (["mount", "{tmp}/www"], 3, "is no volume's directory on this host; there are: none"),
        (["umount", "{tmp}/www"], 3, "is no volume's directory"),
    ],
)
def test_what_cannot_be_a_volume_is_refused(
    member: Host, tmp_path: Path, arguments_given: list[str], code: int, complaint: str
) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "link").symlink_to("www")
    ended = member.run(*(text.format(tmp=tmp_path) for text in arguments_given))
    assert ended.code == code
    assert complaint.format(tmp=tmp_path) in ended.err
    assert ended.err.startswith("csfs: ")
    assert files.loaded(member.home).volumes == ()
    assert not member.home.volume_dir("v").exists()


def test_a_volume_that_has_come_to_hold_this_hosts_keys_is_not_mounted(member: Host, tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    member.ok("volume", "add", "www", str(tmp_path / "www"))
    settings = mounting.mount_settings(member.home, str(tmp_path / "www"))
    mounting.refuse_own_keys(member.home, settings)
    with pytest.raises(ConfigError, match="would send this host's keys"):
        mounting.refuse_own_keys(member.home, replace(settings, path=str(member.home.etc)))


def test_a_name_that_is_taken_does_not_make_this_host_the_founder(member: Host, tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    member.ok("volume", "add", "v", str(tmp_path / "www"))
    member.home.founding("v").unlink()  # as the daemon does when it has made the index
    assert member.run("volume", "add", "v", str(tmp_path / "www")).code == 3
    assert not member.home.founding("v").exists()


def test_a_host_without_the_authoritys_key_may_not_change_the_cluster(member: Host, tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (member.home.keys / certificates.AUTHORITY_KEY).unlink()
    ended = member.run("volume", "add", "v", str(tmp_path / "www"))
    assert ended.code == 5
    assert "where csfs init ran" in ended.err


def test_config_check_says_all_that_is_wrong(member: Host, tmp_path: Path) -> None:
    assert member.ok("config", "check") == ""
    broken = tmp_path / "broken.toml"
    broken.write_text('clustre = "web"\n[members.alpha]\naddress = ["x:y"]\n')
    ended = member.run("config", "check", str(broken))
    assert ended.code == 3
    assert ended.err.count("\n") == 4
    assert "did you mean cluster?" in ended.err
    broken.write_bytes(b'cluster = "\xff"')
    assert member.run("config", "check", str(broken)).err == f"csfs: {broken}: byte 11 is not UTF-8\n"


def test_names_are_shown_as_they_are(member: Host, tmp_path: Path) -> None:
    for number, name in enumerate(("[/]", "[red]", ":smile:")):
        (tmp_path / name / "tree").mkdir(parents=True)
        member.ok("volume", "add", f"v{number}", str(tmp_path / name / "tree"))
    listed = member.ok("volume", "list").splitlines()[1:]
    assert [line.split()[1] for line in listed] == [f"{tmp_path}/{name}/tree" for name in ("[/]", "[red]", ":smile:")]


def test_config_show_prints_what_is_in_force(member: Host) -> None:
    shown = member.ok("config", "show")
    assert member.home.settings_file.read_text() in shown
    assert member.home.member_file.read_text() in shown
    described = json.loads(member.ok("config", "show", "--json"))
    assert (described["member"], described["revision"], described["volumes"]) == ("alpha", 1, {})


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("1h", 3600), ("7d", 604800)])
def test_a_duration_reads_in_seconds(text: str, seconds: float) -> None:
    assert arguments.duration_s(text) == seconds


def test_a_duration_has_an_end(member: Host) -> None:
    assert arguments.duration_s("36500d") == 36_500 * 86_400
    ended = member.run("invite", "beta", "--expires", "36501d")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "more than a hundred years" in ended.err


def test_nobody_listens_at_an_address_of_ssh(host: Host) -> None:
    ended = host.run("init", "--member", "alpha", "--listen", "ssh://root@alpha")
    assert ended.code == 2
    assert "is where others call" in ended.err
    host.ok("init", "--member", "alpha", "--address", "ssh://root@alpha")
    assert files.loaded_both(host.home)[0].member("alpha").address == (Address("alpha", 0, True, "root"),)


def test_a_member_may_listen_nowhere(host: Host) -> None:
    ended = host.run("init", "--member", "alpha", "--listen", "off", "--listen", "127.0.0.1:7")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert '"off" means nowhere' in ended.err
    host.ok("init", "--member", "alpha", "--listen", "off")
    settings, here = files.loaded_both(host.home)
    assert (here.listen, settings.member("alpha").address) == ((), ()), "nobody calls it"


def test_who_listens_nowhere_may_be_called_by_ssh(host: Host) -> None:
    host.ok("init", "--member", "alpha", "--listen", "off", "--address", "ssh://root@alpha")
    settings, here = files.loaded_both(host.home)
    assert (here.listen, settings.member("alpha").address) == ((), (Address("alpha", 0, True, "root"),))
