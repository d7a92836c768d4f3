"""What csfs.toml and member.toml may say, and what is said about what they may not."""

import re

import pytest
from hypothesis import given

from csfs.config import reader, render, settings
from csfs.config.addresses import Address
from csfs.config.settings import GroupSettings, HostSettings, Settings
from csfs.core.paths import RelPath
from csfs.errors import ConfigError
from tests.config.strategies import all_settings

EXAMPLE = """
revision = 7
cluster = "web"

[members.alpha]
address = ["alpha.example.net:30866"]
[members.beta]
address = "[2001:db8::2]:30867"
[members.gamma]

[volumes.etc]
path.default = "/etc"
path.beta = "/srv/alpha/etc"
profile = "etc"

[[volumes.etc.groups]]
members = ["alpha", "beta"]
receive_only = ["gamma"]
include = ["/"]
exclude = ["/network/local", "*.bak"]
policy = ["merge", "younger"]
sync = "async"

[volumes.www]
path = "/var/www"
"""


def complaints_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        reader.parse(text)
    return str(refusal.value).splitlines()


def test_the_example_reads_as_it_is_meant() -> None:
    settings = reader.parse(EXAMPLE)
    assert (settings.revision, settings.cluster, settings.member_names) == (7, "web", ("alpha", "beta", "gamma"))
    assert settings.member("beta").address == (Address("2001:db8::2", 30867),)
    etc = settings.volume("etc")
    assert [etc.path_of(name) for name in settings.member_names] == ["/etc", "/srv/alpha/etc", "/etc"]
    assert etc.groups[0].policy == ("merge", "younger")
    rules = settings.rules("etc", "gamma")
    assert rules.groups[0].members == ("alpha", "beta", "gamma")
    assert [rules.is_synced(RelPath(path)) for path in (b"hosts", b"machine-id", b"x.bak")] == [True, False, False]


def test_a_volume_without_groups_keeps_everything_the_same_at_all_members() -> None:
    settings = reader.parse(EXAMPLE)
    assert settings.volume("www").groups == ()
    (group,) = settings.rules("www", "alpha").groups
    assert group.members == ("alpha", "beta", "gamma")
    assert group.policy == ("younger",)


def test_a_group_without_members_is_all_but_those_who_only_receive() -> None:
    text = EXAMPLE.replace('members = ["alpha", "beta"]\n', "")
    (rule,) = reader.parse(text).volume_rules("etc").rules
    assert (rule.members, rule.receive_only) == (("alpha", "beta"), ("gamma",))


def test_an_include_takes_back_the_same_pattern_of_the_profile() -> None:
    rules = reader.parse(EXAMPLE.replace('include = ["/"]', 'include = ["/", "/hostname"]')).rules("etc", "alpha")
    assert rules.is_synced(RelPath(b"hostname"))
    assert not rules.is_synced(RelPath(b"fstab"))


@given(all_settings())
def test_what_is_written_reads_back_the_same(settings: Settings) -> None:
    text = render.rendered(settings)
    read = reader.parse(text)
    assert read == settings
    assert render.rendered(read) == text
    assert render.digest(read) == render.digest(settings)


def test_all_complaints_come_at_once_each_with_its_key() -> None:
    lines = complaints_of(
        'clustre = "web"\nrevision = 0\n[members.al_pha]\naddres = ["x:1"]\n[members.beta]\naddress = ["x:99999", "::"]\n'
        '[volumes.etc]\npath = "etc"\nprofile = "ect"\n[[volumes.etc.groups]]\nmembers = ["delta"]\ninclude = ["*.c"]\n'
        'exclude = ["a/b"]\npolicy = ["jounger"]\nsync = "durable(0)"\n'
    )
    text = "\n".join(lines)
    assert lines[0].startswith("csfs.toml: 13 complaints")
    for part in (
        "  revision: must be a whole number, 1 or more",
        "  cluster: is missing",
        "  members.al_pha.addres: unknown key, did you mean address?",
        '  members.beta.address[0]: "x:99999" has no port',
        "  members.beta.address: [::]:30866 is no address to call",
        '  volumes.etc.path: "etc" must be an absolute path',
        '  volumes.etc.profile: "ect" is not known, did you mean etc?',
        "  volumes.etc.groups[0].members[0]: no member delta; there are: al_pha, beta",
        '  volumes.etc.groups[0].include[0]: include "*.c" matches at any depth',
        '  volumes.etc.groups[0].exclude[0]: pattern "a/b" has a slash but no start',
        "  volumes.etc.groups[0].policy[0]: no policy jounger",
        '  volumes.etc.groups[0].sync: "durable(0)" is not known',
        "  clustre: unknown key, did you mean cluster?",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("cluster = ", "not TOML"),
        ('cluster = "web"', "members: there is none"),
        ('cluster = "w/b"\n[members.a]', '"w/b" is not a name'),
        ('cluster = "web"\nmembers = 3', r"members: must be a table: \[members\]"),
        ('cluster = "web"\n[members]\na = 3', r"members.a: must be a table: \[members.a\]"),
        ('cluster = "web"\n[members."a b"]', 'members."a b": "a b" is not a name'),
        ('cluster = "web"\n[members.default]', "stands for all of them"),
        ('cluster = "web"\n[members.a]\naddress = []', "address: is empty"),
        ('cluster = "web"\n[members.a]\naddress = [3]', "must be a list of strings"),
        ('cluster = "web"\n[members.a]\naddress = ["x", "x"]', "names x twice"),
        ('cluster = "web"\nrevision = true\n[members.a]', "revision: must be a whole number"),
        ('cluster = "web"\n[members.a]\n[volumes.v]', "volumes.v.path: is missing"),
        ('cluster = "web"\n[members.a]\n[volumes.v]\npath.b = "/x"', "path.b: no member of this name"),
        ('cluster = "web"\n[members.a]\n[volumes.v]\npath = "/"', "root of the system"),
        ('cluster = "web"\n[members.a]\n[volumes.v]\npath = "/x/"', "absolute path without"),
        (
            'cluster = "web"\n[members.a]\n[volumes.v]\npath = "/x"\nowners = "a:b:c"',
            'volumes.v.owners: "a:b:c" must be',
        ),
        (
            'cluster = "web"\n[members.a]\n[volumes.v]\npath = "/x"\nowners.c = "numeric"',
            "owners.c: no member of this name",
        ),
        ('cluster = "web"\n[members.a]\n[volumes.v]\npath = "/x"\ngroups = [1]', "must be tables"),
        (
            'cluster = "web"\n[members.a]\n[volumes.v]\npath = "/x"\n[[volumes.v.groups]]\nreceive_only = ["a"]',
            "leaves nobody who may write",
        ),
        (
            'cluster = "web"\n[members.a]\n[members.b]\n[volumes.v]\npath = "/x"\n[[volumes.v.groups]]\n'
            'members = ["a", "b"]\nreceive_only = ["a"]',
            "a is among members too",
        ),
        (
            'cluster = "web"\n[members.a]\n[volumes.v]\npath = "/x"\n[volumes.x]\npath = "/x-y"\n[volumes.w]\npath = "/x/y"',
            "volumes.w.path: /x/y lies in /x of volume v at a",
        ),
    ],
)
def test_a_complaint_names_the_key_and_the_cure(text: str, complaint: str) -> None:
    lines = complaints_of(text)
    assert lines[0].startswith("csfs.toml: ")
    assert re.search(complaint, "\n".join(lines))


def test_this_hosts_file_reads_back_the_same() -> None:
    host = HostSettings("alpha", (Address("192.0.2.1"), Address("::1", 7)), "debug")
    assert reader.parse_host(render.rendered_host(host)) == host
    for rates in ((("default", "10M"),), (("beta", "64K"), ("default", "off")), (("b.c", "1.5G"),)):
        limited = HostSettings("alpha", send_rates=rates)
        assert reader.parse_host(render.rendered_host(limited)) == limited
    silent = HostSettings("alpha", ())
    assert reader.parse_host('member = "alpha"\nlisten = "off"') == silent
    assert reader.parse_host(render.rendered_host(silent)) == silent
    with pytest.raises(ConfigError, match="needs no address to be listened on"):
        reader.parse_host('member = "alpha"\nlisten = "ssh://root@beta"')
    assert reader.parse_host('member = "alpha"\nsend_rate = "off"') == HostSettings("alpha")
    assert reader.parse_host('member = "alpha"') == HostSettings("alpha", (Address("*"),), "info")


def test_a_rate_is_that_of_the_peer_or_of_all() -> None:
    host = reader.parse_host(
        'member = "alpha"\nsend_rate.beta = "1.5M"\nsend_rate.default = "500K"\nsend_rate.gamma = "off"'
    )
    assert [host.send_rate(peer) for peer in ("beta", "gamma", "delta")] == [3 << 19, None, 500 << 10]
    assert HostSettings("alpha").send_rate("beta") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('send_rate = "10MB"', 'send_rate: "10MB" is no amount of bytes: write 500K, 10M or 1G (a second), or "off"'),
        ('send_rate.beta = "1K"', 'send_rate.beta: "1K" is too little'),
        ("send_rate = 5", "send_rate: must be"),
    ],
)
def test_a_rate_that_is_none_is_named(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        reader.parse_host(f'member = "alpha"\n{text}')


def test_a_mistake_in_this_hosts_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"member.toml: log.level: \"loud\" is not known"):
        reader.parse_host('member = "alpha"\n[log]\nlevel = "loud"')


def test_a_group_has_the_usual_where_nothing_is_written() -> None:
    text = 'cluster = "web"\n[members.a]\n[volumes.v]\npath = "/x"\n[[volumes.v.groups]]\n'
    assert reader.parse(text).volume("v").groups == (GroupSettings(),)


@pytest.mark.parametrize(("sync", "others"), [("received", 1), ("durable(2)", 2), ("quorum", 1)])
def test_what_a_group_waits_for_must_be_possible(sync: str, others: int) -> None:
    text = f"""
cluster = "web"
[members.a]
[members.b]
[members.c]
[volumes.v]
path = "/srv"
[[volumes.v.groups]]
members = ["a", "b"]
receive_only = ["c"]
sync = "{sync}"
sync_timeout = "2.5"
on_sync_timeout = "fail"
"""
    (rule,) = reader.parse(text).volume_rules("v").rules
    assert rule.synchrony.needed(3) == others
    assert (rule.synchrony.timeout_s, rule.synchrony.fails) == (2.5, True)
    alone = text.replace('["a", "b"]', '["a"]').replace('receive_only = ["c"]\n', "")
    if sync != "quorum":  # one of one is most of them
        with pytest.raises(ConfigError, match="other members, and there are 0"):
            reader.parse(alone)
    if sync == "durable(2)":
        with pytest.raises(
            ConfigError, match=r"without c, .* waits for 2 other members, and there are 1; change that first"
        ):
            settings.without_member(reader.parse(text), "c")
